//! Datagrams of the NFLOG socket.
#![no_main]

use nfweir::capture::netlink::{Logged, messages, seen_at};
use nfweir::packet::parse;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for message in messages(bytes) {
        let logged = Logged::parse(message.body);
        let (start, _) = seen_at(&logged);
        let _ = parse(start, logged.payload, logged.payload.len() as u64);
    }
});
