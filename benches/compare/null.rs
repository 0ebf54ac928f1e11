//! A receiver that only counts messages: the floor under every program that receives by NFLOG.

use nfweir::capture::netlink;
use nfweir::capture::nflog::{LogSocket, Wish};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{MsgFlags, recv, setsockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::os::fd::{AsFd, AsRawFd};

/// Receives until it is killed; says how many packets it has whenever there is a pause.
pub fn receive() {
    let socket = LogSocket::open(5, &Wish { snaplen: 128, receive_buffer: 32 << 20, connections: false }).unwrap();
    setsockopt(&socket.as_fd(), ReceiveTimeout, &TimeVal::milliseconds(200)).unwrap();
    let (mut buffer, mut packets, mut said) = (vec![0; 256 << 10], 0_u64, 0);
    println!("ready");
    loop {
        match recv(socket.as_fd().as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => {
                let logged = netlink::messages(&buffer[..length]).filter(|message| message.kind == netlink::PACKET);
                packets += logged.count() as u64;
            }
            Err(Errno::EAGAIN) if said == packets => {}
            Err(Errno::EAGAIN) => {
                println!("packets {packets}");
                said = packets;
            }
            Err(Errno::EINTR) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
