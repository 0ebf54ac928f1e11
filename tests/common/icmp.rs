//! Answers of a network, made up.

use super::netns::Netns;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::SocketAddr;

/// An answer of port 4739 to whoever sent from this port, that quotes the headers and as much of the datagram.
pub fn answer(host: &Netns, to: SocketAddr, datagram: &[u8], quoted: usize) {
    let mut packet = vec![3, 3, 0, 0, 0, 0, 0, 0]; // destination unreachable: port; checksum; unused
    let length = (28 + datagram.len()) as u16;
    packet.extend([0x45, 0]);
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]); // DF, TTL, UDP, no checksum, addresses
    packet.extend(to.port().to_be_bytes());
    packet.extend(4739u16.to_be_bytes());
    packet.extend((length - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(&datagram[..quoted]);
    let words = packet.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    let socket = host.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap());
    socket.send_to(&packet, &SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
}
