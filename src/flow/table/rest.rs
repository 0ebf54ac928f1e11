//! What one flow has beside its slot: written when it begins, and read when its record is made.
//!
//! Relaxed throughout: *published* and *grace* order the first and the last access.

use super::key::Addresses;
use crate::flow::{Direction, Sighting};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::array;

/// What its first packet alone says.
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
#[cfg_attr(loom, derive(Default))]
pub struct Rest {
    output: AtomicU32,
    direction: AtomicU32,
}

impl Rest {
    pub fn begin(&self, packet: &Sighting) {
        self.output.store(packet.output, Ordering::Relaxed);
        self.direction.store(packet.direction as u32, Ordering::Relaxed);
    }

    pub fn output(&self) -> u32 {
        self.output.load(Ordering::Relaxed)
    }

    pub fn direction(&self) -> Direction {
        match self.direction.load(Ordering::Relaxed) {
            1 => Direction::Egress,
            _ => Direction::Ingress,
        }
    }
}

/// The addresses of an IPv6 flow; another's never come here from memory.
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
#[cfg_attr(loom, derive(Default))]
#[repr(align(32))]
pub struct LongAddresses([AtomicU64; 4]);

impl LongAddresses {
    pub fn set(&self, addresses: &Addresses) {
        self.0.iter().zip(addresses).for_each(|(own, word)| own.store(*word, Ordering::Relaxed));
    }

    pub fn get(&self) -> Addresses {
        array::from_fn(|i| self.0[i].load(Ordering::Relaxed))
    }
}
