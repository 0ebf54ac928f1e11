//! The other source: capture files, pcap and pcapng, from a file or a pipe.
//!
//! A file is a row of records: `records` (pcap) or `blocks` (pcapng) says how long the next one is, `window` holds it
//! together as one slice, and `link_types` skips what lies before the network layer. Lengths are checked before
//! anything is read by them, so a lying file costs at most `LONGEST_RECORD` of memory and always ends in an error.

mod blocks;
mod link_types;
mod records;
mod window;

use super::Captured;
use super::netlink::Beside;
use crate::flow::Direction;
use crate::time::Timestamp;
use blocks::Blocks;
use pcap_parser::Linktype;
use records::Records;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;
use window::Window;

/// No record may be longer: 64 MiB are a thousand times the longest packet that is not an IPv6 jumbogram.
const LONGEST_RECORD: usize = 64 << 20;

/// Reads the packets of a capture file one after the other.
///
/// Formats: pcap ([draft-ietf-opsawg-pcap](https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/)) and pcapng
/// ([draft-ietf-opsawg-pcapng](https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/)), in either byte order.
pub struct CaptureReader<R> {
    input: Window<R>,
    format: Format,
    /// Length of the record at the front of `input`; 0 when there is none.
    current: usize,
    packets: u64,
    unreadable: BTreeMap<i32, u64>,
}

enum Format {
    Pcap(Records),
    PcapNg(Blocks),
}

/// A packet in its record: where its bytes are, and what the record says of it.
struct Frame {
    link: Linktype,
    bytes: Range<usize>,
    original_length: u32,
    time: Timestamp,
    direction: Direction,
}

impl<R: Read> CaptureReader<R> {
    /// Reads the first bytes and tells by them which format it is.
    pub fn open(input: R) -> Result<Self, CaptureError> {
        let mut input = Window::new(input);
        match Format::detect(&mut input) {
            Ok((format, header)) => {
                Ok(Self { input, format, current: header, packets: 0, unreadable: BTreeMap::new() })
            }
            Err(fault) => Err(CaptureError { offset: 0, packets: 0, fault }),
        }
    }

