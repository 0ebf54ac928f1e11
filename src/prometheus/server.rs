//! Who answers: a thread that lets clients in, and one for each of those while it is served.

use super::request::{Answer, answer};
use super::text::text;
use crate::metrics::Metrics;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// Clients that are served at once. Another takes the place of the one that came first.
const MOST_CLIENTS: usize = 16;
/// How long a client may take in all: Prometheus itself waits for 10 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of the longest request that is read.
const LONGEST: usize = 8192;
/// How long nobody is served where the system does not give another descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// Why nobody can ask for the counters; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// There is no such address, or somebody else has it.
    #[error("--metrics {0} cannot be listened at ({1}): {mend}", mend = mend(.1))]
    Bind(SocketAddr, io::Error),
    /// The system gives no thread.
    #[error("--metrics {0}: starting a thread failed: {1}")]
    Thread(SocketAddr, io::Error),
}

/// What the operator can do about it.
fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => "stop the program that does, or choose another port",
        ErrorKind::PermissionDenied => "choose a port from 1024 on, as the probe is no longer root by then",
        ErrorKind::AddrNotAvailable => "give an address that this host has",
        _ => "choose another address",
    }
}

/// A socket that waits for clients.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens at this address. Takes no privilege from port 1024 on.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| ListenError::Bind(address, error))?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the thread, which has clients answered until the process ends.
    pub fn start(self, metrics: &Arc<Metrics>) -> Result<(), ListenError> {
        let Self { listener, address } = self;
        let (metrics, started) = (metrics.clone(), SystemTime::now());
        let counters = Arc::new(move || text(&metrics, started));
        spawn(move || answer_all(&listener, &counters)).map_err(|error| ListenError::Thread(address, error))?;
        Ok(())
    }
}

/// A client that is served.
struct Served {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("metrics".to_owned()).spawn(work)
}

fn answer_all<C: Fn() -> String + Send + Sync + 'static>(listener: &TcpListener, counters: &Arc<C>) {
    let mut served = VecDeque::new();
    for client in listener.incoming() {
        match client.and_then(|client| answered(client, counters.clone())) {
            Ok(client) => {
                served.retain(|earlier: &Served| !earlier.thread.is_finished());
                served.push_back(client);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(_) => thread::sleep(PAUSE),
        }
        if served.len() > MOST_CLIENTS
            && let Some(Served { stream, thread }) = served.pop_front()
        {
            // it waits for the client alone, and that is over now; a panic has been logged
            let _ = (stream.shutdown(Shutdown::Both), thread.join());
        }
    }
}

/// Has a thread serve a client.
fn answered<C: Fn() -> String + Send + Sync + 'static>(client: TcpStream, counters: Arc<C>) -> io::Result<Served> {
    let stream = client.try_clone()?;
    // what goes wrong is the client's, who asks again
    let thread = spawn(move || drop(serve(client, &*counters, Instant::now() + PATIENCE)))?;
    Ok(Served { stream, thread })
}

/// Answers one request, and ends the connection.
fn serve(mut client: TcpStream, counters: impl FnOnce() -> String, deadline: Instant) -> io::Result<()> {
    let head = receive(&mut client, deadline)?;
    let (answer, head_alone) = answer(&head);
    let content = if answer == Answer::Counters { counters() } else { answer.content().to_owned() };
    let mut octets = format!("{}Content-Length: {}\r\nConnection: close\r\n\r\n", answer.head(), content.len());
    if !head_alone {
        octets += &content;
    }
    send(&mut client, octets.as_bytes(), deadline)?;
    client.shutdown(Shutdown::Write)?;
    // what is unread when a connection is closed makes the kernel reset it, and the client lose the answer
    let mut unread = [0; 1024];
    for _ in 0..LONGEST / unread.len() {
        client.set_read_timeout(Some(left(deadline)?))?;
        if client.read(&mut unread)? == 0 {
            break;
        }
    }
    Ok(())
}

/// Until the empty line at the end of a request's head, or as much as is read of any.
fn receive(client: &mut TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    let is_whole =
        |head: &[u8]| head.windows(2).any(|pair| pair == b"\n\n") || head.windows(4).any(|it| it == b"\r\n\r\n");
    while !is_whole(&head) && head.len() < LONGEST {
        client.set_read_timeout(Some(left(deadline)?))?;
        match client.read(&mut buffer)? {
            0 => break,
            length => head.extend(&buffer[..length]),
        }
    }
    Ok(if is_whole(&head) { head } else { Vec::new() })
}

fn send(client: &mut TcpStream, mut octets: &[u8], deadline: Instant) -> io::Result<()> {
    while !octets.is_empty() {
        client.set_write_timeout(Some(left(deadline)?))?;
        match client.write(octets)? {
            0 => return Err(ErrorKind::WriteZero.into()),
            length => octets = &octets[length..],
        }
    }
    Ok(())
}

/// How much time is left; an error if none is.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client hears that sends this, and then nothing more.
    fn heard(sent: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (other, _) = listener.accept().unwrap();
        serve(other, || "a 1\n".to_owned(), Instant::now() + PATIENCE).unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        heard
    }

    #[test]
    fn a_request_has_its_answer() {
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 4\r\n\
                        Connection: close\r\n\r\n";
        assert_eq!(heard(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), format!("{expected}a 1\n"));
        assert_eq!(heard(b"HEAD /metrics HTTP/1.1\r\n\r\n"), expected);
    }

    #[test]
    fn what_is_no_request_is_said() {
        for sent in [&b""[..], b"\0\xff\x16\x03\x01", b"GET /metrics HTTP/1.1\r\n", &[b'a'; 2 * LONGEST - 1]] {
            assert!(heard(sent).starts_with("HTTP/1.1 400 Bad Request\r\n"), "{sent:?}");
        }
    }

    #[test]
    fn a_client_has_so_much_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        assert!(serve(other, String::new, Instant::now() + Duration::from_millis(10)).is_err());
    }
}
