//! A capture thread's side of the table.

use super::slot::{NONE, Words};
use super::{FlowTable, Full, words_of};
use crate::flow::{FlowKey, Sighting};
use crate::sync::{Ordering, prefetch};
use std::sync::Arc;

/// Packets whose memory is fetched together: enough to be there when it is needed, and few enough to stay in the
/// processor's first cache until then.
const FETCHED: usize = 16;

/// A capture thread's handle.
pub struct Writer {
    table: Arc<FlowTable>,
    number: u8,
    /// Kept for their memory only: empty between batches.
    waiting: [Vec<Waiting>; 2],
}

/// A packet on its way into the table.
struct Waiting {
    words: Words,
    chain: usize,
    /// The first slot of the chain, once it is looked up.
    first: u32,
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
        Self { table, number, waiting: [(); 2].map(|()| Vec::with_capacity(FETCHED)) }
    }

    /// Begins a batch of packets, for instance those of one datagram. It should be short: slots that are being removed
    /// wait for its end.
    pub fn enter(&mut self) -> Batch<'_> {
        self.table.epochs.enter(self.number);
        let [new, found] = &mut self.waiting;
        Batch { table: &self.table, writer: self.number, new, found, counted: Counted::default() }
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
#[must_use = "packets are counted when the batch is finished"]
pub struct Batch<'a> {
    table: &'a FlowTable,
    writer: u8,
    /// Packets of which the chain's head is being fetched.
    new: &'a mut Vec<Waiting>,
    /// Packets of which the chain's first slot is being fetched.
    found: &'a mut Vec<Waiting>,
    counted: Counted,
}

impl Batch<'_> {
    /// Adds a packet to the flow with this key, which begins with it if there is none.
    #[inline(always)]
    pub fn count(&mut self, key: &FlowKey, packet: &Sighting) {
        let words = words_of(key, self.writer);
        let chain = self.table.chain(&words);
        prefetch(self.table.head(chain));
        self.new.push(Waiting { words, chain, first: NONE, packet: *packet });
        if self.new.len() == FETCHED {
            self.advance();
        }
    }

    /// Ends the batch, and says what became of its packets.
    pub fn finish(mut self) -> Counted {
        self.advance();
        self.advance();
        self.counted
    }

    /// Looks up the chains of the packets that came last, and counts those of which this was done before.
    fn advance(&mut self) {
        for waiting in &mut *self.new {
            // Acquire: *published*
            waiting.first = self.table.head(waiting.chain).load(Ordering::Acquire);
            self.table.slot(waiting.first).prefetch();
        }
        for Waiting { words, chain, first, packet } in self.found.drain(..) {
            match self.table.count(&words, chain, first, &packet) {
                Ok(()) => {
                    self.counted.flow_packets += 1;
                    self.counted.flow_octets += packet.octets;
                }
                Err(Full) => {
                    self.counted.ignored_packets += 1;
                    self.counted.ignored_octets += packet.octets;
                }
            }
        }
        std::mem::swap(&mut self.new, &mut self.found);
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        debug_assert!(self.new.is_empty() && self.found.is_empty(), "a batch has to be finished");
        self.table.epochs.leave(self.writer);
    }
}
