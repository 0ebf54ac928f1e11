//! What the network answers to the datagrams of a socket: ICMP, from the socket's queue of errors (ip(7), IP_RECVERR).
//!
//! The kernel gives each answer with what it quotes of the datagram that it is about. Hosts and routers quote as much as
//! they like: Linux 548 octets of an IPv4 packet, 1232 of an IPv6 one, what follows RFC 792 alone none of the datagram.
//! The queue has the room of the receive buffer, by default for some 90 answers: as each lets the next message fail once, and
//! then is read, only so many in a pause overflow it, and are lost without a word.

use super::recent::BEGINNING;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use socket2::Socket;
use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;

/// Answers that are read at once: whoever floods the socket with them does not keep it from sending.
const MOST: usize = 256;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// What it says, as an error of the socket.
    pub error: io::Error,
    quoted: [u8; BEGINNING],
    length: usize,
}

impl Answer {
    /// The beginning of the datagram that it is about, which may be cut off, or missing.
    pub fn quoted(&self) -> &[u8] {
        &self.quoted[..self.length]
    }
}

/// Takes the answers that have come, without waiting for more. Then sending does not fail by them any more.
pub fn take(socket: &Socket) -> Vec<Answer> {
    (0..MOST).map_while(|_| next(socket)).flatten().collect()
}

/// What is next in the queue of errors, if that is an answer of the network: it has what this host says itself, too.
fn next(socket: &Socket) -> Option<Option<Answer>> {
    let mut quoted = [0; BEGINNING];
    let mut slices = [IoSliceMut::new(&mut quoted)];
    let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let (length, told) = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
            Ok(received) => break (received.bytes, received.cmsgs().ok()?.find_map(extended_error)),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    };
    let answer = told.filter(|told| matches!(told.ee_origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6));
    Some(answer.map(|told| Answer { error: io::Error::from_raw_os_error(told.ee_errno as i32), quoted, length }))
}

fn extended_error(message: ControlMessageOwned) -> Option<libc::sock_extended_err> {
    match message {
        ControlMessageOwned::Ipv4RecvErr(told, _) | ControlMessageOwned::Ipv6RecvErr(told, _) => Some(told),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::settings::Settings;
    use crate::export::udp::socket;
    use crate::sockopt;
    use nix::poll::PollFlags;
    use std::net::UdpSocket;
    use std::time::Duration;

    /// A socket that somebody else is connected to takes nothing of ours, and nobody else can have its port.
    #[test]
    fn the_beginning_of_what_was_refused_is_quoted() {
        for (address, other) in [("127.0.0.1:0", "127.0.0.1:1"), ("[::1]:0", "[::1]:1")] {
            let taken = UdpSocket::bind(address).unwrap();
            taken.connect(other).unwrap();
            let socket = socket::connect(taken.local_addr().unwrap(), &Settings::default()).unwrap();
            assert!(take(&socket).is_empty());
            for (datagram, quoted) in [(vec![7; 1200], &[7; 24][..]), (vec![8; 24], &[8; 24]), (vec![9; 23], &[9; 23])]
            {
                socket.send(&datagram).unwrap();
                assert!(socket::wait(&socket, PollFlags::empty(), Duration::from_secs(60)));
                let answers = take(&socket);
                let said: Vec<_> = answers.iter().map(|it| (it.quoted(), it.error.raw_os_error())).collect();
                assert_eq!(said, [(quoted, Some(libc::ECONNREFUSED))]);
            }
        }
    }

    /// A datagram too long for the device, which must not be cut, is this host's own affair.
    #[test]
    fn what_this_host_says_itself_is_no_answer() {
        let taken = UdpSocket::bind("[::1]:0").unwrap();
        let socket = socket::connect(taken.local_addr().unwrap(), &Settings::default()).unwrap();
        sockopt::set_int(&socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1).unwrap();
        assert_eq!(socket.send(&[0; 65_527]).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        assert!(socket::wait(&socket, PollFlags::empty(), Duration::ZERO), "it is in the queue");
        assert!(take(&socket).is_empty());
        assert!(!socket::wait(&socket, PollFlags::empty(), Duration::ZERO), "and not any more");
    }
}
