//! The network's devices, asked from the kernel by rtnetlink (`linux/rtnetlink.h`). It needs no privileges.

use crate::capture::netlink as walk;
use crate::export::options::Interface;
use crate::netlink::{self, Request};
use nix::sys::socket::SockProtocol;
use std::io;

/// `struct ifinfomsg`, and where index and flags are in it.
const IFINFOMSG: usize = 16;
const INDEX: usize = 4;
const FLAGS: usize = 8;

/// All devices of this network namespace; none if the kernel does not tell, which is logged.
pub fn list() -> Vec<Interface> {
    ask(|link| link.interface()).unwrap_or_else(|error| {
        log::warn!("the kernel does not tell the names of interfaces ({error}): they are not exported");
        Vec::new()
    })
}

/// What `read` makes of each device of this network namespace.
pub fn ask<T>(read: impl Fn(&Link<'_>) -> Option<T>) -> io::Result<Vec<T>> {
    let (socket, _) = netlink::open(SockProtocol::NetlinkRoute)?;
    let mut request = Request::default();
    request.add(libc::RTM_GETLINK, libc::NLM_F_DUMP, &[0; IFINFOMSG], |_| {});
    let mut found = Vec::new();
    request.send(&socket, |message| found.extend(Link::parse(message.body).and_then(|link| read(&link))))?;
    Ok(found)
}

/// What an `RTM_NEWLINK` message says of a device.
pub struct Link<'a> {
    /// Its ifIndex.
    pub index: u32,
    /// `IFF_UP`, `IFF_LOOPBACK` and the like.
    pub flags: u32,
    attributes: &'a [u8],
}

impl<'a> Link<'a> {
    fn parse(body: &'a [u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_ne_bytes(*body.get(at..)?.first_chunk()?));
        Some(Self { index: number(INDEX)?, flags: number(FLAGS)?, attributes: body.get(IFINFOMSG..)? })
    }

    /// The content of an attribute (`IFLA_…`).
    fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        walk::attributes(self.attributes).find_map(|(found, content)| (found == kind).then_some(content))
    }

    /// An attribute that is a number.
    pub fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.attribute(kind)?.first_chunk()?))
    }

    /// An attribute that is a string.
    pub fn string(&self, kind: u16) -> Option<String> {
        Some(String::from_utf8_lossy(walk::unterminated(self.attribute(kind)?)).into_owned())
    }

    fn interface(&self) -> Option<Interface> {
        let name = self.string(libc::IFLA_IFNAME)?;
        let description = self.string(libc::IFLA_IFALIAS).unwrap_or_else(|| name.clone());
        Some(Interface { index: self.index, name, description })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_there() {
        let devices = list();
        let loopback = devices.iter().find(|device| device.name == "lo").expect("lo");
        assert_eq!((loopback.index, loopback.description.as_str()), (1, "lo"));
    }
}
