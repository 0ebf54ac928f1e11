//! What records can say of a packet beside what its flow is counted by. Read only where they do, and then of packets that
//! were found sound: what is missing here was cut off by a snaplen.

use super::{Details, FirstDetails};
use crate::packet::Start;
use crate::packet::ip::{self, IPV6_HEADER};
use crate::packet::link::{self, Version};
use etherparse::IpNumber;

/// Octets of a TCP header without options.
const TCP_HEADER: usize = 20;
/// The options without a length (RFC 9293 section 3.1): end of the list, and no operation.
const OPTION_END: u8 = 0;
const OPTION_NO_OPERATION: u8 = 1;
/// Maximum segment size, in a header with the flag SYN (RFC 9293 section 3.7.1).
const OPTION_MSS: u8 = 2;
const FLAGS: usize = 13;
const SYN: u8 = 2;

/// The details of a packet, of which IP counts so many octets.
pub fn read(start: Start, bytes: &[u8], octets: u64) -> Details {
    let macs = if start == Start::Ethernet { macs(bytes) } else { Default::default() };
    let mut details = Details { lengths: [u32::try_from(octets).unwrap_or(u32::MAX); 2], ..Details::default() };
    details.segment.octets = details.lengths[0];
    let first = &mut details.first;
    first.macs = macs;
    if let Ok(network) = link::network_layer(start, bytes) {
        (first.inner_vlan, first.mpls) = (network.tags.vlans[1], network.tags.mpls);
        let packet = ip::clamp(network.bytes, octets);
        let transport = match network.version {
            Version::V4 => read_v4(packet, first),
            Version::V6 => read_v6(packet, first),
        };
        if let Some((protocol, header)) = transport
            && protocol == IpNumber::TCP.0
        {
            read_tcp(packet.len() - header.len(), header, &mut details);
        }
    }
    details
}

/// Notes what a TCP header says that is behind so many octets of IP's.
fn read_tcp(behind: usize, header: &[u8], details: &mut Details) {
    details.tcp_options =
        tcp_options(header).fold(0, |bits, (kind, _)| bits | 1_u64.checked_shl(kind.into()).unwrap_or(0));
    let length = tcp_header_length(header).max(TCP_HEADER);
    let segment = &mut details.segment;
    segment.headers = u16::try_from(behind + length).unwrap_or(u16::MAX);
    segment.options = (length - TCP_HEADER) as u8;
    if header.get(FLAGS).is_some_and(|flags| flags & SYN != 0) {
        let mss =
            tcp_options(header).find_map(|(kind, content)| (kind == OPTION_MSS).then_some(content)?.first_chunk());
        segment.mss = mss.map_or(0, |octets| u16::from_be_bytes(*octets));
    }
}

/// Source and destination address of an Ethernet frame.
pub fn macs(frame: &[u8]) -> [[u8; 6]; 2] {
    let Some([destination, source]) = frame.as_chunks().0.first_chunk() else { return Default::default() };
    [*source, *destination]
}

/// Notes what an IPv4 header says; gives the protocol, and its header if it is there.
fn read_v4<'a>(packet: &'a [u8], first: &mut FirstDetails) -> Option<(u8, &'a [u8])> {
    let &[head, _, _, _, a, b, high, low, _, protocol, ..] = packet else { return None };
    first.identification = u16::from_be_bytes([a, b]).into();
    let is_first_fragment = u16::from_be_bytes([high, low]) & ip::FRAGMENT_OFFSET == 0;
    let transport = packet.get(usize::from(head & 0x0f) * 4..)?;
    is_first_fragment.then_some((protocol, transport))
}

/// The same for IPv6.
fn read_v6<'a>(packet: &'a [u8], first: &mut FirstDetails) -> Option<(u8, &'a [u8])> {
    let &[_, a, b, c, _, _, next, ..] = packet else { return None };
    first.flow_label = u32::from_be_bytes([0, a & 0x0f, b, c]);
    first.next_header = next;
    let payload = packet.get(IPV6_HEADER..)?;
    first.identification = fragment_identification(next, payload);
    let (protocol, transport) = ip::walk_extensions(next, payload);
    Some((protocol, transport?))
}

/// That of the Fragment header, its last four octets (RFC 8200 section 4.5); 0 without one.
fn fragment_identification(mut protocol: u8, mut bytes: &[u8]) -> u32 {
    while let Some(length) = ip::extension_length(protocol, bytes) {
        if protocol == IpNumber::IPV6_FRAGMENTATION_HEADER.0 {
            return bytes.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |octets| u32::from_be_bytes(*octets));
        }
        let (Some(&next), Some(length)) = (bytes.first(), length) else { return 0 };
        protocol = next;
        bytes = bytes.get(length..).unwrap_or_default();
    }
    0
}