    /// The next packet, which borrows the reader; `None` at the end. All packets before a fault are delivered before
    /// the error, and after it there is nothing more to read, unless it [would block](CaptureError::would_block).
    ///
    /// A frame of a link type or with a link header that cannot be read is a packet that is not IP.
    #[inline(always)]
    pub fn next_packet(&mut self) -> Result<Option<Captured<'_>>, CaptureError> {
        let Some(frame) = self.next_frame().map_err(|fault| self.error(fault))? else { return Ok(None) };
        self.packets += 1;
        let bytes = &self.input.held()[frame.bytes];
        let whole = Captured {
            bytes,
            start: link_types::NOT_IP,
            octets: Some(u64::from(frame.original_length).max(bytes.len() as u64)),
            time: frame.time,
            input: 0,
            output: 0,
            vlan: 0,
            direction: frame.direction,
            selector: 0,
            beside: Beside::default(),
        };
        let packet = link_types::strip(frame.link, self.format.byte_order(), whole);
        Ok(Some(packet.unwrap_or_else(|| {
            note_unreadable(&mut self.unreadable, frame.link);
            whole
        })))
    }

    /// Where the bytes come from.
    pub fn input(&self) -> &R {
        self.input.input()
    }

    /// How many bytes of the input lie before the record of the last packet; at the end, all.
    pub fn position(&self) -> u64 {
        self.input.position()
    }

    /// The link types met that cannot be read, by their number in the
    /// [registry](https://www.tcpdump.org/linktypes.html), and how many frames had each.
    pub fn unreadable_links(&self) -> impl Iterator<Item = (i32, u64)> {
        self.unreadable.iter().map(|(&link, &frames)| (link, frames))
    }

    #[inline(always)]
    fn next_frame(&mut self) -> Result<Option<Frame>, Fault> {
        while let Some(record) = self.next_record()? {
            if let Some(frame) = self.format.frame(&self.input.held()[..record])? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Brings the next record to the front, whole, and returns its length; `None` at the end of the input.
    #[inline(always)]
    fn next_record(&mut self) -> Result<Option<usize>, Fault> {
        self.input.skip(std::mem::take(&mut self.current));
        let head = self.input.hold(self.format.head())?;
        if head.is_empty() {
            return Ok(None);
        }
        let length = self.format.length(head)?;
        if length > LONGEST_RECORD {
            return Err(Fault::TooLong(length));
        }
        if self.input.hold(length)?.len() < length {
            return Err(Fault::CutOff);
        }
        self.current = length;
        Ok(Some(length))
    }

    #[cold]
    fn error(&self, fault: Fault) -> CaptureError {
        CaptureError { offset: self.position(), packets: self.packets, fault }
    }
}

#[cold]
fn note_unreadable(unreadable: &mut BTreeMap<i32, u64>, link: Linktype) {
    *unreadable.entry(link.0).or_default() += 1;
}

impl Format {
    /// Tells the format by its first bytes, and how long a header there is before the first record.
    fn detect(input: &mut Window<impl Read>) -> Result<(Self, usize), Fault> {
        let start = input.hold(Records::FILE_HEADER)?;
        if start.is_empty() {
            return Err(Fault::Empty);
        }
        if start.starts_with(&blocks::SECTION_HEADER.to_be_bytes()) {
            return Ok((Self::PcapNg(Blocks::default()), 0));
        }
        Ok((Self::Pcap(Records::new(start)?), Records::FILE_HEADER))
    }

    /// How many bytes of a record must be seen to know its length.
    fn head(&self) -> usize {
        match self {
            Self::Pcap(_) => Records::HEAD,
            Self::PcapNg(_) => Blocks::HEAD,
        }
    }

    #[inline(always)]
    fn length(&self, head: &[u8]) -> Result<usize, Fault> {
        match self {
            Self::Pcap(records) => records.length(head),
            Self::PcapNg(blocks) => blocks.length(head),
        }
    }

    /// The packet in a record, if it holds one.
    #[inline(always)]
    fn frame(&mut self, record: &[u8]) -> Result<Option<Frame>, Fault> {
        match self {
            Self::Pcap(records) => records.frame(record).map(Some).ok_or(Fault::Contradiction),
            Self::PcapNg(blocks) => blocks.frame(record),
        }
    }

    fn byte_order(&self) -> ByteOrder {
        match self {
            Self::Pcap(records) => records.order,
            Self::PcapNg(blocks) => blocks.order,
        }
    }
}

/// The order in which the host that wrote a file wrote the bytes of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ByteOrder {
    #[default]
    Little,
    Big,
}

impl ByteOrder {
    #[inline(always)]
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let number = u16::from_le_bytes(field(bytes, at)?);
        Some(if self == Self::Little { number } else { number.swap_bytes() })
    }

    #[inline(always)]
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let number = u32::from_le_bytes(field(bytes, at)?);
        Some(if self == Self::Little { number } else { number.swap_bytes() })
    }

    #[inline(always)]
    fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let number = u64::from_le_bytes(field(bytes, at)?);
        Some(if self == Self::Little { number } else { number.swap_bytes() })
    }
}

#[inline(always)]
fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Why and where a capture cannot be read further.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset}, after {packets} packets: {fault}")]
pub struct CaptureError {
    /// Where the record at fault begins.
    pub offset: u64,
    /// How many packets were read before it.
    pub packets: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a capture.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The input itself failed.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Neither format begins like this.
    #[error("it is neither a pcap nor a pcapng file; a compressed one must be decompressed first")]
    NotACapture,
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// The end came too early.
    #[error("it ends in the middle of a record; the capture was cut off or is still being written")]
    CutOff,
    /// More than anything that could be a packet.
    #[error("a record claims a length of {0} bytes; it is corrupt from here on")]
    TooLong(usize),
    /// A pcapng block whose length cannot be one (pcapng section 3.1).
    #[error("a block's length of {0} is less than 12 or no multiple of 4; it is corrupt from here on")]
    BlockLength(u32),
    /// A section header without byte-order magic (pcapng section 4.1).
    #[error("a section header does not tell its byte order; it is corrupt from here on")]
    NoByteOrder,
    /// Lengths or numbers in a record that do not fit each other.
    #[error("the fields of a record contradict each other; it is corrupt from here on")]
    Contradiction,
    /// A packet of an interface that no block describes.
    #[error("a packet names interface {0}, which the file does not describe")]
    NoInterface(u32),
    /// More interfaces than a file can sensibly have.
    #[error("a section describes more than {0} interfaces; it is corrupt")]
    TooManyInterfaces(usize),
}

