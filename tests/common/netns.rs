//! Network namespaces that nobody else sees: held by a file descriptor alone, so they go with the test however it ends.

use super::process::{Process, until};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::process::{self, Child, Command, Stdio};
use std::thread;

pub struct Netns(File);

impl Netns {
    /// With nothing in it but the loopback device.
    pub fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map(|()| File::open("/proc/thread-self/ns/net").unwrap())
        });
        let netns = made.join().unwrap().unwrap_or_else(|error| {
            panic!("a network namespace cannot be had ({error}): this test needs root");
        });
        let netns = Self(netns);
        netns.run("ip link set lo up");
        netns
    }

    /// Joins `device` here with `peer` there; both are up, their addresses are `10.net.0.1` and `.2`, `fd00:net::1`
    /// and `::2`.
    pub fn join(&self, device: &str, other: &Self, peer: &str, net: u8) {
        let there = format!("/proc/{}/fd/{}", process::id(), other.0.as_raw_fd());
        self.run(&format!("ip link add {device} type veth peer name {peer} netns {there}"));
        for (netns, device, host) in [(self, device, 1), (other, peer, 2)] {
            netns.run(&format!("ip address add 10.{net}.0.{host}/24 dev {device}"));
            netns.run(&format!("ip address add fd00:{net}::{host}/64 dev {device} nodad"));
            netns.run(&format!("ip link set {device} up"));
        }
    }

    /// Does some work inside. Sockets opened by it stay inside.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Starts a program inside.
    pub fn spawn(&self, command: &mut Command) -> Child {
        self.enter(|| command.spawn()).unwrap_or_else(|error| {
            panic!("{:?} cannot be run ({error}): tests/run installs what the tests need", command.get_program());
        })
    }

    /// What a command, split at spaces, says. It has to succeed.
    pub fn run(&self, command: &str) -> String {
        self.feed(command, "")
    }

    /// Loads rules in nft's language.
    pub fn nft(&self, rules: &str) {
        self.feed("nft -f -", rules);
    }

    fn feed(&self, command: &str, input: &str) -> String {
        let words: Vec<_> = command.split_whitespace().collect();
        let pipes = [Stdio::piped(), Stdio::piped(), Stdio::piped()];
        let [stdin, stdout, stderr] = pipes;
        let mut child = self.spawn(Command::new(words[0]).args(&words[1..]).stdin(stdin).stdout(stdout).stderr(stderr));
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Packets and octets that all rules with a counter have counted, those of iptables included.
    pub fn counted(&self) -> (u64, u64) {
        let rules = self.run("nft list ruleset");
        let counters = rules.split("counter packets ").skip(1).map(|counter| {
            let mut words = counter.split_whitespace();
            let packets: u64 = words.next().unwrap().parse().unwrap();
            (packets, words.nth(1).unwrap().parse::<u64>().unwrap())
        });
        counters.fold((0, 0), |sum, counter| (sum.0 + counter.0, sum.1 + counter.1))
    }

    pub fn ifindex(&self, device: &str) -> u32 {
        let line = self.run(&format!("ip -o link show dev {device}"));
        line.split(':').next().unwrap().parse().unwrap()
    }

    /// A program that another thread is just starting may hold a copy of an earlier socket for a moment.
    pub fn udp(&self, address: &str) -> UdpSocket {
        until("a free port", || match self.enter(|| UdpSocket::bind(address)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => None,
            bound => Some(bound.unwrap()),
        })
    }

    /// Sends UDP packets from a socket inside, each to its destination with its length.
    pub fn send(&self, from: &str, packets: impl IntoIterator<Item = (SocketAddr, usize)>) {
        let socket = self.udp(from);
        for (destination, length) in packets {
            assert_eq!(socket.send_to(&vec![0; length], destination).unwrap(), length);
        }
    }

    /// Sends a frame as it is by a device inside, so many times.
    pub fn send_frames(&self, device: &str, frame: &[u8], times: u64) {
        let hex: String = frame.iter().map(|octet| format!("{octet:02x}")).collect();
        let script = format!(
            "import socket\n\
             wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
             wire.bind(('{device}', 0))\n\
             for _ in range({times}): wire.send(bytes.fromhex('{hex}'))\n"
        );
        self.feed("python3 -", &script);
    }

    /// A number of the kernel's statistics: `Udp` and `NoPorts`, or `Ip6` and `OutNoRoutes`.
    pub fn statistic(&self, protocol: &str, name: &str) -> u64 {
        let table = self.enter(|| fs::read_to_string("/proc/thread-self/net/snmp6").unwrap());
        let six = table.lines().find_map(|line| line.strip_prefix(protocol)?.strip_prefix(name)?.trim().parse().ok());
        six.unwrap_or_else(|| {
            let table = self.enter(|| fs::read_to_string("/proc/thread-self/net/snmp").unwrap());
            let mut lines = table.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(": "));
            let mut pairs = lines.next().unwrap().split(' ').zip(lines.next().unwrap().split(' '));
            pairs.find(|pair| pair.0 == name).unwrap().1.parse().unwrap()
        })
    }

    /// A running program.
    pub fn start(&self, command: &mut Command) -> Process {
        Process::start(self, command)
    }
}
