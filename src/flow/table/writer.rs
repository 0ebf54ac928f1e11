//! A capture thread's side of the table.

use super::key::Key;
use super::slot::NONE;
use super::{FlowTable, Full};
use crate::flow::key_fields::{KeyFields, KeyMask};
use crate::flow::{FlowKey, Sighting, Tracked};
use crate::packet::details::Details;
use crate::sync::{Ordering, prefetch};
use std::ops::Range;
use std::sync::Arc;

/// Packets that take each step together: enough that the memory fetched in one step is there by the next, and few enough
/// that the processor can fetch for all of them at once.
const GROUP: usize = 8;
/// Room for the packets that have a step before them.
const RING: usize = 4 * GROUP;

/// A capture thread's handle.
pub struct Writer {
    table: Arc<FlowTable>,
    number: u8,
    /// Packets by their number in the batch. Kept for its memory only: nothing is under way between batches.
    ring: Box<[Waiting; RING]>,
    /// What there is to say of those beside, where the table keeps it.
    notes: Option<Box<Notes>>,
    /// What of a key counts, where that is not all.
    mask: Option<Box<KeyMask>>,
}

/// By a packet's number in the batch.
type Notes = [(Details, Tracked); RING];

/// A packet on its way into the table.
#[derive(Clone, Copy, Default)]
struct Waiting {
    key: Key,
    chain: usize,
    /// The first slot of the chain, once it is looked up; [`NONE`] again if that is not the packet's flow.
    slot: u32,
    packet: Sighting,
}

/// What became of the packets of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets counted in a flow.
    pub flow_packets: u64,
    /// Octets counted in a flow.
    pub flow_octets: u64,
    /// Packets for whose flow there was no room.
    pub ignored_packets: u64,
    /// Octets of them.
    pub ignored_octets: u64,
}

impl Writer {
    pub(super) fn new(table: Arc<FlowTable>, number: u8) -> Self {
        let keeps_any = table.details.is_some() || table.connections.is_some();
        let notes = keeps_any.then(|| Box::new([Default::default(); RING]));
        Self { table, number, ring: Box::new([Waiting::default(); RING]), notes, mask: None }
    }

    /// Tells flows apart by these fields alone.
    pub fn keyed(mut self, fields: &KeyFields) -> Self {
        self.mask = (*fields != KeyFields::ALL).then(|| Box::new(KeyMask::new(fields)));
        self
    }

    /// Begins a batch of packets, for instance those of one datagram. It should be short: slots that are being removed
    /// wait for its end.
    pub fn enter(&mut self) -> Batch<'_> {
        self.table.epochs.enter(self.number);
        let (came, fetched, found, compared, settled) = Default::default();
        let (octets, begun, counted) = Default::default();
        let Self { table, number: writer, ring, notes, mask } = self;
        let (writer, notes, mask) = (*writer, notes.as_deref_mut(), mask.as_deref());
        Batch { table, writer, mask, ring, notes, came, fetched, found, compared, settled, octets, begun, counted }
    }

    /// Whether the table keeps more of flows than packets are counted by.
    pub fn takes_notes(&self) -> bool {
        self.notes.is_some()
    }

    /// How many flows the table has room for when it begins to be crowded.
    pub fn reserve(&self) -> u32 {
        self.table.reserve()
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
///
/// Each step is a loop of its own over a group of packets. Were it done packet by packet among everything else, the
/// processor would wait for each address to be translated; so it translates and fetches several at once.
#[must_use = "packets are counted when the batch is finished"]
pub struct Batch<'a> {
    table: &'a FlowTable,
    writer: u8,
    mask: Option<&'a KeyMask>,
    ring: &'a mut [Waiting; RING],
    notes: Option<&'a mut Notes>,
    /// Packets so far.
    came: usize,
    /// Packets of which the head of the chain is being fetched.
    fetched: usize,
    /// Packets of which the first slot of the chain is being fetched.
    found: usize,
    /// Packets of which the slot is known, or the second slot of the chain is being fetched.
    compared: usize,
    /// Packets that are counted.
    settled: usize,
    /// Octets of those.
    octets: u64,
    /// Flows that began.
    begun: u32,
    counted: Counted,
}

