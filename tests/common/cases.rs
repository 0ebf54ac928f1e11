//! Captures of our own making, and the flows each must give: counted by hand, not with the library.
//!
//! Only the outermost IP header counts. Later fragments are a flow of their own with ports 0.

use super::capture::{self as link, ByteOrder, Capture};
use super::frames::*;
use etherparse::{Ipv4Header, LinuxSllPacketType};

/// Protocol, source, source port, destination, destination port, packets, octets by the IP headers, 12 TCP flags.
pub type Row = (u8, &'static str, u16, &'static str, u16, u64, u64, u16);

/// A capture and what must come out of it.
pub struct Case {
    pub name: &'static str,
    pub capture: Vec<u8>,
    pub expected: Vec<Row>,
    /// Frames in no flow, for they are not IP or their IP header is malformed.
    pub refused: u64,
}

impl Case {
    fn new<const N: usize>(capture: impl Into<Vec<u8>>, expected: [Row; N]) -> Self {
        Self { name: "", capture: capture.into(), expected: expected.to_vec(), refused: 0 }
    }

    fn refused(self, refused: u64) -> Self {
        Self { refused, ..self }
    }

    pub fn frames(&self) -> u64 {
        self.refused + self.expected.iter().map(|(.., packets, _, _)| packets).sum::<u64>()
    }
}

impl From<Capture> for Vec<u8> {
    fn from(capture: Capture) -> Self {
        capture.bytes()
    }
}

macro_rules! named {
    ($($case:ident)*) => { vec![$(Case { name: stringify!($case), ..$case() }),*] };
}

pub fn all() -> Vec<Case> {
    named![
        // containers
        pcap_in_microseconds
        pcap_in_nanoseconds
        pcap_big_endian
        pcap_big_endian_in_nanoseconds
        pcap_without_packets
        pcapng
        pcapng_big_endian_in_nanoseconds
        pcapng_of_two_interfaces
        pcapng_of_two_sections
        pcapng_of_simple_packets
        // link layer
        vlan_tag
        two_vlan_tags
        mpls_labels
        pppoe_session
        llc_snap
        ethernet_padding
        cooked
        cooked_version_2
        raw_ip
        loopback
        loopback_in_network_order
        ppp
        nflog_little_endian
        nflog_big_endian
        nflog_of_netdev_hooks
        nflog_with_a_bad_length
        not_ip
        unreadable_link_type
        empty_frames
        // IPv4
        ipv4_options
        ipv4_source_route
        ipv4_fragments
        ipv4_tunnels
        ipv4_without_length
        ipv4_longer_than_its_frame
        ipv4_malformed
        // IPv6
        ipv6_extension_headers
        ipv6_extension_headers_twice
        ipv6_routing_header
        ipv6_fragments
        ipv6_atomic_fragment
        ipv6_authenticated
        ipv6_no_next_header
        ipv6_jumbogram
        ipv6_without_length
        ipv6_tunnels
        ipv6_malformed
        // transport
        tcp_both_ways
        tcp_flags_beyond_the_octet
        tcp_with_a_bad_data_offset
        syn_scan
        protocols_with_ports
        protocols_without_ports
        icmp_types
        icmpv6_types
        vxlan
        // snaplen
        cut_in_ip_header
        cut_before_ports
        cut_before_flags
        cut_in_tcp_options
        cut_in_extension_header
    ]
}

/// UDP from port 1024 to 53 with 20 bytes: 48 octets in IPv4, 68 in IPv6.
fn datagram() -> Vec<u8> {
    ipv4(v4(UDP), &udp(1024, 53, 20))
}

fn datagram6() -> Vec<u8> {
    ipv6(UDP, &udp(1024, 53, 20))
}

const DATAGRAM: Row = (17, A, 1024, B, 53, 1, 48, 0);
const DATAGRAM6: Row = (17, A6, 1024, B6, 53, 1, 68, 0);

/// A packet behind a plain Ethernet header.
fn framed(packet: Vec<u8>) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 6 { IPV6 } else { IPV4 };
    ethernet(ethertype, &packet)
}

/// A capture of Ethernet frames that hold these packets.
fn packets<const N: usize>(packets: [Vec<u8>; N]) -> Capture {
    Capture::pcap(link::ETHERNET).packets(packets.map(framed))
}

