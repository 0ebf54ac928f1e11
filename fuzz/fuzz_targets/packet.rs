//! Frames from Ethernet on: anything may be in them.
#![no_main]

use nfweir::packet::{Start, parse};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = parse(Start::Ethernet, bytes, bytes.len() as u64);
    let _ = parse(Start::Ip, bytes, bytes.len() as u64);
});
