//! What NFLOG says of a packet's connection beside the packet, where the group was told to (`NFULNL_CFG_F_CONNTRACK`).
//!
//! `NFULA_CT` has the attributes of an answer of ctnetlink, `NFULA_CT_INFO` which packet of the connection it is
//! (`net/netfilter/nf_conntrack_netlink.c`, `ctnetlink_glue_build`). It is told at the rule: there a connection's first packet
//! has none before priority -200, and its NAT is decided only at the hooks for that.

use super::message::{self, protocol};
use super::{Connection, has_ports};
use crate::flow::{Ends, FlowKey, Tracked};
use etherparse::IpNumber;

/// Enum `ip_conntrack_info`.
const IP_CT_RELATED: u32 = 1;
const IP_CT_ESTABLISHED_REPLY: u32 = 3;
const IP_CT_RELATED_REPLY: u32 = 4;
/// Enum `ip_conntrack_status`. Of what is confirmed, NAT is decided; of what is not, where both ends are done. A template
/// (`ct zone set`, `ct helper set`) is no connection.
const IPS_CONFIRMED: u32 = 1 << 3;
const IPS_NAT_DONE: u32 = 1 << 7 | 1 << 8;
const IPS_TEMPLATE: u32 = 1 << 11;

/// What a packet's message says of its connection: the content of its `NFULA_CT` and `NFULA_CT_INFO`. Unknown where it says
/// nothing, where NAT is not decided yet, of an error of ICMP, which is about another's connection, and of a later fragment,
/// whose flow may be of several.
pub fn told(attributes: &[u8], info: u32, key: &FlowKey) -> Tracked {
    if attributes.is_empty() || info > IP_CT_RELATED_REPLY || !is_of_one(info, key) {
        return Tracked::default();
    }
    match message::connection(attributes) {
        Some((connection, status)) if is_decided(status) && protocol(attributes) == Some(key.protocol) => {
            tracked(&connection, info >= IP_CT_ESTABLISHED_REPLY, key)
        }
        _ => Tracked::default(),
    }
}

/// Whether the flow of the packet has one connection, and the packet is its own.
fn is_of_one(info: u32, key: &FlowKey) -> bool {
    match IpNumber(key.protocol) {
        IpNumber::ICMP | IpNumber::IPV6_ICMP => ![IP_CT_RELATED, IP_CT_RELATED_REPLY].contains(&info),
        protocol => !has_ports(protocol) || (key.source_port, key.destination_port) != (0, 0),
    }
}

fn is_decided(status: u32) -> bool {
    status & IPS_TEMPLATE == 0 && (status & IPS_CONFIRMED != 0 || status & IPS_NAT_DONE == IPS_NAT_DONE)
}

