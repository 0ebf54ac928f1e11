//! How the probe is: its counters, rates, table and collectors.

use super::rates::{Rates, Sample, Sampler};
use crate::export::health::Condition;
use crate::metrics::{CaptureCounters, CollectorEntry, Entry, ExportCounters};
use crate::overseer::Overseer;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process;
use std::time::{Duration, UNIX_EPOCH};

/// Counters by their names.
pub type Counters = BTreeMap<String, u64>;

/// How the probe is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Status {
    /// The probe's version.
    pub program: String,
    /// Its process id.
    pub process: u32,
    /// When it began (ISO 8601, in UTC).
    pub since: String,
    /// Seconds since then.
    pub uptime: u64,
    /// It captures no more, but exports what it has.
    pub ending: bool,
    /// Of all groups together, a second.
    pub rates: Rates,
    /// The NFLOG groups.
    pub groups: Vec<GroupStatus>,
    /// The flow table.
    pub table: TableStatus,
    /// What left the table.
    pub export: Counters,
    /// What connection tracking said, with --nat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Counters>,
    /// The collectors.
    pub collectors: Vec<CollectorStatus>,
}

/// How an NFLOG group is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct GroupStatus {
    /// Its number.
    pub group: u16,
    /// A second.
    pub rates: Rates,
    /// What became of its packets.
    pub counters: Counters,
}

/// How full the flow table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct TableStatus {
    /// Flows in it.
    pub flows: u64,
    /// Flows that there can be (--max-flows).
    pub max_flows: u64,
    /// The former in percent of the latter.
    pub fill: f64,
}

/// How a collector is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct CollectorStatus {
    /// As it was given by -e.
    pub name: String,
    /// Whether records get there.
    pub state: Condition,
    /// Whether it gets no more records, after a reload without it.
    #[serde(default)]
    pub removed: bool,
    /// What was the matter last, in the words of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When (ISO 8601, in UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble_time: Option<String>,
    /// Records that are not sent, or not acknowledged.
    pub waiting_records: u64,
    /// Records that may wait, where there is a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_limit: Option<u64>,
    /// What became of the records for it.
    pub counters: Counters,
}

/// What can be told of a probe that began `since`, at `now`.
pub fn status(overseer: &Overseer, sampler: &Sampler, since: Timestamp, now: Timestamp) -> Status {
    let metrics = &overseer.metrics;
    let groups: Vec<_> = metrics
        .captures
        .iter()
        .enumerate()
        .map(|(place, (group, counters))| GroupStatus {
            group: group.unwrap_or_default(),
            rates: sampler.rates(place),
            counters: named(counters.entries()),
        })
        .collect();
    let mut rates = Rates::default();
    groups.iter().for_each(|group| rates += group.rates);
    Status {
        program: program(),
        process: process::id(),
        since: shown(since),
        uptime: now.since(since).as_secs(),
        ending: overseer.is_stopping(),
        rates,
        groups,
        table: table(overseer),
        export: named(metrics.export.entries()),
        connections: metrics.connections.as_ref().map(|counters| named(counters.entries())),
        collectors: metrics.collectors.all().iter().map(|entry| collector(entry, now)).collect(),
    }
}

/// What the rates of a probe's groups are made of.
pub fn samples(overseer: &Overseer) -> Vec<Sample> {
    let sample = |counters: &CaptureCounters| Sample {
        packets: counters.packets.get(),
        octets: counters.flow_octets.get(),
        lost_packets: counters.lost_packets.get() + counters.ignored_packets.get(),
    };
    overseer.metrics.captures.iter().map(|(_, counters)| sample(counters)).collect()
}

/// What this program calls itself.
pub fn program() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

fn table(overseer: &Overseer) -> TableStatus {
    let ExportCounters { table_flows, table_limit, .. } = &*overseer.metrics.export;
    let (flows, max_flows) = (table_flows.get(), table_limit.get());
    TableStatus { flows, max_flows, fill: 100.0 * flows as f64 / max_flows.max(1) as f64 }
}

fn collector(CollectorEntry { name, counters, is_configured }: &CollectorEntry, now: Timestamp) -> CollectorStatus {
    let (state, trouble) = counters.health.tell(now);
    let (trouble, trouble_time) = trouble.map(|trouble| (trouble.text, shown(trouble.time))).unzip();
    CollectorStatus {
        name: name.clone(),
        state,
        removed: !is_configured,
        trouble,
        trouble_time,
        waiting_records: counters.waiting_records(),
        queue_limit: Some(counters.queue_limit.get()).filter(|&limit| limit > 0),
        counters: named(counters.entries()),
    }
}

fn named(entries: Vec<Entry>) -> Counters {
    entries.into_iter().map(|entry| (entry.name.to_owned(), entry.value)).collect()
}

fn shown(time: Timestamp) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.seconds())).to_string()
}
