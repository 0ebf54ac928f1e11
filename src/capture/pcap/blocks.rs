//! pcapng: blocks, of which some hold packets (draft-ietf-opsawg-pcapng).
//!
//! pcap-parser could read the blocks too, but it knows no Packet Block, takes every time offset for little-endian and
//! every binary time resolution for invalid, waits for more input where a block contradicts itself (its issue 29), and
//! collects the options of each block in a vector.

use super::{ByteOrder, Fault, Frame};
use crate::flow::Direction;
use crate::time::Timestamp;
use pcap_parser::{EPB_MAGIC, IDB_MAGIC, Linktype, OptionCode, SHB_MAGIC, SPB_MAGIC};

/// Type of the block that begins a section, the same in both byte orders (section 4.1).
pub const SECTION_HEADER: u32 = SHB_MAGIC;
/// Type of the Enhanced Packet Block's forerunner (appendix A).
const PACKET: u32 = 2;
/// Option of both: direction, checksum length, errors (section 4.3).
const FLAGS: OptionCode = OptionCode(2);
/// Bits of the flags that say whether the packet came in or went out, and their value for the latter.
const FLAGS_DIRECTION: u32 = 0b11;
const OUTBOUND: u32 = 0b10;
/// Interfaces are numbered with 16 bits in old blocks; nobody needs more in new ones.
const MOST_INTERFACES: usize = 1 << 16;
const NANOSECONDS: i128 = 1_000_000_000;

/// What the blocks of a section so far say of those to come.
#[derive(Default)]
pub struct Blocks {
    pub order: ByteOrder,
    interfaces: Vec<Interface>,
}

struct Interface {
    link: Linktype,
    /// How many bytes of a packet are captured at most.
    snaplen: u32,
    /// Units of time in a second.
    resolution: i128,
    /// Seconds to be added to every time.
    offset: i64,
}

impl Blocks {
    /// Length of the smallest block (section 3.1), and of what tells a section header's byte order.
    pub const HEAD: usize = 12;

    pub fn length(&self, head: &[u8]) -> Result<usize, Fault> {
        let length = self.order_of(head)?.u32(head, 4).ok_or(Fault::CutOff)?;
        if length < Self::HEAD as u32 || !length.is_multiple_of(4) {
            return Err(Fault::BlockLength(length));
        }
        Ok(length as usize)
    }

    /// The packet in a block, if it holds one; the other kinds are taken note of or passed over.
    pub fn frame(&mut self, block: &[u8]) -> Result<Option<Frame>, Fault> {
        let order = self.order_of(block)?;
        if order.u32(block, 4) != order.u32(block, block.len() - 4) {
            return Err(Fault::Contradiction);
        }
        let block = &block[..block.len() - 4];
        match order.u32(block, 0) {
            Some(SECTION_HEADER) => *self = Self { order, interfaces: Vec::new() },
            Some(IDB_MAGIC) if self.interfaces.len() == MOST_INTERFACES => {
                return Err(Fault::TooManyInterfaces(MOST_INTERFACES));
            }
            Some(IDB_MAGIC) => self.interfaces.push(interface(order, block).ok_or(Fault::Contradiction)?),
            Some(EPB_MAGIC) => return self.packet(order.u32(block, 8), block).map(Some),
            Some(PACKET) => return self.packet(order.u16(block, 8).map(u32::from), block).map(Some),
            Some(SPB_MAGIC) => return self.simple_packet(block).map(Some),
            _ => {}
        }
        Ok(None)
    }

    /// A section header brings its byte order along; all other blocks have that of their section.
    fn order_of(&self, block: &[u8]) -> Result<ByteOrder, Fault> {
        if !block.starts_with(&SECTION_HEADER.to_be_bytes()) {
            return Ok(self.order);
        }
        match block.get(8..12) {
            Some([0x4d, 0x3c, 0x2b, 0x1a]) => Ok(ByteOrder::Little),
            Some([0x1a, 0x2b, 0x3c, 0x4d]) => Ok(ByteOrder::Big),
            Some(_) => Err(Fault::NoByteOrder),
            None => Err(Fault::CutOff),
        }
    }

    /// Enhanced Packet Block (section 4.3) and Packet Block (appendix A), which differ in the interface number only.
    fn packet(&self, interface: Option<u32>, block: &[u8]) -> Result<Frame, Fault> {
        const HEADER: usize = 28;
        let field = |at| self.order.u32(block, at).ok_or(Fault::Contradiction);
        let interface = self.interface(interface.ok_or(Fault::Contradiction)?)?;
        let units = u64::from(field(12)?) << 32 | u64::from(field(16)?);
        let captured = field(20)? as usize;
        let data = block.get(HEADER..).filter(|data| captured <= data.len()).ok_or(Fault::Contradiction)?;
        let options = &data[captured.next_multiple_of(4)..]; // in range: a block's length is a multiple of 4
        let flags = option(self.order, options, FLAGS).and_then(|value| self.order.u32(value, 0)).unwrap_or(0);
        Ok(Frame {
            link: interface.link,
            bytes: HEADER..HEADER + captured,
            original_length: field(24)?,
            time: interface.time(units),
            direction: if flags & FLAGS_DIRECTION == OUTBOUND { Direction::Egress } else { Direction::Ingress },
        })
    }

