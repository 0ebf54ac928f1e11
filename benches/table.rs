//! The flow table beside other maps, each behind the same trait: `cargo bench --bench table`.
//!
//! Each thread counts packets of flows of its own, as rules that spread by `symhash` give them, in batches of 512; half of the
//! packets are of one sixteenth of the flows. The maps of papaya, scc and dashmap hold counters that are added to
//! atomically or under their own lock; `one each` is a plain `HashMap` for each thread, which an export thread would have
//! to stop to look into. All hash with rapidhash.
//!
//! Figures (million packets a second, both threads together; 2 processors, a virtual machine, one run):
//!
//! | | 10,000 flows, 1 thread | 2 threads | 500,000 flows, 1 thread | 2 threads |
//! |---|---|---|---|---|
//! | nfweir | 66.8 | 140.4 | 51.3 | 114.8 |
//! | papaya 0.2.5 | 37.6 | 78.5 | 20.0 | 27.4 |
//! | scc 3.8.8 | 33.6 | 71.1 | 13.8 | 27.3 |
//! | dashmap 6.2.1 | 49.2 | 50.8 | 18.1 | 24.3 |
//! | one each | 65.3 | 168.3 | 22.9 | 51.2 |
//!
//! Tried and left: a table without the array of chains' heads, whose slots are the places that the hash names, with spare slots
//! chained behind them. On the same live packets it took as long at 10,000 flows, and 103 ns of processor time a packet for
//! 87 at 500,000, where a third of the flows find their place taken.

#[path = "common/flows.rs"]
mod flows;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nfweir::flow::table::{self, Writer};
use nfweir::flow::{Direction, FlowKey, Sighting};
use nfweir::time::Timestamp;
use rapidhash::fast::RandomState;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const BATCH: usize = 512;
const PACKETS: usize = 1 << 20;
const MAX_FLOWS: u32 = 524_288;

type Words = [u64; FlowKey::WORDS];
type Packet = (FlowKey, Sighting);

/// What a thread counts with.
trait Count: Send {
    fn batch(&mut self, packets: &[Packet]);
}

/// What the maps keep of a flow.
#[derive(Default)]
struct Counters {
    packets: AtomicU64,
    octets: AtomicU64,
    last: AtomicU64,
}

impl Counters {
    fn add(&self, packet: &Sighting) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.octets.fetch_add(packet.octets, Ordering::Relaxed);
        self.last.fetch_max(packet.time.nanos(), Ordering::Relaxed);
    }

    fn add_alone(&mut self, packet: &Sighting) {
        *self.packets.get_mut() += 1;
        *self.octets.get_mut() += packet.octets;
        *self.last.get_mut() = packet.time.nanos().max(*self.last.get_mut());
    }
}

impl Count for Writer {
    fn batch(&mut self, packets: &[Packet]) {
        let mut batch = self.enter();
        packets.iter().for_each(|(key, packet)| batch.count(key, packet));
        assert_eq!(batch.finish().ignored_packets, 0);
    }
}

struct Papaya<'a>(&'a papaya::HashMap<Words, Counters, RandomState>);

impl Count for Papaya<'_> {
    fn batch(&mut self, packets: &[Packet]) {
        let map = self.0.pin();
        packets.iter().for_each(|(key, packet)| map.get_or_insert_with(key.to_words(), Counters::default).add(packet));
    }
}

struct Scc<'a>(&'a scc::HashMap<Words, Counters, RandomState>);

impl Count for Scc<'_> {
    fn batch(&mut self, packets: &[Packet]) {
        for (key, packet) in packets {
            self.0.entry_sync(key.to_words()).or_default().get_mut().add_alone(packet);
        }
    }
}

struct DashMap<'a>(&'a dashmap::DashMap<Words, Counters, RandomState>);

impl Count for DashMap<'_> {
    fn batch(&mut self, packets: &[Packet]) {
        packets.iter().for_each(|(key, packet)| self.0.entry(key.to_words()).or_default().add_alone(packet));
    }
}