/// What a TCP header says of its length in octets; 0 if that was cut off.
fn tcp_header_length(header: &[u8]) -> usize {
    header.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4)
}

/// The options of a TCP header, kind and content, up to the first that contradicts itself.
fn tcp_options(header: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let length = tcp_header_length(header) as u64;
    let mut options = ip::clamp(header, length).get(TCP_HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&kind, rest) = options.split_first()?;
        let content;
        (content, options) = match (kind, rest) {
            (OPTION_END, _) => (&[][..], &[][..]),
            (OPTION_NO_OPERATION, _) => (&[][..], rest),
            // a length counts both octets before the content; what is shorter or runs on is the last
            (_, &[length, ..]) if length >= 2 => {
                let whole = usize::from(length);
                (options.get(2..whole).unwrap_or_default(), options.get(whole..).unwrap_or_default())
            }
            _ => (&[][..], &[][..]),
        };
        Some((kind, content))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::details::{Segment, Segments};

    /// Ethernet, two VLAN tags (7 outside, 8 inside), two MPLS labels, IPv4, TCP with MSS, SACK permitted and no operation.
    #[test]
    fn every_layer_says_its_part() {
        let mut frame = vec![0x02, 0, 0, 0, 0, 0x0d, 0x02, 0, 0, 0, 0, 0x05];
        frame.extend([0x88, 0xa8, 0x20, 7, 0x81, 0, 0, 8, 0x88, 0x47]);
        frame.extend([0x12, 0x34, 0x50, 64, 0, 1, 0x01, 64]);
        let start = frame.len();
        frame.extend([0x45, 0, 0, 48, 0xab, 0xcd, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 7 << 4, 2, 0, 0, 0, 0, 0, 0]);
        frame.extend([2, 4, 5, 0xb4, 4, 2, 1, 1]);
        let details = read(Start::Ethernet, &frame, 48);
        let first = FirstDetails {
            macs: [[2, 0, 0, 0, 0, 5], [2, 0, 0, 0, 0, 0x0d]],
            inner_vlan: 8,
            mpls: [0x12, 0x34, 0x50],
            identification: 0xabcd,
            ..FirstDetails::default()
        };
        let tcp_options = 1 << 2 | 1 << 4 | 1 << 1;
        let segment = Segment { octets: 48, headers: 48, options: 8, mss: 1460 };
        assert_eq!(details, Details { first, tcp_options, lengths: [48, 48], segment, segments: Segments::default() });
        let behind = read(Start::Ip, &frame[start..], 48).first;
        assert_eq!((behind.macs, behind.inner_vlan, behind.identification), ([[0; 6]; 2], 0, 0xabcd));
        // whatever is cut off is absent, and nothing panics
        for length in 0..frame.len() {
            let _ = read(Start::Ethernet, &frame[..length], 48);
        }
    }

    /// A first fragment: hop-by-hop options, Fragment header, UDP.
    #[test]
    fn ipv6_says_label_next_header_and_identification() {
        let mut packet = vec![0x60, 0x0a, 0xbc, 0xde, 0, 24, 0, 64];
        packet.extend([0x20; 32]);
        packet.extend([44, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend([17, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef]);
        packet.extend([0, 1, 0, 2, 0, 8, 0, 0]);
        let first = read(Start::Ip, &packet, 64).first;
        assert_eq!((first.flow_label, first.next_header, first.identification), (0xa_bcde, 0, 0xdead_beef));
        for length in 0..packet.len() {
            let _ = read(Start::Ip, &packet[..length], 64);
        }
    }

    #[test]
    fn options_end_where_they_say_so_or_contradict_themselves() {
        let bits = |options: &[u8]| {
            let mut header = vec![0; TCP_HEADER];
            header[12] = (((TCP_HEADER + options.len()) / 4) << 4) as u8;
            header.extend(options);
            tcp_options(&header).fold(0_u64, |bits, (kind, _)| bits | 1_u64.checked_shl(kind.into()).unwrap_or(0))
        };
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 2, 4, 0]), 1 << 0);
        assert_eq!(bits(&[8, 1, 1, 1]), 1 << 8);
        assert_eq!(bits(&[254, 4, 0, 0, 1, 1, 1, 3]), 1 << 1 | 1 << 3);
        assert_eq!(bits(&[8, 255, 1, 1]), 1 << 8);
    }
}
