//! From captured packets to what the flow table counts: decode each, and say where those went that are in no flow.

use super::Captured;
use crate::flow::table::Counted;
use crate::flow::{FlowKey, Sighting};
use crate::metrics::CaptureCounters;
use crate::packet::{self, Refusal};

/// The sums of one batch over the packets that do not go to the flow table. Like [`Counted`], which has the others, they are
/// added to the shared counters at its end, packets seen together with what became of them.
#[derive(Debug, Default)]
pub struct Tally {
    not_ip_packets: u64,
    malformed_packets: u64,
    unknown_length_packets: u64,
}

impl Tally {
    /// Decodes one packet: the flow it belongs to and what it adds to that. `None` if it belongs to none, and is in the
    /// counter that says why.
    #[inline(always)]
    pub fn sort(&mut self, packet: &Captured<'_>) -> Option<(FlowKey, Sighting)> {
        let (vlan, headers) =
            match packet::parse(packet.start, packet.bytes, packet.octets.unwrap_or(packet.bytes.len() as u64)) {
                Ok(parsed) => parsed,
                Err(refusal) => {
                    self.refuse(refusal);
                    return None;
                }
            };
        let vlan = if packet.vlan == 0 { vlan } else { packet.vlan };
        let key = FlowKey::new(&headers, packet.input, vlan, packet.selector);
        let sighting = Sighting {
            time: packet.time,
            octets: headers.octets,
            tcp_flags: headers.tcp_flags,
            ttl: headers.ttl,
            output: packet.output,
            direction: packet.direction,
        };
        if headers.length_unstated && packet.octets.is_none() {
            self.note_unknown_length();
        }
        Some((key, sighting))
    }

    #[cold]
    fn note_unknown_length(&mut self) {
        self.unknown_length_packets += 1;
    }

    #[cold]
    fn refuse(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::NotIp => self.not_ip_packets += 1,
            Refusal::Malformed => self.malformed_packets += 1,
        }
    }

    /// Adds the sums to the shared counters.
    pub fn settle_into(self, counters: &CaptureCounters) {
        counters.packets.add(self.not_ip_packets + self.malformed_packets);
        counters.not_ip_packets.add(self.not_ip_packets);
        counters.malformed_packets.add(self.malformed_packets);
        counters.unknown_length_packets.add(self.unknown_length_packets);
    }
}

impl Counted {
    /// Adds the sums to the shared counters.
    pub fn settle_into(self, counters: &CaptureCounters) {
        counters.packets.add(self.flow_packets + self.ignored_packets);
        counters.flow_packets.add(self.flow_packets);
        counters.flow_octets.add(self.flow_octets);
        counters.ignored_packets.add(self.ignored_packets);
        counters.ignored_octets.add(self.ignored_octets);
    }
}
