//! A UDP socket that is connected to one address, and hears all that the network answers to its datagrams.

use crate::export::settings::Settings;
use crate::sockopt;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// No larger than what fits into an Ethernet frame, even where the path would allow it (loopback): collectors have
/// buffers for that.
const LARGEST_MTU: usize = 1500;
/// The smallest MTU of IPv6, to which we keep while nothing is known.
pub const SMALLEST_MTU: usize = 1280;
const UDP_HEADER: usize = 8;

/// A socket that does not block.
pub fn connect(address: SocketAddr, settings: &Settings) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // or only some of the answers are told, and not what they are about
    let (level, option) =
        if address.is_ipv6() { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { (libc::IPPROTO_IP, libc::IP_RECVERR) };
    sockopt::set_int(&socket, level, option, 1)?;
    settings.apply(&socket, &address)?;
    socket.connect(&SockAddr::from(address))?;
    Ok(socket)
}

/// Octets of a datagram that fit into the path MTU as it is known now.
pub fn look_up_limit(socket: &Socket, v6: bool) -> io::Result<usize> {
    let (level, option) = if v6 { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
    let mtu = sockopt::get_int(socket, level, option)?;
    Ok(payload(usize::try_from(mtu).unwrap_or(SMALLEST_MTU).min(LARGEST_MTU), v6))
}

/// Octets of a datagram in a packet of `mtu`.
pub fn payload(mtu: usize, v6: bool) -> usize {
    mtu.saturating_sub(if v6 { 40 } else { 20 } + UDP_HEADER)
}

/// Until one of these events or an error; false if there was none.
pub fn wait(socket: &Socket, events: PollFlags, patience: Duration) -> bool {
    let mut awaited = [PollFd::new(socket.as_fd(), events)];
    poll(&mut awaited, PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO)).is_ok_and(|ready| ready > 0)
}