fn both_versions(capture: Capture) -> Case {
    Case::new(capture.packets([framed(datagram()), framed(datagram6())]), [DATAGRAM, DATAGRAM6])
}

fn pcap_in_microseconds() -> Case {
    both_versions(Capture::pcap(link::ETHERNET))
}

fn pcap_in_nanoseconds() -> Case {
    both_versions(Capture::pcap(link::ETHERNET).nanoseconds())
}

fn pcap_big_endian() -> Case {
    both_versions(Capture::pcap(link::ETHERNET).big_endian())
}

fn pcap_big_endian_in_nanoseconds() -> Case {
    both_versions(Capture::pcap(link::ETHERNET).big_endian().nanoseconds())
}

fn pcap_without_packets() -> Case {
    Case::new(packets([]), [])
}

fn pcapng() -> Case {
    both_versions(Capture::pcapng(link::ETHERNET))
}

fn pcapng_big_endian_in_nanoseconds() -> Case {
    both_versions(Capture::pcapng(link::ETHERNET).big_endian().nanoseconds())
}

fn pcapng_of_two_interfaces() -> Case {
    let ethernet = Capture::pcapng(link::ETHERNET).packets([framed(datagram())]);
    Case::new(ethernet.interface(link::RAW).packets([datagram6()]), [DATAGRAM, DATAGRAM6])
}

fn pcapng_of_two_sections() -> Case {
    let little = Capture::pcapng(link::ETHERNET).packets([framed(datagram())]);
    let big = Capture::pcapng(link::RAW).big_endian().packets([datagram6()]);
    Case::new([little.bytes(), big.bytes()].concat(), [DATAGRAM, DATAGRAM6])
}

fn pcapng_of_simple_packets() -> Case {
    let capture = Capture::pcapng(link::RAW).cut(44).simple_packet(&datagram()).simple_packet(&datagram6());
    Case::new(capture, [DATAGRAM, DATAGRAM6])
}

fn vlan_tag() -> Case {
    let frames = [ethernet(VLAN, &vlan(7, IPV4, &datagram())), ethernet(SERVICE_VLAN, &vlan(4094, IPV6, &datagram6()))];
    Case::new(Capture::pcap(link::ETHERNET).packets(frames), [DATAGRAM, DATAGRAM6])
}

fn two_vlan_tags() -> Case {
    let frames = [
        ethernet(SERVICE_VLAN, &vlan(100, VLAN, &vlan(7, IPV4, &datagram()))),
        ethernet(VLAN, &vlan(100, VLAN, &vlan(7, IPV6, &datagram6()))),
    ];
    Case::new(Capture::pcap(link::ETHERNET).packets(frames), [DATAGRAM, DATAGRAM6])
}

fn mpls_labels() -> Case {
    let frames = [
        ethernet(MPLS, &mpls(16, true, &datagram())),
        ethernet(MPLS, &mpls(16, false, &mpls(1_048_575, true, &datagram6()))),
    ];
    Case::new(Capture::pcap(link::ETHERNET).packets(frames), [DATAGRAM, DATAGRAM6])
}

/// A session that carries both versions and link control, which is not IP.
fn pppoe_session() -> Case {
    let frames = [pppoe(0x0021, &datagram()), pppoe(0x0057, &datagram6()), pppoe(0xc021, &[9, 0, 0, 8, 0, 0, 0, 0])];
    let capture = Capture::pcap(link::ETHERNET).packets(frames.map(|frame| ethernet(PPPOE, &frame)));
    Case::new(capture, [DATAGRAM, DATAGRAM6]).refused(1)
}

fn llc_snap() -> Case {
    let capture = Capture::pcap(link::ETHERNET).packets([snap(IPV4, &datagram()), snap(IPV6, &datagram6())]);
    Case::new(capture, [DATAGRAM, DATAGRAM6])
}

/// A datagram of 28 bytes in the shortest Ethernet frame: what fills it up does not count.
fn ethernet_padding() -> Case {
    let mut frame = framed(ipv4(v4(UDP), &udp(1024, 53, 0)));
    frame.resize(60, 0);
    Case::new(Capture::pcap(link::ETHERNET).packets([frame]), [(17, A, 1024, B, 53, 1, 28, 0)])
}

