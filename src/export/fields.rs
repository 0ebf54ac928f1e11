//! The fields of a flow's record: which of them there are, and which a record has.

use super::element::Element;
use super::layout::{Field, Layout};
use crate::flow::key_fields::KeyFields;
use crate::flow::{FlowRecord, UserName};
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

/// Which fields records have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FieldChoice {
    /// What NetFlow v5 has.
    Basic,
    /// And what else there is in a flow.
    #[default]
    Standard,
    /// And what became of the packets.
    WithVerdicts,
    /// And other forms of it, for collectors that want those.
    Full,
    /// These.
    List(Vec<Element>),
    /// And what NAT makes of their packets.
    WithNat(Box<Self>),
    /// And how many packets there were on the wire.
    WithEstimate(Box<Self>),
}

/// Those that the flow table has to keep more for.
const DETAILS: [Element; 14] = [
    Element::SourceMacAddress,
    Element::DestinationMacAddress,
    Element::Dot1qCustomerVlanId,
    Element::MplsTopLabelStackSection,
    Element::FlowLabelIpv6,
    Element::NextHeaderIpv6,
    Element::TcpOptions,
    Element::MinimumIpTotalLength,
    Element::MaximumIpTotalLength,
    Element::UserName,
    Element::NetfilterUid,
    Element::NetfilterGid,
    Element::IngressPhysicalInterface,
    Element::EgressPhysicalInterface,
];

/// The same of those that few want, so that a list has to name them.
const WHERE_ASKED: [Element; 4] =
    [Element::FragmentIdentification, Element::NetfilterMark, Element::NetfilterHook, Element::EstimatedPackets];

/// What is told of a flow's connection. flowId is the element that Cisco's firewalls have for that, and nfdump reads as such.
pub const NAT: [Element; 7] = [
    Element::PostNatSourceIpv4Address,
    Element::PostNatDestinationIpv4Address,
    Element::PostNatSourceIpv6Address,
    Element::PostNatDestinationIpv6Address,
    Element::PostNaptSourceTransportPort,
    Element::PostNaptDestinationTransportPort,
    Element::FlowId,
];

impl FieldChoice {
    /// Whether they say what NAT makes of packets.
    pub fn tell_nat(&self) -> bool {
        match self {
            Self::WithNat(_) => true,
            Self::WithEstimate(choice) => choice.tell_nat(),
            _ => false,
        }
    }

    /// Those of its elements that are not IANA's, and so have to be described to collectors.
    pub fn of_enterprises(&self) -> Vec<Element> {
        let elements = self.elements(Flavour::Ipfix).into_iter();
        elements.filter(|element| element.enterprise().is_some()).collect()
    }

    /// Whether records have this, where there is something to say by it.
    pub fn has(&self, element: Element) -> bool {
        self.elements(Flavour::Ipfix).contains(&element)
    }

    /// Whether there are any for which the flow table has to keep details.
    pub fn need_details(&self) -> bool {
        match self {
            Self::Basic | Self::Standard | Self::WithVerdicts => false,
            Self::Full => true,
            Self::List(elements) => {
                elements.iter().any(|element| DETAILS.contains(element) || WHERE_ASKED.contains(element))
            }
            Self::WithNat(choice) => choice.need_details(),
            Self::WithEstimate(_) => true,
        }
    }

