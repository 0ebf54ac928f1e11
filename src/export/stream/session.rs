//! One connection's worth of records: encoded, written, and kept until the collector's host has acknowledged them.

use super::connection::Connection;
use super::queue::Exported;
use crate::export::encoder::{Encoder, Message};
use crate::export::ipfix::Ipfix;
use crate::export::templated::Templated;
use crate::metrics::CollectorCounters;
use std::collections::VecDeque;
use std::io;

/// Octets of a message at most: a collector has to hold it as a whole.
const LARGEST_MESSAGE: usize = 8192;

/// A connection (a transport session of RFC 7011) and its records.
pub struct Session {
    connection: Connection,
    encoder: Templated<Ipfix>,
    /// Records not yet written.
    pub waiting: Vec<Exported>,
    /// Messages written, but not acknowledged.
    under_way: VecDeque<UnderWay>,
}

struct UnderWay {
    message: Message,
    records: Vec<Exported>,
    /// How many octets had been written with it.
    end: u64,
}

impl Session {
    pub fn new(connection: Connection, encoder: Templated<Ipfix>) -> Self {
        Self { connection, encoder, waiting: Vec::new(), under_way: VecDeque::new() }
    }

    /// Writes the records that wait. Where it fails, they stay.
    pub fn send(&mut self) -> io::Result<()> {
        // the system takes what is written to a closed connection once, as if it were well
        self.connection.check()?;
        let mut messages = Vec::new();
        for (flow, now) in &self.waiting {
            self.encoder.add(flow, *now, LARGEST_MESSAGE, &mut messages);
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

    /// Counts as sent what was acknowledged, and says whether there was any.
    pub fn settle(&mut self, counters: &CollectorCounters) -> io::Result<bool> {
        let acknowledged = self.connection.acknowledged()?;
        let count = self.under_way.partition_point(|it| it.end <= acknowledged);
        self.under_way.drain(..count).for_each(|it| counters.count_sent(&it.message));
        Ok(count > 0)
    }

    /// Whether all records were acknowledged.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Closes the connection, and gives the records that are not known to have arrived.
    pub fn end(self) -> Vec<Exported> {
        self.connection.close();
        self.under_way.into_iter().flat_map(|it| it.records).chain(self.waiting).collect()
    }
}
