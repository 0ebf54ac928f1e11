//! What carries messages to a collector, for as long as it lasts.

use crate::export::target::Target;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(3);

/// A transport session of RFC 7011.
pub trait Connection {
    /// How large a message may be.
    fn limit(&self) -> usize;

    /// Writes a message, and says how many octets that are in all.
    fn write(&mut self, message: &[u8]) -> io::Result<u64>;

    /// How many of the octets written the other host has acknowledged, or has not refused where it acknowledges none.
    fn acknowledged(&self) -> io::Result<u64>;

    /// Hears what the collector says, which is nothing but that the connection ends. Does not wait.
    fn check(&mut self) -> io::Result<()>;

    /// Whether it has lasted long enough, and another is to be made.
    fn is_stale(&self, _now: Instant) -> bool {
        false
    }

    /// Says that nothing more comes, and waits for what the collector says to that; an error if it says that it has not read
    /// everything.
    fn finish(&mut self) -> io::Result<()>;

    /// Ends at once; what was not sent yet is thrown away.
    fn abort(&mut self);
}

/// What `connect` makes of the first address of a collector that it succeeds with.
pub fn dial<T>(target: &Target, connect: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut failure = io::Error::new(ErrorKind::NotFound, "the name has no address");
    let addresses = (target.host.as_str(), target.port).to_socket_addrs();
    let unknown = |error: io::Error| io::Error::new(error.kind(), format!("{error}: check its name, and the resolver"));
    for address in addresses.map_err(unknown)? {
        match connect(address) {
            Ok(connected) => return Ok(connected),
            Err(error) => failure = error,
        }
    }
    match failure.kind() {
        ErrorKind::ConnectionRefused => {
            Err(io::Error::new(failure.kind(), "nobody listens there: start the collector"))
        }
        _ => Err(failure),
    }
}

/// A socket that is connected by TCP or SCTP.
pub fn connect(target: &Target, protocol: Protocol, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol))?;
    target.settings.apply(&socket, &address)?;
    socket.connect_timeout(&SockAddr::from(address), CONNECTING)?;
    Ok(socket)
}

/// Hands on what has come to such a socket, without waiting for more; an error if the connection has ended.
pub fn hear(socket: &impl AsRawFd, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Err(closed()),
            Ok(length) => take(&buffer[..length])?,
            Err(Errno::EAGAIN) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The end that a collector has announced.
pub fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the collector has closed the connection")
}
