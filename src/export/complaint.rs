//! Trouble that goes on: a line in the log when it begins, and one when it is over.

use std::time::{Duration, Instant};

/// When there was trouble last, if it is not over.
#[derive(Debug, Default)]
pub struct Complaint(pub(super) Option<Instant>);

impl Complaint {
    /// There is trouble at `now`; whether it begins by that, and so is to be logged.
    pub fn begins(&mut self, now: Instant) -> bool {
        self.0.replace(now).is_none()
    }

    /// All is well; whether it had not been, and that is to be logged.
    pub fn ends(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// All is well at `now`; whether that ends trouble of which nothing was heard for so long.
    pub fn ends_after(&mut self, quiet: Duration, now: Instant) -> bool {
        self.0.is_some_and(|last| now.duration_since(last) >= quiet) && self.ends()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_when_it_begins_and_when_it_is_over() {
        let (mut complaint, begin) = (Complaint::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let quiet = Duration::from_secs(30);
        assert!(!complaint.ends() && !complaint.ends_after(quiet, at(0)));
        assert_eq!([0, 1, 999].map(|seconds| complaint.begins(at(seconds))), [true, false, false]);
        assert_eq!([1028, 1029, 1030].map(|seconds| complaint.ends_after(quiet, at(seconds))), [false, true, false]);
        assert!(complaint.begins(at(1031)) && complaint.ends() && !complaint.ends());
    }
}
