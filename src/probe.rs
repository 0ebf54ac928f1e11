//! A probe at work: a capture thread for each NFLOG group, the export thread, and the table between them.

use crate::capture::intake::Intake;
use crate::capture::nap::Nap;
use crate::capture::nflog::{self, LogSocket, Wish};
use crate::capture::selectors::Selectors;
use crate::capture::thread::Capture;
use crate::collectors::{self, CollectorError, Origin, Outfit, Prepared};
use crate::config::{CaptureConfig, ExportConfig};
use crate::conntrack::{self, Conntrack, Tracker};
use crate::export::Exporter;
use crate::flow::table::{self, Harvester, Keeps, NoMemory, Writer};
use crate::health::Health;
use crate::interfaces;
use crate::latch::Latch;
use crate::metrics::{Counter, Metrics};
use crate::overseer::{self, Overseer, Tasks};
use crate::time::Timestamp;
use crate::watch::{Progress, Watch};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How often the export thread looks for flows that have ended.
pub const TICK: Duration = Duration::from_secs(1);

/// A probe with everything open that needs privileges, but no thread yet.
pub struct Probe {
    sockets: Vec<LogSocket>,
    writers: Vec<Writer>,
    harvester: Harvester,
    tracker: Option<Box<dyn Tracker>>,
    export: ExportConfig,
}

/// A probe with its threads.
pub struct RunningProbe {
    captures: Vec<JoinHandle<io::Result<()>>>,
    exporter: JoinHandle<()>,
    done: Arc<Latch>,
    reloads: Arc<Counter>,
    watch: Arc<Watch>,
    outfit: Mutex<Outfit>,
    overseer: Overseer,
}

/// Why a probe could not be started; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Flows cannot be exported as it was configured.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The system does not give what it takes.
    #[error("starting threads failed: {0}")]
    System(#[from] io::Error),
}

