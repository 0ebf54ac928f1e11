//! What there is to know of the host, read at one go.

use super::devices::{self, Device};
use super::iptables::{self, Keeper};
use super::nft;
use super::program::{NoAnswer, ask};
use super::ruleset::Ruleset;
use super::trace::Trace;
use crate::capture::nflog;
use crate::capture::owner::{Owner, owner};
use crate::config::CaptureConfig;
use std::time::Instant;

/// What was read of the host.
#[derive(Debug, Default)]
pub struct Situation {
    /// Rules that log, and the ways to them.
    pub trace: Trace,
    /// Programs that did not tell of rules, and why.
    pub unread: Vec<(String, NoAnswer)>,
    /// Owners of the groups that have one.
    pub owners: Vec<(u16, Owner)>,
    /// The devices.
    pub devices: Vec<Device>,
    /// Octets of receive buffer that the kernel grants where so many are asked for as is configured.
    pub receive_buffer: Option<usize>,
}

impl Situation {
    /// Reads rules and devices. A program that has not answered by `deadline` is not waited for.
    pub fn read(deadline: Instant) -> Self {
        let (ruleset, unread) = rules(deadline);
        let devices = devices::list().unwrap_or_default();
        Self { trace: Trace::of(&ruleset), unread, devices, ..Self::default() }
    }

    /// Adds what a probe would meet that wants this.
    pub fn add_sockets(&mut self, wanted: &CaptureConfig) {
        self.owners = wanted.groups.iter().filter_map(|&group| Some((group, owner(group)?))).collect();
        self.receive_buffer = nflog::receive_buffer(wanted.receive_buffer).ok();
    }
}

/// The rules of nftables and of iptables.
fn rules(deadline: Instant) -> (Ruleset, Vec<(String, NoAnswer)>) {
    let mut ruleset = Ruleset::default();
    let mut unread = Vec::new();
    // without the elements of sets, which can be many
    let printed = ask("nft -j -t list ruleset", deadline);
    match printed.and_then(|json| nft::read(&json).map_err(|error| NoAnswer::Failed(error.to_string()))) {
        Ok(read) => ruleset = read,
        Err(why) => unread.push(("nft".to_owned(), why)),
    }
    for command in ["iptables", "ip6tables"] {
        match ask(&format!("{command}-save"), deadline) {
            Ok(printed) => add_iptables(&mut ruleset, command, &printed, deadline),
            Err(NoAnswer::Missing) => {}
            Err(why) => unread.push((format!("{command}-save"), why)),
        }
    }
    (ruleset, unread)
}

/// Adds what `command` has printed, and where that is not told by the kernel's older tables, what is in those.
fn add_iptables(ruleset: &mut Ruleset, command: &str, printed: &str, deadline: Instant) {
    ruleset.chains.extend(iptables::read(command, printed));
    if Keeper::of(printed) == Some(Keeper::Legacy) {
        return;
    }
    ruleset.chains.retain(|chain| !is_told_by(command, printed, &chain.table));
    if let Ok(printed) = ask(&format!("{command}-legacy-save"), deadline) {
        ruleset.chains.extend(iptables::read(&format!("{command}-legacy"), &printed));
    }
}

/// Whether nft's table is one of iptables, which tells of it better.
fn is_told_by(command: &str, printed: &str, table: &str) -> bool {
    let family = if command == "iptables" { "ip " } else { "ip6 " };
    table.strip_prefix(family).is_some_and(|name| printed.lines().any(|line| line.strip_prefix('*') == Some(name)))
}
