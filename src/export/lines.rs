//! Flows as readable lines, one each, where no collector is given.

use super::Collector;
use super::encoder::Sums;
use crate::flow::FlowRecord;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// TCP control bits from the highest of the low eight, as tcpdump's letters.
const FLAGS: &[u8; 8] = b"CEUAPRSF";

/// Lines are written when there are this many octets of them, or when they are asked for.
const BUFFER: usize = 64 << 10;

/// Writes flows as text.
pub struct Lines<W> {
    out: W,
    counters: Arc<CollectorCounters>,
    /// Lines not yet written.
    text: Vec<u8>,
    /// What is in each of them.
    flows: Vec<Sums>,
    /// Whether it was said that writing fails.
    warned: bool,
}

impl<W: Write + Send> Lines<W> {
    /// To `out`, which need not be buffered.
    pub fn new(out: W, counters: Arc<CollectorCounters>) -> Self {
        Self { out, counters, text: Vec::with_capacity(BUFFER), flows: Vec::new(), warned: false }
    }

    /// Writes the text. Whatever lines do not get out are lost.
    fn write_out(&mut self) {
        let mut written = 0;
        let mut result = Ok(());
        while written < self.text.len() && result.is_ok() {
            match self.out.write(&self.text[written..]) {
                Ok(0) => result = Err(ErrorKind::WriteZero.into()),
                Ok(octets) => written += octets,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
        }
        let whole = lines(&self.text[..written]);
        self.counters.records.add(whole as u64);
        self.flows.drain(..).skip(whole).for_each(|flow| self.counters.count_lost(&flow));
        self.text.clear();
        if let Err(error) = result.and_then(|()| self.out.flush())
            && !self.warned
        {
            log::warn!("standard output cannot be written ({error}): flows are lost and counted");
            self.warned = true;
        }
    }
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|octet| **octet == b'\n').count()
}

impl<W: Write + Send> Collector for Lines<W> {
    fn add(&mut self, flow: &FlowRecord, _: Timestamp) {
        self.text.extend(line(flow).into_bytes());
        self.text.push(b'\n');
        let mut sums = Sums::default();
        sums.add(flow);
        self.flows.push(sums);
        if self.text.len() >= BUFFER {
            self.write_out();
        }
    }

    fn flush(&mut self) {
        self.write_out();
    }

    fn settle(&mut self, _: Duration) -> bool {
        true
    }

    fn close(&mut self) {}
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

    /// Takes so many octets, and no more.
    struct Short(usize);

    impl Write for Short {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            match self.0.min(octets.len()) {
                0 => Err(ErrorKind::StorageFull.into()),
                taken => {
                    self.0 -= taken;
                    Ok(taken)
                }
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_did_not_get_out_whole_are_lost() {
        let counters = Arc::new(CollectorCounters::default());
        let length = line(&record()).len() + 1;
        let mut lines = Lines::new(Short(2 * length + 10), counters.clone());
        (0..5).for_each(|_| lines.add(&record(), Timestamp::default()));
        lines.flush();
        assert_eq!((counters.records.get(), counters.lost_records.get()), (2, 3));
        lines.add(&record(), Timestamp::default());
        lines.flush();
        assert_eq!((counters.records.get(), counters.lost_records.get()), (2, 4));
    }

    #[test]
    fn a_flow_is_a_line() {
        assert_eq!(
            line(&record()),
            "2023-11-14T22:13:20.123Z    1.333s TCP            10.1.2.3:1024 -> 10.9.8.7:443          ...AP.SF      5 \
             packets       600 octets"
        );
    }
}
