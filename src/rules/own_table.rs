//! A table that the probe loads by itself, over netlink, without the program nft.
//!
//! The kernel removes it when the socket that made it is closed, however the process ends (`NFT_TABLE_F_OWNER`, Linux 5.12).
//! An older kernel is asked to remove it at the end, and before it is made again.

use super::uapi::*;
use super::{Chain, Family, Hook, Table};
use crate::netlink::{self, Request};
use nix::sys::socket::SockProtocol;
use std::io;
use std::os::fd::OwnedFd;

/// Why a table could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("the kernel did not take the nftables table `{table}`: {reason}")]
pub struct RuleError {
    table: String,
    reason: String,
}

/// A table that is there as long as this value.
#[derive(Debug)]
pub struct OwnTable {
    socket: OwnedFd,
    name: String,
    family: u8,
    /// Whether the kernel does not remove it by itself.
    stays: bool,
}

impl OwnTable {
    /// Loads a table under this name, all or nothing. Needs CAP_NET_ADMIN.
    pub fn load(name: &str, table: &Table) -> Result<Self, RuleError> {
        let made = match Self::make(name, table, NFT_TABLE_F_OWNER) {
            // a kernel that does not know the flag
            Err(error) if [Some(libc::EINVAL), Some(libc::EOPNOTSUPP)].contains(&error.raw_os_error()) => {
                Self::make(name, table, 0)
            }
            made => made,
        };
        made.map_err(|error| RuleError { table: name.to_owned(), reason: reason(&error) })
    }

    /// With or without the flag. Without it, what an earlier one left is removed.
    fn make(name: &str, table: &Table, flags: u32) -> io::Result<Self> {
        let family = match table.family {
            Family::Inet => NFPROTO_INET,
            Family::Netdev => NFPROTO_NETDEV,
        };
        let (socket, _) = netlink::open(SockProtocol::NetlinkNetFilter)?;
        let own = Self { socket, name: name.to_owned(), family, stays: flags == 0 };
        if own.stays {
            own.remove();
        }
        own.transaction(table, flags).send(&own.socket, |_| ())?;
        Ok(own)
    }

    /// Exchanges the rules of its chains, all at once: no packet meets the old ones in part. Another plan for the same devices
    /// and groups has the same chains.
    pub fn replace_rules(&self, table: &Table) -> Result<(), RuleError> {
        let request = self.batch(|request| {
            for chain in &table.chains {
                let header = [self.family, 0, 0, 0];
                // without a handle: all of them
                request.add(kind(libc::NFT_MSG_DELRULE), libc::NLM_F_ACK, &header, |attributes| {
                    attributes.put_str(NFTA_RULE_TABLE, &self.name);
                    attributes.put_str(NFTA_RULE_CHAIN, chain.name);
                });
            }
            table.chains.iter().for_each(|chain| self.add_rules(request, chain));
        });
        request
            .send(&self.socket, |_| ())
            .map_err(|error| RuleError { table: self.name.clone(), reason: reason(&error) })
    }

    /// A batch that makes the table. Each message asks for an answer, as any may be what the kernel refuses.
    fn transaction(&self, table: &Table, flags: u32) -> Request {
        let create = libc::NLM_F_CREATE;
        let header = [self.family, 0, 0, 0];
        self.batch(|request| {
            let kind = kind(libc::NFT_MSG_NEWTABLE);
            request.add(kind, create | libc::NLM_F_ACK | libc::NLM_F_EXCL, &header, |attributes| {
                attributes.put_str(NFTA_TABLE_NAME, &self.name);
                attributes.put(NFTA_TABLE_FLAGS, &flags.to_be_bytes());
            });
            // all chains before the rules that go to them
            table.chains.iter().for_each(|chain| self.add_chain(request, chain, table.priority as i32));
            table.chains.iter().for_each(|chain| self.add_rules(request, chain));
        })
    }

