//! The fields of a flow's record.

use super::element::Element;
use super::layout::{Field, Layout};
use crate::flow::FlowRecord;
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

/// The default record of one IP version.
pub fn flow_layout(flavour: Flavour, ip_version: u8) -> Layout<FlowRecord> {
    use Element::*;
    let mut fields = match ip_version {
        6 => vec![
            Field::octets(SourceIpv6Address, 16, |flow: &FlowRecord| &flow.key.source),
            Field::octets(DestinationIpv6Address, 16, |flow| &flow.key.destination),
        ],
        _ => vec![
            Field::octets(SourceIpv4Address, 4, |flow: &FlowRecord| &flow.key.source),
            Field::octets(DestinationIpv4Address, 4, |flow| &flow.key.destination),
        ],
    };
    let control_bits = match flavour {
        Flavour::NetFlow9 => 1,
        Flavour::Ipfix => 2,
    };
    let (selector, selector_length) = selector_id(flavour);
    fields.extend([
        Field::number(SourceTransportPort, 2, |flow: &FlowRecord, _| flow.key.source_port.into()),
        Field::number(DestinationTransportPort, 2, |flow, _| flow.key.destination_port.into()),
        Field::number(ProtocolIdentifier, 1, |flow, _| flow.key.protocol.into()),
        Field::number(IpClassOfService, 1, |flow, _| flow.key.tos.into()),
        Field::number(TcpControlBits, control_bits, |flow, _| flow.tcp_flags.into()),
        Field::number(IngressInterface, 4, |flow, _| flow.key.input.into()),
        Field::number(EgressInterface, 4, |flow, _| flow.output.into()),
        Field::number(VlanId, 2, |flow, _| flow.key.vlan.into()),
        Field::number(selector, selector_length, |flow, _| flow.key.selector.into()),
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
    if flavour == Flavour::NetFlow9 {
        fields.push(Field::number(IcmpTypeCodeIpv4, 2, |flow, _| icmp_type_code(flow)));
    }
    Layout::new(0, fields)
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