/// Where a key has no ports, what stands for them is as before: ICMP's type and code.
fn tracked(connection: &Connection, is_reply: bool, key: &FlowKey) -> Tracked {
    let mut after_nat = if is_reply { connection.original.swapped() } else { connection.reply.swapped() };
    if !has_ports(IpNumber(key.protocol)) {
        let Ends { source_port, destination_port, .. } = key.ends();
        (after_nat.source_port, after_nat.destination_port) = (source_port, destination_port);
    }
    Tracked { id: connection.id, is_reply, after_nat }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;
    use crate::conntrack::message::tests::octets;
    use crate::conntrack::tests::ends;
    use crate::flow::tests::record;
    use proptest::prelude::*;

    /// A client behind NAT that speaks to what is NATed too: the content of `NFULA_CT` of a UDP packet.
    fn both_ends_changed(status: u32) -> Vec<u8> {
        octets(&format!(
            "
            3400 0180                             # CTA_TUPLE_ORIG
            1400 0180 0800 0100 0a010001 0800 0200 c0000201
            1c00 0280 0500 0100 11 000000 0600 0200 1388 0000 0600 0300 1f90 0000
            3400 0280                             # CTA_TUPLE_REPLY
            1400 0180 0800 0100 0a020001 0800 0200 0a020002
            1c00 0280 0500 0100 11 000000 0600 0200 0050 0000 0600 0300 4e20 0000
            0800 0c00 1d8914fa                    # CTA_ID
            0800 0300 {status:08x}                # CTA_STATUS
            0800 0700 0000001e                    # CTA_TIMEOUT: 30 s
            "
        ))
    }

    /// IPv4's echo, of which NAT changes the source.
    fn ping() -> Vec<u8> {
        octets(
            "
            3c00 0180 1400 0180 0800 0100 0a010001 0800 0200 0a020001
            2400 0280 0500 0100 01 000000         # CTA_PROTO_NUM: ICMP
            0600 0400 0007 0000 0500 0500 08 000000 0500 0600 00 000000  # CTA_PROTO_ICMP_ID, _TYPE, _CODE
            3c00 0280 1400 0180 0800 0100 0a020001 0800 0200 0a020002
            2400 0280 0500 0100 01 000000 0600 0400 0007 0000 0500 0500 00 000000 0500 0600 00 000000
            0800 0c00 00000005 0800 0300 00000188
            ",
        )
    }

    fn key(protocol: u8, source_port: u16, destination_port: u16) -> FlowKey {
        FlowKey { protocol, source_port, destination_port, ..record().key }
    }

    #[test]
    fn the_packet_says_which_direction_it_is_of() {
        let (confirmed, udp) = (both_ends_changed(0x1be), key(17, 5000, 80));
        let out = ends([10, 2, 0, 2], 20_000, [10, 2, 0, 1], 80);
        let back = ends([192, 0, 2, 1], 8080, [10, 1, 0, 1], 5000);
        // whatever ends it has where it is logged: at hook forward, neither those before NAT nor those behind it
        for (info, is_reply, after_nat) in
            [(2, false, out), (0, false, out), (1, false, out), (3, true, back), (4, true, back)]
        {
            assert_eq!(told(&confirmed, info, &udp), Tracked { id: 0x1d89_14fa, is_reply, after_nat }, "{info}");
        }
        assert!(!told(&confirmed, 7, &udp).is_known(), "untracked");
        assert!(!told(&confirmed, 0, &key(6, 5000, 80)).is_known(), "another protocol's");
        assert!(!told(&confirmed, 0, &key(17, 0, 0)).is_known(), "a later fragment");
        assert!(!told(&[], 0, &udp).is_known());
    }

    #[test]
    fn only_nat_that_is_decided_counts() {
        let known = |status| told(&both_ends_changed(status), 2, &key(17, 5000, 80)).is_known();
        assert!(!known(0), "at prerouting raw");
        assert!(!known(1 << 8), "at forward: the source is not");
        assert!(known(1 << 7 | 1 << 8), "behind postrouting's NAT, where the first packet is not confirmed yet");
        assert!(known(1 << 3), "without NAT");
        assert!(!known(1 << 3 | 1 << 11), "a template");
    }

    #[test]
    fn icmp_keeps_type_and_code() {
        let echo = key(1, 0, 8 << 8);
        let tracked = told(&ping(), 2, &echo);
        assert_eq!((tracked.id, tracked.is_reply), (5, false));
        assert_eq!(tracked.after_nat, ends([10, 2, 0, 2], 0, [10, 2, 0, 1], 8 << 8));
        let answer = told(&ping(), 3, &key(1, 0, 0));
        assert_eq!((answer.is_reply, answer.after_nat), (true, ends([10, 2, 0, 1], 0, [10, 1, 0, 1], 0)));
        for info in [1, 4] {
            assert!(!told(&ping(), info, &key(1, 0, 3 << 8)).is_known(), "an error about it");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_there_nothing_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in 0..200_usize,
            length in 0..200_usize,
            info: u32,
        ) {
            let mut wrong = both_ends_changed(8);
            wrong.truncate(length);
            let end = wrong.len().min(at + bytes.len() / 16);
            if at < end {
                wrong[at..end].copy_from_slice(&bytes[..end - at]);
            }
            for attributes in [&bytes, &wrong] {
                let _ = told(attributes, info % 8, &key(17, 5000, 80));
                let _ = told(attributes, info, &key(1, 0, 0));
            }
        }
    }
}
