//! A connected UDP socket: its path MTU kept to, its errors told apart.

use super::answers;
use super::recent::{Recent, Refused};
use super::socket::{self, SMALLEST_MTU, payload};
use crate::export::encoder::Message;
use crate::export::settings::Settings;
use crate::sockopt;
use nix::poll::PollFlags;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::Socket;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

/// The path MTU is looked up again after this many messages.
const MTU_EVERY: usize = 64;
/// Attempts at one message: a failure may be news about an earlier one.
const ATTEMPTS: u32 = 8;
/// How long a message waits where the path is slower than the flows.
const FULL_PATIENCE: Duration = Duration::from_millis(250);
/// How long an answer takes at most, if this host gives it itself, and if another does.
const OWN_PATIENCE: Duration = Duration::from_millis(50);
const NEWS_PATIENCE: Duration = Duration::from_millis(250);
/// How long the last one takes on this host while somebody listens: mostly it is there before the message is sent.
const LAST_PATIENCE: Duration = Duration::from_millis(3);

/// A socket that sends to one address.
pub struct Connection {
    socket: Socket,
    address: SocketAddr,
    /// Whether the address is this host's.
    own: bool,
    /// Whether several messages may go as a long one that the kernel cuts apart: UDP_SEGMENT, since Linux 4.18. Only to this
    /// host itself: a queue before a network (tc-tbf) could drop some of them, and say nothing if it keeps one.
    cuts: bool,
    /// Octets of a message that fit into the path MTU.
    limit: usize,
    /// Messages sent since that was looked up.
    since_mtu: usize,
    recent: Recent,
    /// The messages sent last, if there were any.
    row: Option<Row>,
}

/// An answer of the network that a message did not arrive.
pub struct News {
    /// Where it was to go.
    pub address: SocketAddr,
    /// Why not.
    pub error: io::Error,
    /// What did not, if the answer tells.
    pub refused: Option<Refused>,
}

/// What became of messages, and what was heard of earlier ones.
pub struct Sent {
    pub result: io::Result<()>,
    pub news: Vec<News>,
    /// The socket was full, and did not become emptier while the messages waited.
    pub waited_in_vain: bool,
}

/// Messages in a row, of which none was refused as far as is known.
#[derive(Clone, Copy, Debug)]
struct Row {
    first: Instant,
    /// When the last of them was sent.
    latest: Instant,
}

impl Row {
    fn new(now: Instant) -> Self {
        Self { first: now, latest: now }
    }

    /// A message is sent: behind a pause, earlier ones tell nothing of it any more.
    fn extend(&mut self, now: Instant) {
        if now.duration_since(self.latest) >= OWN_PATIENCE {
            self.first = now;
        }
        self.latest = now;
    }

    /// It is heard that some of them were refused.
    fn break_off(&mut self, now: Instant) {
        self.first = now;
    }

    /// Whether this host would have refused the first of them by the time of the last.
    fn has_arrived(&self) -> bool {
        self.latest.duration_since(self.first) >= OWN_PATIENCE
    }
}

