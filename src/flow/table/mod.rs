//! The lock-free flow table: many capture threads count, one export thread removes, and nobody waits for a lock.
//!
//! **Shape.** `slots` holds the flows, `heads` the first slot of each hash chain; all is allocated once. A chain is singly
//! linked through `Slot::next`, new slots go in at its head by one compare-and-swap. A slot is one cache line, with all that
//! a packet of IPv4 compares and changes; IPv6's addresses, and what the first packet alone says, are in arrays beside.
//!
//! **A packet's way.** A [`Batch`] takes packets through in small groups: it fetches the heads of a group's chains, then
//! the first slots of the chains of the group before, compares those of the group before that (and fetches the second slots
//! where the first are not theirs), and counts the group before that. At half a million flows each of these places is far away
//! in memory, but many fetched together take little longer than one.
//!
//! **Removal.** Only the [`Harvester`] takes slots out of chains, and it alone changes the `next` of a slot that is in
//! one. A removed slot may still be counted on by a writer that had found it. The harvester therefore waits until
//! every [`Writer`] has left the [`Batch`] in which it may have found it (a grace period), and only then reads the
//! final counters and gives the slot back. A later packet of the same key starts a new record. Each packet is so
//! in exactly one record, or in what the batch says it ignored.
//!
//! **Many threads.** To count a packet of a known flow, a writer writes to nothing that another thread writes to: the slot is
//! its own, and heads and chains are only read. So threads take nothing from each other but room in the cache that they
//! share and the memory's bandwidth, some three cache lines a packet; sixteen of them at a million packets a second each
//! would want 3 GB/s of that. What they do contend for is a new flow: the free list's top and, by chance, a chain's
//! head, each with one swap. At some 50 ns for a line that sixteen threads fight for, that bounds new flows to several
//! millions a second, for all threads together; beyond that, writers would take free slots by the dozen.
//! The harvester reads the agenda in a row, and writes only to slots that it removes, and to the agenda.
//!
//! **Invariants**, to which the comments on orderings refer:
//! - *published*: a slot's key and first values are written before the swap that puts it into its chain (release), and
//!   read only after a load that leads to it (acquire).
//! - *grace*: a slot leaves its chain before the epoch advances (release); a writer that enters with that epoch
//!   (acquire), or whose entry the harvester's fence precedes, cannot find it any more; one that entered before is
//!   waited for.
//! - *owned*: a slot taken from the free list is touched by its taker alone until it is published.
//! - *single*: a writer's number is part of its keys in the table, so that a slot in a chain is counted on by one
//!   writer. Counters are therefore added to without a locked instruction, and a key that a writer has not found can
//!   only be put in by itself. Two writers make two records of one key; NFLOG's never do, as the selector of a key belongs
//!   to one group, and a group to one thread.
//!
//! Everything in a slot is atomic, so the table needs no `unsafe`: a mistake here would give wrong counts, not undefined
//! behaviour, and the loom tests look for exactly those.

mod agenda;
mod epochs;
mod free_list;
mod harvester;
mod key;
mod rest;
mod slot;
mod writer;

pub use harvester::{Harvester, Scope};
pub use slot::Glimpse;
pub use writer::{Batch, Counted, Writer};

use super::expiry::TCP_END;
use super::{EndReason, FlowRecord, Sighting, Tracked};
use crate::packet::details::Details;
use crate::sync::{Apart, AtomicU32, Ordering, Zeroed, prefetch};
use agenda::Agenda;
use epochs::Epochs;
use free_list::FreeList;
use key::{Key, Short, hash};
use rapidhash::v3::RapidSecrets;
use rest::{KeptConnection, KeptDetails, LongAddresses, Rest};
use slot::{NONE, Slot};
use std::sync::Arc;

/// Links of a chain that are followed before a packet counts as finding no place. With a seeded hash and more
/// chains than flows, chance makes no chain nearly as long; a guessed seed could, and must not cost time without bound.
const LONGEST_CHAIN: usize = 64;
/// Writers have numbers of eight bits.
pub const MOST_WRITERS: usize = 256;

/// There was no place for a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Full;

/// The table did not fit in memory; the text is the operator's.
#[derive(Debug, thiserror::Error)]
#[error("there is no memory for a table of {0} flows: lower --max-flows")]
pub struct NoMemory(u32);

