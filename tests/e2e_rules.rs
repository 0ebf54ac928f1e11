//! Rules of the probe's own: loaded by it, or printed and loaded by nft and iptables.

mod common;

use common::frames;
use common::netns::Netns;
use common::nfweir::{NFWEIR, Probe, nfweir, said};
use common::process::until;
use common::udp_collector::{UdpCollector, options};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tempfile::TempDir;

/// Packets in a flow: UDP with ten octets.
const PACKETS: u64 = 3;

/// A client and a server, and the router between them, which is the host with the probe.
struct Network {
    client: Netns,
    router: Netns,
    server: Netns,
    folder: TempDir,
}

/// A flow: input and output interface by name, and whether it goes out.
type Seen = (String, String, bool);

impl Network {
    fn new() -> Self {
        let [client, router, server] = [Netns::new(), Netns::new(), Netns::new()];
        client.join("out0", &router, "left", 1);
        server.join("out0", &router, "right", 2);
        for (host, net) in [(&client, 1), (&server, 2)] {
            host.run(&format!("ip route add default via 10.{net}.0.2"));
            host.run(&format!("ip -6 route add default via fd00:{net}::2"));
        }
        router.run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        Self { client, router, server, folder }
    }

    fn json(&self) -> String {
        self.folder.path().join("flows").display().to_string()
    }

    /// To the router, from the router to each side, and through it both ways; each by its port and both IP versions.
    fn exchange(&self) {
        let ends = [
            (&self.client, ["10.1.0.2", "fd00:1::2"], 7001),
            (&self.router, ["10.1.0.1", "fd00:1::1"], 7002),
            (&self.router, ["10.2.0.1", "fd00:2::1"], 7003),
            (&self.client, ["10.2.0.1", "fd00:2::1"], 7004),
            (&self.server, ["10.1.0.1", "fd00:1::1"], 7005),
            (&self.router, ["127.0.0.1", "::1"], 7006),
        ];
        for (from, addresses, port) in ends {
            for (any, address) in ["0.0.0.0:5000", "[::]:5000"].into_iter().zip(addresses) {
                let to = SocketAddr::new(address.parse().unwrap(), port);
                from.send(any, [(to, 10); PACKETS as usize]);
            }
        }
        // the last have come through when the far ends have refused them
        for host in [&self.client, &self.router, &self.server] {
            until("the packets at their ends", || {
                (host.statistic("Udp", "NoPorts") + host.statistic("Udp6", "NoPorts") >= 2 * PACKETS).then_some(())
            });
        }
    }

    /// The flows that the probe saw, by port. Each has all its packets, and there is one for each IP version.
    fn seen(&self) -> BTreeMap<u64, Seen> {
        let names: BTreeMap<u64, &str> =
            [("left", 0), ("right", 0), ("lo", 0)].map(|(name, _)| (self.router.ifindex(name).into(), name)).into();
        let name = |number: &Value| names.get(&number.as_u64().unwrap_or_default()).map_or("", |name| *name).to_owned();
        let mut seen = BTreeMap::new();
        let mut versions: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for line in fs::read_to_string(self.json()).unwrap().lines() {
            let flow: Value = serde_json::from_str(line).unwrap();
            let port = flow["destinationTransportPort"].as_u64().unwrap();
            if flow["protocolIdentifier"] != 17 || !(7001..=7006).contains(&port) {
                continue;
            }
            assert_eq!(flow["packetDeltaCount"], PACKETS, "{line}");
            let version = if flow["sourceIPv4Address"].is_string() { 4 } else { 6 };
            versions.entry(port).or_default().push(version);
            let [input, output] = ["ingressInterface", "egressInterface"].map(|field| name(&flow[field]));
            let there = seen.insert(port, (input, output, flow["flowDirection"] == 1));
            assert!(there.is_none_or(|there| there == seen[&port]), "{line}");
        }
        versions.values_mut().for_each(|versions| versions.sort());
        assert!(versions.values().all(|versions| *versions == [4, 6]), "{versions:?}");
        seen
    }

    /// What a probe with these options sees.
    fn captured(&self, options: &str) -> BTreeMap<u64, Seen> {
        let command = format!("run {options} -e json:{}", self.json());
        let mut probe = Probe::started(self.router.start(&mut nfweir(&command)));
        self.exchange();
        let account = probe.stop();
        account.assert_balance();
        assert_eq!(account.number("lost in the kernel"), 0);
        self.seen()
    }
}

fn flows<const N: usize>(flows: [(u64, &str, &str, bool); N]) -> BTreeMap<u64, Seen> {
    flows.map(|(port, input, output, goes_out)| (port, (input.to_owned(), output.to_owned(), goes_out))).into()
}

