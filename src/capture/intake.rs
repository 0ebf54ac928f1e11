//! What a capture thread does with a datagram: its messages, their packets, and where each of those goes.

use super::Captured;
use super::envelope::Envelopes;
use super::netlink;
use super::selectors::GroupSelectors;
use super::sequence::Sequence;
use super::tally::Tally;
use crate::conntrack;
use crate::flow::table::Writer;
use crate::metrics::CaptureCounters;
use crate::time::Timestamp;
use std::sync::Arc;

/// One group's way into the flow table.
pub struct Intake {
    writer: Writer,
    envelopes: Envelopes,
    counters: Arc<CaptureCounters>,
    /// The group's sequence numbers.
    pub sequence: Sequence,
}

impl Intake {
    /// Counts in flows by `writer`, and what else there is to count in `counters`.
    pub fn new(writer: Writer, selectors: GroupSelectors, counters: Arc<CaptureCounters>) -> Self {
        Self { writer, envelopes: Envelopes::new(selectors), counters, sequence: Sequence::default() }
    }

    /// Counts the packets of a datagram.
    pub fn take(&mut self, datagram: &[u8]) {
        match self.writer.takes_notes() {
            true => self.take_messages::<true>(datagram),
            false => self.take_messages::<false>(datagram),
        }
    }

    /// A copy for each case: where there are no details, the mere question would cost a tenth of the work on a packet.
    fn take_messages<const DETAILED: bool>(&mut self, datagram: &[u8]) {
        let mut tally = Tally::default();
        let mut lost = 0;
        let mut clock = Clock::default();
        let mut batch = self.writer.enter();
        for message in netlink::messages(datagram).filter(|message| message.kind == netlink::PACKET) {
            let (packet, number) = self.envelopes.open(message.body, || clock.read());
            lost += self.sequence.gap(number);
            if let Some((key, sighting)) = tally.sort(&packet) {
                if DETAILED {
                    let packet = Captured { beside: netlink::Beside::parse(message.body), ..packet };
                    let (connection, info) = netlink::connection(message.body);
                    let tracked = conntrack::told(connection, info, &key);
                    batch.note_next(&packet.details(sighting.octets), &tracked);
                }
                batch.count(&key, &sighting);
            }
        }
        tally.settle_into(&self.counters);
        batch.finish().settle_into(&self.counters);
        self.counters.lost_packets.add(lost);
    }

    /// Counts datagrams whose packets no sequence number will tell of any more.
    pub fn lose_last(&self, datagrams: u32) {
        self.counters.lost_last_datagrams.add(datagrams.into());
    }

    /// Whether the flow table is filling up.
    pub fn crowded(&self) -> bool {
        self.writer.crowded()
    }
}

/// The time of packets that the kernel gave none: read at most once for each datagram.
#[derive(Default)]
struct Clock(Option<Timestamp>);

impl Clock {
    fn read(&mut self) -> Timestamp {
        *self.0.get_or_insert_with(Timestamp::now)
    }
}
