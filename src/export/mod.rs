//! The export thread: it ends flows, turns them into records, and sends those to the collectors.
//!
//! A flow's way through this module: [`Exporter::expire`] takes it out of the table when [`Timeouts`] say so; each
//! [`Collector`], mostly a [`remote`] one, encodes it ([`templated`] with [`netflow9`] or [`ipfix`], or [`netflow5`]), waits
//! its turn ([`pacer`]) and sends it ([`udp`]). A [`stream`] has a thread of its own for that. What collectors are told
//! beside flows is in [`options`].

pub mod beside;
pub mod biflow;
pub mod change;
mod complaint;
pub mod delivery;
pub mod destination;
pub mod element;
pub mod encoder;
pub mod facts;
pub mod fields;
mod growth;
pub mod health;
pub mod interface_names;
pub mod interface_numbers;
pub mod ipfix;
pub mod ipfix_file;
pub mod json;
pub mod layout;
pub mod lines;
mod message;
pub mod nat;
pub mod netflow5;
pub mod netflow9;
pub mod options;
pub mod pacer;
pub mod readable;
pub mod remote;
pub mod rotating;
pub mod sampling;
pub mod selector_settings;
pub mod settings;
pub mod stream;
pub mod target;
pub mod templated;
pub mod udp;
pub mod uptime;
pub mod user_names;

use crate::flow::expiry::{Timeouts, Verdict};
use crate::flow::table::{Glimpse, Harvester, Scope};
use crate::flow::{EndReason, FlowRecord};
use crate::metrics::ExportCounters;
use crate::time::Timestamp;
use element::Element;
use facts::Facts;
use interface_numbers::InterfaceNumbers;
use selector_settings::SettingsOfSelectors;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use user_names::UserNames;

/// The share of the flows that ends early when the table is filling up.
const EARLY_SHARE: f64 = 1.0 / 8.0;
/// How long the last messages wait for a collector whose name is being resolved.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Something that takes flow records.
pub trait Collector: Send {
    /// What the operator calls it.
    fn name(&self) -> String;

    /// Takes a record that is exported at `now`. It may sleep, to keep to its rate.
    fn add(&mut self, flow: &FlowRecord, now: Timestamp);

    /// Takes both directions of a conversation, as one record if it can.
    fn add_biflow(&mut self, forward: &FlowRecord, reverse: &FlowRecord, now: Timestamp) {
        self.add(forward, now);
        self.add(reverse, now);
    }

    /// Hears the time, also where there are no records.
    fn tick(&mut self, _now: Timestamp) {}

    /// Sends what has been held back to fill messages.
    fn flush(&mut self);

    /// Waits for at most `patience` until it can take records; says whether it can.
    fn settle(&mut self, patience: Duration) -> bool;

    /// Whether records are likely to get there now.
    fn is_well(&self) -> bool;

    /// Goes on with these facts instead of those that it was made with.
    fn learn(&mut self, _facts: &Arc<Facts>) {}

    /// Those that it hands records on to, if it does.
    fn behind(&mut self) -> Option<&mut Vec<Box<dyn Collector>>> {
        None
    }

    /// Learns that no more records come.
    fn end(&mut self) {}

    /// Hears what became of the last records.
    fn close(&mut self);
}

/// Ends flows and hands them to all collectors.
pub struct Exporter {
    /// The flow table's other side.
    pub harvester: Harvester,
    /// When flows end.
    pub timeouts: Timeouts,
    /// Who takes the records.
    pub collectors: Vec<Box<dyn Collector>>,
    /// What there is to know beside flows.
    pub facts: Arc<Facts>,
    /// By which numbers records name devices.
    numbers: InterfaceNumbers,
    selector_settings: SettingsOfSelectors,
    user_names: UserNames,
    /// Packets of the flows that a pass ended, by selector.
    selected: Vec<u64>,
    /// When flows were last looked at.
    latest_look: Timestamp,
    /// The threads of those that get no more records.
    retired: Vec<JoinHandle<()>>,
}

impl Exporter {
    /// Ends the flows of `harvester`, by `timeouts`. What there is to count of them is counted in `facts`.
    pub fn new(
        harvester: Harvester,
        timeouts: Timeouts,
        collectors: Vec<Box<dyn Collector>>,
        facts: Arc<Facts>,
    ) -> Self {
        let numbers = InterfaceNumbers::new(facts.numbering.clone());
        let selector_settings = SettingsOfSelectors::new(facts.clone());
        let user_names = UserNames::new(facts.fields.has(Element::UserName));
        let (selected, latest_look, retired) = Default::default();
        Self {
            harvester,
            timeouts,
            collectors,
            facts,
            numbers,
            selector_settings,
            user_names,
            selected,
            latest_look,
            retired,
        }
    }

