//! Both directions of a conversation in one record (RFC 5103): a flow waits a while for the one that goes the other way.

use super::facts::Facts;
use super::{Collector, settle_all};
use crate::flow::key_fields::KeyFields;
use crate::flow::{Direction, FlowKey, FlowRecord};
use crate::time::Timestamp;
use etherparse::IpNumber;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long a flow waits: both directions mostly end within a second.
const WAIT: Duration = Duration::from_secs(3);
/// Flows that wait at most; others go alone.
const MOST: usize = 131_072;
/// RFC 9293 section 3.1: a connection begins with the one alone, which is answered with both.
const TCP_SYN: u16 = 0x02;
const TCP_ACK: u16 = 0x10;
/// How late packets are delivered at most: the kernel gathers them for a tenth of a second, and the probe may be busy.
const DELIVERY: Duration = Duration::from_millis(250);

/// Gives collectors the flows that find each other as one.
pub struct Pairing {
    collectors: Vec<Box<dyn Collector>>,
    facts: Arc<Facts>,
    /// When each came, by what they have in common with the one they wait for.
    waiting: HashMap<Conversation, (Timestamp, FlowRecord)>,
    /// In the order in which they came; some have gone since.
    order: VecDeque<(Timestamp, Conversation)>,
    latest: Timestamp,
}

/// What both directions have in common, seen from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Conversation {
    /// The connection, and whether this is its reply.
    Tracked(u32, bool),
    /// Addresses, ports, protocol, IP version.
    Ends([u8; 16], [u8; 16], u16, u16, u8, u8),
}

impl Pairing {
    /// For all of these.
    pub fn new(collectors: Vec<Box<dyn Collector>>, facts: Arc<Facts>) -> Self {
        Self { collectors, facts, waiting: HashMap::new(), order: VecDeque::new(), latest: Timestamp::default() }
    }

    /// Whether flows can be paired by this key: it has to tell of both ends alike.
    pub fn is_possible(key: &KeyFields) -> bool {
        let alike = |version| {
            let (source, destination, _) = key.prefixes(version);
            source == destination
        };
        let told = key.prefixes(4).0 > 0 || key.prefixes(6).0 > 0;
        alike(4) && alike(6) && told && key.source_port == key.destination_port
    }

    /// Lets those go alone that have waited for so long.
    fn release(&mut self, now: Timestamp, wait: Duration) {
        while let Some(&(since, conversation)) = self.order.front()
            && now.since(since) >= wait
        {
            self.order.pop_front();
            // it may have gone, and another come in its place
            if self.waiting.get(&conversation).is_some_and(|(came, _)| *came == since)
                && let Some((_, flow)) = self.waiting.remove(&conversation)
            {
                self.alone(&flow, now);
            }
        }
    }

    fn alone(&mut self, flow: &FlowRecord, now: Timestamp) {
        self.collectors.iter_mut().for_each(|collector| collector.add(flow, now));
    }

    /// The time goes on; if it was set back, nobody waits for it to come again.
    fn hear(&mut self, now: Timestamp) {
        if now < self.latest {
            self.release(self.latest, Duration::ZERO);
        }
        self.latest = now;
    }

    /// The flow that goes the other way, if it waits, and one in as many packets is in it.
    fn partner(&mut self, flow: &FlowRecord) -> Option<FlowRecord> {
        let (own, theirs) = (conversation(flow), opposite(flow, self.facts.key.destination_port));
        let (_, partner) = self.waiting.get(&theirs).filter(|_| theirs != own)?;
        if self.facts.rate_of(partner.key.selector) != self.facts.rate_of(flow.key.selector) {
            return None;
        }
        self.waiting.remove(&theirs).map(|(_, partner)| partner)
    }
}

