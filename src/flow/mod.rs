//! What a flow is: its key, its record, and why it ended, in the words of RFC 7012 and IANA's registry.

mod connection;
pub mod expiry;
pub mod key_fields;
pub mod table;
mod user_name;

pub use connection::{Ends, Tracked};
pub use user_name::UserName;

use crate::packet::Headers;
use crate::packet::details::Details;
use crate::time::Timestamp;

/// In place of an ifIndex: the packet comes from this host itself, or ends in it.
pub const LOCAL: u32 = u32::MAX;

/// flowDirection (element 61): on which side of this host a packet was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// Coming in or passing through.
    #[default]
    Ingress = 0,
    /// Going out.
    Egress = 1,
}

/// forwardingStatus (element 89, RFC 7270 section 4.12): what became of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ForwardingStatus {
    /// Nobody says.
    #[default]
    Unknown = 0,
    /// A rule let them pass.
    Forwarded = 64,
    /// A rule dropped or rejected them.
    AclDenied = 129,
}

impl ForwardingStatus {
    /// firewallEvent (element 233) that says the same: that a flow was denied, or 0, which collectors ignore. That a flow was
    /// created (1) or deleted (2) is more than a record of one that was let pass knows, of which a long flow has several.
    pub fn firewall_event(self) -> u8 {
        match self {
            Self::AclDenied => 3,
            Self::Unknown | Self::Forwarded => 0,
        }
    }
}

/// flowEndReason (element 136, RFC 5102 section 5.11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// No packet for the inactive timeout.
    IdleTimeout = 1,
    /// The flow goes on, but has lasted for the active timeout.
    ActiveTimeout = 2,
    /// FIN or RST was seen.
    EndOfFlow = 3,
    /// Ended from outside: a flush, or the end of the probe.
    ForcedEnd = 4,
    /// Ended early because the table was filling up.
    LackOfResources = 5,
}

/// What makes packets one flow.
///
/// It has no padding and no invalid bit pattern, so that it converts to words for hashing, comparing and the
/// table's atomics. IPv4 addresses stand in the first four octets, the rest 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Source port.
    pub source_port: u16,
    /// Destination port, or ICMP type * 256 + code.
    pub destination_port: u16,
    /// Protocol number.
    pub protocol: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// IP version: 4 or 6.
    pub ip_version: u8,
    /// ifIndex of the input interface, [`LOCAL`], or 0 if unknown.
    pub input: u32,
    /// VLAN id, 0 if there is none.
    pub vlan: u16,
    /// Index of the selector (NFLOG group and prefix).
    pub selector: u16,
}

impl FlowKey {
    /// How many 64-bit words a key is.
    pub const WORDS: usize = 6;
    /// From this bit on, eight bits of the last word but one are 0, for the table.
    pub(crate) const SPARE_BIT: u32 = 8;

    /// The key of a packet with these headers.
    #[inline(always)]
    pub fn new(headers: &Headers, input: u32, vlan: u16, selector: u16) -> Self {
        Self {
            source: headers.source.to_be_bytes(),
            destination: headers.destination.to_be_bytes(),
            source_port: headers.source_port,
            destination_port: headers.destination_port,
            protocol: headers.protocol,
            tos: headers.tos,
            ip_version: headers.ip_version,
            input,
            vlan,
            selector,
        }
    }

    /// The key as words; [`FlowKey::from_words`] is its inverse.
    #[inline(always)]
    pub fn to_words(&self) -> [u64; Self::WORDS] {
        let [source, destination] = [self.source, self.destination].map(u128::from_be_bytes);
        [
            (source >> 64) as u64,
            source as u64,
            (destination >> 64) as u64,
            destination as u64,
            u64::from(self.source_port) << 48
                | u64::from(self.destination_port) << 32
                | u64::from(self.protocol) << 24
                | u64::from(self.tos) << 16
                | u64::from(self.ip_version),
            u64::from(self.input) << 32 | u64::from(self.vlan) << 16 | u64::from(self.selector),
        ]
    }

