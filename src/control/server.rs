//! The thread that answers.

use super::answer::Answer;
use super::connection::{Awaited, Connection, ENDED};
use super::flows;
use super::query::FlowQuery;
use super::rates::Sampler;
use super::request::{self, Command};
use super::socket::ControlSocket;
use super::status::{samples, status};
use crate::export::Exporter;
use crate::latch::Latch;
use crate::overseer::{Overseer, Refused};
use crate::time::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Peers at a time. Another takes the place of the one that has been idle for longest.
const MOST_CONNECTIONS: usize = 32;
/// Octets that peers have not read, beyond which nobody gets flows.
const MOST_UNSENT: usize = 32 << 20;
/// How often counters are sampled.
const SAMPLING: Duration = Duration::from_secs(1);
/// How long the last answers may take.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether they are read.
const LAST_LOOK: Duration = Duration::from_millis(5);
/// How long nobody is let in after the system had no room for another.
const REST: Duration = Duration::from_millis(100);

/// The thread at work. With this it ends, after the last answers.
pub struct Control {
    thread: Option<JoinHandle<()>>,
    over: Arc<Latch>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.over.raise();
        // a panic has been logged
        self.thread.take().map(JoinHandle::join);
    }
}

/// Starts the thread. The probe's life is taken to begin now.
pub fn serve(socket: ControlSocket, overseer: Overseer) -> io::Result<Control> {
    let over = Arc::new(Latch::new()?);
    let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (since, sampled, connections, sampler) = (Timestamp::now(), Instant::now(), Vec::new(), Sampler::default());
    log::info!("control socket {}", socket.path().display());
    let server = Server { socket, overseer, over: over.clone(), wake, connections, sampler, sampled, since };
    let thread = thread::Builder::new().name("control".to_owned()).spawn(move || server.run())?;
    Ok(Control { thread: Some(thread), over })
}

struct Server {
    socket: ControlSocket,
    overseer: Overseer,
    /// Raised when the probe has ended.
    over: Arc<Latch>,
    /// Written to when the export thread has done something.
    wake: Arc<EventFd>,
    connections: Vec<Connection>,
    sampler: Sampler,
    /// When it has to be sampled again.
    sampled: Instant,
    since: Timestamp,
}

impl Server {
    fn run(mut self) {
        while !self.over.is_raised() {
            self.sample(Instant::now());
            self.wait(self.sampled);
            let now = Instant::now();
            self.accept(now);
            self.advance(now);
        }
        self.finish();
    }

    fn sample(&mut self, now: Instant) {
        if now >= self.sampled {
            self.sampler.take(now, samples(&self.overseer));
            self.sampled = now + SAMPLING;
        }
    }