fn cooked() -> Case {
    let frames = [
        sll(LinuxSllPacketType::HOST, IPV4, &datagram()),
        sll(LinuxSllPacketType::OUTGOING, IPV6, &datagram6()),
        sll(LinuxSllPacketType::BROADCAST, ARP, &[0; 28]),
    ];
    Case::new(Capture::pcap(link::LINUX_SLL).packets(frames), [DATAGRAM, DATAGRAM6]).refused(1)
}

fn cooked_version_2() -> Case {
    let frames = [sll2(2, 0, IPV4, &datagram()), sll2(3, 4, IPV6, &datagram6()), sll2(2, 1, ARP, &[0; 28])];
    Case::new(Capture::pcap(link::LINUX_SLL2).packets(frames), [DATAGRAM, DATAGRAM6]).refused(1)
}

fn raw_ip() -> Case {
    let either = Capture::pcapng(link::RAW).packets([datagram(), datagram6()]);
    let one_each = either.interface(link::IPV4).packets([datagram()]).interface(link::IPV6).packets([datagram6()]);
    Case::new(one_each, [(17, A, 1024, B, 53, 2, 96, 0), (17, A6, 1024, B6, 53, 2, 136, 0)])
}

/// Address families in either byte order, as hosts wrote them; IPv6 has a number of its own on each system.
fn loopback() -> Case {
    let frames = [[2, 0, 0, 0], [0, 0, 0, 2]].map(|family| [&family, &datagram()[..]].concat());
    let frames6 = [[24, 0, 0, 0], [28, 0, 0, 0], [0, 0, 0, 30]].map(|family| [&family, &datagram6()[..]].concat());
    let capture = Capture::pcap(link::NULL).packets(frames).packets(frames6);
    Case::new(capture, [(17, A, 1024, B, 53, 2, 96, 0), (17, A6, 1024, B6, 53, 3, 204, 0)])
}

fn loopback_in_network_order() -> Case {
    let frames = [[&[0, 0, 0, 2], &datagram()[..]].concat(), [&[0, 0, 0, 24], &datagram6()[..]].concat()];
    Case::new(Capture::pcap(link::LOOP).packets(frames), [DATAGRAM, DATAGRAM6])
}

fn ppp() -> Case {
    let frames = [
        [&[0x00, 0x21], &datagram()[..]].concat(),
        [&[0xff, 0x03, 0x00, 0x57], &datagram6()[..]].concat(),
        vec![0xff, 0x03, 0xc0, 0x21, 9, 0, 0, 8, 0, 0, 0, 0],
    ];
    Case::new(Capture::pcap(link::PPP).packets(frames), [DATAGRAM, DATAGRAM6]).refused(1)
}

/// Messages of the hooks input and postrouting, and one of an old kernel that names no protocol.
fn nflog_messages(order: ByteOrder, capture: Capture) -> Case {
    let frames = [
        nflog(order, 2, 1, IPV4, &datagram()),
        nflog(order, 10, 4, IPV6, &datagram6()),
        nflog(order, 2, 3, 0, &datagram()),
    ];
    Case::new(capture.packets(frames), [(17, A, 1024, B, 53, 2, 96, 0), DATAGRAM6])
}

fn nflog_little_endian() -> Case {
    nflog_messages(ByteOrder::Little, Capture::pcap(link::NFLOG))
}

fn nflog_big_endian() -> Case {
    nflog_messages(ByteOrder::Big, Capture::pcap(link::NFLOG).big_endian())
}

/// At ingress the payload begins with the IP header, at egress with the Ethernet header.
fn nflog_of_netdev_hooks() -> Case {
    let order = ByteOrder::Little;
    let frames = [
        nflog(order, 5, 0, IPV4, &datagram()),
        nflog(order, 5, 1, IPV6, &framed(datagram6())),
        nflog(order, 5, 0, ARP, &[0; 28]),
    ];
    Case::new(Capture::pcap(link::NFLOG).packets(frames), [DATAGRAM, DATAGRAM6]).refused(1)
}

fn nflog_with_a_bad_length() -> Case {
    let frames = [vec![2, 0, 0, 5, 2, 0, 9, 0, 0x45, 0, 0, 0], vec![2, 0, 0, 5, 200, 0, 9, 0, 0x45, 0, 0, 0]];
    Case::new(Capture::pcap(link::NFLOG).packets(frames), []).refused(2)
}

