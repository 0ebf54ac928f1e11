//! The addresses of a collector's name, with a socket for each. One is sent to, until its host answers that nobody listens
//! there: then it is the next one's turn, while what is still answered about earlier messages is heard of all.

use super::connection::{Connection, News, Sent};
use crate::export::encoder::Message;
use crate::export::settings::Settings;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long templates are not sent again after they were: with the options they can be a hundred messages, of which each
/// may be refused.
const TEMPLATES_SERVE: Duration = Duration::from_millis(250);

/// At least one address that can be sent to.
pub struct Ways {
    all: Vec<Way>,
    /// Which of them is sent to.
    current: usize,
    /// Whether that one refused, and another can be tried.
    refused: bool,
}

struct Way {
    address: SocketAddr,
    connection: Connection,
    /// The collector may not have the templates: none were sent, or it was not there for a message.
    uninformed: bool,
    /// When it was last found so.
    informed: Option<Instant>,
}

impl Ways {
    /// To those of the addresses that a socket can be connected to; the error is that of the first, if there are none.
    pub fn new(addresses: &[SocketAddr], settings: &Settings) -> io::Result<Self> {
        let (mut all, mut failure) = (Vec::<Way>::new(), None);
        for &address in addresses {
            match Connection::new(address, settings) {
                // a name can have the same twice
                Ok(_) if all.iter().any(|way| way.address == address) => {}
                Ok(connection) => all.push(Way { address, connection, uninformed: true, informed: None }),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match all.is_empty() {
            false => Ok(Self { all, current: 0, refused: false }),
            true => Err(failure.unwrap_or_else(|| io::Error::other("the name has no address"))),
        }
    }

    /// How large a message may be.
    pub fn limit(&self) -> usize {
        self.all[self.current].connection.limit()
    }

    /// Whether there are several.
    pub fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// The one behind this, or the first behind the last.
    pub fn next_to(&self, address: SocketAddr) -> SocketAddr {
        let at = self.all.iter().position(|way| way.address == address).unwrap_or(self.current);
        self.all[(at + 1) % self.all.len()].address
    }

    /// Whether the address that is sent to refused, so that another has to be tried.
    pub fn is_over(&self) -> bool {
        self.refused
    }

    /// Tries the next address. What is sent by it has to be encoded anew, templates first.
    pub fn move_on(&mut self) {
        self.current = (self.current + 1) % self.all.len();
        self.refused = false;
        self.all[self.current].uninformed = true;
    }

    /// It may have missed the templates.
    pub fn doubt_templates(&mut self) {
        self.all[self.current].uninformed = true;
    }

    /// Whether the templates have to be sent again, asked once for each time that it is so.
    pub fn takes_templates(&mut self, now: Instant) -> bool {
        let way = &mut self.all[self.current];
        let rests = way.informed.is_some_and(|then| now.duration_since(then) < TEMPLATES_SERVE);
        let takes = way.uninformed && !rests;
        if takes {
            (way.uninformed, way.informed) = (false, Some(now));
        }
        takes
    }

    /// Sends messages at once, see [`Connection::send`].
    pub fn send(&mut self, messages: &[Message], patient: bool, now: Instant) -> Sent {
        let sent = self.all[self.current].connection.send(messages, patient, now);
        self.mind(self.current, &sent.news);
        sent
    }

    /// What was answered to earlier messages. It does not wait.
    pub fn take_news(&mut self, now: Instant) -> Vec<News> {
        self.gather(|connection| connection.take_news(now))
    }

    /// The same, but waits for what is answered to the last messages.
    pub fn await_news(&mut self) -> Vec<News> {
        self.gather(Connection::await_news)
    }

    fn gather(&mut self, listen: impl Fn(&mut Connection) -> Vec<News>) -> Vec<News> {
        let mut heard = Vec::new();
        for way in 0..self.all.len() {
            let news = listen(&mut self.all[way].connection);
            self.mind(way, &news);
            heard.extend(news);
        }
        heard
    }

    fn mind(&mut self, way: usize, news: &[News]) {
        self.all[way].uninformed |= !news.is_empty();
        let nobody_listens = news.iter().any(|news| news.error.kind() == ErrorKind::ConnectionRefused);
        self.refused |= nobody_listens && way == self.current && self.are_several();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    /// A socket that somebody else is connected to takes nothing of ours, and nobody else can have its port.
    #[test]
    fn an_address_that_refuses_has_the_next_one_tried() {
        let taken = UdpSocket::bind("[::1]:0").unwrap();
        taken.connect("[::1]:1").unwrap();
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        let [absent, present] = [&taken, &collector].map(|socket| socket.local_addr().unwrap());
        let mut ways = Ways::new(&[absent, absent, present], &Settings::default()).unwrap();
        let (now, message) = (Instant::now(), [Message { bytes: vec![7; 24], ..Message::default() }]);
        assert_eq!([(); 2].map(|()| ways.takes_templates(now)), [true, false]);
        assert!(ways.send(&message, true, now).result.is_ok() && !ways.is_over());
        let news = ways.await_news();
        assert_eq!(news.iter().map(|it| (it.address, it.refused.is_some())).collect::<Vec<_>>(), [(absent, true)]);
        assert!(ways.is_over());
        assert_eq!((ways.next_to(absent), ways.next_to(present)), (present, absent));
        ways.move_on();
        assert!(ways.takes_templates(now) && !ways.is_over());
        assert!(ways.send(&message, true, now).result.is_ok());
        assert_eq!(collector.recv(&mut [0; 99]).unwrap(), 24);
        assert!(ways.await_news().is_empty() && !ways.is_over());
    }

    #[test]
    fn one_address_has_no_other_and_what_cannot_be_connected_to_is_left_out() {
        let [four, six] = ["127.0.0.1:9", "[::1]:9"].map(|address| address.parse().unwrap());
        let settings = Settings { source: "127.0.0.1".parse().ok(), ..Settings::default() };
        let ways = Ways::new(&[six, four], &settings).unwrap();
        assert!(!ways.are_several());
        let error = |addresses: &[SocketAddr]| Ways::new(addresses, &settings).err().unwrap().to_string();
        assert!(error(&[six]).contains("of the other IP version"));
        assert_eq!(error(&[]), "the name has no address");
    }
}
