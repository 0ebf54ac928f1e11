//! Options records: what a collector needs to know beside flows (RFC 7011 section 4, RFC 3954 section 6, RFC 5476
//! section 6.5).
//!
//! Collectors look for the same thing in different places, so it is said in each of them.

use super::element::{ENTERPRISE, Element};
use super::fields::{Flavour, selector_id};
use super::layout::{Field, Layout};
use crate::time::Timestamp;

/// Octets of strings. The kernel's names of interfaces have at most 15.
const NAME: u16 = 16;
/// The same of longer ones: a description or a rule's prefix may be cut off.
pub const DESCRIPTION: u16 = 64;

/// Which packets were selected, and how many: a row of the sampling and selector options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Observation domain or source id of this exporter.
    pub domain: u32,
    /// selectorId, as flow records have it.
    pub id: u16,
    /// Its name, which is the prefix of the rule unless the operator has another.
    pub name: Vec<u8>,
    /// One in so many packets is selected.
    pub rate: u32,
    /// Packets in the flow records exported so far.
    pub packets: u64,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// ifIndex.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its alias, or its name if it has none.
    pub description: String,
}

/// An element that is not IANA's, so that a collector cannot know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementType(pub Element);

/// What the metering and the exporting process did since they began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Observation domain or source id of this exporter.
    pub domain: u32,
    /// This system's number for the process.
    pub process: u32,
    /// Octets of messages sent, be they refused: the sequence numbers count those, too.
    pub exported_octets: u64,
    /// Messages sent.
    pub exported_messages: u64,
    /// Flow records in them.
    pub exported_flows: u64,
    /// Flow records made.
    pub observed_flows: u64,
    /// Packets that are in no flow: lost in the kernel by its sequence numbers, or for lack of room in the table.
    pub ignored_packets: u64,
    /// Octets of the latter; how long a lost packet was is not known.
    pub ignored_octets: u64,
    /// When the first and the last of them were missed.
    pub ignored_times: [Timestamp; 2],
    /// Flow records that could not be sent.
    pub not_sent_flows: u64,
    /// Packets in them.
    pub not_sent_packets: u64,
    /// Octets in them.
    pub not_sent_octets: u64,
    /// When the first and the last of them were.
    pub not_sent_times: [Timestamp; 2],
}

/// The options about selections.
///
/// RFC 5476 has the selector as scope, and 304 to 306. Akvorado looks for the selector among the fields that are no scopes;
/// goflow2 takes 305 for the rate, unless an earlier record of the message has 34; nfcapd 1.7.1 needs 34 beside the
/// selector, later ones 304 to 306 or 48 to 50; nfcapd 1.7.1 does not bear 35 beside a sampler.
pub fn selections(flavour: Flavour) -> Vec<Layout<Selection>> {
    use Element::*;
    let (element, length) = selector_id(flavour);
    let id = || Field::number(element, length, |row: &Selection, _| row.id.into());
    let rate = |element| Field::number(element, 4, |row: &Selection, _| row.rate.into());
    // each of the algorithms' registries has 1 for "every Nth packet"
    let every_nth = |element, length| Field::number(element, length, |_: &Selection, _| 1);
    let space = Field::number(SamplingPacketSpace, 4, |row: &Selection, _| u64::from(row.rate) - 1);
    let domain = Field::number(ObservationDomainId, 4, |row: &Selection, _| row.domain.into());
    let selector = [
        // not as a sampler, which nfacctd would take for one without a rate
        Field::number(SelectorId, length, |row: &Selection, _| row.id.into()),
        Field::octets(SelectorName, DESCRIPTION, |row: &Selection| &row.name),
        Field::number(SelectorIdTotalPktsObserved, 8, |row, _| row.packets.saturating_mul(row.rate.into())),
        Field::number(SelectorIdTotalPktsSelected, 8, |row, _| row.packets),
    ];
    match flavour {
        Flavour::NetFlow9 => vec![
            Layout::new(1, vec![Field::system(), rate(SamplingInterval), every_nth(SamplingAlgorithm, 1)]),
            Layout::new(
                1,
                vec![
                    Field::system(),
                    id(),
                    every_nth(SamplerMode, 1),
                    rate(SamplerRandomInterval),
                    rate(SamplingInterval),
                ],
            ),
            Layout::new(1, [Field::system()].into_iter().chain(selector).collect()),
        ],
        Flavour::Ipfix => vec![
            Layout::new(1, vec![domain, id(), rate(SamplingInterval)]),
            Layout::new(1, vec![id(), every_nth(SelectorAlgorithm, 2), every_nth(SamplingPacketInterval, 4), space]),
            Layout::new(1, selector.into()),
        ],
    }
}

