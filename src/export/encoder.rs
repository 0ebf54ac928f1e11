//! What every export protocol does: turn flows into messages.

use crate::flow::FlowRecord;
use crate::time::Timestamp;

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
    /// Adds a record.
    pub fn add(&mut self, flow: &FlowRecord) {
        self.records += 1;
        self.packets += flow.packets;
        self.octets += flow.octets;
    }
}

/// Turns flows into the messages of a protocol.
pub trait Encoder: Send {
    /// Adds a flow, exported at `now`, in messages of at most `limit` octets; those that it completes go to `out`. False
    /// if the protocol cannot express this flow.
    fn add(&mut self, flow: &FlowRecord, now: Timestamp, limit: usize, out: &mut Vec<Message>) -> bool;

    /// Completes the message that has begun, if any.
    fn finish(&mut self, out: &mut Vec<Message>);

    /// Lets the next message begin with templates, where the protocol has them.
    fn renew_templates(&mut self);
}
