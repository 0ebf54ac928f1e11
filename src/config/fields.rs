//! What records have: a preset, or IANA's names.

use super::ConfigError;
use crate::export::element::Element;
use crate::export::fields::{self, FieldChoice, Flavour};
use crate::flow::key_fields::KeyFields;
use std::cmp::Reverse;
use std::str::FromStr;

/// A preset, or an element that a flow's record can have.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum FieldName {
    Preset(FieldChoice),
    Element(Element),
}

impl FromStr for FieldName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "basic" => Ok(Self::Preset(FieldChoice::Basic)),
            "standard" => Ok(Self::Preset(FieldChoice::Standard)),
            "full" => Ok(Self::Preset(FieldChoice::Full)),
            name if fields::NAT.into_iter().any(|element| Some(element) == Element::by_name(name)) => {
                Err(format!("`{name}` comes with --nat: give that, and leave it out here"))
            }
            name if Element::by_name(name) == Some(Element::InterfaceName) => Err(format!(
                "`{name}` comes by itself: JSON and printed flows have it beside ingressInterface and egressInterface, \
                 and collectors are told it in options records: leave it out here"
            )),
            name => Element::by_name(name).filter(|element| is_field(*element)).map(Self::Element).ok_or_else(|| {
                format!(
                    "`{name}` is no field of a flow: perhaps {}; `nfweir run --help` has all",
                    closest(name).join(", ")
                )
            }),
        }
    }
}

/// What `--help` says of the option.
pub fn help() -> String {
    format!(
        "What records have: basic, standard or full, each by itself, or a list of IANA's names [default: standard]. There are: {}",
        names().collect::<Vec<_>>().join(", ")
    )
}

fn names() -> impl Iterator<Item = &'static str> {
    Element::ALL.iter().filter(|element| is_field(**element)).map(|element| element.name())
}

/// The names that are most like a wrong one.
fn closest(wrong: &str) -> Vec<&'static str> {
    const SHOWN: usize = 4;
    let mut names: Vec<_> = ["basic", "standard", "full"].into_iter().chain(names()).collect();
    names.sort_by_cached_key(|name| Reverse(likeness(name, wrong)));
    names.truncate(SHOWN);
    names
}

/// How many pairs of neighbouring letters two words have in common, twice, in thousandths of all that they have (Dice).
fn likeness(one: &str, other: &str) -> usize {
    let pairs = |word: &str| {
        let word = word.to_ascii_lowercase().into_bytes();
        word.windows(2).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let (one, mut other) = (pairs(one), pairs(other));
    let all = one.len() + other.len();
    let mut common = 0;
    for pair in one {
        if let Some(at) = other.iter().position(|its| *its == pair) {
            other.swap_remove(at);
            common += 1;
        }
    }
    2000 * common / all.max(1)
}

impl TryFrom<String> for FieldName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Whether a flow's record can have it.
fn is_field(element: Element) -> bool {
    fields::field(element, Flavour::Ipfix, &KeyFields::ALL).is_some() && !fields::NAT.contains(&element)
}

/// Puts the names together; none means the standard.
pub fn field_choice(names: &[FieldName]) -> Result<FieldChoice, ConfigError> {
    match names {
        [] => Ok(FieldChoice::default()),
        [FieldName::Preset(choice)] => Ok(choice.clone()),
        names => {
            let element = |name: &FieldName| match name {
                FieldName::Element(element) => Ok(*element),
                FieldName::Preset(_) => {
                    Err(ConfigError("--fields: basic, standard and full stand alone: name one, or fields".to_owned()))
                }
            };
            let list = names.iter().map(element).collect::<Result<Vec<_>, _>>()?;
            match list.iter().enumerate().find(|(i, element)| list[..*i].contains(element)) {
                Some((_, twice)) => {
                    Err(ConfigError(format!("--fields: {} is named twice: name each field once", twice.name())))
                }
                None => Ok(FieldChoice::List(list)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_and_lists() {
        let choice = |names: &[&str]| field_choice(&names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(choice(&[]).unwrap(), FieldChoice::Standard);
        assert_eq!(choice(&["full"]).unwrap(), FieldChoice::Full);
        let list = vec![Element::VlanId, Element::PacketDeltaCount];
        assert_eq!(choice(&["VLANID", "packetDeltaCount"]).unwrap(), FieldChoice::List(list));
        assert!(choice(&["full", "vlanId"]).is_err());
    }

    #[test]
    fn what_is_no_field_is_said() {
        for (name, meant) in [
            ("octets", "octetDeltaCount"),
            ("srcMacAddress", "sourceMacAddress"),
            ("flowStart", "flowStartSeconds"),
            ("ful", "full"),
        ] {
            let error = name.parse::<FieldName>().unwrap_err();
            assert!(error.starts_with(&format!("`{name}` is no field of a flow: perhaps ")), "{error}");
            assert!(error.contains(meant) && error.ends_with("; `nfweir run --help` has all"), "{error}");
        }
        assert!(help().contains("vlanId, ") && !help().contains("postNAT"), "{}", help());
        let error = "postNATSourceIPv4Address".parse::<FieldName>().unwrap_err();
        assert!(error.contains("comes with --nat"), "{error}");
        let error = "interfaceName".parse::<FieldName>().unwrap_err();
        assert!(error.contains("beside ingressInterface"), "{error}");
    }
}
