//! UDP to one collector: its name resolved beside the export thread, its failures survived, and what the network answers to
//! its messages heard (`answers`), which quotes them ([`recent`]). Where the name has several addresses, one that refuses has
//! the next tried (`ways`).

pub(super) mod answers;
mod connection;
pub mod recent;
pub(super) mod socket;
mod ways;

use super::complaint::Complaint;
use super::encoder::Message;
use super::health::CONVALESCENCE;
use super::target::Target;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
use connection::{News, Sent};
use socket::{SMALLEST_MTU, payload};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};
use ways::Ways;

/// Waits between attempts to resolve and connect.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// When sending has failed for this long, the name is resolved anew: it may have another address by now.
const RESOLVE_ANEW: Duration = Duration::from_secs(10);
/// How long no message waits for a full socket after one has waited in vain: one collector must not hold up the others and
/// the flow table.
const IMPATIENCE: Duration = Duration::from_secs(10);

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
    Resolving(Receiver<io::Result<Vec<SocketAddr>>>),
    Connected(Ways),
}

impl Udp {
    /// Begins to resolve the collector's name.
    pub fn new(target: Target, counters: Arc<CollectorCounters>, now: Instant) -> Self {
        let state = State::Waiting { until: now };
        let wait = FIRST_WAIT;
        let (failing, trouble, bad_news, impatient) = Default::default();
        let mut udp = Self { target, counters, state, wait, failing, trouble, bad_news, impatient };
        udp.advance(now);
        udp
    }

    /// How large a message may be.
    pub fn limit(&self) -> usize {
        match &self.state {
            State::Connected(ways) => ways.limit(),
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
            Ok(addresses) => self.connect(addresses, now),
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
            Ok(addresses) => self.connect(addresses, Instant::now()),
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
        match &mut self.state {
            State::Connected(ways) => ways.takes_templates(now),
            _ => false,
        }
    }

    /// Whether another address has to be tried, as the one that is sent to has refused a message.
    pub fn has_to_move(&mut self, now: Instant) -> bool {
        if matches!(&self.state, State::Connected(ways) if ways.are_several()) {
            self.listen(now);
        }
        matches!(&self.state, State::Connected(ways) if ways.is_over())
    }

    /// Has the next address tried. It has no templates: what is encoded already could not be read there.
    pub fn move_on(&mut self) {
        if let State::Connected(ways) = &mut self.state {
            ways.move_on();
        }
    }

    /// Sends messages at once: one, or several of one length, of which the last may be shorter.
    pub fn send(&mut self, messages: &[Message], now: Instant) -> Outcome {
        let patient = self.impatient.is_none_or(|until| until <= now);
        let State::Connected(ways) = &mut self.state else { return Outcome::Lost };
        let Sent { result, news, waited_in_vain } = ways.send(messages, patient, now);
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
        let State::Connected(ways) = &mut self.state else { return };
        let news = ways.take_news(now);
        self.hear(&news, now);
    }

    /// Waits a moment for what is answered to the last messages.
    pub fn await_news(&mut self) {
        let State::Connected(ways) = &mut self.state else { return };
        let news = ways.await_news();
        self.hear(&news, Instant::now());
    }

    /// Earlier messages did not arrive.
    fn hear(&mut self, news: &[News], now: Instant) {
        for it in news {
            self.counters.count_refusal(it.refused.as_ref());
            self.bad_news = Some(now);
            let trouble = self.explain(it);
            self.complain(&trouble, now);
        }
    }

    fn explain(&self, News { address, error, .. }: &News) -> String {
        match (error.kind(), &self.state) {
            (ErrorKind::ConnectionRefused, State::Connected(ways)) if ways.are_several() => format!(
                "its host answers that nobody listens at {address}: the next address of its name is tried, {}; start \
                 the collector if it listens at none",
                ways.next_to(*address)
            ),
            (ErrorKind::ConnectionRefused, _) => {
                "its host answers that nobody listens there: start the collector".to_owned()
            }
            _ if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                "the path has become narrower, and a message too long for it is lost".to_owned()
            }
            _ => format!("messages do not arrive ({error}): check the route to it"),
        }
    }

    fn connect(&mut self, addresses: io::Result<Vec<SocketAddr>>, now: Instant) {
        match addresses.and_then(|addresses| Ways::new(&addresses, &self.target.settings)) {
            Ok(ways) => {
                self.counters.health.recover();
                self.state = State::Connected(ways);
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
        if self.failing.take().is_some() {
            if let State::Connected(ways) = &mut self.state {
                ways.doubt_templates();
            }
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
fn resolve(target: &Target) -> Receiver<io::Result<Vec<SocketAddr>>> {
    let (answer, answers) = channel();
    let (host, port) = (target.host.clone(), target.port);
    if let Ok(address) = host.parse::<IpAddr>() {
        let _ = answer.send(Ok(vec![(address, port).into()]));
        return answers;
    }
    let look_up = move || {
        // nobody waits for the answer any more if the probe ends meanwhile
        let _ = answer.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect));
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
