//! From a netlink datagram to its messages, and from a message of NFLOG to the packet in it.
//!
//! Pure slices, no file descriptor: the formats are those of `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and
//! `linux/netfilter/nfnetlink_log.h`. Lengths and types of the netlink frame are in the host's byte order, what NFLOG
//! puts into its attributes is big-endian. Whatever a length field says, nothing is read outside the slice.

use crate::flow::{Direction, LOCAL};
use crate::memory::prefetch;
use crate::packet::Start;
use crate::packet::details::Provenance;
use crate::time::Timestamp;

/// `struct nlmsghdr`.
const MESSAGE_HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource id (the group).
pub(crate) const NFGENMSG: usize = 4;
/// `struct nlattr`: length, type.
pub(super) const ATTRIBUTE_HEADER: usize = 4;
/// Messages and attributes begin at multiples of this.
const ALIGNMENT: usize = 4;
/// The bits of an attribute's type that are not flags (`NLA_TYPE_MASK`).
const TYPE_MASK: u16 = 0x3fff;

/// Type of a message that carries a packet: subsystem `NFNL_SUBSYS_ULOG`, `NFULNL_MSG_PACKET`.
pub const PACKET: u16 = (libc::NFNL_SUBSYS_ULOG as u16) << 8 | libc::NFULNL_MSG_PACKET as u16;
/// Type of an acknowledgement or error (`NLMSG_ERROR`).
pub const ERROR: u16 = libc::NLMSG_ERROR as u16;

/// Attributes of enum `nfulnl_attr_type` that libc does not name, and those of the nested `NFULA_VLAN`.
const NFULA_VLAN: u16 = 20;
const NFULA_L2HDR: u16 = 21;
const NFULA_VLAN_TCI: u16 = 2;

/// A device of Ethernet (`linux/if_arp.h`), and the protocols of VLAN tags.
const ARPHRD_ETHER: u16 = 1;
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// The families of IP, also of tables that are for both.
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
/// The netdev family (`NFPROTO_NETDEV`), whose hook numbers are its own.
const NFPROTO_NETDEV: u8 = 5;
const NF_NETDEV_EGRESS: u8 = 1;
const NF_INET_LOCAL_IN: u8 = 1;
const NF_INET_LOCAL_OUT: u8 = 3;
const NF_INET_POST_ROUTING: u8 = 4;

/// A netlink message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// What follows the header.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The errno of an [`ERROR`] message, 0 if it is an acknowledgement; `None` of any other message.
    pub fn errno(&self) -> Option<i32> {
        (self.kind == ERROR).then_some(-i32::from_ne_bytes(*self.body.first_chunk()?))
    }
}

/// How far ahead of the walk a datagram is fetched: about five messages. The kernel's copy leaves it far away.
const AHEAD: usize = 1024;
/// Octets of a cache line.
const LINE: usize = 64;

/// The messages of a datagram, up to the first that does not fit into it.
#[inline]
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        if let Some(ahead) = datagram.get(AHEAD..).and_then(|ahead| ahead.first_chunk::<{ 4 * LINE }>()) {
            ahead.as_chunks::<LINE>().0.iter().for_each(prefetch);
        }
        let [a, b, c, d, kind @ ..] = *datagram.first_chunk::<6>()?;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let body = datagram.get(MESSAGE_HEADER..length)?;
        datagram = datagram.get(aligned(length)..).unwrap_or_default();
        Some(Message { kind: u16::from_ne_bytes(kind), body })
    })
}

/// The attributes of a message, type and payload, up to the first that does not fit.
#[inline]
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, kind @ ..] = *bytes.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let payload = bytes.get(ATTRIBUTE_HEADER..length)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((u16::from_ne_bytes(kind) & TYPE_MASK, payload))
    })
}

#[inline]
pub(super) fn aligned(length: usize) -> usize {
    (length + ALIGNMENT - 1) & !(ALIGNMENT - 1)
}

