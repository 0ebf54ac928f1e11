//! Collectors in a thread of their own: what they take to encode and send, nobody else has to wait for.

use super::Collector;
use crate::flow::FlowRecord;
use crate::time::Timestamp;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Records handed over at once.
const SHARE: usize = 256;
/// Tasks that may wait; whoever has another waits too.
const WAITING: usize = 16;

type Collectors = Vec<Box<dyn Collector>>;
type Task = Box<dyn FnOnce(&mut Collectors) + Send>;

/// Hands everything on to a thread, in order.
pub struct Beside {
    tasks: SyncSender<Task>,
    records: Vec<FlowRecord>,
    /// When those are exported.
    now: Timestamp,
}

impl Beside {
    /// Moves collectors to a new thread, and leaves one in their place that hands on to them all.
    pub fn wrap(collectors: &mut Collectors) -> io::Result<()> {
        let (tasks, orders) = sync_channel::<Task>(WAITING);
        let mut inner = std::mem::take(collectors);
        thread::Builder::new()
            .name("export".to_owned())
            .spawn(move || orders.into_iter().for_each(|task| task(&mut inner)))?;
        collectors.push(Box::new(Self { tasks, records: Vec::new(), now: Timestamp::default() }));
        Ok(())
    }

    fn hand_on(&mut self) {
        if !self.records.is_empty() {
            let (records, now) = (std::mem::replace(&mut self.records, Vec::with_capacity(SHARE)), self.now);
            self.order(move |collector| records.iter().for_each(|flow| collector.add(flow, now)));
        }
    }

    /// Has each collector do something.
    fn order(&self, task: impl Fn(&mut dyn Collector) + Send + 'static) {
        // fails only where the thread has panicked
        let _ = self.tasks.send(Box::new(move |inner| inner.iter_mut().for_each(|collector| task(&mut **collector))));
    }

    /// Has something done, and waits for what comes of it.
    fn ask<T: Send + 'static>(&self, task: impl FnOnce(&mut Collectors) -> T + Send + 'static) -> Option<T> {
        let (answer, answers) = sync_channel(1);
        let _ = self.tasks.send(Box::new(move |inner| {
            let _ = answer.send(task(inner));
        }));
        answers.recv().ok()
    }
}

impl Collector for Beside {
    fn name(&self) -> String {
        self.ask(|inner| inner.iter().map(|collector| collector.name()).collect::<Vec<_>>().join(", "))
            .unwrap_or_default()
    }

    fn add(&mut self, flow: &FlowRecord, now: Timestamp) {
        if now != self.now {
            self.hand_on();
            self.now = now;
        }
        self.records.push(*flow);
        if self.records.len() == SHARE {
            self.hand_on();
        }
    }

    fn tick(&mut self, now: Timestamp) {
        self.hand_on();
        self.order(move |collector| collector.tick(now));
    }

    fn flush(&mut self) {
        self.hand_on();
        self.order(|collector| collector.flush());
    }

    fn settle(&mut self, patience: Duration) -> bool {
        let settled = self.ask(move |inner| {
            let mut all = true;
            inner.iter_mut().for_each(|collector| all &= collector.settle(patience));
            all
        });
        settled.unwrap_or(false)
    }

    fn is_well(&self) -> bool {
        self.ask(|inner| inner.iter().all(|collector| collector.is_well())).unwrap_or(false)
    }

    fn end(&mut self) {
        self.hand_on();
        self.order(|collector| collector.end());
    }

    fn close(&mut self) {
        self.hand_on();
        self.ask(|inner| inner.iter_mut().for_each(|collector| collector.close()));
    }
}
