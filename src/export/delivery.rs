//! Which of several collectors in the network gets a flow: each of them, one by the flow, or the first that is well.

use super::facts::Facts;
use super::{Collector, settle_all};
use crate::flow::{FlowKey, FlowRecord};
use crate::time::Timestamp;
use etherparse::IpNumber;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who gets a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Every collector
    #[default]
    Replicate,
    /// One of them, always the same for both directions of a conversation
    Balance,
    /// The first that can be reached
    Failover,
}

/// Collectors, of which the last, so many in the network, get flows in this way.
pub fn deliver(
    mut collectors: Vec<Box<dyn Collector>>,
    networked: usize,
    delivery: Delivery,
) -> Vec<Box<dyn Collector>> {
    if delivery != Delivery::Replicate && networked > 0 {
        let group = collectors.split_off(collectors.len() - networked);
        collectors.push(Box::new(Group::new(group, delivery == Delivery::Failover)));
    }
    collectors
}

/// Collectors of which each flow goes to one.
pub struct Group {
    members: Vec<Box<dyn Collector>>,
    /// The first that is well, instead of one by the flow.
    failover: bool,
}

impl Group {
    /// At least one member, in the order in which they stand in for each other.
    pub fn new(members: Vec<Box<dyn Collector>>, failover: bool) -> Self {
        Self { members, failover }
    }

    fn choose(&self, key: &FlowKey) -> usize {
        match self.failover {
            // if none is well, the first has what befalls its flows counted
            true => self.members.iter().position(|member| member.is_well()).unwrap_or(0),
            false => share(key, self.members.len()),
        }
    }
}

impl Collector for Group {
    fn name(&self) -> String {
        self.members.iter().map(|member| member.name()).collect::<Vec<_>>().join(", ")
    }

    fn add(&mut self, flow: &FlowRecord, now: Timestamp) {
        let chosen = self.choose(&flow.key);
        self.members[chosen].add(flow, now);
    }

    fn add_biflow(&mut self, forward: &FlowRecord, reverse: &FlowRecord, now: Timestamp) {
        let chosen = self.choose(&forward.key);
        self.members[chosen].add_biflow(forward, reverse, now);
    }

    fn flush(&mut self) {
        self.members.iter_mut().for_each(|member| member.flush());
    }

    /// All have to be there, or where they stand in for each other, one.
    fn settle(&mut self, patience: Duration) -> bool {
        if !self.failover {
            return settle_all(&mut self.members, patience);
        }
        let deadline = Instant::now() + patience;
        // those that are there already are asked first
        [Duration::ZERO, patience].into_iter().any(|patience| {
            let left = || deadline.saturating_duration_since(Instant::now()).min(patience);
            self.members.iter_mut().any(|member| member.settle(left()))
        })
    }

    fn is_well(&self) -> bool {
        self.members.iter().any(|member| member.is_well())
    }

    fn tick(&mut self, now: Timestamp) {
        self.members.iter_mut().for_each(|member| member.tick(now));
    }

    fn learn(&mut self, facts: &Arc<Facts>) {
        self.members.iter_mut().for_each(|member| member.learn(facts));
    }

    fn behind(&mut self) -> Option<&mut Vec<Box<dyn Collector>>> {
        Some(&mut self.members)
    }

    fn end(&mut self) {
        self.members.iter_mut().for_each(|member| member.end());
    }

    fn close(&mut self) {
        self.members.iter_mut().for_each(|member| member.close());
    }
}

/// Which of so many has this flow, and the one in the other direction. It is the same in every process.
fn share(key: &FlowKey, members: usize) -> usize {
    // ICMP's answers have another type, where the port would be
    let ports = match IpNumber(key.protocol) {
        IpNumber::ICMP | IpNumber::IPV6_ICMP => (0, 0),
        _ => (key.source_port, key.destination_port),
    };
    let mut ends = [(key.source, ports.0), (key.destination, ports.1)];
    ends.sort_unstable();
    let mut hasher = DefaultHasher::new();
    (ends, key.protocol).hash(&mut hasher);
    (hasher.finish() % members as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;
    use std::sync::Mutex;

    /// Notes the source ports of its flows.
    struct Noted {
        well: bool,
        ports: Arc<Mutex<Vec<u16>>>,
    }

    impl Collector for Noted {
        fn name(&self) -> String {
            String::new()
        }

        fn add(&mut self, flow: &FlowRecord, _: Timestamp) {
            self.ports.lock().unwrap().push(flow.key.source_port);
        }

        fn flush(&mut self) {}

        fn settle(&mut self, _: Duration) -> bool {
            self.well
        }

        fn is_well(&self) -> bool {
            self.well
        }

        fn close(&mut self) {}
    }

    /// How many flows each member of a group has got.
    fn deliver(well: &[bool], failover: bool) -> Vec<usize> {
        let ports: Vec<Arc<Mutex<Vec<u16>>>> = well.iter().map(|_| Arc::default()).collect();
        let member = |(well, ports): (&bool, &Arc<Mutex<Vec<u16>>>)| -> Box<dyn Collector> {
            Box::new(Noted { well: *well, ports: ports.clone() })
        };
        let mut group = Group::new(well.iter().zip(&ports).map(member).collect(), failover);
        for port in 0..3000 {
            let mut flow = record();
            flow.key.source_port = port;
            group.add(&flow, Timestamp::default());
        }
        ports.iter().map(|ports| ports.lock().unwrap().len()).collect()
    }

    #[test]
    fn shares_are_about_equal() {
        let counts = deliver(&[true; 3], false);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn both_directions_go_to_one() {
        for port in 0..100 {
            let mut there = record().key;
            there.source_port = port;
            let mut back = there;
            (back.source, back.destination) = (there.destination, there.source);
            (back.source_port, back.destination_port) = (there.destination_port, there.source_port);
            assert_eq!(share(&there, 7), share(&back, 7));
            (there.protocol, there.source_port, there.destination_port) = (1, 0, 0x0800);
            (back.protocol, back.source_port, back.destination_port) = (1, 0, 0);
            assert_eq!(share(&there, 7), share(&back, 7), "an echo and its reply");
        }
    }

    #[test]
    fn the_first_that_is_well_gets_all() {
        assert_eq!(deliver(&[false, true, true], true), [0, 3000, 0]);
        assert_eq!(deliver(&[true, true], true), [3000, 0]);
        assert_eq!(deliver(&[false, false], true), [3000, 0]);
    }
}
