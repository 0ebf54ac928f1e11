//! Programs that run beside a test and end with it.

use super::netns::Netns;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `look` finds something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Fails with a sentence where a program is missing.
pub fn require(program: &str, package: &str) {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    assert!(found, "this test needs `{program}`: install Debian's package {package}, or run tests/run, which does");
}

/// A program with a folder for its output.
pub struct Process {
    child: Child,
    pub folder: TempDir,
}

impl Process {
    /// Starts it in a namespace; both outputs go to its log.
    pub fn start(netns: &Netns, command: &mut Command) -> Self {
        Self::start_with(netns, command, tempfile::tempdir().unwrap())
    }

    pub fn start_with(netns: &Netns, command: &mut Command, folder: TempDir) -> Self {
        let log = File::create(folder.path().join("log")).unwrap();
        Self::spawned(netns.spawn(command.stdout(log.try_clone().unwrap()).stderr(log)), folder)
    }

    /// A child that has its log in this folder.
    pub fn spawned(child: Child, folder: TempDir) -> Self {
        Self { child, folder }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits until the log has this in it.
    pub fn says(&mut self, text: &str) {
        until(&format!("`{text}`"), || {
            let ended = self.child.try_wait().unwrap();
            let said = self.log().contains(text);
            assert!(said || ended.is_none(), "ended without saying `{text}`: {}", self.log());
            said.then_some(())
        });
    }

    /// Waits until it listens at this UDP port.
    pub fn listens(&mut self, port: u16) {
        self.has_socket(port, ["udp", "udp6"]);
    }

    /// Waits until it listens at this TCP port.
    pub fn listens_to_tcp(&mut self, port: u16) {
        self.has_socket(port, ["tcp", "tcp6"]);
    }

    fn has_socket(&mut self, port: u16, tables: [&str; 2]) {
        let place = format!(":{port:04X} ");
        until(&format!("a listener at port {port}"), || {
            assert!(self.child.try_wait().unwrap().is_none(), "ended: {}", self.log());
            let tables = tables.map(|table| format!("/proc/{}/net/{table}", self.id()));
            tables.iter().any(|table| fs::read_to_string(table).is_ok_and(|t| t.contains(&place))).then_some(())
        });
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end; its exit code, if it has one.
    pub fn ends(&mut self) -> Option<i32> {
        until("the end of a program", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let end: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("--- end of the log of process {}:", self.id());
            end.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