    /// The elements of a record, in their order. Those that the records of a protocol, an IP version or a key do not have
    /// are left out later.
    pub(crate) fn elements(&self, flavour: Flavour) -> Vec<Element> {
        use Element::*;
        let key = [
            SourceIpv4Address,
            DestinationIpv4Address,
            SourceIpv6Address,
            DestinationIpv6Address,
            SourceIpv4PrefixLength,
            DestinationIpv4PrefixLength,
            SourceIpv6PrefixLength,
            DestinationIpv6PrefixLength,
            SourceTransportPort,
            DestinationTransportPort,
            ProtocolIdentifier,
            IpClassOfService,
            IngressInterface,
        ];
        let rule = [VlanId, SelectorId];
        let values = [TcpControlBits, EgressInterface, PacketDeltaCount, OctetDeltaCount];
        let times = match flavour {
            Flavour::NetFlow9 => [FlowStartSysUpTime, FlowEndSysUpTime],
            Flavour::Ipfix => [FlowStartMilliseconds, FlowEndMilliseconds],
        };
        let ends = [MinimumTtl, MaximumTtl, FlowDirection, FlowEndReason];
        // nfdump looks for ICMP's type in a field of its own in NetFlow v9 (for both IP versions), in the destination port in
        // IPFIX, where that field would make it forget the ports of SCTP and DCCP
        let icmp: &[Element] = if flavour == Flavour::NetFlow9 { &[IcmpTypeCodeIpv4] } else { &[] };
        // In NetFlow v9, the latter is Cisco's firewalls' way to say that a record is an event of theirs rather than a flow, for
        // which nfcapd then takes every one.
        let verdict: &[Element] =
            if flavour == Flavour::NetFlow9 { &[ForwardingStatus] } else { &[ForwardingStatus, FirewallEvent] };
        let forms = [
            IpVersion,
            Dot1qVlanId,
            IcmpTypeIpv4,
            IcmpCodeIpv4,
            IcmpTypeIpv6,
            IcmpCodeIpv6,
            FlowStartSeconds,
            FlowEndSeconds,
            FlowDurationMilliseconds,
        ];
        let parts: &[&[Element]] = match self {
            Self::Basic => &[&key, &values, &times],
            Self::Standard => &[&key, &rule, &values, &times, &ends, icmp],
            Self::WithVerdicts => &[&key, &rule, &values, &times, &ends, verdict, icmp],
            Self::Full => &[&key, &rule, &values, &times, &ends, verdict, icmp, &forms, &DETAILS],
            Self::List(elements) => &[elements],
            Self::WithNat(choice) => &[&choice.elements(flavour), &NAT],
            Self::WithEstimate(choice) => &[&choice.elements(flavour), &[EstimatedPackets]],
        };
        parts.concat()
    }
}

/// The record of one IP version, of flows that have these fields of a key in common: of the others, there is nothing to say.
pub fn flow_layout(flavour: Flavour, ip_version: u8, key: &KeyFields, choice: &FieldChoice) -> Layout<FlowRecord> {
    let elements = choice.elements(flavour).into_iter();
    let elements = elements.filter(|element| is_told(*element, flavour, ip_version, key));
    Layout::new(0, elements.filter_map(|element| field(element, flavour, key)).collect())
}

/// The two parts of a biflow's record: the direction of who began, and what is said of the other.
pub fn biflow_layouts(
    ip_version: u8,
    key: &KeyFields,
    choice: &FieldChoice,
) -> (Layout<FlowRecord>, Layout<FlowRecord>) {
    let flavour = Flavour::Ipfix;
    let elements = || {
        let elements = choice.elements(flavour).into_iter();
        elements.filter(|element| is_told(*element, flavour, ip_version, key))
    };
    let forward = elements().filter_map(|element| field(element, flavour, key));
    // 1: the forward direction is that of the initiator; 0: nobody knows (RFC 5103 section 6.3)
    let direction = Field::number(Element::BiflowDirection, 1, |flow: &FlowRecord, _| flow.is_initiators.into());
    let reverse = elements().filter(|element| is_reversible(*element));
    let reverse = reverse.filter_map(|element| field(element, flavour, key));
    (Layout::new(0, forward.chain([direction]).collect()), Layout::new(0, reverse.collect()))
}