    fn add_chain(&self, request: &mut Request, chain: &Chain, priority: i32) {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_ACK;
        request.add(kind(libc::NFT_MSG_NEWCHAIN), flags, &[self.family, 0, 0, 0], |attributes| {
            attributes.put_str(NFTA_CHAIN_TABLE, &self.name);
            attributes.put_str(NFTA_CHAIN_NAME, chain.name);
            let Some(hook) = &chain.hook else { return };
            attributes.put_str(NFTA_CHAIN_TYPE, "filter");
            attributes.nest(NFTA_CHAIN_HOOK, &[], |attributes| {
                attributes.put(NFTA_HOOK_HOOKNUM, &number(hook).to_be_bytes());
                attributes.put(NFTA_HOOK_PRIORITY, &priority.to_be_bytes());
                if let Hook::Ingress(devices) = hook {
                    attributes.nest(NFTA_HOOK_DEVS, &[], |list| {
                        devices.iter().for_each(|device| list.put_str(NFTA_DEVICE_NAME, device));
                    });
                }
            });
        });
    }

    fn add_rules(&self, request: &mut Request, chain: &Chain) {
        for rule in &chain.rules {
            let flags = libc::NLM_F_CREATE | libc::NLM_F_APPEND | libc::NLM_F_ACK;
            request.add(kind(libc::NFT_MSG_NEWRULE), flags, &[self.family, 0, 0, 0], |attributes| {
                attributes.put_str(NFTA_RULE_TABLE, &self.name);
                attributes.put_str(NFTA_RULE_CHAIN, chain.name);
                attributes.nest(NFTA_RULE_EXPRESSIONS, &[], |list| {
                    rule.expressions.iter().for_each(|expression| expression.write(list));
                });
            });
        }
    }

    /// Removes the table, if it is there.
    fn remove(&self) {
        let request = self.batch(|request| {
            let header = [self.family, 0, 0, 0];
            request.add(kind(libc::NFT_MSG_DELTABLE), libc::NLM_F_ACK, &header, |attributes| {
                attributes.put_str(NFTA_TABLE_NAME, &self.name);
            });
        });
        if let Err(error) = request.send(&self.socket, |_| ())
            && error.raw_os_error() != Some(libc::ENOENT)
        {
            log::warn!("the nftables table `{}` could not be removed ({error}): remove it by nft", self.name);
        }
    }

    fn batch(&self, content: impl FnOnce(&mut Request)) -> Request {
        // struct nfgenmsg: family, version, resource id
        let [high, low] = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
        let header = [0, 0, high, low];
        let mut request = Request::default();
        request.add(libc::NFNL_MSG_BATCH_BEGIN as u16, 0, &header, |_| ());
        content(&mut request);
        request.add(libc::NFNL_MSG_BATCH_END as u16, 0, &header, |_| ());
        request
    }
}

impl Drop for OwnTable {
    fn drop(&mut self) {
        if self.stays {
            self.remove();
        }
    }
}

fn kind(message: i32) -> u16 {
    (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | message as u16
}

/// A hook's number in its family.
fn number(hook: &Hook) -> u32 {
    match hook {
        Hook::Ingress(_) | Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

/// What the operator can do about it.
fn reason(error: &io::Error) -> String {
    let mend = match error.raw_os_error() {
        Some(libc::EEXIST | libc::EPERM) => {
            "another probe's table has this name, or CAP_NET_ADMIN is missing: choose another group with -g, or run as root"
        }
        Some(libc::ENODEV) => "there is no such device: see `ip link`",
        _ => "load nf_tables, nft_log, nft_numgen and nft_hash, and run as root",
    };
    format!("{error}: {mend}")
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Devices, Leaving, Plan};
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use std::process::Command;
    use std::thread;

    fn tables() -> String {
        String::from_utf8(Command::new("nft").args(["list", "tables"]).output().expect("nft").stdout).unwrap()
    }

    /// As on kernels before 5.12: what a killed probe has left goes when the next starts, and at its end.
    #[test]
    fn without_an_owner_it_is_removed() {
        let plan = Plan {
            devices: Devices::Any,
            leaving: Leaving::Postrouting,
            sample: 1,
            groups: (5, 1),
            snaplen: 128,
            exclusions: Vec::new(),
            exports: Vec::new(),
        };
        let inside = move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: this test needs root");
            let left = OwnTable::make("nfweir_5", &plan.table(), 0).unwrap();
            assert_eq!(tables(), "table inet nfweir_5\n");
            std::mem::forget(left);
            let own = OwnTable::make("nfweir_5", &plan.table(), 0).unwrap();
            assert_eq!(tables(), "table inet nfweir_5\n");
            drop(own);
            assert_eq!(tables(), "");
        };
        thread::spawn(inside).join().unwrap();
    }
}
