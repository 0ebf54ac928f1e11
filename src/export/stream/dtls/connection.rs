//! A DTLS session with a collector.
//!
//! Nobody acknowledges datagrams. That a collector is gone is known where it says so (close_notify), or where its host or a
//! router answers that nobody is there (ICMP). A collector that begins anew unseen ignores what comes by a session that it
//! does not know, without a word: so no session lasts for longer than [`LONGEST`].

use super::super::connection::{Connection, dial};
use super::super::credentials::server_name;
use super::{client, explain};
use crate::export::pacer::Pacer;
use crate::export::target::Target;
use crate::export::udp::{answers, socket};
use nix::poll::PollFlags;
use openssl::ssl::{ErrorCode, SslContext, SslStream};
use rustls::pki_types::ServerName;
use socket2::Socket;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// How long the handshake may take, and each step of it: what is not answered is sent again after a second, and after two
/// more.
const AGREEING: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(200);
/// How long a datagram waits for room in the socket, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(1);
/// How long to wait for the collector to answer the end of a session.
const FAREWELL: Duration = Duration::from_millis(250);
/// How long a session lasts at most.
const LONGEST: Duration = Duration::from_secs(300);
/// What a record of DTLS 1.2 takes beside its content: its header, and nonce and tag of AES-GCM, which takes most of the
/// ciphers here.
const OVERHEAD: usize = 13 + 8 + 16;

/// A session that can be written to.
pub struct DtlsConnection {
    session: SslStream<Datagrams>,
    pacer: Pacer,
    since: Instant,
    /// Octets of messages.
    written: u64,
}

/// The socket as OpenSSL wants it: what is written at once is a datagram.
struct Datagrams {
    socket: Socket,
    v6: bool,
}

impl DtlsConnection {
    /// Resolves, and agrees on DTLS with the first address where that succeeds.
    pub fn open(target: &Target, context: &SslContext) -> io::Result<Self> {
        let name = server_name(target)?;
        let session = dial(target, |address| agree(target, context, &name, address))?;
        let pacer = Pacer::new(target.settings.rate.unwrap_or_default());
        Ok(Self { session, pacer, since: Instant::now(), written: 0 })
    }
}

fn agree(
    target: &Target,
    context: &SslContext,
    name: &ServerName<'_>,
    address: SocketAddr,
) -> io::Result<SslStream<Datagrams>> {
    let datagrams = Datagrams { socket: socket::connect(address, &target.settings)?, v6: address.is_ipv6() };
    let mut ssl = client(context, name)?;
    ssl.set_mtu(datagrams.limit() as u32)?;
    let mut session = SslStream::new(ssl, datagrams)?;
    let deadline = Instant::now() + AGREEING;
    while let Err(error) = session.connect() {
        if error.code() != ErrorCode::WANT_READ {
            return Err(explain(error, session.ssl()));
        }
        if Instant::now() >= deadline {
            let sentence = "it does not answer in DTLS: check its port, and the way to it";
            return Err(io::Error::new(ErrorKind::TimedOut, sentence));
        }
        socket::wait(&session.get_ref().socket, PollFlags::POLLIN, STEP);
    }
    Ok(session)
}

impl Connection for DtlsConnection {
    fn limit(&self) -> usize {
        self.session.get_ref().limit().saturating_sub(OVERHEAD)
    }

    fn write(&mut self, message: &[u8]) -> io::Result<u64> {
        thread::sleep(self.pacer.book(1, Instant::now()));
        match self.session.ssl_write(message) {
            Ok(length) => self.written += length as u64,
            Err(error) => return Err(explain(error, self.session.ssl())),
        }
        Ok(self.written)
    }

    fn acknowledged(&self) -> io::Result<u64> {
        Ok(self.written)
    }

    fn check(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.session.ssl_read(&mut buffer) {
                Ok(_) => {}
                Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(()),
                Err(error) => return Err(explain(error, self.session.ssl())),
            }
        }
    }

    fn is_stale(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= LONGEST
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Err(error) = self.session.shutdown() {
            return Err(explain(error, self.session.ssl()));
        }
        socket::wait(&self.session.get_ref().socket, PollFlags::POLLIN, FAREWELL);
        match self.check() {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
            answer => answer,
        }
    }

    fn abort(&mut self) {
        // if it cannot be told, the collector is gone anyway
        let _ = self.session.shutdown();
    }
}

impl Datagrams {
    /// Octets of a datagram that fit into the path MTU.
    fn limit(&self) -> usize {
        let limit = socket::look_up_limit(&self.socket, self.v6);
        limit.unwrap_or_else(|_| socket::payload(socket::SMALLEST_MTU, true))
    }

    /// Passes on what came of it; an error that is an answer to an earlier datagram need not be told twice.
    fn told<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|_| drop(answers::take(&self.socket)))
    }
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.socket.read(buffer);
        match self.told(result) {
            // an empty datagram is not the end, as it would be for OpenSSL
            Ok(0) => Err(ErrorKind::WouldBlock.into()),
            result => result,
        }
    }
}

impl Write for Datagrams {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.socket.send(datagram) {
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS))
                        && Instant::now() < deadline =>
                {
                    thread::sleep(LOOK);
                }
                result => return self.told(result),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
