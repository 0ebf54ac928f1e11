//! The flow table's races, every interleaving of them within loom's bounds.
//!
//! Runs only with `RUSTFLAGS="--cfg loom"`, which `tests/run` sets; the bound on preemptions is loom's usual 2 or 3
//! (`LOOM_MAX_PREEMPTIONS`).
#![cfg(loom)]

use loom::thread;
use nfweir::flow::expiry::Verdict;
use nfweir::flow::table::{self, Glimpse, Harvester, Scope, Writer};
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

/// A packet of `octets` octets, so that sums tell which packets are in a record. Gives the octets that were ignored.
fn count(writer: &mut Writer, number: u8, octets: u64) -> u64 {
    count_all(writer, &[(number, octets)])
}

/// Packets in one batch.
fn count_all(writer: &mut Writer, packets: &[(u8, u64)]) -> u64 {
    let mut batch = writer.enter();
    packets.iter().for_each(|&(number, octets)| batch.count(&key(number), &packet(octets, 0)));
    let counted = batch.finish();
    assert_eq!(counted.flow_octets + counted.ignored_octets, packets.iter().map(|packet| packet.1).sum::<u64>());
    counted.ignored_octets
}

/// A packet of flow 1 with these control bits.
fn count_flags(writer: &mut Writer, tcp_flags: u16) {
    let mut batch = writer.enter();
    batch.count(&key(1), &packet(1, tcp_flags));
    assert_eq!(batch.finish().flow_packets, 1);
}

fn packet(octets: u64, tcp_flags: u16) -> Sighting {
    let time = Timestamp::from_nanos(5);
    Sighting { time, octets, tcp_flags, ttl: 64, output: 0, direction: Direction::Ingress }
}

fn take_all(harvester: &mut Harvester) -> Vec<FlowRecord> {
    let mut records = Vec::new();
    harvester.pass(Scope::All, |_| Verdict::Ended(EndReason::ForcedEnd), |record| records.push(record));
    records
}

fn octets(records: &[FlowRecord]) -> u64 {
    records.iter().map(|record| record.octets).sum()
}

#[test]
fn two_writers_that_insert_the_same_key_make_two_records() {
    loom::model(|| {
        let (mut writers, mut harvester) = table::new(3, 2).unwrap();
        let mut other = writers.pop().unwrap();
        let mut own = writers.pop().unwrap();
        let thread = thread::spawn(move || [100, 1000].map(|octets| count(&mut other, 1, octets)));
        assert_eq!(count(&mut own, 1, 1), 0);
        assert_eq!(thread.join().unwrap(), [0, 0]);
        let mut sums: Vec<_> = take_all(&mut harvester).iter().map(|record| (record.key, record.octets)).collect();
        sums.sort_unstable_by_key(|sum| sum.1);
        assert_eq!(sums, [(key(1), 1), (key(1), 1100)]);
        assert_eq!(harvester.live(), 0);
    });
}

#[test]
fn two_writers_that_insert_different_keys_make_two_flows() {
    loom::model(|| {
        let (mut writers, mut harvester) = table::new(2, 2).unwrap();
        let mut other = writers.pop().unwrap();
        let mut own = writers.pop().unwrap();
        let thread = thread::spawn(move || count(&mut other, 1, 100));
        assert_eq!((count(&mut own, 2, 1), thread.join().unwrap()), (0, 0));
        let mut sums: Vec<_> = take_all(&mut harvester).iter().map(|record| record.octets).collect();
        sums.sort_unstable();
        assert_eq!(sums, [1, 100]);
    });
}

#[test]
fn packets_counted_while_their_flow_is_removed_are_each_in_one_record() {
    loom::model(|| {
        let (mut writers, mut harvester) = table::new(2, 1).unwrap();
        let mut writer = writers.pop().unwrap();
        assert_eq!(count(&mut writer, 1, 1), 0);
        let thread = thread::spawn(move || count_all(&mut writer, &[(1, 10), (1, 100)]));
        let mut records = take_all(&mut harvester);
        assert_eq!(thread.join().unwrap(), 0);
        records.extend(take_all(&mut harvester));
        // each is in the record that is being removed, or in the next
        assert!(octets(&records) == 111 && records.len() <= 2, "{records:?}");
        assert!(records.iter().all(|record| record.key == key(1)));
    });
}

#[test]
fn a_slot_is_given_to_another_key_only_after_its_writers_have_left_it() {
    loom::model(|| {
        let (mut writers, mut harvester) = table::new(1, 2).unwrap();
        let mut other = writers.pop().unwrap();
        let mut own = writers.pop().unwrap();
        assert_eq!(count(&mut own, 1, 1), 0);
        let adding = thread::spawn(move || count(&mut own, 1, 10));
        let inserting = thread::spawn(move || count(&mut other, 2, 100));
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
            assert_eq!(count(&mut writer, number, 1 << number), 0);
        }
        let thread = thread::spawn(move || {
            assert_eq!(count(&mut writer, 1, 16) + count(&mut writer, 4, 32), 0);
        });
        let mut records = Vec::new();
        let mut seen = 0;
        harvester.pass(
            Scope::All,
            |_| {
                seen += 1;
                if seen == 2 { Verdict::Ended(EndReason::IdleTimeout) } else { Verdict::Until(Timestamp::default()) }
            },
            |record| records.push(record),
        );
        thread.join().unwrap();
        records.extend(take_all(&mut harvester));
        assert_eq!(octets(&records), 2 + 4 + 8 + 16 + 32);
        assert_eq!(records.len(), 4);
    });
}

/// A change of control bits is judged in this pass or calls for a look in the next.
#[test]
fn a_change_beside_a_look_is_not_forgotten() {
    loom::model(|| {
        let (mut writers, mut harvester) = table::new(1, 1).unwrap();
        let mut writer = writers.pop().unwrap();
        count(&mut writer, 1, 1);
        let thread = thread::spawn(move || count_flags(&mut writer, 0x01));
        let mut seen = 0;
        let mut look = |harvester: &mut Harvester| {
            let judge = |flow: &Glimpse| {
                seen = flow.tcp_flags;
                Verdict::Until(Timestamp::from_nanos(u64::MAX))
            };
            harvester.pass(Scope::Due(Timestamp::default()), judge, |_| ());
        };
        look(&mut harvester);
        thread.join().unwrap();
        look(&mut harvester);
        assert_eq!(seen, 0x01);
    });
}
