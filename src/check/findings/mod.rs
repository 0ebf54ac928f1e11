//! What can be wrong, one function each, in order of importance.

mod host;
mod log;
mod reach;
mod sampling;
mod several;

use super::finding::Finding;
use super::situation::Situation;
use super::trace::Logging;
use crate::config::RunConfig;

pub use host::misnamed_devices;
pub use reach::unread;

/// All functions, the most important first.
const ALL: [fn(&Situation, &RunConfig) -> Vec<Finding>; 16] = [
    host::taken,
    reach::no_rule,
    reach::beside_own,
    reach::unreached,
    reach::first_packets_only,
    reach::flowtable,
    several::hooks,
    several::twins,
    several::rules,
    several::calls,
    sampling::undeclared,
    sampling::limited,
    log::short,
    log::small_batches,
    host::long_ipv4_packets,
    host::small_buffer,
];

/// Those that are nothing wrong.
const NOTES: [fn(&Situation, &RunConfig) -> Vec<Finding>; 2] = [several::loopback, host::gathered];

/// What is found in what was read of the host, for a probe that is to run like this.
pub fn all(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for finding in ALL.iter().chain(&NOTES).flat_map(|find| find(situation, config)) {
        // more than one way may lead to the same rule
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

/// Rules that log to one of the groups which are received.
fn received<'a>(situation: &'a Situation, config: &'a RunConfig) -> impl Iterator<Item = &'a Logging> {
    situation.trace.loggings.iter().filter(|logging| config.capture.groups.contains(&logging.log.group))
}

/// Rules that log to a group.
fn of_group(situation: &Situation, group: u16) -> impl Iterator<Item = &Logging> {
    situation.trace.loggings.iter().filter(move |logging| logging.log.group == group)
}

/// `a`, `a and b`, `a, b and c`: each once.
fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let mut words: Vec<String> = Vec::new();
    for item in items.into_iter().map(|item| item.to_string()) {
        if !words.contains(&item) {
            words.push(item);
        }
    }
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} and {last}", words.join(", ")),
        last => last.unwrap_or_default(),
    }
}
