//! The network's devices, asked from the kernel by rtnetlink (`linux/rtnetlink.h`). It needs no privileges.

use crate::capture::netlink as walk;
use crate::export::options::Interface;
use crate::netlink::{self, Request};
use nix::sys::socket::SockProtocol;
use std::io;

/// `struct ifinfomsg`, and where the index is in it.
const IFINFOMSG: usize = 16;
const INDEX: usize = 4;

/// All devices of this network namespace; none if the kernel does not tell, which is logged.
pub fn list() -> Vec<Interface> {
    ask().unwrap_or_else(|error| {
        log::warn!("the kernel does not tell the names of interfaces ({error}): they are not exported");
        Vec::new()
    })
}

fn ask() -> io::Result<Vec<Interface>> {
    let (socket, _) = netlink::open(SockProtocol::NetlinkRoute)?;
    let mut request = Request::default();
    request.add(libc::RTM_GETLINK, libc::NLM_F_DUMP, &[0; IFINFOMSG], |_| {});
    let mut interfaces = Vec::new();
    request.send(&socket, |message| interfaces.extend(interface(message.body)))?;
    Ok(interfaces)
}

/// The device that the body of an `RTM_NEWLINK` message describes.
fn interface(body: &[u8]) -> Option<Interface> {
    let index = u32::from_ne_bytes(*body.get(INDEX..)?.first_chunk()?);
    let attributes = body.get(IFINFOMSG..)?;
    let string = |kind: u16| {
        let content = walk::attributes(attributes).find_map(|(found, content)| (found == kind).then_some(content))?;
        Some(String::from_utf8_lossy(walk::unterminated(content)).into_owned())
    };
    let name = string(libc::IFLA_IFNAME)?;
    Some(Interface { index, description: string(libc::IFLA_IFALIAS).unwrap_or_else(|| name.clone()), name })
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