fn of_any() -> BTreeMap<u64, Seen> {
    flows([
        (7001, "left", "", false),
        (7002, "", "left", true),
        (7003, "", "right", true),
        (7004, "left", "right", false),
        (7005, "right", "left", false),
    ])
}

fn of_left() -> BTreeMap<u64, Seen> {
    let mut flows = of_any();
    flows.remove(&7003);
    // of this device, it goes out
    flows.get_mut(&7005).unwrap().2 = true;
    flows
}

#[test]
fn each_packet_is_captured_once() {
    for (options, expected) in [
        ("-i any", of_any()),
        ("-i left", of_left()),
        ("-i left -i right", of_any()),
        ("-i any --spread 4", of_any()),
        ("-i lo", flows([(7006, "lo", "", false)])),
        (
            "-i left --exclude udp_dport_7001 --exclude ip_saddr_10.2.0.0/16_udp_dport_7005 --exclude ip6_saddr_fd00:2::/32",
            {
                let mut left = of_left();
                left.retain(|port, _| ![7001, 7005].contains(port));
                left
            },
        ),
    ] {
        let network = Network::new();
        // options are split at spaces
        let (options, exclusions): (Vec<_>, Vec<_>) = options.split(' ').partition(|word| !word.contains('_'));
        let mut command = nfweir(&format!("run -e json:{}", network.json()));
        command.args(options.iter().filter(|word| **word != "--exclude"));
        exclusions.iter().for_each(|words| {
            command.args(["--exclude", &words.replace('_', " ")]);
        });
        let mut probe = Probe::started(network.router.start(&mut command));
        network.exchange();
        let account = probe.stop();
        account.assert_balance();
        assert_eq!(account.number("lost in the kernel"), 0);
        assert_eq!(network.seen(), expected, "{options:?}");
        assert_eq!(network.router.run("nft list tables"), "", "{options:?}");
    }
}

/// What `nfweir rules` prints, in files for those who look for an example.
const PRINTED: [(&str, &str); 11] = [
    ("nft/server.nft", "nft"),
    ("nft/router.nft", "nft -i left -i right"),
    ("nft/mirror-port.nft", "nft -i mirror0 --mirror"),
    ("nft/vlan.nft", "nft -i mirror0 --mirror --vlan 42"),
    ("nft/sampled.nft", "nft --sample 100"),
    ("nft/spread.nft", "nft --spread 4"),
    ("nft/dropped.nft", "nft --dropped"),
    ("iptables/server.rules", "iptables"),
    ("iptables/router.rules", "iptables -i left -i right"),
    ("iptables/sampled.rules", "iptables --sample 100"),
    ("iptables/dropped.rules", "iptables --dropped"),
];

