//! Expressions as nf_tables takes them: each part of a rule loads something into a register and compares it.
//!
//! The formats are those of `linux/netfilter/nf_tables.h`. Numbers within attributes are big-endian.

use super::expression::{End, Expression, Prefix, Side, Tag};
use super::uapi::*;
use crate::netlink::Attributes;
use std::net::IpAddr;

/// Interface names are compared whole, with their padding (`IFNAMSIZ`).
const IFNAMSIZ: usize = 16;
/// Octets of the Ethernet header up to its type field, where a VLAN tag has its own.
const ETHERTYPE: u32 = 12;
/// The bits of a tag that are the VLAN id.
const VLAN_ID: u16 = 0x0fff;

impl Expression {
    /// Adds it to a rule's list.
    pub fn write(&self, list: &mut Attributes<'_>) {
        match self {
            Self::Interface(Side::Input, name) => interface(list, NFT_META_IIFNAME, name),
            Self::Interface(Side::Output, name) => interface(list, NFT_META_OIFNAME, name),
            Self::NoInput => {
                load_meta(list, NFT_META_IIF);
                compare(list, NFT_CMP_EQ, &0_u32.to_ne_bytes());
            }
            Self::FromHere => from_here(list),
            Self::Protocol(protocol) => {
                load_meta(list, NFT_META_L4PROTO);
                compare(list, NFT_CMP_EQ, &[*protocol]);
            }
            Self::Port(end, ports) => {
                load(list, NFT_PAYLOAD_TRANSPORT_HEADER, if *end == End::Source { 0 } else { 2 }, 2);
                compare(list, NFT_CMP_GTE, &ports.start().to_be_bytes());
                compare(list, NFT_CMP_LTE, &ports.end().to_be_bytes());
            }
            Self::Address(end, prefix) => address(list, *end, prefix),
            Self::Vlan(tag, id) => vlan(list, *tag, *id),
            Self::OneIn(n) => chance(list, *n),
            Self::Share { number, of } => share(list, *number, *of),
            Self::Log { group, snaplen, prefix } => element(list, "log", |log| {
                log.put(NFTA_LOG_GROUP, &group.to_be_bytes());
                if !prefix.is_empty() {
                    log.put_str(NFTA_LOG_PREFIX, prefix);
                }
                log.put(NFTA_LOG_SNAPLEN, &snaplen.to_be_bytes());
            }),
            Self::Goto(chain) => verdict(list, NFT_GOTO, Some(chain)),
            Self::Return => verdict(list, NFT_RETURN, None),
            Self::Drop => verdict(list, NF_DROP, None),
        }
    }
}

fn interface(list: &mut Attributes<'_>, key: u32, name: &str) {
    let mut padded = [0; IFNAMSIZ];
    let length = name.len().min(IFNAMSIZ - 1);
    padded[..length].copy_from_slice(&name.as_bytes()[..length]);
    load_meta(list, key);
    compare(list, NFT_CMP_EQ, &padded);
}

fn address(list: &mut Attributes<'_>, end: End, prefix: &Prefix) {
    let (version, [source, destination], octets) = match prefix.address {
        IpAddr::V4(address) => (4_u8, [12, 16], address.octets().to_vec()),
        IpAddr::V6(address) => (6, [8, 24], address.octets().to_vec()),
    };
    // the version, which of frames too the header itself tells
    load(list, NFT_PAYLOAD_NETWORK_HEADER, 0, 1);
    keep(list, &[0xf0]);
    compare(list, NFT_CMP_EQ, &[version << 4]);
    let offset = if end == End::Source { source } else { destination };
    load(list, NFT_PAYLOAD_NETWORK_HEADER, offset, octets.len() as u32);
    let common = |octet: usize| usize::from(prefix.length).saturating_sub(8 * octet).min(8);
    let mask: Vec<u8> = (0..octets.len()).map(|octet| !(0xff_u32 >> common(octet)) as u8).collect();
    keep(list, &mask);
    let beginning: Vec<u8> = octets.iter().zip(&mask).map(|(octet, mask)| octet & mask).collect();
    compare(list, NFT_CMP_EQ, &beginning);
}

/// The kernel shows the tag in its place also where the device has taken it off.
fn vlan(list: &mut Attributes<'_>, tag: Tag, id: u16) {
    load(list, NFT_PAYLOAD_LL_HEADER, ETHERTYPE, 2);
    compare(list, NFT_CMP_EQ, &(tag as u16).to_be_bytes());
    load(list, NFT_PAYLOAD_LL_HEADER, ETHERTYPE + 2, 2);
    keep(list, &VLAN_ID.to_be_bytes());
    compare(list, NFT_CMP_EQ, &id.to_be_bytes());
}

fn from_here(list: &mut Attributes<'_>) {
    element(list, "fib", |fib| {
        fib.put(NFTA_FIB_DREG, &NFT_REG_1.to_be_bytes());
        fib.put(NFTA_FIB_RESULT, &NFT_FIB_RESULT_ADDRTYPE.to_be_bytes());
        fib.put(NFTA_FIB_FLAGS, &NFTA_FIB_F_SADDR.to_be_bytes());
    });
    compare(list, NFT_CMP_EQ, &u32::from(libc::RTN_LOCAL).to_ne_bytes());
}

