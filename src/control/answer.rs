//! What is answered: one of these, or an error.

use super::VERSION;
use super::flows::Flows;
use super::status::Status;
use serde::{Deserialize, Serialize};

/// A line to a peer.
#[derive(Debug, Deserialize, Serialize)]
pub struct Answer {
    /// The protocol's.
    pub version: u32,
    /// How the probe is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Status>>,
    /// What is in its table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<Flows>,
    /// That the table was exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flush: Option<Flushed>,
    /// That the probe has come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stopped>,
    /// Why there is nothing of that; a sentence for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a flush has done.
#[derive(Debug, Deserialize, Serialize)]
pub struct Flushed {
    /// Flows that were exported by it.
    pub flows: u64,
}

/// What the probe did in its life.
#[derive(Debug, Deserialize, Serialize)]
pub struct Stopped {
    /// The account, as it is logged.
    pub account: Vec<String>,
}

impl Answer {
    fn new() -> Self {
        Self { version: VERSION, status: None, flows: None, flush: None, stop: None, error: None }
    }

    /// How the probe is.
    pub fn status(status: Status) -> Self {
        Self { status: Some(Box::new(status)), ..Self::new() }
    }

    /// What is in its table.
    pub fn flows(flows: Flows) -> Self {
        Self { flows: Some(flows), ..Self::new() }
    }

    /// That so many flows were exported.
    pub fn flushed(flows: u64) -> Self {
        Self { flush: Some(Flushed { flows }), ..Self::new() }
    }

    /// That the probe has ended, and its account.
    pub fn stopped(account: &str) -> Self {
        let account = account.lines().map(str::to_owned).collect();
        Self { stop: Some(Stopped { account }), ..Self::new() }
    }

    /// Why not.
    pub fn error(reason: impl Into<String>) -> Self {
        Self { error: Some(reason.into()), ..Self::new() }
    }

    /// As it is sent.
    pub fn line(&self) -> Vec<u8> {
        // fails only where a map has keys that are no strings, of which there is none
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}
