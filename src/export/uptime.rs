//! The exporter's uptime, by which NetFlow v5 and v9 tell time: 32 bits of milliseconds.

use crate::flow::FlowRecord;
use crate::time::Timestamp;
use std::time::Duration;

/// How far before the first record the uptime is said to begin: room for records that are earlier than it.
const SLACK: Duration = Duration::from_secs(24 * 3600);

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

    /// Whether the times of this record, exported at `now`, can be said. If not, [`Uptime::restart`] makes them so.
    pub fn reaches(&self, flow: &FlowRecord, now: Timestamp) -> bool {
        self.boot.is_some_and(|boot| {
            boot <= flow.first && flow.last.max(now).since(boot) < Duration::from_millis(u32::MAX.into()) - SECOND
        })
    }

    /// Moves the boot so that this record's times can be said, unless it lasted for more than 48 days: its beginning
    /// is then cut off.
    pub fn restart(&mut self, flow: &FlowRecord, now: Timestamp) {
        let longest = Duration::from_millis(u32::MAX.into()) - SECOND;
        let latest = flow.last.max(now);
        let earliest = latest.before(longest);
        self.boot = Some(flow.first.before(SLACK).max(earliest).whole_second());
    }

    /// The uptime at `time`, in milliseconds.
    pub fn at(&self, time: Timestamp) -> u32 {
        u32::try_from(time.millis().saturating_sub(self.boot().millis())).unwrap_or(u32::MAX)
    }
}

const SECOND: Duration = Duration::from_secs(1);

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
        assert!(!uptime.reaches(&flow, now));
        uptime.restart(&flow, now);
        assert!(uptime.reaches(&flow, now));
        assert_eq!(uptime.at(now), 24 * 3600 * 1000);
        let late = at(1_700_000_000 + 49 * 24 * 3600);
        assert!(!uptime.reaches(&lasting(late, late), late));
        uptime.restart(&lasting(late, late), late);
        assert!(uptime.reaches(&lasting(late, late), late));
    }

    #[test]
    fn a_record_longer_than_32_bits_keeps_its_end() {
        let flow = lasting(at(0), at(1_700_000_000));
        let mut uptime = Uptime::default();
        uptime.restart(&flow, flow.last);
        assert_eq!(uptime.boot().millis() + u64::from(uptime.at(flow.last)), flow.last.millis());
    }

    #[test]
    fn the_epoch_itself_can_be_said() {
        let flow = lasting(at(0), at(0));
        let mut uptime = Uptime::default();
        uptime.restart(&flow, at(0));
        assert!(uptime.reaches(&flow, at(0)));
        assert_eq!((uptime.boot(), uptime.at(at(0))), (at(0), 0));
    }
}
