//! The decoder against etherparse: it builds packets, and reads damaged ones for comparison.

use etherparse::{IpFragOffset, LaxIpSlice, PacketBuilder, PacketBuilderStep, TcpHeader};
use nfweir::packet::{Headers, Refusal, Start, parse};
use proptest::prelude::*;

/// What a packet is built of.
#[derive(Clone, Debug)]
struct Recipe {
    source: [u8; 16],
    destination: [u8; 16],
    v6: bool,
    ttl: u8,
    ports: (u16, u16),
    transport: Transport,
    flags: u8,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
    Icmp,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let transport = prop_oneof![Just(Transport::Tcp), Just(Transport::Udp), Just(Transport::Icmp)];
    let payload = proptest::collection::vec(any::<u8>(), 0..200);
    (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<bool>(),
        any::<u8>(),
        any::<(u16, u16)>(),
        transport,
        any::<u8>(),
        payload,
    )
        .prop_map(|(source, destination, v6, ttl, ports, transport, flags, payload)| Recipe {
            source,
            destination,
            v6,
            ttl,
            ports,
            transport,
            flags,
            payload,
        })
}

/// An IPv4 address as the decoder gives it.
fn number(octets: [u8; 4]) -> u128 {
    u128::from(u32::from_be_bytes(octets)) << 96
}

impl Recipe {
    /// Source and destination in an IPv4 packet.
    fn v4_addresses(&self) -> [[u8; 4]; 2] {
        [self.source, self.destination].map(|octets| *octets.first_chunk().unwrap())
    }

    fn build(&self) -> Vec<u8> {
        let [source, destination] = self.v4_addresses();
        let network = match self.v6 {
            true => PacketBuilder::ipv6(self.source, self.destination, self.ttl),
            false => PacketBuilder::ipv4(source, destination, self.ttl),
        };
        let mut bytes = Vec::new();
        let (source_port, destination_port) = self.ports;
        match self.transport {
            Transport::Udp => network.udp(source_port, destination_port).write(&mut bytes, &self.payload).unwrap(),
            Transport::Tcp => {
                let mut header = TcpHeader::new(source_port, destination_port, 1, 1);
                (header.fin, header.syn, header.rst) = (self.flags & 1 != 0, self.flags & 2 != 0, self.flags & 4 != 0);
                network.tcp_header(header).write(&mut bytes, &self.payload).unwrap();
            }
            Transport::Icmp => self.build_icmp(network, &mut bytes),
        }
        bytes
    }

    fn build_icmp(&self, network: PacketBuilderStep<etherparse::IpHeaders>, bytes: &mut Vec<u8>) {
        let [kind, code] = self.ports.1.to_be_bytes();
        let rest = [1, 2, 3, 4];
        match self.v6 {
            true => network.icmpv6_raw(kind, code, rest).write(bytes, &self.payload).unwrap(),
            false => network.icmpv4_raw(kind, code, rest).write(bytes, &self.payload).unwrap(),
        }
    }

    /// What the decoder should say of the whole packet.
    fn expected(&self, octets: usize) -> Headers {
        let [source, destination] = match self.v6 {
            true => [self.source, self.destination].map(u128::from_be_bytes),
            false => self.v4_addresses().map(number),
        };
        let (protocol, flags) = match (self.transport, self.v6) {
            (Transport::Tcp, _) => (6, u16::from(self.flags & 7)),
            (Transport::Udp, _) => (17, 0),
            (Transport::Icmp, false) => (1, 0),
            (Transport::Icmp, true) => (58, 0),
        };
        Headers {
            ip_version: if self.v6 { 6 } else { 4 },
            source,
            destination,
            protocol,
            tos: 0,
            ttl: self.ttl,
            source_port: if self.transport == Transport::Icmp { 0 } else { self.ports.0 },
            destination_port: self.ports.1,
            tcp_flags: flags,
            octets: octets as u64,
            length_unstated: false,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_was_built_is_read(recipe in recipe()) {
        let bytes = recipe.build();
        let (vlan, headers) = parse(Start::Ip, &bytes, bytes.len() as u64).unwrap();
        prop_assert_eq!((vlan, headers), (0, recipe.expected(bytes.len())));
    }

    #[test]
    fn a_snaplen_takes_away_but_never_changes(recipe in recipe(), keep in 0usize..120) {
        let bytes = recipe.build();
        let cut = &bytes[..keep.min(bytes.len())];
        let network = if recipe.v6 { 40 } else { 20 };
        let result = parse(Start::Ip, cut, bytes.len() as u64);
        if cut.len() < network {
            let refusal = if cut.is_empty() { Refusal::NotIp } else { Refusal::Malformed };
            prop_assert_eq!(result, Err(refusal));
            return Ok(());
        }
        let mut expected = recipe.expected(bytes.len());
        let seen = cut.len() - network;
        if seen < if recipe.transport == Transport::Icmp { 2 } else { 4 } {
            (expected.source_port, expected.destination_port) = (0, 0);
        }
        if seen < 14 {
            expected.tcp_flags = 0;
        }
        prop_assert_eq!(result, Ok((0, expected)));
    }

    /// Where etherparse, which is lenient here, reads an IP header, so do we, and the same.
    #[test]
    fn damaged_packets_are_read_as_etherparse_reads_them(
        recipe in recipe(),
        damage in proptest::collection::vec((0usize..80, any::<u8>()), 1..6),
    ) {
        let mut bytes = recipe.build();
        for (at, value) in damage {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        let ours = parse(Start::Ip, &bytes, bytes.len() as u64);
        let Ok((theirs, _)) = LaxIpSlice::from_slice(&bytes) else { return Ok(()) };
        match theirs {
            LaxIpSlice::Ipv4(slice) => {
                let header = slice.header();
                if usize::from(header.total_len()) < header.slice().len() {
                    return Ok(()); // they guess where we refuse, or where the length is 0 take the capture's
                }
                let (_, ours) = ours.unwrap();
                prop_assert_eq!(ours.source, number(header.source()));
                prop_assert_eq!(ours.destination, number(header.destination()));
                prop_assert_eq!(ours.protocol, header.protocol().0);
                prop_assert_eq!(ours.octets, u64::from(header.total_len()));
                prop_assert_eq!(ours.ttl, header.ttl());
                if header.fragments_offset() != IpFragOffset::ZERO {
                    prop_assert_eq!((ours.source_port, ours.destination_port, ours.tcp_flags), (0, 0, 0));
                }
            }
            LaxIpSlice::Ipv6(slice) => {
                let (_, ours) = ours.unwrap();
                let header = slice.header();
                prop_assert_eq!(ours.source, u128::from_be_bytes(header.source()));
                prop_assert_eq!(ours.destination, u128::from_be_bytes(header.destination()));
                prop_assert_eq!(ours.ttl, header.hop_limit());
                if header.payload_length() > 0 {
                    prop_assert_eq!(ours.octets, u64::from(header.payload_length()) + 40);
                }
            }
        }
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), ethertype in any::<u16>()) {
        for start in [Start::Ethernet, Start::Ip, Start::EtherType(ethertype), Start::EtherType(0x8847)] {
            let _ = parse(start, &bytes, bytes.len() as u64);
        }
    }
}
