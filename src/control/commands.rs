//! `nfweir status`, `flows`, `flush` and `stop`: ask, and print what is answered.

use super::client::{Client, ClientError};
use super::query::FlowQuery;
use super::request::Command;
use crate::logging::printable;
use clap::Args;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Which probe.
#[derive(Args, Clone, Debug)]
pub struct AskOptions {
    /// The probe's control socket [default: /run/nfweir/control.sock]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

/// What `nfweir status` was told.
#[derive(Args, Clone, Debug)]
pub struct StatusOptions {
    #[command(flatten)]
    ask: AskOptions,
    /// All there is to know, as one object of JSON
    #[arg(long)]
    json: bool,
}

/// What `nfweir flows` was told.
#[derive(Args, Clone, Debug)]
pub struct FlowsOptions {
    #[command(flatten)]
    ask: AskOptions,
    #[command(flatten)]
    query: FlowQuery,
    /// Each flow as an object of JSON on a line of its own, with IANA's names
    #[arg(long)]
    json: bool,
}

impl AskOptions {
    /// The probe's control socket, if another than the usual.
    pub fn path(&self) -> Option<&Path> {
        self.control.as_deref()
    }

    /// Has every flow exported.
    pub fn flush(&self) -> Result<(), ClientError> {
        let mut client = Client::connect(self.path())?;
        let flushed = client.ask(Command::Flush)?.flush.ok_or_else(|| client.nothing())?;
        print(&format!("{} flows are exported\n", flushed.flows));
        Ok(())
    }

    /// Has the probe end, and waits until it has exported every flow.
    pub fn stop(&self) -> Result<(), ClientError> {
        let mut client = Client::connect(self.path())?;
        let stopped = client.ask(Command::Stop)?.stop.ok_or_else(|| client.nothing())?;
        print(&(stopped.account.join("\n") + "\n"));
        Ok(())
    }
}

impl StatusOptions {
    /// Prints how the probe is.
    pub fn show(&self) -> Result<(), ClientError> {
        let mut client = Client::connect(self.ask.path())?;
        let status = client.ask(Command::Status)?.status.ok_or_else(|| client.nothing())?;
        let json = || serde_json::to_string_pretty(&status).unwrap_or_default() + "\n";
        print(&if self.json { json() } else { status.to_string() });
        Ok(())
    }
}

impl FlowsOptions {
    /// Prints what is in the probe's table.
    pub fn show(self) -> Result<(), ClientError> {
        let mut client = Client::connect(self.ask.path())?;
        let flows = client.ask(Command::Flows(self.query))?.flows.ok_or_else(|| client.nothing())?;
        if self.json {
            print(&flows.records.iter().map(|record| format!("{record}\n")).collect::<String>());
            return Ok(());
        }
        print(&flows.lines.iter().map(|line| printable(line) + "\n").collect::<String>());
        let (shown, matched) = (flows.lines.len(), flows.matched);
        print(&format!("{shown} of {matched} flows, which have {} packets, {} octets\n", flows.packets, flows.octets));
        Ok(())
    }
}

/// Whoever reads it may have seen enough.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
