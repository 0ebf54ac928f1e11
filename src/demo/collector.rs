//! The demonstration's collector: it knows nothing of nfweir, and decodes IPFIX with netflow_parser.

use netflow_parser::variable_versions::ipfix::FlowSetBody;
use netflow_parser::variable_versions::ipfix::lookup::IANAIPFixField as Iana;
use netflow_parser::{FieldValue, IpfixField, IpfixFlowRecord, NetflowPacket, NetflowParser};
use socket2::SockRef;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);
const RECEIVE_BUFFER: usize = 4 << 20;

/// A flow as the collector understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedFlow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Protocol number.
    pub protocol: u8,
    /// packetDeltaCount.
    pub packets: u64,
    /// octetDeltaCount.
    pub octets: u64,
}

/// What came to the collector.
#[derive(Debug, Default)]
pub struct Collected {
    /// In the order of their arrival.
    pub flows: Vec<CollectedFlow>,
    /// Messages that could not be decoded, in whole or in part.
    pub undecodable: u64,
}

/// A collector at work.
pub struct Collector {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Collected>>,
}

impl Collector {
    /// Listens on a port of the loopback interface.
    pub fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(LOOK))?;
        // as large as it may be: the default suffices for the rate
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        let address = socket.local_addr()?;
        let ending = Arc::new(AtomicBool::new(false));
        let end = ending.clone();
        let thread = thread::Builder::new().name("collector".to_owned()).spawn(move || collect(&socket, &end))?;
        Ok(Self { address, ending, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes what is still in its socket, and ends.
    pub fn stop(self) -> io::Result<Collected> {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the collector panicked"))?
    }
}

fn collect(socket: &UdpSocket, ending: &AtomicBool) -> io::Result<Collected> {
    let mut parser = NetflowParser::default();
    let mut collected = Collected::default();
    let mut buffer = vec![0; 65_536];
    loop {
        let last = ending.load(Ordering::Relaxed);
        match socket.recv(&mut buffer) {
            Ok(length) => collected.take(&mut parser, &buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && last => return Ok(collected),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

impl Collected {
    fn take(&mut self, parser: &mut NetflowParser, message: &[u8]) {
        let parsed = parser.parse_bytes(message);
        let mut understood = parsed.error.is_none();
        for packet in parsed.packets {
            let NetflowPacket::IPFix(message) = packet else {
                understood = false;
                continue;
            };
            for set in message.flowsets {
                match set.body {
                    FlowSetBody::Data(data) => {
                        for flow in data.fields.iter().map(flow) {
                            understood &= flow.is_some();
                            self.flows.extend(flow);
                        }
                    }
                    FlowSetBody::Template(_)
                    | FlowSetBody::Templates(_)
                    | FlowSetBody::OptionsTemplate(_)
                    | FlowSetBody::OptionsTemplates(_)
                    | FlowSetBody::OptionsData(_) => {}
                    _ => understood = false,
                }
            }
        }
        self.undecodable += u64::from(!understood);
    }
}

/// `None` if an element is missing or is not of its type.
fn flow(record: &IpfixFlowRecord) -> Option<CollectedFlow> {
    let field =
        |element| record.iter().find_map(|(found, value)| (*found == IpfixField::IANA(element)).then_some(value));
    let address = |v4, v6| IpAddr::try_from(field(v4).or_else(|| field(v6))?).ok();
    Some(CollectedFlow {
        source: address(Iana::SourceIpv4address, Iana::SourceIpv6address)?,
        destination: address(Iana::DestinationIpv4address, Iana::DestinationIpv6address)?,
        source_port: u16::try_from(field(Iana::SourceTransportPort)?).ok()?,
        destination_port: u16::try_from(field(Iana::DestinationTransportPort)?).ok()?,
        protocol: match field(Iana::ProtocolIdentifier)? {
            FieldValue::ProtocolType(protocol) => u8::from(*protocol),
            _ => return None,
        },
        packets: u64::try_from(field(Iana::PacketDeltaCount)?).ok()?,
        octets: u64::try_from(field(Iana::OctetDeltaCount)?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_made_by_hand() {
        #[rustfmt::skip]
        let message = [
            0, 10, 0, 85, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,           // header, length 85
            0, 2, 0, 36, 1, 0, 0, 7,                                    // template set, template 256 of 7 fields
            0, 8, 0, 4, 0, 12, 0, 4, 0, 7, 0, 2, 0, 11, 0, 2,           // addresses, ports
            0, 4, 0, 1, 0, 2, 0, 8, 0, 1, 0, 8,                         // protocol, packets, octets
            1, 0, 0, 33, 192, 0, 2, 1, 192, 0, 2, 2, 4, 0, 0, 53, 17,   // data set
            0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 3, 0,
        ];
        let mut collected = Collected::default();
        collected.take(&mut NetflowParser::default(), &message);
        let flow = CollectedFlow {
            source: [192, 0, 2, 1].into(),
            destination: [192, 0, 2, 2].into(),
            source_port: 1024,
            destination_port: 53,
            protocol: 17,
            packets: 9,
            octets: 768,
        };
        assert_eq!((collected.flows.as_slice(), collected.undecodable), ([flow].as_slice(), 0));
        collected.take(&mut NetflowParser::default(), &message[..60]);
        assert_eq!((collected.flows.len(), collected.undecodable), (1, 1), "cut off");
    }
}