    /// The key that gave these words.
    pub fn from_words(words: &[u64; Self::WORDS]) -> Self {
        let octets = |high: u64, low: u64| (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        Self {
            source: octets(words[0], words[1]),
            destination: octets(words[2], words[3]),
            source_port: (words[4] >> 48) as u16,
            destination_port: (words[4] >> 32) as u16,
            protocol: (words[4] >> 24) as u8,
            tos: (words[4] >> 16) as u8,
            ip_version: words[4] as u8,
            input: (words[5] >> 32) as u32,
            vlan: (words[5] >> 16) as u16,
            selector: words[5] as u16,
        }
    }

    /// Where its packets come from and go to.
    pub fn ends(&self) -> Ends {
        let Self { source, destination, source_port, destination_port, .. } = *self;
        Ends { source, destination, source_port, destination_port }
    }
}

/// What one packet adds to its flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// When it was seen.
    pub time: Timestamp,
    /// Length of the IP packet.
    pub octets: u64,
    /// TCP control bits.
    pub tcp_flags: u16,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// ifIndex of the output interface, [`LOCAL`], or 0 if unknown.
    pub output: u32,
    /// Where it was seen.
    pub direction: Direction,
}

/// A flow: what is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// What its packets have in common.
    pub key: FlowKey,
    /// packetDeltaCount.
    pub packets: u64,
    /// octetDeltaCount: IP packets with their headers.
    pub octets: u64,
    /// Time of the earliest packet.
    pub first: Timestamp,
    /// Time of the latest packet.
    pub last: Timestamp,
    /// TCP control bits of all its packets, OR-ed.
    pub tcp_flags: u16,
    /// TCP control bits of its first packet.
    pub first_tcp_flags: u16,
    /// Smallest TTL or hop limit.
    pub min_ttl: u8,
    /// Largest TTL or hop limit.
    pub max_ttl: u8,
    /// ifIndex of the output interface of its first packet, [`LOCAL`], or 0 if unknown.
    pub output: u32,
    /// Where its first packet was seen.
    pub direction: Direction,
    /// What became of its packets.
    pub forwarding_status: ForwardingStatus,
    /// Why it ended.
    pub end_reason: EndReason,
    /// What else there is to say of its packets, where that is kept.
    pub details: Details,
    /// The user that its first packet is of, where that is looked up.
    pub user_name: UserName,
    /// It is known to be the direction of who began the conversation.
    pub is_initiators: bool,
    /// Its connection, where records say it.
    pub tracked: Tracked,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A flow for tests to vary: 10.1.2.3:1024 to 10.9.8.7:443 by TCP.
    pub(crate) fn record() -> FlowRecord {
        let address = |octets: [u8; 4]| std::array::from_fn(|i| octets.get(i).copied().unwrap_or_default());
        FlowRecord {
            key: FlowKey {
                source: address([10, 1, 2, 3]),
                destination: address([10, 9, 8, 7]),
                source_port: 1024,
                destination_port: 443,
                protocol: 6,
                tos: 0x10,
                ip_version: 4,
                input: 2,
                vlan: 7,
                selector: 1,
            },
            packets: 5,
            octets: 600,
            first: Timestamp::from_nanos(1_700_000_000_123_000_000),
            last: Timestamp::from_nanos(1_700_000_001_456_000_000),
            tcp_flags: 0x11b,
            first_tcp_flags: 0x002,
            min_ttl: 60,
            max_ttl: 64,
            output: 3,
            direction: Direction::Egress,
            forwarding_status: ForwardingStatus::Unknown,
            end_reason: EndReason::EndOfFlow,
            details: Details::default(),
            user_name: UserName::default(),
            is_initiators: false,
            tracked: Tracked::default(),
        }
    }

    #[test]
    fn a_key_survives_its_words() {
        let mut key = record().key;
        assert_eq!(FlowKey::from_words(&key.to_words()), key);
        key.ip_version = 6;
        key.source = std::array::from_fn(|i| i as u8);
        assert_eq!(FlowKey::from_words(&key.to_words()), key);
    }
}
