//! UDP to one collector: its name resolved beside the export thread, its path MTU kept to, its failures survived.

use super::target::Target;
use crate::metrics::CollectorCounters;
use crate::sockopt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
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
/// Attempts at one message: each failure may be news about an earlier one.
const ATTEMPTS: u32 = 3;
/// Waits between attempts to resolve and connect.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A trouble that goes on is logged again after this long.
const REMIND: Duration = Duration::from_secs(300);

/// A UDP socket to a collector, or the endeavour to get one.
pub struct Udp {
    target: Target,
    counters: Arc<CollectorCounters>,
    state: State,
    wait: Duration,
    /// When trouble was logged last.
    complained: Option<Instant>,
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
    /// Octets of a message that fit into the path MTU.
    limit: usize,
    since_mtu: u32,
}

impl Udp {
    /// Begins to resolve the collector's name.
    pub fn new(target: Target, counters: Arc<CollectorCounters>, now: Instant) -> Self {
        let state = State::Waiting { until: now };
        let mut udp = Self { target, counters, state, wait: FIRST_WAIT, complained: None, uninformed: false };
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
            Err(TryRecvError::Disconnected) => self.fail(&io::Error::other("the resolver ended"), now),
        }
    }

    /// Waits for a connection for at most `patience`: before the first message of a file, and before the last ones.
    pub fn settle(&mut self, patience: Duration) {
        let State::Resolving(answer) = &self.state else { return };
        match answer.recv_timeout(patience) {
            Ok(address) => self.connect(address, Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.fail(&io::Error::other("the resolver ended"), Instant::now()),
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
        let State::Connected(connection) = &mut self.state else { return false };
        match connection.send(message, &self.counters) {
            Ok(refused) => {
                if refused {
                    self.uninformed = true;
                    self.complain("its host answers that nobody listens there: start the collector", now);
                }
                true
            }
            Err(error) => {
                self.fail(&error, now);
                false
            }
        }
    }

    fn connect(&mut self, address: io::Result<SocketAddr>, now: Instant) {
        match address.and_then(Connection::new) {
            Ok(connection) => {
                if self.complained.take().is_some() {
                    log::info!("{}: reachable again", self.target);
                }
                self.state = State::Connected(connection);
                self.wait = FIRST_WAIT;
                self.uninformed = true;
            }
            Err(error) => self.fail(&error, now),
        }
    }

    /// Gives the socket up, to resolve and connect again after a while.
    fn fail(&mut self, error: &io::Error, now: Instant) {
        self.counters.connect_failures.add(1);
        self.state = State::Waiting { until: now + self.wait };
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.complain(&format!("{error}; its flows are lost and counted until it can be reached"), now);
    }

    fn complain(&mut self, trouble: &str, now: Instant) {
        if self.complained.is_none_or(|then| now.duration_since(then) >= REMIND) {
            log::warn!("{}: {trouble}", self.target);
            self.complained = Some(now);
        }
    }
}

impl Connection {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.connect(&SockAddr::from(address))?;
        let mut connection = Self { socket, limit: payload(SMALLEST_MTU, true), since_mtu: 0 };
        connection.look_up_mtu();
        Ok(connection)
    }

    /// Sends a message; says whether an earlier one was refused, of which the kernel tells at the next.
    fn send(&mut self, message: &[u8], counters: &CollectorCounters) -> io::Result<bool> {
        self.since_mtu += 1;
        if self.since_mtu >= MTU_EVERY {
            self.look_up_mtu();
        }
        let mut refused = false;
        for _ in 1..ATTEMPTS {
            match self.socket.send(message) {
                Ok(_) => return Ok(refused),
                Err(error) => match error.raw_os_error() {
                    Some(libc::ECONNREFUSED) => {
                        counters.refusals.add(1);
                        refused = true;
                    }
                    // a router had no way for an earlier message; this one is fragmented by the kernel
                    Some(libc::EMSGSIZE) => self.look_up_mtu(),
                    Some(libc::ENOBUFS | libc::EAGAIN) => thread::sleep(Duration::from_millis(1)),
                    Some(libc::EINTR) => {}
                    _ => return Err(error),
                },
            }
        }
        self.socket.send(message).map(|_| refused)
    }

    fn look_up_mtu(&mut self) {
        self.since_mtu = 0;
        let v6 = self.socket.local_addr().is_ok_and(|address| address.is_ipv6());
        let (level, option) = if v6 { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
        let mtu = sockopt::get_int(&self.socket, level, option);
        if let Ok(mtu) = mtu {
            self.limit = payload(usize::try_from(mtu).unwrap_or(SMALLEST_MTU).min(LARGEST_MTU), v6);
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
