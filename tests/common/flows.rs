//! Flows as collectors report them, made comparable: summed by the five-tuple, as nfweir also tells flows apart by
//! interface, VLAN and type of service.

use super::cases::Case;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Protocol, source, source port, destination, destination port (ICMP: type * 256 + code).
pub type Key = (u8, IpAddr, u16, IpAddr, u16);

/// What is counted of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub packets: u64,
    pub octets: u64,
    /// Milliseconds since 1970.
    pub first: u64,
    pub last: u64,
    pub tcp_flags: u16,
}

/// Flows by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows(pub BTreeMap<Key, Counts>);

impl Flows {
    /// What must come out of a capture, without times.
    pub fn expected(case: &Case) -> Self {
        let mut flows = Self::default();
        for &(protocol, source, source_port, destination, destination_port, packets, octets, tcp_flags) in
            &case.expected
        {
            let key = (protocol, source.parse().unwrap(), source_port, destination.parse().unwrap(), destination_port);
            flows.add(key, Counts { packets, octets, first: 0, last: 0, tcp_flags });
        }
        flows
    }

    pub fn add(&mut self, key: Key, counts: Counts) {
        self.0
            .entry(key)
            .and_modify(|sum| {
                sum.packets += counts.packets;
                sum.octets += counts.octets;
                sum.first = sum.first.min(counts.first);
                sum.last = sum.last.max(counts.last);
                sum.tcp_flags |= counts.tcp_flags;
            })
            .or_insert(counts);
    }

    /// Only those that NetFlow v5 can express.
    pub fn v4_only(mut self) -> Self {
        self.0.retain(|(_, source, ..), _| source.is_ipv4());
        self
    }

    /// Without some of what is counted.
    pub fn reduced(mut self, reduce: impl Fn(&mut Counts)) -> Self {
        self.0.values_mut().for_each(reduce);
        self
    }

    /// Packets and octets of all.
    pub fn sums(&self) -> (u64, u64) {
        self.0.values().fold((0, 0), |sums, counts| (sums.0 + counts.packets, sums.1 + counts.octets))
    }

    /// What the two do not have in common, a line each; empty if they are equal.
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        let keys: std::collections::BTreeSet<_> = self.0.keys().chain(expected.0.keys()).collect();
        keys.into_iter()
            .filter(|key| self.0.get(key) != expected.0.get(key))
            .map(|key| format!("{key:?}: {:?} instead of {:?}", self.0.get(key), expected.0.get(key)))
            .collect()
    }
}
