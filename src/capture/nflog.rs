//! The NFLOG socket: bind a group, receive its batches, let it go without losing what is under way.
//!
//! A group has one owner in a network namespace; a second is told EPERM. Unbinding makes the kernel send the batch that
//! it was filling (`net/netfilter/nfnetlink_log.c`).

use super::owner::{Owner, owner};
use super::{netlink, request};
use crate::sockopt::{self, Backlog};
use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, ReceiveTimeout};
use nix::sys::socket::{MsgFlags, SockProtocol, getsockopt, recv, send, setsockopt};
use nix::sys::time::TimeVal;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What one `recv` may return: more than the kernel can send, so that no datagram is ever cut.
const DATAGRAM: usize = 256 * 1024;

/// Octets that a message has beside its packet, about. What else the kernel counts for its memory is in that the receive
/// buffer is twice as large as was asked for.
const ENVELOPE: usize = 128;

/// How long a datagram is waited for.
const PATIENCE: TimeVal = TimeVal::new(0, 100_000);

/// Why a group could not be opened; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another socket owns the group.
    #[error("NFLOG group {group} is taken by {owner}: stop that program, or choose another group here and in the rule")]
    Taken {
        /// The group.
        group: u16,
        /// Its owner.
        owner: Owner,
    },
    /// Another socket owns the group, and who it is may not be seen.
    #[error(
        "NFLOG group {0} is taken by another program, which `cat /proc/net/netfilter/nfnetlink_log` as root tells: stop it, \
         or choose another group here and in the rule"
    )]
    TakenByUnknown(u16),
    /// Binding needs the capability.
    #[error("NFLOG group {0} cannot be bound without CAP_NET_ADMIN: run as root, or give the service that capability")]
    Privilege(u16),
    /// The kernel has no NFLOG.
    #[error("this kernel has no NFLOG ({0}): load it with `modprobe nfnetlink_log`")]
    Unsupported(io::Error),
    /// Anything else.
    #[error("NFLOG group {group}: {action} failed: {error}")]
    System {
        /// The group.
        group: u16,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

/// What is asked of the kernel for a group.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Octets of each packet.
    pub snaplen: u32,
    /// Octets of packets that it may hold.
    pub receive_buffer: usize,
    /// Have each packet come with its connection, where the kernel can tell that.
    pub connections: bool,
}

/// A bound NFLOG group.
pub struct LogSocket {
    socket: OwnedFd,
    group: u16,
    tells_connections: bool,
    /// Packets that its receive buffer holds at least.
    room: u32,
    buffer: Box<[u8]>,
    /// Datagrams that came before the answer to the binding.
    early: VecDeque<Vec<u8>>,
}

impl LogSocket {
    /// Binds `group`. Needs CAP_NET_ADMIN in the user namespace that owns the network namespace.
    pub fn open(group: u16, wish: &Wish) -> Result<Self, OpenError> {
        let Wish { snaplen, receive_buffer, connections } = *wish;
        let system = |action| move |error: io::Error| OpenError::System { group, action, error };
        let (socket, _) =
            crate::netlink::open(SockProtocol::NetlinkNetFilter).map_err(|error| absence(group, error))?;
        // without it, a full buffer makes the kernel discard until the socket has been emptied
        sockopt::set_int(&socket, libc::SOL_NETLINK, libc::NETLINK_NO_ENOBUFS, 1)
            .map_err(system("setting NETLINK_NO_ENOBUFS"))?;
        setsockopt(&socket, ReceiveTimeout, &PATIENCE).map_err(|error| system("setting SO_RCVTIMEO")(error.into()))?;
        // before the group is bound, as packets come from then on
        let granted = force_receive_buffer(&socket, receive_buffer).map_err(system("enlarging the receive buffer"))?;
        let buffer = vec![0; DATAGRAM].into_boxed_slice();
        let room = u32::try_from(granted / (snaplen as usize + ENVELOPE)).unwrap_or(u32::MAX);
        let (tells_connections, early) = (connections, VecDeque::new());
        let mut opened = Self { socket, group, tells_connections, room, buffer, early };
        opened.early = opened.bind(snaplen).map_err(|error| refusal(group, error))?;
        if granted < receive_buffer {
            log::warn!(
                "NFLOG group {group}: the kernel granted a receive buffer of {granted} bytes of the {receive_buffer} asked for, \
                 so bursts may be lost: raise net.core.rmem_max"
            );
        }
        Ok(opened)
    }

    /// The group's number.
    pub fn group(&self) -> u16 {
        self.group
    }

