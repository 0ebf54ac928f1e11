//! Builds frames from the inside out: each function puts its header before a payload.
//!
//! All packets go from host A to host B. Checksums above IP are left 0, nothing here looks at them.

use super::capture::ByteOrder;
use etherparse::{ArpHardwareId, LinuxSllPacketType, LinuxSllProtocolType};
use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, LinuxSllHeader, UdpHeader};

pub const A: &str = "192.0.2.1";
pub const B: &str = "198.51.100.2";
pub const A6: &str = "2001:db8::a";
pub const B6: &str = "2001:db8::b";
pub const A_BYTES: [u8; 4] = [192, 0, 2, 1];
pub const B_BYTES: [u8; 4] = [198, 51, 100, 2];
const A6_BYTES: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a];
const B6_BYTES: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b];

/// EtherTypes.
pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const VLAN: u16 = 0x8100;
pub const MPLS: u16 = 0x8847;
pub const PPPOE: u16 = 0x8864;
pub const SERVICE_VLAN: u16 = 0x88a8;
pub const LLDP: u16 = 0x88cc;
pub const IPV6: u16 = 0x86dd;

/// IP protocols.
pub const HOP_BY_HOP: u8 = 0;
pub const ICMP: u8 = 1;
pub const IGMP: u8 = 2;
pub const IPIP: u8 = 4;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const DCCP: u8 = 33;
pub const SIX_IN_FOUR: u8 = 41;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const GRE: u8 = 47;
pub const ESP: u8 = 50;
pub const AH: u8 = 51;
pub const ICMPV6: u8 = 58;
pub const NO_NEXT_HEADER: u8 = 59;
pub const DESTINATION_OPTIONS: u8 = 60;
pub const OSPF: u8 = 89;
pub const VRRP: u8 = 112;
pub const SCTP: u8 = 132;
pub const UDP_LITE: u8 = 136;

// Link layer.

pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = ([2, 0, 0, 0, 0, 0xa], [2, 0, 0, 0, 0, 0xb]);
    let header = Ethernet2Header { source, destination, ether_type: EtherType(ethertype) };
    [&header.to_bytes(), payload].concat()
}

/// Ethernet with a length instead of a type, then LLC and SNAP (RFC 1042).
pub fn snap(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let llc = [&[0xaa, 0xaa, 3, 0, 0, 0], &ethertype.to_be_bytes()[..], payload].concat();
    ethernet(llc.len() as u16, &llc)
}

/// What follows the EtherType of a tag.
pub fn vlan(id: u16, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&(0xa000 | id).to_be_bytes()[..], &ethertype.to_be_bytes(), payload].concat() // priority 5
}

pub fn mpls(label: u32, bottom: bool, payload: &[u8]) -> Vec<u8> {
    [&(label << 12 | u32::from(bottom) << 8 | 64).to_be_bytes(), payload].concat()
}

/// PPPoE session header, then a PPP protocol number.
pub fn pppoe(protocol: u16, payload: &[u8]) -> Vec<u8> {
    let length = (2 + payload.len() as u16).to_be_bytes();
    [&[0x11, 0, 0, 7], &length[..], &protocol.to_be_bytes(), payload].concat()
}

pub fn sll(packet_type: LinuxSllPacketType, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let header = LinuxSllHeader {
        packet_type,
        arp_hrd_type: ArpHardwareId::ETHERNET,
        sender_address_valid_length: 6,
        sender_address: [2, 0, 0, 0, 0, 0xa, 0, 0],
        protocol_type: LinuxSllProtocolType::EtherType(EtherType(ethertype)),
    };
    [&header.to_bytes(), payload].concat()
}

pub fn sll2(ifindex: u32, packet_type: u8, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let address = [packet_type, 6, 2, 0, 0, 0, 0, 0xa, 0, 0];
    [&ethertype.to_be_bytes()[..], &[0, 0], &ifindex.to_be_bytes(), &[0, 1], &address, payload].concat()
}

