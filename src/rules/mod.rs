//! Rules that bring packets to the probe: one definition ([`plan`]), loaded into the kernel ([`own_rules`]) or printed for
//! nft ([`nft`]) or iptables ([`iptables`]).

pub mod exclusion;
pub mod expression;
pub mod header;
pub mod iptables;
mod netlink;
pub mod nft;
pub mod own_rules;
pub mod own_table;
pub mod own_traffic;
pub mod plan;
mod promiscuous;
mod uapi;

use expression::Expression;

/// Chains that are loaded together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The table's family.
    pub family: Family,
    /// When its chains are called.
    pub priority: Priority,
    /// Its chains; those that rules of others go to come first.
    pub chains: Vec<Chain>,
}

/// Which packets a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6, in a host's network layer.
    Inet,
    /// Frames of a device.
    Netdev,
}

/// When chains are called, among all at their hooks, as iptables' tables of these names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Priority {
    /// Before packets are filtered, and before source addresses are translated.
    Mangle = -150,
    /// As packets are filtered.
    Filter = 0,
}

/// Rules in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// Where it is called; `None` if only other chains go to it.
    pub hook: Option<Hook>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Where a chain is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// All that the devices of these names receive, before anything else is done with it.
    Ingress(Vec<String>),
    /// All that comes in, before routing.
    Prerouting,
    /// What this host is to receive.
    Input,
    /// What it passes on.
    Forward,
    /// What it sends.
    Output,
    /// All that goes out, after routing.
    Postrouting,
}

/// What is done with some packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Why, for whoever reads it; may be empty.
    pub comment: &'static str,
    /// Which packets, and at the end what is done with them.
    pub expressions: Vec<Expression>,
}

impl Rule {
    /// A rule that needs no comment.
    pub fn new(expressions: impl Into<Vec<Expression>>) -> Self {
        Self { comment: "", expressions: expressions.into() }
    }
}
