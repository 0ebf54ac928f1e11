//! The lock-free flow table: many capture threads count, one export thread removes, and nobody waits for a lock.
//!
//! **Shape.** `slots` holds the flows, `heads` the first slot of each hash chain; both are allocated once. A chain is
//! singly linked through `Slot::next`, new slots go in at its head by one compare-and-swap, so a key can never be
//! in it twice: whoever loses the race sees what was put before it.
//!
//! **Removal.** Only the [`Harvester`] takes slots out of chains, and it alone changes the `next` of a slot that is in
//! one. A removed slot is still being counted on by writers that had found it. The harvester therefore waits until
//! every [`Writer`] has left the [`Batch`] in which it may have found it (a grace period), and only then reads the
//! final counters and gives the slot back. A later packet of the same key starts a new record. Each packet is so
//! in exactly one record, or its caller gets [`Full`] and counts it elsewhere.
//!
//! **Invariants**, to which the comments on orderings refer:
//! - *published*: a slot's key and first values are written before the swap that puts it into its chain (release), and
//!   read only after a load that leads to it (acquire).
//! - *grace*: a slot leaves its chain before the epoch advances (release); a writer that enters with that epoch
//!   (acquire), or whose entry the harvester's fence precedes, cannot find it any more; one that entered before is
//!   waited for.
//! - *owned*: a slot taken from the free list is touched by its taker alone until it is published.
//!
//! Everything in a slot is atomic, so the table needs no `unsafe`: a mistake here would give wrong counts, not undefined
//! behaviour, and the loom tests look for exactly those.

use super::{Direction, EndReason, FlowKey, FlowRecord, Sighting};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, yield_now};
use crate::time::Timestamp;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};
use std::sync::Arc;

/// The link that leads nowhere; slot numbers begin at 1, so that zeroed memory is an empty table.
const NONE: u32 = 0;
/// Links of a chain that are followed before a packet counts as finding no place. With a seeded hash and as many
/// chains as flows, chance makes no chain nearly as long; a guessed seed could, and must not cost time without bound.
const LONGEST_CHAIN: usize = 64;
/// Flows removed in one grace period.
const HARVEST: usize = 1024;
/// Live flows looked at to estimate how old the oldest are.
const AGE_SAMPLE: usize = 4096;

/// [`Slot::state`]: not in a chain, or not yet.
const FREE: u32 = 0;
/// [`Slot::state`]: in its chain, for the harvester to judge. Written by the slot's writer after it is published.
const LIVE: u32 = 1;

/// [`Participant::epoch`] of a writer that is in no batch.
const QUIET: u64 = 0;

/// There was no place for a new flow: the caller counts the packet as ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The table did not fit in memory; the text is the operator's.
#[derive(Debug, thiserror::Error)]
#[error("there is no memory for a table of {0} flows: lower --max-flows")]
pub struct NoMemory(u32);

/// One flow, in two cache lines that the processor fetches as a pair.
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
#[repr(C, align(128))]
struct Slot {
    key: [AtomicU64; FlowKey::WORDS],
    packets: AtomicU64,
    octets: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    tcp_flags: AtomicU32,
    min_ttl: AtomicU32,
    max_ttl: AtomicU32,
    output: AtomicU32,
    direction: AtomicU32,
    /// The slot behind this one in its chain, or in the free list.
    next: AtomicU32,
    state: AtomicU32,
}

/// Where one writer is, on cache lines of its own.
#[repr(align(128))]
struct Participant {
    /// The epoch in which its batch began, or [`QUIET`].
    epoch: AtomicU64,
}

struct FlowTable {
    heads: Box<[AtomicU32]>,
    slots: Box<[Slot]>,
    secrets: RapidSecrets,
    participants: Box<[Participant]>,
    /// Writers that are left.
    writers: AtomicU32,
    /// Advances at each grace period.
    epoch: AtomicU64,
    /// First slot of the free list (low half), and how often the list has changed (high half), so that a swap fails
    /// if the same slot came back to the front meanwhile.
    free: AtomicU64,
    /// Slots from here on were never used: memory that was never touched.
    fresh: AtomicU32,
    live: AtomicU32,
}