    /// Until there is something to do. Peers that are gone are forgotten, whatever they wait for.
    fn wait(&mut self, until: Instant) {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut awaited = vec![readable(self.over.as_fd()), readable(self.wake.as_fd()), readable(self.socket.as_fd())];
        let own = awaited.len();
        awaited.extend(self.connections.iter().map(|peer| PollFd::new(peer.as_fd(), peer.events())));
        let left = match self.connections.iter().any(Connection::is_ready) {
            true => Duration::ZERO,
            false => until.saturating_duration_since(Instant::now()),
        };
        // rounded up, so that it is time then
        let patience = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO);
        if poll(&mut awaited, patience).is_err() {
            // without memory for it, it would be tried again all the time
            thread::sleep(left);
        }
        let hung_up = |it: &PollFd<'_>| it.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
        let mut gone = awaited[own..].iter().map(hung_up).collect::<Vec<_>>().into_iter();
        // what others have asked for before they went, is done
        self.connections.retain(|peer| !(gone.next() == Some(true) && peer.is_waiting()));
        // it is not to be read from again before there is more; otherwise it says that there was nothing
        let _ = self.wake.read();
    }

    fn accept(&mut self, now: Instant) {
        loop {
            let stream = match self.socket.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // whoever waits goes on waiting, so it would be tried again at once
                Err(_) => return thread::sleep(REST),
            };
            let Ok(mut connection) = Connection::new(stream, now) else { continue };
            if self.connections.len() >= MOST_CONNECTIONS && !self.make_room() {
                connection.close_with(&Answer::error("too many ask at the same time: ask again"), now);
            } else if self.attend(&mut connection, self.unsent(), now) {
                self.connections.push(connection);
            }
        }
    }

    /// Ends the connection that has been idle for longest.
    fn make_room(&mut self) -> bool {
        let idle = self.connections.iter().enumerate().filter(|(_, peer)| peer.is_idle());
        let longest = idle.min_by_key(|(_, peer)| peer.active()).map(|(place, _)| place);
        longest.map(|place| self.connections.swap_remove(place)).is_some()
    }

    /// Goes on with all peers.
    fn advance(&mut self, now: Instant) {
        let mut unsent = self.unsent();
        let mut connections = std::mem::take(&mut self.connections);
        connections.retain_mut(|peer| {
            let stays = self.attend(peer, unsent, now);
            unsent += peer.unsent();
            stays
        });
        self.connections = connections;
    }

    fn unsent(&self) -> usize {
        self.connections.iter().map(Connection::unsent).sum()
    }

    /// Does what one peer wants; says whether it may stay. All of them have not read so many octets.
    fn attend(&self, peer: &mut Connection, unsent: usize, now: Instant) -> bool {
        peer.look(now);
        peer.send(now);
        match peer.request(now) {
            Ok(Some(line)) => self.obey(&line, peer, unsent, now),
            Ok(None) => {}
            Err(_) => return false,
        }
        !peer.is_stale(now)
    }

    fn obey(&self, line: &[u8], peer: &mut Connection, unsent: usize, now: Instant) {
        match request::parse(line) {
            Ok(Command::Status) => {
                let status = status(&self.overseer, &self.sampler, self.since, Timestamp::now());
                peer.answer(Answer::status(status).line(), now);
            }
            Ok(Command::Flows(_)) if unsent > MOST_UNSENT => {
                peer.answer(Answer::error("others have not read their flows yet: ask again").line(), now);
            }
            Ok(Command::Flows(query)) => self.order(peer, now, move |exporter| found(exporter, &query)),
            Ok(Command::Flush) => self.order(peer, now, |exporter| {
                let flows = exporter.flush(Timestamp::now());
                log::info!("flush at the control socket: {flows} flows are exported");
                Answer::flushed(flows)
            }),
            Ok(Command::Stop) => {
                if !self.overseer.is_stopping() {
                    log::info!("stop at the control socket: capture ends, exporting every flow");
                    self.overseer.stop();
                }
                peer.wait(Awaited::End);
            }
            Err(reason) => peer.answer(Answer::error(reason).line(), now),
        }
    }

    /// Has the export thread find the answer.
    fn order(&self, peer: &mut Connection, now: Instant, task: impl FnOnce(&mut Exporter) -> Answer + Send + 'static) {
        if self.overseer.is_stopping() {
            // it exports every flow, and only then would come to it
            return peer.answer(Answer::error(ENDED).line(), now);
        }
        let (answers, awaited) = sync_channel(1);
        let wake = self.wake.clone();
        let task = Box::new(move |exporter: &mut Exporter| {
            // whoever asked may be gone
            let _ = answers.send(task(exporter).line());
            let _ = wake.write(1);
        });
        match self.overseer.order(task) {
            Ok(()) => peer.wait(Awaited::Task(awaited)),
            Err(Refused) => peer.answer(Answer::error("the export thread has too much to do: ask again").line(), now),
        }
    }

    /// Answers those that wait for the end, and lets all others read what they asked for.
    fn finish(mut self) {
        let (now, account) = (Instant::now(), Answer::stopped(&self.overseer.metrics.to_string()).line());
        for peer in &mut self.connections {
            if peer.awaits_end() {
                peer.answer(account.clone(), now);
            }
            peer.look(now);
        }
        let deadline = now + LAST_PATIENCE;
        while self.connections.iter().any(|peer| peer.unsent() > 0) && Instant::now() < deadline {
            thread::sleep(LAST_LOOK);
            self.connections.iter_mut().for_each(|peer| peer.send(Instant::now()));
        }
    }
}

fn found(exporter: &mut Exporter, query: &FlowQuery) -> Answer {
    Answer::flows(flows::look(exporter, query))
}
