//! What NAT makes of a flow's packets: where these did not say it themselves, its connection is looked up when it is exported.
//!
//! The kernel remembers a connection for longer than a flow takes to end: TCP's for 10 s after RST and 120 s after FIN, of
//! which a flow waits 2 s; UDP's for 30 s and more, of which it waits `--inactive-timeout`.

use super::complaint::Complaint;
use super::facts::Facts;
use super::{Collector, settle_all};
use crate::conntrack::{Connection, Query, Tracker};
use crate::flow::FlowRecord;
use crate::metrics::ConnectionCounters;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Flows looked up together: few enough for the answers to fit into any socket's buffer.
const BATCH: usize = 64;
/// Questions a second at most, each of which takes the kernel some two microseconds.
const RATE: u64 = 10_000;
/// Questions at once at most, where fewer were asked before: a fifth of a second.
const BURST: u64 = 10 * RATE;
const SECOND: u128 = 1_000_000_000;

/// Gives collectors flows with what NAT makes of their packets.
pub struct Nat {
    collectors: Vec<Box<dyn Collector>>,
    tracker: Box<dyn Tracker>,
    counters: Arc<ConnectionCounters>,
    budget: Budget,
    complaint: Complaint,
    /// Not yet looked up.
    flows: Vec<FlowRecord>,
    /// When those are exported.
    now: Timestamp,
}

impl Nat {
    /// For all of these. `tracker` knows the connections.
    pub fn new(
        collectors: Vec<Box<dyn Collector>>,
        tracker: Box<dyn Tracker>,
        counters: Arc<ConnectionCounters>,
    ) -> Self {
        let (budget, complaint, now) = Default::default();
        Self { collectors, tracker, counters, budget, complaint, flows: Vec::with_capacity(BATCH), now }
    }

    fn hand_on(&mut self) {
        let mut flows = std::mem::take(&mut self.flows);
        self.look_up(&mut flows);
        for flow in flows.drain(..) {
            self.collectors.iter_mut().for_each(|collector| collector.add(&flow, self.now));
        }
        self.flows = flows;
    }

    /// Each flow is in one of the counters afterwards.
    fn look_up(&mut self, flows: &mut [FlowRecord]) {
        let all = flows.len();
        let unknown: Vec<_> = flows.iter_mut().filter(|flow| !flow.tracked.is_known()).collect();
        let missing = unknown.len();
        self.counters.found_flows.add((all - missing) as u64);
        let asked: Vec<_> = unknown.into_iter().filter_map(|flow| Some((Query::of(&flow.key)?, flow))).collect();
        self.counters.untold_flows.add((missing - asked.len()) as u64);
        let left = self.ask(asked);
        let left = self.ask(left.into_iter().map(|(query, flow)| (query.swapped(), flow)).collect());
        self.counters.unknown_flows.add(left.len() as u64);
    }

    /// Asks for as many as may be; gives those that were not found.
    fn ask<'a>(&mut self, mut flows: Vec<(Query, &'a mut FlowRecord)>) -> Vec<(Query, &'a mut FlowRecord)> {
        let granted = self.budget.take(flows.len(), self.now);
        self.counters.unasked_flows.add((flows.len() - granted) as u64);
        flows.truncate(granted);
        if flows.is_empty() {
            return flows;
        }
        let queries: Vec<_> = flows.iter().map(|(query, _)| *query).collect();
        match self.tracker.look_up(&queries) {
            Ok(connections) => {
                if self.complaint.ends() {
                    log::info!("the kernel tells of connections again");
                }
                let mut connections = connections.into_iter();
                flows.retain_mut(|(_, flow)| !note(flow, connections.next().flatten()));
                self.counters.found_flows.add((granted - flows.len()) as u64);
            }
            Err(error) => {
                if self.complaint.begins(Instant::now()) {
                    log::warn!("the kernel does not tell of connections ({error}): flows go without their NAT");
                }
                self.counters.unasked_flows.add(granted as u64);
                flows.clear();
            }
        }
        flows
    }
}

/// Notes in a flow what became of its packets, if this is its connection.
fn note(flow: &mut FlowRecord, connection: Option<Connection>) -> bool {
    let tracked = connection.and_then(|connection| connection.tracked(flow.key.ends()));
    flow.tracked = tracked.unwrap_or_default();
    tracked.is_some()
}

