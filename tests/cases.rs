//! The captures of `common::cases` through reader and decoder: each packet as it was counted by hand.

mod common;

use common::flows::{Counts, Flows};
use nfweir::capture::pcap::CaptureReader;
use nfweir::packet::{address, parse};

#[test]
fn every_case_has_the_flows_it_says() {
    for case in common::cases::all() {
        let mut reader = CaptureReader::open(&case.capture[..]).unwrap();
        let (mut flows, mut refused) = (Flows::default(), 0);
        while let Some(packet) = reader.next_packet().unwrap() {
            let Ok((_, headers)) = parse(packet.start, packet.bytes, packet.octets.unwrap()) else {
                refused += 1;
                continue;
            };
            let [source, destination] =
                [headers.source, headers.destination].map(|number| address(headers.ip_version, number));
            let key = (headers.protocol, source, headers.source_port, destination, headers.destination_port);
            let tcp_flags = headers.tcp_flags;
            flows.add(key, Counts { packets: 1, octets: headers.octets, first: 0, last: 0, tcp_flags });
        }
        let differences = flows.differences(&Flows::expected(&case));
        assert!(differences.is_empty(), "{}: {}", case.name, differences.join("\n"));
        assert_eq!(refused, case.refused, "{}", case.name);
    }
}
