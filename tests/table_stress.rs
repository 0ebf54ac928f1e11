//! The flow table under real threads: whatever they do to each other, the sums at the end are those of the packets.
#![cfg(not(loom))]

use nfweir::flow::expiry::{Timeouts, Verdict};
use nfweir::flow::table::{self, Harvester, Scope, Writer};
use nfweir::flow::{Direction, EndReason, FlowKey, FlowRecord, Sighting};
use nfweir::time::Timestamp;
use std::collections::HashMap;
use std::thread;
use std::time::Duration;

const WRITERS: u64 = 4;
const PACKETS: u64 = 300_000;
const BATCH: u64 = 64;
const ENDED: Verdict = Verdict::Ended(EndReason::ForcedEnd);

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

fn add(a: Sums, b: Sums) -> Sums {
    (a.0 + b.0, a.1 + b.1)
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
    let (mut state, mut sent, mut counted, mut ignored) = (seed, (0, 0), (0, 0), (0, 0));
    for _ in 0..PACKETS / BATCH {
        let mut batch = writer.enter();
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
            batch.count(&key((random >> 32) % flows), &packet);
            sent = add(sent, (1, packet.octets));
        }
        let sums = batch.finish();
        counted = add(counted, (sums.flow_packets, sums.flow_octets));
        ignored = add(ignored, (sums.ignored_packets, sums.ignored_octets));
    }
    assert_eq!(add(counted, ignored), sent);
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
            if seen % ends == 0 { ENDED } else { Verdict::Until(Timestamp::from_nanos(u64::MAX)) }
        };
        harvester.pass(Scope::All, judge, |record| records.push(record));
    };
    while !harvester.abandoned() {
        every(&mut harvester, 3);
    }
    every(&mut harvester, 1);
    assert_eq!(harvester.live(), 0);
    let (counted, ignored) =
        threads.into_iter().map(|thread| thread.join().unwrap()).reduce(|a, b| (add(a.0, b.0), add(a.1, b.1))).unwrap();
    (counted, ignored, records)
}

fn sums(records: &[FlowRecord]) -> Sums {
    records.iter().fold((0, 0), |sums, record| (sums.0 + record.packets, sums.1 + record.octets))
}

#[test]
fn with_room_for_all_nothing_is_ignored_and_everything_exported() {
    let (counted, ignored, records) = run(8192, 1000);
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
fn without_a_harvester_each_key_has_one_record_of_each_writer() {
    let (writers, mut harvester) = table::new(1000 * WRITERS as u32, WRITERS as usize).unwrap();
    let threads: Vec<_> =
        (1..).zip(writers).map(|(seed, writer)| thread::spawn(move || write(writer, seed * 104_729, 1000))).collect();
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap().1, (0, 0)));
    let mut records: HashMap<FlowKey, u64> = HashMap::new();
    harvester.pass(Scope::All, |_| ENDED, |record| *records.entry(record.key).or_default() += 1);
    assert_eq!(records.len(), 1000);
    assert!(records.values().all(|&records| records == WRITERS), "{records:?}");
}

#[test]
fn the_longest_idle_flows_are_found_by_their_share() {
    let (mut writers, mut harvester) = table::new(1000, 1).unwrap();
    assert_eq!(harvester.oldest(0.5), None);
    for number in 0..1000 {
        let time = Timestamp::from_nanos(number);
        let packet = Sighting { time, octets: 1, tcp_flags: 0, ttl: 1, output: 0, direction: Direction::Egress };
        let mut batch = writers[0].enter();
        batch.count(&key(number), &packet);
        assert_eq!(batch.finish().flow_packets, 1);
    }
    assert!(harvester.crowded());
    let early = harvester.oldest(0.25).unwrap();
    let nine = Duration::from_secs(9);
    let timeouts = Timeouts { inactive: nine, active: nine, by_connection: true };
    let mut ended = 0;
    harvester.pass(
        Scope::All,
        |flow| match timeouts.judge(flow, Timestamp::from_nanos(1000)) {
            Verdict::Until(_) if flow.last <= early => Verdict::Ended(EndReason::LackOfResources),
            verdict => verdict,
        },
        |_| ended += 1,
    );
    assert!((240..=260).contains(&ended), "{ended}");
}

/// A flow is looked at when it is new, at the time that was said, and when its control bits change.
#[test]
fn flows_are_looked_at_when_there_is_reason() {
    let (mut writers, mut harvester) = table::new(10, 1).unwrap();
    let mut count = |number, tcp_flags| {
        let time = Timestamp::from_nanos(0);
        let packet = Sighting { time, octets: 1, tcp_flags, ttl: 1, output: 0, direction: Direction::Egress };
        let mut batch = writers[0].enter();
        batch.count(&key(number), &packet);
        assert_eq!(batch.finish().flow_packets, 1);
    };
    let mut looks = |second: u64| {
        let at = |second: u64| Timestamp::from_nanos(second * 1_000_000_000);
        let mut looks = 0;
        let judge = |_: &_| {
            looks += 1;
            Verdict::Until(at(100))
        };
        harvester.pass(Scope::Due(at(second)), judge, |_| panic!("none ends"));
        looks
    };
    count(1, 0x02);
    count(2, 0x02);
    assert_eq!([looks(50), looks(99)], [2, 0]);
    count(1, 0x02);
    assert_eq!(looks(99), 0);
    count(1, 0x01);
    assert_eq!([looks(99), looks(99), looks(100)], [1, 0, 2]);
}
