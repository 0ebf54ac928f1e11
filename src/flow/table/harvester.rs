//! The export thread's side of the table.

use super::FlowTable;
use super::slot::{Glimpse, NONE};
use crate::flow::expiry::Verdict;
use crate::flow::{EndReason, FlowRecord};
use crate::sync::{Ordering, Zeroed, prefetch};
use crate::time::Timestamp;
use std::sync::Arc;

/// Flows removed in one grace period, about.
const HARVEST: usize = 1024;
/// Flows whose memory is fetched together before they are judged.
const FETCHED: usize = 32;
/// Live flows looked at to estimate how old the oldest are.
const AGE_SAMPLE: usize = 4096;

/// Which flows a pass looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that can have ended by this time, as far as was said when they were looked at before.
    Due(Timestamp),
    /// All.
    All,
}

/// The export thread's handle, of which there is one.
pub struct Harvester {
    table: Arc<FlowTable>,
    /// Slots that are being fetched to be judged.
    due: Vec<u32>,
    /// Those of them that go on, and until when at least.
    later: Vec<(u32, Timestamp)>,
    /// Slots out of their chains that wait for the end of a grace period.
    doomed: Vec<(u32, EndReason)>,
}

impl Harvester {
    pub(super) fn new(table: Arc<FlowTable>) -> Self {
        let (due, later) = (Vec::with_capacity(FETCHED), Vec::with_capacity(FETCHED));
        Self { table, due, later, doomed: Vec::with_capacity(HARVEST + FETCHED) }
    }

    /// Goes once over the flows, removes those that `judge` calls ended, and hands their records to `take`.
    ///
    /// `take` may be slow: its flow's slot is free by then.
    pub fn pass(&mut self, scope: Scope, mut judge: impl FnMut(&Glimpse) -> Verdict, mut take: impl FnMut(FlowRecord)) {
        let mut records = Vec::new();
        let table = self.table.clone();
        for number in table.agenda.calls(table.free.fresh(), scope) {
            prefetch(table.slot(number));
            self.due.push(number);
            if self.due.len() == FETCHED {
                self.judge(&mut judge);
            }
            if self.doomed.len() >= HARVEST {
                self.harvest(&mut records);
                records.drain(..).for_each(&mut take);
            }
        }
        self.judge(&mut judge);
        self.harvest(&mut records);
        records.drain(..).for_each(&mut take);
    }

    /// Finds out which of the flows that are due have ended, and when to look at the others again. In three loops: each change
    /// of the agenda makes the processor wait for the memory that it was asked for before.
    fn judge(&mut self, judge: &mut impl FnMut(&Glimpse) -> Verdict) {
        let Self { table, due, later, doomed } = self;
        due.iter().for_each(|&number| table.agenda.open(number));
        for number in due.drain(..) {
            match judge(&table.slot(number).glimpse()) {
                Verdict::Ended(reason) => doomed.push((number, reason)),
                Verdict::Until(time) => later.push((number, time)),
            }
        }
        later.drain(..).for_each(|(number, time)| table.agenda.postpone(number, time));
    }

    /// Has all of the table's memory mapped now, so that no packet has to wait for that.
    pub fn populate(&self) {
        self.table.heads.populate();
        self.table.slots.populate();
        self.table.rests.populate();
        self.table.addresses.populate();
        self.table.details.iter().for_each(Zeroed::populate);
        self.table.connections.iter().for_each(Zeroed::populate);
        self.table.agenda.populate();
    }

    /// Whether the last writer is gone: another pass sees all that will ever be counted.
    pub fn abandoned(&self) -> bool {
        // Acquire: partner of the release in the drop of `Writer`
        self.table.writers.load(Ordering::Acquire) == 0
    }

    /// How many flows are in the table.
    pub fn live(&self) -> u32 {
        self.table.live.0.load(Ordering::Relaxed)
    }

    /// How many it can hold.
    pub fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    /// The flows that are in the table, as they are, with no reason for their end. Nothing is removed meanwhile, as only this
    /// handle could: a slot that the agenda has keeps its key, so that all of a record is one flow's. Its counts may be those of
    /// different moments of a packet's counting (its octets without its packet), which the next record of it makes good.
    pub fn look(&self) -> impl Iterator<Item = FlowRecord> {
        let table = &self.table;
        let live = (NONE + 1..table.free.fresh()).filter(|&number| !table.agenda.is_free(number));
        live.map(|number| table.record(number, EndReason::ActiveTimeout))
    }

    /// Whether the table is filling up, so that flows should end early.
    pub fn crowded(&self) -> bool {
        self.table.crowded()
    }

    /// An estimate of the time before which the latest packets of about `share` of the flows lie, from a sample of
    /// them; `None` in an empty table.
    pub fn oldest(&self, share: f64) -> Option<Timestamp> {
        let used = self.table.free.fresh();
        let step = (used as usize / AGE_SAMPLE).max(1);
        let mut ages: Vec<Timestamp> = (1..used)
            .step_by(step)
            .filter(|&number| !self.table.agenda.is_free(number))
            .map(|number| self.table.slot(number).glimpse().last)
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
        let table = &self.table;
        for &(number, _) in &self.doomed {
            prefetch(table.head(table.chain(&table.slot(number).key())));
        }
        self.doomed.iter().for_each(|&(number, _)| table.unlink(number));
        table.epochs.grace_period();
        records.extend(self.doomed.iter().map(|&(number, reason)| table.record(number, reason)));
        self.doomed.iter().for_each(|&(number, _)| table.agenda.clear(number));
        table.free.give_back(&table.slots, self.doomed.iter().map(|&(number, _)| number));
        table.live.0.fetch_sub(self.doomed.len() as u32, Ordering::Relaxed);
        self.doomed.clear();
    }
}
