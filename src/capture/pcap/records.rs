//! pcap: a file header, then records of a header and a packet each (draft-ietf-opsawg-pcap).

use super::{ByteOrder, Fault, Frame};
use crate::flow::Direction;
use crate::time::Timestamp;
use pcap_parser::{Linktype, nom, parse_pcap_header};

/// What the file header says of the records.
pub struct Records {
    pub order: ByteOrder,
    link: Linktype,
    /// Nanoseconds in one unit of a time's second field.
    unit: u64,
    /// Length of a record's header.
    header: usize,
}

impl Records {
    /// Length of the file header (section 4).
    pub const FILE_HEADER: usize = 24;
    /// Length of a record's header (section 5).
    pub const HEAD: usize = 16;
    /// Length of a record's header in the "modified" format of old Linux distributions.
    const MODIFIED_HEAD: usize = 24;

    pub fn new(file_header: &[u8]) -> Result<Self, Fault> {
        let (_, header) = parse_pcap_header(file_header).map_err(|error| match error {
            nom::Err::Incomplete(_) => Fault::CutOff,
            nom::Err::Error(_) | nom::Err::Failure(_) => Fault::NotACapture,
        })?;
        Ok(Self {
            order: if header.is_bigendian() { ByteOrder::Big } else { ByteOrder::Little },
            link: Linktype(header.network.0 & 0xffff), // above it: length of the frame check sequence
            unit: if header.is_nanosecond_precision() { 1 } else { 1000 },
            header: if header.is_modified_format() { Self::MODIFIED_HEAD } else { Self::HEAD },
        })
    }

    #[inline(always)]
    pub fn length(&self, head: &[u8]) -> Result<usize, Fault> {
        let captured = self.order.u32(head, 8).ok_or(Fault::CutOff)?;
        Ok(self.header.saturating_add(captured as usize))
    }

    #[inline(always)]
    pub fn frame(&self, record: &[u8]) -> Option<Frame> {
        let head: &[u8; Self::HEAD] = record.first_chunk()?;
        let seconds = self.order.u32(head, 0)?;
        let fraction = self.order.u32(head, 4)?;
        Some(Frame {
            link: self.link,
            bytes: self.header..record.len(),
            original_length: self.order.u32(head, 12)?,
            time: Timestamp::from_parts(seconds.into(), u64::from(fraction) * self.unit),
            direction: Direction::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Packet, read_all};
    use super::*;
    use crate::packet::Start;

    /// A file of link type Ethernet with one packet of 2 bytes, cut from 60, at 1.5 s or by `unit` of the magic.
    #[rustfmt::skip]
    const VARIANTS: [(&[u8], u64); 5] = [
        (&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
           1, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 60, 0, 0, 0, 0xaa, 0xbb], 1_000_005_000),
        (&[0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1,
           0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 60, 0xaa, 0xbb], 1_000_005_000),
        (&[0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
           1, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 60, 0, 0, 0, 0xaa, 0xbb], 1_000_000_005),
        (&[0xa1, 0xb2, 0x3c, 0x4d, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1,
           0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 60, 0xaa, 0xbb], 1_000_000_005),
        // modified: ifIndex, protocol, packet type and padding before the packet
        (&[0x34, 0xcd, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
           1, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 60, 0, 0, 0, 3, 0, 0, 0, 8, 0, 0, 0, 0xaa, 0xbb], 1_000_005_000),
    ];

    #[test]
    fn every_magic_is_read() {
        for (file, nanos) in VARIANTS {
            let (packets, error) = read_all(file);
            assert!(error.is_none());
            let (start, direction) = (Start::Ethernet, Direction::Ingress);
            assert_eq!(packets, [Packet { bytes: vec![0xaa, 0xbb], start, octets: 60, nanos, direction }]);
        }
    }

    #[test]
    fn a_frame_check_sequence_leaves_the_link_type_as_it_is() {
        let mut file = VARIANTS[0].0.to_vec();
        file[23] = 0x44; // 4 bytes of it: F bit and FCS length
        assert_eq!(read_all(&file).0[0].start, Start::Ethernet);
    }

    #[test]
    fn an_original_length_below_the_captured_is_not_believed() {
        let mut file = VARIANTS[0].0.to_vec();
        file[36] = 1;
        assert_eq!(read_all(&file).0[0].octets, 2);
    }
}
