//! A probe at work: a capture thread for each NFLOG group, the export thread, and the table between them.

use crate::capture::intake::Intake;
use crate::capture::nflog::{self, LogSocket};
use crate::capture::selectors::Selectors;
use crate::capture::thread::Capture;
use crate::config::{CaptureConfig, ExportConfig};
use crate::export::destination::{Destination, FilePath};
use crate::export::facts::Facts;
use crate::export::ipfix_file::IpfixFile;
use crate::export::json::Json;
use crate::export::lines::Lines;
use crate::export::options::Interface;
use crate::export::readable::Readable;
use crate::export::remote::Remote;
use crate::export::rotating::RotatingFile;
use crate::export::stream::Stream;
use crate::export::stream::tls::{self, TlsError};
use crate::export::target::{Target, Transport};
use crate::export::{Collector, Exporter};
use crate::flow::FlowRecord;
use crate::flow::table::{self, Harvester, NoMemory, Writer};
use crate::interfaces;
use crate::latch::Latch;
use crate::metrics::{CaptureCounters, CollectorCounters, Counter, Metrics};
use crate::time::Timestamp;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// How often the export thread looks for flows that have ended.
pub const TICK: Duration = Duration::from_secs(1);

/// A probe with everything open that needs privileges, but no thread yet.
pub struct Probe {
    sockets: Vec<LogSocket>,
    writers: Vec<Writer>,
    harvester: Harvester,
    export: ExportConfig,
}

/// A probe with its threads.
pub struct RunningProbe {
    captures: Vec<JoinHandle<io::Result<()>>>,
    exporter: JoinHandle<()>,
    stop: Arc<Latch>,
    done: Arc<Latch>,
    metrics: Arc<Metrics>,
    reloads: Arc<Counter>,
}

/// Why a probe could not be started; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A collector cannot be spoken to as it was configured.
    #[error("{0}: {1}")]
    Collector(String, TlsError),
    /// A file cannot be written.
    #[error("{0}: cannot be begun ({1}): its folder has to be writable by the user that the probe becomes, see --user")]
    File(String, io::Error),
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
    /// The flow table does not fit in memory.
    #[error(transparent)]
    Table(#[from] NoMemory),
}

impl Probe {
    /// Binds the groups and allocates the table. Needs CAP_NET_ADMIN.
    pub fn open(capture: &CaptureConfig, export: ExportConfig) -> Result<Self, OpenError> {
        let open = |&group| LogSocket::open(group, capture.snaplen, capture.receive_buffer);
        let sockets = capture.groups.iter().map(open).collect::<Result<Vec<_>, nflog::OpenError>>()?;
        let (writers, harvester) = table::new(export.max_flows, sockets.len())?;
        harvester.populate();
        Ok(Self { sockets, writers, harvester, export })
    }

    /// Starts the threads.
    pub fn start(self) -> Result<RunningProbe, StartError> {
        let stop = Arc::new(Latch::new()?);
        let done = Arc::new(Latch::new()?);
        // the smallest group: two probes on one host have different ones
        let domain = self.sockets.iter().map(LogSocket::group).min().unwrap_or_default();
        let counters: Vec<_> = self.sockets.iter().map(|_| Arc::new(CaptureCounters::default())).collect();
        let selectors = Selectors::default();
        let origin = Origin {
            domain: domain.into(),
            captures: counters,
            selectors: selectors.clone(),
            interfaces: interfaces::list,
            patient: false,
        };
        let (exporter, metrics) = exporter(self.harvester, &self.export, origin)?;
        let reloads = exporter.facts.reloads.clone();
        let metrics = Arc::new(metrics);
        let exporter = start_exporter(exporter, done.clone())?;
        let mut captures = Vec::new();
        for ((socket, writer), counters) in self.sockets.into_iter().zip(self.writers).zip(&metrics.captures) {
            let intake = Intake::new(writer, selectors.of_group(socket.group()), counters.clone());
            let (stop, exporter) = (stop.clone(), exporter.thread().clone());
            captures.push(start_capture(Capture { socket, intake, dropped: 0, stop, exporter })?);
        }
        Ok(RunningProbe { captures, exporter, stop, done, metrics, reloads })
    }
}

impl RunningProbe {
    /// The counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Tells the capture threads to end; the export thread ends after the last of them, when every flow is exported.
    pub fn stop(&self) {
        self.stop.raise();
    }