/// Makes a table for at most `max_flows` flows: `writers` handles to count with, and the one to remove with.
///
/// # Panics
/// Where `max_flows` is 0 or above 2^31, which the configuration excludes.
pub fn new(max_flows: u32, writers: usize) -> Result<(Vec<Writer>, Harvester), NoMemory> {
    assert!((1..=1 << 31).contains(&max_flows), "max_flows must be 1 to 2^31");
    let table = Arc::new(FlowTable {
        heads: memory::zeroed_heads(max_flows.next_power_of_two() as usize).ok_or(NoMemory(max_flows))?,
        slots: memory::zeroed_slots(max_flows as usize + 1).ok_or(NoMemory(max_flows))?,
        secrets: memory::secrets(),
        participants: (0..writers).map(|_| Participant { epoch: AtomicU64::new(QUIET) }).collect(),
        writers: AtomicU32::new(writers as u32),
        epoch: AtomicU64::new(QUIET + 1),
        free: AtomicU64::new(u64::from(NONE)),
        fresh: AtomicU32::new(NONE + 1),
        live: AtomicU32::new(0),
    });
    let handles = (0..writers).map(|index| Writer { table: table.clone(), index }).collect();
    Ok((handles, Harvester { table, doomed: Vec::with_capacity(HARVEST) }))
}

/// A capture thread's handle.
pub struct Writer {
    table: Arc<FlowTable>,
    index: usize,
}

impl Writer {
    /// Begins a batch of packets, for instance those of one datagram. It should be short: slots that are being removed
    /// wait for its end.
    pub fn enter(&mut self) -> Batch<'_> {
        let participant = &self.table.participants[self.index];
        // Acquire: partner of the release in `grace_period`; with its epoch come the removals before it.
        let epoch = self.table.epoch.load(Ordering::Acquire);
        // Release: what earlier batches counted is seen by a harvester that reads this epoch.
        participant.epoch.store(epoch, Ordering::Release);
        // Partner of the fence in `grace_period` (*grace*): either this store is seen there, or the removals here.
        fence(Ordering::SeqCst);
        Batch { table: &self.table, participant }
    }

    /// Whether the table is filling up, so that flows should end early.
    pub fn crowded(&self) -> bool {
        self.table.crowded()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Release: partner of the acquire in `Harvester::abandoned`, after which a pass sees all that was counted.
        self.table.writers.fetch_sub(1, Ordering::Release);
    }
}

/// A batch of packets being counted. Its end lets removed flows go.
pub struct Batch<'a> {
    table: &'a FlowTable,
    participant: &'a Participant,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // Release: partner of the acquire in `grace_period`, to which everything counted in this batch is visible.
        self.participant.epoch.store(QUIET, Ordering::Release);
    }
}

impl Batch<'_> {
    /// Adds a packet to the flow with this key, which begins with it if there is none.
    pub fn count(&self, key: &FlowKey, packet: &Sighting) -> Result<(), Full> {
        let table = self.table;
        let words = key.to_words();
        let head = table.head(&words);
        let mut own = None;
        let mut searched = NONE;
        // Acquire: *published*
        let mut first = head.load(Ordering::Acquire);
        loop {
            match table.find(&words, first, searched) {
                Ok(Some(found)) => {
                    found.add(packet);
                    if let Some(number) = own {
                        table.give_back(number);
                    }
                    return Ok(());
                }
                Ok(None) => {}
                Err(Full) => {
                    if let Some(number) = own {
                        table.give_back(number);
                    }
                    return Err(Full);
                }
            }
            let number = match own {
                Some(number) => number,
                None => table.take_free()?,
            };
            let slot = table.slot(number);
            slot.begin(&words, packet);
            slot.next.store(first, Ordering::Relaxed);
            // Release: *published*. The head is unchanged since it was searched from: a slot cannot have left and come
            // back within this batch (*grace*), so no one has put the same key in meanwhile.
            match head.compare_exchange(first, number, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // Release: partner of the acquire in `Harvester::pass`; whoever sees it live finds it in its chain.
                    slot.state.store(LIVE, Ordering::Release);
                    table.live.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(changed) => (own, searched, first) = (Some(number), first, changed),
            }
        }
    }
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

/// The export thread's handle, of which there is one.
pub struct Harvester {
    table: Arc<FlowTable>,
    /// Slots out of their chains that wait for the end of a grace period.
    doomed: Vec<(u32, EndReason)>,
}

impl Harvester {
    /// Goes once over all flows, removes those for which `judge` gives a reason, and hands their records to `take`.
    ///
    /// `take` may be slow: its flow's slot is free by then.
    pub fn pass(&mut self, mut judge: impl FnMut(&Glimpse) -> Option<EndReason>, mut take: impl FnMut(FlowRecord)) {
        let used = self.table.fresh.load(Ordering::Relaxed);
        let mut records = Vec::new();
        for number in 1..used {
            let slot = self.table.slot(number);
            // Acquire: partner of the release in `Batch::count`
            if slot.state.load(Ordering::Acquire) != LIVE {
                continue;
            }
            if let Some(reason) = judge(&slot.glimpse()) {
                self.doomed.push((number, reason));
            }
            if self.doomed.len() == HARVEST {
                self.harvest(&mut records);
                records.drain(..).for_each(&mut take);
            }
        }
        self.harvest(&mut records);
        records.drain(..).for_each(&mut take);
    }

