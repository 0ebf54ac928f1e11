//! The stations of a packet's way, one by one and all together: `cargo bench --bench path`.

#[path = "common/datagrams.rs"]
mod datagrams;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use datagrams::{datagrams, packet};
use nfweir::capture::intake::Intake;
use nfweir::capture::selectors::Selectors;
use nfweir::export::encoder::Encoder;
use nfweir::export::ipfix::Ipfix;
use nfweir::export::templated::Templated;
use nfweir::flow::expiry::Verdict;
use nfweir::flow::table::{self, Scope, Writer};
use nfweir::flow::{Direction, EndReason, FlowKey, FlowRecord, Sighting};
use nfweir::metrics::CaptureCounters;
use nfweir::packet::{Headers, Start, parse};
use nfweir::time::Timestamp;
use std::hint::black_box;
use std::sync::Arc;

const PACKETS: u32 = 512;

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
        let mut batch = writer.enter();
        for (key, sighting) in datagram {
            batch.count(key, sighting);
        }
        black_box(batch.finish());
    }
}

fn stations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    let packets: Vec<_> = (0..PACKETS).map(packet).collect();
    group.throughput(Throughput::Elements(PACKETS.into()));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for bytes in &packets {
                black_box(headers(bytes));
            }
        });
    });
    for flows in [10_000, 500_000] {
        let counted: Vec<_> = (0..flows)
            .map(|flow| headers(&packet(flow)))
            .map(|headers| (FlowKey::new(&headers, 1, 0, 0), sighting(&headers)))
            .collect();
        let (mut writers, _harvester) = table::new(524_288, 1).unwrap();
        group.throughput(Throughput::Elements(flows.into()));
        group.bench_function(format!("count, {flows} flows"), |bencher| {
            bencher.iter(|| count(&mut writers[0], &counted));
        });
    }
    let records = records(&packets);
    group.throughput(Throughput::Elements(PACKETS.into()));
    group.bench_function("encode by IPFIX", |bencher| {
        let mut encoder = Templated::new(Ipfix::new(1), Arc::default(), Arc::default());
        let mut messages = Vec::new();
        bencher.iter(|| {
            for record in &records {
                encoder.add(record, Timestamp::from_nanos(1), 1472, &mut messages);
            }
            messages.clear();
        });
    });
    for (flows, packets) in [(10_000, 40_000), (500_000, 1_000_000)] {
        whole(&mut group, flows, packets);
    }
    group.finish();
}

/// From the datagram to the table.
fn whole(group: &mut BenchmarkGroup<'_, WallTime>, flows: u32, packets: usize) {
    let datagrams = datagrams(flows, packets);
    let (mut writers, _harvester) = table::new(524_288, 1).unwrap();
    let selectors = Selectors::default().of_group(5);
    let counters: Arc<CaptureCounters> = Arc::default();
    let mut intake = Intake::new(writers.remove(0), selectors, counters);
    group.throughput(Throughput::Elements(packets as u64));
    group.bench_function(format!("datagrams, {flows} flows"), |bencher| {
        bencher.iter(|| datagrams.iter().for_each(|datagram: &Vec<u8>| intake.take(datagram)));
    });
}

fn records(packets: &[Vec<u8>]) -> Vec<FlowRecord> {
    let (mut writers, mut harvester) = table::new(PACKETS, 1).unwrap();
    let mut batch = writers[0].enter();
    for headers in packets.iter().map(|bytes| headers(bytes)) {
        batch.count(&FlowKey::new(&headers, 1, 0, 0), &sighting(&headers));
    }
    assert_eq!(batch.finish().flow_packets, u64::from(PACKETS));
    let mut records = Vec::new();
    harvester.pass(Scope::All, |_| Verdict::Ended(EndReason::ForcedEnd), |record| records.push(record));
    records
}

criterion_group!(benches, stations);
criterion_main!(benches);