impl CaptureError {
    /// An input that does not block has nothing more at the moment: the next packet can be asked for again.
    pub fn would_block(&self) -> bool {
        matches!(&self.fault, Fault::Read(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Start;
    use proptest::prelude::*;

    /// A packet as the tests compare it.
    #[derive(Debug, PartialEq)]
    pub struct Packet {
        pub bytes: Vec<u8>,
        pub start: Start,
        pub octets: u64,
        pub nanos: u64,
        pub direction: Direction,
    }

    /// All packets of a file, and the error it ends with if it does.
    pub fn read_all(file: &[u8]) -> (Vec<Packet>, Option<CaptureError>) {
        let mut packets = Vec::new();
        let end = CaptureReader::open(file).and_then(|mut reader| {
            while let Some(Captured { bytes, start, octets, time, direction, .. }) = reader.next_packet()? {
                let octets = octets.unwrap();
                packets.push(Packet { bytes: bytes.to_vec(), start, octets, nanos: time.nanos(), direction });
            }
            assert_eq!(reader.position(), file.len() as u64);
            Ok(())
        });
        (packets, end.err())
    }

    /// Two packets of 3 and 5 bytes.
    #[rustfmt::skip]
    const PCAP: &[u8] = &[
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0,
        1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0x45, 0, 3,
        2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 0x45, 0, 5, 5, 5,
    ];
    const PCAP_RECORDS: [usize; 3] = [24, 43, 64];

    /// The same two, as a section header, an interface, and two enhanced packets.
    #[rustfmt::skip]
    const PCAPNG: &[u8] = &[
        0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 28, 0, 0, 0,
        1, 0, 0, 0, 20, 0, 0, 0, 101, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0,
        6, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0,
            0x45, 0, 3, 0, 36, 0, 0, 0,
        6, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0,
            0x45, 0, 5, 5, 5, 0, 0, 0, 40, 0, 0, 0,
    ];
    const PCAPNG_BLOCKS: [usize; 4] = [28, 48, 84, 124];

    #[test]
    fn both_formats_hold_the_same_packets() {
        for file in [PCAP, PCAPNG] {
            let (packets, error) = read_all(file);
            assert!(error.is_none());
            assert_eq!(
                packets.iter().map(|packet| &packet.bytes[..]).collect::<Vec<_>>(),
                [&[0x45, 0, 3][..], &[0x45, 0, 5, 5, 5],]
            );
        }
    }

    #[test]
    fn a_file_cut_between_two_records_is_a_shorter_file_and_anywhere_else_an_error() {
        for (file, boundaries) in [(PCAP, &PCAP_RECORDS[..]), (PCAPNG, &PCAPNG_BLOCKS)] {
            let mut before = 0;
            for length in 1..=file.len() {
                let (packets, error) = read_all(&file[..length]);
                assert_eq!(error.is_none(), boundaries.contains(&length), "cut at {length}");
                assert!(packets.len() == before || packets.len() == before + 1);
                before = packets.len();
            }
            assert_eq!(before, 2);
        }
    }

    #[test]
    fn an_error_says_where_and_what() {
        let (packets, error) = read_all(&PCAP[..50]);
        assert_eq!(packets.len(), 1);
        assert_eq!(
            error.unwrap().to_string(),
            "at byte 43, after 1 packets: it ends in the middle of a record; \
             the capture was cut off or is still being written"
        );
        for no_capture in [&b"\x1f\x8b\x08\0\0\0\0\0"[..], b"%PDF-1.7"] {
            assert!(matches!(read_all(no_capture).1.unwrap().fault, Fault::NotACapture));
        }
        assert!(matches!(read_all(b"").1.unwrap().fault, Fault::Empty));
    }

    #[test]
    fn a_lying_length_is_an_error_after_the_packets_before_it() {
        for (file, at, length, fault) in [
            (PCAP, 51, 0xffff_ffff, "a record claims a length of 4294967311 bytes; it is corrupt from here on"),
            (PCAP, 51, 1 << 25, "it ends in the middle of a record; the capture was cut off or is still being written"),
            (PCAPNG, 88, 0xffff_fffc, "a record claims a length of 4294967292 bytes; it is corrupt from here on"),
            (PCAPNG, 88, 41, "a block's length of 41 is less than 12 or no multiple of 4; it is corrupt from here on"),
            (PCAPNG, 88, 8, "a block's length of 8 is less than 12 or no multiple of 4; it is corrupt from here on"),
            (PCAPNG, 88, 36, "the fields of a record contradict each other; it is corrupt from here on"),
            (PCAPNG, 120, 44, "the fields of a record contradict each other; it is corrupt from here on"),
            (PCAPNG, 104, 9, "the fields of a record contradict each other; it is corrupt from here on"),
            (PCAPNG, 104, 0xffff_ffff, "the fields of a record contradict each other; it is corrupt from here on"),
            (PCAPNG, 92, 1, "a packet names interface 1, which the file does not describe"),
        ] {
            let mut file = file.to_vec();
            file[at..at + 4].copy_from_slice(&u32::to_le_bytes(length));
            let (packets, error) = read_all(&file);
            assert_eq!((packets.len(), error.unwrap().fault.to_string().as_str()), (1, fault), "{length} at {at}");
        }
    }

    #[test]
    fn a_slow_pipe_gives_the_same_packets() {
        struct ByteByByte<'a>(&'a [u8]);
        impl Read for ByteByByte<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(&mut buffer[..1])
            }
        }
        let mut reader = CaptureReader::open(ByteByByte(PCAPNG)).unwrap();
        assert_eq!(reader.next_packet().unwrap().unwrap().bytes.len(), 3);
        assert_eq!(reader.next_packet().unwrap().unwrap().bytes.len(), 5);
        assert!(reader.next_packet().unwrap().is_none());
    }

