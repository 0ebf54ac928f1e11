//! From what the operator wants captured to rules that log each such packet once.
//!
//! A packet that this host receives is seen at hook input, one that it sends at hook output, and one that it passes on at hook
//! forward, where both its devices are known. All this comes early ([`Priority::Mangle`]), so also what the firewall's own rules
//! then drop is seen, and source addresses are those before NAT.

use super::expression::{End, Expression, Prefix, Side, Tag};
use super::{Chain, Family, Hook, Priority, Rule, Table};
use std::net::IpAddr;

/// The chain that packets go to which are to be logged.
const CAPTURE: &str = "capture";
/// The chain that tells shares of them apart.
const SPREAD: &str = "spread";

/// What is to be captured, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// By which devices packets come or go.
    pub devices: Devices,
    /// Where packets that are passed on, and go out by a chosen device without having come by one, are seen.
    pub leaving: Leaving,
    /// One packet in so many; 1 for all.
    pub sample: u32,
    /// The groups that it is spread over: the first, and how many.
    pub groups: (u16, u16),
    /// Octets of each packet.
    pub snaplen: u32,
    /// Which packets are not wanted.
    pub exclusions: Vec<Vec<Expression>>,
    /// Where the probe's own export goes.
    pub exports: Vec<Export>,
}

/// By which devices packets come or go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    /// Any but loopback.
    Any,
    /// These.
    Named(Vec<String>),
    /// Frames that these devices receive, whomever they are for; of a VLAN alone, if one is given.
    Mirror(Vec<String>, Option<u16>),
    /// None: the firewall's own rules send what they drop to the chain `dropped`.
    Dropped,
}

/// A hook for packets that leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Forward, where they count as coming in: iptables cannot tell them from the host's own later.
    Forward,
    /// Postrouting, where they count as going out.
    Postrouting,
}

/// Where the probe's own export goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The transport protocol's number.
    pub protocol: u8,
    /// Whether the collector answers.
    pub answered: bool,
    /// The collector's address, if it is known.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
}

impl Export {
    /// Packets with the collector at one end.
    fn at(&self, end: End) -> Rule {
        let address = self.address.map(|address| Expression::Address(end, Prefix::host(address)));
        let port = Expression::Port(end, self.port..=self.port);
        let what = address.into_iter().chain([Expression::Protocol(self.protocol), port, Expression::Return]);
        Rule::new(what.collect::<Vec<_>>())
    }
}

impl Plan {
    /// The rules.
    pub fn table(&self) -> Table {
        let mut chains = self.capture();
        chains.extend(match &self.devices {
            Devices::Any => self.any(),
            Devices::Named(names) => self.named(names),
            Devices::Mirror(devices, vlan) => vec![self.mirror(devices, *vlan)],
            Devices::Dropped => dropped_examples(),
        });
        let (family, priority) = match self.devices {
            Devices::Mirror(..) => (Family::Netdev, Priority::Mangle),
            Devices::Dropped => (Family::Inet, Priority::Filter),
            _ => (Family::Inet, Priority::Mangle),
        };
        Table { family, priority, chains }
    }

    /// The chains where packets are logged.
    fn capture(&self) -> Vec<Chain> {
        let (first, count) = self.groups;
        let mut rules: Vec<Rule> = Vec::new();
        for exclusion in &self.exclusions {
            rules.push(Rule::new([&exclusion[..], &[Expression::Return]].concat()));
        }
        let sample = (self.sample > 1).then_some(Expression::OneIn(self.sample));
        let mut spread = None;
        let last = match count {
            1 => self.log(first),
            _ => {
                spread = Some(Chain { name: SPREAD, hook: None, rules: self.shares() });
                vec![Expression::Goto(SPREAD)]
            }
        };
        rules.push(Rule::new(sample.into_iter().chain(last).collect::<Vec<_>>()));
        let name = if self.devices == Devices::Dropped { "dropped" } else { CAPTURE };
        spread.into_iter().chain([Chain { name, hook: None, rules }]).collect()
    }

    /// Logs, and drops if that is what the packets are here for.
    fn log(&self, group: u16) -> Vec<Expression> {
        let log = |prefix| Expression::Log { group, snaplen: self.snaplen, prefix };
        match self.devices {
            Devices::Dropped => vec![log("dropped"), Expression::Drop],
            _ => vec![log("")],
        }
    }

    /// A rule for each group. Both directions of a flow come to one of them.
    fn shares(&self) -> Vec<Rule> {
        let (first, of) = self.groups;
        let share = |number: u16| {
            let mut expressions = vec![Expression::Share { number, of }];
            expressions.extend(self.log(first + number));
            expressions.push(Expression::Return);
            Rule::new(expressions)
        };
        (0..of).map(share).collect()
    }