fn not_ip() -> Case {
    let spanning_tree = [&[0x42, 0x42, 0x03][..], &[0; 35]].concat();
    let frames = [ethernet(ARP, &[0; 28]), ethernet(LLDP, &[0; 46]), ethernet(38, &spanning_tree), vec![0; 60]];
    Case::new(Capture::pcap(link::ETHERNET).packets(frames), []).refused(4)
}

fn unreadable_link_type() -> Case {
    let beacon = [&[0x80, 0][..], &[0; 34]].concat();
    Case::new(Capture::pcap(link::IEEE802_11).packets([beacon.clone(), beacon]), []).refused(2)
}

fn empty_frames() -> Case {
    let frames = [vec![], framed(datagram()), vec![]];
    Case::new(Capture::pcap(link::ETHERNET).packets(frames), [DATAGRAM]).refused(2)
}

/// Router alert, and a header of full length: 24 and 60 bytes.
fn ipv4_options() -> Case {
    let alert = Ipv4Header { options: [148, 4, 0, 0].into(), ..v4(UDP) };
    let mut record_route = [0; 40];
    record_route[..3].copy_from_slice(&[7, 39, 4]);
    let full = Ipv4Header { options: record_route.into(), ..v4(TCP) };
    Case::new(
        packets([ipv4(alert, &udp(1024, 53, 20)), ipv4(full, &tcp(1024, 80, 0x02, 0))]),
        [(17, A, 1024, B, 53, 1, 52, 0), (6, A, 1024, B, 80, 1, 80, 0x02)],
    )
}

/// The destination in the header counts, not the last hop of the route.
fn ipv4_source_route() -> Case {
    let route = Ipv4Header { options: [131, 7, 4, 203, 0, 113, 9, 0].into(), ..v4(UDP) };
    Case::new(packets([ipv4(route, &udp(1024, 53, 20))]), [(17, A, 1024, B, 53, 1, 56, 0)])
}

/// A datagram in three fragments; what is in the later ones looks like ports, but is none.
fn ipv4_fragments() -> Case {
    let first = Ipv4Header { more_fragments: true, ..v4(UDP) };
    let second = Ipv4Header { more_fragments: true, fragment_offset: 185.try_into().unwrap(), ..v4(UDP) };
    let last = Ipv4Header { fragment_offset: 370.try_into().unwrap(), ..v4(UDP) };
    Case::new(
        packets([ipv4(first, &udp(1024, 53, 1472)), ipv4(second, &[0xee; 1480]), ipv4(last, &[0xee; 100])]),
        [(17, A, 1024, B, 53, 1, 1500, 0), (17, A, 0, B, 0, 2, 1620, 0)],
    )
}

/// GRE, IPv4 and IPv6 within IPv4: flows between the ends of the tunnels.
fn ipv4_tunnels() -> Case {
    let gre = [&[0, 0, 0x08, 0x00], &datagram()[..]].concat();
    Case::new(
        packets([ipv4(v4(GRE), &gre), ipv4(v4(IPIP), &datagram()), ipv4(v4(SIX_IN_FOUR), &datagram6())]),
        [(47, A, 0, B, 0, 1, 72, 0), (4, A, 0, B, 0, 1, 68, 0), (41, A, 0, B, 0, 1, 88, 0)],
    )
}

/// Segmentation offload leaves total length 0: the frame tells the length, also where a snaplen has cut it.
fn ipv4_without_length() -> Case {
    let mut packet = ipv4(v4(TCP), &tcp(1024, 80, 0x10, 0));
    packet[2..4].fill(0);
    packet.resize(80_000, 0);
    Case::new(packets([packet.clone(), packet]).cut(128), [(6, A, 1024, B, 80, 2, 160_000, 0x10)])
}

/// Anonymised captures: packets cut short without saying so. The header is believed.
fn ipv4_longer_than_its_frame() -> Case {
    let packet = ipv4(v4(UDP), &udp(1024, 53, 1000));
    Case::new(packets([packet[..40].to_vec()]), [(17, A, 1024, B, 53, 1, 1028, 0)])
}

