//! Draws the screen: panels where there is room for them, else plain lines.

use super::panels;
use super::plain;
use super::screen::Screen;
use crate::control::query::Sort;
use crate::control::status_text::short;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Stylize;
use ratatui::text::{Line, Text};
use std::time::Duration;

/// Columns and lines that panels take.
const ROOM: (u16, u16) = (60, 16);
/// Columns from which talkers stand beside the flows.
const WIDE: u16 = 110;
/// Lines from which graphs are higher than one line.
const HIGH: u16 = 26;
/// Troubles that are shown; the status has all.
const TROUBLES: usize = 3;
/// Collectors that are shown.
const COLLECTORS: usize = 5;

const HELP: &str = "\
q, Esc          quit (Esc first takes a filter back)
s               sort by octets, packets, duration, last or first packet
/               filter: an address or prefix, a port, a protocol, such as: udp 53 10.0.0.0/8
p, space        pause
up, down, page  scroll the flows
?, h            this

packets/s, octets/s of the last seconds; lost are packets that the kernel or the table had no room for.
Talkers are summed up over the flows that are listed, at most 1000.";

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let area = frame.area();
    if area.width < ROOM.0 || area.height < ROOM.1 {
        return frame.render_widget(plain::text(screen, area.height), area);
    }
    let (troubles, collectors) = (troubles(screen), screen.status.collectors.len().min(COLLECTORS) as u16);
    let graphs = if area.height >= HIGH { 6 } else { 3 };
    let heights = [
        Constraint::Length(1),
        Constraint::Length(troubles.len() as u16),
        Constraint::Length(graphs),
        Constraint::Min(3),
        Constraint::Length(collectors + 3),
        Constraint::Length(1),
    ];
    let [head, trouble, graphs, middle, collectors, foot] = Layout::vertical(heights).areas(area);
    frame.render_widget(header(screen), head);
    frame.render_widget(Text::from(troubles), trouble);
    panels::graphs(frame, graphs, screen);
    match screen.helps {
        true => frame.render_widget(Text::raw(HELP), middle),
        false => flows(frame, middle, screen),
    }
    panels::collectors(frame, collectors, screen);
    frame.render_widget(footer(screen), foot);
}

fn flows(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let (flows, talkers) = match area.width {
        WIDE.. => {
            let [flows, talkers] = Layout::horizontal([Constraint::Min(70), Constraint::Length(38)]).areas(area);
            (flows, talkers)
        }
        _ => {
            let [flows, talkers] = Layout::vertical([Constraint::Fill(2), Constraint::Fill(1)]).areas(area);
            (flows, talkers)
        }
    };
    panels::flows(frame, flows, screen);
    panels::talkers(frame, talkers, screen);
}

/// Which probe, since when, and how full its table is.
pub fn header(screen: &Screen) -> Line<'static> {
    let status = &screen.status;
    let uptime = humantime::format_duration(Duration::from_secs(status.uptime));
    let table = status.table;
    let mut line = Line::from(vec![
        format!("nfweir {}", status.program).bold(),
        format!("  up {uptime}  table {} of {} flows ({:.1} %)", table.flows, table.max_flows, table.fill).into(),
    ]);
    if status.ending {
        line.push_span("  ENDING".bold());
    }
    if screen.paused {
        line.push_span("  PAUSED".bold());
    }
    line
}

/// What is the matter, first that nothing is heard; or that nothing is.
pub fn troubles(screen: &Screen) -> Vec<Line<'static>> {
    let told = screen.silence.clone().into_iter().chain(screen.status.troubles());
    let mut lines: Vec<_> = told.map(|trouble| Line::from(format!("! {trouble}")).red().bold()).collect();
    if lines.len() > TROUBLES {
        let more = lines.len() - (TROUBLES - 1);
        lines.truncate(TROUBLES - 1);
        lines.push(Line::from(format!("! {more} more: see nfweir status")).red().bold());
    }
    if lines.is_empty() {
        lines.push(Line::from("nothing is lost, and all collectors are well").green());
    }
    lines
}

/// What is typed, or what can be pressed.
fn footer(screen: &Screen) -> Line<'static> {
    if let Some(typed) = &screen.typing {
        let wrong = screen.wrong.clone().map(|wrong| format!("  {wrong}").red());
        return Line::from_iter([format!("filter: {typed}_").bold()].into_iter().chain(wrong));
    }
    Line::from(format!("q quit  s sort: {}  / filter  p pause  ? help  up/down scroll", sort(screen.sort()))).dim()
}

/// In a word or two.
pub fn sort(sort: Sort) -> &'static str {
    match sort {
        Sort::Octets => "octets",
        Sort::Packets => "packets",
        Sort::Duration => "duration",
        Sort::Last => "last packet",
        Sort::First => "first packet",
    }
}

