//! What lies before the network layer, by [link type](https://www.tcpdump.org/linktypes.html).

use super::ByteOrder;
use crate::capture::Captured;
use crate::capture::netlink::{Beside, Logged, devices, seen_at};
use crate::flow::Direction;
use crate::packet::Start;
use crate::packet::link::{PPP_IPV4, PPP_IPV6};
use etherparse::EtherType;
use pcap_parser::Linktype;
use std::iter;

/// A packet that is not IP. (Not EtherType 0: that would be the length of an LLC frame.)
pub const NOT_IP: Start = Start::EtherType(0xffff);
const IPV4: Start = Start::EtherType(EtherType::IPV4.0);
const IPV6: Start = Start::EtherType(EtherType::IPV6.0);

const PPP: Linktype = Linktype(9);
const PPP_HDLC: Linktype = Linktype(50);
/// Raw IP by the numbers that BSDs gave it before the registry did.
const RAW_BSD: Linktype = Linktype(12);
const RAW_OPENBSD: Linktype = Linktype(14);

/// What is behind the header of a link type; the frame itself, not IP, where that header is cut off or broken.
/// `None` for a link type that cannot be read.
#[inline(always)]
pub fn strip<'a>(link: Linktype, order: ByteOrder, frame: Captured<'a>) -> Option<Captured<'a>> {
    match link {
        Linktype::ETHERNET => Some(Captured { start: Start::Ethernet, ..frame }),
        _ => strip_other(link, order, frame),
    }
}

/// The less common link types, by a call.
fn strip_other<'a>(link: Linktype, order: ByteOrder, frame: Captured<'a>) -> Option<Captured<'a>> {
    let packet = match link {
        Linktype::RAW | RAW_BSD | RAW_OPENBSD => behind(frame, 0, Start::Ip),
        Linktype::IPV4 => behind(frame, 0, IPV4),
        Linktype::IPV6 => behind(frame, 0, IPV6),
        Linktype::NULL | Linktype::LOOP => loopback(frame),
        PPP | PPP_HDLC => ppp(frame),
        Linktype::LINUX_SLL => cooked(frame),
        Linktype::LINUX_SLL2 => cooked2(frame),
        Linktype::NFLOG => nflog(order, frame),
        _ => return None,
    };
    Some(packet.unwrap_or(frame))
}

