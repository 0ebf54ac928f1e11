//! Where packets come from: the NFLOG socket of a running probe, or a capture file.
//!
//! A source hands over [`Captured`] packets one after the other; what is in them is [`crate::packet`]'s business.

pub mod envelope;
pub mod intake;
pub mod nap;
pub mod netlink;
pub mod nflog;
pub mod owner;
pub mod pcap;
mod request;
pub mod selectors;
mod sequence;
pub mod tally;
pub mod thread;

use crate::flow::Direction;
use crate::packet::details::Details;
use crate::packet::{Start, details, link};
use crate::time::Timestamp;
use netlink::Beside;

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
    /// ifIndex of the device it came in by; [`LOCAL`](crate::flow::LOCAL) if it began here, 0 if unknown.
    pub input: u32,
    /// ifIndex of the device it goes out by; [`LOCAL`](crate::flow::LOCAL) if it ends here, 0 if unknown.
    pub output: u32,
    /// VLAN id that the source knows of beside the bytes (a tag the device has taken off); 0 if none.
    pub vlan: u16,
    /// Whether it was seen coming in or going out.
    pub direction: Direction,
    /// The rule that selected it: an index into the process's selectors.
    pub selector: u16,
    /// What else NFLOG says of it for its details; of a live message it is read only where those are asked for.
    pub beside: Beside<'a>,
}

impl Captured<'_> {
    /// What records can say of it beside the rest, where IP counts so many octets of it.
    pub fn details(&self, octets: u64) -> Details {
        let mut details = details::read(self.start, self.bytes, octets);
        if self.start != Start::Ethernet {
            details.first.macs = details::macs(self.beside.ethernet_header);
        }
        let Beside { mark, hook, provenance, .. } = self.beside;
        (details.first.mark, details.first.hook, details.first.provenance) = (mark, hook, provenance);
        // a tag that was taken off is outside those that are there
        if self.vlan != 0 {
            details.first.inner_vlan = link::network_layer(self.start, self.bytes).map_or(0, |it| it.tags.vlans[0]);
        }
        details
    }
}
