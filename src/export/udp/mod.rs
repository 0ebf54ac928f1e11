//! UDP to one collector: its name resolved beside the export thread, its failures survived, and what the network answers to
//! its messages heard (`answers`), which quotes them ([`recent`]).

pub(super) mod answers;
mod connection;
pub mod recent;
pub(super) mod socket;

use super::complaint::Complaint;
use super::encoder::Message;
use super::health::CONVALESCENCE;
use super::target::Target;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
use connection::{Connection, News, Sent};
use socket::{SMALLEST_MTU, payload};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Waits between attempts to resolve and connect.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// When sending has failed for this long, the name is resolved anew: it may have another address by now.
const RESOLVE_ANEW: Duration = Duration::from_secs(10);
/// How long no message waits for a full socket after one has waited in vain: one collector must not hold up the others and
/// the flow table.
const IMPATIENCE: Duration = Duration::from_secs(10);
/// How long templates are not sent again after they were: with the options they can be a hundred messages, of which each
/// may be refused.
const TEMPLATES_SERVE: Duration = Duration::from_millis(250);

/// A UDP socket to a collector, or the endeavour to get one.
pub struct Udp {
    target: Target,
    counters: Arc<CollectorCounters>,
    state: State,
    /// Before the next attempt to resolve and connect.
    wait: Duration,
    /// Since when nothing can be sent.
    failing: Option<Instant>,
    /// Whatever keeps messages from arriving.
    trouble: Complaint,
    /// When it was last heard that a message did not arrive.
    bad_news: Option<Instant>,
    /// Until when no message waits for a full socket.
    impatient: Option<Instant>,
    /// When the last message was sent.
    latest: Option<Instant>,
    /// The collector may not have the templates: a new connection stands, or it was not there for a message.
    uninformed: bool,
    /// When it was last found so.
    informed: Option<Instant>,
}

/// What became of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They are on their way.
    Sent,
    /// They are lost.
    Lost,
    /// They cannot be sent together, but perhaps one by one.
    Apart,
}

enum State {
    Waiting { until: Instant },
    Resolving(Receiver<io::Result<SocketAddr>>),
    Connected(Connection),
}

impl Udp {
    /// Begins to resolve the collector's name.
    pub fn new(target: Target, counters: Arc<CollectorCounters>, now: Instant) -> Self {
        let state = State::Waiting { until: now };
        let wait = FIRST_WAIT;
        let (failing, trouble, bad_news, impatient, latest, informed) = Default::default();
        let mut udp = Self {
            target,
            counters,
            state,
            wait,
            failing,
            trouble,
            bad_news,
            impatient,
            latest,
            uninformed: false,
            informed,
        };
        udp.advance(now);
        udp
    }

