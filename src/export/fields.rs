//! The fields of a flow's record.

use super::element::Element;
use super::layout::{Field, Layout};
use crate::flow::FlowRecord;
use crate::flow::key_fields::KeyFields;
use crate::time::Timestamp;
use etherparse::IpNumber;

/// How a protocol says things that NetFlow v9 and IPFIX say differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Times in milliseconds of the exporter's uptime, in 32 bits; 8 TCP control bits; samplers.
    NetFlow9,
    /// Times in milliseconds since 1970, in 64 bits; 16 control bits (12 are defined); selectors.
    Ipfix,
}

/// The record of one IP version, of flows that have these fields of a key in common: of the others, there is nothing to say.
pub fn flow_layout(flavour: Flavour, ip_version: u8, key: &KeyFields) -> Layout<FlowRecord> {
    use Element::*;
    let mut fields = addresses(ip_version, key);
    fields.extend(key_numbers(flavour, key));
    let control_bits = match flavour {
        Flavour::NetFlow9 => 1,
        Flavour::Ipfix => 2,
    };
    fields.extend([
        Field::number(TcpControlBits, control_bits, |flow: &FlowRecord, _| flow.tcp_flags.into()),
        Field::number(EgressInterface, 4, |flow, _| flow.output.into()),
        Field::number(PacketDeltaCount, 8, |flow, _| flow.packets),
        Field::number(OctetDeltaCount, 8, |flow, _| flow.octets),
    ]);
    fields.extend(match flavour {
        Flavour::NetFlow9 => [
            Field::number(FlowStartSysUpTime, 4, |flow: &FlowRecord, boot| uptime(flow.first, boot)),
            Field::number(FlowEndSysUpTime, 4, |flow, boot| uptime(flow.last, boot)),
        ],
        Flavour::Ipfix => [
            Field::number(FlowStartMilliseconds, 8, |flow: &FlowRecord, _| flow.first.millis()),
            Field::number(FlowEndMilliseconds, 8, |flow, _| flow.last.millis()),
        ],
    });
    fields.extend([
        Field::number(MinimumTtl, 1, |flow: &FlowRecord, _| flow.min_ttl.into()),
        Field::number(MaximumTtl, 1, |flow, _| flow.max_ttl.into()),
        Field::number(FlowDirection, 1, |flow, _| flow.direction as u64),
        Field::number(FlowEndReason, 1, |flow, _| flow.end_reason as u64),
    ]);
    // nfdump looks for ICMP's type in a field of its own in NetFlow v9 (for both IP versions), in the destination port in
    // IPFIX, where that field would make it forget the ports of SCTP and DCCP
    if flavour == Flavour::NetFlow9 && key.protocol && key.destination_port {
        fields.push(Field::number(IcmpTypeCodeIpv4, 2, |flow, _| icmp_type_code(flow)));
    }
    Layout::new(0, fields)
}

/// The addresses that count, and their prefixes where not all of them does.
fn addresses(ip_version: u8, key: &KeyFields) -> Vec<Field<FlowRecord>> {
    use Element::*;
    let (length, source, destination, prefixes) = match ip_version {
        6 => (16, SourceIpv6Address, DestinationIpv6Address, [SourceIpv6PrefixLength, DestinationIpv6PrefixLength]),
        _ => (4, SourceIpv4Address, DestinationIpv4Address, [SourceIpv4PrefixLength, DestinationIpv4PrefixLength]),
    };
    let (source_bits, destination_bits, all) = key.prefixes(ip_version);
    let ends = [
        (source_bits, Field::octets(source, length, |flow: &FlowRecord| &flow.key.source)),
        (destination_bits, Field::octets(destination, length, |flow: &FlowRecord| &flow.key.destination)),
    ];
    let lengths = [source_bits, destination_bits].into_iter().zip(prefixes);
    let lengths = lengths.filter(|(bits, _)| (1..all).contains(bits));
    let lengths = lengths.map(|(bits, element)| Field::constant(element, 1, bits.into()));
    ends.into_iter().filter(|(bits, _)| *bits > 0).map(|(_, field)| field).chain(lengths).collect()
}

/// The other fields of the key, as far as they count.
fn key_numbers(flavour: Flavour, key: &KeyFields) -> impl Iterator<Item = Field<FlowRecord>> {
    use Element::*;
    let (selector, selector_length) = selector_id(flavour);
    let fields = [
        (key.source_port, Field::number(SourceTransportPort, 2, |flow: &FlowRecord, _| flow.key.source_port.into())),
        (key.destination_port, Field::number(DestinationTransportPort, 2, |flow, _| flow.key.destination_port.into())),
        (key.protocol, Field::number(ProtocolIdentifier, 1, |flow, _| flow.key.protocol.into())),
        (key.tos, Field::number(IpClassOfService, 1, |flow, _| flow.key.tos.into())),
        (key.input, Field::number(IngressInterface, 4, |flow, _| flow.key.input.into())),
        (key.vlan, Field::number(VlanId, 2, |flow, _| flow.key.vlan.into())),
        (key.selector, Field::number(selector, selector_length, |flow, _| flow.key.selector.into())),
    ];
    fields.into_iter().filter_map(|(counts, field)| counts.then_some(field))
}

/// How records name their selector, and in how many octets: nfacctd knows a selectorId by its full length only.
pub fn selector_id(flavour: Flavour) -> (Element, u16) {
    match flavour {
        Flavour::NetFlow9 => (Element::SamplerId, 2),
        Flavour::Ipfix => (Element::SelectorId, 8),
    }
}

fn uptime(time: Timestamp, boot: Timestamp) -> u64 {
    time.millis().saturating_sub(boot.millis())
}

/// Type * 256 + code, which is also where the destination port would be.
fn icmp_type_code(flow: &FlowRecord) -> u64 {
    match IpNumber(flow.key.protocol) {
        IpNumber::ICMP | IpNumber::IPV6_ICMP => flow.key.destination_port.into(),
        _ => 0,
    }
}
