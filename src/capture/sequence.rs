//! What a group's sequence numbers tell of loss.

/// Numbers begin at 0 with the binding and wrap at 2^32.
#[derive(Debug, Default)]
pub struct Sequence {
    expected: u32,
    /// Datagrams dropped before the socket was last found empty: the next packet tells what was in them.
    pub dropped_before: u32,
    /// Datagrams dropped whose packets some packet has told of.
    told: u32,
}

impl Sequence {
    /// How many packets are missing before the one with this number.
    #[inline]
    pub fn gap(&mut self, number: Option<u32>) -> u64 {
        let Some(number) = number else { return 0 };
        let missing = number.wrapping_sub(self.expected);
        self.told = self.dropped_before;
        self.expected = number.wrapping_add(1);
        u64::from(missing)
    }

    /// Of so many dropped datagrams, the most that no packet has told of: a full socket may have let packets in between
    /// them.
    pub fn untold(&self, dropped: u32) -> u32 {
        dropped.wrapping_sub(self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_exact_from_the_first_packet_and_over_the_wrap() {
        let mut sequence = Sequence::default();
        assert_eq!([0, 1, 5].map(|number| sequence.gap(Some(number))), [0, 0, 3]);
        assert_eq!(Sequence::default().gap(Some(7)), 7);
        sequence.expected = u32::MAX;
        assert_eq!([u32::MAX, 0, 2].map(|number| sequence.gap(Some(number))), [0, 0, 1]);
        assert_eq!(sequence.gap(None), 0);
    }

    #[test]
    fn drops_behind_the_last_packet_are_not_told_by_an_earlier_gap() {
        let mut sequence = Sequence::default();
        sequence.gap(Some(0));
        // two datagrams are dropped, the socket is found empty, a packet tells of them
        sequence.dropped_before = 2;
        assert_eq!((sequence.untold(2), sequence.gap(Some(1025)), sequence.untold(2)), (2, 1024, 0));
        // three more behind all packets that were let in
        assert_eq!((sequence.gap(Some(1026)), sequence.untold(5)), (0, 3));
    }
}
