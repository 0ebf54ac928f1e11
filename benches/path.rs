//! The stations of a packet's way, one by one: `cargo bench`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etherparse::PacketBuilder;
use nfweir::export::encoder::Encoder;
use nfweir::export::ipfix::Ipfix;
use nfweir::export::templated::Templated;
use nfweir::flow::table::{self, Writer};
use nfweir::flow::{Direction, EndReason, FlowKey, FlowRecord, Sighting};
use nfweir::packet::{Headers, Start, parse};
use nfweir::time::Timestamp;
use std::hint::black_box;

const PACKETS: u32 = 512;
const SNAPLEN: usize = 128;

/// A TCP packet of each of `flows` flows.
fn packets(flows: u32) -> Vec<Vec<u8>> {
    let packet = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ipv4([10, a, b, c], [10, 99, 99, 2], 64).tcp(1024, 443, 1, 1);
        builder.write(&mut bytes, &[0; 100]).unwrap();
        bytes.truncate(SNAPLEN);
        bytes
    };
    (0..flows).map(packet).collect()
}

fn headers(bytes: &[u8]) -> Headers {
    parse(Start::EtherType(0x0800), bytes, bytes.len() as u64).unwrap().1
}

fn sighting(headers: &Headers) -> Sighting {
    Sighting {
        time: Timestamp::from_nanos(1),
        octets: headers.octets,
        tcp_flags: headers.tcp_flags,
        ttl: headers.ttl,
        output: 0,
        direction: Direction::Ingress,
    }
}

/// Counts a packet of each key, in batches as NFLOG delivers them.
fn count(writer: &mut Writer, packets: &[(FlowKey, Sighting)]) {
    for datagram in packets.chunks(PACKETS as usize) {
        let batch = writer.enter();
        for (key, sighting) in datagram {
            batch.count(key, sighting).unwrap();
        }
    }
}

fn stations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    let decoded = packets(PACKETS);
    group.throughput(Throughput::Elements(PACKETS.into()));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for bytes in &decoded {
                black_box(headers(bytes));
            }
        });
    });
    for flows in [10_000, 500_000] {
        let counted: Vec<_> = packets(flows)
            .iter()
            .map(|bytes| headers(bytes))
            .map(|headers| (FlowKey::new(&headers, 1, 0, 0), sighting(&headers)))
            .collect();
        let (mut writers, _harvester) = table::new(1 << 20, 1).unwrap();
        group.throughput(Throughput::Elements(flows.into()));
        group.bench_function(format!("count, {flows} flows"), |bencher| {
            bencher.iter(|| count(&mut writers[0], &counted));
        });
    }
    let records = records(&decoded);
    group.throughput(Throughput::Elements(PACKETS.into()));
    group.bench_function("encode by IPFIX", |bencher| {
        let mut encoder = Templated::new(Ipfix::new(1));
        let mut messages = Vec::new();
        bencher.iter(|| {
            for record in &records {
                encoder.add(record, Timestamp::from_nanos(1), 1472, &mut messages);
            }
            messages.clear();
        });
    });
    group.finish();
}

fn records(packets: &[Vec<u8>]) -> Vec<FlowRecord> {
    let (mut writers, mut harvester) = table::new(PACKETS, 1).unwrap();
    let mut records = Vec::new();
    for bytes in packets {
        let headers = headers(bytes);
        writers[0].enter().count(&FlowKey::new(&headers, 1, 0, 0), &sighting(&headers)).unwrap();
    }
    harvester.pass(|_| Some(EndReason::ForcedEnd), |record| records.push(record));
    records
}

criterion_group!(benches, stations);
criterion_main!(benches);
