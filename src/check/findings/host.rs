//! What the host has or does beside rules.

use super::{list, received};
use crate::check::finding::Finding;
use crate::check::hook::Hook;
use crate::check::situation::Situation;
use crate::config::RunConfig;
use crate::rules::own_rules::misnamed;
use crate::rules::plan::Devices;
use std::fs;

/// Octets of the longest IPv4 packet that can say its length.
const LONGEST: u32 = 65_536;

/// Groups that another program has. A running nfweir is the one that is meant to have them.
pub fn taken(situation: &Situation, _: &RunConfig) -> Vec<Finding> {
    let own = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let is_nfweir = |process: &Option<(u32, String)>| process.as_ref().is_some_and(|(_, name)| name == own.trim());
    let others = situation.owners.iter().filter(|(_, owner)| !is_nfweir(&owner.process));
    let finding = |(group, owner): &(u16, _)| {
        Finding::new(
            format!("NFLOG group {group} is taken by {owner}"),
            "stop that program, or choose another group here and in the rule",
        )
    };
    others.map(finding).collect()
}

/// Devices to capture by that are not there, or not by that name. A probe that starts says so itself.
pub fn misnamed_devices(config: &RunConfig) -> Vec<Finding> {
    let Some(Devices::Named(names)) = config.rules.as_ref().map(|plan| &plan.devices) else { return Vec::new() };
    names.iter().filter_map(|name| misnamed(name)).map(|(what, mend)| Finding::new(what, mend)).collect()
}

/// IPv4 packets without a length (BIG TCP).
pub fn long_ipv4_packets(situation: &Situation, _: &RunConfig) -> Vec<Finding> {
    let long = situation.devices.iter().filter(|device| device.ipv4_max_size > LONGEST);
    let finding = |name: &str, size: u32| {
        Finding::new(
            format!(
                "device {name} has IPv4 packets of up to {size} octets (BIG TCP), whose length is not told beyond \
                 {LONGEST}, so octets are missing"
            ),
            format!("`ip link set dev {name} gro_ipv4_max_size {LONGEST} gso_ipv4_max_size {LONGEST}`"),
        )
    };
    long.map(|device| finding(&device.name, device.ipv4_max_size)).collect()
}

/// A receive buffer that the kernel does not grant.
pub fn small_buffer(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let wanted = config.capture.receive_buffer;
    let granted = situation.receive_buffer.filter(|granted| *granted < wanted);
    let finding = |granted: usize| {
        Finding::new(
            format!(
                "a receive buffer of {wanted} octets is wanted, but net.core.rmem_max allows {granted} without CAP_NET_ADMIN, so \
                 bursts may be lost"
            ),
            format!("`sysctl net.core.rmem_max={wanted}`, or run as root, or give the service CAP_NET_ADMIN"),
        )
    };
    granted.map(finding).into_iter().collect()
}

/// Packets that devices put together.
pub fn gathered(situation: &Situation, config: &RunConfig) -> Vec<Finding> {
    let sees_received = |hook: Option<Hook>| hook.is_none_or(Hook::sees_received);
    let names: Vec<_> =
        situation.devices.iter().filter(|it| it.receives && it.gathers).map(|it| it.name.as_str()).collect();
    let Some(first) = names.first() else { return Vec::new() };
    if !received(situation, config).any(|logging| sees_received(logging.hook)) {
        return Vec::new();
    }
    vec![Finding::note(
        format!("packets that {} put together (GRO) count as one, octets are right", list(&names)),
        format!("where packets have to be right too, `ethtool -K {first} gro off lro off`, for more processor time"),
    )]
}
