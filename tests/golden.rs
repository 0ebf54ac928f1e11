//! Every message kind, octet by octet.

use netflow_parser::variable_versions::ipfix::FlowSetBody as IpfixBody;
use netflow_parser::{NetflowPacket, NetflowParser};
use nfweir::export::element::Element;
use nfweir::export::encoder::{Encoder, Message, Sums};
use nfweir::export::facts::Facts;
use nfweir::export::fields::FieldChoice;
use nfweir::export::ipfix::Ipfix;
use nfweir::export::netflow5::NetFlow5;
use nfweir::export::netflow9::NetFlow9;
use nfweir::export::options::Interface;
use nfweir::export::sampling::Sampling;
use nfweir::export::selector_settings::{SelectorSetting, SelectorSettings};
use nfweir::export::templated::Templated;
use nfweir::flow::key_fields::KeyFields;
use nfweir::flow::{Direction, EndReason, Ends, FlowKey, FlowRecord, ForwardingStatus, Tracked, UserName};
use nfweir::metrics::CollectorCounters;
use nfweir::packet::details::{Details, Provenance};
use nfweir::time::Timestamp;
use std::sync::Arc;

const LIMIT: usize = 1472;

/// 2023-11-14 22:13:20.5 UTC
const NOW: Timestamp = Timestamp::from_nanos(1_700_000_000_500_000_000);

fn v4() -> FlowRecord {
    let address = |octets: [u8; 4]| std::array::from_fn(|i| octets.get(i).copied().unwrap_or_default());
    FlowRecord {
        key: FlowKey {
            source: address([10, 1, 2, 3]),
            destination: address([10, 9, 8, 7]),
            source_port: 1024,
            destination_port: 443,
            protocol: 6,
            tos: 0x10,
            ip_version: 4,
            input: 2,
            vlan: 7,
            selector: 1,
        },
        packets: 5,
        octets: 600,
        first: Timestamp::from_nanos(1_700_000_000_123_000_000),
        last: Timestamp::from_nanos(1_700_000_000_456_000_000),
        tcp_flags: 0x11b,
        first_tcp_flags: 0x002,
        min_ttl: 60,
        max_ttl: 64,
        output: 3,
        direction: Direction::Egress,
        forwarding_status: ForwardingStatus::Unknown,
        end_reason: EndReason::EndOfFlow,
        details: Details::default(),
        user_name: UserName::default(),
        is_initiators: false,
        tracked: Tracked::default(),
    }
}

fn v6() -> FlowRecord {
    let mut flow = v4();
    flow.key.ip_version = 6;
    flow.key.source = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    flow.key.destination = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    flow
}

/// A selector, two devices, every hundredth packet, and some counters that are not 0.
fn facts() -> Arc<Facts> {
    let interfaces = || {
        let interface = |index, name: &str, description: &str| Interface {
            index,
            name: name.to_owned(),
            description: description.to_owned(),
        };
        vec![interface(2, "eth0", "uplink"), interface(3, "eth1", "eth1")]
    };
    let sampling = Sampling { everywhere: 100, ..Sampling::default() };
    let facts = Facts { interfaces, sampling, captures: vec![Arc::default()], ..Facts::default() };
    assert_eq!(facts.selectors.of_group(5).index(b"web"), 1);
    facts.selectors.count_exported(&mut [0, 7]);
    facts.export.flows.add(0xa);
    facts.captures[0].lost_packets.add(1);
    facts.captures[0].ignored_packets.add(2);
    facts.captures[0].ignored_octets.add(0x100);
    Arc::new(facts)
}

/// What was sent before.
fn sent() -> Arc<CollectorCounters> {
    let sent = CollectorCounters::default();
    sent.octets.add(0x500);
    sent.messages.add(4);
    sent.records.add(9);
    sent.count_lost(&Sums { records: 1, packets: 6, octets: 0x3e8 });
    Arc::new(sent)
}

/// The messages that these flows make.
fn encode(encoder: &mut dyn Encoder, flows: &[FlowRecord], limit: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    for flow in flows {
        assert!(encoder.add(flow, NOW, limit, &mut messages));
    }
    encoder.finish(&mut messages);
    messages
}

