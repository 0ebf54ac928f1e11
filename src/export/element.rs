//! The information elements that nfweir fills in, by their numbers and names in IANA's registry (RFC 7012). NetFlow v9
//! (RFC 3954 section 8) shares those below 128. What IANA has no elements for is netfilter's own, with the bit that says so:
//! 1 to 8 are as netfilter's ulogd numbers them, of which 4 and 5 are here; those from 9 on, which it has none for, are
//! nfweir's.

/// The bit of an element's number that says that an enterprise's number follows (RFC 7011 section 3.2).
pub const ENTERPRISE: u16 = 0x8000;
/// Netfilter among the private enterprises.
pub const NETFILTER: u32 = 21_373;

/// What an element's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Number,
    /// An IPv4 or IPv6 address, by its length.
    Address,
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Seconds since 1900 and a fraction of one, in 32 bits each, of which the last 11 are 0.
    Microseconds,
    /// Seconds since 1900 and a fraction of one, in 32 bits each.
    Nanoseconds,
    /// A string.
    Text,
    /// An Ethernet address.
    Mac,
    /// Octets that are nothing else.
    Octets,
    /// The number of a user or group; the highest of 32 bits where there is none.
    Account,
}

macro_rules! elements {
    ($($element:ident = $number:literal, $name:literal, $kind:ident;)*) => {
        /// An information element.
        #[expect(missing_docs, reason = "the names are those of the registry, which describes them")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Element {
            $($element = $number,)*
        }

        impl Element {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$element,)*];

            /// Its name in the registry.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$element => $name,)*
                }
            }

            /// The one with this name, in capital letters or not.
            pub fn by_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|element| element.name().eq_ignore_ascii_case(name))
            }

            /// Whose it is, if not IANA's.
            pub const fn enterprise(self) -> Option<u32> {
                if self as u16 & ENTERPRISE == 0 { None } else { Some(NETFILTER) }
            }

            /// What its content is.
            pub const fn kind(self) -> Kind {
                match self {
                    $(Self::$element => Kind::$kind,)*
                }
            }
        }
    };
}

