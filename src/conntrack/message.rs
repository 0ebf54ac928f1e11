//! What is asked and answered over ctnetlink: `linux/netfilter/nfnetlink_conntrack.h`. Addresses, ports and the id are
//! big-endian.

use super::{Connection, Query};
use crate::capture::netlink::{self as walk, Message, NFGENMSG};
use crate::flow::Ends;
use crate::netlink::{Attributes, Request};
use std::io;

const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8;
/// `IPCTNL_MSG_CT_NEW`, which an answer is, and `IPCTNL_MSG_CT_GET`.
const NEW: u16 = SUBSYSTEM;
const GET: u16 = SUBSYSTEM | 1;

/// Enum `ctattr_type`.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_ID: u16 = 12;
/// Enum `ctattr_tuple`.
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
/// Enum `ctattr_ip`: source and destination, of IPv4 and of IPv6.
const CTA_IP_V4: [u16; 2] = [1, 2];
const CTA_IP_V6: [u16; 2] = [3, 4];
/// Enum `ctattr_l4proto`.
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// Adds the question for a connection. As the original tuple, the kernel finds it by either.
pub fn ask(request: &mut Request, query: &Query) {
    let family = if query.ip_version == 4 { libc::AF_INET } else { libc::AF_INET6 };
    request.add(GET, 0, &[family as u8, libc::NFNETLINK_V0 as u8, 0, 0], |attributes| {
        attributes.nest(CTA_TUPLE_ORIG, &[], |tuple| put(tuple, query));
    });
}

fn put(tuple: &mut Attributes<'_>, query: &Query) {
    let Query { ip_version, protocol, ends } = query;
    let ([source, destination], length) = if *ip_version == 4 { (CTA_IP_V4, 4) } else { (CTA_IP_V6, 16) };
    tuple.nest(CTA_TUPLE_IP, &[], |ip| {
        ip.put(source, &ends.source[..length]);
        ip.put(destination, &ends.destination[..length]);
    });
    tuple.nest(CTA_TUPLE_PROTO, &[], |proto| {
        proto.put(CTA_PROTO_NUM, &[*protocol]);
        proto.put(CTA_PROTO_SRC_PORT, &ends.source_port.to_be_bytes());
        proto.put(CTA_PROTO_DST_PORT, &ends.destination_port.to_be_bytes());
    });
}

/// The answer to one question: a connection, none, or why it is not answered.
pub fn answer(message: &Message<'_>) -> io::Result<Option<Connection>> {
    match message.errno() {
        Some(libc::ENOENT) => Ok(None),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None if message.kind == NEW => {
            Ok(message.body.get(NFGENMSG..).and_then(connection).map(|(connection, _)| connection))
        }
        None => Ok(None),
    }
}

/// The connection that these attributes describe, and the bits of its status, 0 where they do not say it.
pub fn connection(attributes: &[u8]) -> Option<(Connection, u32)> {
    let tuple = |kind| ends(find(attributes, kind)?);
    let be32 = |kind| find(attributes, kind)?.first_chunk().map(|octets| u32::from_be_bytes(*octets));
    let (original, reply) = (tuple(CTA_TUPLE_ORIG)?, tuple(CTA_TUPLE_REPLY)?);
    Some((Connection { id: be32(CTA_ID)?, original, reply }, be32(CTA_STATUS).unwrap_or_default()))
}

/// The protocol number of the connection that these attributes describe.
pub fn protocol(attributes: &[u8]) -> Option<u8> {
    let proto = find(find(attributes, CTA_TUPLE_ORIG)?, CTA_TUPLE_PROTO)?;
    find(proto, CTA_PROTO_NUM)?.first().copied()
}

fn ends(tuple: &[u8]) -> Option<Ends> {
    let (ip, proto) = (find(tuple, CTA_TUPLE_IP)?, find(tuple, CTA_TUPLE_PROTO)?);
    let address = |end: usize| {
        let content = find(ip, CTA_IP_V4[end]).or_else(|| find(ip, CTA_IP_V6[end]))?;
        let mut octets = [0; 16];
        octets.get_mut(..content.len())?.copy_from_slice(content);
        Some(octets)
    };
    let port = |kind| find(proto, kind).and_then(<[u8]>::first_chunk).map_or(0, |port| u16::from_be_bytes(*port));
    Some(Ends {
        source: address(0)?,
        destination: address(1)?,
        source_port: port(CTA_PROTO_SRC_PORT),
        destination_port: port(CTA_PROTO_DST_PORT),
    })
}

fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    walk::attributes(attributes).find_map(|(found, content)| (found == kind).then_some(content))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::conntrack::tests::ends;

    /// From hexadecimal digits; what is behind `#` says what they are. Lengths and types are a little-endian host's.
    pub fn octets(text: &str) -> Vec<u8> {
        let digits: String =
            text.lines().map(|line| line.split('#').next().unwrap_or_default().replace(' ', "")).collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_question_octet_by_octet() {
        let mut request = Request::default();
        ask(&mut request, &Query { ip_version: 4, protocol: 17, ends: ends([10, 0, 0, 1], 5000, [10, 0, 0, 2], 9) });
        let expected = "
            48000000 0101 0100 00000000 00000000  # length 72, get of ctnetlink, a request
            02 00 0000                            # IPv4
            3400 0180                             # CTA_TUPLE_ORIG
            1400 0180                             # CTA_TUPLE_IP
            0800 0100 0a000001                    # CTA_IP_V4_SRC
            0800 0200 0a000002                    # CTA_IP_V4_DST
            1c00 0280                             # CTA_TUPLE_PROTO
            0500 0100 11 000000                   # CTA_PROTO_NUM: UDP
            0600 0200 1388 0000                   # CTA_PROTO_SRC_PORT
            0600 0300 0009 0000                   # CTA_PROTO_DST_PORT
        ";
        assert_eq!(request.bytes(), octets(expected));
        let mut second = Request::default();
        let mut long = ends([0xfd, 0, 0, 0], 5001, [0; 4], 9);
        (long.source[15], long.destination[15]) = (1, 1);
        ask(&mut second, &Query { ip_version: 6, protocol: 17, ends: long });
        let expected = "
            60000000 0101 0100 00000000 00000000 0a 00 0000 4c00 0180 2c00 0180
            1400 0300 fd000000000000000000000000000001   # CTA_IP_V6_SRC
            1400 0400 00000000000000000000000000000001   # CTA_IP_V6_DST
            1c00 0280 0500 0100 11 000000 0600 0200 1389 0000 0600 0300 0009 0000
        ";
        assert_eq!(second.bytes(), octets(expected));
    }

    /// As Linux 6.18 answered.
    #[test]
    #[cfg(target_endian = "little")]
    fn answers_octet_by_octet() {
        let datagram = octets(
            "
            a4000000 0001 0200 00000000 00000000  # length 164, new of ctnetlink
            02 00 0000                            # IPv4
            3400 0180                             # CTA_TUPLE_ORIG
            1400 0180 0800 0100 0a000001 0800 0200 0a000002
            1c00 0280 0500 0100 11 000000 0600 0200 1388 0000 0600 0300 0009 0000
            3400 0280                             # CTA_TUPLE_REPLY
            1400 0180 0800 0100 0a000002 0800 0200 0a000003
            1c00 0280 0500 0100 11 000000 0600 0200 0009 0000 0600 0300 4e29 0000
            0800 0300 00000198                    # CTA_STATUS: confirmed, source NAT
            0800 0800 00000000                    # CTA_MARK
            0800 0c00 1d8914fa                    # CTA_ID
            0800 0b00 00000002                    # CTA_USE
            0800 0700 0000001e                    # CTA_TIMEOUT: 30 s
            5c000000 0200 0000 00000000 531f0000  # length 92, error
            feffffff                              # ENOENT
            48000000 0101 0100 00000000 00000000 02 00 0000  # and what was asked
            3400 0180 1400 0180 0800 0100 0a000002 0800 0200 0a000003
            1c00 0280 0500 0100 11 000000 0600 0200 0009 0000 0600 0300 4e20 0000
            ",
        );
        let answers: Vec<_> = walk::messages(&datagram).map(|message| answer(&message).unwrap()).collect();
        let connection = Connection {
            id: 0x1d89_14fa,
            original: ends([10, 0, 0, 1], 5000, [10, 0, 0, 2], 9),
            reply: ends([10, 0, 0, 2], 9, [10, 0, 0, 3], 20_009),
        };
        assert_eq!(answers, [Some(connection), None]);
        // what is cut off before the end of the id is no connection
        for length in 0..132 {
            let cut = Message { kind: NEW, body: &datagram[16..16 + length] };
            assert_eq!(answer(&cut).unwrap(), None, "{length}");
        }
        let refused = Message { kind: walk::ERROR, body: &(-libc::EPERM).to_ne_bytes() };
        assert_eq!(answer(&refused).unwrap_err().raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_longer_than_ipv6s_are_none() {
        let tuple = octets(
            "
            2400 0180 1800 0300 0000000000000000 0000000000000000 00000000  # CTA_IP_V6_SRC of 20 octets
            0800 0400 00000000
            0c00 0280 0500 0100 11 000000
            ",
        );
        assert_eq!(super::ends(&tuple), None);
    }
}
