//! NetFlow v9 (RFC 3954): its header, whose sequence number counts messages, and its uptimes.

use super::fields::Flavour;
use super::message::{Content, Dialect};
use super::uptime::Uptime;
use crate::flow::FlowRecord;
use crate::time::Timestamp;
use std::time::Duration;

/// The state behind the header.
pub struct NetFlow9 {
    source_id: u32,
    /// Messages so far.
    sequence: u32,
    uptime: Uptime,
}

impl NetFlow9 {
    /// `source_id` distinguishes the exporters at one address.
    pub fn new(source_id: u32) -> Self {
        Self { source_id, sequence: 0, uptime: Uptime::default() }
    }
}

impl Dialect for NetFlow9 {
    const FLAVOUR: Flavour = Flavour::NetFlow9;
    const HEADER: usize = 20;
    const TEMPLATE_SET: u16 = 0;
    const OPTIONS_TEMPLATE_SET: u16 = 1;
    const PADDED: bool = true;

    fn domain(&self) -> u32 {
        self.source_id
    }

    fn reaches(&self, flow: &FlowRecord) -> bool {
        self.uptime.reaches(flow)
    }

    fn restart(&mut self, flow: &FlowRecord) {
        self.uptime.restart(flow);
    }

    fn boot(&self) -> Timestamp {
        self.uptime.boot()
    }

    /// Section 6.1: the octets that scopes take, and those of the other fields.
    fn scopes_and_fields(scopes: usize, fields: usize) -> [u16; 2] {
        [scopes, fields - scopes].map(|fields| 4 * fields as u16)
    }

    /// Section 5.1. The header tells the time in whole seconds but the uptime in milliseconds, and collectors take the
    /// difference for the boot. Both are therefore given for the end of the current second: their difference is exact, and
    /// no flow ends later.
    fn write_header(&mut self, message: &mut [u8], content: &Content) {
        let time = self.uptime.reachable((content.time + Duration::from_nanos(999_999_999)).whole_second());
        let count = content.data + content.templates;
        message[0..2].copy_from_slice(&9u16.to_be_bytes());
        message[2..4].copy_from_slice(&count.to_be_bytes());
        message[4..8].copy_from_slice(&self.uptime.at(time).to_be_bytes());
        message[8..12].copy_from_slice(&(time.seconds() as u32).to_be_bytes());
        message[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        message[16..20].copy_from_slice(&self.source_id.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
    }
}
