//! Both directions of a conversation in one record (RFC 5103): a flow waits a while for the one that goes the other way.

use super::Collector;
use crate::flow::{FlowKey, FlowRecord};
use crate::time::Timestamp;
use etherparse::IpNumber;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How long a flow waits: both directions mostly end within a second.
const WAIT: Duration = Duration::from_secs(3);
/// Flows that wait at most; with more, the first goes alone.
const MOST: usize = 131_072;

/// Gives collectors the flows that find each other as one.
pub struct Pairing {
    collectors: Vec<Box<dyn Collector>>,
    /// By what they have in common with the one they wait for.
    waiting: HashMap<Conversation, FlowRecord>,
    /// In the order in which they came, with when that was; some may have gone since.
    order: VecDeque<(Timestamp, Conversation)>,
    latest: Timestamp,
}

/// What both directions have in common, seen from one: addresses, ports, protocol, IP version.
type Conversation = ([u8; 16], [u8; 16], u16, u16, u8, u8);

impl Pairing {
    /// For all of these.
    pub fn new(collectors: Vec<Box<dyn Collector>>) -> Self {
        Self { collectors, waiting: HashMap::new(), order: VecDeque::new(), latest: Timestamp::default() }
    }

    /// Lets those go alone that have waited for so long, and those before them that are too many.
    fn release(&mut self, now: Timestamp, wait: Duration) {
        while let Some((since, conversation)) = self.order.front()
            && (now.since(*since) >= wait || self.waiting.len() > MOST)
        {
            if let Some(flow) = self.waiting.remove(conversation) {
                self.collectors.iter_mut().for_each(|collector| collector.add(&flow, now));
            }
            self.order.pop_front();
        }
    }
}

impl Collector for Pairing {
    fn name(&self) -> String {
        self.collectors.iter().map(|collector| collector.name()).collect::<Vec<_>>().join(", ")
    }

    fn add(&mut self, flow: &FlowRecord, now: Timestamp) {
        self.latest = now;
        if let Some(partner) = self.waiting.remove(&other_way(&flow.key)) {
            // who began is the initiator; the other answers
            let (forward, reverse) = if partner.first <= flow.first { (&partner, flow) } else { (flow, &partner) };
            return self.collectors.iter_mut().for_each(|collector| collector.add_biflow(forward, reverse, now));
        }
        let conversation = one_way(&flow.key);
        if let Some(earlier) = self.waiting.insert(conversation, *flow) {
            self.collectors.iter_mut().for_each(|collector| collector.add(&earlier, now));
        }
        self.order.push_back((now, conversation));
        self.release(now, WAIT);
    }

    fn flush(&mut self) {
        self.collectors.iter_mut().for_each(|collector| collector.flush());
    }

    fn tick(&mut self, now: Timestamp) {
        self.latest = now;
        self.release(now, WAIT);
    }

    fn settle(&mut self, patience: Duration) -> bool {
        let well: Vec<_> = self.collectors.iter_mut().map(|collector| collector.settle(patience)).collect();
        !well.contains(&false)
    }

    fn is_well(&self) -> bool {
        self.collectors.iter().all(|collector| collector.is_well())
    }

    fn close(&mut self) {
        self.release(self.latest, Duration::ZERO);
        self.flush();
        self.collectors.iter_mut().for_each(|collector| collector.close());
    }
}

fn one_way(key: &FlowKey) -> Conversation {
    (key.source, key.destination, key.source_port, key.destination_port, key.protocol, key.ip_version)
}

/// What the other direction says of itself.
fn other_way(key: &FlowKey) -> Conversation {
    let (source_port, destination_port) = match (IpNumber(key.protocol), key.destination_port >> 8) {
        // echo request and reply: types stand where the destination port would be
        (IpNumber::ICMP, 8) => (0, key.destination_port & 0xff),
        (IpNumber::ICMP, 0) => (0, key.destination_port | 8 << 8),
        (IpNumber::IPV6_ICMP, 128) => (0, key.destination_port & 0xff | 129 << 8),
        (IpNumber::IPV6_ICMP, 129) => (0, key.destination_port & 0xff | 128 << 8),
        _ => (key.destination_port, key.source_port),
    };
    (key.destination, key.source, source_port, destination_port, key.protocol, key.ip_version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;
    use std::sync::{Arc, Mutex};

    /// What came: source ports of the flows, and of the directions of biflows.
    #[derive(Default)]
    struct Came {
        flows: Vec<u16>,
        biflows: Vec<(u16, u16)>,
    }

    struct Noted(Arc<Mutex<Came>>);

    impl Collector for Noted {
        fn name(&self) -> String {
            String::new()
        }

        fn add(&mut self, flow: &FlowRecord, _: Timestamp) {
            self.0.lock().unwrap().flows.push(flow.key.source_port);
        }

        fn add_biflow(&mut self, forward: &FlowRecord, reverse: &FlowRecord, _: Timestamp) {
            self.0.lock().unwrap().biflows.push((forward.key.source_port, reverse.key.source_port));
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

    fn at(second: u64) -> Timestamp {
        Timestamp::from_nanos((1_700_000_000 + second) * 1_000_000_000)
    }

    fn back(flow: &FlowRecord) -> FlowRecord {
        let mut key = flow.key;
        (key.source, key.destination) = (key.destination, key.source);
        (key.source_port, key.destination_port) = (key.destination_port, key.source_port);
        FlowRecord { key, first: flow.first + Duration::from_millis(1), ..*flow }
    }

    #[test]
    fn directions_find_each_other_and_who_began_is_first() {
        let came = Arc::new(Mutex::new(Came::default()));
        let mut pairing = Pairing::new(vec![Box::new(Noted(came.clone()))]);
        let there = record();
        // the answer may end first
        pairing.add(&back(&there), at(0));
        pairing.add(&there, at(1));
        let mut alone = record();
        alone.key.source_port = 7;
        pairing.add(&alone, at(1));
        pairing.tick(at(3));
        assert!(came.lock().unwrap().flows.is_empty());
        pairing.tick(at(4));
        let mut last = record();
        last.key.source_port = 8;
        pairing.add(&last, at(4));
        pairing.close();
        let came = came.lock().unwrap();
        assert_eq!((came.flows.as_slice(), came.biflows.as_slice()), (&[7, 8][..], &[(1024, 443)][..]));
    }

    #[test]
    fn echo_requests_find_their_replies() {
        let mut key = record().key;
        for (protocol, request, reply) in [(1, 0x0800, 0), (58, 0x8000, 0x8100)] {
            (key.protocol, key.source_port, key.destination_port) = (protocol, 0, request);
            let answer = FlowKey { source: key.destination, destination: key.source, destination_port: reply, ..key };
            assert_eq!((other_way(&key), other_way(&answer)), (one_way(&answer), one_way(&key)));
        }
    }
}
