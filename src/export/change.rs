//! Another configuration for an exporter at work: who takes records, what those have, and when flows end. No flow is lost by
//! that: what the table holds goes to whoever takes records then, and who gets no more sends what it has.

use super::biflow::Pairing;
use super::delivery::{Delivery, deliver};
use super::facts::Facts;
use super::{Collector, Exporter};
use crate::flow::expiry::Timeouts;
use crate::time::Timestamp;
use std::mem;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

type Collectors = Vec<Box<dyn Collector>>;

/// What is different from now on.
pub struct Change {
    /// What there is to know beside flows.
    pub facts: Arc<Facts>,
    /// When flows end.
    pub timeouts: Timeouts,
    /// Who takes records, those in the network last.
    pub members: Vec<Member>,
    /// How many are in the network.
    pub networked: usize,
    /// Which of those gets a flow.
    pub delivery: Delivery,
}

/// Somebody who takes records.
pub enum Member {
    /// Who already does, by the place among all who do.
    Stays(usize),
    /// Who comes in.
    New(Box<dyn Collector>),
}

impl Exporter {
    /// Carries a change out, between two passes. It does not wait for collectors that get no more records.
    pub fn change(&mut self, change: Change) {
        let Change { facts, timeouts, members, networked, delivery } = change;
        for collector in &mut self.collectors {
            collector.learn(&facts);
            collector.flush();
        }
        let paired = (self.facts.biflows, facts.biflows);
        let stages = usize::from(facts.fields.tell_nat()) + usize::from(paired == (true, true));
        let mut retired = Vec::new();
        let take_over = |before| -> Collectors {
            let (after, gone) = choose(before, members);
            retired = gone;
            let after = deliver(after, networked, delivery);
            if paired == (false, true) { vec![Box::new(Pairing::new(after, facts.clone()))] } else { after }
        };
        exchange(&mut self.collectors, stages, Box::new(take_over));
        self.retired.extend(retire(retired));
        self.adopt(facts);
        self.timeouts = timeouts;
        // flows are to be looked at earlier than was said, perhaps
        self.latest_look = Timestamp::from_nanos(u64::MAX);
    }

    /// Waits for those that got no more records.
    pub(super) fn await_retired(&mut self) {
        self.retired.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Exchanges those behind so many stages, each of which is the first of its list.
fn exchange(collectors: &mut Collectors, stages: usize, by: Box<dyn FnOnce(Collectors) -> Collectors + '_>) {
    match collectors.first_mut().and_then(|stage| stage.behind()) {
        Some(inner) if stages > 0 => exchange(inner, stages - 1, by),
        _ => *collectors = by(last(mem::take(collectors))),
    }
}

/// Those that hand records on to nobody, in order.
fn last(collectors: Collectors) -> Collectors {
    let inner = |mut collector: Box<dyn Collector>| match collector.behind().map(mem::take) {
        Some(inner) => last(inner),
        None => vec![collector],
    };
    collectors.into_iter().flat_map(inner).collect()
}

/// Those that take records now, and those that do not any more.
fn choose(before: Collectors, members: Vec<Member>) -> (Collectors, Collectors) {
    let mut before: Vec<_> = before.into_iter().map(Some).collect();
    let member = |member| match member {
        Member::Stays(place) => before.get_mut(place).and_then(Option::take),
        Member::New(collector) => Some(collector),
    };
    let after = members.into_iter().filter_map(member).collect();
    (after, before.into_iter().flatten().collect())
}

/// Lets collectors come to an end in a thread of their own; here, where there is none to be had.
fn retire(mut collectors: Collectors) -> Option<JoinHandle<()>> {
    if collectors.is_empty() {
        return None;
    }
    collectors.iter_mut().for_each(|collector| collector.end());
    // what is lost if no thread can be had was handed over before, and is counted by whoever has it
    let close = move || collectors.iter_mut().for_each(|collector| collector.close());
    thread::Builder::new().name("retired".to_owned()).spawn(close).ok()
}
