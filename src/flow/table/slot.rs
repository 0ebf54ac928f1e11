//! One flow in the table.

use crate::flow::{Direction, EndReason, FlowKey, FlowRecord, Sighting};
use crate::sync::{AtomicU32, AtomicU64, Ordering, prefetch};
use crate::time::Timestamp;

/// The link that leads nowhere; slot numbers begin at 1, so that zeroed memory is an empty table. The slot with this
/// number is never used, and so holds no key.
pub const NONE: u32 = 0;

/// A key as the table keeps it.
pub type Words = [u64; FlowKey::WORDS];

/// One flow, in two cache lines that the processor fetches as a pair: what is compared and added to, then the rest.
///
/// Relaxed throughout, but for `next`: *published* and *grace* order the first and the last access.
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(128))]
pub struct Slot {
    key: [AtomicU64; FlowKey::WORDS],
    packets: AtomicU64,
    octets: AtomicU64,
    last: AtomicU64,
    first: AtomicU64,
    tcp_flags: AtomicU32,
    min_ttl: AtomicU32,
    max_ttl: AtomicU32,
    output: AtomicU32,
    direction: AtomicU32,
    /// The slot behind this one in its chain, or in the free list.
    pub next: AtomicU32,
}

/// The parts of a live flow that decide whether it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// Time of the earliest packet.
    pub first: Timestamp,
    /// Time of the latest packet.
    pub last: Timestamp,
    /// TCP control bits so far.
    pub tcp_flags: u16,
}

impl Slot {
    /// Makes an owned slot the flow of its first packet.
    pub fn begin(&self, words: &Words, packet: &Sighting) {
        for (atomic, word) in self.key.iter().zip(words) {
            atomic.store(*word, Ordering::Relaxed);
        }
        self.packets.store(1, Ordering::Relaxed);
        self.octets.store(packet.octets, Ordering::Relaxed);
        self.first.store(packet.time.nanos(), Ordering::Relaxed);
        self.last.store(packet.time.nanos(), Ordering::Relaxed);
        self.tcp_flags.store(u32::from(packet.tcp_flags), Ordering::Relaxed);
        self.min_ttl.store(u32::from(packet.ttl), Ordering::Relaxed);
        self.max_ttl.store(u32::from(packet.ttl), Ordering::Relaxed);
        self.output.store(packet.output, Ordering::Relaxed);
        self.direction.store(packet.direction as u32, Ordering::Relaxed);
    }

    /// Adds a packet, and says whether it has new control bits. Loads and stores are enough, as nobody else stores
    /// (*single*).
    pub fn add(&self, packet: &Sighting) -> bool {
        change_long(&self.packets, |packets| packets.wrapping_add(1));
        change_long(&self.octets, |octets| octets.wrapping_add(packet.octets));
        change_long(&self.first, |first| first.min(packet.time.nanos()));
        change_long(&self.last, |last| last.max(packet.time.nanos()));
        change(&self.min_ttl, |ttl| ttl.min(packet.ttl.into()));
        change(&self.max_ttl, |ttl| ttl.max(packet.ttl.into()));
        let flags = self.tcp_flags.load(Ordering::Relaxed);
        let with_those = flags | u32::from(packet.tcp_flags);
        self.tcp_flags.store(with_those, Ordering::Relaxed);
        with_those != flags
    }

    /// Whether this is the slot of a key. All words are compared, so that the processor need not guess the answer.
    pub fn holds(&self, words: &Words) -> bool {
        self.key.iter().zip(words).fold(0, |differing, (own, word)| differing | (own.load(Ordering::Relaxed) ^ word))
            == 0
    }

    /// Fetches both of its cache lines.
    pub fn prefetch(&self) {
        prefetch(&self.key);
        prefetch(&self.last);
    }

    pub fn words(&self) -> Words {
        std::array::from_fn(|i| self.key[i].load(Ordering::Relaxed))
    }

    pub fn glimpse(&self) -> Glimpse {
        Glimpse {
            first: Timestamp::from_nanos(self.first.load(Ordering::Relaxed)),
            last: Timestamp::from_nanos(self.last.load(Ordering::Relaxed)),
            tcp_flags: self.tcp_flags.load(Ordering::Relaxed) as u16,
        }
    }

    pub fn record(&self, end_reason: EndReason) -> FlowRecord {
        let Glimpse { first, last, tcp_flags } = self.glimpse();
        FlowRecord {
            key: FlowKey::from_words(&self.words()),
            packets: self.packets.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
            first,
            last,
            tcp_flags,
            min_ttl: self.min_ttl.load(Ordering::Relaxed) as u8,
            max_ttl: self.max_ttl.load(Ordering::Relaxed) as u8,
            output: self.output.load(Ordering::Relaxed),
            direction: match self.direction.load(Ordering::Relaxed) {
                1 => Direction::Egress,
                _ => Direction::Ingress,
            },
            end_reason,
        }
    }
}

fn change_long(atomic: &AtomicU64, change: impl FnOnce(u64) -> u64) {
    atomic.store(change(atomic.load(Ordering::Relaxed)), Ordering::Relaxed);
}

fn change(atomic: &AtomicU32, change: impl FnOnce(u32) -> u32) {
    atomic.store(change(atomic.load(Ordering::Relaxed)), Ordering::Relaxed);
}
