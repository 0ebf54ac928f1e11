//! Flows in a file of IPFIX messages (RFC 5655): each file has its templates and options, and is read on its own.

use super::Collector;
use super::encoder::{Encoder, Message};
use super::facts::Facts;
use super::ipfix::Ipfix;
use super::rotating::RotatingFile;
use super::templated::Templated;
use crate::flow::FlowRecord;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Octets of a message at most.
const LARGEST_MESSAGE: usize = 8192;

/// Writes flows to a file.
pub struct IpfixFile {
    file: RotatingFile,
    name: String,
    domain: u32,
    facts: Arc<Facts>,
    counters: Arc<CollectorCounters>,
    encoder: Templated<Ipfix>,
    complete: Vec<Message>,
    /// Whether it was said that writing fails.
    warned: bool,
}

impl IpfixFile {
    /// Writes to a file that was begun, as observation domain `domain`; `name` is for the log.
    pub fn new(file: RotatingFile, name: String, domain: u32, told: (Arc<Facts>, Arc<CollectorCounters>)) -> Self {
        let (facts, counters) = told;
        let encoder = Templated::once(Ipfix::new(domain), facts.clone(), counters.clone());
        Self { file, name, domain, facts, counters, encoder, complete: Vec::new(), warned: false }
    }

    fn write_complete(&mut self) {
        for message in std::mem::take(&mut self.complete) {
            match self.file.write_all(&message.bytes) {
                Ok(()) => self.counters.count_sent(&message),
                Err(error) => {
                    self.counters.lost_messages.add(1);
                    self.counters.count_lost(&message.sums);
                    self.warn(&error);
                    // the templates may have been in it
                    self.encoder.renew_templates();
                }
            }
        }
    }

    /// The next file is a new session: with templates, and numbers from 0.
    fn rotate(&mut self) {
        match self.file.rotate(Timestamp::now()) {
            Ok(false) => {}
            Ok(true) => {
                let (facts, counters) = (self.facts.clone(), self.counters.clone());
                self.encoder = Templated::once(Ipfix::new(self.domain), facts, counters);
            }
            Err(error) => self.warn(&error),
        }
    }

    fn warn(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.warned, true) {
            log::warn!("{} cannot be written ({error}): flows are lost and counted", self.name);
        }
    }
}

impl Collector for IpfixFile {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn add(&mut self, flow: &FlowRecord, now: Timestamp) {
        self.counters.given_records.add(1);
        self.encoder.add(flow, now, LARGEST_MESSAGE, &mut self.complete);
        if !self.complete.is_empty() {
            self.write_complete();
        }
    }

    fn flush(&mut self) {
        self.encoder.finish(&mut self.complete);
        self.write_complete();
        self.rotate();
    }

    fn settle(&mut self, _: Duration) -> bool {
        true
    }

    fn is_well(&self) -> bool {
        true
    }

    fn close(&mut self) {}
}
