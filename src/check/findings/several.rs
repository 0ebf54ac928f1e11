//! Whether one packet is logged more than once.

use super::{list, of_group, received};
use crate::check::condition::{Condition, INPUT_DEVICE, NO_DEVICE, OUTPUT_DEVICE};
use crate::check::finding::Finding;
use crate::check::hook::{Family, Hook, LOOPBACK, WAYS, Way};
use crate::check::situation::Situation;
use crate::check::trace::{Fate, Logging};
use crate::check::value::Value;
use crate::config::RunConfig;
use std::collections::HashMap;

/// So many rules of a hook are looked at: a longer list would not say more.
const MOST: usize = 100;

/// Rules of a group at several hooks that one packet comes by.
pub fn hooks(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let finding = |group: &u16| {
        let (way, most) = worst(situation, *group);
        (most.len() > 1).then(|| {
            Finding::new(
                format!(
                    "a {} packet may be counted {} times: NFLOG group {group} has it {}",
                    way.who,
                    most.len(),
                    at(&most)
                ),
                "keep one of these rules, or let the later ones pass over what the earlier log, by device or mark",
            )
        })
    };
    config.capture.groups.iter().filter_map(finding).collect()
}

/// The same for what the host sends to itself.
pub fn loopback(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let finding = |group: &u16| {
        let most = most(situation, *group, &LOOPBACK);
        (most.len() > 1.max(worst(situation, *group).1.len())).then(|| {
            Finding::note(
                format!(
                    "a packet that this host sends to itself may be counted {} times: NFLOG group {group} has it {}",
                    most.len(),
                    at(&most)
                ),
                "let the rules pass over the loopback device, as with `iifname \"lo\" return` and `oifname \"lo\" return`",
            )
        })
    };
    config.capture.groups.iter().filter_map(finding).collect()
}

/// Rules that are there twice, as when a file is loaded again.
pub fn twins(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let mut firsts = HashMap::new();
    let twin = |rule: &Logging| {
        let first = firsts.entry((rule.chain, rule.text.clone())).or_insert_with(|| rule.place.clone());
        (*first != rule.place).then(|| {
            Finding::new(
                format!("packets are counted twice: two rules say the same ({first}, and {})", rule.place),
                "delete one of them",
            )
        })
    };
    received(situation, config).filter_map(twin).collect()
}

/// Different rules at one hook that log the same packets, as when two tables have one each.
pub fn rules(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let finding = |(group, hook): (u16, Hook)| {
        let here = |logging: &&Logging| logging.hook == Some(hook) && !logging.is_nat && logs_all(logging);
        let rules: Vec<_> = of_group(situation, group).filter(here).take(MOST).collect();
        let most = greatest(&rules, both_log_here);
        (most.len() > 1).then(|| {
            Finding::new(
                format!(
                    "a packet may be counted {} times at {hook}: NFLOG group {group} has it by as many rules ({})",
                    most.len(),
                    list(most.iter().map(|rule| &rule.place))
                ),
                "keep one of these rules, or let the later ones pass over what the earlier log, by device or mark",
            )
        })
    };
    let groups = config.capture.groups.iter();
    groups.flat_map(|&group| Hook::all().map(move |hook| (group, hook))).filter_map(finding).collect()
}

/// A rule that the same packets come to by two calls of its chain, as when rules of iptables are loaded again.
pub fn calls(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let rules: Vec<_> = received(situation, config).take(MOST).collect();
    let same = |one: &Logging, other: &Logging| {
        one.place == other.place
            && one.hook == other.hook
            && one.passed.conditions == other.passed.conditions
            && one.passed.uncompared == other.passed.uncompared
            && !matches!(one.fate, Fate::Accepted | Fate::Dropped)
            && !other.passed.is_left_by(&one.passed)
    };
    let twice = rules.iter().enumerate().filter(|(i, rule)| rules[..*i].iter().any(|earlier| same(earlier, rule)));
    let finding = |(_, rule): (usize, &&Logging)| {
        Finding::new(
            format!("packets are counted twice: two calls lead to a rule that logs them ({})", rule.place),
            "delete one of the calls, or all of these rules, and load them once",
        )
    };
    twice.map(finding).collect()
}

