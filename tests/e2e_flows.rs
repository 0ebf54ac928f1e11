//! From packets on a wire, through rules and the probe, to flows at real collectors.

mod common;

use common::collectors::{Details, Flow, Nfacctd, Nfcapd, all_taken, total};
use common::netns::Netns;
use common::nfweir::Probe;
use common::process::until;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

/// Flows end with the probe only.
const PATIENT: &str = "--inactive-timeout 1h --active-timeout 1h";

/// A sender at 10.1.0.1 and fd00:1::1, and the probe's host, whose device in0 has 10.1.0.2 and fd00:1::2.
fn wire() -> (Netns, Netns) {
    let (sender, host) = (Netns::new(), Netns::new());
    sender.join("out0", &host, "in0", 1);
    (sender, host)
}

#[test]
fn nft_to_netflow5() {
    exact(nft_rules, "netflow5", &V4);
}

#[test]
fn nft_to_netflow9() {
    exact(nft_rules, "netflow9", &BOTH);
}

#[test]
fn nft_to_ipfix() {
    exact(nft_rules, "ipfix", &BOTH);
}

#[test]
fn iptables_to_netflow5() {
    exact(iptables_rules, "netflow5", &V4);
}

#[test]
fn iptables_to_netflow9() {
    exact(iptables_rules, "netflow9", &BOTH);
}

#[test]
fn iptables_to_ipfix() {
    exact(iptables_rules, "ipfix", &BOTH);
}

/// Two collectors have each flow that was sent, and in all as many packets and octets as the rules counted.
fn exact(rules: fn(&Netns), protocol: &str, versions: &[Version]) {
    let (sender, host) = wire();
    rules(&host);
    let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
    let mut nfacctd = Nfacctd::start(&host, "127.0.0.1", 9996);
    let targets = format!("{PATIENT} -e {protocol}://127.0.0.1:9995 -e {protocol}://127.0.0.1:9996");
    let mut probe = Probe::start(&host, &targets);
    let sent: Vec<_> = versions.iter().flat_map(|version| version.traffic(&sender, &host)).collect();
    let account = probe.stop();
    account.assert_balance();
    assert_eq!(account.number("lost in the kernel"), 0);
    assert_eq!(account.in_flows(), host.counted());
    all_taken(&host, account.messages());
    for flows in [nfcapd.flows(), nfacctd.flows()] {
        assert_eq!(total(&flows), host.counted(), "{flows:#?}");
        let (known, tcp): (Vec<_>, Vec<_>) = flows.into_iter().partition(|flow| flow.destination.1 != TCP_PORT);
        let mut sent = sent.clone();
        sent.sort();
        assert_eq!(known, sent);
        assert_eq!(tcp.len(), versions.len(), "{tcp:#?}");
        assert!(tcp.iter().all(|flow| flow.octets > TCP_OCTETS as u64), "{tcp:#?}");
    }
}

fn nft_rules(host: &Netns) {
    host.nft(
        "table inet t {
            chain c {
                type filter hook prerouting priority 0
                iifname in0 meta l4proto { tcp, udp } counter log group 5 snaplen 128
                iifname in0 icmp type echo-request counter log group 5
                iifname in0 icmpv6 type echo-request counter log prefix \"ping \" group 5 queue-threshold 10
            }
        }",
    );
}

fn iptables_rules(host: &Netns) {
    for (iptables, ping) in [("iptables", "icmp --icmp-type"), ("ip6tables", "icmpv6 --icmpv6-type")] {
        for protocol in ["udp", "tcp", &format!("{ping} echo-request")] {
            let log = "-j NFLOG --nflog-group 5 --nflog-size 128";
            host.run(&format!("{iptables} -t raw -A PREROUTING -i in0 -p {protocol} {log}"));
        }
    }
}

const TCP_PORT: u16 = 7100;
const TCP_OCTETS: usize = 100_000;

