//! Tables of the file about selectors: what the operator says of the packets that a rule selects.

use super::ConfigError;
use super::units::Bounded;
use crate::export::options::DESCRIPTION;
use crate::export::selector_settings::{SelectorSetting, SelectorSettings};
use crate::flow::key_fields::KeyFields;
use crate::flow::{Direction, ForwardingStatus};
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeTable;

/// What the tables are called in the file.
pub const SELECTOR: &str = "selector";
/// The keys of one, each with what it says.
pub const KEYS: [(&str, &str); 6] = [
    (
        "prefix",
        "The rule's log prefix, to the letter; \"\" for rules without one. The only key that cannot be left out",
    ),
    (
        "group",
        "Only rules that log to this NFLOG group; else those of each group that has no table of its own for the prefix",
    ),
    ("name", "Exported as selectorName instead of the prefix"),
    ("sampling-rate", "The rule selects one packet in so many, whatever sampling-rate says for all"),
    (
        "verdict",
        "\"accepted\" or \"dropped\": what becomes of the packets, exported as forwardingStatus and firewallEvent",
    ),
    ("direction", "\"ingress\" or \"egress\": exported as flowDirection, whatever the rule's hook"),
];
/// Octets of the longest prefix that a rule can have (`NF_LOG_PREFIXLEN` without its NUL).
const LONGEST_PREFIX: usize = 127;

/// One of them, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SelectorTable {
    prefix: Text<LONGEST_PREFIX>,
    group: Option<Bounded<0, 65535>>,
    name: Option<Text<{ DESCRIPTION as usize }>>,
    sampling_rate: Option<Bounded<1, 4_294_967_295>>,
    verdict: Option<Verdict>,
    direction: Option<Way>,
}

impl SelectorTable {
    /// Whether it says a sampling rate.
    pub fn has_rate(&self) -> bool {
        self.sampling_rate.is_some()
    }
}

/// A string of at most so many octets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Text<const LONGEST: usize>(String);

impl<const LONGEST: usize> TryFrom<String> for Text<LONGEST> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.len() {
            length if length > LONGEST => Err(format!("`{text}` has {length} octets: at most {LONGEST} are possible")),
            _ => Ok(Self(text)),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Verdict(ForwardingStatus);

impl TryFrom<String> for Verdict {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "accepted" => Ok(Self(ForwardingStatus::Forwarded)),
            "dropped" => Ok(Self(ForwardingStatus::AclDenied)),
            _ => Err(format!("`{text}` is no verdict: write accepted or dropped")),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Way(Direction);

impl TryFrom<String> for Way {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "ingress" => Ok(Self(Direction::Ingress)),
            "egress" => Ok(Self(Direction::Egress)),
            _ => Err(format!("`{text}` is no direction: write ingress or egress")),
        }
    }
}

/// A place in the file, and what is wrong there.
pub type Wrong = (Range<usize>, String);

/// Looks whether a file's tables about selectors are such, and have their keys.
pub fn check(file: &DeTable<'_>) -> Result<(), Wrong> {
    let Some(selectors) = file.get(SELECTOR) else { return Ok(()) };
    let no_table = |span| (span, "`selector` is a table: write [[selector]], and its keys below".to_owned());
    let tables = selectors.get_ref().as_array().ok_or_else(|| no_table(selectors.span()))?;
    for table in tables.iter() {
        let keys = table.get_ref().as_table().ok_or_else(|| no_table(table.span()))?;
        if let Some((key, _)) = keys.iter().find(|(key, _)| !KEYS.iter().any(|(known, _)| key.get_ref() == known)) {
            let reason = format!(
                "`{}` is no key of a [[selector]]: there are {}; other options stand above the first of them",
                key.get_ref(),
                KEYS.map(|(name, _)| name).join(", ")
            );
            return Err((key.span(), reason));
        }
        if !keys.contains_key("prefix") {
            return Err((
                table.span(),
                "a [[selector]] has no prefix: add that of the rule, as in prefix = \"dropped\"".to_owned(),
            ));
        }
    }
    Ok(())
}

/// Looks whether any two are about the same packets.
pub fn check_pairs(tables: &[Spanned<SelectorTable>]) -> Result<(), Wrong> {
    let about = |table: &Spanned<SelectorTable>| {
        let SelectorTable { prefix, group, .. } = table.get_ref();
        (prefix.0.clone(), group.map(|group| group.0))
    };
    for (i, table) in tables.iter().enumerate() {
        if tables[..i].iter().any(|other| about(other) == about(table)) {
            let prefix = about(table).0;
            let reason = format!(
                "prefix `{prefix}` has two [[selector]] tables: make them one, or give each a group of its own"
            );
            return Err((table.span(), reason));
        }
    }
    Ok(())
}

/// Puts them together. Packets come by these groups, and flows are told apart by this key.
pub fn selector_settings(
    tables: Vec<Spanned<SelectorTable>>,
    groups: &[u16],
    key: &KeyFields,
) -> Result<SelectorSettings, ConfigError> {
    if !tables.is_empty() && !key.selector {
        return Err(ConfigError(
            "[[selector]] tables need flows of one selector each: add selectorId to --key".to_owned(),
        ));
    }
    let settings = tables.into_iter().map(|table| setting(table.into_inner(), groups));
    settings.collect::<Result<_, _>>().map(SelectorSettings)
}

fn setting(table: SelectorTable, groups: &[u16]) -> Result<SelectorSetting, ConfigError> {
    let group = table.group.map(|group| group.0 as u16);
    if let Some(group) = group.filter(|group| !groups.contains(group)) {
        return Err(ConfigError(format!(
            "[[selector]] `{}` is about NFLOG group {group}, which is not received: add -g {group}, or leave out the group",
            table.prefix.0
        )));
    }
    Ok(SelectorSetting {
        prefix: table.prefix.0,
        group,
        name: table.name.map(|name| name.0),
        sampling_rate: table.sampling_rate.map(|rate| rate.0),
        forwarding_status: table.verdict.map(|verdict| verdict.0),
        direction: table.direction.map(|way| way.0),
    })
}