/// What a table keeps of each flow beside the rest, where records say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeps {
    /// [`Details`].
    pub details: bool,
    /// What its packets said of its connection.
    pub connections: bool,
}

struct FlowTable {
    /// A power of two of them.
    heads: Zeroed<AtomicU32>,
    slots: Zeroed<Slot>,
    /// What their flows have beside them: by the same number.
    rests: Zeroed<Rest>,
    addresses: Zeroed<LongAddresses>,
    /// Only where records say them.
    details: Option<Zeroed<KeptDetails>>,
    connections: Option<Zeroed<KeptConnection>>,
    secrets: RapidSecrets,
    free: FreeList,
    agenda: Agenda,
    epochs: Epochs,
    /// Writers that are left.
    writers: AtomicU32,
    /// Flows in chains.
    live: Apart<AtomicU32>,
}

/// Makes a table for at most `max_flows` flows: `writers` handles to count with, and the one to remove with.
///
/// # Panics
/// Where `max_flows` is 0 or above 2^31, or `writers` above 256, which the configuration excludes.
pub fn new(max_flows: u32, writers: usize) -> Result<(Vec<Writer>, Harvester), NoMemory> {
    keeping(max_flows, writers, Keeps::default())
}

/// The same for a table that may keep more of each flow.
///
/// # Panics
/// As [`new`].
pub fn keeping(max_flows: u32, writers: usize, keeps: Keeps) -> Result<(Vec<Writer>, Harvester), NoMemory> {
    let table = Arc::new(FlowTable::new(max_flows, writers, keeps).ok_or(NoMemory(max_flows))?);
    let handles = (0..writers).map(|number| Writer::new(table.clone(), number as u8)).collect();
    Ok((handles, Harvester::new(table)))
}

/// So many that few flows have another before them: each of those is far away in memory, and fetched late. A power of two.
#[cfg(not(loom))]
fn chains(max_flows: u32) -> usize {
    4 << max_flows.ilog2()
}

/// For loom one chain, so that every flow meets every other.
#[cfg(loom)]
fn chains(_: u32) -> usize {
    1
}

/// New at each start: who does not know them cannot choose packets that fall into one chain.
fn secrets() -> RapidSecrets {
    #[cfg(loom)]
    return RapidSecrets::seed(1);
    #[cfg(not(loom))]
    RapidSecrets::seed(std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0))
}

impl FlowTable {
    /// `None` where there is no memory for it.
    fn new(max_flows: u32, writers: usize, keeps: Keeps) -> Option<Self> {
        assert!((1..=1 << 31).contains(&max_flows), "max_flows must be 1 to 2^31");
        assert!(writers <= MOST_WRITERS, "a table has at most {MOST_WRITERS} writers");
        // one more, as NONE is a number too
        let numbers = max_flows as usize + 1;
        Some(Self {
            heads: Zeroed::new(chains(max_flows))?,
            slots: Zeroed::new(numbers)?,
            rests: Zeroed::new(numbers)?,
            addresses: Zeroed::new(numbers)?,
            details: if keeps.details { Some(Zeroed::new(numbers)?) } else { None },
            connections: if keeps.connections { Some(Zeroed::new(numbers)?) } else { None },
            secrets: secrets(),
            free: FreeList::new(),
            agenda: Agenda::new(numbers)?,
            epochs: Epochs::new(writers),
            writers: AtomicU32::new(writers as u32),
            live: Apart(AtomicU32::new(0)),
        })
    }

    fn slot(&self, number: u32) -> &Slot {
        &self.slots[number as usize]
    }

    fn capacity(&self) -> u32 {
        (self.slots.len() - 1) as u32
    }

    /// How many flows there is room for when the table counts as crowded.
    fn reserve(&self) -> u32 {
        self.capacity() / 16
    }

    fn crowded(&self) -> bool {
        self.live.0.load(Ordering::Relaxed) >= self.capacity() - self.reserve()
    }

    /// Which chain a key belongs to.
    fn chain(&self, key: &Short) -> usize {
        hash(key, &self.secrets) as usize & (self.heads.len() - 1)
    }

    fn head(&self, chain: usize) -> &AtomicU32 {
        &self.heads[chain]
    }

