//! The flow table under real threads: whatever they do to each other, the sums at the end are those of the packets.
#![cfg(not(loom))]

use nfweir::flow::expiry::Timeouts;
use nfweir::flow::table::{self, Harvester, Writer};
use nfweir::flow::{Direction, EndReason, FlowKey, FlowRecord, Sighting};
use nfweir::time::Timestamp;
use std::collections::HashMap;
use std::thread;
use std::time::Duration;

const WRITERS: u64 = 4;
const PACKETS: u64 = 300_000;
const BATCH: u64 = 64;

/// Packets and octets.
type Sums = (u64, u64);

fn key(number: u64) -> FlowKey {
    let mut source = [0; 16];
    source[..8].copy_from_slice(&number.to_be_bytes());
    FlowKey {
        source,
        destination: [9; 16],
        source_port: 1,
        destination_port: 2,
        protocol: 17,
        tos: 0,
        ip_version: 6,
        input: 1,
        vlan: 0,
        selector: 0,
    }
}

/// A generator of which each thread has its own (xorshift64).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Counts packets of `flows` flows, the same ones as the other writers. Gives what was counted, and what found no room.
fn write(mut writer: Writer, seed: u64, flows: u64) -> (Sums, Sums) {
    let (mut state, mut counted, mut ignored) = (seed, (0, 0), (0, 0));
    for _ in 0..PACKETS / BATCH {
        let batch = writer.enter();
        for _ in 0..BATCH {
            let random = next(&mut state);
            let packet = Sighting {
                time: Timestamp::from_nanos(random % 1000),
                octets: 40 + random % 1460,
                tcp_flags: 0,
                ttl: 64,
                output: 0,
                direction: Direction::Ingress,
            };
            let sums = match batch.count(&key((random >> 32) % flows), &packet) {
                Ok(()) => &mut counted,
                Err(table::Full) => &mut ignored,
            };
            sums.0 += 1;
            sums.1 += packet.octets;
        }
    }
    (counted, ignored)
}

/// Runs the writers against a harvester that ends some flows at each pass, and all of them at last.
fn run(max_flows: u32, flows: u64) -> (Sums, Sums, Vec<FlowRecord>) {
    let (writers, mut harvester) = table::new(max_flows, WRITERS as usize).unwrap();
    let threads: Vec<_> =
        (1..).zip(writers).map(|(seed, writer)| thread::spawn(move || write(writer, seed * 7919, flows))).collect();
    let mut records = Vec::new();
    let mut every = |harvester: &mut Harvester, ends: u64| {
        let mut seen = 0;
        let judge = |_: &_| {
            seen += 1;
            (seen % ends == 0).then_some(EndReason::ForcedEnd)
        };
        harvester.pass(judge, |record| records.push(record));
    };
    while !harvester.abandoned() {
        every(&mut harvester, 3);
    }
    every(&mut harvester, 1);
    assert_eq!(harvester.live(), 0);
    let add = |a: Sums, b: Sums| (a.0 + b.0, a.1 + b.1);
    let (counted, ignored) =
        threads.into_iter().map(|thread| thread.join().unwrap()).reduce(|a, b| (add(a.0, b.0), add(a.1, b.1))).unwrap();
    (counted, ignored, records)
}

fn sums(records: &[FlowRecord]) -> Sums {
    records.iter().fold((0, 0), |sums, record| (sums.0 + record.packets, sums.1 + record.octets))
}

#[test]
fn with_room_for_all_nothing_is_ignored_and_everything_exported() {
    let (counted, ignored, records) = run(4096, 1000);
    assert_eq!(ignored, (0, 0));
    assert_eq!(counted.0, WRITERS * (PACKETS / BATCH) * BATCH);
    assert_eq!(sums(&records), counted);
    assert!(records.iter().all(|record| record.packets > 0 && record.first <= record.last));
}

#[test]
fn with_room_for_few_what_is_not_exported_was_refused() {
    let (counted, ignored, records) = run(64, 1000);
    assert_eq!(sums(&records), counted);
    assert!(ignored.0 > 0);
    assert_eq!(counted.0 + ignored.0, WRITERS * (PACKETS / BATCH) * BATCH);
}

#[test]
fn without_a_harvester_each_key_has_one_record() {
    let (writers, mut harvester) = table::new(1000, WRITERS as usize).unwrap();
    let threads: Vec<_> =
        (1..).zip(writers).map(|(seed, writer)| thread::spawn(move || write(writer, seed * 104_729, 1000))).collect();
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap().1, (0, 0)));
    let mut records: HashMap<FlowKey, FlowRecord> = HashMap::new();
    harvester.pass(
        |_| Some(EndReason::ForcedEnd),
        |record| {
            assert!(records.insert(record.key, record).is_none(), "two records of one key");
        },
    );
    assert_eq!(records.len(), 1000);
}

#[test]
fn the_longest_idle_flows_are_found_by_their_share() {
    let (mut writers, mut harvester) = table::new(1000, 1).unwrap();
    assert_eq!(harvester.oldest(0.5), None);
    for number in 0..1000 {
        let time = Timestamp::from_nanos(number);
        let packet = Sighting { time, octets: 1, tcp_flags: 0, ttl: 1, output: 0, direction: Direction::Egress };
        writers[0].enter().count(&key(number), &packet).unwrap();
    }
    assert!(harvester.crowded());
    let early = harvester.oldest(0.25).unwrap();
    let timeouts = Timeouts { inactive: Duration::from_secs(9), active: Duration::from_secs(9) };
    let mut ended = 0;
    harvester.pass(
        |flow| {
            assert_eq!(timeouts.judge(flow, Timestamp::from_nanos(1000)), None);
            (flow.last <= early).then_some(EndReason::LackOfResources)
        },
        |_| ended += 1,
    );
    assert!((240..=260).contains(&ended), "{ended}");
}