/// Version 5, a header of 16 bytes, a total length of 19, and a frame that ends before the destination.
fn ipv4_malformed() -> Case {
    let [mut version, mut header_length, mut total_length, mut short] = [(); 4].map(|()| datagram());
    version[0] = 0x55;
    header_length[0] = 0x44;
    total_length[2..4].copy_from_slice(&[0, 19]);
    short.truncate(19);
    let frames = [version, header_length, total_length, short].map(|packet| ethernet(IPV4, &packet));
    Case::new(Capture::pcap(link::ETHERNET).packets(frames), []).refused(4)
}

/// Options for each hop, routing, options for the destination, then TCP: 40 + 8 + 24 + 8 + 20 bytes.
fn ipv6_extension_headers() -> Case {
    let destination = extension(TCP, PADDING, &tcp(1024, 80, 0x18, 0));
    let routing = extension(DESTINATION_OPTIONS, &ROUTE, &destination);
    let hop_by_hop = extension(ROUTING, PADDING, &routing);
    Case::new(packets([ipv6(HOP_BY_HOP, &hop_by_hop)]), [(6, A6, 1024, B6, 80, 1, 100, 0x18)])
}

/// Routing header of type 2 with one address to go.
const ROUTE: [u8; 22] = [2, 1, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xcc];

fn ipv6_extension_headers_twice() -> Case {
    let inner = extension(UDP, PADDING, &udp(1024, 53, 20));
    let outer = extension(HOP_BY_HOP, PADDING, &extension(DESTINATION_OPTIONS, PADDING, &inner));
    Case::new(packets([ipv6(DESTINATION_OPTIONS, &outer)]), [(17, A6, 1024, B6, 53, 1, 92, 0)])
}

/// The destination in the header counts, not the one in the route.
fn ipv6_routing_header() -> Case {
    let routing = extension(UDP, &ROUTE, &udp(1024, 53, 20));
    Case::new(packets([ipv6(ROUTING, &routing)]), [(17, A6, 1024, B6, 53, 1, 92, 0)])
}

/// A datagram in two fragments, and a later fragment that claims to begin with another extension header.
fn ipv6_fragments() -> Case {
    Case::new(
        packets([
            ipv6(FRAGMENT, &fragment(UDP, 0, true, &udp(1024, 53, 1440))),
            ipv6(FRAGMENT, &fragment(UDP, 181, false, &[0xee; 100])),
            ipv6(FRAGMENT, &fragment(DESTINATION_OPTIONS, 181, false, &extension(UDP, PADDING, &udp(9, 9, 0)))),
        ]),
        [(17, A6, 1024, B6, 53, 1, 1496, 0), (17, A6, 0, B6, 0, 1, 148, 0), (60, A6, 0, B6, 0, 1, 64, 0)],
    )
}

/// Offset 0 and nothing more to come: a packet like any other.
fn ipv6_atomic_fragment() -> Case {
    let whole = fragment(UDP, 0, false, &udp(1024, 53, 20));
    Case::new(packets([ipv6(FRAGMENT, &whole)]), [(17, A6, 1024, B6, 53, 1, 76, 0)])
}

/// In IPv6 the Authentication Header is an extension header; in IPv4 it is where the walk ends.
fn ipv6_authenticated() -> Case {
    let segment = authentication(TCP, &tcp(1024, 80, 0x10, 0));
    let routing_protocol = authentication(OSPF, &[0; 36]);
    Case::new(
        packets([ipv6(AH, &segment), ipv6(AH, &routing_protocol), ipv4(v4(AH), &segment)]),
        [(6, A6, 1024, B6, 80, 1, 84, 0x10), (89, A6, 0, B6, 0, 1, 100, 0), (51, A, 0, B, 0, 1, 64, 0)],
    )
}

fn ipv6_no_next_header() -> Case {
    let options = extension(NO_NEXT_HEADER, PADDING, &[]);
    Case::new(packets([ipv6(DESTINATION_OPTIONS, &options)]), [(59, A6, 0, B6, 0, 1, 48, 0)])
}

/// Payload length 0 and a Jumbo Payload option of 70,008: options and UDP with 69,992 bytes of data.
fn ipv6_jumbogram() -> Case {
    let mut packet = ipv6(HOP_BY_HOP, &extension(UDP, &[0xc2, 4, 0, 0x01, 0x11, 0x78], &udp(1024, 53, 0)));
    packet[4..6].fill(0);
    packet.resize(40 + 70_008, 0);
    Case::new(packets([packet]), [(17, A6, 1024, B6, 53, 1, 70_048, 0)])
}