    #[test]
    fn a_record_may_be_longer_than_what_is_read_ahead() {
        let mut file = PCAP[..24].to_vec();
        for length in [1_000_000u32, 10, 300_000] {
            file.extend([[0; 4], [0; 4], length.to_le_bytes(), length.to_le_bytes()].concat());
            file.resize(file.len() + length as usize, 7);
        }
        let (packets, error) = read_all(&file);
        assert!(error.is_none());
        assert_eq!(packets.iter().map(|packet| packet.bytes.len()).collect::<Vec<_>>(), [1_000_000, 10, 300_000]);
    }

    #[test]
    fn frames_of_unreadable_link_types_are_counted_and_delivered() {
        let mut file = PCAP.to_vec();
        file[20] = 105;
        let mut reader = CaptureReader::open(&file[..]).unwrap();
        for length in [3, 5] {
            let packet = reader.next_packet().unwrap().unwrap();
            assert_eq!((packet.start, packet.bytes.len()), (link_types::NOT_IP, length));
        }
        assert!(reader.unreadable_links().eq([(105, 2)]));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_bounded_steps(
            file in prop_oneof![Just(PCAP), Just(PCAPNG)],
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            tail in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = [file, &tail].concat();
            for (index, byte) in changes {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            prop_assert!(read_all(&bytes).0.len() <= bytes.len() / Records::HEAD);
        }

        #[test]
        fn any_link_header_is_skipped_within_its_frame(
            link in prop_oneof![0..300i32, Just(239), Just(276)],
            big: bool,
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let order = if big { ByteOrder::Big } else { ByteOrder::Little };
            if let Some(packet) = link_types::strip(Linktype(link), order, link_types::tests::frame(&bytes)) {
                prop_assert!(packet.bytes.len() <= bytes.len() && Some(packet.bytes.len() as u64) <= packet.octets);
            }
        }
    }
}
