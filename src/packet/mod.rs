//! From a packet's bytes to what its flow is counted by.
//!
//! [`link`] finds the outermost IP header, [`ip`] reads it and walks to the transport header. Only the outermost IP
//! header counts: a tunnel is one flow between its ends. Every byte is read through checked slices, so that whatever
//! arrives can be refused but can never panic.

pub mod details;
pub mod ip;
pub mod link;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the first byte of a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// An Ethernet header.
    Ethernet,
    /// What this EtherType says: IPv4 (0x0800), IPv6 (0x86DD), or a tag or shim before them.
    EtherType(u16),
    /// An IP header, its version to be read from its first four bits.
    Ip,
}

/// What the outermost IP header and the transport header behind it say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// IP version: 4 or 6.
    pub ip_version: u8,
    /// Source address of the outermost IP header, as [`address`] understands it.
    pub source: u128,
    /// Destination address of the outermost IP header, also where a source route names a further hop.
    pub destination: u128,
    /// The upper-layer protocol: behind IPv6 extension headers, that of the last one that could be read.
    pub protocol: u8,
    /// IPv4 type of service or IPv6 traffic class.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Transport source port, 0 where there is none to be read.
    pub source_port: u16,
    /// Transport destination port; ICMP type * 256 + code; 0 where there is neither to be read.
    pub destination_port: u16,
    /// TCP control bits, 12 of them (RFC 9293 section 3.1); 0 where they cannot be read.
    pub tcp_flags: u16,
    /// Length of the IP packet in octets, by its header.
    pub octets: u64,
    /// The header did not tell the length (segmentation offload, BIG TCP), and `octets` is what the source knows.
    pub length_unstated: bool,
}

/// The address that a number is in an IP version: an IPv4 address is its upper 32 bits, the rest are 0.
pub fn address(ip_version: u8, number: u128) -> IpAddr {
    match ip_version {
        6 => Ipv6Addr::from_bits(number).into(),
        _ => Ipv4Addr::from_bits((number >> V4_SHIFT) as u32).into(),
    }
}

/// How far an IPv4 address is above the lowest bit.
const V4_SHIFT: u32 = 96;

/// Why a packet is in no flow. Each has its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no IP header (ARP, LLDP, PPP control, …).
    NotIp,
    /// Its IP header is cut off or contradicts itself.
    Malformed,
}

/// A packet's VLAN id (0 where it has no tag) and its headers.
///
/// `octets` is the packet's length before a snaplen cut it, counted from the first byte of `bytes`.
#[inline(always)]
pub fn parse(start: Start, bytes: &[u8], octets: u64) -> Result<(u16, Headers), Refusal> {
    let network = link::network_layer(start, bytes)?;
    let before = (bytes.len() - network.bytes.len()) as u64;
    let headers = ip::parse(network.version, network.bytes, octets.saturating_sub(before))?;
    Ok((network.tags.vlans[0], headers))
}