/// An NFLOG message with packet header, prefix, input device and payload; the byte order is that of its attributes.
pub fn nflog(order: ByteOrder, family: u8, hook: u8, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = ethertype.to_be_bytes();
    // only the netdev family's messages have the link-layer header
    let link_header = if family == 5 { attribute(order, 21, &[2; 14]) } else { vec![] };
    [
        vec![family, 0, 0, 5],
        attribute(order, 1, &[high, low, hook, 0]),
        attribute(order, 10, b"weir\0"),
        attribute(order, 4, &[0, 0, 0, 2]),
        link_header,
        attribute(order, 9, payload),
    ]
    .concat()
}

pub fn attribute(order: ByteOrder, kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = [&order.u16(4 + value.len() as u16)[..], &order.u16(kind), value].concat();
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

// Network layer.

/// An IPv4 header from A to B, to be changed and given to [`ipv4`].
pub fn v4(protocol: u8) -> Ipv4Header {
    let (source, destination) = (A_BYTES, B_BYTES);
    Ipv4Header { time_to_live: 64, protocol: IpNumber(protocol), source, destination, ..Default::default() }
}

pub fn ipv4(mut header: Ipv4Header, payload: &[u8]) -> Vec<u8> {
    header.set_payload_len(payload.len()).unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes(), payload].concat()
}

/// An IPv6 packet from A to B.
pub fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = Ipv6Header { hop_limit: 64, next_header: IpNumber(next_header), ..Default::default() };
    (header.source, header.destination) = (A6_BYTES, B6_BYTES);
    header.set_payload_length(payload.len()).unwrap();
    [&header.to_bytes(), payload].concat()
}

/// An IPv6 extension header of options or routing data, which with the two bytes before it fills a multiple of 8.
pub fn extension(next_header: u8, data: &[u8], payload: &[u8]) -> Vec<u8> {
    let units = (2 + data.len()) / 8;
    [&[next_header, units as u8 - 1], data, payload].concat()
}

/// Data of an extension header that is an option of padding only.
pub const PADDING: &[u8] = &[1, 4, 0, 0, 0, 0];

/// IPv6 Fragment header; `offset` in units of 8 bytes.
pub fn fragment(next_header: u8, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let offset = (offset << 3 | u16::from(more)).to_be_bytes();
    [&[next_header, 0], &offset[..], &[0, 0, 0, 9], payload].concat()
}

/// Authentication Header with a check value of 12 bytes.
pub fn authentication(next_header: u8, payload: &[u8]) -> Vec<u8> {
    [&[next_header, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], &[0xcc; 12][..], payload].concat()
}

// Transport layer, with `data` bytes of data.

/// `flags` are the 12 bits behind the data offset.
pub fn tcp(source: u16, destination: u16, flags: u16, data: usize) -> Vec<u8> {
    let offset_and_flags = (0x5000 | flags).to_be_bytes();
    let rest = [0xff, 0xff, 0, 0, 0, 0];
    [&ports(source, destination)[..], &[0, 0, 0, 1, 0, 0, 0, 1], &offset_and_flags, &rest, &vec![0; data]].concat()
}

pub fn udp(source: u16, destination: u16, data: usize) -> Vec<u8> {
    let length = 8 + data as u16;
    let header = UdpHeader { source_port: source, destination_port: destination, length, checksum: 0 };
    [&header.to_bytes()[..], &vec![0; data]].concat()
}

/// SCTP with a cookie acknowledgement chunk.
pub fn sctp(source: u16, destination: u16) -> Vec<u8> {
    [&ports(source, destination)[..], &[0, 0, 0, 1, 0, 0, 0, 0, 11, 0, 0, 4]].concat()
}

/// A DCCP request.
pub fn dccp(source: u16, destination: u16) -> Vec<u8> {
    [&ports(source, destination)[..], &[5, 0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]].concat()
}

pub fn icmp(kind: u8, code: u8, data: usize) -> Vec<u8> {
    [&[kind, code, 0, 0, 0, 1, 0, 1][..], &vec![0; data]].concat()
}

fn ports(source: u16, destination: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
    [a, b, c, d]
}
