//! Network namespaces: a sender and a probe host with a pair of interfaces between them.

use super::process::require;
use nix::sched::{CloneFlags, setns};
use nix::unistd::geteuid;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A network namespace, deleted at the end.
pub struct Netns(pub String);

impl Netns {
    pub fn new(role: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(geteuid().is_root(), "this test makes network namespaces: run it as root");
        require("ip", "iproute2");
        let name = format!("nfweir-{role}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let namespace = Self(name);
        run("ip", &["netns", "add", &namespace.0]);
        namespace.ip("link set lo up");
        namespace
    }

    /// A program that will run in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    /// Runs a program to its successful end.
    #[track_caller]
    pub fn exec(&self, program: &str, arguments: &str) -> String {
        let output = self.command(program).args(arguments.split_whitespace()).output().unwrap();
        succeeded(program, &output)
    }

    #[track_caller]
    pub fn ip(&self, arguments: &str) {
        let output = Command::new("ip").args(["-n", &self.0]).args(arguments.split_whitespace()).output().unwrap();
        succeeded(arguments, &output);
    }

    /// Gives a program its standard input.
    #[track_caller]
    pub fn feed(&self, program: &str, arguments: &[&str], input: &str) {
        let mut child = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        succeeded(program, &child.wait_with_output().unwrap());
    }

    /// Loads nftables rules.
    #[track_caller]
    pub fn nft(&self, rules: &str) {
        require("nft", "nftables");
        self.feed("nft", &["-f", "-"], rules);
    }

    /// Does something in it. Sockets, threads and programs made there belong to it.
    pub fn run<T: Send>(&self, order: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                order()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[track_caller]
fn succeeded(what: &str, output: &Output) -> String {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    succeeded(program, &Command::new(program).args(arguments).output().unwrap());
}

/// The sender (192.0.2.1, 2001:db8::1, interface `s0`) and the probe's host (….2, interface `p0`).
pub struct Pair {
    pub sender: Netns,
    pub probe: Netns,
}

impl Pair {
    pub fn new() -> Self {
        let pair = Self { sender: Netns::new("sender"), probe: Netns::new("probe") };
        let (sender, probe) = (&pair.sender, &pair.probe);
        sender.ip(&format!("link add s0 type veth peer name p0 netns {}", probe.0));
        for (namespace, name, own, other, mac) in
            [(sender, "s0", 1, 2, "02:00:00:00:00:01"), (probe, "p0", 2, 1, "02:00:00:00:00:02")]
        {
            namespace.ip(&format!("link set {name} address {mac} addrgenmode none"));
            namespace.ip(&format!("addr add 192.0.2.{own}/24 dev {name}"));
            namespace.ip(&format!("addr add 2001:db8::{own}/64 dev {name} nodad"));
            namespace.ip(&format!("link set {name} up"));
            // so that nobody has to ask
            for other_address in [format!("192.0.2.{other}"), format!("2001:db8::{other}")] {
                let other_mac = format!("02:00:00:00:00:0{other}");
                namespace.ip(&format!("neigh replace {other_address} lladdr {other_mac} dev {name}"));
            }
        }
        pair
    }
}