impl Connection {
    pub fn new(address: SocketAddr, settings: &Settings) -> io::Result<Self> {
        let socket = socket::connect(address, settings)?;
        let own = socket.local_addr()?.as_socket().is_some_and(|own| own.ip() == address.ip());
        let cuts = own && sockopt::get_int(&socket, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
        let (limit, recent) = (payload(SMALLEST_MTU, true), Recent::default());
        let mut connection = Self { socket, address, own, cuts, limit, since_mtu: 0, recent, row: None };
        connection.look_up_mtu();
        Ok(connection)
    }

    /// How large a message may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Sends messages at once, see [`Connection::attempt`]. Where the socket is full it waits for a moment if `patient`.
    pub fn send(&mut self, messages: &[Message], patient: bool, now: Instant) -> Sent {
        self.since_mtu += messages.len();
        if self.since_mtu >= MTU_EVERY {
            self.look_up_mtu();
        }
        let mut heard = Vec::new();
        let (result, waited_in_vain) = self.try_to_send(messages, patient, &mut heard);
        let news = self.understand(heard, now);
        if result.is_ok() {
            self.recent.note(messages);
            self.row.get_or_insert(Row::new(now)).extend(now);
        }
        Sent { result, news, waited_in_vain }
    }

    /// Whether it succeeds, and whether it waited in vain. What is `heard` meanwhile is understood later: a flood of answers
    /// would bring others in that time, which would have the next attempt fail, too.
    fn try_to_send(
        &self,
        messages: &[Message],
        mut patient: bool,
        heard: &mut Vec<answers::Answer>,
    ) -> (io::Result<()>, bool) {
        let (mut waited_in_vain, mut failed) = (false, false);
        for _ in 1..ATTEMPTS {
            let Err(error) = self.attempt(messages) else { return (Ok(()), waited_in_vain) };
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOBUFS) => thread::sleep(Duration::from_millis(1)),
                Some(libc::EAGAIN) if patient => {
                    patient = false;
                    waited_in_vain = !socket::wait(&self.socket, PollFlags::POLLOUT, FULL_PATIENCE);
                }
                // these cannot be sent together, or the path has become narrower
                Some(libc::EINVAL | libc::EIO | libc::EOPNOTSUPP | libc::EMSGSIZE) if messages.len() > 1 => {
                    return (Err(error), waited_in_vain);
                }
                Some(libc::EAGAIN) => return (Err(error), waited_in_vain),
                _ => {
                    let earlier = answers::take(&self.socket);
                    // this message's own failure is told again
                    if failed && earlier.is_empty() {
                        return (Err(error), waited_in_vain);
                    }
                    failed = true;
                    heard.extend(earlier);
                }
            }
        }
        (self.attempt(messages), waited_in_vain)
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

    /// What was answered to earlier messages. It does not wait.
    pub fn take_news(&mut self, now: Instant) -> Vec<News> {
        let heard = answers::take(&self.socket);
        self.understand(heard, now)
    }

    fn understand(&mut self, answers: Vec<answers::Answer>, now: Instant) -> Vec<News> {
        if let (Some(row), false) = (&mut self.row, answers.is_empty()) {
            row.break_off(now);
        }
        // a router had no way for a message of this size; the next one so long is fragmented by the kernel
        if answers.iter().any(|answer| answer.error.raw_os_error() == Some(libc::EMSGSIZE)) {
            self.look_up_mtu();
        }
        let address = self.address;
        let news = |answer: answers::Answer| {
            let refused = self.recent.refuse(answer.quoted());
            News { address, error: answer.error, refused }
        };
        answers.into_iter().map(news).collect()
    }

    /// The same, but waits for what is answered to the last messages.
    pub fn await_news(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let mut deadline = self.news_by(Instant::now());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if socket::wait(&self.socket, PollFlags::empty(), left) {
                let now = Instant::now();
                let heard = self.take_news(now);
                if !heard.is_empty() {
                    deadline = self.news_by(now);
                }
                news.extend(heard);
                // an answer that had no room in the queue is told by this alone, and would not let the next wait be one
                let _ = self.socket.take_error();
            }
            if left.is_zero() {
                return news;
            }
        }
    }

    /// Until when to expect an answer to the last message.
    fn news_by(&self, now: Instant) -> Instant {
        match (self.row, self.own) {
            (None, _) => now,
            (Some(row), true) if row.has_arrived() => now + LAST_PATIENCE,
            (Some(row), true) => row.latest + OWN_PATIENCE,
            (Some(row), false) => row.latest + NEWS_PATIENCE,
        }
    }

    fn look_up_mtu(&mut self) {
        self.since_mtu = 0;
        if let Ok(limit) = socket::look_up_limit(&self.socket, self.address.is_ipv6()) {
            self.limit = limit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_a_row_show_that_somebody_listens() {
        let start = Instant::now();
        let arrived = |milliseconds: &[u64]| {
            let times = milliseconds.iter().map(|&at| start + Duration::from_millis(at));
            let mut row = Row::new(start);
            times.for_each(|time| row.extend(time));
            row.has_arrived()
        };
        assert!(!arrived(&[]) && !arrived(&[10, 49]) && arrived(&[10, 49, 50]));
        assert!(!arrived(&[10, 20, 70, 119]) && arrived(&[10, 20, 70, 119, 120]), "the pause ends a row");
        let mut refused = Row::new(start);
        refused.break_off(start + Duration::from_millis(48));
        [49, 97].iter().for_each(|&at| refused.extend(start + Duration::from_millis(at)));
        assert!(!refused.has_arrived(), "only what was sent after the refusal counts");
        refused.extend(start + Duration::from_millis(98));
        assert!(refused.has_arrived());
    }
}