/// Whether the two directions of a conversation each have it. Only IANA's elements can be reversed (RFC 5103 section 6.1).
fn is_reversible(element: Element) -> bool {
    use Element::*;
    matches!(
        element,
        IpClassOfService
            | IngressInterface
            | EgressInterface
            | VlanId
            | SelectorId
            | FlowDirection
            | ForwardingStatus
            | FirewallEvent
            | TcpControlBits
            | PacketDeltaCount
            | OctetDeltaCount
            | MinimumTtl
            | MaximumTtl
            | FlowEndReason
            | FlowStartSeconds
            | FlowEndSeconds
            | FlowStartMilliseconds
            | FlowEndMilliseconds
            | FlowStartMicroseconds
            | FlowEndMicroseconds
            | FlowStartNanoseconds
            | FlowEndNanoseconds
            | FlowDurationMilliseconds
            | FlowDurationMicroseconds
            | SourceMacAddress
            | DestinationMacAddress
            | Dot1qVlanId
            | Dot1qCustomerVlanId
            | MplsTopLabelStackSection
            | FragmentIdentification
            | FlowLabelIpv6
            | NextHeaderIpv6
            | TcpOptions
            | MinimumIpTotalLength
            | MaximumIpTotalLength
            | UserName
            | IngressPhysicalInterface
            | EgressPhysicalInterface
    )
}

/// Whether there is something to say by this element.
fn is_told(element: Element, flavour: Flavour, ip_version: u8, key: &KeyFields) -> bool {
    use Element::*;
    let (source, destination, all) = key.prefixes(ip_version);
    let v4 = ip_version == 4;
    let icmp = key.protocol && key.destination_port;
    match element {
        SourceIpv4Address => v4 && source > 0,
        DestinationIpv4Address => v4 && destination > 0,
        SourceIpv6Address => !v4 && source > 0,
        DestinationIpv6Address => !v4 && destination > 0,
        SourceIpv4PrefixLength => v4 && (1..all).contains(&source),
        DestinationIpv4PrefixLength => v4 && (1..all).contains(&destination),
        SourceIpv6PrefixLength => !v4 && (1..all).contains(&source),
        DestinationIpv6PrefixLength => !v4 && (1..all).contains(&destination),
        SourceTransportPort => key.source_port,
        DestinationTransportPort => key.destination_port,
        ProtocolIdentifier => key.protocol,
        IpClassOfService => key.tos,
        IngressInterface => key.input,
        VlanId | Dot1qVlanId => key.vlan,
        PostNatSourceIpv4Address | PostNatDestinationIpv4Address => v4,
        PostNatSourceIpv6Address | PostNatDestinationIpv6Address => !v4,
        FlowLabelIpv6 | NextHeaderIpv6 => !v4,
        SelectorId => key.selector,
        IcmpTypeCodeIpv4 => icmp && (v4 || flavour == Flavour::NetFlow9),
        IcmpTypeIpv4 | IcmpCodeIpv4 => icmp && v4,
        IcmpTypeCodeIpv6 | IcmpTypeIpv6 | IcmpCodeIpv6 => icmp && !v4,
        // NetFlow v9 has no enterprises
        NetfilterMark | NetfilterHook | NetfilterUid | NetfilterGid | EstimatedPackets => flavour == Flavour::Ipfix,
        // there it is IPv4's, of two octets
        FragmentIdentification => v4 || flavour == Flavour::Ipfix,
        // only a header of NetFlow says when the uptime began
        FlowStartSysUpTime | FlowEndSysUpTime => flavour == Flavour::NetFlow9,
        _ => true,
    }
}

