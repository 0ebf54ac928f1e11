//! What devices do to packets before netfilter sees them: sizes by rtnetlink, features by ethtool's netlink
//! (Documentation/networking/ethtool-netlink.rst in the kernel's source). It needs no privileges.

use crate::capture::netlink as walk;
use crate::interfaces::{self, Link};
use crate::netlink::{self, Request};
use nix::sys::socket::SockProtocol;
use std::io;

/// Attributes of `linux/if_link.h` that libc does not have.
const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
const IFLA_GRO_IPV4_MAX_SIZE: u16 = 64;

/// Generic netlink (`linux/genetlink.h`): the family that tells of families, and its `struct genlmsghdr`s.
const GENL_ID_CTRL: u16 = 16;
const GET_FAMILY: [u8; 4] = [3, 1, 0, 0];
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const GENLMSGHDR: usize = 4;

/// `linux/ethtool_netlink.h`.
const FEATURES_GET: [u8; 4] = [11, 1, 0, 0];
const ETHTOOL_A_HEADER_DEV_NAME: u16 = 2;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

/// Features that put received packets together, by the kernel's names (`net/ethtool/common.c`).
const GATHERING: [&[u8]; 3] = [b"rx-gro", b"rx-gro-hw", b"rx-lro"];

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Octets of the longest IPv4 packet that it puts together or cuts apart, headers included.
    pub ipv4_max_size: u32,
    /// Whether it is in use, and not that of the host with itself.
    pub receives: bool,
    /// Whether it puts received packets together (GRO, LRO).
    pub gathers: bool,
}

/// All devices of this network namespace. Of a kernel before 5.7 it is not known whether they put packets together.
pub fn list() -> io::Result<Vec<Device>> {
    let mut devices = interfaces::ask(device)?;
    let gathering = gathering().unwrap_or_default();
    devices.iter_mut().for_each(|device| device.gathers = gathering.contains(&device.name));
    Ok(devices)
}

fn device(link: &Link<'_>) -> Option<Device> {
    let sizes = [IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE].map(|kind| link.number(kind).unwrap_or_default());
    let has = |flag: i32| link.flags & flag as u32 != 0;
    Some(Device {
        name: link.string(libc::IFLA_IFNAME)?,
        ipv4_max_size: sizes.into_iter().max()?,
        receives: has(libc::IFF_UP) && !has(libc::IFF_LOOPBACK),
        gathers: false,
    })
}

/// Names of the devices that put received packets together.
fn gathering() -> io::Result<Vec<String>> {
    let (socket, _) = netlink::open(SockProtocol::NetlinkGeneric)?;
    let mut family = None;
    let mut request = Request::default();
    request.add(GENL_ID_CTRL, libc::NLM_F_ACK, &GET_FAMILY, |attributes| {
        attributes.put_str(CTRL_ATTR_FAMILY_NAME, "ethtool");
    });
    request.send(&socket, |message| {
        let id = attribute(message.body.get(GENLMSGHDR..).unwrap_or_default(), CTRL_ATTR_FAMILY_ID);
        family = family.or(id.and_then(|id| id.first_chunk()).map(|id| u16::from_ne_bytes(*id)));
    })?;
    let Some(family) = family else { return Ok(Vec::new()) };
    let mut request = Request::default();
    request.add(family, libc::NLM_F_DUMP, &FEATURES_GET, |attributes| {
        attributes.nest(ETHTOOL_A_FEATURES_HEADER, &[], |_| {});
    });
    let mut names = Vec::new();
    request.send(&socket, |message| names.extend(gatherer(message.body.get(GENLMSGHDR..).unwrap_or_default())))?;
    Ok(names)
}

fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    walk::attributes(attributes).find_map(|(found, content)| (found == kind).then_some(content))
}

/// The device's name, if one of the features that are active is such.
fn gatherer(attributes: &[u8]) -> Option<String> {
    let name = attribute(attribute(attributes, ETHTOOL_A_FEATURES_HEADER)?, ETHTOOL_A_HEADER_DEV_NAME)?;
    let active = attribute(attribute(attributes, ETHTOOL_A_FEATURES_ACTIVE)?, ETHTOOL_A_BITSET_BITS)?;
    let is_gathering = |bit: &[u8]| {
        attribute(bit, ETHTOOL_A_BITSET_BIT_NAME).is_some_and(|name| GATHERING.contains(&walk::unterminated(name)))
    };
    walk::attributes(active)
        .any(|(_, bit)| is_gathering(bit))
        .then(|| String::from_utf8_lossy(walk::unterminated(name)).into_owned())
}
