//! `nfweir run` in a namespace, until its end.

use super::netns::Netns;
use super::process::{NFWEIR, Said, ends, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::process::{Child, Command};
use tempfile::TempDir;

pub struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    /// Starts it, and waits until it receives.
    pub fn start(namespace: &Netns, arguments: &str) -> Self {
        let mut command = namespace.command(NFWEIR);
        command.arg("run").args(arguments.split_whitespace());
        let daemon = Self::spawn(&mut command);
        wait_for("nfweir to receive", || daemon.log().contains("receiving NFLOG group"));
        daemon
    }

    pub fn spawn(command: &mut Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        let child = command.stdout(file("out")).stderr(file("log")).spawn().unwrap();
        Self { child, folder }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Asks for the account in the middle of its work.
    pub fn account(&self) -> Said {
        let before = self.log().len();
        self.signal(Signal::SIGUSR1);
        wait_for("the account", || self.log()[before..].contains("flows: ") && self.log().ends_with('\n'));
        Said { code: None, stdout: String::new(), stderr: self.log()[before..].to_owned() }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Said {
        let status = ends("nfweir", &mut self.child);
        let stdout = fs::read_to_string(self.folder.path().join("out")).unwrap();
        Said { code: status.code(), stdout, stderr: self.log() }
    }

    #[track_caller]
    pub fn stop(self) -> Said {
        self.signal(Signal::SIGTERM);
        self.end()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