    fn any(&self) -> Vec<Chain> {
        let but_loopback = |side| Rule::new([device(side, "lo"), Expression::Return]);
        let capture = || Rule::new([Expression::Goto(CAPTURE)]);
        vec![
            chain(
                "input",
                Hook::Input,
                [vec![but_loopback(Side::Input)], looped(), self.answers(), vec![capture()]].concat(),
            ),
            chain("forward", Hook::Forward, vec![capture()]),
            chain("output", Hook::Output, [vec![but_loopback(Side::Output)], self.own(), vec![capture()]].concat()),
        ]
    }

    fn named(&self, names: &[String]) -> Vec<Chain> {
        let capture = |side| move |name: &String| Rule::new([device(side, name), Expression::Goto(CAPTURE)]);
        let came_by: Vec<_> = names.iter().map(capture(Side::Input)).collect();
        // what goes out by loopback comes in by it
        let wires: Vec<_> = names.iter().filter(|name| *name != "lo").cloned().collect();
        let goes_by: Vec<_> = wires.iter().map(capture(Side::Output)).collect();
        let (forward, postrouting) = match self.leaving {
            Leaving::Forward => ([came_by.clone(), goes_by.clone()].concat(), None),
            Leaving::Postrouting => {
                let rules = [seen_before(&wires), goes_by.clone()].concat();
                (came_by.clone(), Some(chain("postrouting", Hook::Postrouting, rules)))
            }
        };
        // by loopback, the export itself comes in too
        let (loopback, own): (Vec<_>, _) = match names.iter().find(|name| *name == "lo") {
            Some(lo) => (vec![capture(Side::Input)(lo)], self.own()),
            None => Default::default(),
        };
        let of_wires = wires.iter().map(capture(Side::Input)).collect();
        [
            chain("input", Hook::Input, [self.answers(), own, loopback, looped(), of_wires].concat()),
            chain("forward", Hook::Forward, forward),
            chain("output", Hook::Output, [self.own(), goes_by].concat()),
        ]
        .into_iter()
        .chain(postrouting)
        .collect()
    }

    /// The frames of a mirror port may be those of the probe's own export to a known collector.
    fn mirror(&self, devices: &[String], vlan: Option<u16>) -> Chain {
        let known =
            Self { exports: self.exports.iter().filter(|it| it.address.is_some()).cloned().collect(), ..self.clone() };
        let capture = match vlan {
            None => vec![Rule::new([Expression::Goto(CAPTURE)])],
            Some(id) => [Tag::Customer, Tag::Service]
                .map(|tag| Rule::new([Expression::Vlan(tag, id), Expression::Goto(CAPTURE)]))
                .to_vec(),
        };
        let rules = [known.own(), known.answers(), capture].concat();
        chain("mirror", Hook::Ingress(devices.to_vec()), rules)
    }

    /// The probe's export, as it leaves.
    fn own(&self) -> Vec<Rule> {
        let own = self.exports.iter().map(|export| export.at(End::Destination));
        with_comment("the export itself is not worth a flow", own)
    }

    /// What comes back for it.
    fn answers(&self) -> Vec<Rule> {
        let answered = self.exports.iter().filter(|export| export.answered).map(|export| export.at(End::Source));
        with_comment("what collectors acknowledge is no flow of yours", answered)
    }
}

/// A comment for the first of some rules.
fn with_comment(comment: &'static str, rules: impl Iterator<Item = Rule>) -> Vec<Rule> {
    rules.enumerate().map(|(i, rule)| Rule { comment: if i == 0 { comment } else { "" }, ..rule }).collect()
}

/// What this host sends to many comes back to it, by the device that it was sent by.
fn looped() -> Vec<Rule> {
    with_comment("seen at output", [Rule::new([Expression::FromHere, Expression::Return])].into_iter())
}

/// At postrouting, what was seen at output or at forward.
fn seen_before(names: &[String]) -> Vec<Rule> {
    let none = Rule::new([Expression::NoInput, Expression::Return]);
    let chosen = names.iter().map(|name| Rule::new([device(Side::Input, name), Expression::Return]));
    with_comment("seen at output or forward", [none].into_iter().chain(chosen))
}

/// How the firewall's rules get there.
fn dropped_examples() -> Vec<Chain> {
    let telnet = [Expression::Protocol(6), Expression::Port(End::Destination, 23..=23), Expression::Goto("dropped")];
    let rule = || Rule { comment: "an example, for yours", expressions: telnet.to_vec() };
    vec![chain("input", Hook::Input, vec![rule()]), chain("forward", Hook::Forward, vec![rule()])]
}

fn device(side: Side, name: &str) -> Expression {
    Expression::Interface(side, name.to_owned())
}

fn chain(name: &'static str, hook: Hook, rules: Vec<Rule>) -> Chain {
    Chain { name, hook: Some(hook), rules }
}