/// The field that an element is in a flow's record; `None` if it is not about flows.
pub fn field(element: Element, flavour: Flavour, key: &KeyFields) -> Option<Field<FlowRecord>> {
    use Element::*;
    let control_bits = if flavour == Flavour::NetFlow9 { 1 } else { 2 };
    let (selector, selector_length) = selector_id(flavour);
    let prefixes = [4, 6].map(|version| key.prefixes(version));
    let number = |length, number: fn(&FlowRecord, Timestamp) -> u64| Some(Field::number(element, length, number));
    match element {
        SourceIpv4Address => Some(Field::octets(element, 4, |flow: &FlowRecord| &flow.key.source)),
        DestinationIpv4Address => Some(Field::octets(element, 4, |flow: &FlowRecord| &flow.key.destination)),
        SourceIpv6Address => Some(Field::octets(element, 16, |flow: &FlowRecord| &flow.key.source)),
        DestinationIpv6Address => Some(Field::octets(element, 16, |flow: &FlowRecord| &flow.key.destination)),
        SourceIpv4PrefixLength => Some(Field::constant(element, 1, prefixes[0].0.into())),
        DestinationIpv4PrefixLength => Some(Field::constant(element, 1, prefixes[0].1.into())),
        SourceIpv6PrefixLength => Some(Field::constant(element, 1, prefixes[1].0.into())),
        DestinationIpv6PrefixLength => Some(Field::constant(element, 1, prefixes[1].1.into())),
        SelectorId => Some(Field::number(selector, selector_length, |flow, _| flow.key.selector.into())),
        IpVersion => number(1, |flow, _| flow.key.ip_version.into()),
        SourceTransportPort => number(2, |flow, _| flow.key.source_port.into()),
        DestinationTransportPort => number(2, |flow, _| flow.key.destination_port.into()),
        ProtocolIdentifier => number(1, |flow, _| flow.key.protocol.into()),
        IpClassOfService => number(1, |flow, _| flow.key.tos.into()),
        IngressInterface => number(4, |flow, _| flow.key.input.into()),
        VlanId | Dot1qVlanId => number(2, |flow, _| flow.key.vlan.into()),
        TcpControlBits => number(control_bits, |flow, _| flow.tcp_flags.into()),
        EgressInterface => number(4, |flow, _| flow.output.into()),
        PacketDeltaCount => number(8, |flow, _| flow.packets),
        OctetDeltaCount => number(8, |flow, _| flow.octets),
        MinimumTtl => number(1, |flow, _| flow.min_ttl.into()),
        MaximumTtl => number(1, |flow, _| flow.max_ttl.into()),
        FlowDirection => number(1, |flow, _| flow.direction as u64),
        FlowEndReason => number(1, |flow, _| flow.end_reason as u64),
        // one octet of the four that it may have: what all collectors take
        ForwardingStatus => number(1, |flow, _| flow.forwarding_status as u64),
        FirewallEvent => number(1, |flow, _| flow.forwarding_status.firewall_event().into()),
        IcmpTypeCodeIpv4 | IcmpTypeCodeIpv6 => number(2, |flow, _| icmp_type_code(flow)),
        IcmpTypeIpv4 | IcmpTypeIpv6 => number(1, |flow, _| icmp_type_code(flow) >> 8),
        IcmpCodeIpv4 | IcmpCodeIpv6 => number(1, |flow, _| icmp_type_code(flow) & 0xff),
        FlowStartSysUpTime => number(4, |flow, boot| uptime(flow.first, boot)),
        FlowEndSysUpTime => number(4, |flow, boot| uptime(flow.last, boot)),
        FlowStartSeconds => number(4, |flow, _| flow.first.seconds()),
        FlowEndSeconds => number(4, |flow, _| flow.last.seconds()),
        FlowStartMilliseconds => number(8, |flow, _| flow.first.millis()),
        FlowEndMilliseconds => number(8, |flow, _| flow.last.millis()),
        FlowStartMicroseconds => number(8, |flow, _| ntp(flow.first) & !MICROSECONDS_UNUSED),
        FlowEndMicroseconds => number(8, |flow, _| ntp(flow.last) & !MICROSECONDS_UNUSED),
        FlowStartNanoseconds => number(8, |flow, _| ntp(flow.first)),
        FlowEndNanoseconds => number(8, |flow, _| ntp(flow.last)),
        FlowDurationMilliseconds => number(4, |flow, _| flow.last.since(flow.first).as_millis() as u64),
        FlowDurationMicroseconds => number(4, |flow, _| flow.last.since(flow.first).as_micros() as u64),
        _ => detail(element, flavour).or_else(|| nat(element)),
    }
}

