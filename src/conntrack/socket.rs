//! The socket over which the kernel is asked.

use super::message::{answer, ask};
use super::{Connection, Query, Tracker};
use crate::capture::netlink as walk;
use crate::flow::Ends;
use crate::netlink::{self, Request};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockProtocol, recv, send};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Octets of an answer at most: a connection with all that can be told of it has some hundreds.
const ANSWER: usize = 8192;

/// Why the kernel cannot be asked; the text is the operator's.
#[derive(Debug, thiserror::Error)]
#[error(
    "the kernel does not tell of connections ({0}): `modprobe nf_conntrack_netlink` as root may help; or leave out --nat"
)]
pub struct OpenError(#[from] io::Error);

/// Connection tracking of the network namespace in which it was opened.
pub struct Conntrack {
    socket: OwnedFd,
    buffer: Box<[u8]>,
}

impl Conntrack {
    /// Needs CAP_NET_ADMIN, and so does each question. Asks one, so that the kernel has what it takes.
    pub fn open() -> Result<Self, OpenError> {
        let (socket, _) = netlink::open(SockProtocol::NetlinkNetFilter)?;
        let mut opened = Self { socket, buffer: vec![0; ANSWER].into_boxed_slice() };
        opened.look_up(&[Query { ip_version: 4, protocol: libc::IPPROTO_UDP as u8, ends: Ends::default() }])?;
        Ok(opened)
    }
}

impl Tracker for Conntrack {
    /// All questions go in one datagram, which the kernel has answered, in their order and each by a datagram, when `send`
    /// returns (`netlink_rcv_skb`). So this never waits, and what is there afterwards is all there is.
    fn look_up(&mut self, queries: &[Query]) -> io::Result<Vec<Option<Connection>>> {
        let mut request = Request::default();
        queries.iter().for_each(|query| ask(&mut request, query));
        send(self.socket.as_raw_fd(), request.bytes(), MsgFlags::empty())?;
        let mut answers = Vec::with_capacity(queries.len());
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => answers.extend(walk::messages(&self.buffer[..length]).map(|message| answer(&message))),
                Err(Errno::EAGAIN) => break,
                // some answers are missing, which is seen below
                Err(Errno::ENOBUFS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let answers = answers.into_iter().collect::<io::Result<Vec<_>>>()?;
        if answers.len() != queries.len() {
            return Err(io::Error::other("some answers got lost: raise net.core.rmem_default"));
        }
        Ok(answers)
    }
}
