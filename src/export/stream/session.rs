//! One connection's worth of records: encoded, written, and kept until the collector is likely to have read them.

use super::connection::Connection;
use super::queue::Exported;
use crate::export::encoder::{Encoder, Message};
use crate::export::facts::Facts;
use crate::export::ipfix::Ipfix;
use crate::export::templated::Templated;
use crate::metrics::CollectorCounters;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the other host has acknowledged counts as sent after this long: if its collector ends without having read it, the
/// connection is reset, or by DTLS the message refused, before.
pub const GRACE: Duration = Duration::from_millis(250);
/// But no more records than these are kept for that.
const MOST_KEPT: usize = 65_536;

/// A connection (a transport session of RFC 7011) and its records.
pub struct Session {
    connection: Box<dyn Connection>,
    encoder: Templated<Ipfix>,
    /// Records not yet written.
    pub waiting: Vec<Exported>,
    /// Messages written, but not acknowledged.
    under_way: VecDeque<UnderWay>,
    /// Messages acknowledged, and when that was seen.
    acknowledged: VecDeque<(Instant, UnderWay)>,
    /// Records in those.
    kept: usize,
}

struct UnderWay {
    message: Message,
    records: Vec<Exported>,
    /// How many octets had been written with it.
    end: u64,
}

impl Session {
    pub fn new(connection: Box<dyn Connection>, encoder: Templated<Ipfix>) -> Self {
        let (waiting, under_way, acknowledged) = Default::default();
        Self { connection, encoder, waiting, under_way, acknowledged, kept: 0 }
    }

    /// Writes the records that wait. Where it fails, they stay.
    pub fn send(&mut self) -> io::Result<()> {
        // the system takes what is written to a closed connection once, as if it were well
        self.connection.check()?;
        let (mut messages, limit) = (Vec::new(), self.connection.limit());
        for (flow, reverse, now) in &self.waiting {
            match reverse {
                None => self.encoder.add(flow, *now, limit, &mut messages),
                Some(reverse) => self.encoder.add_biflow((flow, reverse), *now, limit, &mut messages),
            };
        }
        self.encoder.finish(&mut messages);
        for message in messages {
            let records = self.waiting.drain(..message.sums.records as usize).collect();
            let written = self.connection.write(&message.bytes);
            let end = *written.as_ref().unwrap_or(&u64::MAX);
            self.under_way.push_back(UnderWay { message, records, end });
            written?;
        }
        Ok(())
    }

    /// Sees what was acknowledged, counts as sent what has been for long enough, and says whether there was any of that.
    pub fn settle(&mut self, counters: &CollectorCounters, now: Instant) -> io::Result<bool> {
        let acknowledged = self.connection.acknowledged()?;
        let count = self.under_way.partition_point(|it| it.end <= acknowledged);
        for message in self.under_way.drain(..count) {
            self.kept += message.records.len();
            self.acknowledged.push_back((now, message));
        }
        let mut any = false;
        while let Some((when, _)) = self.acknowledged.front()
            && (now.duration_since(*when) >= GRACE || self.kept > MOST_KEPT)
        {
            any |= self.count_first(counters);
        }
        Ok(any)
    }

    fn count_first(&mut self, counters: &CollectorCounters) -> bool {
        let Some((_, first)) = self.acknowledged.pop_front() else { return false };
        self.kept -= first.records.len();
        counters.count_sent(&first.message);
        true
    }

    /// Encodes by these facts from now on.
    pub fn learn(&mut self, facts: &Arc<Facts>) {
        self.encoder.learn(facts);
    }

    /// Whether all records were acknowledged.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Whether another connection is to be made instead of this one.
    pub fn is_stale(&self, now: Instant) -> bool {
        self.connection.is_stale(now)
    }

    /// Ends the connection in peace, all records being acknowledged: only a reset tells that they were not read.
    pub fn finish(mut self, counters: &CollectorCounters) -> Vec<Exported> {
        match self.connection.finish() {
            Ok(()) => {
                while self.count_first(counters) {}
                Vec::new()
            }
            Err(_) => self.records(),
        }
    }

    /// Gives the connection up for this reason, and gives the records that are not known to have been read. What the system
    /// has not sent yet will not be, so that no record comes twice for that.
    pub fn abort(mut self, reason: &io::Error, counters: &CollectorCounters) -> Vec<Exported> {
        self.connection.abort();
        // an orderly end comes from a collector that has read everything
        if reason.kind() == io::ErrorKind::UnexpectedEof {
            while self.count_first(counters) {}
        }
        self.records()
    }

    fn records(self) -> Vec<Exported> {
        let messages = self.acknowledged.into_iter().map(|(_, message)| message).chain(self.under_way);
        messages.flat_map(|message| message.records).chain(self.waiting).collect()
    }
}
