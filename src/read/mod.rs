//! `nfweir read`: captures through the same table and exporters, by the captures' own time.
//!
//! ```text
//! file ──▶ source ────────▶ replay ───────────────▶ export::beside ──▶ collectors
//!          read, decode     count, end flows        encode, send
//! ```
//!
//! Each of the three is a thread, and all that goes from one to the next goes in the order of the captures: the same files
//! give the same records on every machine. The main thread waits for signals meanwhile.

mod replay;
mod source;

use crate::capture::pcap::CaptureError;
use crate::collectors::CollectorError;
use crate::config::ExportConfig;
use crate::daemon::{self, Interrupted};
use crate::flow::table::NoMemory;
use crate::latch::Latch;
use crate::metrics::CollectorEntry;
use crate::service::Watchdog;
use crate::signals::Signals;
use replay::Replay;
use source::Source;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Why not all could be read; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file could not be opened.
    #[error("{path} cannot be opened ({1}): check its name, and who may read it", path = .0.display())]
    Open(PathBuf, io::Error),
    /// A file is damaged; what came before was exported.
    #[error("{path}: {1}{rest}", path = .0.display(), rest = what_was_exported(.1))]
    Damaged(PathBuf, CaptureError),
    /// The flow table does not fit in memory.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
    /// A collector cannot be spoken to, or no thread be started.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// Not all records could be sent or written.
    #[error("{0}: {1} flow records could not be sent and are lost")]
    Lost(String, u64),
    /// Messages were sent, but did not arrive.
    #[error("{0}: messages did not arrive, as was answered {1} times: start the collector, and read again")]
    Refused(String, u64),
    /// The operator would not wait.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A signal came before its turn.
    #[error("{path}: not read, as a signal ended the reading", path = .0.display())]
    Unread(PathBuf),
    /// A system call failed that nothing can be done without.
    #[error("{0} failed: {1}")]
    System(&'static str, io::Error),
    /// This program has a bug.
    #[error("the reading thread panicked")]
    Died,
    /// A collector cannot be spoken to.
    #[error("{0} cannot be reached: check its name, its address, the route to it, and the settings in its URL")]
    Unreachable(String),
}

/// Reads the files one after the other, as one stream of packets, `-` being standard input. A damaged file gives its flows
/// up to the damage; the next are read all the same. A signal ends the reading, but not before every flow is exported.
pub fn read(files: Vec<PathBuf>, config: &ExportConfig) -> Result<(), Vec<ReadError>> {
    let failed = |what| move |error| vec![ReadError::System(what, error)];
    let signals = Signals::block().map_err(failed("blocking signals"))?;
    let stop = Arc::new(Latch::new().map_err(failed("making a latch"))?);
    let done = Arc::new(Latch::new().map_err(failed("making a latch"))?);
    let (replay, metrics) = Replay::new(config).map_err(|error| vec![error])?;
    let metrics = Arc::new(metrics);
    let source = Source::new(files, stop.clone(), config.fields.need_details());
    let reader = start(replay, source, done.clone()).map_err(failed("starting a thread"))?;
    if let Err(interrupted) =
        daemon::wait(signals, &done, &metrics, &mut Watchdog::new(Arc::default()), |_| stop.raise())
    {
        daemon::account(&metrics);
        return Err(vec![interrupted.into()]);
    }
    let mut errors = reader.join().unwrap_or_else(|_| vec![ReadError::Died]);
    if errors.is_empty() || metrics.captured().packets.get() > 0 {
        daemon::account(&metrics);
    }
    errors.extend(metrics.collectors.all().iter().filter_map(undelivered));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The thread that counts, which starts the other two; it gives what went wrong.
fn start(mut replay: Replay, source: Source, done: Arc<Latch>) -> io::Result<JoinHandle<Vec<ReadError>>> {
    thread::Builder::new().name("count".to_owned()).spawn(move || {
        let errors = replay.all(source);
        done.raise();
        errors
    })
}

fn what_was_exported(error: &CaptureError) -> &'static str {
    if error.packets > 0 { "; the flows up to there were exported" } else { "" }
}

/// What kept a collector from having everything, as far as is known.
fn undelivered(CollectorEntry { name, counters, .. }: &CollectorEntry) -> Option<ReadError> {
    match (counters.lost_records.get(), counters.refusals.get()) {
        (0, 0) => None,
        (0, refusals) => Some(ReadError::Refused(name.clone(), refusals)),
        _ => Some(ReadError::Lost(name.clone(), counters.missing_records())),
    }
}
