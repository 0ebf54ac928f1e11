//! Flows as readable lines, one each, where no collector is given.

use super::Collector;
use crate::flow::FlowRecord;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// TCP control bits from the highest of the low eight, as tcpdump's letters.
const FLAGS: &[u8; 8] = b"CEUAPRSF";

/// Writes flows as text.
pub struct Lines<W> {
    out: W,
    counters: Arc<CollectorCounters>,
    /// Lines not known to be written.
    pending: u64,
    /// Whether it was said that writing fails.
    warned: bool,
}

impl<W: Write + Send> Lines<W> {
    /// To `out`, which should be buffered.
    pub fn new(out: W, counters: Arc<CollectorCounters>) -> Self {
        Self { out, counters, pending: 0, warned: false }
    }
}

impl<W> Lines<W> {
    /// Nobody knows how many of the lines were written: all count as lost.
    fn lose(&mut self, error: &io::Error) {
        self.counters.lost_records.add(std::mem::take(&mut self.pending));
        if !self.warned {
            log::warn!("standard output cannot be written ({error}): flows are lost and counted");
            self.warned = true;
        }
    }
}

impl<W: Write + Send> Collector for Lines<W> {
    fn add(&mut self, flow: &FlowRecord, _: Timestamp) {
        self.pending += 1;
        if let Err(error) = writeln!(self.out, "{}", line(flow)) {
            self.lose(&error);
        }
    }

    fn flush(&mut self) {
        match self.out.flush() {
            Ok(()) => self.counters.records.add(std::mem::take(&mut self.pending)),
            Err(error) => self.lose(&error),
        }
    }

    fn settle(&mut self, _: Duration) -> bool {
        true
    }
}

/// Start, duration, protocol, both ends, flags, packets, octets.
fn line(flow: &FlowRecord) -> String {
    let start: SystemTime = UNIX_EPOCH + Duration::from_millis(flow.first.millis());
    let (source, destination) = flow.key.addresses();
    format!(
        "{} {:>8.3}s {:<6} {:>21} -> {:<21} {} {:>6} packets {:>9} octets",
        humantime::format_rfc3339_millis(start),
        flow.last.since(flow.first).as_secs_f64(),
        protocol(flow.key.protocol),
        end(source, flow.key.source_port),
        end(destination, flow.key.destination_port),
        flags(flow.tcp_flags),
        flow.packets,
        flow.octets,
    )
}

fn end(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

fn protocol(number: u8) -> String {
    match etherparse::IpNumber(number).keyword_str() {
        Some(keyword) if !keyword.is_empty() => keyword.to_owned(),
        _ => number.to_string(),
    }
}

fn flags(bits: u16) -> String {
    let letter = |(place, letter): (usize, &u8)| if bits << place & 0x80 == 0 { '.' } else { char::from(*letter) };
    FLAGS.iter().enumerate().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;

    #[test]
    fn a_flow_is_a_line() {
        assert_eq!(
            line(&record()),
            "2023-11-14T22:13:20.123Z    1.333s TCP            10.1.2.3:1024 -> 10.9.8.7:443          ...AP.SF      5 \
             packets       600 octets"
        );
    }
}
