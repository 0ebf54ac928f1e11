//! SIGHUP: the configuration file is read again, and what it says otherwise is so from then on, all of it or nothing.

use crate::collectors::CollectorError;
use crate::config::reload::{changes, needing_restart};
use crate::config::{ConfigError, RunConfig, RunOptions};
use crate::export::destination::Destination;
use crate::probe::RunningProbe;
use crate::rules::own_rules::OwnRules;
use crate::rules::own_table::RuleError;
use crate::rules::own_traffic;
use crate::rules::plan::Plan;

/// Why everything stays as it is; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The probe would have to be another.
    #[error("{0} cannot change while the probe runs: restart it for that")]
    Restart(String),
    /// A collector cannot be spoken to, or a file not be written.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The probe's own rules cannot leave the export out.
    #[error(transparent)]
    Rules(#[from] RuleError),
}

/// What a reload starts from.
pub struct Reloader<'a> {
    options: &'a RunOptions,
    config: RunConfig,
    /// Whether the flow table keeps details, as it does from the start or not at all.
    keeps_details: bool,
    rules: Option<(&'a OwnRules, Plan)>,
}

impl<'a> Reloader<'a> {
    /// Of a probe that was started by these, and may have rules of its own by this plan.
    pub fn new(options: &'a RunOptions, config: RunConfig, rules: Option<(&'a OwnRules, Plan)>) -> Self {
        let keeps_details = config.export.fields.need_details();
        Self { options, config, keeps_details, rules }
    }

    /// What the probe works by now.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Reads the files again, and says in the log what came of it. Without a configuration file, those are certificates alone.
    pub fn reload(&mut self, probe: &RunningProbe) {
        let Some(file) = self.options.file() else {
            log::info!("SIGHUP: reading certificates again");
            return probe.reload();
        };
        match self.change(probe) {
            Ok(changes) if changes.is_empty() => log::info!("SIGHUP: {} says nothing new", file.display()),
            Ok(changes) => log::info!("SIGHUP: {} is in force: {}", file.display(), changes.join(", ")),
            Err(error) => log::error!("SIGHUP: nothing is changed: {error}"),
        }
    }

    /// What has changed.
    fn change(&mut self, probe: &RunningProbe) -> Result<Vec<String>, ReloadError> {
        let config = self.options.clone().resolve()?;
        let options = needing_restart(&self.config, &config, self.keeps_details);
        if !options.is_empty() {
            return Err(ReloadError::Restart(options.join(", ")));
        }
        // certificates may be others under the same names; before there are new collectors, which read them anyway
        probe.reload();
        let prepared = probe.prepare(&config.export)?;
        self.leave_out(&config.export.destinations)?;
        probe.carry_out(prepared);
        let changes = changes(&self.config.export, &config.export);
        self.config = config;
        Ok(changes)
    }

    /// Has the probe's own rules leave out the export to these destinations, and to those before, which may still have to get
    /// some.
    fn leave_out(&self, destinations: &[Destination]) -> Result<(), RuleError> {
        let before = &self.config.export.destinations;
        let Some((rules, plan)) = self.rules.as_ref().filter(|_| destinations != before) else { return Ok(()) };
        let mut exports = own_traffic::of(destinations);
        for export in own_traffic::of(before) {
            if !exports.contains(&export) {
                exports.push(export);
            }
        }
        rules.replace(&Plan { exports, ..plan.clone() })
    }
}
