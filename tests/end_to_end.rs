//! From a rule in the kernel to a collector's disk, packet for packet and octet for octet: nftables and iptables, NetFlow v5,
//! v9 and IPFIX, IPv4 and IPv6, nfcapd and nfacctd.

mod common;

use common::daemon::Daemon;
use common::flows::{Counts, Flows, Key};
use common::netns::{Netns, Pair};
use common::nfacctd::Nfacctd;
use common::nfcapd::Nfcapd;
use common::process::{ends, require, wait_for};
use nfweir::capture::pcap::CaptureReader;
use nfweir::packet::parse;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::thread;

/// The rules select these; ICMP echo requests too.
const UDP: [(u16, u16, usize, u64); 2] = [(4001, 5001, 100, 10), (4002, 5002, 1000, 20)];
const TCP_PORT: u16 = 5003;
const PINGS: u64 = 5;

/// How the packets are selected.
#[derive(Clone, Copy)]
enum Rules {
    Nft,
    Iptables,
}

impl Rules {
    fn load(self, probe: &Netns) {
        match self {
            Self::Nft => probe.nft(
                "table inet t {
                   chain logged {
                     meta nfproto ipv4 counter
                     counter log group 5 snaplen 128
                   }
                   chain pre {
                     type filter hook prerouting priority 0;
                     iifname \"p0\" udp dport 5001-5002 jump logged
                     iifname \"p0\" tcp dport 5003 jump logged
                     iifname \"p0\" icmp type echo-request jump logged
                     iifname \"p0\" icmpv6 type echo-request jump logged
                   }
                 }",
            ),
            Self::Iptables => {
                require("iptables-restore", "iptables");
                for (program, icmp) in
                    [("iptables-restore", "icmp --icmp-type"), ("ip6tables-restore", "icmpv6 --icmpv6-type")]
                {
                    let log = "-j NFLOG --nflog-group 5 --nflog-size 128";
                    let rules = format!(
                        "*mangle\n-A PREROUTING -i p0 -p udp --dport 5001:5002 {log}\n\
                         -A PREROUTING -i p0 -p tcp --dport 5003 {log}\n\
                         -A PREROUTING -i p0 -p {icmp} echo-request {log}\nCOMMIT\n"
                    );
                    probe.feed(program, &[], &rules);
                }
            }
        }
    }

    /// Packets and octets that the rules have logged of IPv4, and of both versions, by the kernel's own counters.
    fn logged(self, probe: &Netns) -> [(u64, u64); 2] {
        match self {
            Self::Nft => {
                let text = probe.exec("nft", "list chain inet t logged");
                let after = |word| text.split(word).skip(1).map(first_number).collect::<Vec<_>>();
                let (packets, octets) = (after(" packets "), after(" bytes "));
                [(packets[0], octets[0]), (packets[1], octets[1])]
            }
            Self::Iptables => {
                let [v4, v6] = ["iptables", "ip6tables"].map(|program| {
                    let text = probe.exec(program, "-t mangle -nvxL PREROUTING");
                    let rows = text.lines().filter(|line| line.contains("NFLOG"));
                    rows.map(|line| {
                        let (packets, octets) = line.trim_start().split_once(' ').unwrap();
                        (first_number(packets), first_number(octets))
                    })
                    .fold((0, 0), |sums, counts| (sums.0 + counts.0, sums.1 + counts.1))
                });
                [v4, (v4.0 + v6.0, v4.1 + v6.1)]
            }
        }
    }
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn hosts() -> [(IpAddr, IpAddr, u64); 2] {
    [("192.0.2.1", "192.0.2.2", 20), ("2001:db8::1", "2001:db8::2", 40)]
        .map(|(from, to, header)| (from.parse().unwrap(), to.parse().unwrap(), header))
}

/// Sends what the rules select, and some of what they do not.
fn send(pair: &Pair) {
    for (from, to, _) in hosts() {
        pair.sender.run(|| {
            for (source, port, length, datagrams) in UDP.into_iter().chain([(4003, 5999, 10, 3)]) {
                let socket = UdpSocket::bind((from, source)).unwrap();
                for _ in 0..datagrams {
                    socket.send_to(&vec![1; length], (to, port)).unwrap();
                }
            }
        });
        require("ping", "iputils-ping");
        pair.sender.exec("ping", &format!("-q -i 0.02 -c {PINGS} {to}"));
        let listener = pair.probe.run(|| TcpListener::bind((to, TCP_PORT)).unwrap());
        let server = thread::spawn(move || {
            let mut received = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
            received.len()
        });
        pair.sender.run(|| TcpStream::connect((to, TCP_PORT)).unwrap().write_all(&[1; 100_000]).unwrap());
        assert_eq!(server.join().unwrap(), 100_000);
    }
}

/// The flows of which every packet is known.
fn known() -> Flows {
    let mut flows = Flows::default();
    for (from, to, header) in hosts() {
        let mut add = |key: Key, packets: u64, octets: u64| {
            flows.add(key, Counts { packets, octets: packets * octets, first: 0, last: 0, tcp_flags: 0 });
        };
        for (source, port, length, datagrams) in UDP {
            add((17, from, source, to, port), datagrams, header + 8 + length as u64);
        }
        let (protocol, echo) = if from.is_ipv4() { (1, 8 << 8) } else { (58, 128 << 8) };
        add((protocol, from, 0, to, echo), PINGS, header + 8 + 56);
    }
    flows
}