/// The same for what the flow table keeps only where it is asked for. NetFlow v9 says some of it in fewer octets (RFC 3954
/// section 8).
fn detail(element: Element, flavour: Flavour) -> Option<Field<FlowRecord>> {
    use Element::*;
    let length = |netflow9, ipfix| if flavour == Flavour::NetFlow9 { netflow9 } else { ipfix };
    let number = |length, number: fn(&FlowRecord, Timestamp) -> u64| Some(Field::number(element, length, number));
    match element {
        SourceMacAddress => Some(Field::octets(element, 6, |flow: &FlowRecord| &flow.details.first.macs[0])),
        DestinationMacAddress => Some(Field::octets(element, 6, |flow: &FlowRecord| &flow.details.first.macs[1])),
        Dot1qCustomerVlanId => number(2, |flow, _| flow.details.first.inner_vlan.into()),
        MplsTopLabelStackSection => Some(Field::octets(element, 3, |flow: &FlowRecord| &flow.details.first.mpls)),
        FragmentIdentification => number(length(2, 4), |flow, _| flow.details.first.identification.into()),
        FlowLabelIpv6 => number(length(3, 4), |flow, _| flow.details.first.flow_label.into()),
        NextHeaderIpv6 => number(1, |flow, _| flow.details.first.next_header.into()),
        TcpOptions => number(8, |flow, _| flow.details.tcp_options),
        EstimatedPackets => number(8, |flow, _| flow.details.segments.count),
        NetfilterMark => number(4, |flow, _| flow.details.first.mark.into()),
        NetfilterHook => number(1, |flow, _| flow.details.first.hook.into()),
        NetfilterUid => number(4, |flow, _| flow.details.first.provenance.owner()[0].into()),
        NetfilterGid => number(4, |flow, _| flow.details.first.provenance.owner()[1].into()),
        UserName => Some(Field::octets(element, self::UserName::LENGTH, |flow: &FlowRecord| flow.user_name.octets())),
        IngressPhysicalInterface => number(4, |flow, _| flow.details.first.provenance.ports()[0].into()),
        EgressPhysicalInterface => number(4, |flow, _| flow.details.first.provenance.ports()[1].into()),
        MinimumIpTotalLength if flavour == Flavour::NetFlow9 => number(2, |flow, _| short(flow.details.lengths[0])),
        MaximumIpTotalLength if flavour == Flavour::NetFlow9 => number(2, |flow, _| short(flow.details.lengths[1])),
        MinimumIpTotalLength => number(8, |flow, _| flow.details.lengths[0].into()),
        MaximumIpTotalLength => number(8, |flow, _| flow.details.lengths[1].into()),
        _ => None,
    }
}

/// The same for what connection tracking says. The kernel numbers connections by 32 bits, which is a flowId's reduced size
/// (RFC 7011 section 6.2).
fn nat(element: Element) -> Option<Field<FlowRecord>> {
    use Element::*;
    let number = |length, number: fn(&FlowRecord, Timestamp) -> u64| Some(Field::number(element, length, number));
    let address = |length, octets: fn(&FlowRecord) -> &[u8]| Some(Field::octets(element, length, octets));
    match element {
        PostNatSourceIpv4Address => address(4, |flow| &flow.tracked.after_nat.source),
        PostNatDestinationIpv4Address => address(4, |flow| &flow.tracked.after_nat.destination),
        PostNatSourceIpv6Address => address(16, |flow| &flow.tracked.after_nat.source),
        PostNatDestinationIpv6Address => address(16, |flow| &flow.tracked.after_nat.destination),
        PostNaptSourceTransportPort => number(2, |flow, _| flow.tracked.after_nat.source_port.into()),
        PostNaptDestinationTransportPort => number(2, |flow, _| flow.tracked.after_nat.destination_port.into()),
        FlowId => number(4, |flow, _| flow.tracked.id.into()),
        _ => None,
    }
}

