//! The slots that hold no flow: a stack of those given back, and behind it those never used.

use super::slot::{NONE, Slot};
use crate::sync::{Apart, AtomicU32, AtomicU64, Ordering, prefetch};

/// How far ahead of their use fresh slots are fetched.
const AHEAD: usize = 4;

pub struct FreeList {
    /// First slot of the stack (low half), and how often the stack has changed (high half), so that a swap fails if
    /// the same slot came back to the front meanwhile.
    top: Apart<AtomicU64>,
    /// Slots from here on were never used.
    fresh: Apart<AtomicU32>,
}

impl FreeList {
    pub fn new() -> Self {
        Self { top: Apart(AtomicU64::new(NONE.into())), fresh: Apart(AtomicU32::new(NONE + 1)) }
    }

    /// Slots from this number on were never used.
    pub fn fresh(&self) -> u32 {
        self.fresh.0.load(Ordering::Relaxed)
    }

    /// A slot that nobody else has (*owned*), `None` if there is none.
    pub fn take(&self, slots: &[Slot]) -> Option<u32> {
        // Acquire: partner of the release in `give_back`; whoever had the slot before is done with it.
        let mut top = self.top.0.load(Ordering::Acquire);
        while top as u32 != NONE {
            let next = slots[top as u32 as usize].next.load(Ordering::Relaxed);
            match self.top.0.compare_exchange_weak(top, changed(top, next), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    prefetch(&slots[next as usize]);
                    return Some(top as u32);
                }
                Err(now) => top = now,
            }
        }
        let mut fresh = self.fresh();
        while (fresh as usize) < slots.len() {
            match self.fresh.0.compare_exchange_weak(fresh, fresh + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    slots.get(fresh as usize + AHEAD).into_iter().for_each(prefetch);
                    return Some(fresh);
                }
                Err(now) => fresh = now,
            }
        }
        None
    }

    /// Gives slots back, all at once.
    pub fn give_back(&self, slots: &[Slot], numbers: impl Iterator<Item = u32>) {
        let (mut first, mut last) = (NONE, NONE);
        for number in numbers {
            if first == NONE {
                last = number;
            }
            slots[number as usize].next.store(first, Ordering::Relaxed);
            first = number;
        }
        if first == NONE {
            return;
        }
        let mut top = self.top.0.load(Ordering::Relaxed);
        loop {
            slots[last as usize].next.store(top as u32, Ordering::Relaxed);
            // Release: partner of the acquire in `take` (*owned*)
            match self.top.0.compare_exchange_weak(top, changed(top, first), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }
}

/// The stack's word with another first slot: one more change.
fn changed(top: u64, first: u32) -> u64 {
    ((top >> 32).wrapping_add(1) << 32) | u64::from(first)
}
