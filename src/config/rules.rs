//! Options about rules of the probe's own.

use super::units::{Bounded, one_or_many};
use super::{ConfigError, SNAPLEN, or_else};
use crate::export::destination::Destination;
use crate::rules::exclusion::Exclusion;
use crate::rules::header;
use crate::rules::iptables::Iptables;
use crate::rules::nft::Nft;
use crate::rules::own_traffic;
use crate::rules::plan::{Devices, Leaving, Plan};
use clap::{Args, ValueEnum};
use serde::Deserialize;

/// The first group where none is given.
pub const FIRST_GROUP: u16 = 5;

/// Options that say what rules of the probe's own capture.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct RuleOptions {
    /// Capture what comes and goes by this device, or by `any` but loopback; may be given several times. For that,
    /// `nfweir run` has an nftables table of its own, which is gone when it ends
    #[arg(short, long, value_name = "DEVICE")]
    #[serde(deserialize_with = "one_or_many")]
    interface: Vec<String>,

    /// The devices are mirror ports: capture all frames that they receive, whomever they are for
    #[arg(long)]
    mirror: bool,

    /// Of a mirror port, capture this VLAN alone, by the outermost tag (802.1Q or 802.1ad)
    #[arg(long, value_name = "ID")]
    vlan: Option<Bounded<1, 4094>>,

    /// Capture one packet in N, 1 to 1000000, by chance, and tell collectors so
    #[arg(long, value_name = "N")]
    sample: Option<Bounded<1, 1_000_000>>,

    /// Spread flows over N groups, from --group on, with a thread each
    #[arg(long, value_name = "N")]
    spread: Option<Bounded<1, 256>>,

    /// Leave these packets out, in nft's words, such as 'tcp dport 22' or 'ip saddr 10.0.0.0/8'; may be given several times.
    /// The export itself is always left out
    #[arg(long, value_name = "MATCH")]
    #[serde(deserialize_with = "one_or_many")]
    exclude: Vec<Exclusion>,
}

/// What `nfweir rules` was told.
#[derive(Args, Clone, Debug)]
pub struct RulesOptions {
    /// For which program: nft, iptables-restore or ip6tables-restore
    pub program: Program,
    #[command(flatten)]
    rules: RuleOptions,
    /// For the firewall's own rules: a chain for what they drop
    #[arg(long, conflicts_with_all = ["interface", "mirror", "vlan", "sample", "spread", "exclude"])]
    dropped: bool,
    /// NFLOG group to log to, the first if there are several [default: 5]
    #[arg(short, long, value_name = "GROUP")]
    group: Option<Bounded<0, 65535>>,
    /// Octets of each packet to log, 64 to 65531 [default: 128]
    #[arg(long, value_name = "OCTETS")]
    snaplen: Option<Bounded<64, 65531>>,
    /// Collector, as of `nfweir run`
    #[arg(short, long, value_name = "URL")]
    export: Vec<Destination>,
}

/// Who loads rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// `nft -f`
    Nft,
    /// `iptables-restore --noflush`, for IPv4
    Iptables,
    /// `ip6tables-restore --noflush`, for IPv6
    Ip6tables,
}

impl RulesOptions {
    /// The rules as that program reads them.
    pub fn text(self) -> Result<String, ConfigError> {
        let program = self.program;
        let plan = self.resolve()?;
        let table = plan.table();
        let iptables = |version| Iptables::new(&table, version).map_err(|error| ConfigError(error.to_string()));
        Ok(match program {
            Program::Nft => format!("{}\n{}", header::nft(&plan), Nft(&table, header::TABLE)),
            Program::Iptables => format!("{}\n{}", header::iptables(&plan, "iptables"), iptables(4)?),
            Program::Ip6tables => format!("{}\n{}", header::iptables(&plan, "ip6tables"), iptables(6)?),
        })
    }