struct OneEach(HashMap<Words, Counters, RandomState>);

impl Count for OneEach {
    fn batch(&mut self, packets: &[Packet]) {
        packets.iter().for_each(|(key, packet)| self.0.entry(key.to_words()).or_default().add_alone(packet));
    }
}

/// Packets for each thread, of its share of the flows.
fn packets(flows: u32, threads: u32) -> Vec<Vec<Packet>> {
    let share = flows / threads;
    let of_thread = |thread: u32| {
        let numbers = flows::numbers(u64::from(42 + thread), share).take(PACKETS / threads as usize);
        numbers.map(|number| packet(thread * share + number)).collect()
    };
    (0..threads).map(of_thread).collect()
}

fn packet(flow: u32) -> Packet {
    let mut source = [0; 16];
    source[..4].copy_from_slice(&flow.to_be_bytes());
    let key = FlowKey {
        source,
        destination: [9; 16],
        source_port: flow as u16,
        destination_port: 443,
        protocol: 6,
        tos: 0,
        ip_version: 4,
        input: 2,
        vlan: 0,
        selector: 0,
    };
    let time = Timestamp::from_nanos(flow.into());
    (key, Sighting { time, octets: 114, tcp_flags: 0x10, ttl: 64, output: 0, direction: Direction::Ingress })
}

/// How long the slowest thread takes for its packets, again and again.
fn time(counters: &mut [impl Count], packets: &[Vec<Packet>], times: u64) -> Duration {
    let start = &Barrier::new(counters.len());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (counter, packets) in counters.iter_mut().zip(packets) {
            threads.push(scope.spawn(move || run(counter, packets, times, start)));
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    })
}

fn run(counter: &mut impl Count, packets: &[Packet], times: u64, start: &Barrier) -> Duration {
    // the flows are there, as nearly always
    packets.chunks(BATCH).for_each(|batch| counter.batch(batch));
    start.wait();
    let begin = Instant::now();
    for _ in 0..times {
        packets.chunks(BATCH).for_each(|batch| counter.batch(black_box(batch)));
    }
    begin.elapsed()
}

fn tables(criterion: &mut Criterion) {
    let capacity = MAX_FLOWS as usize;
    for flows in [10_000, 500_000] {
        let mut group = criterion.benchmark_group(format!("{flows} flows"));
        group.throughput(Throughput::Elements(PACKETS as u64)).sample_size(10).measurement_time(Duration::from_secs(2));
        for threads in [1, 2] {
            let packets = packets(flows, threads);
            let each = 0..threads as usize;
            let (writers, _harvester) = table::new(MAX_FLOWS, each.len()).unwrap();
            measure(&mut group, "nfweir", writers, &packets);
            let map = papaya::HashMap::with_capacity_and_hasher(capacity, RandomState::default());
            measure(&mut group, "papaya", each.clone().map(|_| Papaya(&map)).collect(), &packets);
            let map = scc::HashMap::with_capacity_and_hasher(capacity, RandomState::default());
            measure(&mut group, "scc", each.clone().map(|_| Scc(&map)).collect(), &packets);
            let map = dashmap::DashMap::with_capacity_and_hasher(capacity, RandomState::default());
            measure(&mut group, "dashmap", each.clone().map(|_| DashMap(&map)).collect(), &packets);
            let map = |_| OneEach(HashMap::with_capacity_and_hasher(capacity / each.len(), RandomState::default()));
            measure(&mut group, "one each", each.clone().map(map).collect(), &packets);
        }
        group.finish();
    }
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut counters: Vec<impl Count>,
    packets: &[Vec<Packet>],
) {
    let id = BenchmarkId::new(name, format!("{} threads", counters.len()));
    group.bench_function(id, |bencher| bencher.iter_custom(|times| time(&mut counters, packets, times)));
}

criterion_group!(benches, tables);
criterion_main!(benches);
