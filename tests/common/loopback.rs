//! A host that talks to itself, by its loopback device.

use super::netns::Netns;
use std::net::SocketAddr;
use std::ops::Range;

/// A namespace that logs UDP packets to ports above 9999, but not what a collector answers by DTLS.
pub fn host() -> Netns {
    let host = Netns::new();
    host.nft(
        "table inet t { chain c { type filter hook input priority 0; \
           udp sport != 4740 udp dport 10000-65535 counter log group 5; }; }",
    );
    host
}

/// A packet with 10 octets to each of some ports above 9999, so 38 with its headers: a flow for each.
pub fn send(host: &Netns, flows: Range<u16>) {
    host.send("127.0.0.1:5000", flows.map(|flow| (SocketAddr::from(([127, 0, 0, 1], 10_000 + flow)), 10)));
}
