//! Every message kind, octet by octet.

use nfweir::export::encoder::{Encoder, Message};
use nfweir::export::ipfix::Ipfix;
use nfweir::export::netflow5::NetFlow5;
use nfweir::export::netflow9::NetFlow9;
use nfweir::export::templated::Templated;
use nfweir::flow::{Direction, EndReason, FlowKey, FlowRecord};
use nfweir::time::Timestamp;

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
        min_ttl: 60,
        max_ttl: 64,
        output: 3,
        direction: Direction::Egress,
        end_reason: EndReason::EndOfFlow,
    }
}

fn v6() -> FlowRecord {
    let mut flow = v4();
    flow.key.ip_version = 6;
    flow.key.source = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    flow.key.destination = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    flow
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
const FIELDS_BEFORE_TIMES: &str = "
    000a 0004    # ingressInterface
    000e 0004    # egressInterface
    003a 0002    # vlanId
    012e 0002    # selectorId
    0002 0008    # packetDeltaCount
    0001 0008    # octetDeltaCount
";
const FIELDS_BEHIND_TIMES: &str = "
    0034 0001    # minimumTTL
    0035 0001    # maximumTTL
    003d 0001    # flowDirection
    0088 0001    # flowEndReason
";

#[test]
fn ipfix_with_templates() {
    let mut encoder = Templated::new(Ipfix::new(5));
    let messages = encode(&mut encoder, &[v4(), v6()], LIMIT);
    assert_eq!((messages.len(), messages[0].records), (1, 2));
    let expected = format!(
        "
    000a 0154            # version 10, length 340
    6553f100             # export time
    00000000 00000005    # sequence number, observation domain
    0002 00a4            # template set, length
    0100 0013            # template 256 of 19 fields
    0008 0004            # sourceIPv4Address
    000c 0004            # destinationIPv4Address
    {PORTS_AND_PROTOCOL}
    0006 0002            # tcpControlBits
    {FIELDS_BEFORE_TIMES}
    0098 0008            # flowStartMilliseconds
    0099 0008            # flowEndMilliseconds
    {FIELDS_BEHIND_TIMES}
    0101 0013            # template 257 of 19 fields
    001b 0010            # sourceIPv6Address
    001c 0010            # destinationIPv6Address
    {PORTS_AND_PROTOCOL}
    0006 0002
    {FIELDS_BEFORE_TIMES}
    0098 0008
    0099 0008
    {FIELDS_BEHIND_TIMES}
    0100 0044            # data set of template 256, length 68
    0a010203 0a090807    # addresses
    0400 01bb 06 10      # ports, protocol, type of service
    011b                 # control bits: AE, ACK, PSH, SYN, FIN
    00000002 00000003    # interfaces
    0007 0001            # VLAN, selector
    0000000000000005     # packets
    0000000000000258     # octets
    0000018bcfe5687b     # 1700000000123
    0000018bcfe569c8     # 1700000000456
    3c 40 01 03          # TTLs, egress, end of flow detected
    0101 005c            # data set of template 257, length 92
    20010db8000000000000000000000001
    20010db8000000000000000000000002
    0400 01bb 06 10 011b 00000002 00000003 0007 0001
    0000000000000005 0000000000000258
    0000018bcfe5687b 0000018bcfe569c8
    3c 40 01 03
    "
    );
    assert_octets(&messages[0], &expected);
    let next = encode(&mut encoder, &[v4()], LIMIT);
    assert_eq!(hex(&next[0].bytes[8..20]), "000000020000000501000044", "two data records before, and no template");
}

#[test]
fn netflow9_with_templates() {
    let mut encoder = Templated::new(NetFlow9::new(5));
    let messages = encode(&mut encoder, &[v4(), v6()], LIMIT);
    assert_eq!((messages.len(), messages[0].records), (1, 2));
    let expected = format!(
        "
    0009 0004            # version 9, 4 records: 2 templates, 2 flows
    05265fe8             # uptime: a day and a second
    6553f101             # the second that is about to end
    00000000 00000005    # sequence number, source id
    0000 00ac            # template flowset, length
    0100 0014            # template 256 of 20 fields
    0008 0004            # sourceIPv4Address
    000c 0004            # destinationIPv4Address
    {PORTS_AND_PROTOCOL}
    0006 0001            # tcpControlBits
    {FIELDS_BEFORE_TIMES}
    0016 0004            # flowStartSysUpTime
    0015 0004            # flowEndSysUpTime
    {FIELDS_BEHIND_TIMES}
    0020 0002            # icmpTypeCodeIPv4, here for both
    0101 0014            # template 257 of 20 fields
    001b 0010            # sourceIPv6Address
    001c 0010            # destinationIPv6Address
    {PORTS_AND_PROTOCOL}
    0006 0001
    {FIELDS_BEFORE_TIMES}
    0016 0004
    0015 0004
    {FIELDS_BEHIND_TIMES}
    0020 0002            # icmpTypeCodeIPv4, here for both
    0100 0040            # data flowset of template 256, length 64
    0a010203 0a090807    # addresses
    0400 01bb 06 10      # ports, protocol, type of service
    1b                   # control bits, the low eight
    00000002 00000003    # interfaces
    0007 0001            # VLAN, selector
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
    0400 01bb 06 10 1b 00000002 00000003 0007 0001
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

#[test]
fn netflow5() {
    let mut encoder = NetFlow5::new(5);
    let messages = encode(&mut encoder, &[v4()], LIMIT);
    let expected = "
    0005 0001                   # version 5, 1 record
    05265df4                    # uptime: a day and 500 ms
    6553f100 1dcd6500           # seconds and nanoseconds
    00000000                    # sequence number
    00 05 0000                  # engine type and id, no sampling
    0a010203 0a090807 00000000  # addresses, next hop
    0002 0003                   # interfaces
    00000005 00000258           # packets, octets
    05265c7b 05265dc8           # uptimes of the first and the last packet
    0400 01bb                   # ports
    00 1b 06 10                 # padding, control bits, protocol, type of service
    0000 0000 00 00 0000        # AS numbers, prefix lengths, padding
    ";
    assert_octets(&messages[0], expected);
    assert!(!encoder.add(&v6(), NOW, LIMIT, &mut Vec::new()), "it has no IPv6");
    let next = encode(&mut encoder, &[v4()], LIMIT);
    assert_eq!(hex(&next[0].bytes[16..20]), "00000001", "one record before");
}

#[test]
fn netflow5_splits_what_32_bits_cannot_count() {
    let big = FlowRecord { packets: 10_000_000, octets: 3 * (1 << 32), ..v4() };
    let messages = encode(&mut NetFlow5::new(0), &[big], LIMIT);
    assert_eq!((messages.len(), messages[0].records), (1, 4));
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
            (Box::new(Templated::new(Ipfix::new(1))), &flows, 8),
            (Box::new(Templated::new(NetFlow9::new(1))), &flows, 12),
            (Box::new(NetFlow5::new(1)), &only_v4, 16),
        ];
        for (mut encoder, flows, sequence_at) in encoders {
            let messages = encode(encoder.as_mut(), flows, limit);
            assert_eq!(messages.iter().map(|message| message.records).sum::<u64>(), flows.len() as u64);
            let (mut records, mut number) = (0, 0);
            for message in &messages {
                assert!(message.bytes.len() <= limit, "{} octets", message.bytes.len());
                let sequence = u32::from_be_bytes(message.bytes[sequence_at..sequence_at + 4].try_into().unwrap());
                let counts_messages = message.bytes[1] == 9;
                assert_eq!(u64::from(sequence), if counts_messages { number } else { records });
                records += message.records;
                number += 1;
            }
        }
    }
}

#[test]
fn templates_come_again_by_messages_by_seconds_and_on_request() {
    let has_template = |message: &Message| message.bytes[16..18] == [0, 2];
    let mut encoder = Templated::new(Ipfix::new(1));
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
