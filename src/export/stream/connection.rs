//! What carries messages to a collector, for as long as it lasts.

use crate::export::target::Target;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Instant;

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

    /// Says that nothing more comes, and waits for the collector to say the same; an error if it says that it has not read
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

/// The end that a collector has announced.
pub fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the collector has closed the connection")
}
