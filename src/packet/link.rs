//! From the first byte of a frame to its outermost IP header: Ethernet, VLAN tags, MPLS, PPPoE, LLC/SNAP.

use super::{Refusal, Start};
use etherparse::EtherType;

/// The version that an IP header has, or is said to have by what is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Where the outermost IP header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network<'a> {
    /// What the layer before it says it is.
    pub version: Version,
    /// The bytes from its first on.
    pub bytes: &'a [u8],
    /// What was found on the way to it.
    pub tags: Tags,
}

/// Tags and labels before the outermost IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// VLAN ids of the outermost tag and of the next, 0 without one.
    pub vlans: [u16; 2],
    /// The top entry of the MPLS label stack, without its TTL: label, traffic class and S bit (RFC 3032 section 2.1).
    pub mpls: [u8; 3],
}

/// PPP protocol numbers of the two IP versions (IANA, RFC 1332 and RFC 5072).
pub(crate) const PPP_IPV4: u16 = 0x0021;
pub(crate) const PPP_IPV6: u16 = 0x0057;
/// An Ethernet type field below this is the length of an LLC frame (IEEE 802.3 clause 3.2.6).
const FIRST_ETHERTYPE: u16 = 0x0600;
const IPV4: u16 = EtherType::IPV4.0;
const IPV6: u16 = EtherType::IPV6.0;
const PPPOE_SESSION: u16 = 0x8864;
const MPLS_UNICAST: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;

/// Skips whatever lies before the outermost IP header.
#[inline(always)]
pub fn network_layer(start: Start, bytes: &[u8]) -> Result<Network<'_>, Refusal> {
    match start {
        Start::Ethernet => {
            let (ethertype, rest) = split(bytes, 12).and_then(|(_, rest)| type_field(rest)).ok_or(Refusal::NotIp)?;
            behind_ethertype(ethertype, rest)
        }
        Start::EtherType(ethertype) => behind_ethertype(ethertype, bytes),
        Start::Ip => behind_nibble(bytes, Tags::default()),
    }
}

/// The common cases, without a call.
#[inline(always)]
fn behind_ethertype(ethertype: u16, bytes: &[u8]) -> Result<Network<'_>, Refusal> {
    match ethertype {
        IPV4 => Ok(Network { version: Version::V4, bytes, tags: Tags::default() }),
        IPV6 => Ok(Network { version: Version::V6, bytes, tags: Tags::default() }),
        _ => behind_tags(ethertype, bytes),
    }
}

fn behind_tags(mut ethertype: u16, mut bytes: &[u8]) -> Result<Network<'_>, Refusal> {
    let mut tags = Tags::default();
    let mut vlans = tags.vlans.iter_mut();
    loop {
        match EtherType(ethertype) {
            EtherType::IPV4 => return Ok(Network { version: Version::V4, bytes, tags }),
            EtherType::IPV6 => return Ok(Network { version: Version::V6, bytes, tags }),
            EtherType::VLAN_TAGGED_FRAME | EtherType::PROVIDER_BRIDGING | EtherType::VLAN_DOUBLE_TAGGED_FRAME => {
                let (tci, rest) = type_field(bytes).ok_or(Refusal::NotIp)?;
                vlans.next().into_iter().for_each(|vlan| *vlan = tci & 0x0fff);
                (ethertype, bytes) = type_field(rest).ok_or(Refusal::NotIp)?;
            }
            EtherType(MPLS_UNICAST | MPLS_MULTICAST) => return behind_mpls(bytes, tags),
            EtherType(PPPOE_SESSION) => return behind_pppoe(bytes, tags),
            EtherType(length) if length < FIRST_ETHERTYPE => {
                (ethertype, bytes) = behind_llc(bytes).ok_or(Refusal::NotIp)?;
            }
            _ => return Err(Refusal::NotIp),
        }
    }
}

/// The label stack ends at the entry with the S bit (RFC 3032 section 2.1). What follows does not say what it is:
/// a first nibble of 4 or 6 means IP, anything else a pseudo wire (RFC 4928).
fn behind_mpls(mut bytes: &[u8], mut tags: Tags) -> Result<Network<'_>, Refusal> {
    tags.mpls = *bytes.first_chunk().ok_or(Refusal::NotIp)?;
    loop {
        let (entry, rest) = split(bytes, 4).ok_or(Refusal::NotIp)?;
        bytes = rest;
        if entry[2] & 1 == 1 {
            return behind_nibble(bytes, tags);
        }
    }
}

/// PPPoE session header of 6 bytes, then a PPP protocol number (RFC 2516 section 4).
fn behind_pppoe(bytes: &[u8], tags: Tags) -> Result<Network<'_>, Refusal> {
    let (protocol, bytes) = split(bytes, 6).and_then(|(_, rest)| type_field(rest)).ok_or(Refusal::NotIp)?;
    match protocol {
        PPP_IPV4 => Ok(Network { version: Version::V4, bytes, tags }),
        PPP_IPV6 => Ok(Network { version: Version::V6, bytes, tags }),
        _ => Err(Refusal::NotIp),
    }
}

/// LLC with the SNAP extension and Ethernet's organisation code 0 (RFC 1042): an EtherType follows.
fn behind_llc(bytes: &[u8]) -> Option<(u16, &[u8])> {
    match split(bytes, 6)? {
        ([0xaa, 0xaa, 0x03, 0, 0, 0], rest) => type_field(rest),
        _ => None,
    }
}

fn behind_nibble(bytes: &[u8], tags: Tags) -> Result<Network<'_>, Refusal> {
    match bytes.first().map(|byte| byte >> 4) {
        Some(4) => Ok(Network { version: Version::V4, bytes, tags }),
        Some(6) => Ok(Network { version: Version::V6, bytes, tags }),
        _ => Err(Refusal::NotIp),
    }
}

fn split(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(length)
}

/// A big-endian 16-bit field and what follows it.
fn type_field(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (field, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*field), rest))
}
