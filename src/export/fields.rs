//! What a record holds: one list of fields per kind of record, from which template and data both follow.
//!
//! Names and numbers are IANA's IPFIX information elements; NetFlow v9 (RFC 3954 section 8) shares those below 128.

use crate::flow::FlowRecord;
use crate::time::Timestamp;
use etherparse::IpNumber;

/// An information element that nfweir can fill in, by its IANA number.
#[expect(missing_docs, reason = "the names are those of the registry, which describes them")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Element {
    OctetDeltaCount = 1,
    PacketDeltaCount = 2,
    ProtocolIdentifier = 4,
    IpClassOfService = 5,
    TcpControlBits = 6,
    SourceTransportPort = 7,
    SourceIpv4Address = 8,
    IngressInterface = 10,
    DestinationTransportPort = 11,
    DestinationIpv4Address = 12,
    EgressInterface = 14,
    FlowEndSysUpTime = 21,
    FlowStartSysUpTime = 22,
    SourceIpv6Address = 27,
    DestinationIpv6Address = 28,
    IcmpTypeCodeIpv4 = 32,
    MinimumTtl = 52,
    MaximumTtl = 53,
    VlanId = 58,
    FlowDirection = 61,
    FlowEndReason = 136,
    FlowStartMilliseconds = 152,
    FlowEndMilliseconds = 153,
    SelectorId = 302,
}

/// An element and the octets it takes in a record. Fewer than the element's own type has is the reduced-size encoding
/// of RFC 7011 section 6.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// What it is.
    pub element: Element,
    /// Octets, at most 16.
    pub length: u16,
}

/// The fields of one kind of record, in their order.
pub type FieldList = Vec<Field>;

/// How a protocol says when a flow began and ended, and how wide its TCP control bits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Milliseconds of the exporter's uptime, in 32 bits; 8 control bits.
    NetFlow9,
    /// Milliseconds since 1970, in 64 bits; 16 control bits (12 are defined).
    Ipfix,
}

/// The default record of one IP version.
pub fn flow_fields(flavour: Flavour, ip_version: u8) -> FieldList {
    use Element::*;
    let (source, destination, address) = match ip_version {
        6 => (SourceIpv6Address, DestinationIpv6Address, 16),
        _ => (SourceIpv4Address, DestinationIpv4Address, 4),
    };
    let (start, end, time, control_bits) = match flavour {
        Flavour::NetFlow9 => (FlowStartSysUpTime, FlowEndSysUpTime, 4, 1),
        Flavour::Ipfix => (FlowStartMilliseconds, FlowEndMilliseconds, 8, 2),
    };
    let fields = [
        (source, address),
        (destination, address),
        (SourceTransportPort, 2),
        (DestinationTransportPort, 2),
        (ProtocolIdentifier, 1),
        (IpClassOfService, 1),
        (TcpControlBits, control_bits),
        (IngressInterface, 4),
        (EgressInterface, 4),
        (VlanId, 2),
        (SelectorId, 2),
        (PacketDeltaCount, 8),
        (OctetDeltaCount, 8),
        (start, time),
        (end, time),
        (MinimumTtl, 1),
        (MaximumTtl, 1),
        (FlowDirection, 1),
        (FlowEndReason, 1),
    ];
    // nfdump looks for ICMP's type in a field of its own in NetFlow v9 (for both IP versions), in the destination port in
    // IPFIX, where that field would make it forget the ports of SCTP and DCCP
    let icmp = (flavour == Flavour::NetFlow9).then_some((IcmpTypeCodeIpv4, 2));
    fields.into_iter().chain(icmp).map(|(element, length)| Field { element, length }).collect()
}

/// Octets of a record with these fields.
pub fn record_length(fields: &[Field]) -> usize {
    fields.iter().map(|field| usize::from(field.length)).sum()
}

/// Appends the fields' part of a template record: element and length of each (RFC 7011 section 3.2, RFC 3954 section 5.2).
pub fn write_template(fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        out.extend((field.element as u16).to_be_bytes());
        out.extend(field.length.to_be_bytes());
    }
}

/// Appends a data record. `boot` is what uptimes count from.
pub fn write_record(fields: &[Field], flow: &FlowRecord, boot: Timestamp, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + record_length(fields), 0);
    let mut rest = &mut out[start..];
    for field in fields {
        let (place, behind) = rest.split_at_mut(field.length.into());
        rest = behind;
        let length = place.len();
        match field.element {
            Element::SourceIpv6Address | Element::SourceIpv4Address => {
                place.copy_from_slice(&flow.key.source[..length]);
            }
            Element::DestinationIpv6Address | Element::DestinationIpv4Address => {
                place.copy_from_slice(&flow.key.destination[..length]);
            }
            number => write_number(value(number, flow, boot), place),
        }
    }
}

/// Big-endian; the usual lengths each by an instruction of its own.
fn write_number(number: u64, place: &mut [u8]) {
    match place.len() {
        1 => place[0] = number as u8,
        2 => place.copy_from_slice(&(number as u16).to_be_bytes()),
        4 => place.copy_from_slice(&(number as u32).to_be_bytes()),
        length => place.copy_from_slice(&number.to_be_bytes()[8 - length..]),
    }
}

fn value(element: Element, flow: &FlowRecord, boot: Timestamp) -> u64 {
    let uptime = |time: Timestamp| time.millis().saturating_sub(boot.millis());
    match element {
        Element::OctetDeltaCount => flow.octets,
        Element::PacketDeltaCount => flow.packets,
        Element::ProtocolIdentifier => flow.key.protocol.into(),
        Element::IpClassOfService => flow.key.tos.into(),
        Element::TcpControlBits => flow.tcp_flags.into(),
        Element::SourceTransportPort => flow.key.source_port.into(),
        Element::DestinationTransportPort => flow.key.destination_port.into(),
        // type * 256 + code, which is also where the destination port would be
        Element::IcmpTypeCodeIpv4 => match IpNumber(flow.key.protocol) {
            IpNumber::ICMP | IpNumber::IPV6_ICMP => flow.key.destination_port.into(),
            _ => 0,
        },
        Element::IngressInterface => flow.key.input.into(),
        Element::EgressInterface => flow.output.into(),
        Element::FlowStartSysUpTime => uptime(flow.first),
        Element::FlowEndSysUpTime => uptime(flow.last),
        Element::MinimumTtl => flow.min_ttl.into(),
        Element::MaximumTtl => flow.max_ttl.into(),
        Element::VlanId => flow.key.vlan.into(),
        Element::FlowDirection => flow.direction as u64,
        Element::FlowEndReason => flow.end_reason as u64,
        Element::FlowStartMilliseconds => flow.first.millis(),
        Element::FlowEndMilliseconds => flow.last.millis(),
        Element::SelectorId => flow.key.selector.into(),
        Element::SourceIpv4Address
        | Element::DestinationIpv4Address
        | Element::SourceIpv6Address
        | Element::DestinationIpv6Address => unreachable!("addresses are not numbers"),
    }
}