/// Why a probe could not be opened; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A group could not be bound.
    #[error(transparent)]
    Group(#[from] nflog::OpenError),
    /// Connection tracking cannot be asked.
    #[error(transparent)]
    Connections(#[from] conntrack::OpenError),
    /// The flow table does not fit in memory.
    #[error(transparent)]
    Table(#[from] NoMemory),
}

impl Probe {
    /// Binds the groups, allocates the table, and asks for a first connection where records tell of those. Needs CAP_NET_ADMIN.
    pub fn open(capture: &CaptureConfig, export: ExportConfig) -> Result<Self, OpenError> {
        let &CaptureConfig { snaplen, receive_buffer, .. } = capture;
        let wish = Wish { snaplen, receive_buffer, connections: export.fields.tell_nat() };
        let open = |&group| LogSocket::open(group, &wish);
        let sockets = capture.groups.iter().map(open).collect::<Result<Vec<_>, nflog::OpenError>>()?;
        let connections = sockets.iter().any(LogSocket::tells_connections);
        let keeps = Keeps { details: export.fields.need_details(), connections };
        let (writers, harvester) = table::keeping(export.max_flows, sockets.len(), keeps)?;
        harvester.populate();
        let tracker: Option<Box<dyn Tracker>> =
            if wish.connections { Some(Box::new(Conntrack::open()?)) } else { None };
        if wish.connections && !connections {
            log::info!("this kernel does not tell connections with packets: those of flows are looked up at their end");
        }
        Ok(Self { sockets, writers, harvester, tracker, export })
    }

    /// Starts the threads.
    pub fn start(self) -> Result<RunningProbe, StartError> {
        let stop = Arc::new(Latch::new()?);
        let done = Arc::new(Latch::new()?);
        // the smallest group: two probes on one host have different ones
        let domain = self.sockets.iter().map(LogSocket::group).min().unwrap_or_default();
        let captures = self.sockets.iter().map(|socket| (Some(socket.group()), Arc::default())).collect();
        let selectors = Selectors::default();
        let origin = Origin {
            domain: domain.into(),
            captures,
            selectors: selectors.clone(),
            interfaces: interfaces::list,
            tracker: self.tracker,
            patient: false,
        };
        let (exporter, metrics) = collectors::exporter(self.harvester, &self.export, origin)?;
        let (reloads, watch) = (exporter.facts.reloads.clone(), exporter.facts.watch.clone());
        let metrics = Arc::new(metrics);
        let outfit = Outfit::new(&self.export, domain.into(), exporter.facts.clone(), metrics.clone());
        let (orders, tasks) = overseer::tasks();
        let exporter = start_exporter(exporter, tasks, metrics.clone(), done.clone())?;
        let overseer = Overseer::new(metrics, stop.clone(), orders, exporter.thread().clone());
        let mut captures = Vec::new();
        let groups = self.sockets.len() as u32;
        for ((socket, writer), (_, counters)) in
            self.sockets.into_iter().zip(self.writers).zip(&overseer.metrics.captures)
        {
            let nap = Nap::new((socket.room() / 4).min(writer.reserve() / groups), Instant::now());
            let intake =
                Intake::new(writer.keyed(&self.export.key), selectors.of_group(socket.group()), counters.clone());
            let (stop, exporter, progress) = (stop.clone(), exporter.thread().clone(), Arc::<Progress>::default());
            watch.add(&format!("group-{}", socket.group()), progress.clone(), || 0);
            captures.push(start_capture(Capture { socket, intake, dropped: 0, nap, stop, exporter, progress })?);
        }
        let outfit = Mutex::new(outfit);
        Ok(RunningProbe { captures, exporter, done, reloads, watch, outfit, overseer })
    }
}

impl RunningProbe {
    /// The counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.overseer.metrics
    }

    /// For other threads.
    pub fn overseer(&self) -> &Overseer {
        &self.overseer
    }

    /// As [`Overseer::stop`].
    pub fn stop(&self) {
        self.overseer.stop();
    }

    /// Has files read again that can have changed: certificates.
    pub fn reload(&self) {
        self.reloads.add(1);
    }

    /// The threads that have to get on.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Makes ready what it takes to export as `config` says. Nothing changes by that.
    pub fn prepare(&self, config: &ExportConfig) -> Result<Prepared, CollectorError> {
        self.outfit().prepare(config)
    }

    /// Has the export thread go on by that, after the pass that it is at.
    pub fn carry_out(&self, prepared: Prepared) {
        let change = self.outfit().carry_out(prepared);
        // refused only where the export thread has ended, which then exports nothing more
        let _ = self.overseer.insist(Box::new(|exporter| exporter.change(change)));
    }

    fn outfit(&self) -> MutexGuard<'_, Outfit> {
        self.outfit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raised when the export thread has ended.
    pub fn done(&self) -> &Latch {
        &self.done
    }

    /// Waits for the end of all threads, and gives the first error that a capture thread met.
    pub fn join(self) -> io::Result<()> {
        let died = |_| io::Error::other("a thread of the probe panicked");
        let results: Vec<_> = self.captures.into_iter().map(|thread| thread.join().map_err(died)).collect();
        self.exporter.join().map_err(died)?;
        results.into_iter().try_for_each(|result| result?)
    }
}

fn start_exporter(
    mut exporter: Exporter,
    tasks: Tasks,
    metrics: Arc<Metrics>,
    done: Arc<Latch>,
) -> io::Result<JoinHandle<()>> {
    let (progress, mut health) = (Arc::<Progress>::default(), Health::new(metrics.clone(), Instant::now()));
    // a pass lasts as long as the paced messages do, those without flows included
    let exported = move || metrics.export.flows.get() + metrics.collectors.messages();
    exporter.facts.watch.add("export", progress.clone(), exported);
    thread::Builder::new().name("export".to_owned()).spawn(move || {
        while !exporter.harvester.abandoned() {
            progress.turn();
            tasks.work(&mut exporter, &progress);
            exporter.note_fill();
            health.tell(Instant::now());
            exporter.expire(Timestamp::now());
            tasks.work_until(Instant::now() + TICK, &mut exporter, &progress);
        }
        tasks.work(&mut exporter, &progress);
        // collectors may keep it waiting now, as nothing else is to be done
        progress.rest(|| exporter.drain(Timestamp::now()));
        progress.end();
        done.raise();
    })
}

/// A capture thread that fails takes the others with it: half a capture would look like the whole.
fn start_capture(capture: Capture) -> io::Result<JoinHandle<io::Result<()>>> {
    let (stop, exporter): (Arc<Latch>, Thread) = (capture.stop.clone(), capture.exporter.clone());
    thread::Builder::new().name(format!("group-{}", capture.socket.group())).spawn(move || {
        let progress = capture.progress.clone();
        let result = capture.run();
        progress.end();
        if result.is_err() {
            stop.raise();
        }
        exporter.unpark();
        result
    })
}
