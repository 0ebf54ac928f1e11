//! Requests to the kernel over netlink: messages with nested attributes, sent in one datagram, and the kernel's answers.
//!
//! For nf_tables and rtnetlink, whose attributes nest deeper than neli's typed builders read well.

use crate::capture::netlink::{self as walk, Message};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, recv, send, socket,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// `struct nlmsghdr` and `struct nlattr`.
const MESSAGE_HEADER: usize = 16;
const ALIGNMENT: usize = 4;
/// Marks an attribute that holds attributes.
const NESTED: u16 = libc::NLA_F_NESTED as u16;
/// The kernel's answers come in datagrams of at most this.
const DATAGRAM: usize = 64 * 1024;

/// A netlink socket, and the port id that the kernel gave it.
pub fn open(protocol: SockProtocol) -> io::Result<(OwnedFd, u32)> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    let port = getsockname::<NetlinkAddr>(socket.as_raw_fd())?.pid();
    Ok((socket, port))
}

/// Messages to be sent together.
#[derive(Debug, Default)]
pub struct Request {
    bytes: Vec<u8>,
    /// How many messages ask for an answer.
    answers: usize,
}

impl Request {
    /// Adds a message: type, flags beside `NLM_F_REQUEST`, the family's own header, attributes.
    pub fn add(&mut self, kind: u16, flags: i32, header: &[u8], attributes: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.bytes.resize(start + 4, 0);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        self.bytes.resize(start + MESSAGE_HEADER, 0); // sequence number and port: not needed by this exchange
        self.bytes.extend(header);
        attributes(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.answers += usize::from(flags & (libc::NLM_F_ACK | libc::NLM_F_DUMP) != 0);
    }

    /// The octets of all messages.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends the messages, and hands the content of the kernel's answers to `take`, until each message that asked for an
    /// answer has it, or one is refused.
    pub fn send(&self, socket: &OwnedFd, mut take: impl FnMut(&Message<'_>)) -> io::Result<()> {
        send(socket.as_raw_fd(), &self.bytes, MsgFlags::empty())?;
        let mut buffer = vec![0; DATAGRAM];
        let mut answered = 0;
        while answered < self.answers {
            let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for message in walk::messages(&buffer[..length]) {
                match message.errno() {
                    Some(0) => answered += 1,
                    Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    None if message.kind == libc::NLMSG_DONE as u16 => answered += 1,
                    None => take(&message),
                }
            }
        }
        Ok(())
    }
}

/// The attributes of a message, or within another attribute.
#[derive(Debug)]
pub struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// Adds an attribute.
    pub fn put(&mut self, kind: u16, payload: &[u8]) {
        self.write(kind, |bytes| bytes.extend(payload));
    }

    /// Adds a string, which the kernel wants terminated.
    pub fn put_str(&mut self, kind: u16, text: &str) {
        self.write(kind, |bytes| {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        });
    }

    /// Adds an attribute that holds others, behind a header if they have one.
    pub fn nest(&mut self, kind: u16, header: &[u8], attributes: impl FnOnce(&mut Attributes<'_>)) {
        self.write(kind | NESTED, |bytes| {
            bytes.extend(header);
            attributes(&mut Attributes(bytes));
        });
    }

    fn write(&mut self, kind: u16, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend([0, 0]);
        self.0.extend(kind.to_ne_bytes());
        payload(self.0);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
    }
}
