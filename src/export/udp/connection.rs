//! A connected UDP socket: its path MTU kept to, its errors told apart.

use crate::export::encoder::Message;
use crate::export::settings::Settings;
use crate::sockopt;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::Duration;

/// No larger than what fits into an Ethernet frame, even where the path would allow it (loopback): collectors have
/// buffers for that.
const LARGEST_MTU: usize = 1500;
/// The smallest MTU of IPv6, to which we keep while nothing is known.
pub const SMALLEST_MTU: usize = 1280;
const UDP_HEADER: usize = 8;
/// The path MTU is looked up again after this many messages.
const MTU_EVERY: usize = 64;
/// Attempts at one message: a failure may be news about an earlier one.
const ATTEMPTS: u32 = 4;
/// How long a message waits where the path is slower than the flows.
const FULL_PATIENCE: Duration = Duration::from_millis(250);

/// A socket that sends to one address.
pub struct Connection {
    socket: Socket,
    v6: bool,
    /// Whether several messages may go as a long one that the kernel cuts apart: UDP_SEGMENT, since Linux 4.18. Only to this
    /// host itself: a queue before a network (tc-tbf) could drop some of them, and say nothing if it keeps one.
    cuts: bool,
    /// Octets of a message that fit into the path MTU.
    limit: usize,
    /// Messages sent since that was looked up.
    since_mtu: usize,
}

/// What became of messages, and what was heard of earlier ones.
pub struct Sent {
    pub result: io::Result<()>,
    pub news: Option<io::Error>,
    /// The socket was full, and did not become emptier while the messages waited.
    pub waited_in_vain: bool,
}

impl Connection {
    pub fn new(address: SocketAddr, settings: &Settings) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let v6 = address.is_ipv6();
        // or only some of the news is told
        let (level, option) =
            if v6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { (libc::IPPROTO_IP, libc::IP_RECVERR) };
        sockopt::set_int(&socket, level, option, 1)?;
        settings.apply(&socket, &address)?;
        socket.connect(&SockAddr::from(address))?;
        let own = socket.local_addr()?.as_socket().is_some_and(|own| own.ip() == address.ip());
        let cuts = own && sockopt::get_int(&socket, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
        let mut connection = Self { socket, v6, cuts, limit: payload(SMALLEST_MTU, true), since_mtu: 0 };
        connection.look_up_mtu();
        Ok(connection)
    }

    /// How large a message may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Sends messages at once, see [`Connection::attempt`]. Where the socket is full it waits for a moment if `patient`.
    pub fn send(&mut self, messages: &[Message], mut patient: bool) -> Sent {
        self.since_mtu += messages.len();
        if self.since_mtu >= MTU_EVERY {
            self.look_up_mtu();
        }
        let (mut news, mut waited_in_vain) = (None, false);
        for _ in 1..ATTEMPTS {
            let Err(error) = self.attempt(messages) else { return Sent { result: Ok(()), news, waited_in_vain } };
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOBUFS) => thread::sleep(Duration::from_millis(1)),
                Some(libc::EAGAIN) if patient => {
                    patient = false;
                    waited_in_vain = !self.wait(PollFlags::POLLOUT, FULL_PATIENCE);
                }
                // these cannot be sent together, or the path has become narrower
                Some(libc::EINVAL | libc::EIO | libc::EOPNOTSUPP | libc::EMSGSIZE) if messages.len() > 1 => {
                    return Sent { result: Err(error), news, waited_in_vain };
                }
                Some(libc::EAGAIN) => return Sent { result: Err(error), news, waited_in_vain },
                code => {
                    self.forget_errors();
                    // a router had no way for an earlier message of this size; this one is fragmented by the kernel
                    if code == Some(libc::EMSGSIZE) {
                        self.look_up_mtu();
                    }
                    // this message's own failure will be told again
                    if news.is_some() && code != Some(libc::EMSGSIZE) {
                        return Sent { result: Err(error), news: None, waited_in_vain };
                    }
                    news = Some(error);
                }
            }
        }
        Sent { result: self.attempt(messages), news, waited_in_vain }
    }

    /// Several messages are one long one for the kernel on its way through the layers: that costs a fifth of sending each by
    /// itself. All but the last must have the same length, and fit into the path MTU.
    fn attempt(&self, messages: &[Message]) -> io::Result<()> {
        let [first, .., _] = messages else {
            return messages.iter().try_for_each(|message| self.socket.send(&message.bytes).map(drop));
        };
        if !self.cuts {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        let slices: Vec<_> = messages.iter().map(|message| IoSlice::new(&message.bytes)).collect();
        let segment = first.bytes.len() as u16;
        let control = [ControlMessage::UdpGsoSegments(&segment)];
        sendmsg::<()>(self.socket.as_raw_fd(), &slices, &control, MsgFlags::empty(), None)?;
        Ok(())
    }

    /// Waits until there is news about earlier messages.
    pub fn await_news(&self, patience: Duration) -> Option<io::Error> {
        if self.wait(PollFlags::empty(), patience) { self.socket.take_error().ok().flatten() } else { None }
    }

    /// Until one of these events or an error; false if there was none.
    fn wait(&self, events: PollFlags, patience: Duration) -> bool {
        let mut awaited = [PollFd::new(self.socket.as_fd(), events)];
        poll(&mut awaited, PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO)).is_ok_and(|ready| ready > 0)
    }

    /// Empties the queue of errors, whose content [`Socket::send`] has told. Full or not, it makes `poll` return at once.
    fn forget_errors(&self) {
        while recv(self.socket.as_raw_fd(), &mut [0; 1], MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT).is_ok() {}
    }

    fn look_up_mtu(&mut self) {
        self.since_mtu = 0;
        let (level, option) =
            if self.v6 { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
        if let Ok(mtu) = sockopt::get_int(&self.socket, level, option) {
            self.limit = payload(usize::try_from(mtu).unwrap_or(SMALLEST_MTU).min(LARGEST_MTU), self.v6);
        }
    }
}

/// Octets of a message in a packet of `mtu`.
pub fn payload(mtu: usize, v6: bool) -> usize {
    mtu.saturating_sub(if v6 { 40 } else { 20 } + UDP_HEADER)
}
