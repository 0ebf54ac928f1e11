//! IPFIX (RFC 7011): its header, whose sequence number counts data records.

use super::fields::Flavour;
use super::message::{Content, Dialect};
use crate::flow::FlowRecord;
use crate::time::Timestamp;

/// Octets of a message at most where no datagram limits it: who reads it has to hold it as a whole.
pub const LARGEST_MESSAGE: usize = 8192;

/// The state behind the header.
pub struct Ipfix {
    observation_domain: u32,
    /// Data records in the messages before, modulo 2^32. Templates do not count.
    sequence: u32,
}

impl Ipfix {
    /// `observation_domain` distinguishes the exporters at one address.
    pub fn new(observation_domain: u32) -> Self {
        Self { observation_domain, sequence: 0 }
    }
}

impl Dialect for Ipfix {
    const FLAVOUR: Flavour = Flavour::Ipfix;
    const HEADER: usize = 16;
    const TEMPLATE_SET: u16 = 2;
    const OPTIONS_TEMPLATE_SET: u16 = 3;
    const PADDED: bool = false;

    fn domain(&self) -> u32 {
        self.observation_domain
    }

    /// Times are absolute.
    fn reaches(&self, _: &FlowRecord) -> bool {
        true
    }

    fn restart(&mut self, _: &FlowRecord) {}

    fn boot(&self) -> Timestamp {
        Timestamp::default()
    }

    /// Section 3.4.2.2: the number of all fields, and of those that are scopes.
    fn scopes_and_fields(scopes: usize, fields: usize) -> [u16; 2] {
        [fields as u16, scopes as u16]
    }

    /// Section 3.1.
    fn write_header(&mut self, message: &mut [u8], content: &Content) {
        let length = message.len() as u16;
        message[0..2].copy_from_slice(&10u16.to_be_bytes());
        message[2..4].copy_from_slice(&length.to_be_bytes());
        message[4..8].copy_from_slice(&(content.time.seconds() as u32).to_be_bytes());
        message[8..12].copy_from_slice(&self.sequence.to_be_bytes());
        message[12..16].copy_from_slice(&self.observation_domain.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(content.data.into());
    }
}
