//! Whether packets come to the probe at all.

use super::{list, of_group, received};
use crate::check::finding::Finding;
use crate::check::hook::Hook;
use crate::check::program::NoAnswer;
use crate::check::situation::Situation;
use crate::config::RunConfig;
use crate::rules::own_rules::own_table;

/// Rules that could not be read.
pub fn unread(situation: &Situation) -> Vec<Finding> {
    let finding = |(program, why): &(String, NoAnswer)| {
        let mend = match why {
            NoAnswer::Missing => "install nftables, as with `apt install nftables`".to_owned(),
            NoAnswer::Late => format!("see with `{program}` why"),
            NoAnswer::Failed(_) => format!("run `nfweir check` as root, and see with `{program}` what hinders it"),
        };
        Finding::new(format!("rules cannot be read by `{program}`, as {why}"), mend)
    };
    situation.unread.iter().map(finding).collect()
}

/// Nothing logs to a group; not said where there may be rules unread.
pub fn no_rule(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let logs = |group: &u16| {
        let trace = &situation.trace;
        trace.loggings.iter().chain(&trace.unreached).any(|logging| logging.log.group == *group)
    };
    // rules of the probe's own are loaded after this
    if !situation.unread.is_empty() || config.rules.is_some() {
        return Vec::new();
    }
    let mut others: Vec<_> = situation.trace.loggings.iter().map(|logging| logging.log.group).collect();
    others.sort_unstable();
    let finding = |group: &u16| match others.first() {
        None => Finding::new(
            format!("no rule logs to NFLOG group {group}, nor to any other"),
            format!("add rules with `log group {group} snaplen 128`, or let the probe load its own, with `-i any`"),
        ),
        Some(other) => Finding::new(
            format!("no rule logs to NFLOG group {group}, only to {}", list(&others)),
            format!("receive what the rules log, as with `-g {other}`, or write `log group {group}` in the rules"),
        ),
    };
    config.capture.groups.iter().filter(|group| !logs(group)).map(finding).collect()
}

/// Rules beside those that the probe loads itself.
pub fn beside_own(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let Some(plan) = &config.rules else { return Vec::new() };
    let own = own_table(plan);
    let others = received(situation, config).find(|logging| !logging.place.contains(&own));
    let finding = |place: &str| {
        Finding::new(
            format!("packets may be counted twice: a rule that is there already logs to a group of -i ({place})"),
            "choose another group with -g, or receive what that rule logs without -i",
        )
    };
    others.map(|logging| finding(&logging.place)).into_iter().collect()
}

/// Rules that no packet comes to.
pub fn unreached(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let of_ours = situation.trace.unreached.iter().filter(|it| config.capture.groups.contains(&it.log.group));
    let finding = |group: u16, place: &str| {
        Finding::new(
            format!(
                "no packet comes to the rule that logs to NFLOG group {group} ({place}), as no hook leads to its chain"
            ),
            "call its chain from one that has a hook, with `jump`, or if the table is dormant, take that flag away",
        )
    };
    of_ours.map(|logging| finding(logging.log.group, &logging.place)).collect()
}

/// Rules in chains for NAT.
pub fn first_packets_only(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let in_nat = received(situation, config).filter(|logging| logging.is_nat);
    let finding = |place: &str| {
        Finding::new(
            format!(
                "only the first packet of each connection comes to a logging rule ({place}), as its chain is one for NAT"
            ),
            "put it into a chain of type filter, or with iptables into the table mangle",
        )
    };
    in_nat.map(|logging| finding(&logging.place)).collect()
}

/// Connections whose packets pass over the hooks.
pub fn flowtable(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let Some(offload) = situation.trace.offloads.first() else { return Vec::new() };
    let sees_forwarded =
        |hook: Option<Hook>| matches!(hook, None | Some(Hook::Prerouting | Hook::Forward | Hook::Postrouting));
    let finding = |group: &u16| {
        let missing = of_group(situation, *group).find(|logging| sees_forwarded(logging.hook))?;
        Some(Finding::new(
            format!(
                "a flowtable takes forwarded connections past the rule that logs to NFLOG group {group} ({}) after their \
                 first packets, by `flow add` ({offload})",
                missing.place
            ),
            "log at hook ingress of family netdev, with a priority below the flowtable's, or remove the rule with `flow add`",
        ))
    };
    config.capture.groups.iter().filter_map(finding).collect()
}