/// Segmentation offload leaves payload length 0: the frame tells the length, also where a snaplen has cut it.
fn ipv6_without_length() -> Case {
    let mut packet = ipv6(TCP, &tcp(1024, 80, 0x10, 0));
    packet[4..6].fill(0);
    packet.resize(75_000, 0);
    Case::new(packets([packet]).cut(128), [(6, A6, 1024, B6, 80, 1, 75_000, 0x10)])
}

fn ipv6_tunnels() -> Case {
    Case::new(
        packets([ipv6(IPIP, &datagram()), ipv6(SIX_IN_FOUR, &datagram6())]),
        [(4, A6, 0, B6, 0, 1, 88, 0), (41, A6, 0, B6, 0, 1, 108, 0)],
    )
}

/// Version 4, and a frame that ends within the destination.
fn ipv6_malformed() -> Case {
    let [mut version, mut short] = [(); 2].map(|()| datagram6());
    version[0] = 0x40;
    short.truncate(39);
    let frames = [version, short].map(|packet| ethernet(IPV6, &packet));
    Case::new(Capture::pcap(link::ETHERNET).packets(frames), []).refused(2)
}

/// Handshake, one request and its answer, and the end.
fn tcp_both_ways() -> Case {
    let back = Ipv4Header { source: B_BYTES, destination: A_BYTES, ..v4(TCP) };
    Case::new(
        packets([
            ipv4(v4(TCP), &tcp(1024, 80, 0x02, 0)),
            ipv4(back.clone(), &tcp(80, 1024, 0x12, 0)),
            ipv4(v4(TCP), &tcp(1024, 80, 0x10, 0)),
            ipv4(v4(TCP), &tcp(1024, 80, 0x18, 100)),
            ipv4(back.clone(), &tcp(80, 1024, 0x18, 1000)),
            ipv4(v4(TCP), &tcp(1024, 80, 0x11, 0)),
            ipv4(back, &tcp(80, 1024, 0x14, 0)),
        ]),
        [(6, A, 1024, B, 80, 4, 260, 0x1b), (6, B, 80, A, 1024, 3, 1120, 0x1e)],
    )
}

/// A SYN with accurate ECN: AE, CWR and ECE; and the reserved bits, which are exported as they are.
fn tcp_flags_beyond_the_octet() -> Case {
    Case::new(
        packets([ipv4(v4(TCP), &tcp(1024, 80, 0x1c2, 0)), ipv4(v4(TCP), &tcp(1025, 80, 0xe10, 0))]),
        [(6, A, 1024, B, 80, 1, 40, 0x1c2), (6, A, 1025, B, 80, 1, 40, 0xe10)],
    )
}

/// A header of less than 20 bytes: its ports are there, its flags are not believed.
fn tcp_with_a_bad_data_offset() -> Case {
    let mut segment = tcp(1024, 80, 0x3f, 0);
    segment[12] = 0x40;
    Case::new(packets([ipv4(v4(TCP), &segment)]), [(6, A, 1024, B, 80, 1, 40, 0)])
}

fn syn_scan() -> Case {
    let probe = |port| ipv4(v4(TCP), &tcp(40_000, port, 0x02, 0));
    Case::new(
        packets([probe(21), probe(22), probe(23), probe(22)]),
        [(6, A, 40_000, B, 21, 1, 40, 0x02), (6, A, 40_000, B, 22, 2, 80, 0x02), (6, A, 40_000, B, 23, 1, 40, 0x02)],
    )
}

fn protocols_with_ports() -> Case {
    Case::new(
        packets([
            ipv4(v4(DCCP), &dccp(1024, 5001)),
            ipv4(v4(SCTP), &sctp(1024, 2905)),
            ipv4(v4(UDP_LITE), &udp(1024, 5004, 20)),
            ipv6(DCCP, &dccp(1024, 5001)),
            ipv6(SCTP, &sctp(1024, 2905)),
            ipv6(UDP_LITE, &udp(1024, 5004, 20)),
        ]),
        [
            (33, A, 1024, B, 5001, 1, 40, 0),
            (132, A, 1024, B, 2905, 1, 36, 0),
            (136, A, 1024, B, 5004, 1, 48, 0),
            (33, A6, 1024, B6, 5001, 1, 60, 0),
            (132, A6, 1024, B6, 2905, 1, 56, 0),
            (136, A6, 1024, B6, 5004, 1, 68, 0),
        ],
    )
}