/// A packet that NFLOG delivered, as its message says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logged<'a> {
    /// `nfgen_family`: that of the rule's table, 5 for netdev.
    pub family: u8,
    /// Hook number, whose meaning depends on the family.
    pub hook: u8,
    /// EtherType of the packet.
    pub hw_protocol: u16,
    /// Sequence number within the group.
    pub sequence: Option<u32>,
    /// When the kernel saw it; it does not say so at every hook.
    pub time: Option<Timestamp>,
    /// ifIndex of the input device, 0 if there is none.
    pub input: u32,
    /// ifIndex of the output device, 0 if there is none.
    pub output: u32,
    /// VLAN id that the device has taken off, 0 if there is none.
    pub vlan: u16,
    /// The packet had a link-layer header when it was logged (`NFULA_L2HDR`); only netdev and bridge hooks say so.
    pub has_link_header: bool,
    /// The rule's prefix, without its terminating NUL.
    pub prefix: &'a [u8],
    /// The packet, cut to the snaplen.
    pub payload: &'a [u8],
}

impl<'a> Logged<'a> {
    /// Reads the body of a [`PACKET`] message.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Self {
        let mut logged = Self { family: body.first().copied().unwrap_or_default(), ..Self::default() };
        for (kind, payload) in attributes(body.get(NFGENMSG..).unwrap_or_default()) {
            match (i32::from(kind), payload) {
                (libc::NFULA_PACKET_HDR, &[high, low, hook, ..]) => {
                    (logged.hw_protocol, logged.hook) = (u16::from_be_bytes([high, low]), hook);
                }
                (libc::NFULA_TIMESTAMP, time) => logged.time = timestamp(time),
                (libc::NFULA_IFINDEX_INDEV, index) => logged.input = be32(index).unwrap_or_default(),
                (libc::NFULA_IFINDEX_OUTDEV, index) => logged.output = be32(index).unwrap_or_default(),
                (libc::NFULA_PAYLOAD, payload) => logged.payload = payload,
                (libc::NFULA_PREFIX, prefix) => logged.prefix = unterminated(prefix),
                (libc::NFULA_SEQ, sequence) => logged.sequence = be32(sequence),
                (kind, nested) if kind == i32::from(NFULA_VLAN) => logged.vlan = vlan_id(nested),
                (kind, _) if kind == i32::from(NFULA_L2HDR) => logged.has_link_header = true,
                _ => {}
            }
        }
        logged
    }
}

