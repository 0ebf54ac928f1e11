//! The thread of one collector: it connects, and connects again, encodes and writes.

use super::backoff::Backoff;
use super::connection::Connection;
use super::dialer::Dialer;
use super::queue::Queue;
use super::session::Session;
use crate::export::complaint::Complaint;
use crate::export::facts::Facts;
use crate::export::ipfix::Ipfix;
use crate::export::target::Target;
use crate::export::templated::Templated;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
use crate::watch::Progress;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Records encoded at once.
const SHARE: usize = 1024;
/// How often a connection without records is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often it is looked for what was acknowledged, at the end.
const LAST_LOOK: Duration = Duration::from_millis(5);
/// How long the end waits for anything to be acknowledged.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// And for a connection, where there is none.
pub const LAST_ATTEMPTS: Duration = Duration::from_secs(1);
/// The longest wait between attempts to connect at the end.
const LAST_WAIT: Duration = Duration::from_millis(500);
/// How long what is under way may take before another connection is made.
const CHANGING: Duration = Duration::from_secs(5);

/// A collector's thread.
pub struct Sender {
    target: Target,
    domain: u32,
    queue: Arc<Queue>,
    facts: Arc<Facts>,
    counters: Arc<CollectorCounters>,
    dialer: Dialer,
    /// Before the next attempt to connect, since something was sent.
    backoff: Backoff,
    /// That it does not take flows, if its end was not logged.
    trouble: Complaint,
    /// How often the operator had wished that files are read again, when they were last.
    reloads: u64,
    /// When the end is there, unless something is sent before.
    deadline: Option<Instant>,
    /// That this thread gets on.
    progress: Arc<Progress>,
}

/// Why a connection is left in peace.
enum Left {
    /// Everything is sent, and no more will come.
    Ended,
    /// Another is to be made.
    Again,
}

impl Sender {
    pub fn new(
        target: Target,
        dialer: Dialer,
        domain: u32,
        queue: Arc<Queue>,
        told: (Arc<Facts>, Arc<CollectorCounters>),
    ) -> Self {
        let (facts, counters) = told;
        let reloads = facts.reloads.get();
        let (backoff, trouble, deadline) = Default::default();
        let progress = Arc::<Progress>::default();
        facts.watch.add(&format!("collector ({target})"), progress.clone(), || 0);
        Self { target, domain, queue, facts, counters, dialer, backoff, trouble, reloads, deadline, progress }
    }

    /// Until the queue has ended and everything is sent, or cannot be.
    pub fn run(mut self) {
        while let Some(connection) = self.connect() {
            self.facts = self.queue.news().unwrap_or(self.facts);
            let encode = if self.target.transport.loses_messages() { Templated::new } else { Templated::once };
            let encoder = encode(Ipfix::new(self.domain), self.facts.clone(), self.counters.clone());
            let mut session = Session::new(connection, encoder);
            let left = self.serve(&mut session);
            // where another follows at once, nobody has to do without
            if !matches!(left, Ok(Left::Again)) {
                self.queue.set_connected(false);
            }
            // what is not known to have arrived is sent again
            let records = match &left {
                Ok(_) => self.progress.rest(|| session.finish(&self.counters)),
                Err(error) => session.abort(error, &self.counters),
            };
            let unread = !records.is_empty();
            self.counters.count_lost(&self.queue.put_back(records));
            match left {
                Ok(Left::Ended) if !unread => break,
                Ok(_) => {}
                Err(error) => {
                    self.complain(&error);
                    self.pause();
                }
            }
        }
        self.counters.count_lost(&self.queue.lose());
        self.progress.end();
    }

    /// A connection, however long that takes; `None` if the end is there before.
    fn connect(&mut self) -> Option<Box<dyn Connection>> {
        while !self.is_over(LAST_ATTEMPTS) {
            // resolver and collector take their time
            match self.progress.rest(|| self.dialer.open(&self.target)) {
                Ok(connection) => {
                    self.queue.set_connected(true);
                    self.counters.health.recover();
                    return Some(connection);
                }
                Err(error) => {
                    self.queue.set_connected(false);
                    self.counters.connect_failures.add(1);
                    self.complain(&error);
                    self.pause();
                }
            }
        }
        None
    }

    /// Waits before another attempt.
    fn pause(&mut self) {
        let wait = self.backoff.next(chance());
        if self.queue.ended() {
            thread::sleep(wait.min(LAST_WAIT));
        } else {
            self.progress.rest(|| self.queue.rest(wait));
        }
    }

    /// Sends what comes, until there is a reason not to.
    fn serve(&mut self, session: &mut Session) -> io::Result<Left> {
        loop {
            self.progress.turn();
            let ended = self.queue.take(SHARE, LOOK, &mut session.waiting);
            if let Some(facts) = self.queue.news() {
                session.learn(&facts);
                self.facts = facts;
            }
            // a collector may be slow to take it
            self.progress.rest(|| session.send())?;
            self.settle(session)?;
            if ended && session.is_done() && self.queue.finished() {
                return Ok(Left::Ended);
            }
            if self.is_over(LAST_PATIENCE) {
                return Err(io::Error::new(ErrorKind::TimedOut, "it does not take the last records"));
            }
            if self.reloads_files() || session.is_stale(Instant::now()) {
                return self.finish(session);
            }
            if ended {
                thread::sleep(LAST_LOOK);
            }
        }
    }

    /// Waits until what is under way has arrived.
    fn finish(&mut self, session: &mut Session) -> io::Result<Left> {
        let deadline = Instant::now() + CHANGING;
        while !session.is_done() {
            if Instant::now() >= deadline {
                return Err(io::Error::new(ErrorKind::TimedOut, "it does not take what was sent"));
            }
            thread::sleep(LAST_LOOK);
            self.progress.turn();
            self.settle(session)?;
        }
        Ok(Left::Again)
    }

    fn settle(&mut self, session: &mut Session) -> io::Result<()> {
        if session.settle(&self.counters, Instant::now())? {
            self.deadline = None;
            self.backoff = Backoff::default();
            if self.trouble.ends() {
                log::info!("{}: takes flows again", self.target);
            }
        }
        Ok(())
    }

    /// Whether it is in vain to wait any longer.
    fn is_over(&mut self, patience: Duration) -> bool {
        let now = Instant::now();
        self.queue.ended() && now >= *self.deadline.get_or_insert(now + patience)
    }

    /// Whether there are certificates to be used instead of those before. Wrong ones change nothing.
    fn reloads_files(&mut self) -> bool {
        let reloads = self.facts.reloads.get();
        if std::mem::replace(&mut self.reloads, reloads) == reloads || !self.target.transport.is_encrypted() {
            return false;
        }
        match Dialer::new(&self.target) {
            Ok(dialer) => {
                self.dialer = dialer;
                true
            }
            Err(error) => {
                log::error!("{}: {error}; the connection stays as it is", self.target);
                false
            }
        }
    }

    /// Logs trouble when it begins.
    fn complain(&mut self, trouble: &io::Error) {
        let trouble = format!("{trouble}; its flows are kept until it takes them, as far as its queue has room");
        self.counters.health.fail(&trouble, Timestamp::now());
        if self.trouble.begins(Instant::now()) {
            log::warn!("{}: {trouble}", self.target);
        }
    }
}

/// By chance from 0 to 1.
fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
