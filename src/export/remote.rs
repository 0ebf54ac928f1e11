//! A collector in the network: flows encoded, and the messages sent in bursts.

use super::Collector;
use super::encoder::{Encoder, Message};
use super::facts::Facts;
use super::ipfix::Ipfix;
use super::netflow5::NetFlow5;
use super::netflow9::NetFlow9;
use super::pacer::{BURST, Pacer};
use super::target::{Protocol, Target};
use super::templated::Templated;
use super::udp::{Outcome, Udp};
use crate::flow::FlowRecord;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
use std::slice;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A collector in the network.
pub struct Remote {
    encoder: Box<dyn Encoder>,
    pacer: Pacer,
    udp: Udp,
    counters: Arc<CollectorCounters>,
    /// Messages that are complete but not sent.
    complete: Vec<Message>,
    /// Both directions of a conversation take two records.
    splits_biflows: bool,
}

impl Remote {
    /// Speaks to `target` as exporter number `domain` (observation domain, source id or engine id), at the rate of its
    /// settings.
    pub fn new(target: &Target, domain: u32, told: (Arc<Facts>, Arc<CollectorCounters>)) -> Self {
        let (facts, counters) = told;
        let sent = counters.clone();
        let encoder: Box<dyn Encoder> = match target.protocol {
            Protocol::NetFlow5 => Box::new(NetFlow5::new(domain, facts.sampling.everywhere, &facts.key)),
            Protocol::NetFlow9 => Box::new(Templated::new(NetFlow9::new(domain), facts, sent)),
            Protocol::Ipfix => Box::new(Templated::new(Ipfix::new(domain), facts, sent)),
        };
        let udp = Udp::new(target.clone(), counters.clone(), Instant::now());
        let splits_biflows = target.protocol != Protocol::Ipfix;
        let pacer = Pacer::new(target.settings.rate.unwrap_or_default());
        Self { encoder, pacer, udp, counters, complete: Vec::new(), splits_biflows }
    }

    fn count_unexportable(&self) {
        if self.counters.unexportable_records.get() == 0 {
            log::warn!("NetFlow v5 cannot express IPv6: such flows are counted as not expressible, not exported by it");
        }
        self.counters.unexportable_records.add(1);
    }

    fn send_bursts(&mut self) {
        if self.complete.len() >= BURST as usize {
            self.send_complete();
        }
    }

    fn send_complete(&mut self) {
        self.send_all();
        if self.udp.has_to_move(Instant::now()) {
            // what has begun shares its fate with what went before: elsewhere, its templates are not known
            self.encoder.finish(&mut self.complete);
            self.send_all();
            self.udp.move_on();
        }
        self.inform();
    }

    fn send_all(&mut self) {
        let complete = std::mem::take(&mut self.complete);
        let mut rest = &complete[..];
        while !rest.is_empty() {
            let (burst, behind) = rest.split_at(together(rest));
            self.udp.advance(Instant::now());
            if self.udp.connected() {
                let wait = self.pacer.book(burst.len() as u32, Instant::now());
                if !wait.is_zero() {
                    thread::sleep(wait);
                }
            }
            self.send(burst);
            rest = behind;
        }
    }

    fn send(&mut self, burst: &[Message]) {
        let outcome = self.udp.send(burst, Instant::now());
        if outcome == Outcome::Apart {
            return burst.iter().for_each(|message| self.send(slice::from_ref(message)));
        }
        for message in burst {
            match outcome {
                Outcome::Sent => self.counters.count_sent(message),
                _ => {
                    self.counters.lost_messages.add(1);
                    self.counters.count_lost(&message.sums);
                }
            }
        }
    }

    fn inform(&mut self) {
        if self.udp.takes_templates(Instant::now()) {
            self.encoder.renew_templates();
        }
    }
}

/// How many of the first messages can be sent at once: those as long as the first, and a shorter one behind them, but no
/// more than a burst. Those that tell of many devices come all together.
fn together(messages: &[Message]) -> usize {
    let messages = &messages[..messages.len().min(BURST as usize)];
    let length = |message: &Message| message.bytes.len();
    let Some(first) = messages.first().map(length) else { return 0 };
    let equal = messages.iter().take_while(|message| length(message) == first).count();
    equal + usize::from(messages.get(equal).is_some_and(|message| length(message) < first))
}

impl Collector for Remote {
    fn name(&self) -> String {
        self.udp.name()
    }

    fn add(&mut self, flow: &FlowRecord, now: Timestamp) {
        self.counters.given_records.add(1);
        if !self.encoder.add(flow, now, self.udp.limit(), &mut self.complete) {
            self.count_unexportable();
        }
        self.send_bursts();
    }

    fn add_biflow(&mut self, forward: &FlowRecord, reverse: &FlowRecord, now: Timestamp) {
        if self.splits_biflows {
            self.add(forward, now);
            return self.add(reverse, now);
        }
        self.counters.given_records.add(1);
        self.encoder.add_biflow((forward, reverse), now, self.udp.limit(), &mut self.complete);
        self.send_bursts();
    }

    fn flush(&mut self) {
        // also where there is nothing to send, so that a name that cannot be resolved is told early
        self.udp.advance(Instant::now());
        self.udp.listen(Instant::now());
        self.encoder.finish(&mut self.complete);
        self.send_complete();
        self.counters.note_health(self.is_well());
    }

    fn settle(&mut self, patience: Duration) -> bool {
        self.udp.settle(patience);
        self.inform();
        self.udp.connected()
    }

    fn is_well(&self) -> bool {
        self.udp.is_well(Instant::now())
    }

    fn learn(&mut self, facts: &Arc<Facts>) {
        // what was encoded goes as it is
        self.flush();
        self.encoder.learn(facts);
    }

    fn close(&mut self) {
        self.udp.await_news();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_length_go_together_with_a_shorter_one_behind_them() {
        for (lengths, expected) in [
            (&[][..], 0),
            (&[9], 1),
            (&[9, 9, 9], 3),
            (&[9, 9, 5, 5], 3),
            (&[9, 9, 12], 2),
            (&[5, 9, 9], 1),
            (&[9; 20], 8),
        ] {
            let messages: Vec<_> =
                lengths.iter().map(|&length| Message { bytes: vec![0; length], ..Message::default() }).collect();
            assert_eq!(together(&messages), expected, "{lengths:?}");
        }
    }
}
