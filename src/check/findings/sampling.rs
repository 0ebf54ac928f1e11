//! Whether rules select the share of the packets that collectors are told.

use super::{list, of_group, received};
use crate::check::finding::Finding;
use crate::check::situation::Situation;
use crate::check::trace::Logging;
use crate::config::RunConfig;

/// Rates that differ by less are the same: iptables rounds.
const PRECISION: f64 = 0.005;

/// Groups of which collectors are told another rate than that of the rules.
pub fn undeclared(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let finding = |&group: &u16| {
        // of those that cannot be told nothing is said
        let rates: Option<Vec<(f64, &Logging)>> = of_group(situation, group).map(|it| Some((rate(it)?, it))).collect();
        let rates = rates?;
        let (first, logging) = *rates.first()?;
        if rates.iter().any(|(other, _)| !is_same(*other, first)) {
            return Some(differing(group, &rates));
        }
        let declared = config.export.sampling.rate(group);
        (!is_same(first, declared.into())).then(|| wrong(group, first, declared, &logging.place))
    };
    config.capture.groups.iter().filter_map(finding).collect()
}

/// One in how many packets, where that can be told and is any.
fn rate(logging: &Logging) -> Option<f64> {
    logging.passed.share.filter(|share| *share > 0.0).map(f64::recip)
}

fn is_same(a: f64, b: f64) -> bool {
    (a - b).abs() <= a * PRECISION
}

fn differing(group: u16, rates: &[(f64, &Logging)]) -> Finding {
    let each = rates.iter().map(|(rate, logging)| format!("{} ({})", one_in(*rate), logging.place));
    Finding::new(
        format!("rules that log to NFLOG group {group} select different shares of the packets: {}", list(each)),
        "give each share a group of its own, and declare it with `--sampling-rate GROUP:N`",
    )
}

fn wrong(group: u16, rate: f64, declared: u32, place: &str) -> Finding {
    let said = match declared {
        1 => "no --sampling-rate tells collectors so".to_owned(),
        declared => format!("--sampling-rate tells collectors of one in {declared}"),
    };
    let mend = if is_same(rate, 1.0) {
        format!("sample in the rule, as with `numgen inc mod {declared} 0`, or leave that rate out")
    } else if is_same(rate, rate.round()) {
        format!("give `--sampling-rate {group}:{}`", rate.round())
    } else {
        let near = rate.round();
        format!(
            "select one in {near} in the rule, as with `numgen inc mod {near} 0`, and give `--sampling-rate {group}:{near}`"
        )
    };
    Finding::new(format!("the rule for NFLOG group {group} ({place}) selects {}, but {said}", one_in(rate)), mend)
}

fn one_in(rate: f64) -> String {
    if is_same(rate, 1.0) {
        return "every packet".to_owned();
    }
    let rounded = (rate * 100.0).round() / 100.0;
    format!("one packet in {}", if is_same(rate, rate.round()) { rate.round() } else { rounded })
}

/// Rules with a limit.
pub fn limited(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let finding = |logging: &Logging| {
        Finding::new(
            format!(
                "a rule for NFLOG group {} ({}) has a limit, which is no sampling: what it leaves out is counted nowhere",
                logging.log.group, logging.place
            ),
            "take the limit out, and where that is too much, sample with `numgen inc mod 100 0` and `--sampling-rate 100`",
        )
    };
    received(situation, config).filter(|logging| logging.passed.is_limited).map(finding).collect()
}
