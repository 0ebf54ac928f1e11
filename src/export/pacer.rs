//! Pacing: how long a message has to wait so that a collector's socket buffer does not overflow.

use std::time::{Duration, Instant};

/// Messages that may go out together: few enough for any socket buffer, enough to wake up seldom.
pub const BURST: u32 = 8;

/// A rate of messages (the generic cell rate algorithm). It takes the time as a parameter and never sleeps itself.
#[derive(Debug)]
pub struct Pacer {
    /// Time between messages; zero without a limit.
    interval: Duration,
    /// When the next message would be due if all had been sent evenly.
    due: Option<Instant>,
}

impl Pacer {
    /// At most `rate` messages a second, 0 for no limit.
    pub fn new(rate: u32) -> Self {
        let interval = if rate == 0 { Duration::ZERO } else { Duration::from_secs(1) / rate };
        Self { interval, due: None }
    }

    /// Books messages at `now`, and says how long to wait before they are sent. What was not used earlier is not saved up
    /// beyond a burst.
    pub fn book(&mut self, messages: u32, now: Instant) -> Duration {
        let due = self.due.map_or(now, |due| due.max(now));
        self.due = Some(due + self.interval * messages);
        let tolerance = self.interval * (BURST - 1);
        let ahead = due - now;
        // when the burst is used up, wait until all of it is there again: one long sleep instead of many short ones
        if ahead > tolerance { ahead } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_in_bursts() {
        let mut pacer = Pacer::new(1000);
        let mut now = Instant::now();
        let start = now;
        let mut together = 0;
        let mut longest = 0;
        for _ in 0..10_000 {
            let wait = pacer.book(1, now);
            together = if wait.is_zero() { together + 1 } else { 1 };
            longest = longest.max(together);
            now += wait;
        }
        assert_eq!(longest, BURST);
        let seconds = (now - start).as_secs_f64();
        assert!((9.98..10.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_pause_saves_up_one_burst_only() {
        let mut pacer = Pacer::new(1000);
        let start = Instant::now();
        pacer.book(1, start);
        let later = start + Duration::from_secs(60);
        let free = (0..100).take_while(|_| pacer.book(1, later).is_zero()).count();
        assert_eq!(free, BURST as usize);
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pacer = Pacer::new(0);
        let now = Instant::now();
        assert!((0..1000).all(|_| pacer.book(1, now).is_zero()));
    }
}
