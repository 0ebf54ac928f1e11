//! What every export protocol does: turn flows into messages.

use super::facts::Facts;
use crate::flow::FlowRecord;
use crate::time::Timestamp;
use std::sync::Arc;

/// A message ready to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its octets.
    pub bytes: Vec<u8>,
    /// What it says.
    pub sums: Sums,
}

/// What flow records come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many there are.
    pub records: u64,
    /// Packets in them.
    pub packets: u64,
    /// IP octets in them.
    pub octets: u64,
}

impl Sums {
    /// What one record about these flows comes to.
    pub fn of_one<'a>(flows: impl IntoIterator<Item = &'a FlowRecord>) -> Self {
        flows.into_iter().fold(Self { records: 1, ..Self::default() }, |sums, flow| Self {
            packets: sums.packets + flow.packets,
            octets: sums.octets + flow.octets,
            ..sums
        })
    }

    /// Adds others.
    pub fn add_all(&mut self, other: &Self) {
        self.records += other.records;
        self.packets += other.packets;
        self.octets += other.octets;
    }
}

/// The direction of who began, and the other.
pub type Directions<'a> = (&'a FlowRecord, &'a FlowRecord);

/// Turns flows into the messages of a protocol.
pub trait Encoder: Send {
    /// Adds a flow, exported at `now`, in messages of at most `limit` octets; those that it completes go to `out`. False
    /// if the protocol cannot express this flow.
    fn add(&mut self, flow: &FlowRecord, now: Timestamp, limit: usize, out: &mut Vec<Message>) -> bool;

    /// Adds both directions of a conversation: as one record, or where the protocol has none such, as two.
    fn add_biflow(&mut self, both: Directions<'_>, now: Timestamp, limit: usize, out: &mut Vec<Message>) -> bool {
        let (forward, reverse) = both;
        self.add(forward, now, limit, out) && self.add(reverse, now, limit, out)
    }

    /// Completes the message that has begun, if any.
    fn finish(&mut self, out: &mut Vec<Message>);

    /// Goes on with these facts, and tells the collector of them, between two messages.
    fn learn(&mut self, facts: &Arc<Facts>);

    /// Lets the next message begin with templates, where the protocol has them.
    fn renew_templates(&mut self);
}