/// What the traffic of an IP version looks like.
struct Version {
    sender: &'static str,
    host: &'static str,
    ip_header: u64,
    /// Destination port of an echo request.
    echo_request: u16,
}

const BOTH: [Version; 2] = [
    Version { sender: "10.1.0.1", host: "10.1.0.2", ip_header: 20, echo_request: 8 << 8 },
    Version { sender: "fd00:1::1", host: "fd00:1::2", ip_header: 40, echo_request: 128 << 8 },
];
const V4: [Version; 1] = [Version { ..BOTH[0] }];

impl Version {
    /// Sends UDP, ICMP and TCP from `sender` to `host`, and gives the flows of the first two.
    fn traffic(&self, sender: &Netns, host: &Netns) -> Vec<Flow> {
        let [from, to]: [IpAddr; 2] = [self.sender, self.host].map(|address| address.parse().unwrap());
        let mut flows = Vec::new();
        for (port, lengths) in [(7001, &[0][..]), (7002, &[1, 100]), (7003, &[1400, 512, 3])] {
            let packets = lengths.iter().map(|&length| (SocketAddr::new(to, port), length));
            sender.send(&SocketAddr::new(from, 5000).to_string(), packets);
            let octets = lengths.iter().map(|&length| self.ip_header + 8 + length as u64).sum();
            let packets = lengths.len() as u64;
            flows.push(Flow { source: (from, 5000), destination: (to, port), packets, octets });
        }
        sender.run(&format!("ping -q -c 3 -i 0.01 -s 200 {to}"));
        let octets = 3 * (self.ip_header + 8 + 200);
        flows.push(Flow { source: (from, 0), destination: (to, self.echo_request), packets: 3, octets });
        let listener = host.enter(|| TcpListener::bind((to, TCP_PORT)).unwrap());
        let receiver = thread::spawn(move || listener.accept().unwrap().0.read_to_end(&mut Vec::new()).unwrap());
        sender.enter(|| TcpStream::connect((to, TCP_PORT)).unwrap().write_all(&[0; TCP_OCTETS]).unwrap());
        assert_eq!(receiver.join().unwrap(), TCP_OCTETS);
        flows
    }
}

#[test]
fn times_are_those_of_the_kernel() {
    let (sender, host) = wire();
    host.nft(
        "table ip t { chain c { type filter hook prerouting priority 0; udp dport 7001-7005 counter log group 5; }; }",
    );
    let mut collectors = [9995, 9996].map(|port| Nfcapd::start(&host, "127.0.0.1", port));
    let mut probe = Probe::start(&host, &format!("{PATIENT} -e netflow9://127.0.0.1:9995 -e ipfix://127.0.0.1:9996"));
    let mut tcpdump = host.start(Command::new("tcpdump").args(["-i", "in0", "-nttl", "--immediate-mode", "udp"]));
    tcpdump.says("listening on");
    for round in 0..4 {
        for port in 7001..=7005 {
            sender.send("10.1.0.1:5000", [(SocketAddr::from(([10, 1, 0, 2], port)), 10)]);
            thread::sleep(Duration::from_millis(3 + round));
        }
    }
    until("20 packets at tcpdump", || (tcpdump.log().matches("10.1.0.1.5000 >").count() == 20).then_some(()));
    let log = tcpdump.log();
    let account = probe.stop();
    all_taken(&host, account.messages());
    for collector in &mut collectors {
        let flows = collector.details();
        assert_eq!(flows.len(), 5);
        for flow in flows {
            let to = format!(" > 10.1.0.2.{}: ", flow.flow.destination.1);
            let times: Vec<_> = log.lines().filter(|line| line.contains(&to)).map(stamp).collect();
            let [first, .., last] = times[..] else { panic!("{log}") };
            assert!(near(flow.first, first) && near(flow.last, last) && flow.first < flow.last);
        }
    }
}

