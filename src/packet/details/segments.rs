//! How many packets there were on the wire where the kernel shows one (GRO, segmentation offload).
//!
//! Such a super-packet carries the data of many TCP segments and one of their headers. Each of them had at most the maximum
//! segment size of the connection, less the options in its header (RFC 6691).

/// Octets of an IP packet that any Ethernet carries: what is not longer is one packet.
const USUAL_MTU: u32 = 1500;
/// A maximum segment size below this is none that TCP works with (`TCP_MIN_SND_MSS`), and taken as absent.
const LEAST_MSS: u16 = 48;
/// How far the count is above the lowest bit of the word that it is kept in.
const COUNT_SHIFT: u32 = 16;

/// What one packet tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Length of the IP packet in octets.
    pub octets: u32,
    /// Octets of the headers of IP and TCP; 0 if it is not TCP's.
    pub headers: u16,
    /// Octets of TCP's options.
    pub options: u8,
    /// The maximum segment size that a SYN says, else 0.
    pub mss: u16,
}

/// What is known of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// The maximum segment size that its SYN said, 0 if none was seen.
    pub mss: u16,
    /// Packets on the wire, estimated.
    pub count: u64,
}

impl Segments {
    /// Adds a packet.
    pub fn add(&mut self, packet: &Segment) {
        if packet.mss >= LEAST_MSS {
            self.mss = packet.mss;
        }
        self.count += u64::from(self.of(packet));
    }

    fn of(&self, packet: &Segment) -> u32 {
        if packet.octets <= USUAL_MTU || packet.headers == 0 {
            return 1;
        }
        let options = u32::from(packet.options);
        let usual = USUAL_MTU - u32::from(packet.headers).saturating_sub(options).min(USUAL_MTU / 2);
        let mss = if self.mss == 0 { usual } else { self.mss.into() };
        // RFC 6691: options come out of the segment's size
        let data = mss.saturating_sub(options).max(u32::from(LEAST_MSS) / 2);
        packet.octets.saturating_sub(packet.headers.into()).div_ceil(data).max(1)
    }

    /// As a word; [`Segments::from_word`] is its inverse. The count has 48 bits of it.
    pub fn to_word(self) -> u64 {
        self.count << COUNT_SHIFT | u64::from(self.mss)
    }

    /// What gave this word.
    pub fn from_word(word: u64) -> Self {
        Self { mss: word as u16, count: word >> COUNT_SHIFT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IPv4 without options, TCP with so many octets of them and so much data.
    fn tcp(options: u8, data: u32, mss: u16) -> Segment {
        let headers = 40 + u16::from(options);
        Segment { octets: u32::from(headers) + data, headers, options, mss }
    }

    #[test]
    fn super_packets_are_divided_by_what_the_syn_said() {
        let mut segments = Segments::default();
        for (packet, count) in [
            (tcp(20, 0, 1400), 1),
            (tcp(12, 1448, 0), 2),       // no longer than Ethernet carries, whatever was said
            (tcp(12, 10 * 1388, 0), 12), // 1400 less the timestamp
            (tcp(12, 10 * 1388 + 1, 0), 23),
            (Segment { octets: 9000, ..Segment::default() }, 24), // UDP: nobody knows
        ] {
            segments.add(&packet);
            assert_eq!(segments.count, count, "{packet:?}");
            assert_eq!(Segments::from_word(segments.to_word()), segments);
        }
    }

    #[test]
    fn without_a_syn_it_is_what_ethernet_carries() {
        let mut segments = Segments::default();
        segments.add(&tcp(12, 45 * 1448, 0));
        segments.add(&Segment { octets: 2 * 1440 + 60, headers: 60, options: 0, mss: 0 });
        segments.add(&tcp(0, 2 * 1460, 1));
        assert_eq!(segments, Segments { mss: 0, count: 45 + 2 + 2 });
    }

    #[test]
    fn whatever_is_claimed_nothing_overflows() {
        let mut segments = Segments { mss: 48, count: 0 };
        segments.add(&Segment { octets: u32::MAX, headers: u16::MAX, options: u8::MAX, mss: 48 });
        segments.add(&Segment { octets: u32::MAX, headers: 1, options: u8::MAX, mss: 0 });
        assert!(segments.count > 0);
    }
}
