//! A collector of the tests' own: a UDP socket, and netflow_parser to decode what came.

use super::flows::{Counts, Flows};
use netflow_parser::variable_versions::ipfix::FlowSetBody as IpfixBody;
use netflow_parser::variable_versions::ipfix::lookup::IANAIPFixField as Iana;
use netflow_parser::variable_versions::v9::FlowSetBody as V9Body;
use netflow_parser::{FieldValue, IpfixField, IpfixFlowRecord, NetflowPacket, NetflowParser, V9Field, V9FlowRecord};
use socket2::SockRef;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub struct UdpCollector {
    pub port: u16,
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl UdpCollector {
    /// On the loopback interface of the thread's network namespace.
    pub fn start() -> Self {
        Self::listen(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
    }

    pub fn listen(socket: UdpSocket) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        SockRef::from(&socket).set_recv_buffer_size(8 << 20).unwrap();
        let port = socket.local_addr().unwrap().port();
        let ending = Arc::new(AtomicBool::new(false));
        let end = ending.clone();
        let thread = thread::spawn(move || {
            let mut messages = Vec::new();
            let mut buffer = vec![0; 65_536];
            loop {
                let last = end.load(Ordering::Relaxed);
                match socket.recv(&mut buffer) {
                    Ok(length) => messages.push(buffer[..length].to_vec()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock && last => return messages,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        });
        Self { port, ending, thread }
    }

    /// All messages that came.
    pub fn stop(self) -> Vec<Vec<u8>> {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The flows in messages of one exporter.
pub fn decode(messages: &[Vec<u8>]) -> Flows {
    let mut parser = NetflowParser::default();
    let mut flows = Flows::default();
    for message in messages {
        let parsed = parser.parse_bytes(message);
        assert!(parsed.error.is_none(), "{:?}", parsed.error);
        for packet in parsed.packets {
            add(packet, &mut flows);
        }
    }
    flows
}

fn add(packet: NetflowPacket, flows: &mut Flows) {
    match packet {
        NetflowPacket::V5(message) => {
            let header = message.header;
            let boot = u64::from(header.unix_secs) * 1000 + u64::from(header.unix_nsecs) / 1_000_000
                - u64::from(header.sys_up_time);
            for record in message.flowsets {
                let ends = (IpAddr::from(record.src_addr), IpAddr::from(record.dst_addr));
                let counts = Counts {
                    packets: record.d_pkts.into(),
                    octets: record.d_octets.into(),
                    first: boot + u64::from(record.first),
                    last: boot + u64::from(record.last),
                    tcp_flags: record.tcp_flags.into(),
                };
                flows.add((record.protocol_number, ends.0, record.src_port, ends.1, record.dst_port), counts);
            }
        }
        NetflowPacket::V9(message) => {
            let header = message.header;
            let boot = u64::from(header.unix_secs) * 1000 - u64::from(header.sys_up_time);
            for set in message.flowsets {
                if let V9Body::Data(data) = set.body {
                    data.fields.iter().for_each(|record| add_v9(record, boot, flows));
                }
            }
        }
        NetflowPacket::IPFix(message) => {
            for set in message.flowsets {
                if let IpfixBody::Data(data) = set.body {
                    data.fields.iter().for_each(|record| add_ipfix(record, flows));
                }
            }
        }
        other => panic!("nobody exports {other:?}"),
    }
}

/// A record's values by the elements' numbers, which v9 and IPFIX share.
fn add_record<'a>(value: impl Fn(u16) -> Option<&'a FieldValue>, boot: Option<u64>, flows: &mut Flows) {
    let number = |element: u16| match value(element).unwrap_or_else(|| panic!("element {element} is missing")) {
        FieldValue::DataNumber(number) => number.as_u64().unwrap(),
        FieldValue::ProtocolType(protocol) => u8::from(*protocol).into(),
        FieldValue::TcpControlBits(bits, _) => u16::from(*bits).into(),
        FieldValue::Duration(duration) => duration.as_duration().as_millis() as u64,
        other => panic!("element {element} is {other:?}"),
    };
    let address = |v4, v6| IpAddr::try_from(value(v4).or_else(|| value(v6)).unwrap()).unwrap();
    let time = |absolute, uptime| boot.map_or_else(|| number(absolute), |boot| boot + number(uptime));
    let key = (number(4) as u8, address(8, 27), number(7) as u16, address(12, 28), number(11) as u16);
    let counts = Counts {
        packets: number(2),
        octets: number(1),
        first: time(152, 22),
        last: time(153, 21),
        tcp_flags: number(6) as u16,
    };
    flows.add(key, counts);
}

fn add_ipfix(record: &IpfixFlowRecord, flows: &mut Flows) {
    let value = |number| {
        let element = IpfixField::IANA(Iana::from(number));
        record.iter().find_map(|(found, value)| (*found == element).then_some(value))
    };
    add_record(value, None, flows);
}

fn add_v9(record: &V9FlowRecord, boot: u64, flows: &mut Flows) {
    let value = |number| {
        let element = V9Field::from(number);
        record.iter().find_map(|(found, value)| (*found == element).then_some(value))
    };
    add_record(value, Some(boot), flows);
}

/// Of the options records that have all these elements, their values: numbers in decimal digits, or strings.
pub fn options(messages: &[Vec<u8>], elements: &[u16]) -> Vec<Vec<String>> {
    let mut parser = NetflowParser::default();
    let mut rows = Vec::new();
    for packet in messages.iter().flat_map(|message| parser.parse_bytes(message).packets) {
        match packet {
            NetflowPacket::V9(message) => {
                for set in message.flowsets {
                    if let V9Body::OptionsData(data) = set.body {
                        rows.extend(data.fields.iter().map(|record| {
                            row(elements, |number| {
                                let element = V9Field::from(number);
                                record.options_fields.iter().find_map(|(it, value)| (*it == element).then_some(value))
                            })
                        }));
                    }
                }
            }
            NetflowPacket::IPFix(message) => {
                for set in message.flowsets {
                    if let IpfixBody::OptionsData(data) = set.body {
                        rows.extend(data.fields.iter().map(|record| {
                            row(elements, |number| {
                                let element = IpfixField::IANA(Iana::from(number));
                                record.iter().find_map(|(it, value)| (*it == element).then_some(value))
                            })
                        }));
                    }
                }
            }
            other => panic!("{other:?} has no options"),
        }
    }
    rows.into_iter().flatten().collect()
}

fn row<'a>(elements: &[u16], value: impl Fn(u16) -> Option<&'a FieldValue>) -> Option<Vec<String>> {
    elements.iter().map(|element| value(*element).map(text)).collect()
}

fn text(value: &FieldValue) -> String {
    let trimmed = |octets: &[u8]| String::from_utf8_lossy(octets).trim_end_matches('\0').to_owned();
    match value {
        FieldValue::DataNumber(number) => number.as_u64().unwrap().to_string(),
        FieldValue::String(string) => trimmed(string.value.as_bytes()),
        FieldValue::Vec(octets) if octets.len() <= 8 => {
            octets.iter().fold(0, |number: u64, octet| number << 8 | u64::from(*octet)).to_string()
        }
        FieldValue::Vec(octets) => trimmed(octets),
        other => panic!("{other:?} is neither number nor string"),
    }
}
