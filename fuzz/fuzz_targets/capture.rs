//! Capture files.
#![no_main]

use nfweir::capture::pcap::CaptureReader;
use nfweir::packet::parse;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = CaptureReader::open(bytes) else { return };
    while let Ok(Some(packet)) = reader.next_packet() {
        let _ = parse(packet.start, packet.bytes, packet.octets.unwrap_or_default());
    }
});
