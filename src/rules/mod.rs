//! Rules that nfweir loads by itself: an nftables table of its own, over netlink, without the program nft.
//!
//! The formats are those of `linux/netfilter/nf_tables.h`. Numbers within attributes are big-endian.

mod uapi;

use crate::netlink::{self, Attributes, Request};
use nix::sys::socket::SockProtocol;
use std::io;
use std::os::fd::OwnedFd;
use uapi::*;

/// Interface names are compared whole, with their padding (`IFNAMSIZ`).
const IFNAMSIZ: usize = 16;

/// Why a table could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error(
    "the kernel did not take the nftables table `{table}` ({error}): load nf_tables, nft_log and nft_counter, and run as root"
)]
pub struct RuleError {
    table: String,
    error: io::Error,
}

/// Where a chain is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// All that comes in, before routing.
    Prerouting = 0,
    /// All that goes out, after routing.
    Postrouting = 4,
}

/// A part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// The packet came in by this interface.
    InputInterface(String),
    /// The packet goes out by this interface.
    OutputInterface(String),
    /// Log to an NFLOG group.
    Log {
        /// The group.
        group: u16,
        /// Octets of each packet.
        snaplen: u32,
    },
}

/// A chain with one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where it is called.
    pub hook: Hook,
    /// In which order among the chains there: lower is earlier.
    pub priority: i32,
    /// Its rule.
    pub rule: Vec<Expression>,
}

/// A table that is there as long as this value.
#[derive(Debug)]
pub struct OwnTable {
    _socket: OwnedFd,
}

impl OwnTable {
    /// Loads a table, all or nothing. Needs CAP_NET_ADMIN.
    pub fn load(name: &str, chains: &[Chain]) -> Result<Self, RuleError> {
        let load = || {
            let (socket, _) = netlink::open(SockProtocol::NetlinkNetFilter)?;
            transaction(name, chains).send(&socket, |_| ())?;
            Ok(Self { _socket: socket })
        };
        load().map_err(|error| RuleError { table: name.to_owned(), error })
    }
}

/// A batch that makes the table.
fn transaction(table: &str, chains: &[Chain]) -> Request {
    let subsystem = libc::NFNL_SUBSYS_NFTABLES as u16;
    let kind = |message: i32| subsystem << 8 | message as u16;
    // struct nfgenmsg: family, version, resource id
    let [high, low] = subsystem.to_be_bytes();
    let batch = [0, 0, high, low];
    let inet = [NFPROTO_INET, 0, 0, 0];
    let create = libc::NLM_F_CREATE | libc::NLM_F_ACK;
    let mut request = Request::default();
    request.add(libc::NFNL_MSG_BATCH_BEGIN as u16, 0, &batch, |_| ());
    request.add(kind(libc::NFT_MSG_NEWTABLE), create | libc::NLM_F_EXCL, &inet, |attributes| {
        attributes.put_str(NFTA_TABLE_NAME, table);
        attributes.put(NFTA_TABLE_FLAGS, &NFT_TABLE_F_OWNER.to_be_bytes());
    });
    for chain in chains {
        request.add(kind(libc::NFT_MSG_NEWCHAIN), create, &inet, |attributes| {
            attributes.put_str(NFTA_CHAIN_TABLE, table);
            attributes.put_str(NFTA_CHAIN_NAME, &chain.name);
            attributes.put_str(NFTA_CHAIN_TYPE, "filter");
            attributes.nest(NFTA_CHAIN_HOOK, &[], |hook| {
                hook.put(NFTA_HOOK_HOOKNUM, &(chain.hook as u32).to_be_bytes());
                hook.put(NFTA_HOOK_PRIORITY, &chain.priority.to_be_bytes());
            });
        });
        request.add(kind(libc::NFT_MSG_NEWRULE), create | libc::NLM_F_APPEND, &inet, |attributes| {
            attributes.put_str(NFTA_RULE_TABLE, table);
            attributes.put_str(NFTA_RULE_CHAIN, &chain.name);
            attributes.nest(NFTA_RULE_EXPRESSIONS, &[], |list| {
                chain.rule.iter().for_each(|expression| expression.write(list));
            });
        });
    }
    request.add(libc::NFNL_MSG_BATCH_END as u16, 0, &batch, |_| ());
    request
}

impl Expression {
    fn write(&self, list: &mut Attributes<'_>) {
        match self {
            Self::InputInterface(name) => match_interface(list, NFT_META_IIFNAME, name),
            Self::OutputInterface(name) => match_interface(list, NFT_META_OIFNAME, name),
            Self::Log { group, snaplen } => element(list, "log", |log| {
                log.put(NFTA_LOG_GROUP, &group.to_be_bytes());
                log.put(NFTA_LOG_SNAPLEN, &snaplen.to_be_bytes());
            }),
        }
    }
}

/// Loads an interface's name into a register, and compares it.
fn match_interface(list: &mut Attributes<'_>, key: u32, name: &str) {
    element(list, "meta", |meta| {
        meta.put(NFTA_META_KEY, &key.to_be_bytes());
        meta.put(NFTA_META_DREG, &NFT_REG_1.to_be_bytes());
    });
    let mut padded = [0; IFNAMSIZ];
    let length = name.len().min(IFNAMSIZ - 1);
    padded[..length].copy_from_slice(&name.as_bytes()[..length]);
    element(list, "cmp", |cmp| {
        cmp.put(NFTA_CMP_SREG, &NFT_REG_1.to_be_bytes());
        cmp.put(NFTA_CMP_OP, &NFT_CMP_EQ.to_be_bytes());
        cmp.nest(NFTA_CMP_DATA, &[], |data| data.put(NFTA_DATA_VALUE, &padded));
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

    #[test]
    #[cfg(target_endian = "little")]
    fn a_log_expression_is_these_bytes() {
        let mut request = Request::default();
        request.add(0, 0, &[], |list| Expression::Log { group: 258, snaplen: 128 }.write(list));
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