/// The packet behind a header of `length` bytes.
fn behind(frame: Captured<'_>, length: usize, start: Start) -> Option<Captured<'_>> {
    let bytes = frame.bytes.get(length..)?;
    Some(Captured { bytes, start, octets: frame.octets.map(|octets| octets - length as u64), ..frame })
}

/// LINKTYPE_NULL and LINKTYPE_LOOP: an address family, in the byte order of the capturing host or in network order.
/// All families are small numbers, which tells the order.
fn loopback(frame: Captured<'_>) -> Option<Captured<'_>> {
    let family = ByteOrder::Big.u32(frame.bytes, 0)?;
    let start = match family.min(family.swap_bytes()) {
        2 => IPV4,
        10 | 24 | 28 | 30 => IPV6, // Linux, NetBSD and OpenBSD, FreeBSD, macOS
        _ => NOT_IP,
    };
    behind(frame, 4, start)
}

/// LINKTYPE_PPP and LINKTYPE_PPP_HDLC: with or without address and control field (RFC 1662 section 3.1), then a protocol
/// number, whose first octet, if it is 0, may be left out (RFC 1661 section 6.5).
fn ppp(frame: Captured<'_>) -> Option<Captured<'_>> {
    let framing = if frame.bytes.starts_with(&[0xff, 0x03]) { 2 } else { 0 };
    let (protocol, length) = match *frame.bytes.get(framing)? {
        compressed if compressed & 1 == 1 => (u16::from(compressed), 1),
        _ => (ByteOrder::Big.u16(frame.bytes, framing)?, 2),
    };
    let start = match protocol {
        PPP_IPV4 => IPV4,
        PPP_IPV6 => IPV6,
        _ => NOT_IP,
    };
    behind(frame, framing + length, start)
}

/// Packet type of the cooked headers: sent by this host (if_packet.h).
const PACKET_OUTGOING: u16 = 4;

/// LINKTYPE_LINUX_SLL: packet type (2 bytes), device type (2), address (2 + 8), EtherType (2).
fn cooked(frame: Captured<'_>) -> Option<Captured<'_>> {
    let outgoing = ByteOrder::Big.u16(frame.bytes, 0)? == PACKET_OUTGOING;
    let start = Start::EtherType(ByteOrder::Big.u16(frame.bytes, 14)?);
    Some(Captured { direction: direction(outgoing), ..behind(frame, 16, start)? })
}

/// LINKTYPE_LINUX_SLL2: EtherType (2 bytes), reserved (2), ifIndex (4), device type (2), packet type (1), address (1 + 8).
fn cooked2(frame: Captured<'_>) -> Option<Captured<'_>> {
    let start = Start::EtherType(ByteOrder::Big.u16(frame.bytes, 0)?);
    let device = ByteOrder::Big.u32(frame.bytes, 4)?;
    let outgoing = u16::from(*frame.bytes.get(10)?) == PACKET_OUTGOING;
    let (input, output) = if outgoing { (0, device) } else { (device, 0) };
    Some(Captured { direction: direction(outgoing), input, output, ..behind(frame, 20, start)? })
}

fn direction(outgoing: bool) -> Direction {
    if outgoing { Direction::Egress } else { Direction::Ingress }
}

/// LINKTYPE_NFLOG: family, version, resource id (1 + 1 + 2 bytes), then attributes of nfnetlink_log.h: length and type
/// in the byte order of the capturing host, value in network order, padding to 4 bytes. The payload is the last of them.
fn nflog(order: ByteOrder, frame: Captured<'_>) -> Option<Captured<'_>> {
    const NFULA_PACKET_HDR: u16 = 1;
    const NFULA_IFINDEX_INDEV: u16 = 4;
    const NFULA_IFINDEX_OUTDEV: u16 = 5;
    const NFULA_PAYLOAD: u16 = 9;
    const NFULA_L2HDR: u16 = 21;
    let mut said = Logged { family: *frame.bytes.first()?, ..Logged::default() };
    let mut packet = frame;
    let mut at = 4;
    loop {
        let length = usize::from(order.u16(frame.bytes, at)?);
        let kind = order.u16(frame.bytes, at + 2)?;
        let value = frame.bytes.get(at + 4..(at + length).min(frame.bytes.len()))?;
        match kind {
            NFULA_PACKET_HDR => (said.hw_protocol, said.hook) = (ByteOrder::Big.u16(value, 0)?, *value.get(2)?),
            NFULA_L2HDR => said.has_link_header = true,
            NFULA_IFINDEX_INDEV => said.input = ByteOrder::Big.u32(value, 0)?,
            NFULA_IFINDEX_OUTDEV => said.output = ByteOrder::Big.u32(value, 0)?,
            NFULA_PAYLOAD if Some((at + length) as u64) > frame.octets => return None,
            NFULA_PAYLOAD => {
                (packet.start, packet.direction) = seen_at(&said);
                (packet.input, packet.output) = devices(&said);
                packet.beside = Beside::of_attributes(said.family, attributes(order, &frame.bytes[4..]));
                return Some(Captured { bytes: value, octets: Some(length as u64 - 4), ..packet });
            }
            _ => {}
        }
        at += length.next_multiple_of(4);
    }
}

/// The attributes that are whole, type and value.
fn attributes(order: ByteOrder, mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    iter::from_fn(move || {
        let (length, kind) = (usize::from(order.u16(bytes, 0)?), order.u16(bytes, 2)?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::flow::LOCAL;
    use crate::packet::details::Provenance;
    use crate::time::Timestamp;
    use ByteOrder::{Big, Little};
    use Direction::{Egress, Ingress};

    pub fn frame(bytes: &[u8]) -> Captured<'_> {
        Captured {
            bytes,
            start: NOT_IP,
            octets: Some(bytes.len() as u64),
            time: Timestamp::default(),
            input: 0,
            output: 0,
            vlan: 0,
            direction: Ingress,
            selector: 0,
            beside: Beside::default(),
        }
    }

    /// Start, bytes and original length of what is behind a frame's link header.
    fn stripped(link: Linktype, bytes: &[u8]) -> (Start, &[u8], u64) {
        let packet = strip(link, Little, frame(bytes)).unwrap();
        (packet.start, packet.bytes, packet.octets.unwrap())
    }

    #[test]
    fn frames_without_a_header_to_skip() {
        for (link, start) in
            [(1, Start::Ethernet), (101, Start::Ip), (12, Start::Ip), (14, Start::Ip), (228, IPV4), (229, IPV6)]
        {
            assert_eq!(stripped(Linktype(link), &[0x45, 0]), (start, &[0x45, 0][..], 2));
            assert_eq!(stripped(Linktype(link), &[]), (start, &[][..], 0));
        }
    }

    #[test]
    fn loopback_frames_begin_with_an_address_family() {
        for (header, start) in [
            ([2, 0, 0, 0], IPV4),
            ([0, 0, 0, 2], IPV4),
            ([10, 0, 0, 0], IPV6),
            ([24, 0, 0, 0], IPV6),
            ([0, 0, 0, 28], IPV6),
            ([30, 0, 0, 0], IPV6),
            ([7, 0, 0, 0], NOT_IP),
            ([2, 0, 0, 2], NOT_IP),
        ] {
            let bytes = [&header[..], &[0x45]].concat();
            for link in [Linktype::NULL, Linktype::LOOP] {
                assert_eq!(stripped(link, &bytes), (start, &[0x45][..], 1));
                assert_eq!(stripped(link, &bytes[..3]), (NOT_IP, &bytes[..3], 3));
            }
        }
    }

    #[test]
    fn ppp_frames_have_a_protocol_in_one_or_two_octets() {
        for (bytes, start, length) in [
            (&[0x00, 0x21, 0x45][..], IPV4, 1),
            (&[0x21, 0x45], IPV4, 1),
            (&[0xff, 0x03, 0x00, 0x57, 0x60, 1], IPV6, 2),
            (&[0xff, 0x03, 0x57, 0x60, 1], IPV6, 2),
            (&[0xc0, 0x21, 1, 1], NOT_IP, 2), // LCP
            (&[0xff, 0x03], NOT_IP, 2),
            (&[0x00], NOT_IP, 1),
            (&[], NOT_IP, 0),
        ] {
            for link in [PPP, PPP_HDLC] {
                assert_eq!(stripped(link, bytes), (start, &bytes[bytes.len() - length..], length as u64));
            }
        }
    }

    #[test]
    fn cooked_frames_tell_direction_and_ethertype() {
        let mut bytes = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0x00, 0x45];
        for (packet_type, direction) in [(0, Ingress), (3, Ingress), (4, Egress)] {
            bytes[1] = packet_type;
            let packet = strip(Linktype::LINUX_SLL, Little, frame(&bytes)).unwrap();
            assert_eq!((packet.start, packet.bytes, packet.octets.unwrap()), (IPV4, &[0x45][..], 1));
            assert_eq!((packet.direction, packet.input, packet.output), (direction, 0, 0));
        }
        assert_eq!(stripped(Linktype::LINUX_SLL, &bytes[..15]), (NOT_IP, &bytes[..15], 15));
    }

    #[test]
    fn cooked_frames_of_version_2_tell_the_device_too() {
        let mut bytes = [0x86, 0xdd, 0, 0, 0, 0, 1, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x60];
        for (packet_type, expected) in [(0, (Ingress, 0x102, 0)), (4, (Egress, 0, 0x102))] {
            bytes[10] = packet_type;
            let packet = strip(Linktype::LINUX_SLL2, Little, frame(&bytes)).unwrap();
            assert_eq!((packet.start, packet.bytes, packet.octets.unwrap()), (IPV6, &[0x60][..], 1));
            assert_eq!((packet.direction, packet.input, packet.output), expected);
        }
        assert_eq!(stripped(Linktype::LINUX_SLL2, &bytes[..19]), (NOT_IP, &bytes[..19], 19));
    }

    #[test]
    fn the_original_length_loses_the_header_too() {
        let cut = Captured { octets: Some(80_020), ..frame(&[0; 22]) };
        assert_eq!(strip(Linktype::LINUX_SLL2, Little, cut).unwrap().octets, Some(80_000));
    }

    /// Family IPv4, group 5; packet header (IPv4, hook 3), prefix "ab", devices 7 and 8, timestamp, payload of 5 bytes.
    #[rustfmt::skip]
    const NFLOG_LITTLE: &[u8] = &[
        2, 0, 0, 5,
        8, 0, 1, 0, 0x08, 0x00, 3, 0,
        7, 0, 10, 0, b'a', b'b', 0, 0,
        8, 0, 4, 0, 0, 0, 0, 7,
        8, 0, 5, 0, 0, 0, 0, 8,
        20, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 9,
        9, 0, 9, 0, 0x45, 1, 2, 3, 4, 0, 0, 0,
    ];
    #[rustfmt::skip]
    const NFLOG_BIG: &[u8] = &[
        2, 0, 0, 5,
        0, 8, 0, 1, 0x08, 0x00, 3, 0,
        0, 8, 0, 4, 0, 0, 0, 7,
        0, 8, 0, 5, 0, 0, 0, 8,
        0, 9, 0, 9, 0x45, 1, 2, 3, 4, 0, 0, 0,
    ];

    #[test]
    fn nflog_attributes_are_in_the_byte_order_of_the_file() {
        for (order, bytes) in [(Little, NFLOG_LITTLE), (Big, NFLOG_BIG)] {
            let packet = strip(Linktype::NFLOG, order, frame(bytes)).unwrap();
            assert_eq!((packet.start, packet.bytes, packet.octets.unwrap()), (IPV4, &[0x45, 1, 2, 3, 4][..], 5));
            assert_eq!((packet.direction, packet.input, packet.output), (Egress, LOCAL, 8));
            assert_eq!(packet.beside.hook, 3);
        }
        assert_eq!(strip(Linktype::NFLOG, Big, frame(NFLOG_LITTLE)).unwrap().start, NOT_IP);
    }

    #[test]
    fn nflog_hooks_tell_direction_and_start() {
        for (family, hook, expected) in [
            (2, 0, (IPV4, Ingress, 7, 8)),
            (2, 1, (IPV4, Ingress, 7, LOCAL)),
            (2, 2, (IPV4, Ingress, 7, 8)),
            (2, 3, (IPV4, Egress, LOCAL, 8)),
            (2, 4, (IPV4, Egress, 7, 8)),
            (7, 1, (IPV4, Ingress, 7, 8)), // a bridge's hooks
            (7, 3, (IPV4, Egress, 7, 8)),
            (10, 1, (IPV4, Ingress, 7, LOCAL)),
            (2, 5, (IPV4, Ingress, 7, 8)),
            (5, 0, (IPV4, Ingress, 7, 8)),
            (5, 1, (IPV4, Egress, 7, 8)), // a tunnel's device
        ] {
            let mut bytes = NFLOG_LITTLE.to_vec();
            (bytes[0], bytes[10]) = (family, hook);
            let packet = strip(Linktype::NFLOG, Little, frame(&bytes)).unwrap();
            let found = (packet.start, packet.direction, packet.input, packet.output);
            assert_eq!(found, expected, "family {family}, hook {hook}");
        }
        // NFULA_L2HDR: the payload has a link-layer header at netdev egress
        let mut bytes = [&NFLOG_LITTLE[..12], &[4, 0, 21, 0], &NFLOG_LITTLE[12..]].concat();
        (bytes[0], bytes[10]) = (5, 1);
        assert_eq!(strip(Linktype::NFLOG, Little, frame(&bytes)).unwrap().start, Start::Ethernet);
    }

    #[test]
    fn nflog_tells_the_owner_of_what_goes_out() {
        let owner = [8, 0, 11, 0, 0, 0, 3, 0xe8, 8, 0, 14, 0, 0, 0, 0, 100];
        let mut bytes = [&NFLOG_LITTLE[..12], &owner, &NFLOG_LITTLE[12..]].concat();
        for (hook, expected) in [(3, Provenance::Process { uid: 1000, gid: 100 }), (1, Provenance::Unknown)] {
            bytes[10] = hook;
            assert_eq!(strip(Linktype::NFLOG, Little, frame(&bytes)).unwrap().beside.provenance, expected);
        }
    }

    #[test]
    fn nflog_without_protocol_is_ip_of_some_version() {
        assert_eq!(stripped(Linktype::NFLOG, &[2, 0, 0, 5, 5, 0, 9, 0, 0x45]), (Start::Ip, &[0x45][..], 1));
        let old_kernel = [2, 0, 0, 5, 8, 0, 1, 0, 0, 0, 3, 0, 5, 0, 9, 0, 0x45];
        assert_eq!(stripped(Linktype::NFLOG, &old_kernel), (Start::Ip, &[0x45][..], 1));
    }

    #[test]
    fn nflog_with_bad_attributes_is_not_ip() {
        for bytes in [
            &[2, 0, 0, 5][..],                         // none
            &[2, 0, 0, 5, 3, 0, 9, 0, 0x45],           // shorter than its own header
            &[2, 0, 0, 5, 0, 0, 0, 0, 0x45],           // of length 0
            &[2, 0, 0, 5, 9, 0, 9, 0, 0x45],           // longer than the frame
            &[2, 0, 0, 5, 6, 0, 1, 0, 8, 0, 0, 0],     // packet header without hook
            &[2, 0, 0, 5, 12, 0, 2, 0, 0, 1, 1, 0, 0], // no payload
            &[2, 0, 0],
            &[],
        ] {
            assert_eq!(stripped(Linktype::NFLOG, bytes), (NOT_IP, bytes, bytes.len() as u64));
        }
    }

    #[test]
    fn nflog_payload_cut_by_a_snaplen_keeps_its_length() {
        let cut =
            Captured { octets: Some(NFLOG_LITTLE.len() as u64), ..frame(&NFLOG_LITTLE[..NFLOG_LITTLE.len() - 6]) };
        let packet = strip(Linktype::NFLOG, Little, cut).unwrap();
        assert_eq!((packet.start, packet.bytes, packet.octets.unwrap()), (IPV4, &[0x45, 1][..], 5));
    }

    #[test]
    fn other_link_types_cannot_be_read() {
        assert!(strip(Linktype(105), Little, frame(&[8, 0])).is_none()); // IEEE 802.11
    }
}
