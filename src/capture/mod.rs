//! Where packets come from: the NFLOG socket of a running probe, or a capture file.
//!
//! A source hands over [`Captured`] packets one after the other; what is in them is [`crate::packet`]'s business.

pub mod envelope;
pub mod intake;
pub mod netlink;
pub mod nflog;
pub mod pcap;
mod request;
pub mod selectors;
mod sequence;
pub mod tally;
pub mod thread;

use crate::flow::Direction;
use crate::packet::Start;
use crate::time::Timestamp;

/// A packet as a source hands it over: its bytes, and what the source knows beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured<'a> {
    /// The captured bytes; with a snaplen, only the first of the packet.
    pub bytes: &'a [u8],
    /// What `bytes` begins with.
    pub start: Start,
    /// How many octets the packet had, from the first of `bytes` on, before a snaplen cut it; `None` where the source
    /// does not know. It counts only where the IP header itself does not say its length.
    pub octets: Option<u64>,
    /// When the packet was seen.
    pub time: Timestamp,
    /// ifIndex of the device it came in by; 0 if unknown.
    pub input: u32,
    /// ifIndex of the device it goes out by; 0 if unknown.
    pub output: u32,
    /// VLAN id that the source knows of beside the bytes (a tag the device has taken off); 0 if none.
    pub vlan: u16,
    /// Whether it was seen coming in or going out.
    pub direction: Direction,
    /// The rule that selected it: an index into the process's selectors.
    pub selector: u16,
}
