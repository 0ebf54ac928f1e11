//! What the demonstration shows: the flows as a table, and the books.

use super::collector::CollectedFlow;
use etherparse::IpNumber;
use std::net::{IpAddr, SocketAddr};

/// The flows, the most octets first, in aligned columns.
pub fn table(flows: &[CollectedFlow]) -> String {
    let mut rows = vec![["protocol", "source", "destination", "packets", "octets"].map(str::to_owned)];
    let mut flows: Vec<_> = flows.iter().collect();
    flows.sort_by_key(|flow| std::cmp::Reverse(flow.octets));
    rows.extend(flows.into_iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |[protocol, source, destination, packets, octets]: &[String; 5]| {
        let [a, b, c, d, e] = widths;
        format!("  {protocol:a$}  {source:>b$}  {destination:c$}  {packets:>d$}  {octets:>e$}\n")
    };
    rows.iter().map(line).collect()
}

fn row(flow: &CollectedFlow) -> [String; 5] {
    let keyword = IpNumber(flow.protocol).keyword_str().unwrap_or_default();
    let end = |address: IpAddr, port| SocketAddr::new(address, port).to_string();
    let (source, destination) = match IpNumber(flow.protocol) {
        IpNumber::ICMP | IpNumber::IPV6_ICMP => {
            let [kind, code] = flow.destination_port.to_be_bytes();
            (flow.source.to_string(), format!("{} type {kind} code {code}", flow.destination))
        }
        _ => (end(flow.source, flow.source_port), end(flow.destination, flow.destination_port)),
    };
    [keyword.to_owned(), source, destination, flow.packets.to_string(), flow.octets.to_string()]
}

/// The books of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Books {
    /// Packets that both ends have sent, by the interfaces' own statistics.
    pub sent: u64,
    /// Packets that the probe received from the kernel.
    pub captured: u64,
    /// Packets in the records that the collector decoded.
    pub collected: u64,
}

impl Books {
    /// Whether they agree.
    pub fn balance(self) -> bool {
        self.sent == self.captured && self.captured == self.collected
    }
}
