//! What ails a probe at work: a line in the log when it begins, and one when it is over.
//!
//! What ails a collector, whoever speaks to it says likewise.

use crate::metrics::{CaptureCounters, Metrics};
use log::Level;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a group may be silent from the start.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);
/// And how long later, at least.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long nothing may be lost before a loss counts as over.
const NO_LOSS: Duration = Duration::from_secs(60);
/// Hundredths of the flow table from which on it is filling up, and below which it has room again.
const FULL: u64 = 90;
const ROOM: u64 = 80;

/// What is to be logged.
pub type Line = (Level, String);

/// What was seen of a probe so far.
pub struct Health {
    metrics: Arc<Metrics>,
    groups: Vec<Group>,
    /// Of packets for whose flows the table had no room.
    ignored: Loss,
    is_full: bool,
}

/// What was seen of an NFLOG group.
struct Group {
    number: u16,
    counters: Arc<CaptureCounters>,
    silence: Silence,
    lost: Loss,
}

impl Health {
    /// Of a probe that starts at `now`.
    pub fn new(metrics: Arc<Metrics>, now: Instant) -> Self {
        let group = |(number, counters): &(Option<u16>, Arc<CaptureCounters>)| {
            let (counters, silence, lost) = (counters.clone(), Silence::new(now), Loss::default());
            Some(Group { number: (*number)?, counters, silence, lost })
        };
        let groups = metrics.captures.iter().filter_map(group).collect();
        Self { metrics, groups, ignored: Loss::default(), is_full: false }
    }

    /// Looks at the counters, and logs what that shows.
    pub fn tell(&mut self, now: Instant) {
        self.look(now).iter().for_each(|(level, text)| log::log!(*level, "{text}"));
    }

    /// What the counters show at `now` that is to be logged.
    pub fn look(&mut self, now: Instant) -> Vec<Line> {
        let ignored = self.metrics.captured().ignored_packets.get();
        let of_groups = self.groups.iter_mut().flat_map(|group| group.look(now));
        let mut lines: Vec<_> = of_groups.collect();
        lines.extend(self.ignored.look(ignored, now).map(no_room));
        lines.extend(self.fill());
        lines
    }

    /// How full the flow table is.
    fn fill(&mut self) -> Option<Line> {
        let (flows, limit) = (self.metrics.export.table_flows.get(), self.metrics.export.table_limit.get());
        let percent = flows * 100 / limit.max(1);
        let was_full = self.is_full;
        self.is_full = percent >= if was_full { ROOM } else { FULL };
        match (was_full, self.is_full) {
            (false, true) => Some((
                Level::Warn,
                format!(
                    "the flow table is filling up, with {flows} of {limit} flows: raise --max-flows, or lower \
                     --inactive-timeout; when it is nearly full, the flows that have been idle longest end early"
                ),
            )),
            (true, false) => {
                Some((Level::Info, format!("the flow table has room again, with {flows} of {limit} flows")))
            }
            _ => None,
        }
    }
}

impl Group {
    fn look(&mut self, now: Instant) -> Vec<Line> {
        let Self { number, counters, silence, lost } = self;
        let silence = silence.look(counters.packets.get(), now).map(|told| match told {
            Told::Begins(silent) => {
                (Level::Warn, format!("no packets on NFLOG group {number} for {silent} s: `nfweir check` says why"))
            }
            Told::Ends(silent) => {
                (Level::Info, format!("packets come on NFLOG group {number}, after {silent} s without"))
            }
        });
        let lost = lost.look(counters.lost_packets.get(), now).map(|told| match told {
            Told::Begins(packets) => (
                Level::Warn,
                format!(
                    "NFLOG group {number}: packets are being lost, {packets} so far, as the kernel has no room for them: \
                     raise --receive-buffer, or spread flows over several groups, as --spread does"
                ),
            ),
            Told::Ends(packets) => {
                (Level::Info, format!("NFLOG group {number}: {}, after {packets} were", no_more("lost")))
            }
        });
        silence.into_iter().chain(lost).collect()
    }
}

fn no_room(told: Told) -> Line {
    match told {
        Told::Begins(packets) => (
            Level::Warn,
            format!(
                "the flow table has no room for new flows: packets are being ignored, {packets} so far: raise --max-flows, or \
                 lower --inactive-timeout"
            ),
        ),
        Told::Ends(packets) => {
            (Level::Info, format!("the flow table: {}, after {packets} were", no_more("ignored for lack of room")))
        }
    }
}

fn no_more(what: &str) -> String {
    format!("no packets have been {what} for {} s", NO_LOSS.as_secs())
}

/// Something begins, or is over, after so many packets or seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Begins(u64),
    Ends(u64),
}

/// How long no packets have come.
struct Silence {
    packets: u64,
    /// When the last came, or the probe started.
    last: Instant,
    /// The longest time without that was seen: where such are usual, they are no trouble.
    longest: Duration,
    is_told: bool,
}

impl Silence {
    fn new(now: Instant) -> Self {
        Self { packets: 0, last: now, longest: Duration::ZERO, is_told: false }
    }

