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
        // those that have come to their end would keep their stacks
        self.retired.retain(|thread| !thread.is_finished());
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

#[cfg(test)]
mod tests {
    use super::super::delivery::Group;
    use super::super::fields::FieldChoice;
    use super::super::nat::Nat;
    use super::*;
    use crate::conntrack::{Connection, Query, Tracker};
    use crate::flow::table::{self, Writer};
    use crate::flow::tests::record;
    use crate::flow::{Direction, FlowKey, FlowRecord, Sighting};
    use crate::metrics::ConnectionCounters;
    use std::io;
    use std::sync::Mutex;
    use std::time::Duration;

    type Log = Arc<Mutex<Vec<String>>>;

    /// Notes what is done to it, by its name.
    struct Noted(&'static str, Log);

    impl Noted {
        fn note(&self, what: &str) {
            self.1.lock().unwrap().push(format!("{} {what}", self.0));
        }
    }

    impl Collector for Noted {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        fn add(&mut self, flow: &FlowRecord, _: Timestamp) {
            self.note(&flow.key.source_port.to_string());
        }

        fn add_biflow(&mut self, forward: &FlowRecord, _: &FlowRecord, _: Timestamp) {
            self.note(&format!("{} and back", forward.key.source_port));
        }

        fn flush(&mut self) {}

        fn settle(&mut self, _: Duration) -> bool {
            true
        }

        fn is_well(&self) -> bool {
            true
        }

        fn learn(&mut self, _: &Arc<Facts>) {
            self.note("learns");
        }

        fn end(&mut self) {
            self.note("ends");
        }

        fn close(&mut self) {
            self.note("closes");
        }
    }

    struct Scene {
        exporter: Exporter,
        writer: Writer,
        log: Log,
    }

    /// Knows no connection.
    struct Ignorant;

    impl Tracker for Ignorant {
        fn look_up(&mut self, queries: &[Query]) -> io::Result<Vec<Option<Connection>>> {
            Ok(vec![None; queries.len()])
        }
    }

    impl Scene {
        fn new(names: &[&'static str]) -> Self {
            let log = Log::default();
            let collectors = names.iter().map(|name| Box::new(Noted(name, log.clone())) as _).collect();
            let timeouts = Timeouts { inactive: Duration::ZERO, active: Duration::ZERO, by_connection: false };
            let (mut writers, harvester) = table::new(16, 1).unwrap();
            let exporter = Exporter::new(harvester, timeouts, collectors, Arc::default());
            Self { exporter, writer: writers.remove(0), log }
        }

        fn change(&mut self, members: &[Result<usize, &'static str>], delivery: Delivery, biflows: bool) {
            let member = |member: &Result<usize, _>| match *member {
                Ok(place) => Member::Stays(place),
                Err(name) => Member::New(Box::new(Noted(name, self.log.clone()))),
            };
            let members: Vec<_> = members.iter().map(member).collect();
            let facts = Arc::new(Facts { biflows, ..Facts::default() });
            let (networked, timeouts) = (members.len(), self.exporter.timeouts);
            self.exporter.change(Change { facts, timeouts, members, networked, delivery });
            self.exporter.await_retired();
        }

        /// A flow from this port to that.
        fn add(&mut self, source_port: u16, destination_port: u16) {
            let mut key = FlowKey { source_port, destination_port, ..record().key };
            if source_port > destination_port {
                (key.source, key.destination) = (key.destination, key.source);
            }
            let flow = FlowRecord { key, ..record() };
            self.exporter.collectors.iter_mut().for_each(|collector| collector.add(&flow, flow.last));
        }

        fn log(&self) -> String {
            std::mem::take(&mut *self.log.lock().unwrap()).join(", ")
        }
    }

    #[test]
    fn who_stays_learns_and_who_goes_ends() {
        let mut scene = Scene::new(&["a", "b"]);
        scene.change(&[Err("c"), Ok(1)], Delivery::Replicate, false);
        assert_eq!(scene.log(), "a learns, b learns, a ends, a closes");
        scene.add(1, 2);
        assert_eq!(scene.log(), "c 1, b 1");
        scene.change(&[Ok(1), Ok(0)], Delivery::Failover, false);
        scene.add(1, 2);
        assert_eq!(scene.log(), "c learns, b learns, b 1");
        scene.change(&[Ok(1)], Delivery::Balance, false);
        scene.add(1, 2);
        assert_eq!(scene.log(), "b learns, c learns, b ends, b closes, c 1");
    }

    #[test]
    fn flows_that_wait_for_each_other_still_find_each_other() {
        let mut scene = Scene::new(&["a"]);
        scene.change(&[Ok(0)], Delivery::Failover, true);
        scene.add(1, 2);
        scene.change(&[Ok(0), Err("b")], Delivery::Replicate, true);
        assert_eq!(scene.log(), "a learns, a learns");
        scene.add(2, 1);
        let log = scene.log();
        assert!(log == "a 1 and back, b 1 and back" || log == "a 2 and back, b 2 and back", "{log}");
        // where none are paired any more, those go alone
        scene.add(3, 4);
        scene.change(&[Ok(1)], Delivery::Replicate, false);
        assert_eq!(scene.log(), "a learns, b learns, a 3, b 3, a ends, a closes");
        scene.add(5, 6);
        assert_eq!(scene.log(), "b 5");
    }

    #[test]
    fn flows_in_the_table_end_by_the_new_timeouts() {
        let mut scene = Scene::new(&["a"]);
        let at = |second: u64| Timestamp::from_nanos((1_700_000_000 + second) * 1_000_000_000);
        let times = |seconds| Timeouts {
            inactive: Duration::from_secs(seconds),
            active: Duration::from_secs(600),
            by_connection: false,
        };
        scene.exporter.timeouts = times(60);
        let direction = Direction::Ingress;
        let sighting = Sighting { time: at(0), octets: 40, tcp_flags: 0, ttl: 64, output: 0, direction };
        let mut batch = scene.writer.enter();
        batch.count(&record().key, &sighting);
        batch.finish();
        scene.exporter.expire(at(5));
        scene.exporter.timeouts = times(2);
        scene.change(&[Ok(0)], Delivery::Replicate, false);
        scene.exporter.expire(at(6));
        assert_eq!(scene.log(), "a learns, a 1024");
    }

    #[test]
    fn connections_are_looked_up_as_before() {
        let mut scene = Scene::new(&["a"]);
        let counters = Arc::<ConnectionCounters>::default();
        let inner = mem::take(&mut scene.exporter.collectors);
        scene.exporter.collectors = vec![Box::new(Nat::new(inner, Box::new(Ignorant), counters.clone()))];
        let facts = Arc::new(Facts { fields: FieldChoice::WithNat(Box::default()), ..Facts::default() });
        let members = vec![Member::New(Box::new(Noted("b", scene.log.clone())))];
        let (timeouts, delivery) = (scene.exporter.timeouts, Delivery::Replicate);
        scene.exporter.change(Change { facts, timeouts, members, networked: 0, delivery });
        scene.exporter.await_retired();
        scene.add(1000, 2000);
        scene.exporter.collectors[0].tick(record().last);
        assert_eq!(scene.log(), "a learns, a ends, a closes, b 1000");
        assert_eq!(counters.unknown_flows.get(), 1);
    }

    #[test]
    fn the_last_are_found_behind_all_stages() {
        let log = Log::default();
        let noted = |name| -> Box<dyn Collector> { Box::new(Noted(name, log.clone())) };
        let group: Box<dyn Collector> = Box::new(Group::new(vec![noted("b"), noted("c")], true));
        let pairing: Box<dyn Collector> = Box::new(Pairing::new(vec![noted("a"), group], Arc::default()));
        let names: Vec<_> = last(vec![pairing]).iter().map(|collector| collector.name()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
