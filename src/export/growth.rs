//! When what is counted happened first and last.

use crate::time::Timestamp;

/// When a count grew, as far as those saw who looked at it.
#[derive(Debug, Default)]
pub struct Growth {
    seen: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Growth {
    /// Notes that the count, which began with 0, is this at `now`.
    pub fn look(&mut self, count: u64, now: Timestamp) {
        if count > self.seen {
            if self.seen == 0 {
                self.first = now;
            }
            (self.seen, self.last) = (count, now);
        }
    }

    /// When it was seen to have grown for the first and the last time; 1970 where it never has.
    pub fn times(&self) -> [Timestamp; 2] {
        [self.first, self.last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_growth_is_noted() {
        let mut growth = Growth::default();
        let at = |second: u64| Timestamp::from_nanos(second * 1_000_000_000);
        let mut after = |count, second| {
            growth.look(count, at(second));
            growth.times().map(Timestamp::seconds)
        };
        assert_eq!([after(0, 1), after(5, 2), after(5, 3), after(6, 4)], [[0, 0], [2, 2], [2, 2], [2, 4]]);
    }
}
