//! IPFIX over SCTP (RFC 7011 section 10.2): an association by a one-to-one socket (RFC 6458 section 4). A message of IPFIX is
//! a user message of SCTP, and all go by one stream and in order, as templates have to (section 8.3), so that they come before
//! what they describe.

use super::connection::{Connection, connect, dial, hear};
use super::session::GRACE;
use crate::export::ipfix::LARGEST_MESSAGE;
use crate::export::target::Target;
use crate::sockopt;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::thread;
use std::time::Duration;

/// How long each write may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Milliseconds until something is sent again, at most: with the kernel's ten attempts, an association has ended where
/// nothing was acknowledged for half a minute, as a TCP connection has.
const LONGEST_TIMEOUT: libc::c_int = 3000;
/// `linux/sctp.h`; its structure is an association's number (0 for the socket's only one), and the initial, the longest and
/// the shortest timeout (0 for what it was).
const SCTP_RTOINFO: libc::c_int = 0;

/// Whether the kernel knows SCTP; where it has a module for that, it loads it now.
pub fn is_known() -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::SCTP));
    !socket.is_err_and(|error| error.raw_os_error() == Some(libc::EPROTONOSUPPORT))
}

/// An association.
pub struct SctpConnection {
    socket: Socket,
    /// Octets of the messages written to it.
    written: u64,
}

impl SctpConnection {
    /// Resolves and connects.
    pub fn open(target: &Target) -> io::Result<Self> {
        let socket = dial(target, |address| connect(target, Protocol::SCTP, address)).map_err(explain)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        sockopt::set_ints(&socket, libc::IPPROTO_SCTP, SCTP_RTOINFO, &[0, 0, LONGEST_TIMEOUT, 0])?;
        Ok(Self { socket, written: 0 })
    }
}

impl Connection for SctpConnection {
    fn limit(&self) -> usize {
        LARGEST_MESSAGE
    }

    /// The kernel takes a message as a whole or not at all, and by default on stream 0.
    fn write(&mut self, message: &[u8]) -> io::Result<u64> {
        self.socket.send_with_flags(message, libc::MSG_NOSIGNAL)?;
        self.written += message.len() as u64;
        Ok(self.written)
    }

    /// The kernel does not say it in octets, nor right away in chunks (`SCTP_STATUS` counts them when an acknowledgement
    /// comes), but what it keeps to send it again it has in memory: each octet that was not acknowledged, and what is around
    /// it. So these may be fewer than there are, but never more.
    fn acknowledged(&self) -> io::Result<u64> {
        let kept = sockopt::queued_to_send(&self.socket)?;
        // what comes after the collector has shut the association down is acknowledged but not read, and the end of the
        // association empties the memory: only if it is still up now does the memory tell anything
        hear(&self.socket, |_| Ok(()))?;
        Ok(self.written.saturating_sub(kept.into()))
    }

    fn check(&mut self) -> io::Result<()> {
        hear(&self.socket, |_| Ok(()))
    }

    /// An association is not shut down by halves: from then on nobody would tell that something was not read.
    fn finish(&mut self) -> io::Result<()> {
        thread::sleep(GRACE);
        match self.check() {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
            result => result,
        }
    }

    fn abort(&mut self) {
        // if it fails, the association is gone anyway
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }
}

fn explain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOPROTOOPT) => io::Error::new(
            error.kind(),
            "its host has no SCTP: load it there with `modprobe sctp`, or use ipfix+tcp://",
        ),
        _ => error,
    }
}
