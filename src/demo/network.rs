//! The demonstration's network: two namespaces, and a pair of interfaces between them.

use super::DemoError;
use crate::netlink::{self, Request};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::SockProtocol;
use nix::unistd::{getegid, geteuid};
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The probe's end of the pair, and the peer's.
pub const PROBE_END: &str = "probe0";
const PEER_END: &str = "peer0";

/// Addresses for documentation (RFC 5737, RFC 3849).
const PROBE: Side = Side {
    v4: Ipv4Addr::new(192, 0, 2, 1),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    mac: [2, 0, 0, 0, 0, 1],
};
/// The peer's, to which the traffic goes.
pub const PEER: Side = Side {
    v4: Ipv4Addr::new(192, 0, 2, 2),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
    mac: [2, 0, 0, 0, 0, 2],
};

/// One end of the pair.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    mac: [u8; 6],
}

/// `linux/if_link.h`, `linux/veth.h`: what libc does not name.
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
/// How often and at most how many times a device is looked at.
const QUEUE_LOOK: Duration = Duration::from_millis(2);
const QUEUE_LOOKS: usize = 2500;
/// Offset of `tx_packets` in `struct rtnl_link_stats64`.
const TX_PACKETS: usize = 8;

/// Enters a network namespace of its own, as whoever this is: without privileges, in a user namespace of its own. Must
/// come before the first thread.
pub fn enter_namespace() -> Result<(), DemoError> {
    if unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|error| DemoError::Namespace(error.into()))?;
    let map = || {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))
    };
    map().map_err(DemoError::Namespace)
}

/// The host at the other end: a thread in a second network namespace.
pub struct Peer {
    orders: Sender<Box<dyn FnOnce() + Send>>,
    thread: JoinHandle<()>,
    namespace: File,
}

impl Peer {
    /// Starts it.
    pub fn start() -> Result<Self, DemoError> {
        let (orders, received) = channel::<Box<dyn FnOnce() + Send>>();
        let (opened, namespace) = channel();
        let thread = thread::Builder::new().name("peer".to_owned()).spawn(move || {
            let entered = unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
            // the demonstration waits for this answer
            let _ = opened.send(entered.and_then(|()| File::open("/proc/thread-self/ns/net")));
            received.into_iter().for_each(|order| order());
        });
        let thread = thread.map_err(DemoError::Namespace)?;
        let namespace = namespace.recv().map_err(io::Error::other).flatten().map_err(DemoError::Namespace)?;
        Ok(Self { orders, thread, namespace })
    }

    /// Does something in the peer's namespace. Threads and sockets made there belong to it.
    pub fn run<T: Send + 'static>(&self, order: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (done, result) = channel();
        let order = Box::new(move || drop(done.send(order())));
        self.orders.send(order).map_err(|_| io::Error::other("the peer's thread has ended"))?;
        result.recv().map_err(io::Error::other)
    }

    /// Ends it.
    pub fn stop(self) {
        drop(self.orders);
        // it has nothing to say
        let _ = self.thread.join();
    }
}

/// The pair of interfaces, down as yet.
pub fn connect(peer: &Peer) -> Result<(), DemoError> {
    let make = || {
        bring("lo", true)?;
        make_pair(&peer.namespace)?;
        set_up(PROBE_END, PROBE, PEER)?;
        peer.run(|| set_up(PEER_END, PEER, PROBE))?
    };
    make().map_err(DemoError::Network)
}

/// Brings both ends up, and waits until they let packets through: before that, the kernel logs packets that it then drops
/// unsent.
pub fn bring_up(peer: &Peer) -> Result<(), DemoError> {
    let both = || {
        bring(PROBE_END, true)?;
        peer.run(|| bring(PEER_END, true))??;
        await_queue(PROBE_END)?;
        peer.run(|| await_queue(PEER_END))?
    };
    both().map_err(DemoError::Network)
}

/// Brings both ends down.
pub fn bring_down(peer: &Peer) -> Result<(), DemoError> {
    let both = || {
        bring(PROBE_END, false)?;
        peer.run(|| bring(PEER_END, false))?
    };
    both().map_err(DemoError::Network)
}

/// How many packets both ends have sent, by the interfaces' own statistics.
pub fn packets_sent(peer: &Peer) -> Result<u64, DemoError> {
    let sum = || Ok(sent(PROBE_END)? + peer.run(|| sent(PEER_END))??);
    sum().map_err(DemoError::Network)
}

/// `struct ifinfomsg`.
fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