/// The option about interfaces: about the exporter, with the interface for a field, as Cisco's routers say it. With the
/// interface as scope, as IPFIX would have it, nfcapd 1.7.1 finds no names.
pub fn interfaces(flavour: Flavour) -> Layout<Interface> {
    use Element::*;
    let exporter = match flavour {
        Flavour::NetFlow9 => Field::system(),
        // 0 is no certain one
        Flavour::Ipfix => Field::constant(ObservationDomainId, 4, 0),
    };
    let fields = vec![
        exporter,
        Field::number(IngressInterface, 4, |row: &Interface, _| row.index.into()),
        Field::octets(InterfaceName, NAME, |row| row.name.as_bytes()),
        Field::octets(InterfaceDescription, DESCRIPTION, |row| row.description.as_bytes()),
    ];
    Layout::new(1, fields)
}

/// The option about elements of enterprises (RFC 5610 section 3), which NetFlow v9 has none of.
pub fn element_types(flavour: Flavour) -> Option<Layout<ElementType>> {
    use Element::*;
    let fields = vec![
        Field::number(PrivateEnterpriseNumber, 4, |row: &ElementType, _| row.0.enterprise().unwrap_or_default().into()),
        Field::number(InformationElementId, 2, |row, _| u64::from(row.0 as u16 & !ENTERPRISE)),
        Field::number(InformationElementDataType, 1, |row, _| data_type(row.0)),
        Field::number(InformationElementSemantics, 1, |row, _| semantics(row.0)),
        Field::octets(InformationElementName, NAME, |row| row.0.name().as_bytes()),
    ];
    (flavour == Flavour::Ipfix).then(|| Layout::new(2, fields))
}

/// Its number in the registry of informationElementDataType.
fn data_type(element: Element) -> u64 {
    match element {
        Element::NetfilterHook => 1,    // unsigned8
        Element::EstimatedPackets => 4, // unsigned64
        _ => 3,                         // unsigned32
    }
}

/// Its number in the registry of informationElementSemantics.
fn semantics(element: Element) -> u64 {
    match element {
        Element::EstimatedPackets => 3, // deltaCounter
        _ => 4,                         // identifier
    }
}

/// The options about the metering and the exporting process: statistics, the one's reliability, the other's (RFC 7011
/// sections 4.1 to 4.3). Two elements of one kind are the first and the last time, in IPFIX, which wants them.
pub fn statistics(flavour: Flavour) -> Vec<Layout<Statistics>> {
    use Element::*;
    let exported = [
        Field::number(ExportedOctetTotalCount, 8, |row: &Statistics, _| row.exported_octets),
        Field::number(ExportedMessageTotalCount, 8, |row, _| row.exported_messages),
        Field::number(ExportedFlowRecordTotalCount, 8, |row, _| row.exported_flows),
        Field::number(ObservedFlowTotalCount, 8, |row, _| row.observed_flows),
    ];
    let ignored = [
        Field::number(IgnoredPacketTotalCount, 8, |row: &Statistics, _| row.ignored_packets),
        Field::number(IgnoredOctetTotalCount, 8, |row, _| row.ignored_octets),
    ];
    let not_sent = [
        Field::number(NotSentFlowTotalCount, 8, |row: &Statistics, _| row.not_sent_flows),
        Field::number(NotSentPacketTotalCount, 8, |row, _| row.not_sent_packets),
        Field::number(NotSentOctetTotalCount, 8, |row, _| row.not_sent_octets),
    ];
    let ignored_times: [fn(&Statistics, Timestamp) -> u64; 2] =
        [|row, _| row.ignored_times[0].millis(), |row, _| row.ignored_times[1].millis()];
    let not_sent_times: [fn(&Statistics, Timestamp) -> u64; 2] =
        [|row, _| row.not_sent_times[0].millis(), |row, _| row.not_sent_times[1].millis()];
    let times = |both: [fn(&Statistics, Timestamp) -> u64; 2]| {
        let wanted = both.into_iter().filter(move |_| flavour == Flavour::Ipfix);
        wanted.map(|time| Field::number(ObservationTimeMilliseconds, 8, time))
    };
    let about = |scope, fields: Vec<Field<Statistics>>| {
        let scope = match flavour {
            Flavour::NetFlow9 => Field::system(),
            Flavour::Ipfix => scope,
        };
        Layout::new(1, [scope].into_iter().chain(fields).collect())
    };
    vec![
        about(Field::number(ObservationDomainId, 4, |row, _| row.domain.into()), exported.into()),
        about(
            Field::number(MeteringProcessId, 4, |row, _| row.process.into()),
            ignored.into_iter().chain(times(ignored_times)).collect(),
        ),
        about(
            Field::number(ExportingProcessId, 4, |row, _| row.process.into()),
            not_sent.into_iter().chain(times(not_sent_times)).collect(),
        ),
    ]
}