impl Batch<'_> {
    /// Adds a packet to the flow with this key, which begins with it if there is none.
    #[inline(always)]
    pub fn count(&mut self, key: &FlowKey, packet: &Sighting) {
        let mut words = key.to_words();
        if let Some(mask) = self.mask {
            mask.apply(key.ip_version, &mut words);
        }
        let key = Key::new(words, self.writer, &self.table.secrets);
        let chain = self.table.chain(&key.short);
        let waiting = &mut self.ring[self.came % RING];
        (waiting.key.short, waiting.chain, waiting.slot, waiting.packet) = (key.short, chain, NONE, *packet);
        if key.is_long() {
            waiting.key.addresses = key.addresses;
        }
        self.came += 1;
        if self.came.is_multiple_of(GROUP) {
            self.advance();
        }
    }

    /// Says the details of the packet that is counted next, and what it says of its connection, for a table that keeps them.
    pub fn note_next(&mut self, details: &Details, tracked: &Tracked) {
        if let Some(notes) = &mut self.notes {
            notes[self.came % RING] = (*details, *tracked);
        }
    }

    /// Ends the batch, and says what became of its packets.
    pub fn finish(mut self) -> Counted {
        while self.settled < self.came {
            self.advance();
        }
        // before the batch is left, so that a removed flow is never taken off the count before it is on it
        self.table.live.0.fetch_add(self.begun, Ordering::Relaxed);
        self.counted.flow_packets = self.came as u64 - self.counted.ignored_packets;
        self.counted.flow_octets = self.octets - self.counted.ignored_octets;
        self.counted
    }

    /// Takes all packets one step further.
    fn advance(&mut self) {
        for waiting in &self.ring[places(self.fetched, self.came)] {
            prefetch(self.table.head(waiting.chain));
        }
        for waiting in &mut self.ring[places(self.found, self.fetched)] {
            // Acquire: *published*
            waiting.slot = self.table.head(waiting.chain).load(Ordering::Acquire);
            self.table.prefetch(waiting.slot, &waiting.key);
        }
        for waiting in &mut self.ring[places(self.compared, self.found)] {
            if !self.table.holds(waiting.slot, &waiting.key) {
                // Acquire: *published*; partner of the release in `unlink`
                let second = self.table.slot(waiting.slot).next.load(Ordering::Acquire);
                self.table.prefetch(second, &waiting.key);
                waiting.slot = NONE;
            }
        }
        for place in places(self.settled, self.compared) {
            self.settle(place);
        }
        (self.fetched, self.found, self.compared, self.settled) = (self.came, self.fetched, self.found, self.compared);
    }

    /// Counts a packet.
    #[inline(always)]
    fn settle(&mut self, place: usize) {
        let Waiting { key, chain, slot, packet } = &self.ring[place];
        self.octets += packet.octets;
        // within the batch the slot cannot have gone to another key (*grace*)
        if *slot != NONE {
            self.table.add(*slot, packet);
            return self.note(place, *slot, false);
        }
        match self.table.count(key, *chain, packet) {
            Ok((slot, begins)) => {
                self.begun += u32::from(begins);
                self.note(place, slot, begins);
            }
            Err(Full) => {
                self.counted.ignored_packets += 1;
                self.counted.ignored_octets += packet.octets;
            }
        }
    }

    /// Notes what there is beside to say of a packet with its flow, if that is to be done.
    #[inline(always)]
    fn note(&self, place: usize, slot: u32, begins: bool) {
        if let Some(notes) = &self.notes {
            self.table.note(slot, &notes[place], begins);
        }
    }
}

/// The places of packets that take a step together, so that they are in a row.
#[inline(always)]
fn places(from: usize, to: usize) -> Range<usize> {
    let first = from % RING;
    first..first + (to - from)
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        debug_assert!(self.settled == self.came, "a batch has to be finished");
        self.table.epochs.leave(self.writer);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::{Keeps, Scope, keeping};
    use super::*;
    use crate::flow::EndReason;
    use crate::flow::expiry::Verdict;
    use crate::flow::tests::record;

    /// The latest packet that says something of its connection is believed; and a slot's next flow knows nothing of that.
    #[test]
    fn a_flow_has_what_its_latest_packet_knew_of_its_connection() {
        let (mut writers, mut harvester) = keeping(1, 1, Keeps { details: false, connections: true }).unwrap();
        let mut told = |ids: &[u32]| {
            let mut batch = writers[0].enter();
            for &id in ids {
                batch.note_next(&Details::default(), &Tracked { id, ..Tracked::default() });
                batch.count(&record().key, &Sighting::default());
            }
            batch.finish();
            let mut told = Vec::new();
            let ended = |_: &_| Verdict::Ended(EndReason::ForcedEnd);
            harvester.pass(Scope::All, ended, |flow| told.push((flow.packets, flow.tracked.id)));
            told
        };
        assert_eq!(told(&[0, 7, 8, 0]), [(4, 8)]);
        assert_eq!(told(&[0, 0]), [(2, 0)]);
        assert_eq!(told(&[9]), [(1, 9)]);
    }
}
