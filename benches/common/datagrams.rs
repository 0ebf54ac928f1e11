//! Datagrams as the kernel sends them to an NFLOG socket, for the benches.

#[path = "flows.rs"]
mod flows;

use etherparse::PacketBuilder;

/// Messages of a datagram: the queue threshold.
const MESSAGES: usize = 512;
/// Octets of each packet.
const SNAPLEN: usize = 128;
/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`.
const PACKET: u16 = 0x0400;

/// Packets of TCP and UDP flows, half of them of one sixteenth of the flows.
pub fn datagrams(flows: u32, packets: usize) -> Vec<Vec<u8>> {
    let message = |(sequence, flow)| message(sequence, &packet(flow));
    let messages: Vec<_> = (0..).zip(flows::numbers(42, flows)).take(packets).map(message).collect();
    messages.chunks(MESSAGES).map(<[Vec<u8>]>::concat).collect()
}

/// What a flow's packets are, from IP on.
pub fn packet(flow: u32) -> Vec<u8> {
    let [_, a, b, c] = flow.to_be_bytes();
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv4([10, a, b, c], [10, 99, 99, 2], 64);
    match flow % 2 {
        0 => builder.tcp(1024, 443, 1, 1).write(&mut bytes, &[0; 74]).unwrap(),
        _ => builder.udp(1024, 53).write(&mut bytes, &[0; 86]).unwrap(),
    }
    bytes.truncate(SNAPLEN);
    bytes
}

/// A message with the attributes of a packet logged at prerouting, in the kernel's order.
fn message(sequence: u32, packet: &[u8]) -> Vec<u8> {
    let attributes = [
        attribute(1, &[0x08, 0x00, 0, 0]),                   // NFULA_PACKET_HDR
        attribute(4, &2_u32.to_be_bytes()),                  // NFULA_IFINDEX_INDEV
        attribute(8, &[0, 6, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0]), // NFULA_HWADDR
        attribute(3, &[1_700_000_000_u64.to_be_bytes(), 5_u64.to_be_bytes()].concat()), // NFULA_TIMESTAMP
        attribute(12, &sequence.to_be_bytes()),              // NFULA_SEQ
        attribute(15, &[0, 1]),                              // NFULA_HWTYPE
        attribute(17, &[0, 14]),                             // NFULA_HWLEN
        attribute(16, &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]), // NFULA_HWHEADER
        attribute(9, packet),                                // NFULA_PAYLOAD
    ]
    .concat();
    let mut message = (20 + attributes.len() as u32).to_ne_bytes().to_vec();
    message.extend(PACKET.to_ne_bytes());
    message.extend([0; 10]);
    message.extend([2, 0, 0, 5]); // nfgenmsg
    message.extend(attributes);
    message
}

fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut attribute = (4 + content.len() as u16).to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(content);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}
