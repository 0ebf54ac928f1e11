//! UDP to one collector: its name resolved beside the export thread, its path MTU kept to, its failures survived.

use super::target::Target;
use crate::metrics::CollectorCounters;
use crate::sockopt;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// No larger than what fits into an Ethernet frame, even where the path would allow it (loopback): collectors have
/// buffers for that.
const LARGEST_MTU: usize = 1500;
/// The smallest MTU of IPv6, to which we keep while nothing is known.
const SMALLEST_MTU: usize = 1280;
const UDP_HEADER: usize = 8;
/// The path MTU is looked up again after this many messages.
const MTU_EVERY: u32 = 64;
/// Attempts at one message: a failure may be news about an earlier one.
const ATTEMPTS: u32 = 4;
/// Waits between attempts to resolve and connect.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// When sending has failed for this long, the name is resolved anew: it may have another address by now.
const RESOLVE_ANEW: Duration = Duration::from_secs(10);
/// How long a message waits where the path is slower than the flows, and how long none waits after one waited in vain:
/// one collector must not hold up the others and the flow table.
const FULL_PATIENCE: Duration = Duration::from_millis(250);
const IMPATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for news about the last message.
const NEWS_PATIENCE: Duration = Duration::from_millis(50);
/// A trouble that goes on is logged again after this long.
const REMIND: Duration = Duration::from_secs(300);

/// A UDP socket to a collector, or the endeavour to get one.
pub struct Udp {
    target: Target,
    counters: Arc<CollectorCounters>,
    state: State,
    /// Before the next attempt to resolve and connect.
    wait: Duration,
    /// Since when nothing can be sent.
    failing: Option<Instant>,
    /// When trouble was logged last.
    complained: Option<Instant>,
    /// Until when no message waits for a full socket.
    impatient: Option<Instant>,
    /// The collector may not have the templates: a new connection stands, or it was not there for a message.
    uninformed: bool,
}

enum State {
    Waiting { until: Instant },
    Resolving(Receiver<io::Result<SocketAddr>>),
    Connected(Connection),
}

struct Connection {
    socket: Socket,
    v6: bool,
    /// Octets of a message that fit into the path MTU.
    limit: usize,
    since_mtu: u32,
}

impl Udp {
    /// Begins to resolve the collector's name.
    pub fn new(target: Target, counters: Arc<CollectorCounters>, now: Instant) -> Self {
        let state = State::Waiting { until: now };
        let wait = FIRST_WAIT;
        let mut udp =
            Self { target, counters, state, wait, failing: None, complained: None, impatient: None, uninformed: false };
        udp.advance(now);
        udp
    }

    /// How large a message may be.
    pub fn limit(&self) -> usize {
        match &self.state {
            State::Connected(connection) => connection.limit,
            _ => payload(SMALLEST_MTU, true),
        }
    }

    /// Goes on with resolving and connecting, without waiting.
    pub fn advance(&mut self, now: Instant) {
        if let State::Waiting { until } = self.state
            && until <= now
        {
            self.state = State::Resolving(resolve(&self.target));
        }
        let State::Resolving(answer) = &self.state else { return };
        match answer.try_recv() {
            Ok(address) => self.connect(address, now),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.disconnect(&io::Error::other("the resolver ended"), now),
        }
    }

    /// Waits for a connection for at most `patience`: before the first message of a file, and before the last ones.
    pub fn settle(&mut self, patience: Duration) {
        if let State::Waiting { .. } = self.state {
            self.state = State::Resolving(resolve(&self.target));
        }
        let State::Resolving(answer) = &self.state else { return };
        match answer.recv_timeout(patience) {
            Ok(address) => self.connect(address, Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                self.disconnect(&io::Error::other("the resolver ended"), Instant::now());
            }
        }
    }

    /// Whether there is a socket to send by.
    pub fn connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Whether the templates have to be sent again, asked once for each time that it is so.
    pub fn takes_templates(&mut self) -> bool {
        std::mem::take(&mut self.uninformed)
    }

    /// Sends a message; false if it is lost.
    pub fn send(&mut self, message: &[u8], now: Instant) -> bool {
        let patient = self.impatient.is_none_or(|until| until <= now);
        let State::Connected(connection) = &mut self.state else { return false };
        let Sent { result, news, waited_in_vain } = connection.send(message, patient);
        if waited_in_vain {
            self.impatient = Some(now + IMPATIENCE);
        }
        if let Some(news) = news {
            self.hear(&news, now);
        }
        match result {
            Ok(()) => self.succeed(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.complain(
                    "the way to it is slower than the flows, which are lost and counted: lower --export-rate",
                    now,
                );
                return false;
            }
            Err(error) => {
                self.fail(&error, now);
                return false;
            }
        }
        true
    }

    /// Waits a moment for news about the last messages, which there is no next one to bring.
    pub fn await_news(&mut self) {
        if let State::Connected(connection) = &self.state
            && let Some(news) = connection.await_news()
        {
            self.hear(&news, Instant::now());
        }
    }