fn route(request: &Request, take: impl FnMut(&crate::capture::netlink::Message<'_>)) -> io::Result<()> {
    let (socket, _) = netlink::open(SockProtocol::NetlinkRoute)?;
    request.send(&socket, take)
}

const CREATE: i32 = libc::NLM_F_CREATE | libc::NLM_F_EXCL | libc::NLM_F_ACK;

fn make_pair(peer_namespace: &File) -> io::Result<()> {
    let namespace = peer_namespace.as_raw_fd().to_ne_bytes();
    let mut request = Request::default();
    request.add(libc::RTM_NEWLINK, CREATE, &ifinfomsg(0, 0, 0), |link| {
        link.put_str(libc::IFLA_IFNAME, PROBE_END);
        link.put(libc::IFLA_ADDRESS, &PROBE.mac);
        link.nest(libc::IFLA_LINKINFO, &[], |info| {
            info.put_str(libc::IFLA_INFO_KIND, "veth");
            info.nest(libc::IFLA_INFO_DATA, &[], |data| {
                data.nest(VETH_INFO_PEER, &ifinfomsg(0, 0, 0), |other| {
                    other.put_str(libc::IFLA_IFNAME, PEER_END);
                    other.put(libc::IFLA_ADDRESS, &PEER.mac);
                    other.put(libc::IFLA_NET_NS_FD, &namespace);
                });
            });
        });
    });
    route(&request, |_| ())
}

/// Gives an end its addresses, and tells it the other's, so that nobody has to ask for them; nor does it make itself a
/// link-local address. All packets on the pair are then IP, and nearly all the demonstration's own.
fn set_up(name: &str, own: Side, other: Side) -> io::Result<()> {
    let index = if_nametoindex(name)?;
    let mut request = Request::default();
    request.add(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfomsg(index, 0, 0), |link| {
        link.nest(libc::IFLA_AF_SPEC, &[], |families| {
            families.nest(libc::AF_INET6 as u16, &[], |inet6| {
                inet6.put(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
            });
        });
    });
    let mac = other.mac;
    for (own, other, prefix) in
        [(IpAddr::V4(own.v4), IpAddr::V4(other.v4), 24), (IpAddr::V6(own.v6), IpAddr::V6(other.v6), 64)]
    {
        add_address(&mut request, index, own, prefix);
        add_neighbour(&mut request, index, other, mac);
    }
    route(&request, |_| ())
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index.
fn add_address(request: &mut Request, index: u32, address: IpAddr, prefix: u8) {
    let mut header = vec![family(address), prefix, libc::IFA_F_NODAD as u8, 0];
    header.extend(index.to_ne_bytes());
    request.add(libc::RTM_NEWADDR, CREATE, &header, |attributes| {
        attributes.put(libc::IFA_LOCAL, &octets(address));
        attributes.put(libc::IFA_ADDRESS, &octets(address));
    });
}

/// `struct ndmsg`: family, padding, index, state, flags, type.
fn add_neighbour(request: &mut Request, index: u32, address: IpAddr, mac: [u8; 6]) {
    let mut header = vec![family(address), 0, 0, 0];
    header.extend(index.to_ne_bytes());
    header.extend(libc::NUD_PERMANENT.to_ne_bytes());
    header.extend([0, 0]);
    request.add(libc::RTM_NEWNEIGH, CREATE, &header, |attributes| {
        attributes.put(libc::NDA_DST, &octets(address));
        attributes.put(libc::NDA_LLADDR, &mac);
    });
}

fn family(address: IpAddr) -> u8 {
    (if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn bring(name: &str, up: bool) -> io::Result<()> {
    let flag = libc::IFF_UP as u32;
    let mut request = Request::default();
    let header = ifinfomsg(if_nametoindex(name)?, if up { flag } else { 0 }, flag);
    request.add(libc::RTM_NEWLINK, libc::NLM_F_ACK, &header, |_| ());
    route(&request, |_| ())
}

fn sent(name: &str) -> io::Result<u64> {
    let statistics = link_attribute(name, libc::IFLA_STATS64)?;
    let packets = statistics.get(TX_PACKETS..).and_then(|octets| octets.first_chunk());
    packets.map(|octets| u64::from_ne_bytes(*octets)).ok_or_else(|| io::Error::other("the kernel gave no statistics"))
}

/// Until a device that is up has a queue in place of `noop`, which drops all.
fn await_queue(name: &str) -> io::Result<()> {
    for _ in 0..QUEUE_LOOKS {
        if link_attribute(name, libc::IFLA_QDISC)? != b"noop\0" {
            return Ok(());
        }
        thread::sleep(QUEUE_LOOK);
    }
    Err(io::Error::other(format!("{name} does not begin to send")))
}

/// An attribute of a device, empty if it has none such.
fn link_attribute(name: &str, kind: u16) -> io::Result<Vec<u8>> {
    let mut request = Request::default();
    request.add(libc::RTM_GETLINK, libc::NLM_F_ACK, &ifinfomsg(if_nametoindex(name)?, 0, 0), |_| ());
    let mut found = Vec::new();
    route(&request, |link| {
        let mut attributes = crate::capture::netlink::attributes(link.body.get(16..).unwrap_or_default());
        found = attributes.find(|(found, _)| *found == kind).map_or_else(Vec::new, |(_, content)| content.to_vec());
    })?;
    Ok(found)
}
