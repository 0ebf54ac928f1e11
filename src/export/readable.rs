//! Flows for people to read: aligned, and in colour on a terminal.

use super::lines::Format;
use crate::flow::FlowRecord;
use std::env;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// TCP control bits from the highest of the low eight, as tcpdump's letters.
const FLAGS: &[u8; 8] = b"CEUAPRSF";
/// Room for an IPv4 address with its port.
const NARROW: usize = 21;
/// What lets a terminal write in colour (ECMA-48 section 8.3.117), and as before.
const FAINT: &str = "\x1b[2m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// How flows are written. A column becomes wider with the first address that needs it, and stays so.
pub struct Readable {
    colour: bool,
    source_width: usize,
    destination_width: usize,
}

impl Readable {
    /// For standard output: in colour if that is a terminal, unless NO_COLOR is set.
    pub fn for_output() -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::new(io::stdout().is_terminal() && !unwanted)
    }

    fn new(colour: bool) -> Self {
        Self { colour, source_width: NARROW, destination_width: NARROW }
    }
}

impl Format for Readable {
    /// Start, duration, protocol, both ends, flags, packets, octets.
    fn line(&mut self, flow: &FlowRecord) -> String {
        let start: SystemTime = UNIX_EPOCH + Duration::from_millis(flow.first.millis());
        let (source, destination) = flow.key.addresses();
        let (source, destination) = (end(source, flow.key.source_port), end(destination, flow.key.destination_port));
        self.source_width = self.source_width.max(source.len());
        self.destination_width = self.destination_width.max(destination.len());
        let [faint, cyan, plain] = if self.colour { [FAINT, CYAN, PLAIN] } else { [""; 3] };
        format!(
            "{faint}{}{plain} {:>8.3}s {cyan}{:<6}{plain} {:>source_width$} -> {:<destination_width$} {} {:>6} packets \
             {:>9} octets",
            humantime::format_rfc3339_millis(start),
            flow.last.since(flow.first).as_secs_f64(),
            protocol(flow.key.protocol),
            source,
            destination,
            flags(flow.tcp_flags),
            flow.packets,
            flow.octets,
            source_width = self.source_width,
            destination_width = self.destination_width,
        )
    }
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
            Readable::new(false).line(&record()),
            "2023-11-14T22:13:20.123Z    1.333s TCP            10.1.2.3:1024 -> 10.9.8.7:443          ...AP.SF      5 \
             packets       600 octets"
        );
        assert!(Readable::new(true).line(&record()).starts_with("\x1b[2m2023-11-14T22:13:20.123Z\x1b[0m    1.333s"));
    }

    #[test]
    fn columns_widen_for_ipv6_and_stay_aligned() {
        let mut long = record();
        long.key.ip_version = 6;
        long.key.source =
            [0xfd, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        let mut readable = Readable::new(false);
        let arrow = |line: String| line.find(" -> ").unwrap();
        let narrow = arrow(readable.line(&record()));
        let wide = arrow(readable.line(&long));
        assert!(wide > narrow);
        assert_eq!(arrow(readable.line(&record())), wide);
    }
}
