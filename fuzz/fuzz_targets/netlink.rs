//! Datagrams of the NFLOG socket.
#![no_main]

use nfweir::capture::netlink::{Logged, connection, messages, seen_at};
use nfweir::conntrack::told;
use nfweir::flow::FlowKey;
use nfweir::packet::parse;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for message in messages(bytes) {
        let logged = Logged::parse(message.body);
        let (start, _) = seen_at(&logged);
        if let Ok((vlan, headers)) = parse(start, logged.payload, logged.payload.len() as u64) {
            let (connection, info) = connection(message.body);
            let _ = told(connection, info, &FlowKey::new(&headers, logged.input, vlan, 0));
        }
    }
});
