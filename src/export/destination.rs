//! Where flows go: to a collector, or into a file.

use super::rotating::Rotation;
use super::target::Target;
use std::fmt;
use std::path::PathBuf;

/// Where flows go.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Destination {
    /// A collector in the network.
    Collector(Target),
    /// A file of IPFIX messages.
    IpfixFile(FilePath),
    /// A file of JSON lines.
    JsonFile(FilePath),
    /// Standard output, as JSON lines.
    JsonOutput,
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    /// Where it is.
    pub path: PathBuf,
    /// When it is begun anew.
    pub rotation: Rotation,
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collector(target) => target.fmt(out),
            Self::IpfixFile(file) => write!(out, "file:{}", file.path.display()),
            Self::JsonFile(file) => write!(out, "json:{}", file.path.display()),
            Self::JsonOutput => out.write_str("json:-"),
        }
    }
}
