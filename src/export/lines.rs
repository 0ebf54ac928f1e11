//! Flows as lines of text, one each, to standard output or a file.

use super::Collector;
use super::encoder::Sums;
use super::facts::Facts;
use crate::flow::FlowRecord;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

/// Lines are written when there are this many octets of them, or when they are asked for.
const BUFFER: usize = 64 << 10;

/// How flows are written, without the end of the line.
pub trait Format: Send {
    /// One of them.
    fn line(&mut self, flow: &FlowRecord) -> String;

    /// Both directions of a conversation on one line, that of who began first; `None` where each has its own.
    fn biflow_line(&mut self, _forward: &FlowRecord, _reverse: &FlowRecord) -> Option<String> {
        None
    }

    /// Goes on with these facts.
    fn learn(&mut self, _facts: &Facts) {}

    /// A second has gone by.
    fn tick(&mut self) {}
}

/// Writes flows as text.
pub struct Lines<W, F> {
    out: W,
    /// For the log.
    name: String,
    format: F,
    counters: Arc<CollectorCounters>,
    /// Lines not yet written.
    text: Vec<u8>,
    /// What is in each of them.
    flows: Vec<Sums>,
    /// Whether it was said that writing fails.
    warned: bool,
}

impl<W: Write + Send, F: Format> Lines<W, F> {
    /// To `out`, which need not be buffered and is called `name`.
    pub fn new(out: W, name: String, format: F, counters: Arc<CollectorCounters>) -> Self {
        counters.health.recover();
        Self { out, name, format, counters, text: Vec::with_capacity(BUFFER), flows: Vec::new(), warned: false }
    }

    fn push(&mut self, line: String, flows: Sums) {
        self.counters.given_records.add(1);
        self.text.extend(line.into_bytes());
        self.text.push(b'\n');
        self.flows.push(flows);
        if self.text.len() >= BUFFER {
            self.write_out();
        }
    }

    /// Writes the text. Whatever lines do not get out are lost.
    fn write_out(&mut self) {
        let mut written = 0;
        let mut result = Ok(());
        while written < self.text.len() && result.is_ok() {
            match self.out.write(&self.text[written..]) {
                Ok(0) => result = Err(ErrorKind::WriteZero.into()),
                Ok(octets) => written += octets,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
        }
        let whole = lines(&self.text[..written]);
        self.counters.records.add(whole as u64);
        self.flows.drain(..).skip(whole).for_each(|flow| self.counters.count_lost(&flow));
        self.text.clear();
        if self.warned && result.is_ok() {
            self.warned = false;
            self.counters.health.recover();
        }
        if let Err(error) = result.and_then(|()| self.out.flush())
            && !self.warned
        {
            let trouble = format!("cannot be written ({error}): flows are lost and counted");
            log::warn!("{} {trouble}", self.name);
            self.counters.health.fail(&trouble, Timestamp::now());
            self.warned = true;
        }
    }
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|octet| **octet == b'\n').count()
}

impl<W: Write + Send, F: Format> Collector for Lines<W, F> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn add(&mut self, flow: &FlowRecord, _: Timestamp) {
        let line = self.format.line(flow);
        self.push(line, Sums::of_one([flow]));
    }

    fn add_biflow(&mut self, forward: &FlowRecord, reverse: &FlowRecord, now: Timestamp) {
        match self.format.biflow_line(forward, reverse) {
            Some(line) => self.push(line, Sums::of_one([forward, reverse])),
            None => {
                self.add(forward, now);
                self.add(reverse, now);
            }
        }
    }

    fn tick(&mut self, _: Timestamp) {
        self.format.tick();
    }

    fn flush(&mut self) {
        self.write_out();
        self.counters.note_health(self.is_well());
    }

    fn settle(&mut self, _: Duration) -> bool {
        true
    }

    fn is_well(&self) -> bool {
        !self.warned
    }

    fn learn(&mut self, facts: &Arc<Facts>) {
        self.format.learn(facts);
    }

    fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;

    /// Takes so many octets, and no more.
    struct Short(usize);

    impl Write for Short {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            match self.0.min(octets.len()) {
                0 => Err(ErrorKind::StorageFull.into()),
                taken => {
                    self.0 -= taken;
                    Ok(taken)
                }
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct Ten;

    impl Format for Ten {
        fn line(&mut self, _: &FlowRecord) -> String {
            "ten octets".to_owned()
        }
    }

    #[test]
    fn lines_that_did_not_get_out_whole_are_lost() {
        let counters = Arc::new(CollectorCounters::default());
        let mut lines = Lines::new(Short(2 * 11 + 10), String::new(), Ten, counters.clone());
        (0..5).for_each(|_| lines.add(&record(), Timestamp::default()));
        lines.flush();
        assert_eq!((counters.records.get(), counters.lost_records.get()), (2, 3));
        lines.add(&record(), Timestamp::default());
        lines.flush();
        assert_eq!((counters.records.get(), counters.lost_records.get()), (2, 4));
    }
}
