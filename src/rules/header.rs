//! What printed rules say of themselves.

use super::plan::{Devices, Plan};

/// The table's name in what is printed for nft.
pub const TABLE: &str = "nfweir";

/// For nft.
pub fn nft(plan: &Plan) -> String {
    let family = if matches!(plan.devices, Devices::Mirror(..)) { "netdev" } else { "inet" };
    let mut lines = about(plan);
    lines.push(format!("Load with `nft -f FILE`, remove with `nft delete table {family} {TABLE}`."));
    lines.push("Without queue-threshold the probe's own choice holds: 512 packets in a batch.".to_owned());
    comment(lines)
}

/// For iptables or ip6tables, whichever `program` is.
pub fn iptables(plan: &Plan, program: &str) -> String {
    let mut lines = about(plan);
    lines.push(format!("Load once with `{program}-restore --noflush FILE`: loaded twice, it logs twice. Remove with"));
    let table = if plan.devices == Devices::Dropped { "filter" } else { "mangle" };
    lines.push(format!("`{program} -t {table} -D INPUT -j NFWEIR_INPUT` and so on for each line at its end."));
    lines.push("Without --nflog-threshold the probe's own choice holds: 512 packets in a batch.".to_owned());
    comment(lines)
}

fn about(plan: &Plan) -> Vec<String> {
    let mut lines = match &plan.devices {
        Devices::Any => vec![
            "All traffic of this host but loopback, each packet once: received, passed on or sent.".to_owned(),
            "Also what the firewall's own rules then drop is seen.".to_owned(),
        ],
        Devices::Named(names) => vec![
            format!("What comes and goes by {}, each packet once: received, passed on or sent.", names.join(", ")),
            "Also what the firewall's own rules then drop is seen.".to_owned(),
        ],
        Devices::Mirror(names, vlan) => {
            let vlan = vlan.map_or(String::new(), |id| format!(" of VLAN {id}"));
            let names = names.join(", ");
            vec![
                format!("All frames{vlan} that {names} receives, whomever they are for."),
                format!("They need `ip link set {} promisc on`.", names.replace(", ", " promisc on`, `ip link set ")),
            ]
        }
        Devices::Dropped => vec![
            "What the firewall drops: its rules send it to the chain below, in place of dropping it, which logs and drops it."
                .to_owned(),
        ],
    };
    let (first, count) = plan.groups;
    let groups: Vec<_> = (0..count).map(|number| format!("-g {}", first + number)).collect();
    let rate = if plan.sample > 1 { format!(" --sampling-rate {}", plan.sample) } else { String::new() };
    lines.push(format!("The probe: `nfweir run {}{rate}`.", groups.join(" ")));
    lines
}

fn comment(lines: Vec<String>) -> String {
    lines.iter().map(|line| format!("# {line}\n")).collect()
}
