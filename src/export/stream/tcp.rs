//! A TCP connection to a collector, with or without TLS on it.

use super::connection::{Connection, closed, connect, dial, hear};
use super::tls;
use crate::export::ipfix::LARGEST_MESSAGE;
use crate::export::target::Target;
use crate::sockopt;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use socket2::{Protocol, SockRef};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long TLS's handshake may take.
const AGREEING: Duration = Duration::from_secs(5);
/// How long each write may take, and each read of the handshake.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(200);
/// How long to wait for the collector to close a connection that is ended.
const FAREWELL: Duration = Duration::from_secs(1);
/// A connection has ended where nothing was acknowledged for this long.
const SILENCE: Duration = Duration::from_secs(30);
/// How long to wait for a word from the collector after TLS 1.3's handshake.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// A connection that can be written to.
pub struct TcpConnection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Octets written to TCP since it can be.
    written: u64,
}

impl TcpConnection {
    /// Resolves, connects, and agrees on TLS if that is configured.
    pub fn open(target: &Target, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let stream = TcpStream::from(dial(target, |address| connect(target, Protocol::TCP, address))?);
        stream.set_read_timeout(Some(STEP))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let socket = SockRef::from(&stream);
        socket.set_keepalive(true)?;
        socket.set_tcp_user_timeout(Some(SILENCE))?;
        let mut connection = Self { stream, tls: None, written: 0 };
        if let Some(config) = tls {
            connection.agree(tls::client(target, config)?)?;
        }
        Ok(connection)
    }

    fn agree(&mut self, mut tls: ClientConnection) -> io::Result<()> {
        let deadline = Instant::now() + AGREEING;
        // step by step, as whoever sends an octet at a time would keep a longer one waiting
        while tls.is_handshaking() || tls.wants_write() {
            if Instant::now() >= deadline {
                return Err(io::Error::new(ErrorKind::TimedOut, "it does not speak TLS, or too slowly"));
            }
            if tls.wants_write() {
                tls.write_tls(&mut self.stream)?;
                continue;
            }
            match tls.read_tls(&mut self.stream) {
                Ok(0) => return Err(closed()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if let Err(error) = tls.process_new_packets() {
                // what is wrong is said to the collector too, if it hears that
                let _ = tls.write_tls(&mut self.stream);
                return Err(tls::explain(io::Error::other(error)));
            }
        }
        let version = tls.protocol_version();
        self.tls = Some(Box::new(tls));
        // only then does a collector judge our certificate: what is written before it has may be thrown away
        if version == Some(ProtocolVersion::TLSv1_3) {
            let mut awaited = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
            poll(&mut awaited, PollTimeout::try_from(FIRST_WORD).unwrap_or(PollTimeout::MAX))?;
        }
        self.check()
    }
}

impl Connection for TcpConnection {
    fn limit(&self) -> usize {
        LARGEST_MESSAGE
    }

    fn write(&mut self, message: &[u8]) -> io::Result<u64> {
        match &mut self.tls {
            None => {
                self.stream.write_all(message)?;
                self.written += message.len() as u64;
            }
            Some(tls) => {
                tls.writer().write_all(message)?;
                while tls.wants_write() {
                    self.written += tls.write_tls(&mut self.stream)? as u64;
                }
            }
        }
        Ok(self.written)
    }

    fn acknowledged(&self) -> io::Result<u64> {
        Ok(self.written.saturating_sub(sockopt::unacknowledged(&self.stream)?.into()))
    }

    fn check(&mut self) -> io::Result<()> {
        hear(&self.stream, |octets| self.tls.as_mut().map_or(Ok(()), |tls| understand(tls, octets)))
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            tls.write_tls(&mut self.stream)?;
        }
        self.stream.shutdown(Shutdown::Write)?;
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            match self.stream.read(&mut [0; 4096]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn abort(&mut self) {
        // if it fails, the connection is gone anyway
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// Hears what TLS says; an error if that is its end.
fn understand(tls: &mut ClientConnection, mut octets: &[u8]) -> io::Result<()> {
    while !octets.is_empty() {
        tls.read_tls(&mut octets)?;
        let heard = tls.process_new_packets().map_err(|error| tls::explain(io::Error::other(error)))?;
        if heard.peer_has_closed() {
            return Err(closed());
        }
    }
    Ok(())
}
