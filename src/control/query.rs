//! Which flows are asked for: as options of the command line, and as fields of a request.

use crate::flow::{FlowKey, FlowRecord};
use crate::packet::address;
use clap::{Args, ValueEnum};
use etherparse::IpNumber;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The most flows of one answer.
pub const MOST: u32 = 10_000;

/// Which flows, of which all that is said has to be true, in which order, and how many.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowQuery {
    /// From or to this address, or one of this prefix, as in 10.0.0.0/8
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Prefix>,
    /// From or to this port
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Of this protocol, by its name or number
    #[arg(long, value_name = "PROTOCOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// What those that are shown have most of: last and first are the times of their packets
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub sort: Sort,
    /// How many are shown at most, 1 to 10000
    #[arg(long, default_value_t, value_name = "N")]
    pub limit: Limit,
}

/// What flows are compared by; the largest comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// Their octets
    #[default]
    Octets,
    /// Their packets
    Packets,
    /// When their latest packet was seen
    Last,
    /// When their first packet was seen
    First,
    /// From their first to their latest packet
    Duration,
}

impl Sort {
    /// What of a flow is compared.
    pub fn of(self, flow: &FlowRecord) -> u64 {
        match self {
            Self::Octets => flow.octets,
            Self::Packets => flow.packets,
            Self::Last => flow.last.nanos(),
            Self::First => flow.first.nanos(),
            Self::Duration => flow.last.nanos().saturating_sub(flow.first.nanos()),
        }
    }
}

impl FlowQuery {
    /// Whether a flow is asked for.
    pub fn wants(&self, flow: &FlowRecord) -> bool {
        self.protocol.is_none_or(|protocol| protocol.0 == flow.key.protocol)
            && self.port.is_none_or(|port| has_port(&flow.key, port))
            && self.address.is_none_or(|prefix| has_address(&flow.key, prefix))
    }
}

/// ICMP has its type and code there, and no port.
fn has_port(key: &FlowKey, port: u16) -> bool {
    let icmp = matches!(IpNumber(key.protocol), IpNumber::ICMP | IpNumber::IPV6_ICMP);
    !icmp && (key.source_port == port || key.destination_port == port)
}

fn has_address(key: &FlowKey, prefix: Prefix) -> bool {
    [key.source, key.destination].iter().any(|octets| prefix.has(address(key.ip_version, u128::from_be_bytes(*octets))))
}

/// How many, from 1 to [`MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub struct Limit(u32);

impl Limit {
    /// Of so many, or the nearest that can be.
    pub fn of(number: u32) -> Self {
        Self(number.clamp(1, MOST))
    }

    /// As a number.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(20)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        match number {
            1..=MOST => Ok(Self(number)),
            _ => Err(format!("{number} is not a number from 1 to {MOST}")),
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<u32>().map_err(|_| format!("`{text}` is not a number from 1 to {MOST}"))?.try_into()
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// Whether an address is one of them.
    pub fn has(self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => u128::from(own.to_bits() ^ other.to_bits()) << 96,
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differing.leading_zeros() >= u32::from(self.bits)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no address such as 10.1.2.3 or 2001:db8::1, and no prefix such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

/// An IP protocol: IANA's number of it, or its keyword there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Protocol(pub u8);

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self(number));
        }
        let name = match text.to_ascii_lowercase().as_str() {
            "icmpv6" | "icmp6" => "ipv6-icmp".to_owned(),
            name => name.to_owned(),
        };
        let is_it =
            |number: &u8| IpNumber(*number).keyword_str().is_some_and(|keyword| keyword.eq_ignore_ascii_case(&name));
        let known = if name.is_empty() { None } else { (0..=u8::MAX).find(is_it) };
        known
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no protocol: write its name, such as tcp, or its number, 0 to 255"))
    }
}

impl TryFrom<String> for Protocol {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> Self {
        protocol.to_string()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;

    #[test]
    fn prefixes() {
        let has = |prefix: &str, address: &str| prefix.parse::<Prefix>().unwrap().has(address.parse().unwrap());
        assert!(has("10.1.2.3", "10.1.2.3") && !has("10.1.2.3", "10.1.2.2"));
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "::1") && !has("::/0", "1.2.3.4"));
        assert!(has("2001:db8::/33", "2001:db8:7fff::1") && !has("2001:db8::/33", "2001:db8:8000::1"));
        assert!(has("::1", "::1") && !has("::1", "::2"));
        for text in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "host"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn protocols() {
        for (text, number) in
            [("tcp", 6), ("UDP", 17), ("icmp", 1), ("icmpv6", 58), ("IPv6-ICMP", 58), ("47", 47), ("gre", 47)]
        {
            assert_eq!(text.parse(), Ok(Protocol(number)));
        }
        for text in ["", "256", "-1", "tcpp"] {
            assert!(text.parse::<Protocol>().is_err(), "{text}");
        }
    }

    /// The flow is 10.1.2.3:1024 to 10.9.8.7:443 by TCP.
    #[test]
    fn all_that_is_said_has_to_be_true() {
        let wants = |query: FlowQuery| query.wants(&record());
        let base = FlowQuery::default();
        assert!(wants(base.clone()));
        let [source, destination, other] = ["10.1.2.3", "10.9.0.0/16", "10.2.0.0/16"].map(|text| text.parse().ok());
        assert!(wants(FlowQuery { address: source, ..base.clone() }));
        assert!(wants(FlowQuery { address: destination, port: Some(1024), ..base.clone() }));
        assert!(!wants(FlowQuery { address: other, port: Some(1024), ..base.clone() }));
        assert!(wants(FlowQuery { port: Some(443), protocol: Some(Protocol(6)), ..base.clone() }));
        assert!(!wants(FlowQuery { port: Some(443), protocol: Some(Protocol(17)), ..base.clone() }));
        assert!(!wants(FlowQuery { port: Some(444), ..base.clone() }));
        let mut ping = record();
        (ping.key.protocol, ping.key.source_port, ping.key.destination_port) = (1, 0, 0x0800);
        assert!(!FlowQuery { port: Some(0x0800), ..base }.wants(&ping));
    }
}
