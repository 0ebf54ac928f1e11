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

/// Programs that did not tell, and why.
pub type Unread = Vec<(String, NoAnswer)>;

/// What was read of the host.
#[derive(Debug, Default)]
pub struct Situation {
    /// Rules that log, and the ways to them.
    pub trace: Trace,
    /// Programs that did not tell of rules, and why.
    pub unread: Unread,
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
fn rules(deadline: Instant) -> (Ruleset, Unread) {
    let mut ruleset = Ruleset::default();
    let mut unread = Unread::new();
    // without the elements of sets, which can be many
    let printed = ask("nft -j -t list ruleset", deadline);
    match printed.and_then(|json| {
        nft::read(&json, |set| ask(&format!("nft -j list set {set}"), deadline).ok())
            .map_err(|error| NoAnswer::Failed(error.to_string()))
    }) {
        Ok(read) => ruleset = read,
        Err(why) => unread.push(("nft".to_owned(), why)),
    }
    for command in ["iptables", "ip6tables"] {
        let printed = saved(command, deadline, &mut unread);
        ruleset.chains.retain(|chain| !is_told_by(command, &printed, &chain.table));
        ruleset.chains.extend(iptables::read(command, &printed));
        if Keeper::of(&printed) != Some(Keeper::Legacy) {
            let older = format!("{command}-legacy");
            ruleset.chains.extend(iptables::read(&older, &saved(&older, deadline, &mut unread)));
        }
    }
    (ruleset, unread)
}

/// What a variant of iptables saves; nothing where it is not installed.
fn saved(command: &str, deadline: Instant, unread: &mut Unread) -> String {
    let program = format!("{command}-save");
    ask(&program, deadline).unwrap_or_else(|why| {
        if !matches!(why, NoAnswer::Missing) {
            unread.push((program, why));
        }
        String::new()
    })
}

/// Whether nft's table is one of iptables, which tells of it better.
fn is_told_by(command: &str, printed: &str, table: &str) -> bool {
    let family = if command == "iptables" { "ip " } else { "ip6 " };
    Keeper::of(printed) == Some(Keeper::NfTables)
        && table
            .strip_prefix(family)
            .is_some_and(|name| printed.lines().any(|line| line.strip_prefix('*') == Some(name)))
}