fn printed(options: &str) -> String {
    let said = said(&format!("rules {options}"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said.stdout
}

#[test]
fn the_examples_are_what_is_printed() {
    for (file, options) in PRINTED {
        let there = fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default();
        assert!(printed(options) == there, "{file} is not what it should be: nfweir rules {options} > {file}");
    }
    let folders = ["nft", "iptables"].map(|folder| fs::read_dir(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"))));
    assert_eq!(folders.into_iter().flat_map(|folder| folder.unwrap()).count(), PRINTED.len());
}

/// Loads what is printed for nft, iptables or ip6tables.
fn load(host: &Netns, options: &str) {
    let rules = printed(options);
    match options.split(' ').next().unwrap() {
        "nft" => host.nft(&rules),
        program => {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(&file, rules).unwrap();
            host.run(&format!("{program}-restore --noflush {}", file.path().display()));
        }
    }
}

#[test]
fn the_examples_load() {
    for (_, options) in PRINTED {
        let host = Netns::new();
        host.run("ip link add mirror0 type veth peer name mirror1");
        load(&host, options);
    }
}

#[test]
fn printed_rules_capture_each_packet_once() {
    for (rules, groups, mut expected) in [
        ("", "-g 5", of_any()),
        ("-i left", "-g 5", of_left()),
        ("-i left -i right", "-g 5", of_any()),
        ("--spread 4", "-g 5 -g 6 -g 7 -g 8", of_any()),
    ] {
        let network = Network::new();
        load(&network.router, &format!("nft {rules}"));
        // again, in its place
        load(&network.router, &format!("nft {rules}"));
        assert_eq!(network.captured(groups), expected, "nft {rules}");
        if rules.contains("spread") {
            continue;
        }
        let network = Network::new();
        ["iptables", "ip6tables"].iter().for_each(|program| load(&network.router, &format!("{program} {rules}")));
        // where it is seen, it counts as coming in
        expected.get_mut(&7005).unwrap().2 = false;
        assert_eq!(network.captured(groups), expected, "iptables {rules}");
    }
}

#[test]
fn what_the_firewall_drops_is_captured() {
    for program in ["nft", "iptables"] {
        let network = Network::new();
        let router = &network.router;
        let rules = printed(&format!("{program} --dropped"))
            .replace("tcp dport 23", "udp dport 7004")
            .replace("tcp --dport 23", "udp --dport 7004");
        match program {
            "nft" => router.nft(&rules),
            _ => {
                let file = network.folder.path().join(program);
                fs::write(&file, rules).unwrap();
                router.run(&format!("iptables-restore --noflush {}", file.display()));
            }
        }
        let json = network.json();
        let mut probe = Probe::start(router, &format!("-e json:{json}"));
        network.client.send("0.0.0.0:5000", [(SocketAddr::from(([10, 2, 0, 1], 7004)), 10); PACKETS as usize]);
        probe.until_account("seen", PACKETS);
        probe.stop().assert_balance();
        let flow: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
        let said = ["packetDeltaCount", "destinationTransportPort"].map(|field| flow[field].clone());
        assert_eq!(said, [PACKETS, 7004], "{flow}");
        assert_eq!(network.server.statistic("Udp", "NoPorts"), 0);
    }
}

/// What the host sends to many comes back to it where somebody listens.
#[test]
fn what_is_sent_to_many_is_captured_once() {
    for (options, printed) in [("-i left", None), ("-i any", None), ("-g 5", Some("iptables -i left"))] {
        let network = Network::new();
        printed.into_iter().for_each(|options| load(&network.router, options));
        let json = network.json();
        let command = format!("run {options} -e json:{json}");
        let mut probe = Probe::started(network.router.start(&mut nfweir(&command)));
        let listener = network.router.udp("0.0.0.0:7007");
        listener.join_multicast_v4(&Ipv4Addr::new(224, 0, 0, 251), &Ipv4Addr::new(10, 1, 0, 2)).unwrap();
        let sender = network.router.udp("10.1.0.2:5000");
        for _ in 0..PACKETS {
            assert_eq!(sender.send_to(&[0; 10], "224.0.0.251:7007").unwrap(), 10);
            assert_eq!(listener.recv(&mut [0; 20]).unwrap(), 10);
        }
        probe.stop().assert_balance();
        let flows = fs::read_to_string(json).unwrap();
        let flows = flows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let flows: Vec<_> = flows.filter(|flow| flow["destinationTransportPort"] == 7007).collect();
        assert!(flows.len() == 1 && flows[0]["packetDeltaCount"] == PACKETS, "{options}: {flows:?}");
        assert_eq!(flows[0]["flowDirection"], 1, "{flows:?}");
    }
}

#[test]
fn an_export_by_loopback_is_no_flow_there() {
    let host = Netns::new();
    let collector = UdpCollector::listen(host.udp("127.0.0.1:9995"));
    let mut probe =
        Probe::started(host.start(&mut nfweir("run -i lo -e ipfix://[::ffff:127.0.0.1]:9995 --inactive-timeout 1s")));
    host.send("127.0.0.1:5000", [(SocketAddr::from(([127, 0, 0, 1], 7001)), 10)]);
    probe.until_account("exported with", 2);
    let account = probe.stop();
    account.assert_balance();
    assert_eq!(account.number("seen"), 2, "the packet, and that nobody is there: {}", account.0);
    assert!(!collector.stop().is_empty());
}

#[test]
fn the_export_itself_is_no_flow() {
    let network = Network::new();
    let collector = UdpCollector::listen(network.server.udp("10.2.0.1:9995"));
    let folder = network.json();
    let command = format!("run -i any -e ipfix://10.2.0.1:9995 -e json:{folder} --inactive-timeout 1s");
    let mut probe = Probe::started(network.router.start(&mut nfweir(&command)));
    for port in [7001, 7002] {
        network.client.send("0.0.0.0:5000", [(SocketAddr::from(([10, 2, 0, 1], port)), 10)]);
        until("its flow", || fs::read_to_string(&folder).unwrap().contains(&format!(":{port},")).then_some(()));
    }
    probe.stop().assert_balance();
    assert!(!collector.stop().is_empty());
    let flows = fs::read_to_string(folder).unwrap();
    assert!(!flows.lines().any(|line| line.contains("\"destinationTransportPort\":9995")), "{flows}");
}

#[test]
fn what_is_sampled_is_declared() {
    let network = Network::new();
    let collector = UdpCollector::listen(network.router.udp("127.0.0.1:9995"));
    let command = "run -i left --sample 100 -e ipfix://127.0.0.1:9995";
    let mut probe = Probe::started(network.router.start(&mut nfweir(command)));
    let rules = network.router.run("nft list ruleset");
    assert!(rules.contains("numgen random mod 100 0 log"), "{rules}");
    let sent = 20_000;
    network.client.send("0.0.0.0:5000", (0..sent).map(|_| (SocketAddr::from(([10, 1, 0, 2], 7001)), 10)));
    let account = probe.stop();
    account.assert_balance();
    // eight standard deviations
    assert!((90..=310).contains(&account.number("seen")), "{}", account.0);
    assert_eq!(options(&collector.stop(), &[305, 306])[0], ["1", "99"]);
}

/// A frame for another host, with a VLAN tag or without one.
fn frame(vlan: Option<u16>) -> Vec<u8> {
    let packet = frames::ipv4(frames::v4(17), &frames::udp(5000, 7004, 10));
    match vlan {
        Some(id) => frames::ethernet(0x8100, &frames::vlan(id, 0x0800, &packet)),
        None => frames::ethernet(0x0800, &packet),
    }
}

/// With two tags.
fn double(outer: u16, inner: u16) -> Vec<u8> {
    let packet = frames::ipv4(frames::v4(17), &frames::udp(5000, 7004, 10));
    frames::ethernet(frames::SERVICE_VLAN, &frames::vlan(outer, frames::VLAN, &frames::vlan(inner, 0x0800, &packet)))
}

#[test]
fn a_mirror_port_is_heard_out() {
    for (options, is_printed, expected) in [
        ("", false, 5 * PACKETS),
        ("--vlan 42", false, 2 * PACKETS),
        ("", true, 5 * PACKETS),
        ("--vlan 42", true, 2 * PACKETS),
    ] {
        let network = Network::new();
        let router = &network.router;
        router.nft(
            "table netdev t { chain c { type filter hook ingress device left priority 0;
                ether saddr 02:00:00:00:00:0a counter; }; }",
        );
        let promiscuity = || router.run("ip -d link show dev left").contains("promiscuity 1");
        let mut command = format!("run -i left --mirror {options} -e json:{}", network.json());
        if is_printed {
            load(router, &format!("nft -i left --mirror {options}"));
            router.run("ip link set left promisc on");
            command = format!("run -g 5 -e json:{}", network.json());
        }
        let mut probe = Probe::started(router.start(&mut nfweir(&command)));
        assert!(promiscuity());
        for vlan in [None, Some(41), Some(42)] {
            network.client.send_frames("out0", &frame(vlan), PACKETS);
        }
        // of a provider, with the customer's tag inside; the latter does not count
        for (outer, inner) in [(42, 41), (41, 42)] {
            network.client.send_frames("out0", &double(outer, inner), PACKETS);
        }
        until("the frames", || (router.counted().0 == 5 * PACKETS).then_some(()));
        probe.stop().assert_balance();
        assert_eq!(promiscuity(), is_printed);
        let flows = fs::read_to_string(network.json()).unwrap();
        let flows = flows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let flows: Vec<_> = flows.filter(|flow| flow["sourceTransportPort"] == 5000).collect();
        assert_eq!(flows.iter().map(|flow| flow["packetDeltaCount"].as_u64().unwrap()).sum::<u64>(), expected);
        assert!(flows.iter().all(|flow| flow["ingressInterface"] == router.ifindex("left")), "{flows:?}");
        let vlans: Vec<_> = flows.iter().map(|flow| flow["vlanId"].as_u64().unwrap_or_default()).collect();
        assert!(options.is_empty() || vlans == [42], "{vlans:?}");
    }
}

/// A port of a bridge as a mirror port sees what is passed on; the bridge's own device what is for the host, and the rest only
/// where the kernel shows that to the network layer (br_netfilter).
#[test]
fn a_bridge_is_seen_at_its_ports_or_as_a_device() {
    for (options, shown, expected) in [
        ("-i left --mirror", "0", &[(7001, "left", ""), (7002, "left", "")][..]),
        ("-i br0", "0", &[(7002, "br0", "")]),
        ("-i br0", "1", &[(7001, "br0", "br0"), (7002, "br0", "")]),
    ] {
        let [one, host, other] = [Netns::new(), Netns::new(), Netns::new()];
        one.join("out0", &host, "left", 1);
        other.join("out0", &host, "right", 2);
        other.run("ip address add 10.1.0.9/24 dev out0");
        host.run("ip link add br0 up type bridge");
        for port in ["left", "right"] {
            host.run(&format!("ip address flush dev {port}"));
            host.run(&format!("ip link set {port} master br0"));
        }
        host.run("ip address add 10.1.0.2/24 dev br0");
        host.run(&format!("sysctl -q -w net.bridge.bridge-nf-call-iptables={shown}"));
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let json = folder.path().join("flows");
        let command = format!("run {options} -e json:{}", json.display());
        let mut probe = Probe::started(host.start(&mut nfweir(&command)));
        for (address, port, end) in [([10, 1, 0, 9], 7001, &other), ([10, 1, 0, 2], 7002, &host)] {
            one.send("0.0.0.0:5000", [(SocketAddr::from((address, port)), 10); PACKETS as usize]);
            until("the packets refused", || (end.statistic("Udp", "NoPorts") == PACKETS).then_some(()));
        }
        probe.stop().assert_balance();
        let flows = fs::read_to_string(json).unwrap();
        let flows = flows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut flows: Vec<_> = flows.filter(|flow| flow["protocolIdentifier"] == 17).collect();
        flows.retain(|flow| flow["packetDeltaCount"] == PACKETS);
        flows.sort_by_key(|flow| flow["destinationTransportPort"].as_u64());
        let index = |name: &str| if name.is_empty() { 0 } else { host.ifindex(name) };
        let seen: Vec<_> = flows
            .iter()
            .map(|flow| {
                ["destinationTransportPort", "ingressInterface", "egressInterface"]
                    .map(|name| flow[name].as_u64().unwrap_or_default())
            })
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|&(port, input, output)| [port, index(input).into(), index(output).into()]).collect();
        assert_eq!(seen, expected, "{options}, {shown}");
    }
}

#[test]
fn nothing_stays_of_a_killed_probe() {
    let host = Netns::new();
    let mut probe = Probe::started(host.start(&mut nfweir("run -i any --spread 2")));
    let list = "nft list tables";
    assert_eq!(host.run(list).trim(), "table inet nfweir_5");
    let flush = || host.spawn(Command::new("nft").args(["delete", "table", "inet", "nfweir_5"])).wait().unwrap();
    assert!(!flush().success(), "nobody else can change it");
    let again = host.enter(|| said("run -i any -g 5"));
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains(&format!("NFLOG group 5 is taken by nfweir (process {})", probe.id())),
        "{}",
        again.stderr
    );
    probe.signal(Signal::SIGKILL);
    probe.ends();
    until("no table", || host.run(list).is_empty().then_some(()));
    assert!(fs::exists(NFWEIR).unwrap());
}

