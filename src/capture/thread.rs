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
        self.counters.lost_last_datagrams.add(sequence.unaccounted(self.socket.dropped_datagrams()));
        Ok(())
    }

    /// Counts the packets of one datagram; false if there was none.
    fn receive(&mut self, sequence: &mut Sequence) -> io::Result<bool> {
        let Some(datagram) = self.socket.receive()? else { return Ok(false) };
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
        if lost > 0 {
            self.counters.lost_packets.add(lost);
            sequence.dropped_datagrams = self.socket.dropped_datagrams();
        }
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
    let (start, direction) = netlink::seen_at(logged.family, logged.hook, logged.hw_protocol);
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
    /// Datagrams dropped by the kernel when the latest gap was seen.
    dropped_datagrams: u64,
}

impl Sequence {
    /// How many packets are missing before the one with this number.
    #[inline]
    fn gap(&mut self, number: Option<u32>) -> u64 {
        let Some(number) = number else { return 0 };
        let missing = number.wrapping_sub(self.expected);
        self.expected = number.wrapping_add(1);
        u64::from(missing)
    }

    /// Datagrams dropped since the latest gap, which no later packet has told of.
    fn unaccounted(&self, dropped_datagrams: u64) -> u64 {
        dropped_datagrams.saturating_sub(self.dropped_datagrams)
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
}
