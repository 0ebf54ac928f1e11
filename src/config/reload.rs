//! Two configurations of a probe at work: what is different, and what of that takes a restart.

use super::{ExportConfig, RunConfig};
use crate::export::destination::Destination;
use std::time::Duration;

/// The options that differ and cannot change while a probe runs, by name. `keeps_details` says whether its flow table has them.
pub fn needing_restart(before: &RunConfig, after: &RunConfig, keeps_details: bool) -> Vec<&'static str> {
    let (rules, other) = (before.rules.as_ref(), after.rules.as_ref());
    let devices = rules.map(|plan| &plan.devices) != other.map(|plan| &plan.devices);
    let sample = rules.map(|plan| plan.sample) != other.map(|plan| plan.sample);
    let exclusions = rules.map(|plan| &plan.exclusions) != other.map(|plan| &plan.exclusions);
    let (capture, export) = ((&before.capture, &after.capture), (&before.export, &after.export));
    let details = export.1.fields.need_details() && !keeps_details;
    [
        (devices, "interface, mirror or vlan"),
        (sample && !devices, "sample"),
        (exclusions && !devices, "exclude"),
        (capture.0.groups != capture.1.groups && !devices, "group or spread"),
        (capture.0.snaplen != capture.1.snaplen, "snaplen"),
        (capture.0.receive_buffer != capture.1.receive_buffer, "receive-buffer"),
        (export.0.fields.tell_nat() != export.1.fields.tell_nat(), "nat"),
        (export.0.key != export.1.key, "key"),
        (
            details,
            "fields or estimate-segments that take details of packets, which are kept from the start or not at all,",
        ),
        (export.0.max_flows != export.1.max_flows, "max-flows"),
        (before.user != after.user, "user"),
        (before.metrics != after.metrics, "metrics"),
        (before.syslog != after.syslog, "syslog"),
        (before.control != after.control, "control"),
    ]
    .into_iter()
    .filter_map(|(differs, name)| differs.then_some(name))
    .collect()
}

/// What is different for those who get records, in words.
pub fn changes(before: &ExportConfig, after: &ExportConfig) -> Vec<String> {
    let mut changes = of_destinations(&before.destinations, &after.destinations);
    let times = [
        ("inactive-timeout", before.timeouts.inactive, after.timeouts.inactive),
        ("active-timeout", before.timeouts.active, after.timeouts.active),
    ];
    let changed = |(name, before, after): (&str, Duration, Duration)| {
        (before != after).then(|| format!("{name} {after:?} instead of {before:?}"))
    };
    changes.extend(times.into_iter().filter_map(changed));
    let others = [
        (before.delivery != after.delivery, "delivery"),
        (before.fields != after.fields, "fields"),
        (before.biflow != after.biflow, "biflow"),
        (before.export_rate != after.export_rate, "export-rate"),
        (before.sampling != after.sampling, "sampling-rate"),
        (before.selectors != after.selectors, "selector"),
        (before.numbering.rules != after.numbering.rules, "interface-number"),
        (before.numbering.local != after.numbering.local, "local-interface"),
    ];
    changes.extend(others.into_iter().filter(|(differs, _)| *differs).map(|(_, name)| format!("other {name}")));
    changes
}

fn of_destinations(before: &[Destination], after: &[Destination]) -> Vec<String> {
    let only = |these: &[Destination], those: &[Destination], word: &str| -> Vec<String> {
        let other = these.iter().filter(|destination| !those.contains(destination));
        other.map(|destination| format!("{word} {destination}")).collect()
    };
    [only(before, after, "without"), only(after, before, "with")].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn config(options: &str) -> RunConfig {
        let Command::Run(options) = Cli::parse_from(format!("nfweir run {options}").split_whitespace()).command else {
            panic!("`run` was said")
        };
        options.resolve().unwrap()
    }

    #[test]
    fn what_takes_a_restart_is_named() {
        let before = config("-g 5");
        for (options, expected) in [
            ("-g 5 -e ipfix://a --biflow --fields basic --active-timeout 5s --delivery balance", ""),
            ("-g 5 --sampling-rate 9 --interface-number a:1 --local-interface 7 --export-rate 1", ""),
            ("-g 6", "group or spread"),
            ("-i eth0", "interface, mirror or vlan"),
            ("-g 5 --snaplen 64 --receive-buffer 1MiB --nat", "snaplen receive-buffer nat"),
            ("-g 5 --key protocolIdentifier --max-flows 7 --user a", "key max-flows user"),
            ("-g 5 --metrics 9464 --syslog --control none", "metrics syslog control"),
        ] {
            assert_eq!(needing_restart(&before, &config(options), false).join(" "), expected, "{options}");
        }
        let before = config("-i eth0");
        for (options, expected) in [("-i eth0 --sample 7", "sample"), ("-i eth0 --spread 2", "group or spread")] {
            assert_eq!(needing_restart(&before, &config(options), false).join(" "), expected, "{options}");
        }
    }

    #[test]
    fn details_are_there_from_the_start_or_not_at_all() {
        let (plain, full) = (config("-g 5"), config("-g 5 --fields full"));
        assert!(needing_restart(&plain, &full, false)[0].starts_with("fields or estimate-segments"));
        assert!(needing_restart(&plain, &full, true).is_empty() && needing_restart(&full, &plain, true).is_empty());
        assert_eq!(needing_restart(&plain, &config("-g 5 --estimate-segments"), false).len(), 1);
    }

    #[test]
    fn what_changes_is_told() {
        let changes = |after: &str| changes(&config("-g 5 -e ipfix://a").export, &config(after).export).join(", ");
        assert_eq!(changes("-g 5 -e ipfix://a"), "");
        assert_eq!(
            changes("-g 5 -e ipfix://b -e ipfix://c --inactive-timeout 5s --fields basic --sampling-rate 7"),
            "without ipfix://a:4739, with ipfix://b:4739, with ipfix://c:4739, inactive-timeout 5s instead of 15s, other \
             fields, other sampling-rate"
        );
    }
}
