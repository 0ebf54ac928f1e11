//! Which flows the harvester has to look at, and when: one small word for each slot, so that a pass over half a million
//! flows reads two megabytes in a row, and only those slots that it has a reason to look at.

use super::harvester::Scope;
use crate::sync::{AtomicU32, Ordering, Zeroed};
use crate::time::Timestamp;

/// The slot holds no flow.
const FREE: u32 = 0;
/// The flow is new, or what decides about its end has changed. Less than any time, so due at any.
const LOOK: u32 = 1;
/// The first word that is a time: whole seconds since 1970, or [`LATEST`] if that is less.
const EARLIEST: u32 = 2;
/// The last that is one: from then on all flows are due.
const LATEST: u32 = u32::MAX - 1;
/// The harvester is looking at the flow, or has taken it out of its chain.
const SEEN: u32 = u32::MAX;

pub struct Agenda(Zeroed<AtomicU32>);

impl Agenda {
    pub fn new(slots: usize) -> Option<Self> {
        Zeroed::new(slots).map(Self)
    }

    pub fn populate(&self) {
        self.0.populate();
    }

    /// A writer has put a free slot into its chain.
    pub fn enlist(&self, slot: u32) {
        // Release: partner of the acquires in `calls` and `is_free`; whoever sees it finds the slot in its chain. The
        // harvester does nothing to the word of a free slot.
        self.0[slot as usize].store(LOOK, Ordering::Release);
    }

    /// A writer has changed what decides about the end of a flow.
    pub fn call(&self, slot: u32) {
        // Release: partner of the acquires in `calls` and `open`; whoever sees it sees the change. A swap, as it has to come
        // either before or after a whole `postpone`.
        self.0[slot as usize].swap(LOOK, Ordering::AcqRel);
    }

    /// The slots below `fresh` that are to be looked at.
    pub fn calls(&self, fresh: u32, scope: Scope) -> impl Iterator<Item = u32> {
        let latest = match scope {
            Scope::All => SEEN,
            Scope::Due(now) => seconds(now),
        };
        // Acquire: partner of the releases in `enlist` and `call`
        let calls = move |word: &AtomicU32| (LOOK..=latest).contains(&word.load(Ordering::Acquire));
        let words = (0..fresh).zip(self.0.iter());
        words.filter_map(move |(slot, word)| calls(word).then_some(slot))
    }

    /// The harvester begins to look at a slot: what a writer changes from here on calls for another look.
    pub fn open(&self, slot: u32) {
        // Acquire: partner of the release in `call`. A swap, so that no call can come between reading and writing.
        self.0[slot as usize].swap(SEEN, Ordering::AcqRel);
    }

    /// The harvester has looked: the slot calls again at `time`, unless it does already.
    pub fn postpone(&self, slot: u32, time: Timestamp) {
        // Relaxed: nothing is published by it
        let _ = self.0[slot as usize].compare_exchange(SEEN, seconds(time), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The slot holds no flow any more. No writer has it (*grace*).
    pub fn clear(&self, slot: u32) {
        self.0[slot as usize].store(FREE, Ordering::Relaxed);
    }

    pub fn is_free(&self, slot: u32) -> bool {
        // Acquire: partner of the release in `enlist`
        self.0[slot as usize].load(Ordering::Acquire) == FREE
    }
}

fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.seconds()).unwrap_or(LATEST).clamp(EARLIEST, LATEST)
}
