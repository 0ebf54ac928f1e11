//! The flow table's races, every interleaving of them within loom's bounds.
//!
//! Runs only with `RUSTFLAGS="--cfg loom"`, which `tests/run` sets; the bound on preemptions is loom's usual 2 or 3
//! (`LOOM_MAX_PREEMPTIONS`).
#![cfg(loom)]

use loom::thread;
use nfweir::flow::table::{self, Full, Harvester, Writer};
use nfweir::flow::{Direction, EndReason, FlowKey, FlowRecord, Sighting};
use nfweir::time::Timestamp;

fn key(number: u8) -> FlowKey {
    FlowKey {
        source: [number; 16],
        destination: [2; 16],
        source_port: 1,
        destination_port: 2,
        protocol: 17,
        tos: 0,
        ip_version: 6,
        input: 0,
        vlan: 0,
        selector: 0,
    }
}

/// A packet of `octets` octets, so that sums tell which packets are in a record.
fn count(writer: &mut Writer, number: u8, octets: u64) -> Result<(), Full> {
    let packet = Sighting {
        time: Timestamp::from_nanos(5),
        octets,
        tcp_flags: 0,
        ttl: 64,
        output: 0,
        direction: Direction::Ingress,
    };
    writer.enter().count(&key(number), &packet)
}

fn take_all(harvester: &mut Harvester) -> Vec<FlowRecord> {
    let mut records = Vec::new();
    harvester.pass(|_| Some(EndReason::ForcedEnd), |record| records.push(record));
    records
}

fn octets(records: &[FlowRecord]) -> u64 {
    records.iter().map(|record| record.octets).sum()
}

#[test]
fn two_writers_that_insert_the_same_key_make_one_flow() {
    loom::model(|| {
        let (mut writers, mut harvester) = table::new(3, 2).unwrap();
        let mut other = writers.pop().unwrap();
        let mut own = writers.pop().unwrap();
        let thread = thread::spawn(move || count(&mut other, 1, 100).unwrap());
        count(&mut own, 1, 1).unwrap();
        thread.join().unwrap();
        let records = take_all(&mut harvester);
        assert_eq!((records.len(), records[0].packets, records[0].octets), (1, 2, 101));
        assert_eq!(harvester.live(), 0);
    });
}

#[test]
fn two_writers_that_insert_different_keys_make_two_flows() {
    loom::model(|| {
        let (mut writers, mut harvester) = table::new(2, 2).unwrap();
        let mut other = writers.pop().unwrap();
        let mut own = writers.pop().unwrap();
        let thread = thread::spawn(move || count(&mut other, 1, 100).unwrap());
        count(&mut own, 2, 1).unwrap();
        thread.join().unwrap();
        let mut sums: Vec<_> = take_all(&mut harvester).iter().map(|record| record.octets).collect();
        sums.sort_unstable();
        assert_eq!(sums, [1, 100]);
    });
}

#[test]
fn a_packet_counted_while_its_flow_is_removed_is_in_one_record() {
    loom::model(|| {
        let (mut writers, mut harvester) = table::new(2, 1).unwrap();
        let mut writer = writers.pop().unwrap();
        count(&mut writer, 1, 1).unwrap();
        let thread = thread::spawn(move || count(&mut writer, 1, 10).unwrap());
        let mut records = take_all(&mut harvester);
        thread.join().unwrap();
        records.extend(take_all(&mut harvester));
        assert_eq!(octets(&records), 11);
        assert!(records.iter().all(|record| record.key == key(1)));
    });
}

#[test]
fn a_slot_is_given_to_another_key_only_after_its_writers_have_left_it() {
    loom::model(|| {
        let (mut writers, mut harvester) = table::new(1, 2).unwrap();
        let mut other = writers.pop().unwrap();
        let mut own = writers.pop().unwrap();
        count(&mut own, 1, 1).unwrap();
        let adding = thread::spawn(move || count(&mut own, 1, 10).map_or(10, |()| 0));
        let inserting = thread::spawn(move || count(&mut other, 2, 100).map_or(100, |()| 0));
        let mut records = take_all(&mut harvester);
        let ignored = adding.join().unwrap() + inserting.join().unwrap();
        records.extend(take_all(&mut harvester));
        assert_eq!(octets(&records) + ignored, 111);
        for record in &records {
            let belongs = if record.key == key(1) { 11 } else { 100 };
            assert!(record.octets <= belongs && record.octets % 100 <= belongs % 100, "{record:?}");
        }
    });
}

#[test]
fn removing_from_the_middle_of_a_chain_loses_neither_neighbour() {
    loom::model(|| {
        let (mut writers, mut harvester) = table::new(4, 1).unwrap();
        let mut writer = writers.pop().unwrap();
        for number in 1..=3 {
            count(&mut writer, number, 1 << number).unwrap();
        }
        let thread = thread::spawn(move || {
            count(&mut writer, 1, 16).unwrap();
            count(&mut writer, 4, 32).unwrap();
        });
        let mut records = Vec::new();
        let mut seen = 0;
        harvester.pass(
            |_| {
                seen += 1;
                (seen == 2).then_some(EndReason::IdleTimeout)
            },
            |record| records.push(record),
        );
        thread.join().unwrap();
        records.extend(take_all(&mut harvester));
        assert_eq!(octets(&records), 2 + 4 + 8 + 16 + 32);
        assert_eq!(records.len(), 4);
    });
}