    /// Simple Packet Block (section 4.4): of the first interface, without time, and as long as its snaplen allows.
    fn simple_packet(&self, block: &[u8]) -> Result<Frame, Fault> {
        const HEADER: usize = 12;
        let interface = self.interface(0)?;
        let original_length = self.order.u32(block, 8).ok_or(Fault::Contradiction)?;
        let captured = (original_length.min(interface.snaplen) as usize).min(block.len() - HEADER);
        let (time, direction) = Default::default();
        Ok(Frame { link: interface.link, bytes: HEADER..HEADER + captured, original_length, time, direction })
    }

    fn interface(&self, number: u32) -> Result<&Interface, Fault> {
        self.interfaces.get(number as usize).ok_or(Fault::NoInterface(number))
    }
}

/// Interface Description Block (section 4.2).
fn interface(order: ByteOrder, block: &[u8]) -> Option<Interface> {
    let options = block.get(16..)?;
    let resolution = match option(order, options, OptionCode::IfTsresol).and_then(<[u8]>::first) {
        Some(&binary) if binary & 0x80 != 0 => 2i128.saturating_pow(u32::from(binary & 0x7f)),
        Some(&decimal) => 10i128.saturating_pow(u32::from(decimal)),
        None => 1_000_000,
    };
    let offset = option(order, options, OptionCode::IfTsoffset).and_then(|value| order.u64(value, 0));
    Some(Interface {
        link: Linktype(order.u16(block, 8)?.into()),
        snaplen: order.u32(block, 12).map(|limit| if limit == 0 { u32::MAX } else { limit })?,
        resolution,
        offset: offset.unwrap_or(0) as i64,
    })
}

impl Interface {
    /// A number of units is signed: those before 1970 are found in real captures.
    fn time(&self, units: u64) -> Timestamp {
        let nanoseconds =
            i128::from(units as i64) * NANOSECONDS / self.resolution + i128::from(self.offset) * NANOSECONDS;
        Timestamp::from_nanos(u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX))
    }
}

