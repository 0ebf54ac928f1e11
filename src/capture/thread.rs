//! A capture thread: one NFLOG group's packets into the flow table, datagram by datagram, until it is told to stop.

use super::intake::Intake;
use super::nap::Nap;
use super::nflog::LogSocket;
use crate::latch::Latch;
use crate::sockopt::Backlog;
use crate::watch::Progress;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::MsgFlags;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Instant;

/// As many as the largest usual receive buffer holds.
const LAST_DATAGRAMS: usize = 1024;

/// How long a thread without packets waits before it shows that it is alive, in milliseconds.
const SILENCE: u16 = 2000;

/// What a capture thread works with.
pub struct Capture {
    /// Where its packets come from.
    pub socket: LogSocket,
    /// Where they go.
    pub intake: Intake,
    /// Datagrams dropped until after the latest was received.
    pub dropped: u32,
    /// When to let several datagrams come.
    pub nap: Nap,
    /// When to end.
    pub stop: Arc<Latch>,
    /// The export thread, woken when the table is filling up.
    pub exporter: Thread,
    /// That this thread gets on.
    pub progress: Arc<Progress>,
}

impl Capture {
    /// Receives until told to stop, then gives the group back and counts what was still under way.
    pub fn run(mut self) -> io::Result<()> {
        while !self.stop.is_raised() {
            if self.wait()? {
                // while packets come, nothing else is asked for
                while let Some(backlog) = self.receive(MsgFlags::empty())?
                    && !self.stop.is_raised()
                {
                    let nap = self.nap.after_datagram(backlog.octets == 0, Instant::now);
                    if !self.intake.crowded() {
                        thread::sleep(nap);
                    }
                }
            }
        }
        // The kernel's last batch needs room in the socket, so it is emptied first, though not for ever under load.
        for _ in 0..LAST_DATAGRAMS {
            if self.receive(MsgFlags::MSG_DONTWAIT)?.is_none() {
                break;
            }
        }
        self.socket.unbind()?;
        while self.receive(MsgFlags::MSG_DONTWAIT)?.is_some() {}
        self.intake.lose_last(self.intake.sequence.untold(self.socket.backlog()?.dropped));
        Ok(())
    }

    /// Until there is a datagram or the stop, and no longer than a silent thread may; whether there is one of them.
    fn wait(&self) -> io::Result<bool> {
        self.progress.turn();
        let mut awaited =
            [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN), PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        match poll(&mut awaited, SILENCE) {
            Ok(0) | Err(Errno::EINTR) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes one datagram, and says what waits behind it; `None` if there was none.
    fn receive(&mut self, flags: MsgFlags) -> io::Result<Option<Backlog>> {
        self.progress.turn();
        let Some(datagram) = self.socket.receive(flags)? else { return Ok(None) };
        self.intake.take(datagram);
        let backlog = self.socket.backlog()?;
        if backlog.octets == 0 {
            // as told before the socket was seen to be empty: what was dropped until then lies before all that comes later
            self.intake.sequence.dropped_before = self.dropped;
        }
        self.dropped = backlog.dropped;
        if self.intake.crowded() {
            self.exporter.unpark();
        }
        Ok(Some(backlog))
    }
}
