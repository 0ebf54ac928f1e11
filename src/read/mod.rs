//! `nfweir read`: captures through the same table and exporters, in one thread, by the captures' own time.
//!
//! The main thread waits for signals meanwhile.

use crate::capture::Captured;
use crate::capture::pcap::{CaptureError, CaptureReader};
use crate::capture::tally::Tally;
use crate::config::ExportConfig;
use crate::daemon::{self, Interrupted};
use crate::export::Exporter;
use crate::flow::table::{self, NoMemory, Writer};
use crate::latch::Latch;
use crate::metrics::{CaptureCounters, CollectorCounters, Metrics};
use crate::probe::{self, TICK};
use crate::signals::Signals;
use crate::time::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a collector's name may take to be resolved.
const PATIENCE: Duration = Duration::from_secs(10);
/// Packets between looks at the table's room and the progress bar, where the table is large.
const BATCH: u32 = 256;
/// Packets between updates of the progress bar.
const PROGRESS_EVERY: u64 = 1 << 16;

/// Why not all could be read; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file could not be opened.
    #[error("{path}: {1}", path = .0.display())]
    Open(PathBuf, io::Error),
    /// A file is damaged; what came before was exported.
    #[error("{path}: {1}{rest}", path = .0.display(), rest = what_was_exported(.1))]
    Damaged(PathBuf, CaptureError),
    /// The flow table does not fit in memory.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
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
    #[error("{0} cannot be reached: check its name, its address and the route to it")]
    Unreachable(String),
}

/// Reads the files one after the other, as one stream of packets, `-` being standard input. A damaged file gives its flows
/// up to the damage; the next are read all the same. A signal ends the reading, but not before every flow is exported.
pub fn read(files: Vec<PathBuf>, config: &ExportConfig) -> Result<(), Vec<ReadError>> {
    let failed = |what| move |error| vec![ReadError::System(what, error)];
    let mut signals = Signals::block().map_err(failed("blocking signals"))?;
    let stop = Arc::new(Latch::new().map_err(failed("making a latch"))?);
    let done = Arc::new(Latch::new().map_err(failed("making a latch"))?);
    let (replay, metrics) = Replay::new(config, stop.clone()).map_err(|error| vec![error.into()])?;
    let metrics = Arc::new(metrics);
    let reader = start_reader(replay, files, metrics.clone(), done.clone()).map_err(failed("starting a thread"))?;
    if let Err(interrupted) = daemon::wait(&mut signals, &done, &metrics, || stop.raise()) {
        daemon::account(&metrics);
        return Err(vec![interrupted.into()]);
    }
    let mut errors = reader.join().unwrap_or_else(|_| vec![ReadError::Died]);
    if errors.is_empty() || metrics.captured().packets.get() > 0 {
        daemon::account(&metrics);
    }
    errors.extend(metrics.collectors.iter().filter_map(undelivered));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The thread that reads and exports; it gives what went wrong.
fn start_reader(
    mut replay: Replay,
    files: Vec<PathBuf>,
    metrics: Arc<Metrics>,
    done: Arc<Latch>,
) -> io::Result<JoinHandle<Vec<ReadError>>> {
    thread::Builder::new().name("read".to_owned()).spawn(move || {
        let errors = replay.all(&files, &metrics);
        done.raise();
        errors
    })
}

fn what_was_exported(error: &CaptureError) -> &'static str {
    if error.packets > 0 { "; the flows up to there were exported" } else { "" }
}

/// What kept a collector from having everything, as far as is known.
fn undelivered((name, counters): &(String, Arc<CollectorCounters>)) -> Option<ReadError> {
    match (counters.lost_records.get(), counters.refusals.get()) {
        (0, 0) => None,
        (0, refusals) => Some(ReadError::Refused(name.clone(), refusals)),
        (lost, _) => Some(ReadError::Lost(name.clone(), lost)),
    }
}

struct Replay {
    writer: Writer,
    exporter: Exporter,
    counters: Arc<CaptureCounters>,
    /// Packets counted between looks at the table: few enough that it cannot fill up in between.
    batch: u32,
    /// The latest time that a packet had.
    clock: Timestamp,
    /// When flows were last looked through.
    latest_tick: Option<Timestamp>,
    /// Raised when the reading should end.
    stop: Arc<Latch>,
}