    /// Whether the last writer is gone: another pass sees all that will ever be counted.
    pub fn abandoned(&self) -> bool {
        // Acquire: partner of the release in the drop of `Writer`
        self.table.writers.load(Ordering::Acquire) == 0
    }

    /// How many flows are in the table.
    pub fn live(&self) -> u32 {
        self.table.live.load(Ordering::Relaxed)
    }

    /// Whether the table is filling up, so that flows should end early.
    pub fn crowded(&self) -> bool {
        self.table.crowded()
    }

    /// An estimate of the time before which the latest packets of about `share` of the flows lie, from a sample of
    /// them; `None` in an empty table.
    pub fn oldest(&self, share: f64) -> Option<Timestamp> {
        let used = self.table.fresh.load(Ordering::Relaxed);
        let step = (used as usize / AGE_SAMPLE).max(1);
        let mut ages: Vec<Timestamp> = (1..used)
            .step_by(step)
            .map(|number| self.table.slot(number))
            .filter(|slot| slot.state.load(Ordering::Acquire) == LIVE)
            .map(|slot| slot.glimpse().last)
            .collect();
        if ages.is_empty() {
            return None;
        }
        let at = ((ages.len() as f64 * share) as usize).min(ages.len() - 1);
        Some(*ages.select_nth_unstable(at).1)
    }

