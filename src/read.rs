//! `nfweir read`: captures through the same table and exporters, in one thread, by the captures' own time.

use crate::capture::Captured;
use crate::capture::pcap::{CaptureError, CaptureReader};
use crate::capture::tally::Tally;
use crate::config::ExportConfig;
use crate::export::Exporter;
use crate::flow::table::{self, NoMemory, Writer};
use crate::metrics::{CaptureCounters, CollectorCounters, Metrics};
use crate::probe::{self, TICK};
use crate::time::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    #[error("{path}: {1}; the flows up to there were exported", path = .0.display())]
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
    /// A collector cannot be spoken to.
    #[error("{0} cannot be reached: check its name, its address and the route to it")]
    Unreachable(String),
}

/// Reads the files one after the other, as one stream of packets, `-` being standard input. A damaged file gives its flows
/// up to the damage; the next are read all the same.
pub fn read(files: &[PathBuf], config: &ExportConfig) -> Result<Arc<Metrics>, Vec<ReadError>> {
    let (mut writers, harvester) = table::new(config.max_flows, 1).map_err(|error| vec![error.into()])?;
    let counters = Arc::new(CaptureCounters::default());
    let (exporter, metrics) = probe::exporter(harvester, config, 0, vec![counters.clone()]);
    let batch = BATCH.min(config.max_flows / 16).max(1);
    let writer = writers.remove(0);
    let mut replay = Replay { writer, exporter, counters, batch, clock: Timestamp::default(), latest_tick: None };
    replay.wait_for_collectors(&metrics).map_err(|error| vec![error])?;
    let mut errors: Vec<_> = files.iter().filter_map(|file| replay.file(file).err()).collect();
    replay.exporter.expire(replay.clock);
    replay.exporter.drain(replay.clock);
    metrics.to_string().lines().for_each(|line| log::info!("{line}"));
    errors.extend(metrics.collectors.iter().filter_map(undelivered));
    if errors.is_empty() { Ok(Arc::new(metrics)) } else { Err(errors) }
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
}

impl Replay {
    fn wait_for_collectors(&mut self, metrics: &Metrics) -> Result<(), ReadError> {
        for (collector, (name, _)) in self.exporter.collectors.iter_mut().zip(&metrics.collectors) {
            if !collector.settle(PATIENCE) {
                return Err(ReadError::Unreachable(name.clone()));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), ReadError> {
        let (input, progress): (Box<dyn Read>, _) = if path == Path::new("-") {
            (Box::new(io::stdin()), progress(None))
        } else {
            let file = File::open(path).map_err(|error| ReadError::Open(path.to_owned(), error))?;
            let length = file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len());
            (Box::new(file), progress(length))
        };
        let damaged = |error| ReadError::Damaged(path.to_owned(), error);
        let mut reader = CaptureReader::open(input).map_err(damaged)?;
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
