//! Where the probe can be asked and told things.

use crate::control::Place;
use clap::Args;
use serde::Deserialize;
use std::path::PathBuf;

/// Options that say where the probe is asked and told things.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ControlOptions {
    /// Unix socket by which `nfweir status`, `flows`, `top`, `flush` and `stop` find this probe, one for each of several
    /// probes; or none [default: /run/nfweir/control.sock, if it can be had]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl ControlOptions {
    /// These, and where they say nothing, those of the file.
    pub fn over(self, file: Self) -> Self {
        Self { control: self.control.or(file.control) }
    }

    /// With the default.
    pub fn place(self) -> Place {
        match self.control {
            None => Place::Usual,
            Some(path) if path.as_os_str() == "none" => Place::Nowhere,
            Some(path) => Place::At(path),
        }
    }
}
