//! Where datagrams come fast, several are waited for rather than each: to be woken for one costs as much as many of its
//! packets, and what they need is then no longer in the processor's caches.

use std::time::{Duration, Instant};

/// Packets a second, more than NFLOG can bring: one processor at a time fills a group's datagrams.
const MOST: u32 = 3_200_000;
/// A shorter one would bring too little, and a longer one would be noticed.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(20);

/// When a capture thread naps.
pub struct Nap {
    /// How long; zero where it never does.
    length: Duration,
    /// When there was last nothing left to receive.
    emptied: Instant,
    /// Datagrams received since.
    datagrams: u32,
}

impl Nap {
    /// Short enough that no more than so many packets come meanwhile.
    pub fn new(packets: u32, now: Instant) -> Self {
        let length = (Duration::from_secs(packets.into()) / MOST).min(LONGEST);
        Self { length: if length < SHORTEST { Duration::ZERO } else { length }, emptied: now, datagrams: 0 }
    }

    /// How long to nap after a datagram, `emptied` if it was the last that there was: not at all, unless at least two come in
    /// that time if they go on as of late.
    pub fn after_datagram(&mut self, emptied: bool, now: impl FnOnce() -> Instant) -> Duration {
        self.datagrams = self.datagrams.saturating_add(1);
        if !emptied {
            return Duration::ZERO;
        }
        let now = now();
        let passed = now.duration_since(std::mem::replace(&mut self.emptied, now));
        let datagrams = std::mem::take(&mut self.datagrams);
        if passed.saturating_mul(2) < self.length.saturating_mul(datagrams) { self.length } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn it_is_short_enough() {
        let length = |packets| Nap::new(packets, Instant::now()).length.as_micros();
        assert_eq!([0, 3199, 3200, 32_768, u32::MAX].map(length), [0, 0, 1000, 10_240, 20_000]);
    }

    /// Each datagram empties the socket, which wakes the thread for the next.
    #[test]
    fn datagrams_that_come_fast_are_waited_for() {
        let start = Instant::now();
        for (every, naps) in [(4 * MILLISECOND, true), (6 * MILLISECOND, false), (100 * MILLISECOND, false)] {
            let mut nap = Nap::new(32_768, start);
            for number in 1..5 {
                assert_eq!(!nap.after_datagram(true, || start + every * number).is_zero(), naps, "{every:?}");
            }
        }
    }

    #[test]
    fn it_goes_on_while_it_brings_several_and_not_after_a_single_burst() {
        let start = Instant::now();
        let mut nap = Nap::new(32_768, start);
        let mut burst = |datagrams, at| {
            assert!((1..datagrams).all(|_| nap.after_datagram(false, || unreachable!()).is_zero()));
            nap.after_datagram(true, || start + at * MILLISECOND)
        };
        assert!(burst(9, 1000).is_zero(), "nothing came for long before");
        assert!([1011, 1022].map(|at| burst(9, at)).iter().all(|nap| !nap.is_zero()));
        assert!([1033, 1133].map(|at| burst(2, at)).iter().all(|nap| nap.is_zero()));
    }

    #[test]
    fn where_there_is_little_room_there_is_none() {
        let start = Instant::now();
        let mut nap = Nap::new(1000, start);
        assert!((0..100).all(|_| nap.after_datagram(true, || start).is_zero()));
    }
}
