//! The exporter's uptime, by which NetFlow v5 and v9 tell time: 32 bits of milliseconds.

use crate::flow::FlowRecord;
use crate::time::Timestamp;
use std::time::Duration;

/// How far before the first record the uptime is said to begin: room for records that are earlier than it.
const SLACK: Duration = Duration::from_secs(24 * 3600);

const SECOND: Duration = Duration::from_secs(1);
/// What 32 bits of milliseconds can say, in whole seconds.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64 / 1000);

/// When the exporter booted, as far as its messages tell. A whole second, so that the uptime in a header can be exact.
///
/// It stays for 48 days, then moves on as if the exporter had restarted: 32 bits hold no more than 49.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uptime {
    boot: Option<Timestamp>,
}

impl Uptime {
    /// What the uptime counts from.
    pub fn boot(&self) -> Timestamp {
        self.boot.unwrap_or_default()
    }

    /// Whether the times of this record can be said. If not, [`Uptime::restart`] makes them so.
    pub fn reaches(&self, flow: &FlowRecord) -> bool {
        self.boot.is_some_and(|boot| boot <= flow.first && flow.last.since(boot) < LONGEST)
    }

    /// Moves the boot so that this record's times can be said, unless it lasted for more than 48 days: its beginning
    /// is then cut off.
    pub fn restart(&mut self, flow: &FlowRecord) {
        // a second less, as the boot is rounded down
        self.boot = Some(flow.first.before(SLACK).max(flow.last.before(LONGEST - SECOND)).whole_second());
    }

    /// This time, or the latest that can be said: old flows in a capture that goes on for years.
    pub fn reachable(&self, time: Timestamp) -> Timestamp {
        time.min(self.boot() + LONGEST)
    }

    /// The uptime at `time`, in milliseconds.
    pub fn at(&self, time: Timestamp) -> u32 {
        u32::try_from(time.millis().saturating_sub(self.boot().millis())).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_nanos(second * 1_000_000_000)
    }

    fn lasting(first: Timestamp, last: Timestamp) -> FlowRecord {
        FlowRecord { first, last, ..record() }
    }

    #[test]
    fn an_uptime_serves_until_32_bits_are_full_and_then_restarts() {
        let now = at(1_700_000_000);
        let flow = lasting(now, now);
        let mut uptime = Uptime::default();
        assert!(!uptime.reaches(&flow));
        uptime.restart(&flow);
        assert!(uptime.reaches(&flow));
        assert_eq!(uptime.at(now), 24 * 3600 * 1000);
        let late = at(1_700_000_000 + 49 * 24 * 3600);
        assert!(!uptime.reaches(&lasting(late, late)));
        assert_eq!(uptime.reachable(late), at(1_700_000_000 - 24 * 3600 + 4_294_967));
        uptime.restart(&lasting(late, late));
        assert!(uptime.reaches(&lasting(late, late)));
        assert_eq!(uptime.reachable(late), late);
    }

    #[test]
    fn a_record_longer_than_32_bits_keeps_its_end() {
        let flow = lasting(at(0), at(1_700_000_000));
        let mut uptime = Uptime::default();
        uptime.restart(&flow);
        assert_eq!(uptime.boot().millis() + u64::from(uptime.at(flow.last)), flow.last.millis());
    }

    #[test]
    fn the_epoch_itself_can_be_said() {
        let flow = lasting(at(0), at(0));
        let mut uptime = Uptime::default();
        uptime.restart(&flow);
        assert!(uptime.reaches(&flow));
        assert_eq!((uptime.boot(), uptime.at(at(0))), (at(0), 0));
    }
}
