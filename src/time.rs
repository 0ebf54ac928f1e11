//! Wall-clock time as the probe keeps it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An instant on the wall clock: nanoseconds since the Unix epoch, 1970 to 2554.
///
/// Earlier instants, which broken captures hold, become the epoch itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant `nanoseconds` after the Unix epoch.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The instant `seconds` and `nanoseconds` after the Unix epoch; what is out of range becomes the nearest that is in it.
    pub const fn from_parts(seconds: i64, nanoseconds: u64) -> Self {
        if seconds < 0 {
            return Self(0);
        }
        Self((seconds as u64).saturating_mul(1_000_000_000).saturating_add(nanoseconds))
    }

    /// What the system's clock says.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch (the form of flowStartMilliseconds, RFC 7011 section 6.1.8).
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole seconds since the Unix epoch.
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The beginning of its second.
    pub const fn whole_second(self) -> Self {
        Self(self.0 - self.0 % 1_000_000_000)
    }

    /// The instant `wait` before this one, or the epoch.
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }
}
