//! The thread that counts: packets into the flow table, and ended flows out of it.

use super::ReadError;
use super::source::{Source, Stretch};
use crate::capture::selectors::Selectors;
use crate::collectors::{self, Origin};
use crate::config::ExportConfig;
use crate::export::Exporter;
use crate::export::beside::Beside;
use crate::flow::Tracked;
use crate::flow::table::{self, Keeps, Writer};
use crate::metrics::{CaptureCounters, Metrics};
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How long a collector's name may take to be resolved.
const PATIENCE: Duration = Duration::from_secs(10);
/// Packets between looks at the table's room, where the table is large.
const BATCH: usize = 256;

pub struct Replay {
    writer: Writer,
    exporter: Exporter,
    counters: Arc<CaptureCounters>,
    /// Packets counted between looks at the table: few enough that it cannot fill up in between.
    batch: usize,
    /// The latest time that a packet had.
    clock: Timestamp,
}

impl Replay {
    pub fn new(config: &ExportConfig) -> Result<(Self, Metrics), ReadError> {
        let keeps = Keeps { details: config.fields.need_details(), connections: false };
        let (mut writers, harvester) = table::keeping(config.max_flows, 1, keeps)?;
        let counters = Arc::new(CaptureCounters::default());
        let (captures, selectors) = (vec![(None, counters.clone())], Selectors::default());
        let origin = Origin { domain: 0, captures, selectors, interfaces: Vec::new, tracker: None, patient: true };
        let (exporter, metrics) = collectors::exporter(harvester, config, origin)?;
        let batch = BATCH.min(config.max_flows as usize / 16).max(1);
        let writer = writers.remove(0).keyed(&config.key);
        Ok((Self { writer, exporter, counters, batch, clock: Timestamp::default() }, metrics))
    }

    /// Counts and exports everything.
    pub fn all(&mut self, source: Source) -> Vec<ReadError> {
        if let Err(error) = self.wait_for_collectors() {
            return vec![error];
        }
        let failed = |error| vec![ReadError::System("starting a thread", error)];
        if let Err(error) = Beside::wrap(&mut self.exporter.collectors) {
            return failed(error);
        }
        let mut reading = match source.start() {
            Ok(reading) => reading,
            Err(error) => return failed(error),
        };
        while let Some(stretch) = reading.next() {
            self.take(stretch);
        }
        self.exporter.expire(self.clock);
        self.exporter.drain(self.clock);
        reading.join()
    }

    fn wait_for_collectors(&mut self) -> Result<(), ReadError> {
        for collector in &mut self.exporter.collectors {
            if !collector.settle(PATIENCE) {
                return Err(ReadError::Unreachable(collector.name()));
            }
        }
        Ok(())
    }

    /// Ends flows where it is time to, before the packet that brought the time: its flow may have ended in a gap of the
    /// capture. Then counts the packets.
    fn take(&mut self, stretch: &mut Stretch) {
        if let Some(now) = stretch.tick {
            self.exporter.expire(now);
        }
        std::mem::take(&mut stretch.tally).settle_into(&self.counters);
        let mut details = stretch.details.iter();
        for packets in stretch.packets.chunks(self.batch) {
            let mut table = self.writer.enter();
            for (key, sighting) in packets {
                self.clock = self.clock.max(sighting.time);
                details.next().into_iter().for_each(|details| table.note_next(details, &Tracked::default()));
                table.count(key, sighting);
            }
            table.finish().settle_into(&self.counters);
            if self.writer.crowded() {
                self.exporter.expire(self.clock);
            }
        }
        self.clock = stretch.clock;
    }
}
