//! A capture thread: one NFLOG group's packets into the flow table, datagram by datagram, until it is told to stop.

use super::Captured;
use super::netlink::{self, Logged};
use super::nflog::LogSocket;
use super::selectors::GroupSelectors;
use super::tally::Tally;
use crate::flow::table::{Batch, Writer};
use crate::latch::Latch;
use crate::metrics::CaptureCounters;
use crate::time::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::Thread;

/// What a capture thread works with.
pub struct Capture {
    /// Where its packets come from.
    pub socket: LogSocket,
    /// Its handle to the flow table.
    pub writer: Writer,
    /// The selectors of its group.
    pub selectors: GroupSelectors,
    /// Its group's counters.
    pub counters: Arc<CaptureCounters>,
    /// When to end.
    pub stop: Arc<Latch>,
    /// The export thread, woken when the table is filling up.
    pub exporter: Thread,
}

impl Capture {
    /// Receives until told to stop, then gives the group back and counts what was still under way.
    pub fn run(mut self) -> io::Result<()> {
        let mut sequence = Sequence::default();
        while !self.stop.is_raised() {
            if !self.receive(&mut sequence)? {
                let mut awaited = [
                    PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                    PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
                ];
                match poll(&mut awaited, PollTimeout::NONE) {
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // The kernel's last batch needs room in the socket, so it is emptied first, though not for ever under load.
        for _ in 0..LAST_DATAGRAMS {
            if !self.receive(&mut sequence)? {
                break;
            }
        }
        self.socket.unbind()?;
        while self.receive(&mut sequence)? {}
        self.counters.lost_last_datagrams.add(sequence.untold(self.socket.dropped_datagrams()?).into());
        Ok(())
    }

    /// Counts the packets of one datagram; false if there was none.
    fn receive(&mut self, sequence: &mut Sequence) -> io::Result<bool> {
        // read before the socket is found empty: what was dropped until then lies before all that comes later
        let dropped = self.socket.dropped_datagrams()?;
        let Some(datagram) = self.socket.receive()? else {
            sequence.dropped_before = dropped;
            return Ok(false);
        };
        let mut tally = Tally::default();
        let mut lost = 0;
        let mut clock = Clock::default();
        let batch = self.writer.enter();
        for message in netlink::messages(datagram).filter(|message| message.kind == netlink::PACKET) {
            let logged = Logged::parse(message.body);
            lost += sequence.gap(logged.sequence);
            count(&mut tally, &batch, &logged, &mut self.selectors, &mut clock);
        }
        drop(batch);
        tally.settle_into(&self.counters);
        self.counters.lost_packets.add(lost);
        if self.writer.crowded() {
            self.exporter.unpark();
        }
        Ok(true)
    }
}

/// As many as the largest usual receive buffer holds.
const LAST_DATAGRAMS: usize = 1024;

#[inline]
fn count(tally: &mut Tally, batch: &Batch<'_>, logged: &Logged<'_>, selectors: &mut GroupSelectors, clock: &mut Clock) {
    let (start, direction) = netlink::seen_at(logged.family, logged.hook, logged.hw_protocol, logged.payload);
    let packet = Captured {
        bytes: logged.payload,
        start,
        octets: None,
        time: logged.time.unwrap_or_else(|| clock.read()),
        input: logged.input,
        output: logged.output,
        vlan: logged.vlan,
        direction,
        selector: selectors.index(logged.prefix),
    };
    tally.count(batch, &packet);
}

/// The time of packets that the kernel gave none: read at most once for each datagram.
#[derive(Default)]
struct Clock(Option<Timestamp>);

impl Clock {
    fn read(&mut self) -> Timestamp {
        *self.0.get_or_insert_with(Timestamp::now)
    }
}

/// What the group's sequence numbers tell of loss. They begin at 0 with the binding and wrap at 2^32.
#[derive(Default)]
struct Sequence {
    expected: u32,
    /// Datagrams dropped before the socket was last found empty: the next packet tells what was in them.
    dropped_before: u32,
    /// Datagrams dropped whose packets some packet has told of.
    told: u32,
}

impl Sequence {
    /// How many packets are missing before the one with this number.
    #[inline]
    fn gap(&mut self, number: Option<u32>) -> u64 {
        let Some(number) = number else { return 0 };
        let missing = number.wrapping_sub(self.expected);
        self.told = self.dropped_before;
        self.expected = number.wrapping_add(1);
        u64::from(missing)
    }

    /// Of so many dropped datagrams, the most that no packet has told of: a full socket may have let packets in between
    /// them.
    fn untold(&self, dropped: u32) -> u32 {
        dropped.wrapping_sub(self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_exact_from_the_first_packet_and_over_the_wrap() {
        let mut sequence = Sequence::default();
        assert_eq!([0, 1, 5].map(|number| sequence.gap(Some(number))), [0, 0, 3]);
        assert_eq!(Sequence::default().gap(Some(7)), 7);
        sequence.expected = u32::MAX;
        assert_eq!([u32::MAX, 0, 2].map(|number| sequence.gap(Some(number))), [0, 0, 1]);
        assert_eq!(sequence.gap(None), 0);
    }

    #[test]
    fn drops_behind_the_last_packet_are_not_told_by_an_earlier_gap() {
        let mut sequence = Sequence::default();
        sequence.gap(Some(0));
        // two datagrams are dropped, the socket is found empty, a packet tells of them
        sequence.dropped_before = 2;
        assert_eq!((sequence.untold(2), sequence.gap(Some(1025)), sequence.untold(2)), (2, 1024, 0));
        // three more behind all packets that were let in
        assert_eq!((sequence.gap(Some(1026)), sequence.untold(5)), (0, 3));
    }
}