#[test]
fn wrong_wishes_are_refused() {
    for (options, reason) in [
        ("run", "capture by a device with -i DEVICE, or name the group in your rule with -g GROUP"),
        ("run -g 5 --mirror", "--mirror is about rules of the probe's own: say for which device with -i"),
        ("run -i any -i eth0", "name no other beside it"),
        ("run -i any --mirror", "--mirror wants the names of the mirror ports"),
        ("run -i eth0 --vlan 5", "give the VLAN's device, as in -i eth0.42"),
        ("run -i eth0/1", "cannot be the name of a device"),
        ("run -i eth0 -g 5 -g 6", "-i takes one -g"),
        ("run -i eth0 -g 65535 --spread 2", "passes the last group"),
        ("run -i eth0 --sample 5 --sampling-rate 5", "leave out --sampling-rate"),
        ("run -i eth0 --exclude ssh", "`ssh` is not understood: write `tcp dport 22`"),
        ("rules iptables -i eth0 --mirror", "use `nfweir rules nft` for a mirror port"),
        ("rules iptables -i eth+", "use `nfweir rules nft` for such a device"),
        ("rules nft --dropped --sample 10", "cannot be used with"),
        ("run -i eth0 --sample 1000001", "is not a number from 1 to 1000000"),
        ("rules iptables --spread 2", "use `nfweir rules nft` to spread over groups"),
    ] {
        let said = said(options);
        assert!(said.code == Some(2) && said.stderr.contains(reason), "{options}: {said:?}");
    }
    let host = Netns::new();
    // the kernel says so of a chain, not of its table
    host.run("ip link add eth0 type veth peer name eth1");
    let twice = host.enter(|| said("run -i eth0 -i eth0 --mirror"));
    assert_eq!(twice.code, Some(1));
    assert!(twice.stderr.contains("the kernel did not take the nftables table `nfweir_5`"), "{}", twice.stderr);
    let absent = host.enter(|| said("run -i eth9 --mirror"));
    assert_eq!(absent.code, Some(1));
    assert!(absent.stderr.contains("device eth9 cannot be made to receive what is for others"), "{}", absent.stderr);
}