/// How many questions may be asked (a token bucket).
struct Budget {
    tokens: u64,
    /// When some were last earned.
    earned: Timestamp,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tokens: BURST, earned: Timestamp::default() }
    }
}

impl Budget {
    /// So many of those that are wanted.
    fn take(&mut self, wanted: usize, now: Timestamp) -> usize {
        let new = now.since(self.earned).as_nanos() * u128::from(RATE) / SECOND;
        if new > 0 || now < self.earned {
            self.earned = now;
        }
        self.tokens = (u128::from(self.tokens) + new).min(BURST.into()) as u64;
        let taken = self.tokens.min(wanted as u64);
        self.tokens -= taken;
        taken as usize
    }
}

impl Collector for Nat {
    fn name(&self) -> String {
        self.collectors.iter().map(|collector| collector.name()).collect::<Vec<_>>().join(", ")
    }

    fn add(&mut self, flow: &FlowRecord, now: Timestamp) {
        if now != self.now {
            self.hand_on();
            self.now = now;
        }
        self.flows.push(*flow);
        if self.flows.len() == BATCH {
            self.hand_on();
        }
    }

    fn tick(&mut self, now: Timestamp) {
        self.hand_on();
        self.collectors.iter_mut().for_each(|collector| collector.tick(now));
    }

    fn flush(&mut self) {
        self.hand_on();
        self.collectors.iter_mut().for_each(|collector| collector.flush());
    }

    fn settle(&mut self, patience: Duration) -> bool {
        settle_all(&mut self.collectors, patience)
    }

    fn is_well(&self) -> bool {
        self.collectors.iter().all(|collector| collector.is_well())
    }

    fn learn(&mut self, facts: &Arc<Facts>) {
        self.collectors.iter_mut().for_each(|collector| collector.learn(facts));
    }

    fn behind(&mut self) -> Option<&mut Vec<Box<dyn Collector>>> {
        Some(&mut self.collectors)
    }

    fn end(&mut self) {
        self.hand_on();
        self.collectors.iter_mut().for_each(|collector| collector.end());
    }

