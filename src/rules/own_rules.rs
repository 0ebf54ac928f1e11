//! What `nfweir run -i` sets up, and what is gone when it ends.

use super::own_table::{OwnTable, RuleError};
use super::plan::{Devices, Plan};
use super::promiscuous::{NotPromiscuous, Promiscuous};
use nix::net::if_::{if_indextoname, if_nametoindex};

/// The probe's own rules, and its wishes for devices.
#[derive(Debug)]
pub struct OwnRules {
    table: OwnTable,
    _devices: Vec<Promiscuous>,
}

/// Why they could not be set up; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum OwnRulesError {
    /// The kernel did not take the table.
    #[error(transparent)]
    Table(#[from] RuleError),
    /// A mirror port does not receive what is for others.
    #[error(transparent)]
    Device(#[from] NotPromiscuous),
}

impl OwnRules {
    /// Sets them up. Needs CAP_NET_ADMIN, and for mirror ports CAP_NET_RAW.
    pub fn load(plan: &Plan) -> Result<Self, OwnRulesError> {
        let devices = match &plan.devices {
            Devices::Mirror(names, _) => names.iter().map(|name| Promiscuous::new(name)).collect::<Result<_, _>>()?,
            Devices::Named(names) => {
                let misnamed = names.iter().filter_map(|name| misnamed(name));
                misnamed.for_each(|(what, mend)| log::warn!("{what}: {mend}"));
                Vec::new()
            }
            _ => Vec::new(),
        };
        let table = OwnTable::load(&own_table(plan), &plan.table())?;
        Ok(Self { table, _devices: devices })
    }

    /// Goes on by another plan for the same devices and groups. Needs CAP_NET_ADMIN.
    pub fn replace(&self, plan: &Plan) -> Result<(), RuleError> {
        self.table.replace_rules(&plan.table())
    }
}

/// The table's name: two probes on one host have different groups.
pub fn own_table(plan: &Plan) -> String {
    format!("nfweir_{}", plan.groups.0)
}

/// What is wrong with a device's name, if anything is, and the mend. The rules are about names, so a device may come later;
/// and about a device's first name alone.
pub fn misnamed(name: &str) -> Option<(String, String)> {
    let Ok(index) = if_nametoindex(name) else {
        let what = format!("there is no device {name}, so nothing is captured by it until it comes");
        return Some((what, "`ip link` shows those that are there".to_owned()));
    };
    let first = if_indextoname(index).ok()?.to_string_lossy().into_owned();
    (first != name).then(|| {
        let what = format!("{name} is another name of device {first}, by which rules do not know it");
        (what, format!("give -i {first}"))
    })
}
