//! Which packets are the probe's own export.

use super::plan::Export;
use crate::export::destination::Destination;
use crate::export::target::{Target, Transport};
use std::net::{IpAddr, ToSocketAddrs};

const TCP: u8 = libc::IPPROTO_TCP as u8;
const UDP: u8 = libc::IPPROTO_UDP as u8;
const SCTP: u8 = libc::IPPROTO_SCTP as u8;

/// The export to these destinations, at each address that a collector's name has.
pub fn of(destinations: &[Destination]) -> Vec<Export> {
    let collectors = destinations.iter().filter_map(|destination| match destination {
        Destination::Collector(target) => Some(target),
        _ => None,
    });
    let at_each = |target: &Target| -> Vec<_> {
        let addresses = addresses(target);
        addresses.into_iter().map(|address| export(target.transport, target.port, address)).collect()
    };
    collectors.flat_map(at_each).collect()
}

/// The export to any collector, at the ports that are customary.
pub fn customary() -> Vec<Export> {
    let [netflow, ipfix, encrypted] = [2055, 4739, 4740];
    [
        (Transport::Udp, netflow),
        (Transport::Udp, ipfix),
        (Transport::Tcp, ipfix),
        (Transport::Sctp, ipfix),
        (Transport::Tls, encrypted),
    ]
    .map(|(transport, port)| export(transport, port, None))
    .into_iter()
    // by DTLS
    .chain([Export { protocol: UDP, answered: true, address: None, port: encrypted }])
    .collect()
}

fn export(transport: Transport, port: u16, address: Option<IpAddr>) -> Export {
    let (protocol, answered) = match transport {
        Transport::Udp => (UDP, false),
        Transport::Sctp => (SCTP, true),
        Transport::Tcp | Transport::Tls => (TCP, true),
        #[cfg(feature = "dtls")]
        Transport::Dtls => (UDP, true),
    };
    Export { protocol, answered, address, port }
}

/// No address stands for every one, where the name cannot be looked up now.
fn addresses(target: &Target) -> Vec<Option<IpAddr>> {
    match (target.host.as_str(), target.port).to_socket_addrs() {
        Ok(addresses) => addresses.map(|address| Some(address.ip().to_canonical())).collect(),
        Err(_) => vec![None],
    }
}