/// The title of a number that changes.
pub fn rate(name: &str, number: f64) -> String {
    format!(" {name} {} ", short(number))
}

#[cfg(test)]
mod tests {
    use super::super::asker::Snapshot;
    use super::*;
    use crate::control::flows::Flows;
    use crate::control::rates::{Rate, Rates};
    use crate::control::status::{CollectorStatus, GroupStatus, Status, TableStatus};
    use crate::export::health::Condition;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent};
    use serde_json::value::RawValue;

    fn record(source: u8, port: u16, octets: u64) -> Box<RawValue> {
        RawValue::from_string(format!(
            "{{\"sourceIPv4Address\":\"10.0.0.{source}\",\"destinationIPv4Address\":\"192.0.2.7\",\
             \"sourceTransportPort\":{port},\"destinationTransportPort\":443,\"protocolIdentifier\":6,\
             \"packetDeltaCount\":{},\"octetDeltaCount\":{octets},\
             \"flowStartMilliseconds\":\"2026-01-01T00:00:00.000Z\",\"flowEndMilliseconds\":\"2026-01-01T00:00:02.500Z\"}}",
            octets / 100
        ))
        .unwrap()
    }

    /// A probe with two collectors and three flows, whose packets came in ever larger numbers.
    fn screen() -> Screen {
        let mut screen = Screen::new();
        for second in 0..8 {
            let rate = Rate { packets: f64::from(second * 100), octets: f64::from(second * 50_000), lost_packets: 0.0 };
            let rates = Rates { last_second: rate, last_10_seconds: rate, last_minute: rate };
            let collector =
                |name: &str, state| CollectorStatus { name: name.to_owned(), state, ..CollectorStatus::default() };
            let status = Status {
                program: "0.1.0".to_owned(),
                uptime: 61,
                rates,
                groups: vec![GroupStatus { group: 5, rates, ..GroupStatus::default() }],
                table: TableStatus { flows: 3, max_flows: 1000, fill: 0.3 },
                collectors: vec![
                    collector("ipfix://192.0.2.20:4739", Condition::Well),
                    collector("ipfix+tcp://[2001:db8::9]:4739", Condition::Failing),
                ],
                ..Status::default()
            };
            let records = vec![record(1, 50_000, 9_000_000), record(2, 50_001, 70_000), record(1, 50_002, 500)];
            screen.take(Ok(Snapshot { status, flows: Flows { matched: 3, records, ..Flows::default() } }));
        }
        screen
    }

    /// What is drawn on a terminal of this size, without the spaces at the ends of its lines.
    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let text = terminal(screen, width, height).backend().to_string();
        let lines = text.lines().map(|line| line.trim_matches('"').trim_end());
        lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    fn terminal(screen: &Screen, width: u16, height: u16) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen)).unwrap();
        terminal
    }

    #[test]
    fn panels_where_there_is_room() {
        let expected = include_str!("golden/wide.txt");
        assert_eq!(drawn(&screen(), 120, 28), expected.trim_end());
    }

    #[test]
    fn talkers_are_below_where_it_is_narrow() {
        let expected = include_str!("golden/narrow.txt");
        assert_eq!(drawn(&screen(), 80, 24), expected.trim_end());
    }

    #[test]
    fn plain_lines_where_it_is_small() {
        let expected = include_str!("golden/small.txt");
        assert_eq!(drawn(&screen(), 48, 10), expected.trim_end());
    }

    #[test]
    fn whatever_the_size_nothing_fails() {
        let mut screen = screen();
        for (width, height) in [(0, 0), (1, 1), (59, 40), (60, 16), (61, 17), (300, 5), (300, 100)] {
            for helps in [false, true] {
                screen.helps = helps;
                terminal(&screen, width, height);
                terminal(&Screen::new(), width, height);
            }
        }
    }

    #[test]
    fn what_is_pressed_is_seen() {
        let mut screen = screen();
        for key in ['p', '/', 'u', 'x', '\n'] {
            screen.press(KeyEvent::from(if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) }));
        }
        let shown = drawn(&screen, 100, 20);
        assert!(shown.contains("  PAUSED\n"), "{shown}");
        assert!(shown.ends_with("filter: ux_  `ux` is no address, port or protocol"), "{shown}");
        screen.press(KeyEvent::from(KeyCode::Esc));
        screen.press(KeyEvent::from(KeyCode::Char('?')));
        assert!(drawn(&screen, 100, 30).contains("\np, space        pause\n"));
        screen.helps = false;
        screen.press(KeyEvent::from(KeyCode::Down));
        assert!(!drawn(&screen, 100, 30).contains("10.0.0.1:50000"), "it is scrolled");
        screen.silence = Some("nfweir has ended".to_owned());
        assert!(drawn(&screen, 100, 20).contains("\n! nfweir has ended\n"));
    }
}