    /// How large a message may be.
    pub fn limit(&self) -> usize {
        match &self.state {
            State::Connected(connection) => connection.limit(),
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

    /// What the operator calls it.
    pub fn name(&self) -> String {
        self.target.to_string()
    }

    /// Whether messages are likely to arrive: nothing else was heard for a while.
    pub fn is_well(&self, now: Instant) -> bool {
        let bad_news = self.bad_news.is_some_and(|then| now.duration_since(then) < CONVALESCENCE);
        self.connected() && self.failing.is_none() && !bad_news
    }

    /// Whether the templates have to be sent again, asked once for each time that it is so.
    pub fn takes_templates(&mut self, now: Instant) -> bool {
        let rests = self.informed.is_some_and(|then| now.duration_since(then) < TEMPLATES_SERVE);
        let takes = self.uninformed && !rests;
        if takes {
            (self.uninformed, self.informed) = (false, Some(now));
        }
        takes
    }

    /// Sends messages at once: one, or several of one length, of which the last may be shorter.
    pub fn send(&mut self, messages: &[Message], now: Instant) -> Outcome {
        let patient = self.impatient.is_none_or(|until| until <= now);
        let State::Connected(connection) = &mut self.state else { return Outcome::Lost };
        let Sent { result, news, waited_in_vain } = connection.send(messages, patient);
        if waited_in_vain {
            self.impatient = Some(now + IMPATIENCE);
        }
        self.hear(&news, now);
        match result {
            Ok(()) => {
                self.succeed(now);
                Outcome::Sent
            }
            Err(_) if messages.len() > 1 => Outcome::Apart,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.complain(
                    "the way to it is slower than the flows, which are lost and counted: lower --export-rate",
                    now,
                );
                Outcome::Lost
            }
            Err(error) => {
                self.fail(&error, now);
                Outcome::Lost
            }
        }
    }

    /// Hears what was answered to earlier messages, also where there is none to be sent, which would bring it. It does not wait.
    pub fn listen(&mut self, now: Instant) {
        let State::Connected(connection) = &mut self.state else { return };
        let news = connection.take_news();
        self.hear(&news, now);
    }

    /// Waits a moment for what is answered to the last messages.
    pub fn await_news(&mut self) {
        let Some(latest) = self.latest else { return };
        while let State::Connected(connection) = &mut self.state {
            let left = connection.news_patience().saturating_sub(latest.elapsed());
            let news = connection.await_news(left);
            self.hear(&news, Instant::now());
            if left.is_zero() {
                return;
            }
        }
    }

    /// Earlier messages did not arrive.
    fn hear(&mut self, news: &[News], now: Instant) {
        for News { error, refused } in news {
            self.counters.count_refusal(refused.as_ref());
            self.bad_news = Some(now);
            self.uninformed = true;
            self.explain(error, now);
        }
    }

    fn explain(&mut self, news: &io::Error, now: Instant) {
        let trouble = match (news.kind(), news.raw_os_error()) {
            (ErrorKind::ConnectionRefused, _) => {
                "its host answers that nobody listens there: start the collector".to_owned()
            }
            (_, Some(libc::EMSGSIZE)) => {
                "the path has become narrower, and a message too long for it is lost".to_owned()
            }
            _ => format!("messages do not arrive ({news}): check the route to it"),
        };
        self.complain(&trouble, now);
    }

    fn connect(&mut self, address: io::Result<SocketAddr>, now: Instant) {
        match address.and_then(|address| Connection::new(address, &self.target.settings)) {
            Ok(connection) => {
                self.latest = None;
                self.counters.health.recover();
                self.state = State::Connected(connection);
                (self.uninformed, self.informed) = (true, None);
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
        let trouble = format!("{error}; its flows are lost and counted until it can be reached");
        self.complain(&trouble, now);
        self.counters.health.fail(&trouble, Timestamp::now());
    }

    fn succeed(&mut self, now: Instant) {
        self.latest = Some(now);
        if self.failing.take().is_some() {
            self.uninformed = true;
            self.counters.health.recover();
        }
        if self.trouble.ends_after(CONVALESCENCE, now) {
            let quiet = CONVALESCENCE.as_secs();
            log::info!("{}: can be sent to again: nothing has been in the way for {quiet} s", self.target);
        }
        self.wait = FIRST_WAIT;
    }

    /// Logs trouble when it begins.
    fn complain(&mut self, trouble: &str, now: Instant) {
        self.counters.health.note(trouble, Timestamp::now());
        if self.trouble.begins(now) {
            log::warn!("{}: {trouble}", self.target);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    /// The collector's host answers on loopback before the next message goes.
    #[test]
    fn trouble_is_over_when_nothing_was_refused_for_a_while() {
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = collector.local_addr().unwrap();
        let begin = Instant::now();
        let mut udp = Udp::new(format!("ipfix://{address}").parse().unwrap(), Arc::default(), begin);
        let mut troubled_at = |second| {
            assert_eq!(udp.send(&[Message::default()], begin + Duration::from_secs(second)), Outcome::Sent);
            udp.trouble.0.is_some()
        };
        assert!(!troubled_at(0));
        drop(collector);
        assert_eq!([1, 2, 100].map(&mut troubled_at), [false, true, true]);
        let _back = UdpSocket::bind(address).unwrap();
        // the first of these learns what became of the one before
        assert_eq!([101, 102, 130, 131].map(troubled_at), [true, true, true, false]);
    }
}