impl Replay {
    fn new(config: &ExportConfig, stop: Arc<Latch>) -> Result<(Self, Metrics), NoMemory> {
        let (mut writers, harvester) = table::new(config.max_flows, 1)?;
        let counters = Arc::new(CaptureCounters::default());
        let (exporter, metrics) = probe::exporter(harvester, config, 0, vec![counters.clone()]);
        let batch = BATCH.min(config.max_flows / 16).max(1);
        let (writer, clock) = (writers.remove(0), Timestamp::default());
        Ok((Self { writer, exporter, counters, batch, clock, latest_tick: None, stop }, metrics))
    }

    /// Reads and exports everything.
    fn all(&mut self, files: &[PathBuf], metrics: &Metrics) -> Vec<ReadError> {
        if let Err(error) = self.wait_for_collectors(metrics) {
            return vec![error];
        }
        let mut errors = Vec::new();
        for file in files {
            if self.stop.is_raised() {
                errors.push(ReadError::Unread(file.clone()));
            } else {
                errors.extend(self.file(file).err());
            }
        }
        self.exporter.expire(self.clock);
        self.exporter.drain(self.clock);
        errors
    }

    fn wait_for_collectors(&mut self, metrics: &Metrics) -> Result<(), ReadError> {
        for (collector, (name, _)) in self.exporter.collectors.iter_mut().zip(&metrics.collectors) {
            if !collector.settle(PATIENCE) {
                return Err(ReadError::Unreachable(name.clone()));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), ReadError> {
        let open = || match path == Path::new("-") {
            true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            false => File::open(path),
        };
        let file = open().map_err(|error| ReadError::Open(path.to_owned(), error))?;
        let length = file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len());
        let progress = progress(length);
        let damaged = |error| ReadError::Damaged(path.to_owned(), error);
        let mut reader = CaptureReader::open(Input { file, stop: self.stop.clone() }).map_err(damaged)?;
        let result = self.packets(&mut reader, &progress).map_err(damaged);
        progress.finish_and_clear();
        for (link, frames) in reader.unreadable_links() {
            log::warn!(
                "{}: {frames} frames of link type {link}, which cannot be read, count as not IP",
                path.display()
            );
        }
        result
    }

    fn packets(&mut self, reader: &mut CaptureReader<impl Read>, progress: &ProgressBar) -> Result<(), CaptureError> {
        let mut packets = 0;
        loop {
            let more = self.batch(reader);
            packets += u64::from(self.batch);
            if packets >= PROGRESS_EVERY {
                packets = 0;
                progress.set_position(reader.position());
            }
            if !more? {
                return Ok(());
            }
            if self.writer.crowded() {
                self.exporter.expire(self.clock);
            }
        }
    }

    /// Counts a batch of packets, and where a tick of the capture's clock is due, ends flows before the packet that brings
    /// it: its flow may have ended in a gap of the capture. False at the end.
    fn batch(&mut self, reader: &mut CaptureReader<impl Read>) -> Result<bool, CaptureError> {
        let mut tally = Tally::default();
        let mut table = self.writer.enter();
        let mut result = Ok(true);
        for _ in 0..self.batch {
            let packet: Captured<'_> = match reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => {
                    result = Ok(false);
                    break;
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            self.clock = self.clock.max(packet.time);
            let tick = self.latest_tick.get_or_insert(self.clock);
            if self.clock.since(*tick) >= TICK {
                *tick = self.clock;
                std::mem::take(&mut tally).settle_into(&self.counters, table.finish());
                self.exporter.expire(self.clock);
                table = self.writer.enter();
            }
            tally.count(&mut table, &packet);
        }
        tally.settle_into(&self.counters, table.finish());
        result
    }
}

/// A file or a pipe, which a stop cuts short though nothing may come by it.
struct Input {
    file: File,
    stop: Arc<Latch>,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut awaited = [self.file.as_fd(), self.stop.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut awaited, PollTimeout::NONE)?;
        if self.stop.is_raised() {
            return Err(io::Error::other("a signal ended the reading"));
        }
        self.file.read(buffer)
    }
}

/// A bar on a terminal, for a file of `length` octets or for one whose end is not known; nothing elsewhere.
fn progress(length: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