/// The way on which a packet is logged most often, and where.
fn worst(situation: &Situation, group: u16) -> (&'static Way, Vec<&Logging>) {
    let all = WAYS.iter().map(|way| (way, most(situation, group, way)));
    // of several, the first
    all.rev().max_by_key(|(_, logged)| logged.len()).expect("there are ways")
}

/// Most rules on a way that can log the same packet, each at another hook.
fn most<'a>(situation: &'a Situation, group: u16, way: &Way) -> Vec<&'a Logging> {
    let rules: Vec<_> = way
        .hooks
        .iter()
        .flat_map(|hook| {
            let here = move |logging: &&Logging| logging.hook == Some(*hook) && is_on(way, logging);
            of_group(situation, group).filter(here).take(MOST)
        })
        .collect();
    greatest(&rules, both_log)
}

/// Most of these that log the same packet, each two of them.
fn greatest<'a>(rules: &[&'a Logging], both_log: fn(&Logging, &Logging) -> bool) -> Vec<&'a Logging> {
    let from = |first: usize| {
        rules[first..].iter().fold(Vec::new(), |mut together: Vec<&Logging>, rule| {
            if together.iter().all(|earlier| both_log(earlier, rule)) {
                together.push(rule);
            }
            together
        })
    };
    (0..rules.len()).map(from).rev().max_by_key(Vec::len).unwrap_or_default()
}

/// Whether packets on this way can come to the rule, by the devices that it asks for.
fn is_on(way: &Way, logging: &Logging) -> bool {
    let lo = [INPUT_DEVICE, OUTPUT_DEVICE].map(|field| Condition::is(field, "lo"));
    logging.passed.conditions.iter().all(|condition| {
        let absent = match condition.field.as_str() {
            INPUT_DEVICE => !way.input,
            OUTPUT_DEVICE => !way.output,
            _ => false,
        };
        let fulfilled = match (condition.is_of_device(), condition.values == [Value::of(NO_DEVICE)]) {
            (true, true) => absent != condition.negated,
            _ => !absent || condition.negated,
        };
        fulfilled && !(*way == LOOPBACK && lo.iter().any(|lo| lo.contradicts(condition)))
    })
}

fn both_log(earlier: &Logging, later: &Logging) -> bool {
    earlier.hook != later.hook
        && earlier.fate != Fate::Dropped
        && earlier.family.meets(later.family)
        && !earlier.passed.excludes(&later.passed)
}

/// The same of two rules at one hook, of which the first comes first where they are in one chain. Those that say the same, and
/// one that is called twice, are found as such.
fn both_log_here(one: &Logging, other: &Logging) -> bool {
    let earlier = if other.priority < one.priority { other } else { one };
    let is_same = one.place == other.place || (one.chain == other.chain && one.text == other.text);
    let is_gone = match earlier.fate {
        Fate::Unknown => false,
        Fate::Returned => one.chain == other.chain && one.first == other.first,
        Fate::Accepted => one.first == other.first,
        Fate::Dropped => true,
    };
    !is_same
        && !is_gone
        && one.family.meets(other.family)
        && (one.family == Family::Bridge) == (other.family == Family::Bridge)
        && !one.passed.excludes(&other.passed)
}

/// Whether a rule samples nothing: of what two rules select by chance, little is the same.
fn logs_all(rule: &Logging) -> bool {
    rule.passed.share == Some(1.0) && !rule.passed.is_limited
}

fn at(rules: &[&Logging]) -> String {
    list(rules.iter().filter_map(|it| Some(format!("at {} ({})", it.hook?, it.place))))
}
