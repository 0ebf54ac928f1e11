//! From the outermost IP header to the transport header: IPv4 (RFC 791), IPv6 and its extension headers (RFC 8200).
//!
//! Lengths are the header's own word, so that a snaplen never changes what is counted. What a snaplen cut off is taken
//! as absent: ports and flags that are not there are 0.

use super::link::Version;
use super::{Headers, Refusal, V4_SHIFT};
use etherparse::IpNumber;

const IPV4_HEADER: usize = 20;
pub(super) const IPV6_HEADER: usize = 40;
/// The bits of the fragment offset beside IPv4's flags.
pub(super) const FRAGMENT_OFFSET: u16 = 0x1fff;
/// Jumbo Payload, the hop-by-hop option that carries a length above 65,535 (RFC 2675 section 2).
const OPTION_JUMBO: u8 = 0xc2;
/// Pad1, the one option without a length byte (RFC 8200 section 4.2).
const OPTION_PAD1: u8 = 0;
/// DCCP and UDP-Lite (IANA protocol numbers), which etherparse does not name.
const DCCP: u8 = 33;
const UDP_LITE: u8 = 136;

/// Reads the header of an IP packet of which `bytes` were captured.
///
/// `octets` is the packet's length on the wire, used only where the header says 0 (segmentation offload, BIG TCP).
#[inline(always)]
pub fn parse(version: Version, bytes: &[u8], octets: u64) -> Result<Headers, Refusal> {
    match version {
        Version::V4 => parse_v4(bytes, octets),
        Version::V6 => parse_v6(bytes, octets),
    }
    .ok_or(Refusal::Malformed)
}

#[inline(always)]
fn parse_v4(bytes: &[u8], octets: u64) -> Option<Headers> {
    let header: &[u8; IPV4_HEADER] = bytes.first_chunk()?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let total_length = u16::from_be_bytes([header[2], header[3]]);
    let offset = u16::from_be_bytes([header[6], header[7]]) & FRAGMENT_OFFSET;
    let length_unstated = total_length == 0;
    if header[0] >> 4 != 4
        || header_length < IPV4_HEADER
        || (!length_unstated && usize::from(total_length) < header_length)
    {
        return None;
    }
    let packet = if length_unstated { bytes } else { clamp(bytes, u64::from(total_length)) };
    let mut headers = Headers {
        ip_version: 4,
        source: v4_address(header[12..].first_chunk()?),
        destination: v4_address(header[16..].first_chunk()?),
        protocol: header[9],
        tos: header[1],
        ttl: header[8],
        source_port: 0,
        destination_port: 0,
        tcp_flags: 0,
        octets: if length_unstated { octets } else { u64::from(total_length) },
        length_unstated,
    };
    if offset == 0 {
        read_transport(&mut headers, packet.get(header_length..).unwrap_or_default());
    }
    Some(headers)
}

fn v4_address(octets: &[u8; 4]) -> u128 {
    u128::from(u32::from_be_bytes(*octets)) << V4_SHIFT
}

fn parse_v6(bytes: &[u8], octets: u64) -> Option<Headers> {
    let header: &[u8; IPV6_HEADER] = bytes.first_chunk()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let payload_length = u16::from_be_bytes([header[4], header[5]]);
    let next = header[6];
    let payload = &bytes[IPV6_HEADER..];
    let stated = match payload_length {
        0 if next == IpNumber::IPV6_HEADER_HOP_BY_HOP.0 => Some(jumbo_payload(payload).unwrap_or(0)),
        0 => None,
        length => Some(u64::from(length)),
    };
    let mut headers = Headers {
        ip_version: 6,
        source: u128::from_be_bytes(*header[8..].first_chunk()?),
        destination: u128::from_be_bytes(*header[24..].first_chunk()?),
        protocol: next,
        tos: header[0] << 4 | header[1] >> 4,
        ttl: header[7],
        source_port: 0,
        destination_port: 0,
        tcp_flags: 0,
        octets: stated.map_or(octets, |length| length + IPV6_HEADER as u64),
        length_unstated: stated.is_none(),
    };
    let payload = stated.filter(|&length| length > 0).map_or(payload, |length| clamp(payload, length));
    let (protocol, transport) = walk_extensions(next, payload);
    headers.protocol = protocol;
    read_transport(&mut headers, transport.unwrap_or_default());
    Some(headers)
}

