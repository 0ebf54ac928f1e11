//! NetFlow v5: fixed records of IPv4 flows, with 32-bit counters and 16-bit interfaces.
//!
//! The format is Cisco's ("NetFlow Export Datagram Format", version 5): a header of 24 octets, at most 30 records of 48.
//! Its sequence number counts records.

use super::encoder::{Encoder, Message, Sums};
use super::facts::Facts;
use super::sampling::Sampling;
use super::selector_settings::SelectorSettings;
use super::uptime::Uptime;
use crate::flow::FlowRecord;
use crate::flow::key_fields::KeyFields;
use crate::time::Timestamp;
use std::sync::Arc;

const HEADER: usize = 24;
const RECORD: usize = 48;
const MOST_RECORDS: u64 = 30;
/// What a counter of it can hold; a flow beyond becomes several records.
const COUNTER: u64 = u32::MAX as u64;
/// Sampling mode "one packet in a fixed interval", above the 14 bits of that interval.
const SAMPLED: u16 = 1 << 14;
/// The highest sampling rate that these can say.
pub const HIGHEST_RATE: u32 = SAMPLED as u32 - 1;

/// Whether its header can tell of this sampling. It has a rate in each message, but nfcapd takes one for all.
pub fn can_tell(sampling: &Sampling, settings: &SelectorSettings) -> bool {
    let one = sampling.groups.is_empty() && settings.rates().all(|rate| rate == sampling.everywhere);
    one && sampling.everywhere <= HIGHEST_RATE
}

/// Encodes IPv4 flows.
pub struct NetFlow5 {
    engine_type: u8,
    engine_id: u8,
    /// One in how many packets is selected.
    sampling_rate: u32,
    /// Lengths of source and destination prefix, where a key has those; 0 where it has whole addresses.
    prefixes: [u8; 2],
    /// Records in the messages before.
    sequence: u32,
    uptime: Uptime,
    message: Vec<u8>,
    /// What is in that.
    flows: Sums,
    time: Timestamp,
}

impl NetFlow5 {
    /// `domain` distinguishes the exporters at one address: its low octet is the engine id, its third the engine type. One in
    /// `sampling_rate` packets is selected, and flows are told apart by `key`.
    pub fn new(domain: u32, sampling_rate: u32, key: &KeyFields) -> Self {
        let [_, engine_type, _, engine_id] = domain.to_be_bytes();
        let (source, destination, all) = key.prefixes(4);
        Self {
            engine_type,
            engine_id,
            sampling_rate,
            prefixes: [source, destination].map(|length| length % all),
            sequence: 0,
            uptime: Uptime::default(),
            message: Vec::new(),
            flows: Sums::default(),
            time: Timestamp::default(),
        }
    }

    fn add_part(&mut self, flow: &FlowRecord, now: Timestamp, limit: usize, out: &mut Vec<Message>) {
        if self.flows.records == MOST_RECORDS || self.message.len() + RECORD > limit {
            self.finish(out);
        }
        if self.message.is_empty() {
            self.message.resize(HEADER, 0);
            self.time = now;
        }
        self.write_record(flow);
        self.flows.add_all(&Sums::of_one([flow]));
        self.time = self.time.max(flow.last).max(now);
    }

    fn write_record(&mut self, flow: &FlowRecord) {
        let key = &flow.key;
        // an ifIndex that 16 bits cannot hold is unknown, rather than another interface's
        let interface = |index: u32| u16::try_from(index).unwrap_or_default().to_be_bytes();
        let out = &mut self.message;
        out.extend(&key.source[..4]);
        out.extend(&key.destination[..4]);
        out.extend([0; 4]); // next hop: not known
        out.extend(interface(key.input));
        out.extend(interface(flow.output));
        out.extend((flow.packets as u32).to_be_bytes());
        out.extend((flow.octets as u32).to_be_bytes());
        out.extend(self.uptime.at(flow.first).to_be_bytes());
        out.extend(self.uptime.at(flow.last).to_be_bytes());
        out.extend(key.source_port.to_be_bytes());
        out.extend(key.destination_port.to_be_bytes());
        out.extend([0, flow.tcp_flags as u8, key.protocol, key.tos]);
        out.extend([0; 4]); // AS numbers: not known
        out.extend(self.prefixes);
        out.extend([0; 2]); // padding
    }
}

impl Encoder for NetFlow5 {
    fn add(&mut self, flow: &FlowRecord, now: Timestamp, limit: usize, out: &mut Vec<Message>) -> bool {
        if flow.key.ip_version != 4 {
            return false;
        }
        if !self.uptime.reaches(flow) {
            self.finish(out);
            self.uptime.restart(flow);
        }
        let parts = flow.octets.max(flow.packets).div_ceil(COUNTER).max(1);
        for part in 0..parts {
            // the first `total % parts` get one more, so that the sums are exact
            let share = |total: u64| total / parts + u64::from(part < total % parts);
            let part = FlowRecord { packets: share(flow.packets), octets: share(flow.octets), ..*flow };
            self.add_part(&part, now, limit, out);
        }
        true
    }

    fn finish(&mut self, out: &mut Vec<Message>) {
        if self.message.is_empty() {
            return;
        }
        let time = self.uptime.reachable(self.time);
        let header = &mut self.message;
        let nanoseconds = (time.millis() % 1000 * 1_000_000) as u32;
        header[0..2].copy_from_slice(&5u16.to_be_bytes());
        header[2..4].copy_from_slice(&(self.flows.records as u16).to_be_bytes());
        header[4..8].copy_from_slice(&self.uptime.at(time).to_be_bytes());
        header[8..12].copy_from_slice(&(time.seconds() as u32).to_be_bytes());
        header[12..16].copy_from_slice(&nanoseconds.to_be_bytes());
        header[16..20].copy_from_slice(&self.sequence.to_be_bytes());
        header[20..22].copy_from_slice(&[self.engine_type, self.engine_id]);
        header[22..24].copy_from_slice(&sampling(self.sampling_rate).to_be_bytes());
        self.sequence = self.sequence.wrapping_add(self.flows.records as u32);
        let (bytes, sums) = (std::mem::take(&mut self.message), std::mem::take(&mut self.flows));
        out.push(Message { bytes, sums });
    }

    fn learn(&mut self, facts: &Arc<Facts>) {
        self.sampling_rate = facts.sampling.everywhere;
    }

    fn renew_templates(&mut self) {}
}

/// The header's word for one packet in so many; 0 for all packets.
fn sampling(rate: u32) -> u16 {
    if rate == 1 { 0 } else { SAMPLED | rate.min(HIGHEST_RATE) as u16 }
}
