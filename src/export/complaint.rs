//! Trouble that goes on, logged now and then.

use std::time::{Duration, Instant};

/// It is logged again after this long.
const REMIND: Duration = Duration::from_secs(300);

/// When trouble was logged last, if it was.
#[derive(Debug, Default)]
pub struct Complaint(Option<Instant>);

impl Complaint {
    /// Whether to log it now; then that counts as done.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = self.0.is_none_or(|then| now.duration_since(then) >= REMIND);
        if due {
            self.0 = Some(now);
        }
        due
    }

    /// The trouble has ended; whether it had been logged.
    pub fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_logged_when_it_begins_and_when_it_has_lasted() {
        let (mut complaint, begin) = (Complaint::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(!complaint.end());
        assert_eq!(
            [0, 1, 299, 300, 301].map(|seconds| complaint.is_due(at(seconds))),
            [true, false, false, true, false]
        );
        assert!(complaint.end());
        assert!(complaint.is_due(at(302)));
    }
}