    /// An earlier message did not arrive.
    fn hear(&mut self, news: &io::Error, now: Instant) {
        self.counters.refusals.add(1);
        self.uninformed = true;
        match news.kind() {
            ErrorKind::ConnectionRefused => {
                self.complain("its host answers that nobody listens there: start the collector", now);
            }
            _ => self.complain(&format!("messages do not arrive ({news}): check the route to it"), now),
        }
    }

    fn connect(&mut self, address: io::Result<SocketAddr>, now: Instant) {
        match address.and_then(Connection::new) {
            Ok(connection) => {
                self.state = State::Connected(connection);
                self.uninformed = true;
            }
            Err(error) => self.disconnect(&error, now),
        }
    }

    /// There is no socket: resolves and connects again after a while.
    fn disconnect(&mut self, error: &io::Error, now: Instant) {
        self.counters.connect_failures.add(1);
        self.state = State::Waiting { until: now + self.wait };
        if self.target.host.parse::<IpAddr>().is_err() {
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
        }
        self.fail(error, now);
    }

    fn fail(&mut self, error: &io::Error, now: Instant) {
        let since = *self.failing.get_or_insert(now);
        if self.connected() && now.duration_since(since) >= RESOLVE_ANEW {
            self.failing = Some(now);
            self.state = State::Waiting { until: now };
        }
        self.complain(&format!("{error}; its flows are lost and counted until it can be reached"), now);
    }

    fn succeed(&mut self) {
        if self.failing.take().is_some() {
            log::info!("{}: can be sent to again", self.target);
            self.complained = None;
            self.uninformed = true;
        }
        self.wait = FIRST_WAIT;
    }

    fn complain(&mut self, trouble: &str, now: Instant) {
        if self.complained.is_none_or(|then| now.duration_since(then) >= REMIND) {
            log::warn!("{}: {trouble}", self.target);
            self.complained = Some(now);
        }
    }
}

/// What became of a message, and what was heard of an earlier one.
struct Sent {
    result: io::Result<()>,
    news: Option<io::Error>,
    /// The socket was full, and did not become emptier while the message waited.
    waited_in_vain: bool,
}

impl Connection {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let v6 = address.is_ipv6();
        // or only some of the news is told
        let (level, option) =
            if v6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { (libc::IPPROTO_IP, libc::IP_RECVERR) };
        sockopt::set_int(&socket, level, option, 1)?;
        socket.connect(&SockAddr::from(address))?;
        let mut connection = Self { socket, v6, limit: payload(SMALLEST_MTU, true), since_mtu: 0 };
        connection.look_up_mtu();
        Ok(connection)
    }

    /// Sends a message. Where the socket is full it waits for a moment if `patient`.
    fn send(&mut self, message: &[u8], mut patient: bool) -> Sent {
        self.since_mtu += 1;
        if self.since_mtu >= MTU_EVERY {
            self.look_up_mtu();
        }
        let (mut news, mut waited_in_vain) = (None, false);
        for _ in 1..ATTEMPTS {
            let Err(error) = self.socket.send(message) else { return Sent { result: Ok(()), news, waited_in_vain } };
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOBUFS) => thread::sleep(Duration::from_millis(1)),
                Some(libc::EAGAIN) if patient => {
                    patient = false;
                    waited_in_vain = !self.wait(PollFlags::POLLOUT, FULL_PATIENCE);
                }
                Some(libc::EAGAIN) => return Sent { result: Err(error), news, waited_in_vain },
                // a router had no way for an earlier message of this size; this one is fragmented by the kernel
                Some(libc::EMSGSIZE) => self.look_up_mtu(),
                // this message's own failure will be told again
                _ if news.is_none() => {
                    self.forget_errors();
                    news = Some(error);
                }
                _ => return Sent { result: Err(error), news: None, waited_in_vain },
            }
        }
        Sent { result: self.socket.send(message).map(drop), news, waited_in_vain }
    }

    fn await_news(&self) -> Option<io::Error> {
        if self.wait(PollFlags::empty(), NEWS_PATIENCE) { self.socket.take_error().ok().flatten() } else { None }
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

fn payload(mtu: usize, v6: bool) -> usize {
    mtu.saturating_sub(if v6 { 40 } else { 20 } + UDP_HEADER)
}

/// Resolves a name in a thread of its own, as that can take seconds for which the flow table should not wait.
fn resolve(target: &Target) -> Receiver<io::Result<SocketAddr>> {
    let (answer, answers) = channel();
    let (host, port) = (target.host.clone(), target.port);
    if let Ok(address) = host.parse::<IpAddr>() {
        let _ = answer.send(Ok((address, port).into()));
        return answers;
    }
    let look_up = move || {
        let address = (host.as_str(), port)
            .to_socket_addrs()
            .and_then(|mut addresses| addresses.next().ok_or_else(|| io::Error::other("the name has no address")));
        // nobody waits for the answer any more if the probe ends meanwhile
        let _ = answer.send(address);
    };
    // if no thread can be had, the sender is dropped, and the receiver told so
    let _ = thread::Builder::new().name("resolve".to_owned()).spawn(look_up);
    answers
}