/// What a message says of its packet for records that have details of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside<'a> {
    /// The Ethernet header that it had on its device; empty if it had none.
    pub ethernet_header: &'a [u8],
    /// Its mark; 0 if it has none.
    pub mark: u32,
    /// Number of the hook where it was logged.
    pub hook: u8,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl<'a> Beside<'a> {
    /// Reads the body of a [`PACKET`] message.
    pub fn parse(body: &'a [u8]) -> Self {
        Self::of_attributes(
            body.first().copied().unwrap_or_default(),
            attributes(body.get(NFGENMSG..).unwrap_or_default()),
        )
    }

    /// Reads the attributes of a message of this family.
    pub fn of_attributes(family: u8, attributes: impl Iterator<Item = (u16, &'a [u8])>) -> Self {
        let mut beside = Self::default();
        let (mut protocol, mut is_ethernet) = (None, false);
        let (mut owner, mut ports) = ([None; 2], [0; 2]);
        for (kind, content) in attributes {
            match (i32::from(kind), content) {
                (libc::NFULA_PACKET_HDR, &[high, low, hook, ..]) => {
                    (protocol, beside.hook) = (Some([high, low]), hook);
                }
                (libc::NFULA_MARK, mark) => beside.mark = be32(mark).unwrap_or_default(),
                (libc::NFULA_HWTYPE, hardware) => is_ethernet = hardware == ARPHRD_ETHER.to_be_bytes(),
                (libc::NFULA_HWHEADER, header) => beside.ethernet_header = header,
                (libc::NFULA_UID, uid) => owner[0] = be32(uid),
                (libc::NFULA_GID, gid) => owner[1] = be32(gid),
                (libc::NFULA_IFINDEX_PHYSINDEV, index) => ports[0] = be32(index).unwrap_or_default(),
                (libc::NFULA_IFINDEX_PHYSOUTDEV, index) => ports[1] = be32(index).unwrap_or_default(),
                _ => {}
            }
        }
        // At postrouting the kind is that of the device that the packet goes out by, but the header the one it came with.
        let goes_out = is_ip(family) && beside.hook == NF_INET_POST_ROUTING;
        if !is_ethernet || goes_out || !is_header_of(protocol, beside.ethernet_header) {
            beside.ethernet_header = &[];
        }
        beside.provenance = provenance(family, beside.hook, owner, ports);
        beside
    }
}

/// What the body of a [`PACKET`] message says of its packet's connection: the content of `NFULA_CT`, empty if it says nothing,
/// and which packet of that it is (`NFULA_CT_INFO`).
pub fn connection(body: &[u8]) -> (&[u8], u32) {
    let mut connection = (&[][..], 0);
    for (kind, content) in attributes(body.get(NFGENMSG..).unwrap_or_default()) {
        match i32::from(kind) {
            libc::NFULA_CT => connection.0 = content,
            libc::NFULA_CT_INFO => connection.1 = be32(content).unwrap_or_default(),
            _ => {}
        }
    }
    connection
}

/// Whether an Ethernet header names this protocol, or a tag. What other kinds of devices have there means something else, and
/// nothing at all where a tunnel made the packet.
fn is_header_of(protocol: Option<[u8; 2]>, header: &[u8]) -> bool {
    let Some(named) = header.get(12..).and_then(|rest| rest.first_chunk().copied()) else { return false };
    protocol == Some(named) || TAGS.contains(&u16::from_be_bytes(named))
}

/// Where a packet comes from, of which a message says user and group, and the ports of a bridge. Where packets come in, the
/// socket is that of the namespace at the other end of a veth, whose users are others: only where a host's own packets go out
/// is it this host's.
fn provenance(family: u8, hook: u8, owner: [Option<u32>; 2], ports: [u32; 2]) -> Provenance {
    let goes_out = is_ip(family) && [NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING].contains(&hook);
    match (ports, owner) {
        ([0, 0], [Some(uid), Some(gid)]) if goes_out => Provenance::Process { uid, gid },
        ([0, 0], _) => Provenance::Unknown,
        ([input, output], _) => Provenance::Bridge { input, output },
    }
}

/// Whether [`Logged`] tells what is in an attribute of this type, payload, time and number aside.
pub(super) fn describes(kind: u16) -> bool {
    let described = [libc::NFULA_PACKET_HDR, libc::NFULA_IFINDEX_INDEV, libc::NFULA_IFINDEX_OUTDEV, libc::NFULA_PREFIX];
    described.contains(&kind.into()) || kind == NFULA_VLAN
}

/// What the payload of a packet logged at this hook begins with, and which way the packet goes: at netdev egress the
/// payload is the Ethernet frame where the device has such (tunnels have none), everywhere else the network layer.
pub fn seen_at(logged: &Logged<'_>) -> (Start, Direction) {
    let start = match logged.hw_protocol {
        0 => Start::Ip, // old kernels do not say it at local out
        ethertype => Start::EtherType(ethertype),
    };
    match (logged.family, logged.hook) {
        (NFPROTO_NETDEV, NF_NETDEV_EGRESS) if logged.has_link_header => (Start::Ethernet, Direction::Egress),
        (NFPROTO_NETDEV, NF_NETDEV_EGRESS) => (start, Direction::Egress),
        (NFPROTO_NETDEV, _) => (start, Direction::Ingress),
        (_, NF_INET_LOCAL_OUT | NF_INET_POST_ROUTING) => (start, Direction::Egress),
        _ => (start, Direction::Ingress),
    }
}

/// The devices that a packet logged at this hook came and goes by. Of IP's hooks, two are for a host's own packets alone;
/// at postrouting, kernels before 5.7 say no input device of forwarded ones either.
pub fn devices(logged: &Logged<'_>) -> (u32, u32) {
    match logged.hook {
        NF_INET_LOCAL_IN if is_ip(logged.family) => (logged.input, LOCAL),
        NF_INET_LOCAL_OUT if is_ip(logged.family) => (LOCAL, logged.output),
        _ => (logged.input, logged.output),
    }
}

/// Whether hooks have IP's numbers and meanings in this family: a bridge's are others, though they have the same names.
fn is_ip(family: u8) -> bool {
    [NFPROTO_IPV4, NFPROTO_IPV6].contains(&family)
}

/// `struct nfulnl_msg_packet_timestamp`: seconds and microseconds, 64 bits each.
#[inline]
pub(super) fn timestamp(bytes: &[u8]) -> Option<Timestamp> {
    let seconds = i64::from_be_bytes(*bytes.first_chunk()?);
    let microseconds = u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
    Some(Timestamp::from_parts(seconds, microseconds.saturating_mul(1000)))
}

/// A string without the NUL at its end.
#[inline]
pub fn unterminated(string: &[u8]) -> &[u8] {
    string.strip_suffix(&[0]).unwrap_or(string)
}

#[inline]
pub(super) fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

pub(super) fn vlan_id(nested: &[u8]) -> u16 {
    attributes(nested)
        .find_map(|(kind, tci)| match (kind, tci) {
            (NFULA_VLAN_TCI, &[high, low, ..]) => Some(u16::from_be_bytes([high, low]) & 0x0fff),
            _ => None,
        })
        .unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An attribute in the host's byte order, padded.
    pub fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((ATTRIBUTE_HEADER + payload.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((MESSAGE_HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    /// Of an IPv4 packet logged at this hook, with the kind of device and the header that it says; and mark 5.
    fn beside(family: u8, hook: u8, hardware: u8, header: &[u8]) -> Vec<u8> {
        let attributes = [(1, &[8, 0, hook, 0][..]), (2, &[0, 0, 0, 5]), (15, &[0, hardware]), (16, header)];
        [family, 0, 0, 5].into_iter().chain(attributes.into_iter().flat_map(|it| attribute(it.0, it.1))).collect()
    }

    #[test]
    fn only_an_ethernet_header_counts_as_one() {
        let plain = [2, 0, 0, 0, 0, 0xd, 2, 0, 0, 0, 0, 0x5, 8, 0];
        let tagged = [2, 0, 0, 0, 0, 0xd, 2, 0, 0, 0, 0, 0x5, 0x81, 0];
        let length = |family, hook, hardware, header: &[u8]| {
            let body = beside(family, hook, hardware, header);
            let beside = Beside::parse(&body);
            assert_eq!((beside.mark, beside.hook), (5, hook));
            beside.ethernet_header.len()
        };
        assert_eq!((length(2, 0, 1, &plain), length(5, 0, 1, &tagged), length(10, 2, 1, &plain)), (14, 14, 14));
        let other = [2, 0, 0, 0, 0, 0xd, 2, 0, 0, 0, 0, 0x5, 0x86, 0xdd];
        assert_eq!((length(2, 0, 1, &other), length(2, 0, 1, &plain[..13]), length(2, 0, 1, &[])), (0, 0, 0));
        assert_eq!(length(2, 0, 254, &plain), 0, "not of Ethernet");
        // from 8.0.17.34, by a tunnel, whose header is IP's own
        let ip = [0x45, 0, 0, 32, 0xbe, 0xef, 0, 0, 0x3f, 17, 0x99, 0x6d, 8, 0, 17, 34];
        assert_eq!(length(2, 4, 1, &ip), 0, "what goes out came with another device's header");
    }

    #[test]
    fn an_owner_is_one_where_packets_go_out_and_a_bridge_has_none() {
        use Provenance::{Bridge, Process, Unknown};
        let (uid, gid) = ((11, [0, 0, 3, 0xe8]), (14, [0, 0, 0, 100]));
        let (input, output) = ((6, [0, 0, 0, 7]), (7, [0, 0, 0, 8]));
        let owner = Process { uid: 1000, gid: 100 };
        for (family, hook, attributes, expected) in [
            (2, NF_INET_LOCAL_OUT, &[uid, gid][..], owner),
            (10, NF_INET_POST_ROUTING, &[uid, gid], owner),
            (2, NF_INET_LOCAL_OUT, &[(11, [0; 4]), (14, [0; 4])], Process { uid: 0, gid: 0 }),
            (2, NF_INET_LOCAL_OUT, &[], Unknown),
            (2, NF_INET_LOCAL_OUT, &[uid], Unknown),
            (2, 0, &[uid, gid], Unknown),
            (2, NF_INET_LOCAL_IN, &[uid, gid], Unknown),
            (5, 0, &[uid, gid], Unknown),
            (7, NF_INET_POST_ROUTING, &[uid, gid], Unknown),
            (2, NF_INET_POST_ROUTING, &[uid, gid, input, output], Bridge { input: 7, output: 8 }),
            (7, 0, &[input], Bridge { input: 7, output: 0 }),
            (7, 3, &[output], Bridge { input: 0, output: 8 }),
        ] {
            let mut body = vec![family, 0, 0, 5];
            body.extend(attribute(1, &[8, 0, hook, 0]));
            attributes.iter().for_each(|(kind, content)| body.extend(attribute(*kind, content)));
            assert_eq!(Beside::parse(&body).provenance, expected, "family {family}, hook {hook}, {attributes:?}");
        }
    }

    #[test]
    fn a_packet_with_every_attribute() {
        let vlan = [attribute(1, &[0x81, 0x00]), attribute(2, &[0x60, 0x2a])].concat();
        let body = [
            vec![2, 0, 0, 5],
            attribute(1, &[0x08, 0x00, 2, 0]),
            attribute(3, &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9]),
            attribute(4, &[0, 0, 0, 11]),
            attribute(5, &[0, 0, 0, 12]),
            attribute(9, &[0x45, 0xff, 0xff]),
            attribute(10, b"from here\0"),
            attribute(12, &[0, 0, 0, 13]),
            attribute(20 | 0x8000, &vlan),
            attribute(21, &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00]),
            attribute(99, &[1, 2, 3]),
        ]
        .concat();
        let datagram = [message(PACKET, &body), message(ERROR, &(-libc::EPERM).to_ne_bytes())].concat();
        let all: Vec<_> = messages(&datagram).collect();
        assert_eq!((all.len(), all[0].kind, all[1].kind), (2, PACKET, ERROR));
        assert_eq!(all[1].errno(), Some(libc::EPERM));
        let logged = Logged::parse(all[0].body);
        let expected = Logged {
            family: 2,
            hook: 2,
            hw_protocol: 0x0800,
            sequence: Some(13),
            time: Some(Timestamp::from_nanos(7_000_009_000)),
            input: 11,
            output: 12,
            vlan: 42,
            has_link_header: true,
            prefix: b"from here",
            payload: &[0x45, 0xff, 0xff],
        };
        assert_eq!(logged, expected);
    }

    #[test]
    fn where_the_payload_starts_and_goes() {
        use Direction::{Egress, Ingress};
        let network = Start::EtherType(0x86dd);
        for (family, hook, has_link_header, expected) in [
            (5, 0, true, (network, Ingress)),
            (5, 1, true, (Start::Ethernet, Egress)),
            (5, 1, false, (network, Egress)), // a tunnel's device
            (7, 2, true, (network, Ingress)),
            (2, 0, false, (network, Ingress)),
            (2, 1, false, (network, Ingress)),
            (10, 2, false, (network, Ingress)),
            (10, 3, false, (network, Egress)),
            (2, 4, false, (network, Egress)),
            (2, 5, false, (network, Ingress)),
        ] {
            let logged = Logged { family, hook, has_link_header, hw_protocol: 0x86dd, ..Logged::default() };
            assert_eq!(seen_at(&logged), expected, "family {family}, hook {hook}");
        }
        assert_eq!(seen_at(&Logged { family: 2, hook: 3, ..Logged::default() }), (Start::Ip, Egress));
    }

    proptest! {
        #[test]
        fn nothing_panics_or_runs_on(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(messages(&bytes).count() <= bytes.len() / ALIGNMENT + 1);
            for message in messages(&bytes) {
                Logged::parse(message.body);
            }
            Logged::parse(&bytes);
        }
    }
}
