//! When a flow has ended: pure policy, which takes the time as a parameter.

use super::EndReason;
use super::table::Glimpse;
use crate::time::Timestamp;
use std::time::Duration;

/// FIN and RST (RFC 9293 section 3.1): after either, this direction of a connection has said its last. Of what packets change,
/// these alone bring a flow's end nearer.
pub(super) const TCP_END: u16 = 0x01 | 0x04;
/// How long after FIN or RST its stragglers (retransmissions, the last ACK) still belong to the flow.
const TCP_LINGER: Duration = Duration::from_secs(2);

/// How long flows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A flow without packets for this long has ended.
    pub inactive: Duration,
    /// A flow that goes on is exported in parts this long.
    pub active: Duration,
    /// Whether a flow is one TCP connection's, and ends with it.
    pub by_connection: bool,
}

/// What a look at a flow gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has ended.
    Ended(EndReason),
    /// It goes on, and cannot have ended before this time unless it gets other TCP control bits.
    Until(Timestamp),
}

impl Timeouts {
    /// Whether the flow has ended at `now`, and why.
    pub fn judge(&self, flow: &Glimpse, now: Timestamp) -> Verdict {
        let idle = now.since(flow.last);
        // the latest packet lies in the future if the clock was set back since
        let set_back = flow.last.since(now);
        let closing = self.by_connection && flow.tcp_flags & TCP_END != 0;
        let linger = TCP_LINGER.min(self.inactive);
        if closing && idle >= linger {
            Verdict::Ended(EndReason::EndOfFlow)
        } else if idle >= self.inactive || set_back > self.inactive {
            Verdict::Ended(EndReason::IdleTimeout)
        } else if now.since(flow.first) >= self.active {
            Verdict::Ended(EndReason::ActiveTimeout)
        } else {
            let quiet = if closing { linger } else { self.inactive };
            Verdict::Until((flow.last + quiet).min(flow.first + self.active))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts =
        Timeouts { inactive: Duration::from_secs(15), active: Duration::from_secs(60), by_connection: true };

    /// The judgement at second 1000 of a flow whose first and latest packets were at these seconds.
    fn judged(first: u64, last: u64, tcp_flags: u16) -> Verdict {
        TIMEOUTS.judge(&Glimpse { first: at(first), last: at(last), tcp_flags }, at(1000))
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_nanos(second * 1_000_000_000)
    }

    #[test]
    fn each_reason_at_its_second() {
        assert_eq!(judged(980, 986, 0x10), Verdict::Until(at(1001)));
        assert_eq!(judged(980, 985, 0x10), Verdict::Ended(EndReason::IdleTimeout));
        assert_eq!(judged(941, 1000, 0x10), Verdict::Until(at(1001)));
        assert_eq!(judged(940, 1000, 0x10), Verdict::Ended(EndReason::ActiveTimeout));
        assert_eq!(judged(990, 999, 0x11), Verdict::Until(at(1001)));
        assert_eq!(judged(990, 998, 0x11), Verdict::Ended(EndReason::EndOfFlow));
        assert_eq!(judged(990, 998, 0x04), Verdict::Ended(EndReason::EndOfFlow));
    }

    #[test]
    fn a_flow_of_many_connections_does_not_end_with_one() {
        let timeouts = Timeouts { by_connection: false, ..TIMEOUTS };
        let flow = Glimpse { first: at(990), last: at(998), tcp_flags: 0x11 };
        assert_eq!(timeouts.judge(&flow, at(1000)), Verdict::Until(at(1013)));
    }

    #[test]
    fn a_clock_set_back_does_not_keep_flows_for_ever() {
        assert_eq!(judged(1000, 1010, 0), Verdict::Until(at(1025)));
        assert_eq!(judged(1000, 1016, 0), Verdict::Ended(EndReason::IdleTimeout));
    }
}
