//! What `benches/instructions.sh` has valgrind count: packets from datagrams into the table, and flows out of it as IPFIX.

#[path = "common/datagrams.rs"]
mod datagrams;

use datagrams::datagrams;
use nfweir::capture::intake::Intake;
use nfweir::capture::selectors::Selectors;
use nfweir::export::encoder::Encoder;
use nfweir::export::ipfix::Ipfix;
use nfweir::export::templated::Templated;
use nfweir::flow::EndReason;
use nfweir::flow::expiry::Verdict;
use nfweir::flow::table::{self, Harvester, Scope};
use nfweir::metrics::CaptureCounters;
use nfweir::time::Timestamp;
use std::sync::Arc;

const FLOWS: u32 = 10_000;
const PACKETS: usize = 102_400;

fn main() {
    let datagrams = datagrams(FLOWS, PACKETS);
    let (mut writers, mut harvester) = table::new(1 << 16, 1).unwrap();
    let counters: Arc<CaptureCounters> = Arc::default();
    let intake = Intake::new(writers.remove(0), Selectors::default().of_group(5), counters.clone());
    take_packets(intake, &datagrams);
    assert_eq!(counters.flow_packets.get(), PACKETS as u64);
    println!("{PACKETS} packets {} flows", export_flows(&mut harvester));
}

#[inline(never)]
fn take_packets(mut intake: Intake, datagrams: &[Vec<u8>]) {
    datagrams.iter().for_each(|datagram| intake.take(datagram));
}

#[inline(never)]
fn export_flows(harvester: &mut Harvester) -> u64 {
    let mut encoder = Templated::new(Ipfix::new(1), Arc::default(), Arc::default());
    let mut messages = Vec::new();
    let mut flows = 0;
    harvester.pass(
        Scope::All,
        |_| Verdict::Ended(EndReason::ForcedEnd),
        |record| {
            encoder.add(&record, Timestamp::from_nanos(1), 1472, &mut messages);
            messages.clear();
            flows += 1;
        },
    );
    flows
}
