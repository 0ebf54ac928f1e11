//! By which numbers records name devices: their ifIndex, unless the operator has numbers for devices that come and go, each
//! time with another ifIndex.

use super::options::Interface;
use crate::flow::{FlowRecord, LOCAL};
use crate::packet::details::Provenance;
use std::collections::HashMap;
use std::str::FromStr;

/// Octets of the longest name of a device (`IFNAMSIZ`).
const LONGEST: usize = 15;

/// Devices whose names begin alike have a number that begins alike: with `ppp:200`, `ppp0` has 200, and `ppp7` 207.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct NumberingRule {
    prefix: String,
    base: u32,
}

impl FromStr for NumberingRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no rule for interface numbers: write NAME:NUMBER, such as ppp:200");
        let (prefix, base) = text.rsplit_once(':').ok_or_else(wrong)?;
        let base = base.parse().map_err(|_| wrong())?;
        let is_name = (1..=LONGEST).contains(&prefix.len())
            && !prefix.contains(|letter: char| letter.is_whitespace() || "/*?".contains(letter));
        if !is_name {
            return Err(format!("`{text}`: no device's name begins with `{prefix}`: write it without wildcards"));
        }
        Ok(Self { prefix: prefix.to_owned(), base })
    }
}

impl TryFrom<String> for NumberingRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl NumberingRule {
    /// The number of a device, if the rule is about it.
    fn number(&self, name: &str) -> Option<u32> {
        match name.strip_prefix(&self.prefix)? {
            "" => Some(self.base),
            rest if rest.bytes().all(|octet| octet.is_ascii_digit()) => self.base.checked_add(rest.parse().ok()?),
            _ => None,
        }
    }
}

/// What the operator wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    /// Of these, the first that is about a device counts.
    pub rules: Vec<NumberingRule>,
    /// What stands where packets come from this host itself, or end in it.
    pub local: u32,
}

impl Numbering {
    /// The devices, by their numbers.
    pub fn apply(&self, interfaces: Vec<Interface>) -> Vec<Interface> {
        let numbered = |interface: Interface| Interface { index: self.number(&interface), ..interface };
        interfaces.into_iter().map(numbered).collect()
    }

    fn number(&self, interface: &Interface) -> u32 {
        self.rules.iter().find_map(|rule| rule.number(&interface.name)).unwrap_or(interface.index)
    }
}

/// As many devices as are remembered: beyond, those that are gone are forgotten.
pub const MOST: usize = 65_536;

/// The numbers of the devices that were ever seen: a flow may be exported when its device is gone.
pub struct InterfaceNumbers {
    numbering: Numbering,
    /// By ifIndex.
    known: HashMap<u32, u32>,
}

impl InterfaceNumbers {
    /// None seen as yet.
    pub fn new(numbering: Numbering) -> Self {
        Self { numbering, known: HashMap::new() }
    }

    /// Looks which devices there are, where that matters: often enough to see those that are gone soon.
    pub fn look(&mut self, interfaces: fn() -> Vec<Interface>) {
        if !self.numbering.rules.is_empty() {
            if self.known.len() > MOST {
                self.known.clear();
            }
            let numbering = &self.numbering;
            self.known.extend(interfaces().iter().map(|interface| (interface.index, numbering.number(interface))));
        }
    }

    /// The flow as it is exported.
    pub fn apply(&self, flow: &mut FlowRecord) {
        flow.key.input = self.number(flow.key.input);
        flow.output = self.number(flow.output);
        if let Provenance::Bridge { input, output } = &mut flow.details.first.provenance {
            (*input, *output) = (self.number(*input), self.number(*output));
        }
    }

    fn number(&self, index: u32) -> u32 {
        match index {
            LOCAL => self.numbering.local,
            _ if self.known.is_empty() => index,
            _ => self.known.get(&index).copied().unwrap_or(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;

    fn interface(index: u32, name: &str) -> Interface {
        Interface { index, name: name.to_owned(), description: String::new() }
    }

    #[test]
    fn devices_have_the_number_of_the_first_rule_about_them() {
        let rules = ["ppp:200", "eth0:7", "eth:100"].map(|rule| rule.parse().unwrap());
        let numbering = Numbering { rules: rules.into(), local: 0 };
        for (name, number) in
            [("ppp", 200), ("ppp12", 212), ("eth0", 7), ("eth3", 103), ("eth0.5", 9), ("pppoe1", 9), ("lo", 9)]
        {
            assert_eq!(numbering.number(&interface(9, name)), number, "{name}");
        }
        assert_eq!(numbering.number(&interface(9, "ppp4294967295")), 9, "a number too large is none");
        for wrong in ["ppp", ":5", "ppp:", "ppp:x", "ppp:-1", "ppp*:5", "a-name-too-long0:5"] {
            assert!(wrong.parse::<NumberingRule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_that_is_gone_keeps_its_number() {
        let numbering = Numbering { rules: vec!["ppp:200".parse().unwrap()], local: 999 };
        let mut numbers = InterfaceNumbers::new(numbering);
        numbers.look(|| vec![interface(2, "ppp0"), interface(3, "eth0")]);
        numbers.look(Vec::new);
        let mut flow = FlowRecord { output: LOCAL, ..record() };
        flow.details.first.provenance = Provenance::Bridge { input: 2, output: 4 };
        numbers.apply(&mut flow);
        assert_eq!((flow.key.input, flow.output), (200, 999));
        assert_eq!(flow.details.first.provenance.ports(), [200, 4]);
    }
}
