//! What every export protocol does: turn flows into messages.

use crate::flow::FlowRecord;
use crate::time::Timestamp;

/// A message ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its octets.
    pub bytes: Vec<u8>,
    /// Flow records in it.
    pub records: u64,
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
