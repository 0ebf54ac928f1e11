//! Rules as `nft -f` reads them, ready for /etc/nftables.conf.

use super::expression::{End, Expression, Side, Tag, transport};
use super::{Chain, Family, Hook, Rule, Table};
use std::fmt::{self, Display, Formatter};

/// The table under this name. Loading it again replaces it.
pub struct Nft<'a>(pub &'a Table, pub &'a str);

impl Display for Nft<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self(table, name) = self;
        let family = match table.family {
            Family::Inet => "inet",
            Family::Netdev => "netdev",
        };
        writeln!(out, "# loading it again replaces it")?;
        writeln!(out, "table {family} {name}\ndelete table {family} {name}\n\ntable {family} {name} {{")?;
        for (i, chain) in table.chains.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            write_chain(out, chain, table.priority as i32)?;
        }
        writeln!(out, "}}")
    }
}

fn write_chain(out: &mut Formatter<'_>, chain: &Chain, priority: i32) -> fmt::Result {
    writeln!(out, "\tchain {} {{", chain.name)?;
    if let Some(hook) = &chain.hook {
        let hook = match hook {
            Hook::Ingress(devices) => format!("ingress devices = {{ \"{}\" }}", devices.join("\", \"")),
            Hook::Prerouting => "prerouting".to_owned(),
            Hook::Input => "input".to_owned(),
            Hook::Forward => "forward".to_owned(),
            Hook::Output => "output".to_owned(),
            Hook::Postrouting => "postrouting".to_owned(),
        };
        writeln!(out, "\t\ttype filter hook {hook} priority {priority}; policy accept;")?;
    }
    chain.rules.iter().try_for_each(|rule| write_rule(out, rule))?;
    writeln!(out, "\t}}")
}

fn write_rule(out: &mut Formatter<'_>, rule: &Rule) -> fmt::Result {
    if !rule.comment.is_empty() {
        writeln!(out, "\t\t# {}", rule.comment)?;
    }
    let mut words = Vec::new();
    let mut expressions = rule.expressions.iter().peekable();
    while let Some(expression) = expressions.next() {
        match (expression, expressions.peek()) {
            // the port's own words say it
            (Expression::Protocol(protocol), Some(Expression::Port(end, ports))) => {
                let name = transport(*protocol).unwrap_or("th");
                let (first, last) = (ports.start(), ports.end());
                let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
                words.push(format!("{name} {} {ports}", ["sport", "dport"][*end as usize]));
                expressions.next();
            }
            _ => words.push(words_of(expression)),
        }
    }
    writeln!(out, "\t\t{}", words.join(" "))
}

fn words_of(expression: &Expression) -> String {
    match expression {
        Expression::Interface(Side::Input, name) => format!("iifname \"{name}\""),
        Expression::Interface(Side::Output, name) => format!("oifname \"{name}\""),
        Expression::NoInput => "iif 0".to_owned(),
        Expression::FromHere => "fib saddr type local".to_owned(),
        Expression::Protocol(protocol) => match transport(*protocol) {
            Some(name) => format!("meta l4proto {name}"),
            None => format!("meta l4proto {protocol}"),
        },
        Expression::Port(end, ports) => {
            format!("th {} {}-{}", ["sport", "dport"][*end as usize], ports.start(), ports.end())
        }
        Expression::Address(end, prefix) => {
            let version = if prefix.address.is_ipv4() { "ip" } else { "ip6" };
            let end = if *end == End::Source { "saddr" } else { "daddr" };
            format!("{version} {end} {}/{}", prefix.address, prefix.length)
        }
        Expression::Vlan(Tag::Customer, id) => format!("vlan id {id}"),
        // in words only nft 1.0.1 and later have
        Expression::Vlan(Tag::Service, id) => format!("@ll,96,16 {:#x} @ll,116,12 {id}", Tag::Service as u16),
        Expression::OneIn(n) => format!("numgen random mod {n} 0"),
        Expression::Share { number, of } => format!("symhash mod {of} {number}"),
        Expression::Log { group, snaplen, prefix } => {
            let prefix = if prefix.is_empty() { String::new() } else { format!("prefix \"{prefix}\" ") };
            format!("log {prefix}group {group} snaplen {snaplen}")
        }
        Expression::Goto(chain) => format!("goto {chain}"),
        Expression::Return => "return".to_owned(),
        Expression::Drop => "drop".to_owned(),
    }
}
