//! nfweir at work.

use super::netns::Netns;
use super::process::Process;
use nix::sys::signal::Signal;
use std::ops::{Deref, DerefMut};
use std::process::Command;

/// A command of nfweir, split at spaces.
pub fn nfweir(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nfweir"));
    command.args(arguments.split_whitespace());
    command
}

/// `nfweir run`, receiving group 5.
pub struct Probe(pub Process);

impl Probe {
    pub fn start(netns: &Netns, options: &str) -> Self {
        Self::started(netns.start(&mut nfweir(&format!("run -g 5 {options}"))))
    }

    /// Waits until it receives.
    pub fn started(mut process: Process) -> Self {
        process.says("receiving NFLOG group");
        Self(process)
    }

    /// Ends it in peace, and gives the last account.
    pub fn stop(&mut self) -> Account {
        self.signal(Signal::SIGTERM);
        self.account_at_end()
    }

    pub fn account_at_end(&mut self) -> Account {
        assert_eq!(self.ends(), Some(0), "{}", self.log());
        Account(self.log())
    }
}

impl Deref for Probe {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Probe {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}

/// A log with an account at its end.
pub struct Account(pub String);

impl Account {
    /// The last number before `words`.
    pub fn number(&self, words: &str) -> u64 {
        let before = self.0.rsplit_once(words).unwrap_or_else(|| panic!("no `{words}` in {}", self.0)).0.trim_end();
        let start = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
        before[start..].parse().unwrap()
    }

    /// The account of one collector.
    pub fn of(&self, collector: &str) -> Self {
        let name = format!("{collector}: ");
        let line = self.0.lines().rfind(|line| line.contains(&name) && line.contains(" records sent"));
        Self(line.unwrap_or_else(|| panic!("no {collector} in {}", self.0)).to_owned())
    }

    /// Messages sent to all collectors in it.
    pub fn messages(&self) -> u64 {
        let account = &self.0[self.0.rfind("packets: ").unwrap_or(0)..];
        account.split(" records sent in ").skip(1).map(first_number).sum()
    }

    /// Packets and octets in flows.
    pub fn in_flows(&self) -> (u64, u64) {
        let octets = self.0.rsplit_once(" in flows (").unwrap().1;
        (self.number("in flows"), first_number(octets))
    }

    /// Each packet that was seen is in exactly one of the other numbers, and each flow in one reason.
    pub fn assert_balance(&self) {
        let sum = |all: &[&str]| all.iter().map(|words| self.number(words)).sum::<u64>();
        assert_eq!(self.number("seen,"), sum(&["in flows", "ignored for", "not IP", "malformed"]), "{}", self.0);
        let reasons = ["idle,", "active,", "ended,", "forced,", "early"];
        assert_eq!(self.number("exported with"), sum(&reasons), "{}", self.0);
    }
}

fn first_number(text: &str) -> u64 {
    text.split(' ').next().unwrap().parse().unwrap()
}
