//! The screen in lines, for a terminal that has no room for more.

use super::screen::Screen;
use super::view::{header, troubles};
use crate::control::status_text::short;
use ratatui::text::{Line, Text};

/// So many lines: what is the matter, rates, collectors, and as many flows as there is room for.
pub fn text(screen: &Screen, height: u16) -> Text<'static> {
    let rate = screen.status.rates.last_second;
    let (packets, octets) = (short(rate.packets), short(rate.octets));
    let mut lines = troubles(screen);
    lines.push(Line::from(format!("{packets} packets/s {octets} octets/s {} lost/s", short(rate.lost_packets))));
    if let Some(typed) = &screen.typing {
        lines.push(Line::from(format!("filter: {typed}_ {}", screen.wrong.as_deref().unwrap_or_default())));
    }
    lines.push(header(screen));
    let collectors = screen.status.collectors.iter();
    lines.extend(collectors.map(|collector| Line::from(format!("{} {}", collector.state_word(), collector.name))));
    let flows = screen.rows.iter().skip(screen.first).map(|row| {
        let octets = short(row.octets as f64);
        Line::from(format!("{octets:>5} {} {} > {}", row.protocol(), row.source(), row.destination()))
    });
    lines.extend(flows.take(usize::from(height)));
    Text::from(lines)
}
