//! A device that receives what is for others, as long as someone wants it (`PACKET_MR_PROMISC`, packet(7)).

use crate::sockopt;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::OwnedFd;

/// The wish. The kernel forgets it when this is closed, however the process ends.
#[derive(Debug)]
pub struct Promiscuous {
    _socket: OwnedFd,
}

/// Why a device is not promiscuous; the text is the operator's.
#[derive(Debug, thiserror::Error)]
#[error(
    "device {device} cannot be made to receive what is for others ({error}): see `ip link` for its name, and run as root or with \
     CAP_NET_RAW"
)]
pub struct NotPromiscuous {
    device: String,
    error: io::Error,
}

impl Promiscuous {
    /// Needs CAP_NET_RAW.
    pub fn new(device: &str) -> Result<Self, NotPromiscuous> {
        let make = || -> io::Result<Self> {
            let index = if_nametoindex(device)?;
            // without a protocol it receives nothing itself
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
            // struct packet_mreq: index, type and length of an address, which is not needed
            let [low, high] = (libc::PACKET_MR_PROMISC as u16).to_ne_bytes();
            let kind = i32::from_ne_bytes([low, high, 0, 0]);
            let wish = [index as i32, kind, 0, 0];
            sockopt::set_ints(&socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &wish)?;
            Ok(Self { _socket: socket })
        };
        make().map_err(|error| NotPromiscuous { device: device.to_owned(), error })
    }
}
