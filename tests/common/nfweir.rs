//! nfweir at work.

use super::account::Account;
use super::netns::Netns;
use super::process::{Process, until};
use nix::sys::signal::Signal;
use std::fs::{self, Permissions};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

pub const NFWEIR: &str = env!("CARGO_BIN_EXE_nfweir");

/// A command of nfweir, split at spaces.
pub fn nfweir(arguments: &str) -> Command {
    let mut command = Command::new(NFWEIR);
    command.args(arguments.split_whitespace());
    command
}

/// What nfweir said when it had ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Runs it to its end, without input unless the command has one.
    pub fn by(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    pub fn account(&self) -> Account {
        Account(self.stderr.clone())
    }
}

/// A folder that every user may look into.
pub fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Runs a command, split at spaces, to its end.
pub fn said(arguments: &str) -> Said {
    Said::by(nfweir(arguments).stdin(Stdio::null()))
}

/// `nfweir run`, receiving group 5.
pub struct Probe(pub Process);

impl Probe {
    pub fn start(netns: &Netns, options: &str) -> Self {
        // each test that asks a probe gives it a socket of its own
        let control = if options.contains("--control") { "" } else { "--control none" };
        Self::started(netns.start(&mut nfweir(&format!("run -g 5 {control} {options}"))))
    }

    /// Waits until it receives.
    pub fn started(mut process: Process) -> Self {
        process.says("receiving NFLOG group");
        Self(process)
    }

    /// Waits until its account has so many before the words.
    pub fn until_account(&self, words: &str, number: u64) {
        until(&format!("{number} {words}"), || {
            self.signal(Signal::SIGUSR1);
            let log = self.log();
            (log.contains(" records sent") && Account(log).number(words) == number).then_some(())
        });
    }

    /// Ends it in peace, and gives the last account.
    pub fn stop(&mut self) -> Account {
        self.signal(Signal::SIGTERM);
        self.account_at_end()
    }

    pub fn account_at_end(&mut self) -> Account {
        assert_eq!(self.ends(), Some(0), "{}", self.log());
        Account(self.log())
    }
}

impl Deref for Probe {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Probe {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}
