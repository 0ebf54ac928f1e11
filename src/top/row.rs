//! A flow as it is shown: of its record by IANA's names, what there is. A key that is aggregated lacks some of it.

use crate::control::flows::Flows;
use etherparse::IpNumber;
use serde::Deserialize;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Row {
    #[serde(rename = "sourceIPv4Address", alias = "sourceIPv6Address")]
    source: Option<IpAddr>,
    #[serde(rename = "destinationIPv4Address", alias = "destinationIPv6Address")]
    destination: Option<IpAddr>,
    #[serde(rename = "sourceTransportPort")]
    source_port: Option<u16>,
    #[serde(rename = "destinationTransportPort")]
    destination_port: Option<u16>,
    #[serde(rename = "protocolIdentifier")]
    protocol: Option<u8>,
    #[serde(rename = "packetDeltaCount")]
    pub packets: u64,
    #[serde(rename = "octetDeltaCount")]
    pub octets: u64,
    #[serde(rename = "flowStartMilliseconds")]
    start: String,
    #[serde(rename = "flowEndMilliseconds")]
    end: String,
}

impl Row {
    /// Where its packets come from.
    pub fn source(&self) -> String {
        end(self.source, self.source_port.filter(|_| self.icmp().is_none()))
    }

    /// Where they go to; of ICMP, with type and code.
    pub fn destination(&self) -> String {
        match self.icmp() {
            Some([kind, code]) => format!("{} icmp {kind}/{code}", end(self.destination, None)),
            None => end(self.destination, self.destination_port),
        }
    }

    /// ICMP's type and code, which stand for the destination port.
    fn icmp(&self) -> Option<[u8; 2]> {
        let is_icmp = [IpNumber::ICMP, IpNumber::IPV6_ICMP].contains(&IpNumber(self.protocol?));
        self.destination_port.filter(|_| is_icmp).map(u16::to_be_bytes)
    }

    /// Its protocol's name, or number.
    pub fn protocol(&self) -> String {
        let Some(number) = self.protocol else { return "*".to_owned() };
        let keyword = IpNumber(number).keyword_str().filter(|keyword| !keyword.is_empty());
        keyword.map_or_else(|| number.to_string(), str::to_owned)
    }

    /// From its first to its latest packet.
    pub fn duration(&self) -> Duration {
        let [start, end] = [&self.start, &self.end].map(|time| humantime::parse_rfc3339(time).ok());
        start.zip(end).and_then(|(start, end)| end.duration_since(start).ok()).unwrap_or_default()
    }
}

fn end(address: Option<IpAddr>, port: Option<u16>) -> String {
    match (address, port) {
        (Some(address), Some(port)) => SocketAddr::new(address, port).to_string(),
        (Some(address), None) => address.to_string(),
        (None, Some(port)) => format!("*:{port}"),
        (None, None) => "*".to_owned(),
    }
}

/// The flows that were found.
pub fn rows(flows: &Flows) -> Vec<Row> {
    flows.records.iter().filter_map(|record| serde_json::from_str(record.get()).ok()).collect()
}

/// Who sends most, and how many octets, the largest first.
pub fn talkers(rows: &[Row]) -> Vec<(String, u64)> {
    let mut sums: HashMap<IpAddr, u64> = HashMap::new();
    for row in rows {
        if let Some(source) = row.source {
            *sums.entry(source).or_default() += row.octets;
        }
    }
    let mut talkers: Vec<_> = sums.into_iter().collect();
    talkers.sort_unstable_by_key(|(address, octets)| (std::cmp::Reverse(*octets), *address));
    talkers.into_iter().map(|(address, octets)| (address.to_string(), octets)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(json: &str) -> Row {
        let times = "\"flowStartMilliseconds\":\"2026-01-01T00:00:00.500Z\",\"flowEndMilliseconds\":\"2026-01-01T00:00:02.000Z\"";
        serde_json::from_str(&format!("{{{json}\"packetDeltaCount\":3,\"octetDeltaCount\":120,{times}}}")).unwrap()
    }

    #[test]
    fn a_row_says_what_its_record_has() {
        let whole = row("\"sourceIPv6Address\":\"::1\",\"destinationIPv6Address\":\"::2\",\"sourceTransportPort\":5,\
                         \"destinationTransportPort\":53,\"protocolIdentifier\":17,\"vlanId\":7,");
        assert_eq!([whole.source(), whole.destination(), whole.protocol()], ["[::1]:5", "[::2]:53", "UDP"]);
        assert_eq!((whole.packets, whole.octets, whole.duration()), (3, 120, Duration::from_millis(1500)));
        let part = row("\"sourceIPv4Address\":\"10.0.0.0\",\"destinationTransportPort\":53,");
        assert_eq!([part.source(), part.destination(), part.protocol()], ["10.0.0.0", "*:53", "*"]);
        let icmp = row(
            "\"sourceIPv4Address\":\"10.0.0.1\",\"destinationIPv4Address\":\"10.0.0.2\",\"sourceTransportPort\":0,\
                        \"destinationTransportPort\":771,\"protocolIdentifier\":1,",
        );
        assert_eq!([icmp.source(), icmp.destination(), icmp.protocol()], ["10.0.0.1", "10.0.0.2 icmp 3/3", "ICMP"]);
    }

    #[test]
    fn talkers_are_summed_up() {
        let of = |address: &str| row(&format!("\"sourceIPv4Address\":\"{address}\","));
        let rows = [of("10.0.0.2"), of("10.0.0.1"), of("10.0.0.2"), row("")];
        assert_eq!(talkers(&rows), [("10.0.0.2".to_owned(), 240), ("10.0.0.1".to_owned(), 120)]);
    }
}
