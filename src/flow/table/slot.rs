//! One flow in the table.

use super::key::{Short, flow_key};
use super::rest::{LongAddresses, Rest};
use crate::flow::{EndReason, FlowRecord, ForwardingStatus, Sighting, Tracked, UserName};
use crate::packet::details::Details;
use crate::sync::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use crate::time::Timestamp;
use std::array;

/// The link that leads nowhere; slot numbers begin at 1, so that zeroed memory is an empty table. The slot with this
/// number is never used, and so holds no key.
pub const NONE: u32 = 0;

/// One flow: what is compared and added to at each packet, in one cache line.
///
/// Relaxed throughout, but for `next`: *published* and *grace* order the first and the last access.
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub struct Slot {
    key: [AtomicU64; 3],
    packets: AtomicU64,
    octets: AtomicU64,
    last: AtomicU64,
    first: AtomicU64,
    /// The slot behind this one in its chain, or in the free list.
    pub next: AtomicU32,
    tcp_flags: AtomicU16,
    min_ttl: AtomicU8,
    max_ttl: AtomicU8,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 64, "a slot is one cache line");

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
    pub fn begin(&self, key: &Short, packet: &Sighting) {
        for (atomic, word) in self.key.iter().zip(key) {
            atomic.store(*word, Ordering::Relaxed);
        }
        self.packets.store(1, Ordering::Relaxed);
        self.octets.store(packet.octets, Ordering::Relaxed);
        self.first.store(packet.time.nanos(), Ordering::Relaxed);
        self.last.store(packet.time.nanos(), Ordering::Relaxed);
        self.tcp_flags.store(packet.tcp_flags, Ordering::Relaxed);
        self.min_ttl.store(packet.ttl, Ordering::Relaxed);
        self.max_ttl.store(packet.ttl, Ordering::Relaxed);
    }

    /// Adds a packet, and gives the control bits that are new. Loads and stores are enough, as nobody else stores
    /// (*single*).
    pub fn add(&self, packet: &Sighting) -> u16 {
        change(&self.packets, |packets| packets.wrapping_add(1));
        change(&self.octets, |octets| octets.wrapping_add(packet.octets));
        change(&self.first, |first| first.min(packet.time.nanos()));
        change(&self.last, |last| last.max(packet.time.nanos()));
        self.min_ttl.store(self.min_ttl.load(Ordering::Relaxed).min(packet.ttl), Ordering::Relaxed);
        self.max_ttl.store(self.max_ttl.load(Ordering::Relaxed).max(packet.ttl), Ordering::Relaxed);
        let flags = self.tcp_flags.load(Ordering::Relaxed);
        self.tcp_flags.store(flags | packet.tcp_flags, Ordering::Relaxed);
        packet.tcp_flags & !flags
    }

    /// Whether this is the slot of such a key. All words are compared, so that the processor need not guess the answer.
    pub fn holds(&self, key: &Short) -> bool {
        self.key.iter().zip(key).fold(0, |differing, (own, word)| differing | (own.load(Ordering::Relaxed) ^ word)) == 0
    }

    pub fn key(&self) -> Short {
        array::from_fn(|i| self.key[i].load(Ordering::Relaxed))
    }

    pub fn glimpse(&self) -> Glimpse {
        Glimpse {
            first: Timestamp::from_nanos(self.first.load(Ordering::Relaxed)),
            last: Timestamp::from_nanos(self.last.load(Ordering::Relaxed)),
            tcp_flags: self.tcp_flags.load(Ordering::Relaxed),
        }
    }

    /// The record of the flow, with what is beside the slot.
    pub fn record(&self, rest: &Rest, addresses: &LongAddresses, end_reason: EndReason) -> FlowRecord {
        let Glimpse { first, last, tcp_flags } = self.glimpse();
        FlowRecord {
            key: flow_key(self.key(), || addresses.get()),
            packets: self.packets.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
            first,
            last,
            tcp_flags,
            first_tcp_flags: rest.tcp_flags(),
            min_ttl: self.min_ttl.load(Ordering::Relaxed),
            max_ttl: self.max_ttl.load(Ordering::Relaxed),
            output: rest.output(),
            direction: rest.direction(),
            forwarding_status: ForwardingStatus::Unknown,
            end_reason,
            details: Details::default(),
            user_name: UserName::default(),
            is_initiators: false,
            tracked: Tracked::default(),
        }
    }
}

fn change(atomic: &AtomicU64, change: impl FnOnce(u64) -> u64) {
    atomic.store(change(atomic.load(Ordering::Relaxed)), Ordering::Relaxed);
}
