//! Writes captures of our own making, pcap and pcapng.

use std::path::Path;

/// Link types (<https://www.tcpdump.org/linktypes.html>).
pub const NULL: u16 = 0;
pub const ETHERNET: u16 = 1;
pub const PPP: u16 = 9;
pub const RAW: u16 = 101;
pub const IEEE802_11: u16 = 105;
pub const LOOP: u16 = 108;
pub const LINUX_SLL: u16 = 113;
pub const IPV4: u16 = 228;
pub const IPV6: u16 = 229;
pub const NFLOG: u16 = 239;
pub const LINUX_SLL2: u16 = 276;

/// In which order the bytes of a number are written.
#[derive(Clone, Copy)]
pub enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    pub fn u16(self, number: u16) -> [u8; 2] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    pub fn u32(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }
}

/// A capture in the making: little-endian, in microseconds, of whole packets, unless told otherwise.
pub struct Capture {
    pcapng: bool,
    order: ByteOrder,
    nanoseconds: bool,
    snaplen: u32,
    /// Link type of each interface; pcap knows but one.
    interfaces: Vec<u16>,
    packets: Vec<Packet>,
}

struct Packet {
    interface: u32,
    /// Nanoseconds since 1970; none in a Simple Packet Block.
    time: Option<u64>,
    bytes: Vec<u8>,
}

/// Length of the longest packet that captures hold by default.
const SNAPLEN: u32 = 262_144;
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

impl Capture {
    pub fn pcap(link: u16) -> Self {
        let (order, interfaces) = (ByteOrder::Little, vec![link]);
        Self { pcapng: false, order, nanoseconds: false, snaplen: SNAPLEN, interfaces, packets: Vec::new() }
    }

    pub fn pcapng(link: u16) -> Self {
        Self { pcapng: true, ..Self::pcap(link) }
    }

    pub fn big_endian(self) -> Self {
        Self { order: ByteOrder::Big, ..self }
    }

    pub fn nanoseconds(self) -> Self {
        Self { nanoseconds: true, ..self }
    }

    /// Keeps only the first `snaplen` bytes of each packet, and its length.
    pub fn cut(self, snaplen: u32) -> Self {
        Self { snaplen, ..self }
    }

    /// One more interface (pcapng); it gets the packets that follow.
    pub fn interface(mut self, link: u16) -> Self {
        self.interfaces.push(link);
        self
    }

    /// A packet of the last interface, seen `time` nanoseconds after 1970.
    pub fn packet(mut self, time: u64, bytes: &[u8]) -> Self {
        let interface = self.interfaces.len() as u32 - 1;
        self.packets.push(Packet { interface, time: Some(time), bytes: bytes.to_vec() });
        self
    }

    /// A packet of the first interface in a Simple Packet Block, which has no time (pcapng).
    pub fn simple_packet(mut self, bytes: &[u8]) -> Self {
        self.packets.push(Packet { interface: 0, time: None, bytes: bytes.to_vec() });
        self
    }

    /// Packets one millisecond after the other.
    pub fn packets<const N: usize>(self, packets: [Vec<u8>; N]) -> Self {
        let times = (1_700_000_000_000_000_000..).step_by(1_000_000);
        times.zip(packets).fold(self, |capture, (time, bytes)| capture.packet(time, &bytes))
    }

    pub fn bytes(&self) -> Vec<u8> {
        if self.pcapng { self.pcapng_bytes() } else { self.pcap_bytes() }
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }

    fn pcap_bytes(&self) -> Vec<u8> {
        let order = self.order;
        let (magic, unit) = if self.nanoseconds { (0xa1b2_3c4d, 1) } else { (0xa1b2_c3d4, 1000) };
        let link = order.u32(self.interfaces[0].into());
        let mut file =
            [&order.u32(magic)[..], &order.u16(2), &order.u16(4), &[0; 8], &order.u32(self.snaplen), &link].concat();
        for packet in &self.packets {
            let time = packet.time.expect("only pcapng has packets without time");
            file.extend(order.u32((time / 1_000_000_000) as u32));
            file.extend(order.u32((time % 1_000_000_000 / unit) as u32));
            file.extend(self.lengths_and_bytes(packet));
        }
        file
    }

    fn pcapng_bytes(&self) -> Vec<u8> {
        let order = self.order;
        let section = [&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &order.u16(0), &[0xff; 8]].concat();
        let mut file = self.block(SECTION_HEADER, &section);
        for link in &self.interfaces {
            let resolution = [&order.u16(9)[..], &order.u16(1), &[if self.nanoseconds { 9 } else { 6 }, 0, 0, 0]];
            let interface = [&order.u16(*link)[..], &[0; 2], &order.u32(self.snaplen), &resolution.concat(), &[0; 4]];
            file.extend(self.block(INTERFACE_DESCRIPTION, &interface.concat()));
        }
        for packet in &self.packets {
            let contents = self.lengths_and_bytes(packet);
            file.extend(match packet.time {
                Some(time) => {
                    let units = if self.nanoseconds { time } else { time / 1000 };
                    let [high, low] = [(units >> 32) as u32, units as u32].map(|half| order.u32(half));
                    let body = [&order.u32(packet.interface)[..], &high, &low, &contents].concat();
                    self.block(ENHANCED_PACKET, &body)
                }
                None => self.block(SIMPLE_PACKET, &contents[4..]), // without captured length
            });
        }
        file
    }

    /// Captured length, original length, captured bytes: what follows the time in both formats.
    fn lengths_and_bytes(&self, packet: &Packet) -> Vec<u8> {
        let captured = &packet.bytes[..packet.bytes.len().min(self.snaplen as usize)];
        let [captured_length, length] = [captured, &packet.bytes].map(|bytes| self.order.u32(bytes.len() as u32));
        [&captured_length[..], &length, captured].concat()
    }

    fn block(&self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let length = self.order.u32(12 + (body.len() + padding.len()) as u32);
        [&self.order.u32(kind)[..], &length, body, &padding, &length].concat()
    }
}