    fn look(&mut self, packets: u64, now: Instant) -> Option<Told> {
        let silent = now.duration_since(self.last);
        if packets == self.packets {
            let patience = if packets == 0 { FIRST_PATIENCE } else { PATIENCE.max(2 * self.longest) };
            let begins = silent >= patience && !self.is_told;
            self.is_told |= begins;
            return begins.then_some(Told::Begins(silent.as_secs()));
        }
        self.longest = self.longest.max(silent);
        (self.packets, self.last) = (packets, now);
        std::mem::take(&mut self.is_told).then_some(Told::Ends(silent.as_secs()))
    }
}

/// Packets that are in no flow, though they should be.
#[derive(Default)]
struct Loss {
    packets: u64,
    /// While some are lost: how many were before, and when the last was.
    going_on: Option<(u64, Instant)>,
}

impl Loss {
    fn look(&mut self, packets: u64, now: Instant) -> Option<Told> {
        let before = std::mem::replace(&mut self.packets, packets);
        match &mut self.going_on {
            None if packets > before => {
                self.going_on = Some((before, now));
                Some(Told::Begins(packets - before))
            }
            Some((_, last)) if packets > before => {
                *last = now;
                None
            }
            Some((first, last)) if now.duration_since(*last) >= NO_LOSS => {
                let lost = packets - *first;
                self.going_on = None;
                Some(Told::Ends(lost))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told at the seconds at which there are so many packets.
    fn told<W>(mut watch: W, look: fn(&mut W, u64, Instant) -> Option<Told>, seen: &[(u64, u64)]) -> Vec<(u64, Told)> {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        seen.iter().filter_map(|&(second, packets)| Some((second, look(&mut watch, packets, at(second))?))).collect()
    }

    #[test]
    fn a_silence_is_told_at_its_begin_and_its_end() {
        use Told::*;
        let silence = |seen: &[_]| told(Silence::new(Instant::now()), Silence::look, seen);
        assert_eq!(silence(&[(0, 0), (29, 0), (31, 0), (32, 0), (400, 0)]), [(31, Begins(31))]);
        assert_eq!(silence(&[(31, 0), (95, 7), (96, 8)]), [(31, Begins(31)), (95, Ends(95))]);
        assert_eq!(silence(&[(1, 1), (300, 1), (302, 1), (303, 2)]), [(302, Begins(301)), (303, Ends(302))]);
        assert_eq!(
            silence(&[(1, 1), (300, 2), (500, 2), (897, 2), (898, 2)]),
            [(898, Begins(598))],
            "pauses are usual"
        );
    }

    #[test]
    fn a_loss_is_over_after_a_minute_without() {
        use Told::*;
        let seen = [(0, 0), (1, 5), (2, 9), (61, 9), (62, 9), (63, 9), (70, 10)];
        assert_eq!(told(Loss::default(), Loss::look, &seen), [(1, Begins(5)), (62, Ends(9)), (70, Begins(1))]);
    }

    fn health() -> (Arc<Metrics>, Health) {
        let metrics =
            Metrics { captures: vec![(Some(5), Arc::default()), (None, Arc::default())], ..Metrics::default() };
        let metrics = Arc::new(metrics);
        (metrics.clone(), Health::new(metrics, Instant::now()))
    }

    #[test]
    fn a_table_is_filling_up_until_it_has_room() {
        let (metrics, mut health) = health();
        metrics.export.table_limit.set(1000);
        let mut lines = |flows| -> Vec<Line> {
            metrics.export.table_flows.set(flows);
            health.look(Instant::now()).into_iter().map(|(level, text)| (level, text[..26].to_owned())).collect()
        };
        let nothing: Vec<Line> = Vec::new();
        assert_eq!(lines(899), nothing);
        assert_eq!(lines(900), [(Level::Warn, "the flow table is filling ".to_owned())]);
        assert_eq!([lines(1000), lines(899), lines(800)], [(); 3].map(|()| nothing.clone()));
        assert_eq!(lines(799), [(Level::Info, "the flow table has room ag".to_owned())]);
        assert_eq!(lines(899), nothing);
    }

    #[test]
    fn lines_name_the_group_and_the_mend() {
        let (metrics, mut health) = health();
        metrics.captures[0].1.lost_packets.add(3);
        metrics.captures[1].1.ignored_packets.add(4);
        let lines = health.look(Instant::now() + Duration::from_secs(3600));
        let texts: Vec<_> = lines.iter().map(|(_, text)| text.as_str()).collect();
        assert!(lines.iter().all(|(level, _)| *level == Level::Warn) && texts.len() == 3, "{texts:?}");
        assert_eq!(texts[0], "no packets on NFLOG group 5 for 3600 s: `nfweir check` says why");
        assert!(
            texts[1].starts_with("NFLOG group 5: packets are being lost, 3 so far")
                && texts[1].contains("--receive-buffer")
        );
        assert!(texts[2].contains("packets are being ignored, 4 so far: raise --max-flows"));
    }
}