elements! {
    OctetDeltaCount = 1, "octetDeltaCount", Number;
    PacketDeltaCount = 2, "packetDeltaCount", Number;
    ProtocolIdentifier = 4, "protocolIdentifier", Number;
    IpClassOfService = 5, "ipClassOfService", Number;
    TcpControlBits = 6, "tcpControlBits", Number;
    SourceTransportPort = 7, "sourceTransportPort", Number;
    SourceIpv4Address = 8, "sourceIPv4Address", Address;
    SourceIpv4PrefixLength = 9, "sourceIPv4PrefixLength", Number;
    IngressInterface = 10, "ingressInterface", Number;
    DestinationTransportPort = 11, "destinationTransportPort", Number;
    DestinationIpv4Address = 12, "destinationIPv4Address", Address;
    DestinationIpv4PrefixLength = 13, "destinationIPv4PrefixLength", Number;
    EgressInterface = 14, "egressInterface", Number;
    FlowEndSysUpTime = 21, "flowEndSysUpTime", Number;
    FlowStartSysUpTime = 22, "flowStartSysUpTime", Number;
    MinimumIpTotalLength = 25, "minimumIpTotalLength", Number;
    MaximumIpTotalLength = 26, "maximumIpTotalLength", Number;
    SourceIpv6Address = 27, "sourceIPv6Address", Address;
    DestinationIpv6Address = 28, "destinationIPv6Address", Address;
    SourceIpv6PrefixLength = 29, "sourceIPv6PrefixLength", Number;
    DestinationIpv6PrefixLength = 30, "destinationIPv6PrefixLength", Number;
    FlowLabelIpv6 = 31, "flowLabelIPv6", Number;
    IcmpTypeCodeIpv4 = 32, "icmpTypeCodeIPv4", Number;
    SamplingInterval = 34, "samplingInterval", Number;
    SamplingAlgorithm = 35, "samplingAlgorithm", Number;
    ExportedOctetTotalCount = 40, "exportedOctetTotalCount", Number;
    ExportedMessageTotalCount = 41, "exportedMessageTotalCount", Number;
    ExportedFlowRecordTotalCount = 42, "exportedFlowRecordTotalCount", Number;
    SamplerId = 48, "samplerId", Number;
    SamplerMode = 49, "samplerMode", Number;
    SamplerRandomInterval = 50, "samplerRandomInterval", Number;
    MinimumTtl = 52, "minimumTTL", Number;
    MaximumTtl = 53, "maximumTTL", Number;
    FragmentIdentification = 54, "fragmentIdentification", Number;
    SourceMacAddress = 56, "sourceMacAddress", Mac;
    VlanId = 58, "vlanId", Number;
    IpVersion = 60, "ipVersion", Number;
    FlowDirection = 61, "flowDirection", Number;
    MplsTopLabelStackSection = 70, "mplsTopLabelStackSection", Octets;
    DestinationMacAddress = 80, "destinationMacAddress", Mac;
    InterfaceName = 82, "interfaceName", Text;
    InterfaceDescription = 83, "interfaceDescription", Text;
    ForwardingStatus = 89, "forwardingStatus", Number;
    FlowEndReason = 136, "flowEndReason", Number;
    IcmpTypeCodeIpv6 = 139, "icmpTypeCodeIPv6", Number;
    MeteringProcessId = 143, "meteringProcessId", Number;
    ExportingProcessId = 144, "exportingProcessId", Number;
    FlowId = 148, "flowId", Number;
    ObservationDomainId = 149, "observationDomainId", Number;
    FlowStartSeconds = 150, "flowStartSeconds", Seconds;
    FlowEndSeconds = 151, "flowEndSeconds", Seconds;
    FlowStartMilliseconds = 152, "flowStartMilliseconds", Milliseconds;
    FlowEndMilliseconds = 153, "flowEndMilliseconds", Milliseconds;
    FlowStartMicroseconds = 154, "flowStartMicroseconds", Microseconds;
    FlowEndMicroseconds = 155, "flowEndMicroseconds", Microseconds;
    FlowStartNanoseconds = 156, "flowStartNanoseconds", Nanoseconds;
    FlowEndNanoseconds = 157, "flowEndNanoseconds", Nanoseconds;
    FlowDurationMilliseconds = 161, "flowDurationMilliseconds", Number;
    FlowDurationMicroseconds = 162, "flowDurationMicroseconds", Number;
    ObservedFlowTotalCount = 163, "observedFlowTotalCount", Number;
    IgnoredPacketTotalCount = 164, "ignoredPacketTotalCount", Number;
    IgnoredOctetTotalCount = 165, "ignoredOctetTotalCount", Number;
    NotSentFlowTotalCount = 166, "notSentFlowTotalCount", Number;
    NotSentPacketTotalCount = 167, "notSentPacketTotalCount", Number;
    NotSentOctetTotalCount = 168, "notSentOctetTotalCount", Number;
    IcmpTypeIpv4 = 176, "icmpTypeIPv4", Number;
    IcmpCodeIpv4 = 177, "icmpCodeIPv4", Number;
    IcmpTypeIpv6 = 178, "icmpTypeIPv6", Number;
    IcmpCodeIpv6 = 179, "icmpCodeIPv6", Number;
    NextHeaderIpv6 = 193, "nextHeaderIPv6", Number;
    TcpOptions = 209, "tcpOptions", Number;
    PostNatSourceIpv4Address = 225, "postNATSourceIPv4Address", Address;
    PostNatDestinationIpv4Address = 226, "postNATDestinationIPv4Address", Address;
    PostNaptSourceTransportPort = 227, "postNAPTSourceTransportPort", Number;
    PostNaptDestinationTransportPort = 228, "postNAPTDestinationTransportPort", Number;
    FirewallEvent = 233, "firewallEvent", Number;
    BiflowDirection = 239, "biflowDirection", Number;
    Dot1qVlanId = 243, "dot1qVlanId", Number;
    Dot1qCustomerVlanId = 245, "dot1qCustomerVlanId", Number;
    IngressPhysicalInterface = 252, "ingressPhysicalInterface", Number;
    EgressPhysicalInterface = 253, "egressPhysicalInterface", Number;
    PostNatSourceIpv6Address = 281, "postNATSourceIPv6Address", Address;
    PostNatDestinationIpv6Address = 282, "postNATDestinationIPv6Address", Address;
    SelectorId = 302, "selectorId", Number;
    InformationElementId = 303, "informationElementId", Number;
    SelectorAlgorithm = 304, "selectorAlgorithm", Number;
    SamplingPacketInterval = 305, "samplingPacketInterval", Number;
    SamplingPacketSpace = 306, "samplingPacketSpace", Number;
    SelectorIdTotalPktsObserved = 318, "selectorIdTotalPktsObserved", Number;
    SelectorIdTotalPktsSelected = 319, "selectorIdTotalPktsSelected", Number;
    ObservationTimeMilliseconds = 323, "observationTimeMilliseconds", Milliseconds;
    SelectorName = 335, "selectorName", Text;
    InformationElementDataType = 339, "informationElementDataType", Number;
    InformationElementName = 341, "informationElementName", Text;
    InformationElementSemantics = 344, "informationElementSemantics", Number;
    PrivateEnterpriseNumber = 346, "privateEnterpriseNumber", Number;
    UserName = 371, "userName", Text;
    NetfilterMark = 0x8004, "netfilterMark", Number;
    NetfilterHook = 0x8005, "netfilterHook", Number;
    NetfilterUid = 0x8009, "netfilterUid", Account;
    NetfilterGid = 0x800a, "netfilterGid", Account;
    EstimatedPackets = 0x800b, "estimatedPackets", Number;
}

#[cfg(test)]
mod tests {
    use super::*;
    use netflow_parser::variable_versions::ipfix::lookup::IANAIPFixField;

    #[test]
    fn names_and_numbers_are_those_of_another_registry() {
        for element in Element::ALL.iter().filter(|element| element.enterprise().is_none()) {
            let theirs = format!("{:?}", IANAIPFixField::from(*element as u16));
            assert_eq!(element.name().to_lowercase(), theirs.to_lowercase());
        }
    }
}
