//! A collector at the end of a connection: IPFIX over SCTP (RFC 7011 section 10.2), TCP (section 10.4), TLS or DTLS
//! (section 11).
//!
//! Such a collector has a thread of its own (`sender`), which connects (`dialer`: `sctp`, `tcp`, `tls`, `dtls`), encodes and
//! writes (`session`), and may have to wait with all of that. The export thread puts records into its `queue`: what comes
//! while there is no connection is sent on the next one, and counted as lost only where the queue overflows.

mod backoff;
mod connection;
mod credentials;
mod dialer;
#[cfg(feature = "dtls")]
mod dtls;
mod queue;
mod sctp;
mod sender;
mod session;
mod tcp;
mod tls;

use super::Collector;
use super::complaint::Complaint;
use super::facts::Facts;
use super::target::{Target, Transport};
use crate::flow::FlowRecord;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
pub use credentials::TlsError;
use dialer::Dialer;
use queue::{Exported, Queue};
use sender::{LAST_ATTEMPTS, Sender};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Records handed over at once.
const SHARE: usize = 256;
/// How long records wait for room in the queue where the flow table has to be looked after meanwhile.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long nobody waits after one has waited in vain.
const IMPATIENCE: Duration = Duration::from_secs(10);
/// How long none of them may be lost before that counts as over.
const ROOM_AGAIN: Duration = Duration::from_secs(60);
/// How often it is looked whether the thread has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Why a collector's thread could not be started; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Certificates do not serve.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The kernel has no SCTP.
    #[error("this kernel has no SCTP: load it with `modprobe sctp`, or use ipfix+tcp://")]
    Sctp,
    /// The system does not give another thread.
    #[error("starting a thread failed: {0}")]
    Thread(#[from] io::Error),
}

/// Whether the files that a collector's URL names can be used.
pub fn check(target: &Target) -> Result<(), TlsError> {
    Dialer::new(target).map(drop)
}

/// The export thread's side of a collector.
pub struct Stream {
    queue: Arc<Queue>,
    counters: Arc<CollectorCounters>,
    thread: Option<JoinHandle<()>>,
    /// Records not yet handed over.
    share: Vec<Exported>,
    /// Records may wait as long as there is a connection: nothing else has to be looked after.
    patient: bool,
    /// Until when they do not wait.
    impatient: Option<Instant>,
    /// What the log calls it.
    name: String,
    /// That its queue overflows.
    full: Complaint,
}

impl Stream {
    /// Starts the thread that speaks to `target` as exporter number `domain`. Records wait if that is `patient`.
    pub fn start(
        target: &Target,
        domain: u32,
        told: (Arc<Facts>, Arc<CollectorCounters>),
        patient: bool,
    ) -> Result<Self, StartError> {
        if target.transport == Transport::Sctp && !sctp::is_known() {
            return Err(StartError::Sctp);
        }
        let dialer = Dialer::new(target)?;
        let queue = Arc::new(Queue::new(target.settings.queue as usize));
        let (name, counters) = (target.to_string(), told.1.clone());
        let sender = Sender::new(target.clone(), dialer, domain, queue.clone(), told);
        let thread = thread::Builder::new().name("collector".to_owned()).spawn(|| sender.run())?;
        let (share, impatient, full) = Default::default();
        Ok(Self { queue, counters, thread: Some(thread), share, patient, impatient, name, full })
    }

    fn take(&mut self, record: Exported) {
        self.counters.given_records.add(1);
        self.share.push(record);
        if self.share.len() == SHARE {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let now = Instant::now();
        let patience = match self.impatient {
            _ if self.patient => Duration::MAX,
            Some(until) if now < until => Duration::ZERO,
            _ => PATIENCE,
        };
        let (lost, waited) = self.queue.put(&mut self.share, patience);
        if lost.records > 0 {
            let trouble = format!(
                "more flows than its queue takes: the oldest of its flows are lost and counted; raise ?queue={}",
                self.queue.limit()
            );
            self.counters.health.note(&trouble, Timestamp::now());
            if self.full.begins(now) {
                log::warn!("{}: {trouble}", self.name);
            }
        } else if self.full.ends_after(ROOM_AGAIN, now) {
            log::info!("{}: its queue has had room for all flows for {} s", self.name, ROOM_AGAIN.as_secs());
        }
        self.counters.count_lost(&lost);
        if waited && !patience.is_zero() {
            self.impatient = Some(now + IMPATIENCE);
        }
    }
}

impl Collector for Stream {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn add(&mut self, flow: &FlowRecord, now: Timestamp) {
        self.take((*flow, None, now));
    }

    fn add_biflow(&mut self, forward: &FlowRecord, reverse: &FlowRecord, now: Timestamp) {
        self.take((*forward, Some(Box::new(*reverse)), now));
    }

    fn flush(&mut self) {
        self.hand_over();
        self.counters.note_health(self.is_well());
        self.counters.queued_records.set(self.queue.waiting() as u64);
        self.counters.queue_limit.set(self.queue.limit() as u64);
    }

    /// It is asked before the first records of a file, and before the last: then there is nothing else to look after.
    fn settle(&mut self, patience: Duration) -> bool {
        self.patient = true;
        self.queue.await_connected(patience)
    }

    fn is_well(&self) -> bool {
        self.queue.connected()
    }

    fn learn(&mut self, facts: &Arc<Facts>) {
        self.hand_over();
        self.queue.tell(facts.clone());
    }

    fn end(&mut self) {
        self.hand_over();
        self.queue.end();
    }

    fn close(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let mut alone_since = Instant::now();
        while !thread.is_finished() {
            let now = Instant::now();
            if self.queue.connected() {
                alone_since = now;
            }
            // a resolver or a handshake can take longer than anybody wants to wait for the end
            if now.duration_since(alone_since) >= 2 * LAST_ATTEMPTS {
                self.counters.count_lost(&self.queue.lose());
                return;
            }
            thread::sleep(LOOK);
        }
    }
}

/// One that was made in vain, as the rest of a change could not be carried out.
impl Drop for Stream {
    fn drop(&mut self) {
        self.queue.end();
    }
}