/// As much of a length as two octets can say.
fn short(length: u32) -> u64 {
    length.min(u16::MAX.into()).into()
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

/// Bits that a dateTimeMicroseconds has as 0 (RFC 7011 section 6.1.9).
const MICROSECONDS_UNUSED: u64 = 0x7ff;

/// Seconds since 1900 in the upper half, a fraction of a second in the lower (RFC 7011 section 6.1.10): the era changes in
/// 2036.
fn ntp(time: Timestamp) -> u64 {
    const FROM_1900_TO_1970: u64 = 2_208_988_800;
    let fraction = ((time.nanos() % 1_000_000_000) << 32) / 1_000_000_000;
    (time.seconds().wrapping_add(FROM_1900_TO_1970) << 32) | fraction
}

/// Type * 256 + code, which is also where the destination port would be.
fn icmp_type_code(flow: &FlowRecord) -> u64 {
    match IpNumber(flow.key.protocol) {
        IpNumber::ICMP | IpNumber::IPV6_ICMP => flow.key.destination_port.into(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::layout::Value;
    use crate::flow::tests::record;

    /// What a record of these elements holds.
    fn values(elements: &[Element], flow: &FlowRecord) -> Vec<(&'static str, u64)> {
        let choice = FieldChoice::List(elements.to_vec());
        let layout = flow_layout(Flavour::Ipfix, flow.key.ip_version, &KeyFields::ALL, &choice);
        let values = layout.values(flow).filter_map(|(element, value)| match value {
            Value::Number(number) => Some((element.name(), number)),
            Value::Octets(_) => None,
        });
        values.collect()
    }

    #[test]
    fn times_in_every_unit() {
        use Element::*;
        // 2023-11-14 22:13:20.123 and 22:13:21.456
        let flow = record();
        assert_eq!(
            values(&[FlowStartSeconds, FlowEndSeconds, FlowDurationMilliseconds, FlowDurationMicroseconds], &flow),
            [
                ("flowStartSeconds", 1_700_000_000),
                ("flowEndSeconds", 1_700_000_001),
                ("flowDurationMilliseconds", 1333),
                ("flowDurationMicroseconds", 1_333_000),
            ]
        );
        let [(_, micro), (_, nano)] = values(&[FlowStartMicroseconds, FlowStartNanoseconds], &flow)[..] else {
            panic!()
        };
        assert_eq!((nano >> 32) - 2_208_988_800, 1_700_000_000);
        assert_eq!(((nano & 0xffff_ffff) * 1000) >> 32, 122, "123 thousandths are no binary fraction");
        assert_eq!((micro, micro & 0x7ff), (nano & !0x7ff, 0));
    }

    #[test]
    fn icmp_in_both_forms_and_only_where_it_is() {
        use Element::*;
        let split = [IcmpTypeIpv4, IcmpCodeIpv4, IcmpTypeIpv6, IcmpCodeIpv6, IcmpTypeCodeIpv4];
        let mut flow = record();
        assert_eq!(values(&split, &flow).iter().map(|(_, number)| number).sum::<u64>(), 0);
        (flow.key.protocol, flow.key.destination_port) = (1, 0x0803);
        let expected = [("icmpTypeIPv4", 8), ("icmpCodeIPv4", 3), ("icmpTypeCodeIPv4", 0x0803)];
        assert_eq!(values(&split, &flow), expected);
        (flow.key.ip_version, flow.key.protocol) = (6, 58);
        assert_eq!(values(&split, &flow), [("icmpTypeIPv6", 8), ("icmpCodeIPv6", 3)]);
    }

    #[test]
    fn a_full_record_has_all_of_a_standard_one_and_that_all_of_a_basic_one() {
        for flavour in [Flavour::NetFlow9, Flavour::Ipfix] {
            let choices = [FieldChoice::Basic, FieldChoice::Standard, FieldChoice::WithVerdicts, FieldChoice::Full];
            let elements = choices.map(|choice| choice.elements(flavour));
            for pair in elements.windows(2) {
                assert!(pair[0].len() < pair[1].len());
                assert!(pair[0].iter().all(|element| pair[1].contains(element)));
            }
        }
    }
}