/// The direction of who began, which is marked as that if it can be seen, and the other. Else the server is taken to have the
/// lower port.
fn by_initiator(one: FlowRecord, other: FlowRecord) -> (FlowRecord, FlowRecord) {
    let is_tcp = IpNumber(one.key.protocol) == IpNumber::TCP;
    let earlier = one.first <= other.first;
    let (first, known) = match (opens(&one), opens(&other)) {
        (Some(first), None) => (first, true),
        (None, Some(second)) => (!second, true),
        (Some(first), Some(second)) if first != second => (first, true),
        _ if is_tcp || is_doubtful(&one, &other) => (one.key.source_port >= other.key.source_port, false),
        _ => (earlier, true),
    };
    let (forward, reverse) = if first { (one, other) } else { (other, one) };
    (FlowRecord { is_initiators: known, ..forward }, reverse)
}

/// Whether a flow's first packet asks or answers, where packets say so (TCP's SYN, ICMP's echo) or connection tracking does.
/// Of TCP, that may not know: it also tracks what was there before.
fn opens(flow: &FlowRecord) -> Option<bool> {
    let syn = flow.first_tcp_flags & TCP_SYN != 0;
    match (IpNumber(flow.key.protocol), flow.key.destination_port >> 8) {
        (IpNumber::TCP, _) => syn.then_some(flow.first_tcp_flags & TCP_ACK == 0),
        (IpNumber::ICMP, 8) | (IpNumber::IPV6_ICMP, 128) => Some(true),
        (IpNumber::ICMP, 0) | (IpNumber::IPV6_ICMP, 129) => Some(false),
        _ => flow.tracked.is_known().then_some(!flow.tracked.is_reply),
    }
}

/// Whether it may be that not the earlier of both began: of packets that go out, the time is that of their delivery.
fn is_doubtful(one: &FlowRecord, other: &FlowRecord) -> bool {
    let goes_out = one.direction == Direction::Egress || other.direction == Direction::Egress;
    goes_out && one.first.since(other.first).max(other.first.since(one.first)) <= DELIVERY
}

impl Collector for Pairing {
    fn name(&self) -> String {
        self.collectors.iter().map(|collector| collector.name()).collect::<Vec<_>>().join(", ")
    }

    fn add(&mut self, flow: &FlowRecord, now: Timestamp) {
        self.hear(now);
        self.release(now, WAIT);
        if let Some(partner) = self.partner(flow) {
            let (forward, reverse) = by_initiator(partner, *flow);
            return self.collectors.iter_mut().for_each(|collector| collector.add_biflow(&forward, &reverse, now));
        }
        if self.waiting.len() >= MOST {
            return self.alone(flow, now);
        }
        let conversation = conversation(flow);
        self.order.push_back((now, conversation));
        if let Some((_, earlier)) = self.waiting.insert(conversation, (now, *flow)) {
            self.alone(&earlier, now);
        }
    }

    fn tick(&mut self, now: Timestamp) {
        self.hear(now);
        self.release(now, WAIT);
        self.collectors.iter_mut().for_each(|collector| collector.tick(now));
    }

    fn flush(&mut self) {
        self.collectors.iter_mut().for_each(|collector| collector.flush());
    }

    fn settle(&mut self, patience: Duration) -> bool {
        settle_all(&mut self.collectors, patience)
    }

    fn is_well(&self) -> bool {
        self.collectors.iter().all(|collector| collector.is_well())
    }

    fn learn(&mut self, facts: &Arc<Facts>) {
        self.facts = facts.clone();
        self.collectors.iter_mut().for_each(|collector| collector.learn(facts));
        // nobody pairs those that wait any more
        if !facts.biflows {
            self.release(self.latest, Duration::ZERO);
        }
    }

    fn behind(&mut self) -> Option<&mut Vec<Box<dyn Collector>>> {
        Some(&mut self.collectors)
    }

    fn end(&mut self) {
        self.release(self.latest, Duration::ZERO);
        self.flush();
        self.collectors.iter_mut().for_each(|collector| collector.end());
    }

    fn close(&mut self) {
        self.collectors.iter_mut().for_each(|collector| collector.close());
    }
}