fn plain(flows: Flows) -> Flows {
    flows.reduced(|counts| (counts.first, counts.last, counts.tcp_flags) = (0, 0, 0))
}

fn without_tcp(mut flows: Flows) -> Flows {
    flows.0.retain(|key, _| key.0 != 6);
    flows
}

/// tcpdump beside the probe, for the times that the kernel gave the packets.
struct Tcpdump {
    child: Child,
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Tcpdump {
    fn start(probe: &Netns) -> Self {
        require("tcpdump", "tcpdump");
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("packets.pcap"), folder.path().join("log"));
        let child = probe
            .command("tcpdump")
            .args(["-i", "p0", "-Q", "in", "-s", "128", "-U", "--immediate-mode", "-Z", "root", "-w"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        wait_for("tcpdump to listen", || fs::read_to_string(&log).unwrap().contains("listening on"));
        Self { child, path, _folder: folder }
    }

    /// Waits until it has seen as many packets that the rules select, and gives their flows.
    fn stop(mut self, packets: u64) -> Flows {
        wait_for("the packets at tcpdump", || self.flows().sums().0 >= packets);
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        ends("tcpdump", &mut self.child);
        self.flows()
    }

    fn flows(&self) -> Flows {
        let mut reader = CaptureReader::open(File::open(&self.path).unwrap()).unwrap();
        let mut flows = Flows::default();
        // the last one may not be there in whole yet
        while let Ok(Some(packet)) = reader.next_packet() {
            let time = packet.time.millis();
            if let Ok((_, headers)) = parse(packet.start, packet.bytes, packet.octets.unwrap()) {
                let (source, destination) = (headers.source, headers.destination);
                let key = (headers.protocol, source, headers.source_port, destination, headers.destination_port);
                let counts = Counts { packets: 1, octets: headers.octets, first: time, last: time, tcp_flags: 0 };
                flows.add(key, counts);
            }
        }
        flows.0.retain(|key, _| selected(key));
        flows
    }
}

/// Whether the rules select this flow.
fn selected(&(protocol, .., port): &Key) -> bool {
    match protocol {
        6 => port == TCP_PORT,
        17 => (5001..=5002).contains(&port),
        protocol => [(1, 8 << 8), (58, 128 << 8)].contains(&(protocol, port)),
    }
}

#[track_caller]
fn assert_times(found: &Flows, kernel: &Flows) {
    for (key, counts) in &found.0 {
        let truth = kernel.0[key];
        let off = counts.first.abs_diff(truth.first).max(counts.last.abs_diff(truth.last));
        assert!(off <= 1, "{key:?} is {off} ms off: {counts:?}, by the kernel {truth:?}");
    }
}

fn from_rule_to_disk(rules: Rules, protocol: &str) {
    let pair = Pair::new();
    rules.load(&pair.probe);
    let nfcapd = pair.probe.run(Nfcapd::start);
    let nfacctd = pair.probe.run(Nfacctd::start);
    let targets = [nfcapd.port, nfacctd.port].map(|port| format!("-e {protocol}://127.0.0.1:{port}"));
    let daemon = Daemon::start(&pair.probe, &format!("-g 5 {}", targets.join(" ")));
    let tcpdump = Tcpdump::start(&pair.probe);
    send(&pair);
    let [logged_v4, logged] = rules.logged(&pair.probe);
    let kernel = tcpdump.stop(logged.0);
    let said = daemon.stop();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said.assert_balanced();
    assert_eq!((said.account("seen"), said.account("lost in the kernel")), (logged.0, 0));

    let at_nfcapd = nfcapd.stop();
    let sayable = |flows: Flows| if protocol == "netflow5" { flows.v4_only() } else { flows };
    assert_eq!(plain(without_tcp(at_nfcapd.clone())).differences(&sayable(known())), [""; 0]);
    assert_times(&at_nfcapd, &kernel);
    let exported = if protocol == "netflow5" { logged_v4 } else { logged };
    assert_eq!(at_nfcapd.sums(), exported);

    let at_nfacctd = nfacctd.stop(exported.0);
    assert_eq!(at_nfacctd.differences(&plain(at_nfcapd)), [""; 0]);
}

#[test]
fn nft_by_netflow5() {
    from_rule_to_disk(Rules::Nft, "netflow5");
}

#[test]
fn nft_by_netflow9() {
    from_rule_to_disk(Rules::Nft, "netflow9");
}

#[test]
fn nft_by_ipfix() {
    from_rule_to_disk(Rules::Nft, "ipfix");
}

#[test]
fn iptables_by_netflow5() {
    from_rule_to_disk(Rules::Iptables, "netflow5");
}

#[test]
fn iptables_by_netflow9() {
    from_rule_to_disk(Rules::Iptables, "netflow9");
}

#[test]
fn iptables_by_ipfix() {
    from_rule_to_disk(Rules::Iptables, "ipfix");
}