    fn resolve(mut self) -> Result<Plan, ConfigError> {
        if !self.rules.are_asked_for() {
            self.rules.interface.push("any".to_owned());
        }
        let group = self.group.map_or(FIRST_GROUP, |group| group.0 as u16);
        let snaplen = self.snaplen.map_or(SNAPLEN, |octets| octets.0);
        let mut plan = self.rules.for_devices(group, snaplen)?;
        plan.exports = match self.export[..] {
            [] => own_traffic::customary(),
            _ => own_traffic::of(&self.export),
        };
        if self.program != Program::Nft {
            plan.leaving = Leaving::Forward;
        }
        if self.dropped {
            plan.devices = Devices::Dropped;
        }
        Ok(plan)
    }
}

impl RuleOptions {
    /// These, and where they say nothing, those of the file.
    pub fn over(self, file: Self) -> Self {
        Self {
            interface: or_else(self.interface, file.interface),
            mirror: self.mirror || file.mirror,
            vlan: self.vlan.or(file.vlan),
            sample: self.sample.or(file.sample),
            spread: self.spread.or(file.spread),
            exclude: or_else(self.exclude, file.exclude),
        }
    }

    /// Whether there are to be rules.
    pub fn are_asked_for(&self) -> bool {
        !self.interface.is_empty()
    }

    /// The rules, if any are asked for, for the group that is given.
    pub fn resolve(self, groups: &[u16], snaplen: u32) -> Result<Option<Plan>, ConfigError> {
        if self.interface.is_empty() {
            return self.without_devices();
        }
        let [group] = groups else {
            let reason = "-i takes one -g, the first of the groups that --spread asks for: give one";
            return Err(ConfigError(reason.to_owned()));
        };
        self.for_devices(*group, snaplen).map(Some)
    }

    fn for_devices(self, group: u16, snaplen: u32) -> Result<Plan, ConfigError> {
        let count = self.spread.map_or(1, |count| count.0 as u16);
        if u32::from(group) + u32::from(count) > 1 << 16 {
            return Err(ConfigError(format!(
                "--spread {count} from group {group} on passes the last group, 65535: choose an earlier one with -g"
            )));
        }
        Ok(Plan {
            devices: self.devices()?,
            leaving: Leaving::Postrouting,
            sample: self.sample.map_or(1, |sample| sample.0),
            groups: (group, count),
            snaplen,
            exclusions: self.exclude.into_iter().map(|exclusion| exclusion.0).collect(),
            exports: Vec::new(),
        })
    }

    fn without_devices(self) -> Result<Option<Plan>, ConfigError> {
        let asked = [
            (self.mirror, "mirror"),
            (self.vlan.is_some(), "vlan"),
            (self.sample.is_some(), "sample"),
            (self.spread.is_some(), "spread"),
            (!self.exclude.is_empty(), "exclude"),
        ];
        match asked.iter().find(|(asked, _)| *asked) {
            Some((_, name)) => Err(ConfigError(format!(
                "--{name} is about rules of the probe's own: say for which device with -i, or put it into your rules"
            ))),
            None => Ok(None),
        }
    }

    fn devices(&self) -> Result<Devices, ConfigError> {
        let wrong = |reason: String| Err(ConfigError(reason));
        if let Some(name) = self.interface.iter().find(|name| !is_name(name)) {
            return wrong(format!("`{name}` cannot be the name of a device: see `ip link` for those that there are"));
        }
        let any = self.interface.iter().any(|name| name == "any");
        match (any, self.mirror) {
            (true, _) if self.interface.len() > 1 => wrong("-i any is all devices: name no other beside it".to_owned()),
            (true, true) => wrong("--mirror wants the names of the mirror ports: give them with -i".to_owned()),
            (true, false) if self.vlan.is_none() => Ok(Devices::Any),
            (false, false) if self.vlan.is_none() => Ok(Devices::Named(self.interface.clone())),
            (_, false) => wrong(
                "--vlan is about a mirror port: without --mirror, give the VLAN's device, as in -i eth0.42".to_owned(),
            ),
            (false, true) => Ok(Devices::Mirror(self.interface.clone(), self.vlan.map(|id| id.0 as u16))),
        }
    }
}

/// What the kernel takes for a device's name (`dev_valid_name`), and rules can have in quotes.
fn is_name(name: &str) -> bool {
    let octets = name.as_bytes();
    (1..16).contains(&octets.len()) && octets.iter().all(|octet| octet.is_ascii_graphic() && !b"/:\"*".contains(octet))
}