fn protocols_without_ports() -> Case {
    Case::new(
        packets([
            ipv4(v4(IGMP), &[0x16, 0, 0, 0, 224, 0, 0, 251]),
            ipv4(v4(ESP), &[0xee; 64]),
            ipv4(v4(VRRP), &[0x21, 1, 100, 1, 0, 1, 0, 0, 192, 0, 2, 254, 0, 0, 0, 0, 0, 0, 0, 0]),
            ipv6(ESP, &[0xee; 64]),
        ]),
        [
            (2, A, 0, B, 0, 1, 28, 0),
            (50, A, 0, B, 0, 1, 84, 0),
            (112, A, 0, B, 0, 1, 40, 0),
            (50, A6, 0, B6, 0, 1, 104, 0),
        ],
    )
}

/// Type and code are in the destination port: echo 8/0, its answer 0/0, port unreachable 3/3.
fn icmp_types() -> Case {
    let unreachable = [icmp(3, 3, 0), datagram()].concat();
    Case::new(
        packets([ipv4(v4(ICMP), &icmp(8, 0, 56)), ipv4(v4(ICMP), &icmp(0, 0, 56)), ipv4(v4(ICMP), &unreachable)]),
        [(1, A, 0, B, 2048, 1, 84, 0), (1, A, 0, B, 0, 1, 84, 0), (1, A, 0, B, 771, 1, 76, 0)],
    )
}

/// Echo 128/0, neighbour solicitation 135/0, and a listener report 143/0 behind a router alert.
fn icmpv6_types() -> Case {
    let report = extension(ICMPV6, &[5, 2, 0, 0, 1, 0], &icmp(143, 0, 0));
    Case::new(
        packets([ipv6(ICMPV6, &icmp(128, 0, 56)), ipv6(ICMPV6, &icmp(135, 0, 16)), ipv6(HOP_BY_HOP, &report)]),
        [(58, A6, 0, B6, 32_768, 1, 104, 0), (58, A6, 0, B6, 34_560, 1, 64, 0), (58, A6, 0, B6, 36_608, 1, 56, 0)],
    )
}

fn vxlan() -> Case {
    let inner = [&[8, 0, 0, 0, 0, 0, 42, 0], &framed(datagram6())[..]].concat();
    let outer = [&udp(50_000, 4789, 0)[..4], &[0, 98, 0, 0], &inner].concat();
    Case::new(packets([ipv4(v4(UDP), &outer)]), [(17, A, 50_000, B, 4789, 1, 118, 0)])
}

/// The Ethernet header and 19 bytes: too few for IPv4, nothing to tell a flow by.
fn cut_in_ip_header() -> Case {
    Case::new(packets([datagram(), datagram6()]).cut(33), []).refused(2)
}

/// Three bytes behind the IPv4 header.
fn cut_before_ports() -> Case {
    Case::new(
        packets([ipv4(v4(TCP), &tcp(1024, 80, 0x02, 0)), datagram()]).cut(37),
        [(6, A, 0, B, 0, 1, 40, 0), (17, A, 0, B, 0, 1, 48, 0)],
    )
}

/// Thirteen bytes of TCP: the ports are there, the octet of flags is the next.
fn cut_before_flags() -> Case {
    Case::new(packets([ipv4(v4(TCP), &tcp(1024, 80, 0x02, 0))]).cut(47), [(6, A, 1024, B, 80, 1, 40, 0)])
}

/// Of a header with 20 bytes of options only the first 4 are there.
fn cut_in_tcp_options() -> Case {
    let mut segment = tcp(1024, 80, 0x02, 20);
    segment[12] = 0xa0;
    Case::new(packets([ipv4(v4(TCP), &segment)]).cut(58), [(6, A, 1024, B, 80, 1, 60, 0x02)])
}

/// The second extension header is cut off: its own number is the protocol.
fn cut_in_extension_header() -> Case {
    let routing = extension(UDP, &ROUTE, &udp(1024, 53, 20));
    let hop_by_hop = extension(ROUTING, PADDING, &routing);
    Case::new(packets([ipv6(HOP_BY_HOP, &hop_by_hop)]).cut(62), [(43, A6, 0, B6, 0, 1, 100, 0)])
}
