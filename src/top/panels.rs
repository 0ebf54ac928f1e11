//! The panels: graphs, flows, talkers, collectors.

use super::screen::Screen;
use super::view::{rate, sort};
use crate::control::rates::Rate;
use crate::control::status::CollectorStatus;
use crate::control::status_text::{count, short};
use crate::export::health::Condition;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Text;
use ratatui::widgets::{Block, Row, Sparkline, Table};

/// What of a rate is drawn.
type Number = fn(&Rate) -> f64;

/// Packets, octets and losses of the last seconds.
pub fn graphs(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let shown: [(_, Number, _); 3] = [
        ("packets/s", |rate| rate.packets, Color::Green),
        ("octets/s", |rate| rate.octets, Color::Cyan),
        ("lost/s", |rate| rate.lost_packets, Color::Red),
    ];
    let areas = Layout::horizontal([Constraint::Fill(2), Constraint::Fill(2), Constraint::Fill(1)]).areas::<3>(area);
    for (area, (name, number, colour)) in areas.into_iter().zip(shown) {
        let latest = screen.history.back().map_or(0.0, number);
        let block = Block::bordered().title(rate(name, latest));
        // the last that there is room for; rounded up, so that little is seen to be something
        let columns = usize::from(block.inner(area).width);
        let skipped = screen.history.len().saturating_sub(columns);
        let data: Vec<_> = screen.history.iter().skip(skipped).map(|rate| number(rate).ceil() as u64).collect();
        frame.render_widget(Sparkline::default().data(data).style(colour).block(block), area);
    }
}

/// The flows that were asked for, from the first that is wanted.
pub fn flows(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let filter = if screen.filter.is_empty() { String::new() } else { format!(", filter: {}", screen.filter) };
    let title = format!(" flows: {} of {}, by {}{filter} ", screen.rows.len(), screen.matched, sort(screen.sort()));
    let lines = usize::from(area.height.saturating_sub(3));
    let rows = screen.rows.iter().skip(screen.first).take(lines).map(|row| {
        Row::new([
            Text::from(row.protocol()),
            Text::from(row.source()),
            Text::from(row.destination()),
            right(row.packets.to_string()),
            right(short(row.octets as f64)),
            right(format!("{:.1} s", row.duration().as_secs_f64())),
        ])
    });
    let widths = [
        Constraint::Length(6),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(9),
        Constraint::Length(6),
        Constraint::Length(8),
    ];
    let head = ["proto", "source", "destination"].map(Text::from).into_iter();
    let head = head.chain(["packets", "octets", "time"].map(|name| right(name.to_owned())));
    let table = Table::new(rows, widths).header(Row::new(head).style(Style::new().dim()));
    frame.render_widget(table.block(Block::bordered().title(title)), area);
}

/// Who sends most of those.
pub fn talkers(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let all: u64 = screen.talkers.iter().map(|(_, octets)| octets).sum();
    let rows = screen.talkers.iter().map(|(address, octets)| {
        let share = 100 * u128::from(*octets) / u128::from(all.max(1));
        Row::new([Text::from(address.clone()), right(short(*octets as f64)), right(format!("{share} %"))])
    });
    let widths = [Constraint::Fill(1), Constraint::Length(6), Constraint::Length(5)];
    let title = " talkers: octets sent ";
    frame.render_widget(Table::new(rows, widths).block(Block::bordered().title(title)), area);
}

/// How they are.
pub fn collectors(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let collectors = &screen.status.collectors;
    let rows = collectors.iter().map(|collector| {
        let counts = [collector.sent(), collector.missing("records"), count(&collector.counters, "refusals")];
        let [sent, lost, refusals] = counts.map(|count| right(count.to_string()));
        let cells =
            [Text::from(collector.name.clone()), state(collector), sent, right(collector.queue()), lost, refusals];
        Row::new(cells)
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Length(14),
        Constraint::Length(8),
        Constraint::Length(8),
    ];
    let head = [Text::from("collector"), Text::from("state")].into_iter();
    let head = head.chain(["sent", "waiting", "lost", "refusals"].map(|name| right(name.to_owned())));
    let table = Table::new(rows, widths).header(Row::new(head).style(Style::new().dim()));
    frame.render_widget(table.block(Block::bordered().title(" collectors ")), area);
}

fn state(collector: &CollectorStatus) -> Text<'static> {
    let colour = match collector.state {
        Condition::Well => Color::Green,
        Condition::Starting | Condition::Doubtful => Color::Yellow,
        Condition::Failing => Color::Red,
    };
    Text::from(collector.state_word()).fg(colour)
}

fn right(text: String) -> Text<'static> {
    Text::from(text).alignment(Alignment::Right)
}