    /// Counts a packet in the flow with this key. Gives its slot, and whether the flow begins with it.
    fn count(&self, key: &Key, chain: usize, packet: &Sighting) -> Result<(u32, bool), Full> {
        let head = self.head(chain);
        // Acquire: *published*
        if let Some(number) = self.find(key, head.load(Ordering::Acquire))? {
            self.add(number, packet);
            return Ok((number, false));
        }
        let number = self.free.take(&self.slots).ok_or(Full)?;
        self.begin(number, key, packet);
        self.link(head, number);
        self.agenda.enlist(number);
        Ok((number, true))
    }

    /// Makes an owned slot a flow.
    fn begin(&self, number: u32, key: &Key, packet: &Sighting) {
        self.slot(number).begin(&key.short, packet);
        self.rests[number as usize].begin(packet);
        if key.is_long() {
            self.addresses[number as usize].set(&key.addresses);
        }
    }

    fn add(&self, number: u32, packet: &Sighting) {
        if self.slot(number).add(packet) & TCP_END != 0 {
            self.agenda.call(number);
        }
    }

    /// Notes what there is beside to say of a packet that was counted in a slot, in the same batch: nobody reads it before its
    /// end (*grace*).
    #[cold]
    fn note(&self, number: u32, (packet, tracked): &(Details, Tracked), begins: bool) {
        if let Some(details) = &self.details {
            let details = &details[number as usize];
            if begins { details.begin(packet) } else { details.add(packet) }
        }
        if let Some(connections) = &self.connections
            && (begins || tracked.is_known())
        {
            connections[number as usize].set(tracked);
        }
    }

    /// Looks for a key from slot `number` on to the end of its chain.
    fn find(&self, key: &Key, mut number: u32) -> Result<Option<u32>, Full> {
        for _ in 0..LONGEST_CHAIN {
            if number == NONE {
                return Ok(None);
            }
            if self.holds(number, key) {
                return Ok(Some(number));
            }
            // Acquire: *published*; partner of the release in `unlink`
            number = self.slot(number).next.load(Ordering::Acquire);
        }
        Err(Full)
    }

    /// Whether a slot's flow has this key.
    #[inline(always)]
    fn holds(&self, number: u32, key: &Key) -> bool {
        self.slot(number).holds(&key.short)
            && (!key.is_long() || self.addresses[number as usize].get() == key.addresses)
    }

    /// Fetches what is compared with this key.
    #[inline(always)]
    fn prefetch(&self, number: u32, key: &Key) {
        prefetch(self.slot(number));
        if key.is_long() {
            prefetch(&self.addresses[number as usize]);
        }
    }

    /// The record of the flow in a slot.
    fn record(&self, number: u32, reason: EndReason) -> FlowRecord {
        let (rest, addresses) = (&self.rests[number as usize], &self.addresses[number as usize]);
        let mut record = self.slot(number).record(rest, addresses, reason);
        if self.details.is_some() || self.connections.is_some() {
            self.complete(number, &mut record);
        }
        record
    }

    /// Adds what was noted beside.
    #[cold]
    fn complete(&self, number: u32, record: &mut FlowRecord) {
        if let Some(details) = &self.details {
            record.details = details[number as usize].get();
        }
        if let Some(connections) = &self.connections {
            record.tracked = connections[number as usize].get();
        }
    }

    /// Puts an owned slot into its chain.
    fn link(&self, head: &AtomicU32, number: u32) {
        let slot = self.slot(number);
        let mut first = head.load(Ordering::Acquire);
        loop {
            slot.next.store(first, Ordering::Relaxed);
            // Release: *published*. `first` is still in the chain if the head is unchanged: it cannot have left and come
            // back within this batch (*grace*).
            match head.compare_exchange_weak(first, number, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(changed) => first = changed,
            }
        }
    }

    /// Takes a live slot out of its chain. Its own `next` stays, for the writers that stand on it.
    fn unlink(&self, number: u32) {
        let slot = self.slot(number);
        let head = self.head(self.chain(&slot.key()));
        let behind = slot.next.load(Ordering::Relaxed);
        // Release: what is behind stays *published*
        if head.compare_exchange(number, behind, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return;
        }
        let mut before = head.load(Ordering::Acquire);
        loop {
            let next = self.slot(before).next.load(Ordering::Acquire);
            if next == number {
                return self.slot(before).next.store(behind, Ordering::Release);
            }
            before = next;
        }
    }
}
