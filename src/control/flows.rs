//! The flows in the table: those that are asked for, found in one pass by the export thread.

use super::query::{FlowQuery, Sort};
use crate::export::Exporter;
use crate::export::element::Element;
use crate::export::facts::Facts;
use crate::export::fields::{FieldChoice, Flavour};
use crate::export::json::Json;
use crate::export::lines::Format;
use crate::export::readable::Readable;
use crate::flow::FlowRecord;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// What was found.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Flows {
    /// How many flows there are that are asked for.
    pub matched: u64,
    /// Packets in all of those.
    pub packets: u64,
    /// Octets in all of those.
    pub octets: u64,
    /// The first of them, with IANA's names.
    pub records: Vec<Box<RawValue>>,
    /// The same, for people to read.
    pub lines: Vec<String>,
}

/// A flow and what it is compared by.
struct Ranked(u64, FlowRecord);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

/// Those of a number of flows that come first, and no more of them in memory.
struct First {
    sort: Sort,
    limit: usize,
    /// The last of them on top.
    heap: BinaryHeap<Reverse<Ranked>>,
}

impl First {
    fn take(&mut self, flow: FlowRecord) {
        let value = self.sort.of(&flow);
        if self.heap.len() == self.limit {
            if self.heap.peek().is_some_and(|Reverse(last)| last.0 >= value) {
                return;
            }
            self.heap.pop();
        }
        self.heap.push(Reverse(Ranked(value, flow)));
    }

    fn in_order(self) -> Vec<FlowRecord> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(Ranked(_, flow))| flow).collect()
    }
}

/// Looks through the table. What a record says of a flow is what it would say if the flow ended now, but for the reason.
pub fn look(exporter: &mut Exporter, query: &FlowQuery) -> Flows {
    let (found, first) = search(exporter.harvester.look(), query);
    let shown: Vec<_> = first.into_iter().map(|flow| exporter.shown(flow)).collect();
    let (mut json, mut readable) = (Json::new(&facts(&exporter.facts)), Readable::plain(&exporter.facts));
    // their columns are as wide as all of them need
    shown.iter().for_each(|flow| drop(readable.line(flow)));
    Flows {
        records: shown.iter().filter_map(|flow| RawValue::from_string(json.line(flow)).ok()).collect(),
        lines: shown.iter().map(|flow| readable.line(flow)).collect(),
        ..found
    }
}

fn search(flows: impl Iterator<Item = FlowRecord>, query: &FlowQuery) -> (Flows, Vec<FlowRecord>) {
    let mut found = Flows::default();
    let mut first = First { sort: query.sort, limit: query.limit.get(), heap: BinaryHeap::new() };
    for flow in flows.filter(|flow| query.wants(flow)) {
        found.matched += 1;
        found.packets += flow.packets;
        found.octets += flow.octets;
        first.take(flow);
    }
    (found, first.in_order())
}

/// The standard fields, whatever collectors get, but for the reason of an end that was not.
fn facts(facts: &Facts) -> Facts {
    let choice =
        if facts.selector_settings.have_verdicts() { FieldChoice::WithVerdicts } else { FieldChoice::Standard };
    let elements = choice.elements(Flavour::Ipfix).into_iter();
    let elements = elements.filter(|element| *element != Element::FlowEndReason).collect();
    let (interfaces, numbering) = (facts.interfaces, facts.numbering.clone());
    let (key, fields) = (facts.key, FieldChoice::List(elements));
    Facts { key, fields, interfaces, numbering, ..Facts::default() }
}

#[cfg(test)]
mod tests {
    use super::super::query::Limit;
    use super::*;
    use crate::flow::tests::record;

    #[test]
    fn the_largest_come_first_and_no_more_than_are_asked_for() {
        let flows =
            || [5, 1, 9, 7, 3].map(|packets| FlowRecord { packets, octets: 100 - packets, ..record() }).into_iter();
        let packets = |sort, limit| {
            let query = FlowQuery { sort, limit: Limit::of(limit), ..FlowQuery::default() };
            let (found, first) = search(flows(), &query);
            assert_eq!((found.matched, found.packets, found.octets), (5, 25, 475));
            first.iter().map(|flow| flow.packets).collect::<Vec<_>>()
        };
        assert_eq!(packets(Sort::Packets, 3), [9, 7, 5]);
        assert_eq!(packets(Sort::Octets, 2), [1, 3]);
        assert_eq!(packets(Sort::Packets, 9), [9, 7, 5, 3, 1]);
    }

    #[test]
    fn a_flow_that_goes_on_has_no_reason_for_its_end() {
        let line = Json::new(&facts(&Facts::default())).line(&record());
        assert!(line.contains("\"octetDeltaCount\":600") && !line.contains("flowEndReason"), "{line}");
    }
}