fn chance(list: &mut Attributes<'_>, n: u32) {
    element(list, "numgen", |numgen| {
        numgen.put(NFTA_NG_DREG, &NFT_REG_1.to_be_bytes());
        numgen.put(NFTA_NG_MODULUS, &n.to_be_bytes());
        numgen.put(NFTA_NG_TYPE, &NFT_NG_RANDOM.to_be_bytes());
    });
    // what the kernel generates is in its own byte order
    compare(list, NFT_CMP_EQ, &0_u32.to_ne_bytes());
}

fn share(list: &mut Attributes<'_>, number: u16, of: u16) {
    element(list, "hash", |hash| {
        hash.put(NFTA_HASH_DREG, &NFT_REG_1.to_be_bytes());
        hash.put(NFTA_HASH_MODULUS, &u32::from(of).to_be_bytes());
        hash.put(NFTA_HASH_TYPE, &NFT_HASH_SYM.to_be_bytes());
    });
    compare(list, NFT_CMP_EQ, &u32::from(number).to_ne_bytes());
}

fn verdict(list: &mut Attributes<'_>, code: i32, chain: Option<&str>) {
    element(list, "immediate", |immediate| {
        immediate.put(NFTA_IMMEDIATE_DREG, &NFT_REG_VERDICT.to_be_bytes());
        immediate.nest(NFTA_IMMEDIATE_DATA, &[], |data| {
            data.nest(NFTA_DATA_VERDICT, &[], |verdict| {
                verdict.put(NFTA_VERDICT_CODE, &code.to_be_bytes());
                chain.into_iter().for_each(|chain| verdict.put_str(NFTA_VERDICT_CHAIN, chain));
            });
        });
    });
}

/// Loads what the kernel knows of a packet.
fn load_meta(list: &mut Attributes<'_>, key: u32) {
    element(list, "meta", |meta| {
        meta.put(NFTA_META_KEY, &key.to_be_bytes());
        meta.put(NFTA_META_DREG, &NFT_REG_1.to_be_bytes());
    });
}

/// Loads octets of one of its headers.
fn load(list: &mut Attributes<'_>, header: u32, offset: u32, length: u32) {
    element(list, "payload", |payload| {
        payload.put(NFTA_PAYLOAD_DREG, &NFT_REG_1.to_be_bytes());
        payload.put(NFTA_PAYLOAD_BASE, &header.to_be_bytes());
        payload.put(NFTA_PAYLOAD_OFFSET, &offset.to_be_bytes());
        payload.put(NFTA_PAYLOAD_LEN, &length.to_be_bytes());
    });
}

/// Keeps these bits of what was loaded.
fn keep(list: &mut Attributes<'_>, mask: &[u8]) {
    element(list, "bitwise", |bitwise| {
        bitwise.put(NFTA_BITWISE_SREG, &NFT_REG_1.to_be_bytes());
        bitwise.put(NFTA_BITWISE_DREG, &NFT_REG_1.to_be_bytes());
        bitwise.put(NFTA_BITWISE_LEN, &(mask.len() as u32).to_be_bytes());
        bitwise.nest(NFTA_BITWISE_MASK, &[], |data| data.put(NFTA_DATA_VALUE, mask));
        bitwise.nest(NFTA_BITWISE_XOR, &[], |data| data.put(NFTA_DATA_VALUE, &vec![0; mask.len()]));
    });
}

/// Compares what was loaded.
fn compare(list: &mut Attributes<'_>, how: u32, value: &[u8]) {
    element(list, "cmp", |cmp| {
        cmp.put(NFTA_CMP_SREG, &NFT_REG_1.to_be_bytes());
        cmp.put(NFTA_CMP_OP, &how.to_be_bytes());
        cmp.nest(NFTA_CMP_DATA, &[], |data| data.put(NFTA_DATA_VALUE, value));
    });
}

/// An expression in a rule's list.
fn element(list: &mut Attributes<'_>, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
    list.nest(NFTA_LIST_ELEM, &[], |expression| {
        expression.put_str(NFTA_EXPR_NAME, name);
        expression.nest(NFTA_EXPR_DATA, &[], data);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Request;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_log_expression_is_these_bytes() {
        let mut request = Request::default();
        request.add(0, 0, &[], |list| Expression::Log { group: 258, snaplen: 128, prefix: "" }.write(list));
        #[rustfmt::skip]
        let expected = [
            32, 0, 1, 0x80,                 // length 32, NFTA_LIST_ELEM, nested
            8, 0, 1, 0, b'l', b'o', b'g', 0, // length 8, NFTA_EXPR_NAME
            20, 0, 2, 0x80,                 // length 20, NFTA_EXPR_DATA, nested
            6, 0, 1, 0, 1, 2, 0, 0,         // length 6, NFTA_LOG_GROUP, padding
            8, 0, 3, 0, 0, 0, 0, 128,       // length 8, NFTA_LOG_SNAPLEN
        ];
        assert_eq!(&request.bytes()[16..], expected);
    }
}
