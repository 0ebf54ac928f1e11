//! What records can say of packets beside what flows are told apart by.

mod provenance;
mod read;
mod segments;

pub use provenance::{NOBODY, Provenance};
pub use read::{macs, read};
pub use segments::{Segment, Segments};

/// Of one packet, or of all packets of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Of the flow's first packet.
    pub first: FirstDetails,
    /// The options of its TCP header: bit n is set where there is option number n.
    pub tcp_options: u64,
    /// Length of the shortest and of the longest IP packet in octets.
    pub lengths: [u32; 2],
    /// Of one packet: what it tells of its segments.
    pub segment: Segment,
    /// Of a flow: its segments.
    pub segments: Segments,
}

/// What is told of the first packet of a flow. 0 is what is not there, or not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstDetails {
    /// Source and destination address of the Ethernet frame.
    pub macs: [[u8; 6]; 2],
    /// VLAN id of the second tag.
    pub inner_vlan: u16,
    /// The top entry of the MPLS label stack without its TTL: label, traffic class and S bit (RFC 3032 section 2.1).
    pub mpls: [u8; 3],
    /// IPv4's identification, or that of IPv6's Fragment header.
    pub identification: u32,
    /// IPv6's flow label, 20 bits.
    pub flow_label: u32,
    /// IPv6's next header: the protocol number behind the fixed header.
    pub next_header: u8,
    /// The mark that netfilter's rules gave it.
    pub mark: u32,
    /// Number of the hook where it was logged, in the numbers of its table's family (`linux/netfilter.h`).
    pub hook: u8,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl Details {
    /// Adds what another packet has.
    pub fn add(&mut self, packet: &Self) {
        self.tcp_options |= packet.tcp_options;
        self.lengths = [self.lengths[0].min(packet.lengths[0]), self.lengths[1].max(packet.lengths[1])];
        self.segments.add(&packet.segment);
    }
}

/// How far the kind of a provenance is above the lowest bit of the word that it is in, behind a flow label.
const KIND_SHIFT: u32 = 30;
/// The bits of a flow label.
const FLOW_LABEL: u64 = 0xf_ffff;

impl FirstDetails {
    /// How many 64-bit words they are.
    pub const WORDS: usize = 5;

    /// As words; [`FirstDetails::from_words`] is its inverse.
    pub fn to_words(self) -> [u64; Self::WORDS] {
        let mac = |[a, b, c, d, e, f]: [u8; 6], rest| u64::from_be_bytes([a, b, c, d, e, f, 0, 0]) | u64::from(rest);
        let [source, destination] = self.macs;
        let [a, b, c] = self.mpls;
        let (kind, provenance) = self.provenance.to_words();
        [
            mac(source, self.inner_vlan),
            mac(destination, self.next_header.into()),
            u64::from(self.identification) << 32 | kind << KIND_SHIFT | u64::from(self.flow_label),
            u64::from(self.mark) << 32 | u64::from(u32::from_be_bytes([self.hook, a, b, c])),
            provenance,
        ]
    }

    /// What gave these words.
    pub fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [source, destination, numbers, rule, provenance] = words;
        let mac = |word: u64| {
            let [a, b, c, d, e, f, ..] = word.to_be_bytes();
            [a, b, c, d, e, f]
        };
        let [.., hook, a, b, c] = rule.to_be_bytes();
        Self {
            macs: [mac(source), mac(destination)],
            inner_vlan: source as u16,
            mpls: [a, b, c],
            identification: (numbers >> 32) as u32,
            flow_label: (numbers & FLOW_LABEL) as u32,
            next_header: destination as u8,
            mark: (rule >> 32) as u32,
            hook,
            provenance: Provenance::from_words(numbers >> KIND_SHIFT & 3, provenance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_survive_their_words() {
        let mut details = FirstDetails {
            macs: [[2, 0, 0, 0, 0, 1], [0xfe, 0xff, 3, 4, 5, 6]],
            inner_vlan: 4094,
            mpls: [0x12, 0x34, 0x51],
            identification: 0xfedc_ba98,
            flow_label: 0xf_ffff,
            next_header: 44,
            mark: 0xfedc_0001,
            hook: 4,
            provenance: Provenance::Unknown,
        };
        for provenance in [
            Provenance::Unknown,
            Provenance::Process { uid: 0, gid: 0xffff_fffe },
            Provenance::Bridge { input: 0xffff_ffff, output: 7 },
        ] {
            details.provenance = provenance;
            assert_eq!(FirstDetails::from_words(details.to_words()), details);
        }
        assert_eq!(FirstDetails::from_words([0; FirstDetails::WORDS]), FirstDetails::default());
    }
}
