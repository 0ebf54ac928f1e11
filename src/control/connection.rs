//! One peer: a line from it, a line to it, and so on. Nothing here waits.

use super::answer::Answer;
use super::request::LONGEST;
use nix::poll::PollFlags;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

/// How long a peer may do nothing: neither ask nor read.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a peer waits for.
#[derive(Debug)]
pub enum Awaited {
    /// The line that the export thread makes.
    Task(Receiver<Vec<u8>>),
    /// The end of the probe.
    End,
}

/// A peer.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// What came and is not a whole request yet.
    input: Vec<u8>,
    /// What is to be sent, and how much of it was.
    output: (Vec<u8>, usize),
    awaited: Option<Awaited>,
    /// No more is read from it.
    closing: bool,
    /// When something was last done by it.
    active: Instant,
}

impl Connection {
    /// A peer that has just come.
    pub fn new(stream: UnixStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (input, output, awaited) = Default::default();
        Ok(Self { stream, input, output, awaited, closing: false, active: now })
    }

    /// What it is waited for.
    pub fn events(&self) -> PollFlags {
        match (self.is_idle(), self.is_waiting()) {
            (true, _) => PollFlags::POLLIN,
            // that it goes is told anyway
            (_, true) => PollFlags::empty(),
            _ => PollFlags::POLLOUT,
        }
    }

    /// It has got what it asked for, and may ask.
    pub fn is_idle(&self) -> bool {
        !self.is_waiting() && self.unsent() == 0
    }

    /// It has asked already, with what was asked before.
    pub fn is_ready(&self) -> bool {
        self.is_idle() && self.input.contains(&b'\n')
    }

    /// Since when nothing was done by it.
    pub fn active(&self) -> Instant {
        self.active
    }

    /// Octets that it has not read.
    pub fn unsent(&self) -> usize {
        self.output.0.len() - self.output.1
    }

    /// Whether it waits for something.
    pub fn is_waiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// Whether it waits for the probe's end.
    pub fn awaits_end(&self) -> bool {
        matches!(self.awaited, Some(Awaited::End))
    }

    /// Reads what there is; gives a whole request. An error means that the peer is gone, or has to go.
    pub fn request(&mut self, now: Instant) -> io::Result<Option<Vec<u8>>> {
        if !self.is_idle() {
            return Ok(None);
        }
        if self.closing {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut buffer = [0; LONGEST];
        while !self.input.contains(&b'\n') && self.input.len() <= LONGEST {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(octets) => self.input.extend(&buffer[..octets]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.line(now))
    }

    /// The first line of what came.
    fn line(&mut self, now: Instant) -> Option<Vec<u8>> {
        match self.input.iter().position(|octet| *octet == b'\n') {
            Some(end) if end <= LONGEST => {
                self.active = now;
                let mut line: Vec<_> = self.input.drain(..=end).collect();
                line.pop();
                Some(line)
            }
            None if self.input.len() <= LONGEST => None,
            _ => {
                self.close_with(&Answer::error(format!("a request is a line of at most {LONGEST} octets")), now);
                None
            }
        }
    }

    /// Answers with a line.
    pub fn answer(&mut self, line: Vec<u8>, now: Instant) {
        (self.output, self.awaited, self.active) = ((line, 0), None, now);
        self.send(now);
    }

    /// Answers for the last time.
    pub fn close_with(&mut self, answer: &Answer, now: Instant) {
        self.closing = true;
        self.answer(answer.line(), now);
    }

    /// Lets it wait.
    pub fn wait(&mut self, awaited: Awaited) {
        self.awaited = Some(awaited);
    }

    /// Answers with what it waited for, if that is there.
    pub fn look(&mut self, now: Instant) {
        let Some(Awaited::Task(answers)) = &self.awaited else { return };
        match answers.try_recv() {
            Ok(line) => self.answer(line, now),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.answer(Answer::error(ENDED).line(), now),
        }
    }

    /// Sends as much as it takes.
    pub fn send(&mut self, now: Instant) {
        let (line, sent) = &mut self.output;
        while *sent < line.len() {
            match self.stream.write(&line[*sent..]) {
                Ok(octets) => (*sent, self.active) = (*sent + octets, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // whoever does not read any more is gone
                Err(_) => {
                    self.closing = true;
                    break;
                }
            }
        }
        self.output = (Vec::new(), 0);
    }

    /// Whether it has done nothing for too long. Whoever waits is not to blame.
    pub fn is_stale(&self, now: Instant) -> bool {
        !self.is_waiting() && now.duration_since(self.active) >= PATIENCE
    }
}

/// Why the export thread does not answer any more.
pub const ENDED: &str = "the probe comes to its end, and exports every flow";

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Connection, UnixStream, Instant) {
        let (own, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let now = Instant::now();
        (Connection::new(own, now).unwrap(), theirs, now)
    }

    #[test]
    fn requests_come_one_by_one_in_pieces_or_together() {
        let (mut connection, mut peer, now) = pair();
        assert_eq!(connection.request(now).unwrap(), None);
        peer.write_all(b"on").unwrap();
        assert_eq!(connection.request(now).unwrap(), None);
        peer.write_all(b"e\ntwo\n").unwrap();
        assert_eq!(connection.request(now).unwrap().unwrap(), b"one");
        connection.wait(Awaited::End);
        assert_eq!(connection.request(now).unwrap(), None, "the first is not answered");
        assert!(!connection.is_ready());
        connection.answer(b"1\n".to_vec(), now);
        assert!(connection.is_ready(), "nothing more comes that it could be woken by");
        assert_eq!(connection.request(now).unwrap().unwrap(), b"two");
        assert!(!connection.is_ready());
        drop(peer);
        assert!(connection.request(now).is_err());
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let (mut connection, mut peer, now) = pair();
        peer.write_all(&[b'x'; LONGEST + 1]).unwrap();
        assert_eq!(connection.request(now).unwrap(), None);
        let mut buffer = [0; 200];
        let length = peer.read(&mut buffer).unwrap();
        assert!(String::from_utf8_lossy(&buffer[..length]).contains("at most 4096 octets"));
        assert!(connection.request(now).is_err(), "it is closed");
    }

    #[test]
    fn who_does_not_read_holds_nothing_up_and_has_to_go() {
        let (mut connection, mut peer, now) = pair();
        connection.answer(vec![b'x'; 10 << 20], now);
        assert!(connection.unsent() > 0 && connection.events() == PollFlags::POLLOUT);
        assert!(!connection.is_stale(now + PATIENCE / 2) && connection.is_stale(now + PATIENCE));
        let later = now + PATIENCE;
        let mut buffer = vec![0; 1 << 20];
        let mut read = 0;
        while let Ok(octets @ 1..) = peer.read(&mut buffer) {
            read += octets;
            connection.send(later);
        }
        assert_eq!((read, connection.unsent()), (10 << 20, 0));
        assert!(!connection.is_stale(later + PATIENCE / 2));
        connection.wait(Awaited::End);
        assert!(!connection.is_stale(later + 9 * PATIENCE));
    }
}