    /// Goes on with other facts.
    fn adopt(&mut self, facts: Arc<Facts>) {
        // of devices that are gone, only those know that have seen them
        if facts.numbering != self.facts.numbering {
            self.numbers = InterfaceNumbers::new(facts.numbering.clone());
        }
        self.selector_settings = SettingsOfSelectors::new(facts.clone());
        self.user_names = UserNames::new(facts.fields.has(Element::UserName));
        self.facts = facts;
    }

    /// Notes how full the table is.
    pub fn note_fill(&self) {
        self.facts.export.table_flows.set(self.harvester.live().into());
        self.facts.export.table_limit.set(self.harvester.capacity().into());
    }

    /// Exports the flows that have ended by `now`, and where the table is filling up, the longest idle ones too.
    pub fn expire(&mut self, now: Timestamp) {
        let early = if self.harvester.crowded() { self.harvester.oldest(EARLY_SHARE) } else { None };
        // what was said of flows by a clock that has been set back since is void
        let set_back = now < self.latest_look;
        let scope = if early.is_some() || set_back { Scope::All } else { Scope::Due(now) };
        let timeouts = self.timeouts;
        self.latest_look = now;
        self.end(now, scope, |flow| match (timeouts.judge(flow, now), early) {
            (Verdict::Until(_), Some(early)) if flow.last <= early => Verdict::Ended(EndReason::LackOfResources),
            (verdict, _) => verdict,
        });
    }

    /// Exports every flow that is in the table now; says how many.
    pub fn flush(&mut self, now: Timestamp) -> u64 {
        let before = self.facts.export.flows.get();
        self.end(now, Scope::All, |_| Verdict::Ended(EndReason::ForcedEnd));
        self.facts.export.flows.get() - before
    }

    /// The flow as it would be exported now.
    pub fn shown(&mut self, mut flow: FlowRecord) -> FlowRecord {
        self.numbers.apply(&mut flow);
        self.selector_settings.apply(&mut flow);
        flow
    }

    /// Exports every flow, as no more come.
    pub fn drain(&mut self, now: Timestamp) {
        settle_all(&mut self.collectors, LAST_PATIENCE);
        self.flush(now);
        // all of them first, as some take their time to come to an end
        self.collectors.iter_mut().for_each(|collector| collector.end());
        self.collectors.iter_mut().for_each(|collector| collector.close());
        self.await_retired();
    }

    fn end(&mut self, now: Timestamp, scope: Scope, judge: impl FnMut(&Glimpse) -> Verdict) {
        let Self { harvester, collectors, facts, numbers, selector_settings, user_names, selected, .. } = self;
        numbers.look(facts.interfaces);
        harvester.pass(scope, judge, |mut flow| {
            numbers.apply(&mut flow);
            selector_settings.apply(&mut flow);
            user_names.apply(&mut flow, now);
            count(&facts.export, &flow);
            let selector = usize::from(flow.key.selector);
            if selected.len() <= selector {
                selected.resize(selector + 1, 0);
            }
            selected[selector] += flow.packets;
            collectors.iter_mut().for_each(|collector| collector.add(&flow, now));
        });
        facts.selectors.count_exported(selected);
        collectors.iter_mut().for_each(|collector| collector.tick(now));
        collectors.iter_mut().for_each(|collector| collector.flush());
    }
}

/// Waits until all of them can take records, for at most `patience` in all, and says whether they can.
fn settle_all(collectors: &mut [Box<dyn Collector>], patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut all = true;
    for collector in collectors {
        all &= collector.settle(deadline.saturating_duration_since(Instant::now()));
    }
    all
}

fn count(counters: &ExportCounters, flow: &FlowRecord) {
    counters.flows.add(1);
    counters.flow_packets.add(flow.packets);
    counters.flow_octets.add(flow.octets);
    let reason = match flow.end_reason {
        EndReason::IdleTimeout => &counters.idle_timeouts,
        EndReason::ActiveTimeout => &counters.active_timeouts,
        EndReason::EndOfFlow => &counters.ends_of_flow,
        EndReason::ForcedEnd => &counters.forced_ends,
        EndReason::LackOfResources => &counters.early_ends,
    };
    reason.add(1);
}
