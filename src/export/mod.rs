//! The export thread: it ends flows, turns them into records, and sends those to the collectors.
//!
//! A flow's way through this module: [`Exporter::expire`] takes it out of the table when [`Timeouts`] say so; each
//! [`Collector`] encodes it ([`templated`] with [`netflow9`] or [`ipfix`], or [`netflow5`]), waits its turn ([`pacer`])
//! and sends it ([`udp`]).

pub mod encoder;
pub mod fields;
pub mod ipfix;
pub mod lines;
pub mod netflow5;
pub mod netflow9;
pub mod pacer;
pub mod target;
pub mod templated;
pub mod udp;
pub mod uptime;

use crate::flow::expiry::{Timeouts, Verdict};
use crate::flow::table::{Glimpse, Harvester, Scope};
use crate::flow::{EndReason, FlowRecord};
use crate::metrics::{CollectorCounters, ExportCounters};
use crate::time::Timestamp;
use encoder::{Encoder, Message};
use ipfix::Ipfix;
use netflow5::NetFlow5;
use netflow9::NetFlow9;
use pacer::Pacer;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use target::{Protocol, Target};
use templated::Templated;
use udp::Udp;

/// The share of the flows that ends early when the table is filling up.
const EARLY_SHARE: f64 = 1.0 / 8.0;
/// How long the last messages wait for a collector whose name is being resolved.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Something that takes flow records.
pub trait Collector: Send {
    /// Takes a record that is exported at `now`. It may sleep, to keep to its rate.
    fn add(&mut self, flow: &FlowRecord, now: Timestamp);

    /// Sends what has been held back to fill messages.
    fn flush(&mut self);

    /// Waits for at most `patience` until it can take records; says whether it can.
    fn settle(&mut self, patience: Duration) -> bool;

    /// Hears what became of the last records.
    fn close(&mut self);
}

/// A collector in the network.
pub struct Remote {
    encoder: Box<dyn Encoder>,
    pacer: Pacer,
    udp: Udp,
    counters: Arc<CollectorCounters>,
    /// Messages that are complete but not sent; kept for its memory only.
    complete: Vec<Message>,
}

impl Remote {
    /// Speaks to `target` as exporter number `domain` (observation domain, source id or engine id) with at most `rate`
    /// messages a second.
    pub fn new(target: &Target, domain: u32, rate: u32, counters: Arc<CollectorCounters>) -> Self {
        let encoder: Box<dyn Encoder> = match target.protocol {
            Protocol::NetFlow5 => Box::new(NetFlow5::new(domain as u8)),
            Protocol::NetFlow9 => Box::new(Templated::new(NetFlow9::new(domain))),
            Protocol::Ipfix => Box::new(Templated::new(Ipfix::new(domain))),
        };
        let udp = Udp::new(target.clone(), counters.clone(), Instant::now());
        Self { encoder, pacer: Pacer::new(rate), udp, counters, complete: Vec::new() }
    }

    fn send_complete(&mut self) {
        for message in self.complete.drain(..) {
            self.udp.advance(Instant::now());
            if self.udp.connected() {
                let wait = self.pacer.book(Instant::now());
                if !wait.is_zero() {
                    thread::sleep(wait);
                }
            }
            if self.udp.send(&message.bytes, Instant::now()) {
                self.counters.messages.add(1);
                self.counters.records.add(message.records);
                self.counters.octets.add(message.bytes.len() as u64);
            } else {
                self.counters.lost_messages.add(1);
                self.counters.lost_records.add(message.records);
            }
        }
        self.inform();
    }

    fn inform(&mut self) {
        if self.udp.takes_templates() {
            self.encoder.renew_templates();
        }
    }
}

impl Collector for Remote {
    fn add(&mut self, flow: &FlowRecord, now: Timestamp) {
        if !self.encoder.add(flow, now, self.udp.limit(), &mut self.complete) {
            if self.counters.unexportable_records.get() == 0 {
                log::warn!(
                    "NetFlow v5 cannot express IPv6: such flows are counted as not expressible, not exported by it"
                );
            }
            self.counters.unexportable_records.add(1);
        }
        self.send_complete();
    }

    fn flush(&mut self) {
        // also where there is nothing to send, so that a name that cannot be resolved is told early
        self.udp.advance(Instant::now());
        self.encoder.finish(&mut self.complete);
        self.send_complete();
    }

    fn settle(&mut self, patience: Duration) -> bool {
        self.udp.settle(patience);
        self.inform();
        self.udp.connected()
    }

    fn close(&mut self) {
        self.udp.await_news();
    }
}

/// Ends flows and hands them to all collectors.
pub struct Exporter {
    /// The flow table's other side.
    pub harvester: Harvester,
    /// When flows end.
    pub timeouts: Timeouts,
    /// Who takes the records.
    pub collectors: Vec<Box<dyn Collector>>,
    /// What is counted of them.
    pub counters: Arc<ExportCounters>,
    /// When flows were last looked at.
    latest_look: Timestamp,
}

impl Exporter {
    /// Ends the flows of `harvester`, by `timeouts`.
    pub fn new(
        harvester: Harvester,
        timeouts: Timeouts,
        collectors: Vec<Box<dyn Collector>>,
        counters: Arc<ExportCounters>,
    ) -> Self {
        Self { harvester, timeouts, collectors, counters, latest_look: Timestamp::default() }
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

    /// Exports every flow.
    pub fn drain(&mut self, now: Timestamp) {
        for collector in &mut self.collectors {
            collector.settle(LAST_PATIENCE);
        }
        self.end(now, Scope::All, |_| Verdict::Ended(EndReason::ForcedEnd));
        self.collectors.iter_mut().for_each(|collector| collector.close());
    }

    fn end(&mut self, now: Timestamp, scope: Scope, judge: impl FnMut(&Glimpse) -> Verdict) {
        let Self { harvester, collectors, counters, .. } = self;
        harvester.pass(scope, judge, |flow| {
            count(counters, &flow);
            collectors.iter_mut().for_each(|collector| collector.add(&flow, now));
        });
        collectors.iter_mut().for_each(|collector| collector.flush());
    }
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