    /// Whether packets come with their connections: that was wished for, and the kernel can.
    pub fn tells_connections(&self) -> bool {
        self.tells_connections
    }

    /// How many packets its receive buffer holds at least, if it is as large as the kernel granted and they are as long as the
    /// snaplen.
    pub fn room(&self) -> u32 {
        self.room
    }

    /// The next datagram, `None` if there is none: with `MSG_DONTWAIT` at once, else after a tenth of a second. Needs no
    /// capability.
    pub fn receive(&mut self, flags: MsgFlags) -> io::Result<Option<&[u8]>> {
        if let Some(datagram) = self.early.pop_front() {
            self.buffer[..datagram.len()].copy_from_slice(&datagram);
            return Ok(Some(&self.buffer[..datagram.len()]));
        }
        self.receive_new(flags)
    }

    fn receive_new(&mut self, flags: MsgFlags) -> io::Result<Option<&[u8]>> {
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, flags) {
                Ok(length) => return Ok(Some(&self.buffer[..length])),
                Err(Errno::EAGAIN) => return Ok(None),
                // ENOBUFS is news of loss, which the sequence numbers tell exactly
                Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the group back. What was logged before is in the socket when this returns, and nothing follows it.
    pub fn unbind(&self) -> io::Result<()> {
        send(self.socket.as_raw_fd(), &request::unbind(self.group)?, MsgFlags::empty())?;
        Ok(())
    }

    /// What the kernel has in store for the socket, and has thrown away because there was no room.
    pub fn backlog(&self) -> io::Result<Backlog> {
        sockopt::backlog(&self.socket)
    }

    /// Gives the datagrams that came before the answer.
    fn bind(&mut self, snaplen: u32) -> io::Result<VecDeque<Vec<u8>>> {
        match self.try_to_bind(snaplen) {
            // the kernel has nf_conntrack_netlink's part of it only by CONFIG_NETFILTER_NETLINK_GLUE_CT
            Err(error) if self.tells_connections && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                self.tells_connections = false;
                self.try_to_bind(snaplen)
            }
            done => done,
        }
    }

    fn try_to_bind(&mut self, snaplen: u32) -> io::Result<VecDeque<Vec<u8>>> {
        let request = request::bind(self.group, snaplen, self.tells_connections)?;
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty())?;
        // The request is carried out within `send`, so its answer is there, perhaps behind the first packets.
        let mut early = VecDeque::new();
        while let Some(datagram) = self.receive_new(MsgFlags::MSG_DONTWAIT)? {
            match netlink::messages(datagram).find_map(|message| message.errno()) {
                Some(0) => return Ok(early),
                Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
                None => early.push_back(datagram.to_vec()),
            }
        }
        Err(io::Error::other("the kernel did not answer"))
    }
}

impl AsFd for LogSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Octets of receive buffer that the kernel grants this process where it asks for `bytes`.
pub fn receive_buffer(bytes: usize) -> io::Result<usize> {
    force_receive_buffer(&crate::netlink::open(SockProtocol::NetlinkRoute)?.0, bytes)
}

/// Asks for a buffer beyond `net.core.rmem_max`, where that is not allowed within it, and says what was granted.
fn force_receive_buffer(socket: &OwnedFd, bytes: usize) -> io::Result<usize> {
    // the kernel keeps the size in an int, doubled
    let bytes = bytes.min(libc::c_int::MAX as usize / 2);
    setsockopt(socket, RcvBufForce, &bytes).or_else(|_| setsockopt(socket, RcvBuf, &bytes))?;
    Ok(getsockopt(socket, RcvBuf)? / 2)
}

/// Why there is no socket.
fn absence(group: u16, error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            let action = "opening its socket (raise `ulimit -n` or LimitNOFILE, or name fewer groups)";
            OpenError::System { group, action, error }
        }
        Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => OpenError::Unsupported(error),
        _ => OpenError::System { group, action: "opening its socket", error },
    }
}

/// Why the group could not be bound: both a missing capability and another owner are told as EPERM.
fn refusal(group: u16, error: io::Error) -> OpenError {
    match (error.raw_os_error(), owner(group)) {
        (Some(libc::EPERM), Some(owner)) => OpenError::Taken { group, owner },
        (Some(libc::EPERM), None) => match caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN) {
            Ok(true) => OpenError::TakenByUnknown(group),
            _ => OpenError::Privilege(group),
        },
        (Some(libc::EINVAL | libc::EOPNOTSUPP), _) => OpenError::Unsupported(error),
        _ => OpenError::System { group, action: "binding", error },
    }
}
