//! Flows in a file of IPFIX messages (RFC 5655): each file has its templates and options, and is read on its own.

use super::Collector;
use super::encoder::{Encoder, Message, Sums};
use super::facts::Facts;
use super::ipfix::{Ipfix, LARGEST_MESSAGE};
use super::rotating::RotatingFile;
use super::templated::Templated;
use crate::flow::FlowRecord;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
use std::io;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

/// Writes flows to a file.
pub struct IpfixFile {
    file: RotatingFile,
    name: String,
    domain: u32,
    facts: Arc<Facts>,
    counters: Arc<CollectorCounters>,
    encoder: Templated<Ipfix>,
    complete: Vec<Message>,
    /// Whether writing fails until the next pass.
    failed: bool,
    /// Whether that was said.
    warned: bool,
}

impl IpfixFile {
    /// Writes to a file that was begun, as observation domain `domain`; `name` is for the log.
    pub fn new(file: RotatingFile, name: String, domain: u32, told: (Arc<Facts>, Arc<CollectorCounters>)) -> Self {
        let (facts, counters) = told;
        let encoder = Templated::once(Ipfix::new(domain), facts.clone(), counters.clone());
        counters.health.recover();
        Self { file, name, domain, facts, counters, encoder, complete: Vec::new(), failed: false, warned: false }
    }

    /// Encodes a record about these flows, and writes what is complete by it.
    fn take<const N: usize>(
        &mut self,
        flows: [&FlowRecord; N],
        encode: impl FnOnce(&mut Templated<Ipfix>, &mut Vec<Message>) -> bool,
    ) {
        self.counters.given_records.add(1);
        if self.failed {
            return self.counters.count_lost(&Sums::of_one(flows));
        }
        encode(&mut self.encoder, &mut self.complete);
        if !self.complete.is_empty() {
            self.write_complete();
            if self.file.is_due(Timestamp::now()) {
                self.flush();
            }
        }
    }

    fn write_complete(&mut self) {
        if !self.complete.is_empty() && self.file.is_gone() {
            self.fail(&io::Error::other("it was moved or removed"));
            return self.next_file();
        }
        let mut messages = std::mem::take(&mut self.complete).into_iter();
        while let Some(message) = messages.next() {
            if let Err(error) = self.file.append(&message.bytes) {
                self.complete = iter::once(message).chain(messages).collect();
                return self.fail(&error);
            }
            self.counters.count_sent(&message);
            if std::mem::take(&mut self.warned) {
                self.counters.health.recover();
            }
        }
    }

    /// What is encoded is lost: the templates may have been in what could not be written. The next attempt is made with
    /// the next pass.
    fn fail(&mut self, error: &io::Error) {
        self.encoder.finish(&mut self.complete);
        for message in self.complete.drain(..) {
            self.counters.lost_messages.add(1);
            self.counters.count_lost(&message.sums);
        }
        self.encoder.renew_templates();
        self.failed = true;
        self.warn(error, "flows are lost and counted");
    }

    /// The next file is a new session: with templates, and numbers from 0.
    fn next_file(&mut self) {
        match self.file.next(Timestamp::now()) {
            Ok(()) => {
                let (facts, counters) = (self.facts.clone(), self.counters.clone());
                self.encoder = Templated::once(Ipfix::new(self.domain), facts, counters);
            }
            Err(error) => self.warn(&error, "the next file cannot be begun"),
        }
    }

    fn warn(&mut self, error: &io::Error, what: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            let trouble = format!("cannot be written ({error}): {what}");
            log::warn!("{} {trouble}", self.name);
            self.counters.health.fail(&trouble, Timestamp::now());
        }
    }
}

impl Collector for IpfixFile {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn add(&mut self, flow: &FlowRecord, now: Timestamp) {
        self.take([flow], |encoder, complete| encoder.add(flow, now, LARGEST_MESSAGE, complete));
    }

    fn add_biflow(&mut self, forward: &FlowRecord, reverse: &FlowRecord, now: Timestamp) {
        self.take([forward, reverse], |encoder, complete| {
            encoder.add_biflow((forward, reverse), now, LARGEST_MESSAGE, complete)
        });
    }

    fn flush(&mut self) {
        self.encoder.finish(&mut self.complete);
        self.write_complete();
        self.failed = false;
        if self.file.is_due(Timestamp::now()) || self.file.is_gone() {
            self.next_file();
        }
        self.counters.note_health(self.is_well());
    }

    fn settle(&mut self, _: Duration) -> bool {
        true
    }

    fn is_well(&self) -> bool {
        !self.warned
    }

    fn learn(&mut self, facts: &Arc<Facts>) {
        self.encoder.finish(&mut self.complete);
        self.write_complete();
        self.encoder.learn(facts);
        self.facts = facts.clone();
    }

    fn close(&mut self) {}
}