/// What a flow is a direction of. Whatever NAT makes of its ends, its connection is one.
fn conversation(flow: &FlowRecord) -> Conversation {
    if flow.tracked.is_known() {
        Conversation::Tracked(flow.tracked.id, flow.tracked.is_reply)
    } else {
        one_way(&flow.key)
    }
}

/// What the other direction is one of; `ports` if the key has them.
fn opposite(flow: &FlowRecord, ports: bool) -> Conversation {
    if flow.tracked.is_known() {
        Conversation::Tracked(flow.tracked.id, !flow.tracked.is_reply)
    } else {
        other_way(&flow.key, ports)
    }
}

fn one_way(key: &FlowKey) -> Conversation {
    let FlowKey { source, destination, source_port, destination_port, protocol, ip_version, .. } = *key;
    Conversation::Ends(source, destination, source_port, destination_port, protocol, ip_version)
}

/// What the other direction says of itself; `ports` if the key has them.
fn other_way(key: &FlowKey, ports: bool) -> Conversation {
    let (source_port, destination_port) = match (IpNumber(key.protocol), key.destination_port >> 8) {
        // echo request and reply: types stand where the destination port would be
        (IpNumber::ICMP, 8) if ports => (0, key.destination_port & 0xff),
        (IpNumber::ICMP, 0) if ports => (0, key.destination_port | 8 << 8),
        (IpNumber::IPV6_ICMP, 128) if ports => (0, key.destination_port & 0xff | 129 << 8),
        (IpNumber::IPV6_ICMP, 129) if ports => (0, key.destination_port & 0xff | 128 << 8),
        _ => (key.destination_port, key.source_port),
    };
    Conversation::Ends(key.destination, key.source, source_port, destination_port, key.protocol, key.ip_version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;
    use crate::flow::{Ends, Tracked};
    use std::sync::Mutex;

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
        FlowRecord { key, first: flow.first + Duration::from_millis(1), first_tcp_flags: 0x012, ..*flow }
    }

    #[test]
    fn directions_find_each_other_and_who_began_is_first() {
        let came = Arc::new(Mutex::new(Came::default()));
        let mut pairing = Pairing::new(vec![Box::new(Noted(came.clone()))], Arc::default());
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
        pairing.end();
        let came = came.lock().unwrap();
        assert_eq!((came.flows.as_slice(), came.biflows.as_slice()), (&[7, 8][..], &[(1024, 443)][..]));
    }

    #[test]
    fn echo_requests_find_their_replies() {
        let mut key = record().key;
        for (protocol, request, reply) in [(1, 0x0800, 0), (58, 0x8000, 0x8100)] {
            (key.protocol, key.source_port, key.destination_port) = (protocol, 0, request);
            let answer = FlowKey { source: key.destination, destination: key.source, destination_port: reply, ..key };
            assert_eq!((other_way(&key, true), other_way(&answer, true)), (one_way(&answer), one_way(&key)));
        }
    }

    #[test]
    fn directions_of_a_connection_find_each_other_whatever_their_ends() {
        let came = Arc::new(Mutex::new(Came::default()));
        let mut pairing = Pairing::new(vec![Box::new(Noted(came.clone()))], Arc::default());
        let tracked = |id, is_reply, source_port| {
            let key = FlowKey { protocol: 17, source_port, ..record().key };
            let after_nat = Ends { source_port: 1, ..key.ends() };
            FlowRecord { key, tracked: Tracked { id, is_reply, after_nat }, ..record() }
        };
        for flow in [tracked(5, true, 53), tracked(6, true, 54), tracked(6, true, 55), tracked(5, false, 1024)] {
            pairing.add(&flow, at(0));
        }
        pairing.end();
        let came = came.lock().unwrap();
        assert_eq!((came.flows.as_slice(), came.biflows.as_slice()), (&[54, 55][..], &[(1024, 53)][..]));
    }

    #[test]
    fn a_clock_set_back_keeps_nobody_waiting() {
        let came = Arc::new(Mutex::new(Came::default()));
        let mut pairing = Pairing::new(vec![Box::new(Noted(came.clone()))], Arc::default());
        pairing.add(&record(), at(3600));
        pairing.tick(at(0));
        assert_eq!(came.lock().unwrap().flows, [1024]);
    }

    #[test]
    fn whoever_comes_in_anothers_place_waits_as_long() {
        let came = Arc::new(Mutex::new(Came::default()));
        let mut pairing = Pairing::new(vec![Box::new(Noted(came.clone()))], Arc::default());
        pairing.add(&record(), at(0));
        pairing.add(&back(&record()), at(1));
        pairing.add(&record(), at(2));
        pairing.tick(at(4));
        assert!(came.lock().unwrap().flows.is_empty());
        pairing.tick(at(5));
        assert_eq!(came.lock().unwrap().flows, [1024]);
    }

    /// By the port that the conversation is taken to have begun from, and whether that is known.
    fn begun(one: FlowRecord, other: FlowRecord) -> (u16, bool) {
        let (forward, reverse) = by_initiator(one, other);
        assert!(!reverse.is_initiators);
        let turned = by_initiator(other, one);
        assert_eq!((forward, reverse), turned, "whichever came first");
        (forward.key.source_port, forward.is_initiators)
    }

    #[test]
    fn a_connection_begins_with_a_syn_whatever_the_times() {
        let flow = FlowRecord { first: at(0), ..record() };
        let answer = FlowRecord { first: at(0), ..back(&record()) };
        assert_eq!(begun(flow, FlowRecord { first: at(0) + Duration::from_millis(1), ..answer }), (1024, true));
        assert_eq!(begun(FlowRecord { first: at(1), ..flow }, answer), (1024, true));
        let later = |flow: FlowRecord| FlowRecord { first_tcp_flags: 0x010, ..flow };
        assert_eq!(begun(later(flow), answer), (1024, true));
        // one that was there before
        assert_eq!(begun(later(FlowRecord { first: at(1), ..flow }), later(answer)), (1024, false));
    }

    #[test]
    fn others_begin_with_the_earlier_unless_its_time_is_doubtful() {
        let mut flow = FlowRecord { first: at(1), direction: Direction::Ingress, ..record() };
        flow.key.protocol = 17;
        let earlier = FlowRecord { first: at(0), ..back(&flow) };
        assert_eq!(begun(flow, earlier), (443, true));
        let egress = |flow: FlowRecord| FlowRecord { direction: Direction::Egress, ..flow };
        assert_eq!(begun(egress(flow), earlier), (443, true), "a second is no delivery");
        let answer = FlowRecord { first: at(1), ..back(&flow) };
        let delivered = FlowRecord { first: at(1) + Duration::from_millis(99), ..egress(flow) };
        assert_eq!(begun(delivered, answer), (1024, false));
        let mut request = delivered;
        (request.key.protocol, request.key.source_port, request.key.destination_port) = (1, 0, 0x0800);
        let mut reply = answer;
        (reply.key.protocol, reply.key.source_port, reply.key.destination_port) = (1, 0, 0);
        assert_eq!(by_initiator(reply, request), (FlowRecord { is_initiators: true, ..request }, reply));
    }

    #[test]
    fn a_key_has_to_tell_of_both_ends_alike() {
        assert!(Pairing::is_possible(&KeyFields::ALL));
        let hosts = KeyFields { source_v4: 24, destination_v4: 24, ..KeyFields::NONE };
        assert!(Pairing::is_possible(&hosts));
        assert!(!Pairing::is_possible(&KeyFields { destination_v4: 32, ..hosts }));
        assert!(!Pairing::is_possible(&KeyFields { source_port: true, ..hosts }));
        assert!(!Pairing::is_possible(&KeyFields { vlan: true, ..KeyFields::NONE }));
    }
}