/// The length in the Jumbo Payload option of the hop-by-hop header that `bytes` begins with.
fn jumbo_payload(bytes: &[u8]) -> Option<u64> {
    let length = (usize::from(*bytes.get(1)?) + 1) * 8;
    let mut options = clamp(bytes, length as u64).get(2..)?;
    loop {
        match options {
            [OPTION_JUMBO, 4, a, b, c, d, ..] => return Some(u64::from(u32::from_be_bytes([*a, *b, *c, *d]))),
            [OPTION_PAD1, rest @ ..] => options = rest,
            [_, length, rest @ ..] => options = rest.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

/// Walks the extension headers to the protocol behind the last, and to its header if that is there.
///
/// A header of which nothing was captured ends the walk with its own number; a fragment but the first has no
/// transport header.
pub(super) fn walk_extensions(mut protocol: u8, mut bytes: &[u8]) -> (u8, Option<&[u8]>) {
    while let Some(length) = extension_length(protocol, bytes) {
        let Some(&next) = bytes.first() else { return (protocol, None) };
        protocol = next;
        let Some(length) = length else { return (protocol, None) };
        bytes = bytes.get(length..).unwrap_or_default();
    }
    (protocol, Some(bytes))
}

/// How long the extension header with this number is; nothing where that is cut off, and for a fragment but the first, behind
/// which there is no header. `None` if it is none.
pub(super) fn extension_length(protocol: u8, bytes: &[u8]) -> Option<Option<usize>> {
    match IpNumber(protocol) {
        IpNumber::IPV6_HEADER_HOP_BY_HOP | IpNumber::IPV6_ROUTE_HEADER | IpNumber::IPV6_DESTINATION_OPTIONS => {
            Some(bytes.get(1).map(|&length| (usize::from(length) + 1) * 8))
        }
        // RFC 4302 section 2.2: in 4-octet units, less 2
        IpNumber::AUTHENTICATION_HEADER => Some(bytes.get(1).map(|&length| (usize::from(length) + 2) * 4)),
        IpNumber::IPV6_FRAGMENTATION_HEADER => Some(first_fragment(bytes).then_some(8)),
        _ => None,
    }
}

/// Whether a Fragment header is there and its offset is 0 (RFC 8200 section 4.5).
fn first_fragment(header: &[u8]) -> bool {
    matches!(header, [_, _, high, low, ..] if u16::from_be_bytes([*high, *low]) >> 3 == 0)
}

#[inline(always)]
fn read_transport(headers: &mut Headers, bytes: &[u8]) {
    match (IpNumber(headers.protocol), bytes) {
        (
            IpNumber::TCP | IpNumber::UDP | IpNumber::SCTP | IpNumber(DCCP | UDP_LITE),
            &[source_high, source_low, destination_high, destination_low, ..],
        ) => {
            headers.source_port = u16::from_be_bytes([source_high, source_low]);
            headers.destination_port = u16::from_be_bytes([destination_high, destination_low]);
        }
        (IpNumber::ICMP | IpNumber::IPV6_ICMP, &[kind, code, ..]) => {
            headers.destination_port = u16::from_be_bytes([kind, code]);
        }
        _ => {}
    }
    headers.tcp_flags = tcp_flags(headers.protocol, bytes);
}

/// The control bits of a TCP header. Of mixed packets the processor guesses every other protocol wrongly, so it is not made to:
/// the bits are read where TCP's would be, and dropped where it is not TCP.
#[inline(always)]
fn tcp_flags(protocol: u8, bytes: &[u8]) -> u16 {
    let Some(&[offset, flags]) = bytes.get(12..14) else { return 0 };
    // a data offset below 5 words is no TCP header (RFC 9293 section 3.1), so its bits are not flags
    let counts = protocol == IpNumber::TCP.0 && offset >> 4 >= 5;
    u16::from_be_bytes([offset & 0x0f, flags]) & u16::from(counts).wrapping_neg()
}

pub(super) fn clamp(bytes: &[u8], length: u64) -> &[u8] {
    &bytes[..usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len())]
}
