//! Rules, as far as NFLOG is concerned: the same model for those of nftables and of iptables.

use super::condition::Condition;
use super::hook::{Family, Hook};

/// All chains that could be read.
#[derive(Debug, Default)]
pub struct Ruleset {
    /// The chains.
    pub chains: Vec<Chain>,
}

/// A chain of rules.
#[derive(Debug)]
pub struct Chain {
    /// The family of its table.
    pub family: Family,
    /// Its table, as the operator calls it: `inet filter`, `iptables -t mangle`.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it is called, if not by other chains alone.
    pub hook: Option<Hook>,
    /// The devices whose packets it sees, if it is called for those alone.
    pub devices: Option<Condition>,
    /// Whether it sees but the first packet of a connection, as those of NAT do.
    pub is_nat: bool,
    /// In which order chains of a hook are called, the lowest first.
    pub priority: i64,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Where the operator finds it.
    pub place: String,
    /// What it says, without counters: two rules that say the same do the same.
    pub text: String,
    /// What it does with a packet, until a step stops it.
    pub steps: Vec<Step>,
}

/// A part of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Goes on with some packets: by a condition, if it is one that can be compared.
    Match(Option<Condition>),
    /// Goes on with this share of the packets; `None` with a share of the flows, or one that cannot be read.
    Select(Option<f64>),
    /// Goes on with so many packets in a time.
    Limit,
    /// Logs to an NFLOG group.
    Log(Log),
    /// Hands the connection to a flowtable, by whose device the next packets pass over the hooks.
    Offload,
    /// Calls a chain of the same table.
    Call(String),
    /// Calls chains that cannot be told.
    CallUnknown,
    /// Goes back to the chain that called this one.
    Return,
    /// Ends the packet's way through the chain of the hook.
    End {
        /// Whether it ends the packet, too.
        drops: bool,
    },
}

impl Rule {
    /// The steps by which it asks something of packets.
    pub fn asked(&self) -> impl Iterator<Item = &Step> {
        asked(&self.steps)
    }

    /// What it asks, if all of that can be compared.
    pub fn conditions(&self) -> Option<Vec<Condition>> {
        conditions(&self.steps)
    }
}

fn asked(steps: &[Step]) -> impl Iterator<Item = &Step> {
    steps.iter().filter(|step| matches!(step, Step::Match(_) | Step::Select(_) | Step::Limit))
}

/// What these steps ask, if all of that can be compared.
pub fn conditions(steps: &[Step]) -> Option<Vec<Condition>> {
    let condition = |step: &Step| match step {
        Step::Match(condition) => condition.clone(),
        _ => None,
    };
    asked(steps).map(condition).collect()
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The NFLOG group.
    pub group: u16,
    /// Octets of each packet, if the rule says so.
    pub snaplen: Option<u64>,
    /// Packets in a batch at most, if the rule says so.
    pub queue_threshold: Option<u64>,
}
