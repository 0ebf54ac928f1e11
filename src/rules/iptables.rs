//! Rules as `iptables-restore --noflush` and `ip6tables-restore --noflush` read them.
//!
//! All rules are in chains of our own, which the built-in ones are left for by one rule each: so rules that are there already
//! are reached as before.

use super::expression::{End, Expression, Side, transport};
use super::{Chain, Family, Priority, Rule, Table};
use std::fmt::{self, Display, Formatter};

/// What iptables cannot express; the text is the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inexpressible {
    /// It has no hook for frames.
    #[error("iptables sees no frames that are for others: use `nfweir rules nft` for a mirror port")]
    Mirror,
    /// A name with `+` at its end is a wildcard there.
    #[error(
        "iptables takes a device's name that ends in + for all that begin so: use `nfweir rules nft` for such a device"
    )]
    Wildcard,
    /// A rule there has one protocol and one address of each end.
    #[error(
        "iptables cannot say one of these --exclude, which has several addresses of one end or ports of udplite: use \
         `nfweir rules nft`"
    )]
    Exclusion,
    /// It has no symmetric hash.
    #[error(
        "iptables cannot keep both directions of a flow in one group: use `nfweir rules nft` to spread over groups"
    )]
    Spread,
}

/// The table for one IP version.
pub struct Iptables<'a> {
    table: &'a Table,
    version: u8,
}

impl<'a> Iptables<'a> {
    /// For IP version 4 or 6.
    pub fn new(table: &'a Table, version: u8) -> Result<Self, Inexpressible> {
        if table.family == Family::Netdev {
            return Err(Inexpressible::Mirror);
        }
        let mut rules = table.chains.iter().flat_map(|chain| &chain.rules);
        match rules.find_map(inexpressible) {
            Some(reason) => Err(reason),
            None => Ok(Self { table, version }),
        }
    }

    /// Whether a rule is about packets of another IP version.
    fn is_others(&self, rule: &Rule) -> bool {
        let other = |expression: &Expression| match expression {
            Expression::Address(_, prefix) => prefix.address.is_ipv4() != (self.version == 4),
            _ => false,
        };
        rule.expressions.iter().any(other)
    }
}

/// Why a rule cannot be said, if so.
fn inexpressible(rule: &Rule) -> Option<Inexpressible> {
    let all = &rule.expressions;
    let addresses = |end| all.iter().filter(|it| matches!(it, Expression::Address(of, _) if *of == end)).count();
    let has = |what: fn(&Expression) -> bool| all.iter().any(what);
    if has(|it| matches!(it, Expression::Share { .. })) {
        return Some(Inexpressible::Spread);
    }
    if has(|it| matches!(it, Expression::Interface(_, name) if name.ends_with('+'))) {
        return Some(Inexpressible::Wildcard);
    }
    let ports_of_udplite = has(|it| *it == Expression::Protocol(libc::IPPROTO_UDPLITE as u8))
        && has(|it| matches!(it, Expression::Port(..)));
    let several = addresses(End::Source) > 1 || addresses(End::Destination) > 1;
    (several || ports_of_udplite).then_some(Inexpressible::Exclusion)
}

impl Display for Iptables<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let table = match self.table.priority {
            Priority::Mangle => "mangle",
            Priority::Filter => "filter",
        };
        writeln!(out, "*{table}")?;
        let chains = &self.table.chains;
        chains.iter().try_for_each(|chain| writeln!(out, ":{} - [0:0]", own(chain.name)))?;
        for chain in chains {
            for rule in chain.rules.iter().filter(|rule| !self.is_others(rule)) {
                write_rule(out, chain, rule)?;
            }
        }
        for chain in chains.iter().filter(|chain| chain.hook.is_some()) {
            writeln!(out, "-A {} -j {}", chain.name.to_uppercase(), own(chain.name))?;
        }
        writeln!(out, "COMMIT")
    }
}

fn own(chain: &str) -> String {
    format!("NFWEIR_{}", chain.to_uppercase())
}

/// iptables has one target for a rule, so one that logs and drops becomes two.
fn write_rule(out: &mut Formatter<'_>, chain: &Chain, rule: &Rule) -> fmt::Result {
    if !rule.comment.is_empty() {
        writeln!(out, "# {}", rule.comment)?;
    }
    let is_target = |expression: &&Expression| {
        matches!(expression, Expression::Log { .. } | Expression::Goto(_) | Expression::Return | Expression::Drop)
    };
    let matches: String = rule.expressions.iter().filter(|it| !is_target(it)).map(words_of).collect();
    for target in rule.expressions.iter().filter(is_target) {
        writeln!(out, "-A {}{matches}{}", own(chain.name), words_of(target))?;
    }
    Ok(())
}

fn words_of(expression: &Expression) -> String {
    match expression {
        Expression::Interface(Side::Input, name) => format!(" -i {name}"),
        Expression::Interface(Side::Output, name) => format!(" -o {name}"),
        Expression::FromHere => " -m addrtype --src-type LOCAL".to_owned(),
        Expression::Protocol(protocol) => match transport(*protocol) {
            Some(name) => format!(" -p {name}"),
            None => format!(" -p {protocol}"),
        },
        Expression::Port(end, ports) => {
            let end = if *end == End::Source { "--sport" } else { "--dport" };
            let (first, last) = (ports.start(), ports.end());
            if first == last { format!(" {end} {first}") } else { format!(" {end} {first}:{last}") }
        }
        Expression::Address(end, prefix) => {
            let end = if *end == End::Source { "-s" } else { "-d" };
            format!(" {end} {}/{}", prefix.address, prefix.length)
        }
        Expression::OneIn(n) => format!(" -m statistic --mode random --probability {:.10}", 1.0 / f64::from(*n)),
        Expression::Log { group, snaplen, prefix } => {
            let prefix = if prefix.is_empty() { String::new() } else { format!(" --nflog-prefix \"{prefix}\"") };
            format!(" -j NFLOG --nflog-group {group} --nflog-size {snaplen}{prefix}")
        }
        Expression::Goto(chain) => format!(" -g {}", own(chain)),
        Expression::Return => " -j RETURN".to_owned(),
        Expression::Drop => " -j DROP".to_owned(),
        Expression::NoInput | Expression::Vlan(..) | Expression::Share { .. } => {
            unreachable!("refused by `Iptables::new`, or not in plans for iptables")
        }
    }
}