/// The time in a line of `tcpdump -tt`.
fn stamp(line: &str) -> SystemTime {
    let (seconds, microseconds) = line.split(' ').next().unwrap().split_once('.').unwrap();
    let seconds = Duration::from_secs(seconds.parse().unwrap());
    SystemTime::UNIX_EPOCH + seconds + Duration::from_micros(microseconds.parse().unwrap())
}

fn near(one: SystemTime, other: SystemTime) -> bool {
    let apart = one.duration_since(other).unwrap_or_else(|error| error.duration());
    apart <= Duration::from_millis(1)
}

/// A packet to each port is logged at another hook; the probe's host is a router between in0 and out0.
#[test]
fn each_hook_is_understood() {
    let (sender, host) = wire();
    let far = Netns::new();
    host.join("out0", &far, "far0", 2);
    host.enter(|| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    });
    host.nft(
        "table netdev n {
            chain ingress {
                type filter hook ingress device in0 priority 0
                udp dport 7000 counter log group 5
                ether type arp log group 5
            }
            chain egress { type filter hook egress device out0 priority 0; udp dport 7001 counter log group 5; }
        }
        table inet t {
            chain ingress { type filter hook ingress device in0 priority 0; udp dport 7002 counter log group 5; }
            chain prerouting { type filter hook prerouting priority 0; udp dport 7003 counter log group 5; }
            chain forward { type filter hook forward priority 0; udp dport 7004 counter log group 5; }
            chain postrouting { type filter hook postrouting priority 0; udp dport { 7005, 7008 } counter log group 5; }
            chain input { type filter hook input priority 0; udp dport 7006 counter log group 5; }
            chain output { type filter hook output priority 0; udp dport 7007 counter log group 5; }
        }",
    );
    let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
    let mut probe = Probe::start(&host, &format!("{PATIENT} -e ipfix://127.0.0.1:9995"));
    sender.run("ip route add 10.2.0.0/24 via 10.1.0.2");
    sender.run("ip -6 route add fd00:2::/64 via fd00:1::2");
    let (none, input, output) = (0, host.ifindex("in0"), host.ifindex("out0"));
    let hooks = [
        (&sender, 1, 2, 7000, (input, none, false)),
        (&sender, 1, 2, 7001, (none, output, true)),
        (&sender, 1, 2, 7002, (input, none, false)),
        (&sender, 1, 2, 7003, (input, none, false)),
        (&sender, 1, 2, 7004, (input, output, false)),
        (&sender, 1, 2, 7005, (input, output, true)),
        (&sender, 1, 1, 7006, (input, none, false)),
        (&host, 2, 2, 7007, (none, output, true)),
        (&host, 2, 2, 7008, (none, output, true)),
    ];
    let mut expected = Vec::new();
    for (from, source_net, net, port, seen) in hooks {
        // the sender's own address on its net, then the far end or the host's near end
        for (source, destination, header) in [
            (format!("10.{source_net}.0.1"), format!("10.{net}.0.2"), 28),
            (format!("fd00:{source_net}::1"), format!("fd00:{net}::2"), 48),
        ] {
            let [source, destination]: [IpAddr; 2] = [source, destination].map(|address| address.parse().unwrap());
            from.send(&SocketAddr::new(source, 5000).to_string(), [(SocketAddr::new(destination, port), 100)]);
            let flow =
                Flow { source: (source, 5000), destination: (destination, port), packets: 1, octets: header + 100 };
            expected.push((flow, seen));
        }
    }
    // packets for neighbours not yet known are on their way a little later
    until("the last packet", || (host.counted().0 == expected.len() as u64).then_some(()));
    let account = probe.stop();
    account.assert_balance();
    assert!(account.number("not IP") >= 1, "ARP: {}", account.0);
    all_taken(&host, account.messages());
    let seen = |details: Details| (details.flow, (details.input, details.output, details.egress));
    let mut flows: Vec<_> = nfcapd.details().into_iter().map(seen).collect();
    flows.sort();
    expected.sort();
    assert_eq!(flows, expected);
}
