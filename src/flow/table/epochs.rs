//! Grace periods: how the harvester learns that no writer can hold a slot any more that it took out of its chain.

use crate::sync::{Apart, AtomicU64, Ordering, fence, yield_now};

/// The epoch of a writer that is in no batch.
const QUIET: u64 = 0;

pub struct Epochs {
    /// For each writer the epoch in which its batch began, or [`QUIET`].
    participants: Box<[Apart<AtomicU64>]>,
    /// Advances at each grace period.
    current: Apart<AtomicU64>,
}

impl Epochs {
    pub fn new(writers: usize) -> Self {
        Self {
            participants: (0..writers).map(|_| Apart(AtomicU64::new(QUIET))).collect(),
            current: Apart(AtomicU64::new(QUIET + 1)),
        }
    }

    /// A writer begins a batch.
    pub fn enter(&self, writer: u8) {
        // Acquire: partner of the release in `grace_period`; with its epoch come the removals before it.
        let epoch = self.current.0.load(Ordering::Acquire);
        // Release: what earlier batches counted is seen by a harvester that reads this epoch.
        self.participants[usize::from(writer)].0.store(epoch, Ordering::Release);
        // Partner of the fence in `grace_period` (*grace*): either this store is seen there, or the removals here.
        fence(Ordering::SeqCst);
    }

    /// A writer ends its batch.
    pub fn leave(&self, writer: u8) {
        // Release: partner of the acquire in `grace_period`, to which everything counted in this batch is visible.
        self.participants[usize::from(writer)].0.store(QUIET, Ordering::Release);
    }

    /// Waits until no writer can hold a slot that was unlinked before (*grace*). Writers never wait for this.
    pub fn grace_period(&self) {
        // Release: partner of the acquire in `enter`
        let epoch = self.current.0.fetch_add(1, Ordering::Release) + 1;
        // Partner of the fence in `enter`
        fence(Ordering::SeqCst);
        for participant in &self.participants {
            // Acquire: partner of the releases in `enter` and `leave`
            while (QUIET + 1..epoch).contains(&participant.0.load(Ordering::Acquire)) {
                yield_now();
            }
        }
    }
}