    fn close(&mut self) {
        self.collectors.iter_mut().for_each(|collector| collector.close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowKey;
    use crate::flow::tests::record;
    use std::io;
    use std::sync::Mutex;

    /// Notes how much it is asked at once. It knows the connections that come from ports from 1000 on, of which NAT makes 1.
    #[derive(Clone, Default)]
    struct Kernel(Arc<Mutex<Vec<usize>>>);

    impl Tracker for Kernel {
        fn look_up(&mut self, queries: &[Query]) -> io::Result<Vec<Option<Connection>>> {
            self.0.lock().unwrap().push(queries.len());
            let connection = |query: &Query| {
                let original = query.ends;
                let reply = crate::flow::Ends { destination_port: 1, ..original.swapped() };
                (original.source_port >= 1000).then_some(Connection { id: 7, original, reply })
            };
            Ok(queries.iter().map(connection).collect())
        }
    }

    /// Does not answer.
    struct Mute;

    impl Tracker for Mute {
        fn look_up(&mut self, _: &[Query]) -> io::Result<Vec<Option<Connection>>> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }

    #[derive(Clone, Default)]
    struct Noted(Arc<Mutex<Vec<FlowRecord>>>);

    impl Collector for Noted {
        fn name(&self) -> String {
            String::new()
        }

        fn add(&mut self, flow: &FlowRecord, _: Timestamp) {
            self.0.lock().unwrap().push(*flow);
        }

        fn flush(&mut self) {}

        fn settle(&mut self, _: Duration) -> bool {
            true
        }

        fn is_well(&self) -> bool {
            true
        }

        fn close(&mut self) {}
    }

    /// What a test needs to see.
    struct Scene {
        nat: Nat,
        noted: Noted,
        counters: Arc<ConnectionCounters>,
    }

    fn scene(tracker: impl Tracker + 'static) -> Scene {
        let (noted, counters) = (Noted::default(), Arc::<ConnectionCounters>::default());
        let nat = Nat::new(vec![Box::new(noted.clone())], Box::new(tracker), counters.clone());
        Scene { nat, noted, counters }
    }

    impl Scene {
        /// Exports flows with these source and destination ports.
        fn export(&mut self, ports: impl IntoIterator<Item = (u16, u16)>, now: Timestamp) {
            for (source_port, destination_port) in ports {
                let key = FlowKey { source_port, destination_port, ..record().key };
                self.nat.add(&FlowRecord { key, ..record() }, now);
            }
            self.nat.tick(now);
        }

        /// Found, unknown, unasked, untold.
        fn counts(&self) -> [u64; 4] {
            let counters = &self.counters;
            [&counters.found_flows, &counters.unknown_flows, &counters.unasked_flows, &counters.untold_flows]
                .map(|counter| counter.get())
        }
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_nanos(1_700_000_000_000_000_000 + milliseconds * 1_000_000)
    }

    #[test]
    fn flows_get_what_becomes_of_them_and_keep_their_order() {
        let kernel = Kernel::default();
        let mut scene = scene(kernel.clone());
        // found before NAT, found behind it, not tracked, a fragment
        scene.export([(1000, 80), (80, 5000), (80, 443), (0, 0)], at(0));
        assert_eq!((scene.counts(), kernel.0.lock().unwrap().clone()), ([2, 1, 0, 1], vec![3, 2]));
        let flows = scene.noted.0.lock().unwrap();
        let ports = |flow: &FlowRecord| (flow.key.source_port, flow.tracked.after_nat.source_port, flow.tracked.id);
        assert_eq!(flows.iter().map(ports).collect::<Vec<_>>(), [(1000, 1, 7), (80, 80, 7), (80, 0, 0), (0, 0, 0)]);
        assert_eq!(flows[1].tracked.after_nat.destination_port, 5000);
    }

    #[test]
    fn what_packets_told_is_not_asked_for() {
        let kernel = Kernel::default();
        let mut scene = scene(kernel.clone());
        // NAT has made another port of it than the kernel would say now; and ICMP, for which nobody could ask
        for (source_port, destination_port) in [(1000, 80), (0, 0)] {
            let key = FlowKey { source_port, destination_port, ..record().key };
            let after_nat = crate::flow::Ends { source_port: 2, ..key.ends() };
            let tracked = crate::flow::Tracked { id: 9, is_reply: false, after_nat };
            scene.nat.add(&FlowRecord { key, tracked, ..record() }, at(0));
        }
        scene.nat.tick(at(0));
        assert_eq!((scene.counts(), kernel.0.lock().unwrap().len()), ([2, 0, 0, 0], 0));
        let flows = scene.noted.0.lock().unwrap();
        assert!(flows.iter().all(|flow| (flow.tracked.id, flow.tracked.after_nat.source_port) == (9, 2)), "{flows:?}");
    }

    #[test]
    fn questions_are_bounded_by_the_second() {
        let kernel = Kernel::default();
        let mut scene = scene(kernel.clone());
        let many = || (0..2 * BURST).map(|_| (1000, 80));
        scene.export(many(), at(0));
        assert_eq!(scene.counts(), [BURST, 0, BURST, 0]);
        scene.export(many(), at(500));
        let later = BURST + RATE / 2;
        assert_eq!(scene.counts(), [later, 0, 4 * BURST - later, 0]);
        scene.export(many(), at(499));
        assert_eq!(scene.counts(), [later, 0, 6 * BURST - later, 0], "a clock set back earns nothing");
        scene.export(many(), at(3_600_000));
        assert_eq!(scene.counts()[0], later + BURST, "nor does a long time more than a burst");
        assert_eq!(scene.noted.0.lock().unwrap().len() as u64, 8 * BURST);
        assert!(kernel.0.lock().unwrap().iter().all(|questions| *questions <= BATCH));
    }

    #[test]
    fn second_questions_count_too() {
        let mut scene = scene(Kernel::default());
        scene.export((0..BURST).map(|_| (80, 443)), at(0));
        let [found, unknown, unasked, untold] = scene.counts();
        assert_eq!((found, unknown + unasked, untold), (0, BURST, 0));
        // each batch of 64 asks 128 times
        assert!(unknown.abs_diff(BURST / 2) <= BATCH as u64, "{unknown}");
    }

    #[test]
    fn a_kernel_that_does_not_answer_costs_no_flow() {
        let mut scene = scene(Mute);
        scene.export([(1000, 80); 70], at(0));
        assert_eq!((scene.counts(), scene.noted.0.lock().unwrap().len()), ([0, 0, 70, 0], 70));
        assert!(!scene.noted.0.lock().unwrap()[0].tracked.is_known());
    }
}