    /// Has files read again that can have changed: certificates.
    pub fn reload(&self) {
        self.reloads.add(1);
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

/// Where the packets of an exporter's flows come from.
pub struct Origin {
    /// What it is called among the exporters of its host.
    pub domain: u32,
    /// The counters of its sources.
    pub captures: Vec<Arc<CaptureCounters>>,
    /// The rules that selected them.
    pub selectors: Selectors,
    /// Looks up the devices that they came and went by.
    pub interfaces: fn() -> Vec<Interface>,
    /// Whether collectors may keep the exporter waiting, as the packets wait too.
    pub patient: bool,
}

/// Makes the exporter with its collectors, and the list of all counters.
pub fn exporter(
    harvester: Harvester,
    config: &ExportConfig,
    origin: Origin,
) -> Result<(Exporter, Metrics), StartError> {
    let Origin { domain, captures, selectors, interfaces, patient } = origin;
    let mut metrics = Metrics { captures: captures.clone(), ..Metrics::default() };
    let (export, reloads, sampling) = (metrics.export.clone(), Arc::default(), config.sampling.clone());
    let facts = Arc::new(Facts { selectors, sampling, interfaces, captures, export, reloads });
    let mut collectors: Vec<Box<dyn Collector>> = Vec::new();
    for (number, destination) in (0..).zip(&config.destinations) {
        // each has another: two of them may be one program that tells exporters apart by it
        let domain = domain | number << 16;
        let told = (facts.clone(), metrics.add_collector(destination.to_string()));
        collectors.push(match destination {
            Destination::Collector(target) => collector(target, domain, told, (config.export_rate, patient))?,
            Destination::IpfixFile(file) => {
                Box::new(IpfixFile::new(begin(destination, file)?, destination.to_string(), domain, told))
            }
            Destination::JsonFile(file) => json(begin(destination, file)?, destination, told.1),
            Destination::JsonOutput => json(io::stdout(), destination, told.1),
        });
    }
    if collectors.is_empty() {
        let name = "standard output".to_owned();
        let counters = metrics.add_collector(name.clone());
        let mut readable = Readable::for_output();
        let format = Box::new(move |flow: &FlowRecord| readable.line(flow));
        collectors.push(Box::new(Lines::new(io::stdout(), name, format, counters)));
    }
    Ok((Exporter::new(harvester, config.timeouts, collectors, facts), metrics))
}

/// What a collector is told of, and what it was sent.
type Told = (Arc<Facts>, Arc<CollectorCounters>);

fn collector(
    target: &Target,
    domain: u32,
    told: Told,
    (rate, patient): (u32, bool),
) -> Result<Box<dyn Collector>, StartError> {
    let settings = &target.settings;
    let domain = settings.domain.unwrap_or(domain);
    if target.transport == Transport::Udp {
        return Ok(Box::new(Remote::new(target, domain, settings.rate.unwrap_or(rate), told)));
    }
    if target.transport == Transport::Tls {
        tls::configure(target).map_err(|error| StartError::Collector(target.to_string(), error))?;
    }
    Ok(Box::new(Stream::start(target, domain, told, patient)?))
}

fn begin(destination: &Destination, file: &FilePath) -> Result<RotatingFile, StartError> {
    RotatingFile::begin(&file.path, file.rotation, Timestamp::now())
        .map_err(|error| StartError::File(destination.to_string(), error))
}

fn json<W: Write + Send + 'static>(
    out: W,
    destination: &Destination,
    counters: Arc<CollectorCounters>,
) -> Box<dyn Collector> {
    let format = Json::default();
    Box::new(Lines::new(out, destination.to_string(), Box::new(move |flow: &FlowRecord| format.line(flow)), counters))
}

fn start_exporter(mut exporter: Exporter, done: Arc<Latch>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("export".to_owned()).spawn(move || {
        while !exporter.harvester.abandoned() {
            exporter.expire(Timestamp::now());
            thread::park_timeout(TICK);
        }
        exporter.drain(Timestamp::now());
        done.raise();
    })
}

/// A capture thread that fails takes the others with it: half a capture would look like the whole.
fn start_capture(capture: Capture) -> io::Result<JoinHandle<io::Result<()>>> {
    let (stop, exporter): (Arc<Latch>, Thread) = (capture.stop.clone(), capture.exporter.clone());
    thread::Builder::new().name(format!("group-{}", capture.socket.group())).spawn(move || {
        let result = capture.run();
        if result.is_err() {
            stop.raise();
        }
        exporter.unpark();
        result
    })
}
