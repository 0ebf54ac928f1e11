//! What rules are made of.

use std::net::IpAddr;
use std::ops::RangeInclusive;

/// A part of a rule: what packets it is about, or at its end what is done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// The packet came in or goes out by the interface of this name.
    Interface(Side, String),
    /// The packet came in by no interface: the host's own, and at hook postrouting what a bridge passes on.
    NoInput,
    /// The packet comes from one of this host's own addresses.
    FromHere,
    /// The upper-layer protocol, behind IPv6 extension headers.
    Protocol(u8),
    /// A port of the transport protocol that stands before it in the rule.
    Port(End, RangeInclusive<u16>),
    /// An address, and so the IP version.
    Address(End, Prefix),
    /// The VLAN id of the outermost tag; only at [`Hook::Ingress`](super::Hook::Ingress).
    Vlan(Tag, u16),
    /// Chance selects one packet in so many.
    OneIn(u32),
    /// Of so many shares the one with this number, from 0 on; both directions of a flow are in the same.
    Share {
        /// Which.
        number: u16,
        /// Of how many.
        of: u16,
    },
    /// Log to an NFLOG group, and go on.
    Log {
        /// The group.
        group: u16,
        /// Octets of each packet.
        snaplen: u32,
        /// What the log says of the rule; may be empty.
        prefix: &'static str,
    },
    /// Go on in another chain, for good.
    Goto(&'static str),
    /// Let the packet through this chain.
    Return,
    /// Drop it.
    Drop,
}

/// Kinds of VLAN tags, by their EtherType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Tag {
    /// The customer's, or the only one (802.1Q).
    Customer = 0x8100,
    /// The provider's, outside that (802.1ad).
    Service = 0x88a8,
}

/// Which of a packet's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one it came in by.
    Input,
    /// The one it goes out by.
    Output,
}

/// Where a packet comes from, or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// The addresses that begin like this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The first of them.
    pub address: IpAddr,
    /// How many bits they have in common, at most 32 or 128.
    pub length: u8,
}

impl Prefix {
    /// This address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }
}

/// The transport protocols that rules know by name, with ports.
pub const TRANSPORTS: [(&str, u8); 5] = [("tcp", 6), ("udp", 17), ("sctp", 132), ("dccp", 33), ("udplite", 136)];

/// The name of a transport protocol, as nft and iptables have it.
pub fn transport(protocol: u8) -> Option<&'static str> {
    TRANSPORTS.iter().find_map(|&(name, number)| (number == protocol).then_some(name))
}