    /// Takes the doomed slots out of their chains, waits for the writers, and turns them into records and free slots.
    fn harvest(&mut self, records: &mut Vec<FlowRecord>) {
        if self.doomed.is_empty() {
            return;
        }
        for &(number, _) in &self.doomed {
            self.table.unlink(number);
        }
        self.table.grace_period();
        for (number, reason) in self.doomed.drain(..) {
            let slot = self.table.slot(number);
            records.push(slot.record(reason));
            slot.state.store(FREE, Ordering::Relaxed);
            self.table.give_back(number);
            self.table.live.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl FlowTable {
    fn slot(&self, number: u32) -> &Slot {
        &self.slots[number as usize]
    }

    fn capacity(&self) -> u32 {
        (self.slots.len() - 1) as u32
    }

    /// From 15/16 of the capacity on.
    fn crowded(&self) -> bool {
        self.live.load(Ordering::Relaxed) >= self.capacity() - self.capacity() / 16
    }

    fn head(&self, words: &[u64; FlowKey::WORDS]) -> &AtomicU32 {
        let hash = rapidhash_v3_seeded(zerocopy::IntoBytes::as_bytes(words), &self.secrets);
        &self.heads[hash as usize & (self.heads.len() - 1)]
    }

    /// Looks for the key from slot `from` on, as far as slot `until` or the end of the chain.
    fn find(&self, words: &[u64; FlowKey::WORDS], from: u32, until: u32) -> Result<Option<&Slot>, Full> {
        let mut number = from;
        for _ in 0..LONGEST_CHAIN {
            if number == NONE || number == until {
                return Ok(None);
            }
            let slot = self.slot(number);
            if slot.holds(words) {
                return Ok(Some(slot));
            }
            // Acquire: *published*; partner of the release in `unlink`
            number = slot.next.load(Ordering::Acquire);
        }
        Err(Full)
    }

    /// A slot that nobody else has (*owned*): the one given back last, or one never used.
    fn take_free(&self) -> Result<u32, Full> {
        // Acquire: partner of the release in `give_back`; whoever had the slot before is done with it.
        let mut free = self.free.load(Ordering::Acquire);
        while free as u32 != NONE {
            let next = self.slot(free as u32).next.load(Ordering::Relaxed);
            match self.free.compare_exchange_weak(free, changed(free, next), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(free as u32),
                Err(now) => free = now,
            }
        }
        self.fresh
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |fresh| (fresh <= self.capacity()).then_some(fresh + 1))
            .map_err(|_| Full)
    }

    fn give_back(&self, number: u32) {
        let mut free = self.free.load(Ordering::Relaxed);
        loop {
            self.slot(number).next.store(free as u32, Ordering::Relaxed);
            // Release: partner of the acquire in `take_free` (*owned*)
            match self.free.compare_exchange_weak(free, changed(free, number), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => free = now,
            }
        }
    }

    /// Takes a live slot out of its chain. Its own `next` stays, for the writers that stand on it.
    fn unlink(&self, number: u32) {
        let slot = self.slot(number);
        let head = self.head(&slot.words());
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

    /// Waits until no writer can hold a slot that was unlinked before (*grace*). Writers never wait for this.
    fn grace_period(&self) {
        // Release: partner of the acquire in `Writer::enter`
        let epoch = self.epoch.fetch_add(1, Ordering::Release) + 1;
        // Partner of the fence in `Writer::enter`
        fence(Ordering::SeqCst);
        for participant in &self.participants {
            // Acquire: partner of the releases in `Writer::enter` and `Batch::drop`
            while (QUIET + 1..epoch).contains(&participant.epoch.load(Ordering::Acquire)) {
                yield_now();
            }
        }
    }
}

/// The free list's word with another first slot: one more change.
fn changed(free: u64, first: u32) -> u64 {
    ((free >> 32).wrapping_add(1) << 32) | u64::from(first)
}

/// Relaxed throughout: *published* and *grace* order the first and the last access, additions commute.
impl Slot {
    fn begin(&self, words: &[u64; FlowKey::WORDS], packet: &Sighting) {
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

    /// Flags, times and TTLs seldom change, so a look saves most of their writes.
    fn add(&self, packet: &Sighting) {
        let (time, flags, ttl) = (packet.time.nanos(), u32::from(packet.tcp_flags), u32::from(packet.ttl));
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.octets.fetch_add(packet.octets, Ordering::Relaxed);
        if self.last.load(Ordering::Relaxed) < time {
            self.last.fetch_max(time, Ordering::Relaxed);
        }
        if self.first.load(Ordering::Relaxed) > time {
            self.first.fetch_min(time, Ordering::Relaxed);
        }
        if self.tcp_flags.load(Ordering::Relaxed) | flags != self.tcp_flags.load(Ordering::Relaxed) {
            self.tcp_flags.fetch_or(flags, Ordering::Relaxed);
        }
        if self.min_ttl.load(Ordering::Relaxed) > ttl {
            self.min_ttl.fetch_min(ttl, Ordering::Relaxed);
        }
        if self.max_ttl.load(Ordering::Relaxed) < ttl {
            self.max_ttl.fetch_max(ttl, Ordering::Relaxed);
        }
    }

    fn holds(&self, words: &[u64; FlowKey::WORDS]) -> bool {
        self.key.iter().zip(words).all(|(atomic, word)| atomic.load(Ordering::Relaxed) == *word)
    }

    fn words(&self) -> [u64; FlowKey::WORDS] {
        std::array::from_fn(|i| self.key[i].load(Ordering::Relaxed))
    }

    fn glimpse(&self) -> Glimpse {
        Glimpse {
            first: Timestamp::from_nanos(self.first.load(Ordering::Relaxed)),
            last: Timestamp::from_nanos(self.last.load(Ordering::Relaxed)),
            tcp_flags: self.tcp_flags.load(Ordering::Relaxed) as u16,
        }
    }

    fn record(&self, end_reason: EndReason) -> FlowRecord {
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

/// Zeroed memory that the kernel maps only when it is touched, and random secrets.
#[cfg(not(loom))]
mod memory {
    use super::{AtomicU32, RapidSecrets, Slot};
    use std::hash::{BuildHasher, RandomState};
    use zerocopy::FromZeros;

    pub fn zeroed_heads(count: usize) -> Option<Box<[AtomicU32]>> {
        <[AtomicU32]>::new_box_zeroed_with_elems(count).ok()
    }

    pub fn zeroed_slots(count: usize) -> Option<Box<[Slot]>> {
        <[Slot]>::new_box_zeroed_with_elems(count).ok()
    }

    /// New at each start: who does not know them cannot choose packets that fall into one chain.
    pub fn secrets() -> RapidSecrets {
        RapidSecrets::seed(RandomState::new().hash_one(0))
    }
}

/// loom's atomics have to be made one by one.
#[cfg(loom)]
mod memory {
    use super::{AtomicU32, AtomicU64, RapidSecrets, Slot};

    pub fn zeroed_heads(_: usize) -> Option<Box<[AtomicU32]>> {
        // one chain, so that every flow meets every other
        Some(Box::new([AtomicU32::new(0)]))
    }

    pub fn zeroed_slots(count: usize) -> Option<Box<[Slot]>> {
        let long = || AtomicU64::new(0);
        let word = || AtomicU32::new(0);
        let slot = || Slot {
            key: std::array::from_fn(|_| long()),
            packets: long(),
            octets: long(),
            first: long(),
            last: long(),
            tcp_flags: word(),
            min_ttl: word(),
            max_ttl: word(),
            output: word(),
            direction: word(),
            next: word(),
            state: word(),
        };
        Some((0..count).map(|_| slot()).collect())
    }

    pub fn secrets() -> RapidSecrets {
        RapidSecrets::seed(1)
    }
}
