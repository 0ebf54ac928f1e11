//! How rules log.

use super::received;
use crate::check::finding::Finding;
use crate::check::situation::Situation;
use crate::config::RunConfig;

/// Octets that headers take: IPv6, TCP, and an Ethernet header where there is one.
const HEADERS: u64 = 64;
/// Batches below cost several times as much for each packet.
const SMALL_BATCH: u64 = 64;

/// Packets of which not even the headers are seen.
pub fn short(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let finding = |place: &str, octets: u64| {
        Finding::new(
            format!(
                "a rule ({place}) logs {octets} octets of each packet, less than its headers take, so ports are 0 or the packet \
                 counts as malformed"
            ),
            "give it `snaplen 128`, or with iptables `--nflog-size 128`",
        )
    };
    let short = |snaplen: Option<u64>| snaplen.filter(|octets| *octets < HEADERS);
    received(situation, config).filter_map(|it| Some(finding(&it.place, short(it.log.snaplen)?))).collect()
}

/// Batches that cost much.
pub fn small_batches(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let finding = |place: &str, packets: u64| {
        Finding::new(
            format!(
                "a rule ({place}) has batches of at most {packets} packets, which take up to 30 times as much processor time \
                 as those of 512"
            ),
            "take `queue-threshold`, or with iptables `--nflog-threshold`, out of the rule",
        )
    };
    let small = |threshold: Option<u64>| threshold.filter(|packets| (1..SMALL_BATCH).contains(packets));
    received(situation, config).filter_map(|it| Some(finding(&it.place, small(it.log.queue_threshold)?))).collect()
}
