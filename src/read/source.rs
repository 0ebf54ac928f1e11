//! The thread that reads files and decodes packets, ahead of the one that counts.

use super::ReadError;
use crate::capture::pcap::{CaptureError, CaptureReader};
use crate::capture::tally::Tally;
use crate::flow::{FlowKey, Sighting};
use crate::latch::Latch;
use crate::packet::details::Details;
use crate::probe::TICK;
use crate::time::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

/// Packets handed over at once: so many that waking the other thread costs little, so few that they stay in the cache.
const STRETCH: usize = 4096;
/// Stretches that wait to be counted.
const AHEAD: usize = 4;

/// Some packets in a row.
#[derive(Default)]
pub struct Stretch {
    /// A second or more has passed since the last tick: the time of the first packet.
    pub tick: Option<Timestamp>,
    pub packets: Vec<(FlowKey, Sighting)>,
    /// The details of each, where they are kept.
    pub details: Vec<Details>,
    /// The packets between them that are in no flow.
    pub tally: Tally,
    /// The latest time that a packet up to the last of these had.
    pub clock: Timestamp,
}

/// Files to be read one after the other, as one stream of packets, `-` being standard input.
pub struct Source {
    files: Vec<PathBuf>,
    /// Raised when the reading should end.
    stop: Arc<Latch>,
    /// Whether records say details.
    keeps_details: bool,
}

/// The counting thread's end.
pub struct Reading {
    stretches: Receiver<Stretch>,
    used: Sender<Stretch>,
    current: Stretch,
    thread: JoinHandle<Vec<ReadError>>,
}

impl Source {
    pub fn new(files: Vec<PathBuf>, stop: Arc<Latch>, keeps_details: bool) -> Self {
        Self { files, stop, keeps_details }
    }

    /// Starts the thread.
    pub fn start(self) -> io::Result<Reading> {
        let (sink, stretches) = sync_channel(AHEAD);
        let (used, empty) = channel();
        let Self { files, stop, keeps_details } = self;
        let reader = Reader { stretch: Stretch::default(), latest_tick: None, sink, empty, stop, keeps_details };
        let thread = thread::Builder::new().name("read".to_owned()).spawn(move || reader.all(&files))?;
        Ok(Reading { stretches, used, current: Stretch::default(), thread })
    }
}

impl Reading {
    /// The next packets; `None` after the last.
    pub fn next(&mut self) -> Option<&mut Stretch> {
        let next = self.stretches.recv().ok()?;
        // nobody needs it any more where the last has been read
        let _ = self.used.send(std::mem::replace(&mut self.current, next));
        Some(&mut self.current)
    }

    /// What went wrong.
    pub fn join(self) -> Vec<ReadError> {
        self.thread.join().unwrap_or_else(|_| vec![ReadError::Died])
    }
}

struct Reader {
    /// Packets not yet handed over.
    stretch: Stretch,
    /// The time that last was a tick.
    latest_tick: Option<Timestamp>,
    sink: SyncSender<Stretch>,
    /// Counted ones, for their memory.
    empty: Receiver<Stretch>,
    stop: Arc<Latch>,
    keeps_details: bool,
}

impl Reader {
    fn all(mut self, files: &[PathBuf]) -> Vec<ReadError> {
        let mut errors = Vec::new();
        for file in files {
            if self.stop.is_raised() {
                errors.push(ReadError::Unread(file.clone()));
            } else {
                errors.extend(self.file(file).err());
            }
        }
        self.hand_over();
        errors
    }

    fn file(&mut self, path: &Path) -> Result<(), ReadError> {
        let open = || match path == Path::new("-") {
            true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            false => File::open(path),
        };
        let file = open().map_err(|error| ReadError::Open(path.to_owned(), error))?;
        let progress = progress(&file);
        let damaged = |error| ReadError::Damaged(path.to_owned(), error);
        let input = Input { file, stop: self.stop.clone(), patient: Cell::new(true) };
        let mut reader = CaptureReader::open(input).map_err(damaged)?;
        reader.input().patient.set(false);
        let result = match self.keeps_details {
            true => self.packets::<true>(&mut reader, &progress),
            false => self.packets::<false>(&mut reader, &progress),
        };
        progress.finish_and_clear();
        for (link, frames) in reader.unreadable_links() {
            log::warn!(
                "{}: {frames} frames of link type {link}, which cannot be read, count as not IP",
                path.display()
            );
        }
        result.map_err(damaged)
    }

    /// A copy for each case: where there are no details, a packet stays in the processor's registers.
    fn packets<const DETAILED: bool>(
        &mut self,
        reader: &mut CaptureReader<Input>,
        progress: &ProgressBar,
    ) -> Result<(), CaptureError> {
        loop {
            let packet = match reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(()),
                Err(error) if error.would_block() => {
                    // a pipe may be silent for long: what came by it is not held back
                    self.hand_over();
                    reader.input().wait();
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.stretch.clock = self.stretch.clock.max(packet.time);
            let tick = self.latest_tick.get_or_insert(self.stretch.clock);
            if self.stretch.clock.since(*tick) >= TICK {
                *tick = self.stretch.clock;
                self.hand_over();
                self.stretch.tick = self.latest_tick;
            }
            let Some((key, sighting)) = self.stretch.tally.sort(&packet) else { continue };
            if DETAILED {
                self.stretch.details.push(packet.details(sighting.octets));
            }
            self.stretch.packets.push((key, sighting));
            if self.stretch.packets.len() == STRETCH {
                self.hand_over();
                progress.set_position(reader.position());
            }
        }
    }

    fn hand_over(&mut self) {
        let mut empty = self.empty.try_recv().unwrap_or_default();
        empty.packets.clear();
        empty.details.clear();
        empty.packets.reserve(STRETCH);
        (empty.tick, empty.clock) = (None, self.stretch.clock);
        // fails only where the counting thread has panicked, which is reported
        let _ = self.sink.send(std::mem::replace(&mut self.stretch, empty));
    }
}

/// A file or a pipe, which a stop cuts short though nothing may come by it.
struct Input {
    file: File,
    stop: Arc<Latch>,
    /// Whether to wait where there is nothing to read, rather than to say so.
    patient: Cell<bool>,
}

impl Input {
    /// Until there is something to read, or the stop.
    fn wait(&self) {
        // an error is met again by the next read
        let _ = self.poll(PollTimeout::NONE);
    }

    /// Whether there is something to read, or the stop, within this time.
    fn poll(&self, patience: PollTimeout) -> io::Result<bool> {
        let mut awaited = [self.file.as_fd(), self.stop.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        Ok(poll(&mut awaited, patience)? > 0)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.poll(if self.patient.get() { PollTimeout::NONE } else { PollTimeout::ZERO })? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.stop.is_raised() {
            return Err(io::Error::other("a signal ended the reading"));
        }
        self.file.read(buffer)
    }
}

/// A bar on a terminal, for a file or for a pipe whose end is not known; nothing elsewhere.
fn progress(file: &File) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match file.metadata() {
        Ok(about) if about.is_file() => {
            (ProgressBar::new(about.len()), "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        }
        _ => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
