//! From captured packets to the flow table: decode each, count it, and say where those went that are in no flow.

use super::Captured;
use crate::flow::table::{Batch, Counted};
use crate::flow::{FlowKey, Sighting};
use crate::metrics::CaptureCounters;
use crate::packet::{self, Refusal};

/// The sums of one batch of packets, added to the shared counters at its end.
#[derive(Debug, Default)]
pub struct Tally {
    packets: u64,
    not_ip_packets: u64,
    malformed_packets: u64,
    unknown_length_packets: u64,
}

impl Tally {
    /// Counts one packet: in its flow, or in the counter that says why it is in none.
    #[inline(always)]
    pub fn count(&mut self, table: &mut Batch<'_>, packet: &Captured<'_>) {
        self.packets += 1;
        let (vlan, headers) =
            match packet::parse(packet.start, packet.bytes, packet.octets.unwrap_or(packet.bytes.len() as u64)) {
                Ok(parsed) => parsed,
                Err(Refusal::NotIp) => return self.not_ip_packets += 1,
                Err(Refusal::Malformed) => return self.malformed_packets += 1,
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
        table.count(&key, &sighting);
        self.unknown_length_packets += u64::from(headers.length_unstated && packet.octets.is_none());
    }

    /// Adds the sums to the shared counters, with what became of the packets that went to the flow table.
    pub fn settle_into(self, counters: &CaptureCounters, counted: Counted) {
        counters.packets.add(self.packets);
        counters.flow_packets.add(counted.flow_packets);
        counters.flow_octets.add(counted.flow_octets);
        counters.ignored_packets.add(counted.ignored_packets);
        counters.ignored_octets.add(counted.ignored_octets);
        counters.not_ip_packets.add(self.not_ip_packets);
        counters.malformed_packets.add(self.malformed_packets);
        counters.unknown_length_packets.add(self.unknown_length_packets);
    }
}
