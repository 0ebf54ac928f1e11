//! Groups of which no packet comes, so that the operator learns where to look.

use crate::metrics::CaptureCounters;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a group may be silent from the start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Groups that are watched until their first packet, or until they are found to be silent.
pub struct Silence {
    since: Instant,
    watched: Vec<(Option<u16>, Arc<CaptureCounters>)>,
}

impl Silence {
    /// Watches these groups from `now` on.
    pub fn new(watched: Vec<(Option<u16>, Arc<CaptureCounters>)>, now: Instant) -> Self {
        Self { since: now, watched }
    }

    /// The groups that are found to be silent at `now`, each once.
    pub fn found(&mut self, now: Instant) -> Vec<u16> {
        if self.watched.is_empty() || now.duration_since(self.since) < PATIENCE {
            return Vec::new();
        }
        let silent = |(_, counters): &(Option<u16>, Arc<CaptureCounters>)| counters.packets.get() == 0;
        self.watched.drain(..).filter(silent).filter_map(|(group, _)| group).collect()
    }

    /// Logs which groups are found to be silent.
    pub fn tell(&mut self, now: Instant) {
        for group in self.found(now) {
            log::warn!("no packets on NFLOG group {group} for {} s: `nfweir check` says why", PATIENCE.as_secs());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_group_is_told_once() {
        let start = Instant::now();
        let counters: [Arc<CaptureCounters>; 2] = Default::default();
        let mut silence = Silence::new(vec![(Some(5), counters[0].clone()), (Some(6), counters[1].clone())], start);
        counters[1].packets.add(1);
        let mut found = |seconds| silence.found(start + Duration::from_secs(seconds));
        assert_eq!([found(0), found(29), found(30), found(31)], [vec![], vec![], vec![5], vec![]]);
    }
}