/// Octets from hexadecimal digits; what is behind `#` says what they are.
fn octets(text: &str) -> Vec<u8> {
    let digits: String = text.lines().map(|line| line.split('#').next().unwrap_or_default().replace(' ', "")).collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What fills up a string, in hexadecimal digits.
fn zeros(octets: usize) -> String {
    "00".repeat(octets)
}

#[track_caller]
fn assert_octets(message: &Message, expected: &str) {
    assert_eq!(hex(&message.bytes), hex(&octets(expected)));
}

/// What the template records of NetFlow v9 and IPFIX share: element and length of each field behind the addresses.
const PORTS_AND_PROTOCOL: &str = "
    0007 0002    # sourceTransportPort
    000b 0002    # destinationTransportPort
    0004 0001    # protocolIdentifier
    0005 0001    # ipClassOfService
";
const INTERFACE_AND_VLAN: &str = "
    000a 0004    # ingressInterface
    003a 0002    # vlanId
";
const COUNTERS: &str = "
    0002 0008    # packetDeltaCount
    0001 0008    # octetDeltaCount
";
const FIELDS_BEHIND_TIMES: &str = "
    0034 0001    # minimumTTL
    0035 0001    # maximumTTL
    003d 0001    # flowDirection
    0088 0001    # flowEndReason
";

/// The fields of IPFIX behind the addresses.
fn ipfix_fields() -> String {
    format!(
        "
    {PORTS_AND_PROTOCOL}
    {INTERFACE_AND_VLAN}
    012e 0008            # selectorId
    0006 0002            # tcpControlBits
    000e 0004            # egressInterface
    {COUNTERS}
    0098 0008            # flowStartMilliseconds
    0099 0008            # flowEndMilliseconds
    {FIELDS_BEHIND_TIMES}
    "
    )
}

#[test]
fn ipfix_with_templates() {
    let mut encoder = Templated::new(Ipfix::new(5), facts(), sent());
    let messages = encode(&mut encoder, &[v4(), v6()], LIMIT);
    assert_eq!((messages.len(), messages[0].sums.records), (1, 2));
    let process = format!("{:08x}", std::process::id());
    let [z12, z58, z60, z61] = [12, 58, 60, 61].map(zeros);
    let fields = ipfix_fields();
    let expected = format!(
        "
    000a 03e0            # version 10, length 992
    6553f100             # export time
    00000000 00000005    # sequence number, observation domain
    0002 00a4            # template set, length
    0100 0013            # template 256 of 19 fields
    0008 0004            # sourceIPv4Address
    000c 0004            # destinationIPv4Address
    {fields}
    0101 0013            # template 257 of 19 fields
    001b 0010            # sourceIPv6Address
    001c 0010            # destinationIPv6Address
    {fields}
    0003 0016            # options template set, length
    0102 0003 0001       # template 258 of 3 fields, the first is the scope
    0095 0004            # observationDomainId
    012e 0008            # selectorId
    0022 0004            # samplingInterval
    0003 001a
    0103 0004 0001       # template 259
    012e 0008            # selectorId
    0130 0002            # selectorAlgorithm
    0131 0004            # samplingPacketInterval
    0132 0004            # samplingPacketSpace
    0003 001a
    0104 0004 0001       # template 260
    012e 0008            # selectorId
    014f 0040            # selectorName
    013e 0008            # selectorIdTotalPktsObserved
    013f 0008            # selectorIdTotalPktsSelected
    0003 001a
    0105 0004 0001       # template 261
    0095 0004            # observationDomainId
    000a 0004            # ingressInterface
    0052 0010            # interfaceName
    0053 0040            # interfaceDescription
    0003 001e
    0106 0005 0001       # template 262
    0095 0004            # observationDomainId
    0028 0008            # exportedOctetTotalCount
    0029 0008            # exportedMessageTotalCount
    002a 0008            # exportedFlowRecordTotalCount
    00a3 0008            # observedFlowTotalCount
    0003 001e
    0107 0005 0001       # template 263
    008f 0004            # meteringProcessId
    00a4 0008            # ignoredPacketTotalCount
    00a5 0008            # ignoredOctetTotalCount
    0143 0008 0143 0008  # observationTimeMilliseconds of the first and the last
    0003 0022
    0108 0006 0001       # template 264
    0090 0004            # exportingProcessId
    00a6 0008            # notSentFlowTotalCount
    00a7 0008            # notSentPacketTotalCount
    00a8 0008            # notSentOctetTotalCount
    0143 0008 0143 0008  # observationTimeMilliseconds of the first and the last
    0102 0014 00000005 0000000000000001 00000064       # of selector 1, every 100th packet
    0103 0016 0000000000000001 0001 00000001 00000063  # systematic count-based: one, then 99 not
    0104 005c 0000000000000001 776562 {z61}            # selector 1: web
    00000000000002bc 0000000000000007            # 7 packets of about 700
    0105 005c 00000000 00000002 65746830 {z12} 75706c696e6b {z58}  # interface 2: eth0, uplink
    0105 005c 00000000 00000003 65746831 {z12} 65746831 {z60}      # interface 3: eth1, eth1
    0106 0028 00000005                           # this domain exported
    0000000000000500 0000000000000004            # octets, messages
    0000000000000009 000000000000000a            # flow records, of so many made
    0107 0028 {process}                          # the metering process did not count
    0000000000000003 0000000000000100            # packets, octets as far as known
    0000018bcfe569f4 0000018bcfe569f4            # seen 1700000000500
    0108 0030 {process}                          # the exporting process did not get rid of
    0000000000000001 0000000000000006            # flow records, packets in them
    00000000000003e8                             # octets
    0000018bcfe569f4 0000018bcfe569f4            # seen 1700000000500
    0100 004a            # data set of template 256, length 74
    0a010203 0a090807    # addresses
    0400 01bb 06 10      # ports, protocol, type of service
    00000002             # input interface
    0007 0000000000000001  # VLAN, selector
    011b                 # control bits: AE, ACK, PSH, SYN, FIN
    00000003             # output interface
    0000000000000005     # packets
    0000000000000258     # octets
    0000018bcfe5687b     # 1700000000123
    0000018bcfe569c8     # 1700000000456
    3c 40 01 03          # TTLs, egress, end of flow detected
    0101 0062            # data set of template 257, length 98
    20010db8000000000000000000000001
    20010db8000000000000000000000002
    0400 01bb 06 10 00000002 0007 0000000000000001 011b 00000003
    0000000000000005 0000000000000258
    0000018bcfe5687b 0000018bcfe569c8
    3c 40 01 03
    "
    );
    assert_octets(&messages[0], &expected);
    let next = encode(&mut encoder, &[v4()], LIMIT);
    assert_eq!(hex(&next[0].bytes[8..20]), "0000000a000000050100004a", "ten data records before, and no template");
}

/// Both directions in one record: what is reversed has RFC 5103's enterprise number, 29305.
#[test]
fn ipfix_of_a_biflow() {
    let facts = Arc::new(Facts { biflows: true, ..(*facts()).clone() });
    let mut encoder = Templated::new(Ipfix::new(5), facts, sent());
    let forward = FlowRecord { is_initiators: true, ..v4() };
    let mut reverse = FlowRecord {
        packets: 4,
        octets: 400,
        first: Timestamp::from_nanos(1_700_000_000_124_000_000),
        last: Timestamp::from_nanos(1_700_000_000_455_000_000),
        tcp_flags: 0x01a,
        min_ttl: 59,
        max_ttl: 59,
        output: 2,
        direction: Direction::Ingress,
        ..v4()
    };
    let key = &mut reverse.key;
    (key.source, key.destination) = (key.destination, key.source);
    (key.source_port, key.destination_port) = (key.destination_port, key.source_port);
    (key.tos, key.input) = (0, 3);
    let mut messages = Vec::new();
    for _ in 0..2 {
        assert!(encoder.add_biflow((&forward, &reverse), NOW, LIMIT, &mut messages));
        encoder.finish(&mut messages);
    }
    let fields = ipfix_fields();
    let template = format!(
        "
    0002 00c8            # template set, length 200
    0109 0022            # template 265 of 34 fields
    0008 0004            # sourceIPv4Address
    000c 0004            # destinationIPv4Address
    {fields}
    00ef 0001            # biflowDirection
    8005 0001 00007279   # ipClassOfService of the other direction
    800a 0004 00007279   # ingressInterface
    803a 0002 00007279   # vlanId
    812e 0008 00007279   # selectorId
    8006 0002 00007279   # tcpControlBits
    800e 0004 00007279   # egressInterface
    8002 0008 00007279   # packetDeltaCount
    8001 0008 00007279   # octetDeltaCount
    8098 0008 00007279   # flowStartMilliseconds
    8099 0008 00007279   # flowEndMilliseconds
    8034 0001 00007279   # minimumTTL
    8035 0001 00007279   # maximumTTL
    803d 0001 00007279   # flowDirection
    8088 0001 00007279   # flowEndReason
    "
    );
    let message = hex(&messages[0].bytes);
    assert!(message.contains(&hex(&octets(&template))), "{template} is not in {message}");
    let expected = "
    000a 0094            # version 10, length 148
    6553f100             # export time
    00000009 00000005    # nine data records before, observation domain
    0109 0084            # data set of template 265, length 132
    0a010203 0a090807    # addresses
    0400 01bb 06 10      # ports, protocol, type of service
    00000002             # input interface
    0007 0000000000000001  # VLAN, selector
    011b                 # control bits
    00000003             # output interface
    0000000000000005     # packets
    0000000000000258     # octets
    0000018bcfe5687b     # 1700000000123
    0000018bcfe569c8     # 1700000000456
    3c 40 01 03          # TTLs, egress, end of flow detected
    01                   # this is the direction of the initiator
    00                   # of the other: type of service
    00000003             # input interface
    0007 0000000000000001  # VLAN, selector
    001a                 # control bits: ACK, PSH, SYN
    00000002             # output interface
    0000000000000004     # packets
    0000000000000190     # octets
    0000018bcfe5687c     # 1700000000124
    0000018bcfe569c7     # 1700000000455
    3b 3b 00 03          # TTLs, ingress, end of flow detected
    ";
    assert_octets(messages.last().unwrap(), expected);
    assert_eq!(messages.iter().map(|message| message.sums.records).sum::<u64>(), 2, "each is one record");
}

#[test]
fn netflow9_with_templates() {
    let mut encoder = Templated::new(NetFlow9::new(5), facts(), sent());
    let messages = encode(&mut encoder, &[v4(), v6()], LIMIT);
    assert_eq!((messages.len(), messages[0].sums.records), (1, 2));
    let [z12, z58, z60, z61] = [12, 58, 60, 61].map(zeros);
    let expected = format!(
        "
    0009 0013            # version 9, 19 records: 9 templates, 8 options, 2 flows
    05265fe8             # uptime: a day and a second
    6553f101             # the second that is about to end
    00000000 00000005    # sequence number, source id
    0000 00ac            # template flowset, length
    0100 0014            # template 256 of 20 fields
    0008 0004            # sourceIPv4Address
    000c 0004            # destinationIPv4Address
    {PORTS_AND_PROTOCOL}
    {INTERFACE_AND_VLAN}
    0030 0002            # samplerId
    0006 0001            # tcpControlBits
    000e 0004            # egressInterface
    {COUNTERS}
    0016 0004            # flowStartSysUpTime
    0015 0004            # flowEndSysUpTime
    {FIELDS_BEHIND_TIMES}
    0020 0002            # icmpTypeCodeIPv4, here for both
    0101 0014            # template 257 of 20 fields
    001b 0010            # sourceIPv6Address
    001c 0010            # destinationIPv6Address
    {PORTS_AND_PROTOCOL}
    {INTERFACE_AND_VLAN}
    0030 0002            # samplerId
    0006 0001
    000e 0004            # egressInterface
    {COUNTERS}
    0016 0004
    0015 0004
    {FIELDS_BEHIND_TIMES}
    0020 0002            # icmpTypeCodeIPv4, here for both
    0001 0018            # options template flowset, length
    0102 0004 0008       # template 258: octets of scopes, of other fields
    0001 0004            # scope System
    0022 0004            # samplingInterval
    0023 0001            # samplingAlgorithm
    0000                 # padding
    0001 0020
    0103 0004 0010       # template 259
    0001 0004            # scope System
    0030 0002            # samplerId
    0031 0001            # samplerMode
    0032 0004            # samplerRandomInterval
    0022 0004            # samplingInterval
    0000
    0001 0020
    0104 0004 0010       # template 260
    0001 0004            # scope System
    012e 0002            # selectorId
    014f 0040            # selectorName
    013e 0008            # selectorIdTotalPktsObserved
    013f 0008            # selectorIdTotalPktsSelected
    0000
    0001 001c
    0105 0004 000c       # template 261
    0001 0004            # scope System
    000a 0004            # ingressInterface
    0052 0010            # interfaceName
    0053 0040            # interfaceDescription
    0000
    0001 0020
    0106 0004 0010       # template 262
    0001 0004            # scope System
    0028 0008            # exportedOctetTotalCount
    0029 0008            # exportedMessageTotalCount
    002a 0008            # exportedFlowRecordTotalCount
    00a3 0008            # observedFlowTotalCount
    0000
    0001 0018
    0107 0004 0008       # template 263
    0001 0004            # scope System
    00a4 0008            # ignoredPacketTotalCount
    00a5 0008            # ignoredOctetTotalCount
    0000
    0001 001c
    0108 0004 000c       # template 264
    0001 0004            # scope System
    00a6 0008            # notSentFlowTotalCount
    00a7 0008            # notSentPacketTotalCount
    00a8 0008            # notSentOctetTotalCount
    0000
    0102 0010 00000000 00000064 01 000000            # every 100th packet, deterministic
    0103 0014 00000000 0001 01 00000064 00000064 00  # sampler 1: deterministic, every 100th packet
    0104 005c 00000000 0001 776562 {z61}             # selector 1: web
    00000000000002bc 0000000000000007 0000           # 7 packets of about 700, padding
    0105 005c 00000000 00000002 65746830 {z12}       # interface 2: eth0
    75706c696e6b {z58}                               # uplink
    0105 005c 00000000 00000003 65746831 {z12}       # interface 3: eth1
    65746831 {z60}                                   # eth1
    0106 0028 00000000                               # exported
    0000000000000500 0000000000000004                # octets, messages
    0000000000000009 000000000000000a                # flow records, of so many made
    0107 0018 00000000                               # not counted
    0000000000000003 0000000000000100                # packets, octets as far as known
    0108 0020 00000000                               # not sent
    0000000000000001 0000000000000006                # flow records, packets in them
    00000000000003e8                                 # octets
    0100 0040            # data flowset of template 256, length 64
    0a010203 0a090807    # addresses
    0400 01bb 06 10      # ports, protocol, type of service
    00000002             # input interface
    0007 0001            # VLAN, sampler
    1b                   # control bits, the low eight
    00000003             # output interface
    0000000000000005     # packets
    0000000000000258     # octets
    05265c7b             # uptime of the first packet: a day and 123 ms
    05265dc8             # and of the last
    3c 40 01 03          # TTLs, egress, end of flow detected
    0000                 # no ICMP
    000000               # padding
    0101 0058            # data flowset of template 257, length 88
    20010db8000000000000000000000001
    20010db8000000000000000000000002
    0400 01bb 06 10 00000002 0007 0001 1b 00000003
    0000000000000005 0000000000000258
    05265c7b 05265dc8
    3c 40 01 03
    0000
    000000
    "
    );
    assert_octets(&messages[0], &expected);
    let next = encode(&mut encoder, &[v4()], LIMIT);
    assert_eq!(hex(&next[0].bytes[..4]), "00090001");
    assert_eq!(hex(&next[0].bytes[12..16]), "00000001", "one message before");
}

/// Where they are in a message: in the template with whose they are, and described by an option (RFC 5610).
#[test]
fn elements_of_enterprises_are_described() {
    let fields = FieldChoice::List(vec![Element::PacketDeltaCount, Element::NetfilterMark, Element::EstimatedPackets]);
    let facts = Arc::new(Facts { fields, ..Facts::default() });
    let mut encoder = Templated::new(Ipfix::new(5), facts, sent());
    let mut flow = v4();
    flow.details.first.mark = 0xfe00_0001;
    flow.details.segments.count = 0x1234;
    let message = hex(&encode(&mut encoder, &[flow], LIMIT)[0].bytes);
    let expected = [
        "0100 0003           # template 256 of 3 fields
         0002 0008           # packetDeltaCount
         8004 0004 0000537d  # element 4 of enterprise 21373 (netfilter): its mark
         800b 0008 0000537d  # element 11: packets on the wire",
        "0109 0005 0002      # options template 265 of 5 fields, the first 2 of which are scopes
         015a 0004           # privateEnterpriseNumber
         012f 0002           # informationElementId
         0153 0001           # informationElementDataType
         0158 0001           # informationElementSemantics
         0155 0010           # informationElementName",
        "0000537d 0004       # netfilter's element 4
         03 04               # unsigned32, an identifier
         6e65746669 6c7465724d61726b 000000  # netfilterMark",
        "0000537d 000b       # element 11
         04 03               # unsigned64, a deltaCounter
         657374696d61746564 5061636b657473  # estimatedPackets",
        "0000000000000005    # packets
         fe000001            # mark
         0000000000001234    # estimated",
    ];
    for part in expected {
        let octets = hex(&octets(part));
        assert!(message.contains(&octets), "{octets} is not in {message}");
    }
}

/// User, group and name of a flow's sender: netfilter's own two, which nobody else has numbers for, and IANA's.
#[test]
fn owners_in_records() {
    let fields = FieldChoice::List(vec![Element::NetfilterUid, Element::NetfilterGid, Element::UserName]);
    let facts = Arc::new(Facts { fields, ..Facts::default() });
    let mut flow = v4();
    flow.details.first.provenance = Provenance::Process { uid: 0, gid: 1000 };
    flow.user_name = UserName::from("root");
    let message =
        hex(&encode(&mut Templated::new(Ipfix::new(5), facts.clone(), sent()), &[flow, v4()], LIMIT)[0].bytes);
    let [z4, z28, z32] = [4, 28, 32].map(zeros);
    let expected = [
        "0100 0003           # template 256 of 3 fields
         8009 0004 0000537d  # element 9 of enterprise 21373 (netfilter): user
         800a 0004 0000537d  # element 10: group
         0173 0020           # userName",
        &format!(
            "0000537d 0009 03 04 6e65746669 6c746572556964 {z4}  # netfilter's element 9: unsigned32, identifier, netfilterUid
             0109 001c                                           # a set to itself
             0000537d 000a 03 04 6e65746669 6c746572476964 {z4}  # netfilterGid"
        ),
        &format!(
            "00000000 000003e8 726f6f74 {z28}  # user 0, group 1000, root
             ffffffff ffffffff {z32}           # nobody knows"
        ),
    ];
    for part in expected {
        let octets = hex(&octets(part));
        assert!(message.contains(&octets), "{octets} is not in {message}");
    }
    let message = hex(&encode(&mut Templated::new(NetFlow9::new(5), facts, sent()), &[flow], LIMIT)[0].bytes);
    assert!(message.contains(&hex(&octets("0100 0001 0173 0020 0101"))), "NetFlow v9 has no enterprises: {message}");
}

/// As nfacctd and others know them by their numbers.
#[test]
fn ports_of_a_bridge_in_records() {
    let fields = FieldChoice::List(vec![Element::IngressPhysicalInterface, Element::EgressPhysicalInterface]);
    let facts = Arc::new(Facts { fields, ..Facts::default() });
    let mut flow = v4();
    flow.details.first.provenance = Provenance::Bridge { input: 7, output: 8 };
    let encoders: [Box<dyn Encoder>; 2] = [
        Box::new(Templated::new(Ipfix::new(5), facts.clone(), sent())),
        Box::new(Templated::new(NetFlow9::new(5), facts, sent())),
    ];
    for mut encoder in encoders {
        let message = hex(&encode(encoder.as_mut(), &[flow, v4()], LIMIT)[0].bytes);
        for part in ["0100 0002 00fc 0004 00fd 0004", "00000007 00000008 00000000 00000000"] {
            assert!(message.contains(&hex(&octets(part))), "{part} is not in {message}");
        }
    }
}

/// What is behind NAT, in both IP versions and both protocols.
#[test]
fn what_nat_makes_of_a_flow() {
    let choice = FieldChoice::WithNat(Box::new(FieldChoice::List(vec![Element::PacketDeltaCount])));
    let facts = Arc::new(Facts { fields: choice, ..Facts::default() });
    let address = |first| std::array::from_fn(|i| if i < 4 { first + i as u8 } else { 0 });
    let after_nat = Ends { source: address(1), destination: address(5), source_port: 0x4e29, destination_port: 0x50 };
    let v4 = FlowRecord { tracked: Tracked { id: 0x1d89_14fa, is_reply: false, after_nat }, ..v4() };
    let after_nat = Ends { source: [0x11; 16], destination: [0x22; 16], ..after_nat };
    let v6 = FlowRecord { tracked: Tracked { id: 0x1d89_14fb, is_reply: false, after_nat }, ..v6() };
    let encoders: [Box<dyn Encoder>; 2] = [
        Box::new(Templated::new(Ipfix::new(5), facts.clone(), sent())),
        Box::new(Templated::new(NetFlow9::new(5), facts, sent())),
    ];
    let expected = [
        "0100 0006    # template 256 of 6 fields
         0002 0008    # packetDeltaCount
         00e1 0004    # postNATSourceIPv4Address
         00e2 0004    # postNATDestinationIPv4Address
         00e3 0002    # postNAPTSourceTransportPort
         00e4 0002    # postNAPTDestinationTransportPort
         0094 0004    # flowId
         0101 0006    # template 257 of 6 fields
         0002 0008    # packetDeltaCount
         0119 0010    # postNATSourceIPv6Address
         011a 0010    # postNATDestinationIPv6Address
         00e3 0002 00e4 0002 0094 0004",
        "0000000000000005 01020304 05060708 4e29 0050 1d8914fa",
        "0000000000000005 11111111111111111111111111111111 22222222222222222222222222222222 4e29 0050 1d8914fb",
    ];
    for mut encoder in encoders {
        let message = hex(&encode(encoder.as_mut(), &[v4, v6], LIMIT)[0].bytes);
        for part in expected.map(|part| hex(&octets(part))) {
            assert!(message.contains(&part), "{part} is not in {message}");
        }
    }
}

/// What became of packets, as said of their selectors; and a selector's name and rate.
#[test]
fn verdicts_and_selectors_in_records() {
    let setting = SelectorSetting {
        prefix: "web".to_owned(),
        group: Some(5),
        name: Some("to the web".to_owned()),
        sampling_rate: Some(16),
        forwarding_status: Some(ForwardingStatus::AclDenied),
        direction: None,
    };
    let facts = |fields| {
        let selector_settings = SelectorSettings(vec![setting.clone()]);
        let facts = Facts { fields, selector_settings, ..Facts::default() };
        assert_eq!(facts.selectors.of_group(5).index(b"web"), 1);
        Arc::new(facts)
    };
    let status = |forwarding_status| FlowRecord { forwarding_status, ..v4() };
    let flows = [ForwardingStatus::AclDenied, ForwardingStatus::Forwarded, ForwardingStatus::Unknown].map(status);
    let list = FieldChoice::List(vec![Element::ForwardingStatus, Element::FirewallEvent]);
    let message = hex(&encode(&mut Templated::new(Ipfix::new(5), facts(list), sent()), &flows, LIMIT)[0].bytes);
    let z54 = zeros(54);
    for part in [
        "0100 0002 0059 0001 00e9 0001               # template 256: forwardingStatus, firewallEvent",
        "0102 0014 00000005 0000000000000001 00000010 # of selector 1, every 16th packet",
        &format!("0104 005c 0000000000000001 746f20746865 20776562 {z54} # selector 1: to the web"),
        "0100 000a 81 03 40 00 00 00                 # denied by an ACL, forwarded, unknown",
    ] {
        assert!(message.contains(&hex(&octets(part))), "{part} is not in {message}");
    }
    let mut encoder = Templated::new(NetFlow9::new(5), facts(FieldChoice::WithVerdicts), sent());
    let message = hex(&encode(&mut encoder, &flows, LIMIT)[0].bytes);
    assert!(message.contains("00590001"), "forwardingStatus is not in {message}");
    assert!(!message.contains("00e90001"), "a firewall's event is in {message}");
    assert!(message.contains(&hex(&octets("0103 0014 00000000 0001 01 00000010 00000010"))), "{message}");
}

#[test]
fn netflow5() {
    let mut encoder = NetFlow5::new(0x2_0005, 100, &KeyFields { source_v4: 24, ..KeyFields::ALL });
    let messages = encode(&mut encoder, &[v4()], LIMIT);
    let expected = "
    0005 0001                   # version 5, 1 record
    05265df4                    # uptime: a day and 500 ms
    6553f100 1dcd6500           # seconds and nanoseconds
    00000000                    # sequence number
    02 05 4064                  # engine type and id, every 100th packet
    0a010203 0a090807 00000000  # addresses, next hop
    0002 0003                   # interfaces
    00000005 00000258           # packets, octets
    05265c7b 05265dc8           # uptimes of the first and the last packet
    0400 01bb                   # ports
    00 1b 06 10                 # padding, control bits, protocol, type of service
    0000 0000 18 00 0000        # AS numbers, prefix lengths (0: whole addresses), padding
    ";
    assert_octets(&messages[0], expected);
    assert!(!encoder.add(&v6(), NOW, LIMIT, &mut Vec::new()), "it has no IPv6");
    let next = encode(&mut encoder, &[v4()], LIMIT);
    assert_eq!(hex(&next[0].bytes[16..20]), "00000001", "one record before");
}

#[test]
fn netflow5_splits_what_32_bits_cannot_count() {
    let big = FlowRecord { packets: 10_000_000, octets: 3 * (1 << 32), ..v4() };
    let messages = encode(&mut NetFlow5::new(0, 1, &KeyFields::ALL), &[big], LIMIT);
    assert_eq!((messages.len(), messages[0].sums.records), (1, 4));
    let field = |record: usize, at: usize| {
        let at = 24 + record * 48 + at;
        u64::from(u32::from_be_bytes(messages[0].bytes[at..at + 4].try_into().unwrap()))
    };
    assert_eq!((0..4).map(|record| field(record, 16)).sum::<u64>(), big.packets);
    assert_eq!((0..4).map(|record| field(record, 20)).sum::<u64>(), big.octets);
}

#[test]
fn messages_keep_to_their_limit_and_their_sequence() {
    for limit in [300, 548, 1232, 1472] {
        let flows = [v4(), v6(), v4(), v4(), v6(), v6(), v6(), v4()].repeat(40);
        let only_v4: Vec<_> = flows.iter().filter(|flow| flow.key.ip_version == 4).copied().collect();
        let encoders: [(Box<dyn Encoder>, &[FlowRecord], usize); 3] = [
            (Box::new(Templated::new(Ipfix::new(1), facts(), sent())), &flows, 8),
            (Box::new(Templated::new(NetFlow9::new(1), facts(), sent())), &flows, 12),
            (Box::new(NetFlow5::new(1, 100, &KeyFields::ALL)), &only_v4, 16),
        ];
        for (mut encoder, flows, sequence_at) in encoders {
            let messages = encode(encoder.as_mut(), flows, limit);
            assert_eq!(messages.iter().map(|message| message.sums.records).sum::<u64>(), flows.len() as u64);
            let mut parser = NetflowParser::default();
            let mut expected = 0;
            for message in &messages {
                assert!(message.bytes.len() <= limit, "{} octets", message.bytes.len());
                let sequence = u32::from_be_bytes(message.bytes[sequence_at..sequence_at + 4].try_into().unwrap());
                assert_eq!(sequence as usize, expected);
                expected += counted(&parser.parse_bytes(&message.bytes).packets[0]);
            }
        }
    }
}

/// How much further the sequence number is after a message: one in NetFlow v9, in the others its data records.
fn counted(message: &NetflowPacket) -> usize {
    match message {
        NetflowPacket::V5(message) => message.flowsets.len(),
        NetflowPacket::V9(_) => 1,
        NetflowPacket::IPFix(message) => message.flowsets.iter().map(|set| data_records(&set.body)).sum(),
        other => panic!("nobody encodes {other:?}"),
    }
}

fn data_records(body: &IpfixBody) -> usize {
    match body {
        IpfixBody::Data(data) => data.fields.len(),
        IpfixBody::OptionsData(data) => data.fields.len(),
        _ => 0,
    }
}

#[test]
fn templates_come_again_by_messages_by_seconds_and_on_request() {
    let has_template = |message: &Message| message.bytes[16..18] == [0, 2];
    let mut encoder = Templated::new(Ipfix::new(1), facts(), sent());
    let mut messages = Vec::new();
    let mut send = |encoder: &mut Templated<Ipfix>, second: u64| {
        let now = Timestamp::from_nanos(NOW.nanos() + second * 1_000_000_000);
        encoder.add(&v4(), now, LIMIT, &mut messages);
        encoder.finish(&mut messages);
        has_template(&messages.pop().unwrap())
    };
    let by_messages: Vec<_> = (0..130).filter(|_| send(&mut encoder, 0)).collect();
    assert_eq!(by_messages, [0, 64, 128]);
    assert!(!send(&mut encoder, 29));
    assert!(send(&mut encoder, 30));
    assert!(!send(&mut encoder, 31));
    encoder.renew_templates();
    assert!(send(&mut encoder, 31));
}
