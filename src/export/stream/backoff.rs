//! How long to wait before another attempt at something that others attempt too.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Waits that double, each by chance half as long or half as long again, so that many probes do not come back to a
/// collector all at once.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The next wait; `chance` is from 0 to 1.
    pub fn next(&mut self, chance: f64) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        wait.mul_f64(0.5 + chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        let seconds: Vec<_> = (0..8).map(|_| backoff.next(0.5).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn chance_moves_them_by_half() {
        assert_eq!(Backoff::default().next(0.0), Duration::from_millis(500));
        assert_eq!(Backoff::default().next(1.0), Duration::from_millis(1500));
    }
}