/// The value of the first option of a kind (section 3.5).
fn option(order: ByteOrder, mut options: &[u8], wanted: OptionCode) -> Option<&[u8]> {
    loop {
        let code = OptionCode(order.u16(options, 0)?);
        let length = usize::from(order.u16(options, 2)?);
        if code == wanted {
            return options.get(4..4 + length);
        }
        if code == OptionCode::EndOfOpt {
            return None;
        }
        options = options.get(4 + length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_all;
    use super::*;
    use crate::packet::Start;

    /// A block of `kind` around `body`.
    fn block(order: ByteOrder, kind: u32, body: &[u8]) -> Vec<u8> {
        let length = 12 + body.len() as u32;
        let [kind, length] = [kind, length].map(|number| match order {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        });
        [&kind, &length, body, &length].concat()
    }

    const LITTLE_SECTION: &[u8] = &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    const BIG_SECTION: &[u8] = &[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];

    fn little(blocks: &[(u32, &[u8])]) -> Vec<u8> {
        let section = [(SECTION_HEADER, LITTLE_SECTION)];
        section.iter().chain(blocks).flat_map(|(kind, body)| block(ByteOrder::Little, *kind, body)).collect()
    }

    fn big(blocks: &[(u32, &[u8])]) -> Vec<u8> {
        let section = [(SECTION_HEADER, BIG_SECTION)];
        section.iter().chain(blocks).flat_map(|(kind, body)| block(ByteOrder::Big, *kind, body)).collect()
    }

    /// Link type raw IP, no snaplen, no options.
    const RAW: (u32, &[u8]) = (IDB_MAGIC, &[101, 0, 0, 0, 0, 0, 0, 0]);
    /// Interface 0, time 7, 1 byte of 9.
    const ENHANCED: (u32, &[u8]) =
        (EPB_MAGIC, &[0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0x45, 0, 0, 0]);

    /// The times of all packets, which are read without error.
    fn times(file: &[u8]) -> Vec<u64> {
        let (packets, error) = read_all(file);
        assert!(error.is_none(), "{error:?}");
        packets.iter().map(|packet| packet.nanos).collect()
    }

    #[test]
    fn byte_order_and_interfaces_are_those_of_the_section() {
        const ETHERNET: (u32, &[u8]) = (IDB_MAGIC, &[0, 1, 0, 0, 0, 0, 0, 0]);
        const OF_1: (u32, &[u8]) =
            (EPB_MAGIC, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 9, 0x45, 0, 0, 0]);
        let file = [little(&[RAW, ENHANCED]), big(&[ETHERNET, ETHERNET, OF_1]), little(&[RAW, ENHANCED])].concat();
        let (packets, error) = read_all(&file);
        assert!(error.is_none());
        assert!(packets.iter().map(|packet| packet.start).eq([Start::Ip, Start::Ethernet, Start::Ip]));
        assert!(packets.iter().map(|packet| (packet.nanos, packet.octets)).eq([(7000, 9), (8000, 9), (7000, 9)]));
        let forgotten = [little(&[RAW, ENHANCED]), little(&[ENHANCED])].concat();
        assert!(matches!(read_all(&forgotten).1.unwrap().fault, Fault::NoInterface(0)));
    }

    #[test]
    fn time_has_the_resolution_and_offset_of_its_interface() {
        for (options, nanos) in [
            (&[9, 0, 1, 0, 9, 0, 0, 0][..], 7),                                 // 10^-9
            (&[9, 0, 1, 0, 0, 0, 0, 0], 7_000_000_000),                         // 1
            (&[9, 0, 1, 0, 12, 0, 0, 0], 0),                                    // 10^-12
            (&[9, 0, 1, 0, 0x83, 0, 0, 0], 875_000_000),                        // 2^-3
            (&[9, 0, 1, 0, 0xff, 0, 0, 0], 0),                                  // 2^-127
            (&[9, 0, 1, 0, 0x7f, 0, 0, 0], 0),                                  // 10^-127
            (&[14, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0], 2_000_007_000),            // 2 s later
            (&[14, 0, 8, 0, 255, 255, 255, 255, 255, 255, 255, 255], 0),        // 1 s earlier: before 1970
            (&[14, 0, 8, 0, 255, 255, 255, 255, 255, 255, 255, 127], u64::MAX), // the end of time
            (&[2, 0, 3, 0, b'e', b't', b'h', 0, 9, 0, 1, 0, 9, 0, 0, 0], 7),    // behind another option
            (&[0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0], 7_000),                     // behind the end of options
            (&[9, 0, 200, 0, 9, 0, 0, 0], 7_000),                               // longer than its block
        ] {
            let interface = [RAW.1, options].concat();
            assert_eq!(times(&little(&[(IDB_MAGIC, &interface), ENHANCED])), [nanos], "{options:?}");
        }
        let interface = (IDB_MAGIC, &[0, 101, 0, 0, 0, 0, 0, 0, 0, 14, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2][..]);
        let packet = (EPB_MAGIC, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0][..]);
        assert_eq!(times(&big(&[interface, packet])), [2_000_007_000]);
    }

    #[test]
    fn time_before_1970_is_1970() {
        let mut packet = ENHANCED.1.to_vec();
        packet[4..12].fill(0xff);
        assert_eq!(times(&little(&[RAW, (EPB_MAGIC, &packet)])), [0]);
    }

    #[test]
    fn flags_tell_the_direction() {
        for (flags, direction) in [(0, Direction::Ingress), (1, Direction::Ingress), (2, Direction::Egress)] {
            let packet = [ENHANCED.1, &[2, 0, 4, 0, flags, 0, 0, 0]].concat();
            for kind in [EPB_MAGIC, PACKET] {
                assert_eq!(read_all(&little(&[RAW, (kind, &packet)])).0[0].direction, direction);
            }
        }
    }

    #[test]
    fn the_old_packet_block_has_a_drop_count_beside_its_interface() {
        let mut packet = ENHANCED.1.to_vec();
        packet[2..4].fill(0xff);
        let (packets, error) = read_all(&little(&[RAW, (PACKET, &packet)]));
        assert!(error.is_none());
        assert_eq!((packets[0].bytes.as_slice(), packets[0].octets, packets[0].nanos), (&[0x45][..], 9, 7000));
    }

    #[test]
    fn a_simple_packet_is_as_long_as_snaplen_and_block_allow() {
        for (snaplen, original, captured) in [(0, 3, 3), (2, 3, 2), (9, 3, 3), (0, 60, 4), (65, 60, 4)] {
            let interface = (IDB_MAGIC, &[101, 0, 0, 0, snaplen, 0, 0, 0][..]);
            let packet = (SPB_MAGIC, &[original, 0, 0, 0, 0x45, 1, 2, 3][..]);
            let (packets, error) = read_all(&little(&[interface, packet]));
            assert!(error.is_none());
            assert_eq!(packets[0].bytes, [0x45, 1, 2, 3][..captured]);
            assert_eq!((packets[0].octets, packets[0].nanos), (original.into(), 0));
        }
    }

    #[test]
    fn other_blocks_are_passed_over() {
        let file = little(&[RAW, (0x0bad, b"anything"), (4, b""), (0x8000_0001, b"\xff\xff\xff\xff"), ENHANCED]);
        assert_eq!(times(&file), [7000]);
    }

    #[test]
    fn a_section_header_must_tell_its_byte_order() {
        let file = block(ByteOrder::Little, SECTION_HEADER, &[0; 16]);
        assert!(matches!(read_all(&file).1.unwrap().fault, Fault::NoByteOrder));
    }

    #[test]
    fn interfaces_are_bounded() {
        let file = little(&vec![RAW; MOST_INTERFACES + 1]);
        assert!(matches!(read_all(&file).1.unwrap().fault, Fault::TooManyInterfaces(MOST_INTERFACES)));
    }
}
