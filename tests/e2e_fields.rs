//! Fields that records have only where they are asked for: of the link, of options and of lengths.

mod common;

use common::capture::{Capture, ETHERNET};
use common::frames;
use common::netns::Netns;
use common::nfweir::{Probe, nfweir};
use common::process::until;
use common::tshark::{columns, well_formed};
use common::udp_collector::{UdpCollector, options};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// The records that a capture gives with these fields.
fn records(capture: &Capture, fields: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packets.pcap");
    capture.write(&path);
    let output = nfweir(&format!("read {} --fields {fields} -e json:-", path.display())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// TCP from A to B with these options, of a multiple of four octets.
fn tcp_with(options: &[u8], data: usize) -> Vec<u8> {
    let mut tcp = frames::tcp(1024, 443, 0x010, 0);
    tcp[12] = (((20 + options.len()) / 4) << 4) as u8;
    frames::ipv4(frames::v4(frames::TCP), &[&tcp, options, &vec![0; data]].concat())
}

/// What the first packet says stays; options and lengths are those of all.
#[test]
fn details_of_a_captured_flow() {
    let within = |label, ip: &[u8]| {
        let mpls = frames::mpls(label, false, &frames::mpls(17, true, ip));
        let inner = frames::vlan(8, frames::MPLS, &mpls);
        frames::ethernet(frames::SERVICE_VLAN, &frames::vlan(7, frames::VLAN, &inner))
    };
    let capture = Capture::pcap(ETHERNET).packets([
        within(0x12345, &tcp_with(&[2, 4, 5, 0xb4], 10)),
        within(0x54321, &tcp_with(&[1, 1, 1, 1], 200)),
        within(0x54321, &tcp_with(&[], 0)),
    ]);
    let [record] = &records(&capture, "full")[..] else { panic!() };
    let expected = [
        ("packetDeltaCount", json!(3)),
        ("sourceMacAddress", json!("02:00:00:00:00:0a")),
        ("destinationMacAddress", json!("02:00:00:00:00:0b")),
        ("vlanId", json!(7)),
        ("dot1qVlanId", json!(7)),
        ("dot1qCustomerVlanId", json!(8)),
        ("mplsTopLabelStackSection", json!("123450")),
        ("tcpOptions", json!(1 << 2 | 1 << 1)),
        ("minimumIpTotalLength", json!(40)),
        ("maximumIpTotalLength", json!(244)),
        ("nextHeaderIPv6", Value::Null),
    ];
    for (name, value) in expected {
        assert_eq!(record[name], value, "{name}: {record}");
    }
}

#[test]
fn details_of_ipv6() {
    let mut packet = frames::ipv6(frames::HOP_BY_HOP, &{
        let fragment = frames::fragment(frames::UDP, 0, true, &frames::udp(1, 2, 8));
        frames::extension(frames::FRAGMENT, frames::PADDING, &fragment)
    });
    packet[1..4].copy_from_slice(&[0x0a, 0xbc, 0xde]);
    let capture = Capture::pcap(ETHERNET).packets([frames::ethernet(frames::IPV6, &packet)]);
    let [record] = &records(&capture, "flowLabelIPv6,nextHeaderIPv6,fragmentIdentification,minimumIpTotalLength")[..]
    else {
        panic!()
    };
    let expected = json!({
        "flowLabelIPv6": 0xabcde, "nextHeaderIPv6": 0, "fragmentIdentification": 9, "minimumIpTotalLength": 72
    });
    assert_eq!(*record, expected);
}

/// The kernel tells of the Ethernet header at prerouting; tshark reads what became of it from both protocols' records.
#[test]
fn details_of_logged_packets_as_tshark_reads_them() {
    let (sender, host) = (Netns::new(), Netns::new());
    sender.join("out0", &host, "in0", 1);
    host.nft(
        "table inet t { chain c { type filter hook prerouting priority raw; udp dport 9 counter log group 5; }; }",
    );
    let collectors = ["127.0.0.1:2055", "127.0.0.1:4739"].map(|address| UdpCollector::listen(host.udp(address)));
    let fields = "sourceIPv4Address,destinationIPv4Address,sourceMacAddress,destinationMacAddress,\
                  minimumIpTotalLength,maximumIpTotalLength,fragmentIdentification,packetDeltaCount";
    let destinations = "-e netflow9://127.0.0.1 -e ipfix://127.0.0.1";
    let mut probe = Probe::start(&host, &format!("--fields {fields} {destinations}"));
    let to = |length| (SocketAddr::from(([10, 1, 0, 2], 9)), length);
    sender.send("0.0.0.0:5000", [to(10), to(100), to(50)]);
    until("the packets on their way", || (host.counted().0 == 3).then_some(()));
    probe.stop().assert_balance();
    let messages = collectors.map(UdpCollector::stop);
    let names = ["srcmac", "dstmac", "length_min", "length_max", "packets"].map(|name| format!("cflow.{name}"));
    let names = names.each_ref().map(String::as_str);
    let macs = [(&sender, "out0"), (&host, "in0")].map(|(netns, device)| mac(netns, device));
    for messages in messages {
        let told = columns(&[messages], &names);
        let record = told.iter().find(|columns| columns[4] == "3").unwrap();
        assert_eq!(record[..4], [&macs[0], &macs[1], "38", "128"], "{told:?}");
    }
}

fn mac(netns: &Netns, device: &str) -> String {
    let line = netns.run(&format!("ip -o link show dev {device}"));
    line.split_once("link/ether ").unwrap().1.split(' ').next().unwrap().to_owned()
}

/// Of netfilter's own, which collectors are told the type of (RFC 5610).
#[test]
fn mark_and_hook_are_elements_that_describe_themselves() {
    let host = Netns::new();
    host.nft(
        "table inet t { chain c { type filter hook input priority 0;
            udp dport 9 meta mark set 0xfe000001 counter log group 5; }; }",
    );
    let collector = UdpCollector::listen(host.udp("127.0.0.1:4739"));
    let (folder, fields) = (tempfile::tempdir().unwrap(), "netfilterMark,netfilterHook,packetDeltaCount");
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let json = folder.path().join("flows");
    let destinations = format!("-e ipfix://127.0.0.1 -e json:{}", json.display());
    let mut probe = Probe::start(&host, &format!("--fields {fields} {destinations}"));
    host.send("127.0.0.1:5000", [(SocketAddr::from(([127, 0, 0, 1], 9)), 10)]);
    probe.stop().assert_balance();
    let messages = collector.stop();
    let flow: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(flow, json!({"netfilterMark": 0xfe00_0001_u32, "netfilterHook": 1, "packetDeltaCount": 1}));
    let types = options(&messages, &[346, 303, 339, 344, 341]);
    assert_eq!(types, [["21373", "4", "3", "4", "netfilterMark"], ["21373", "5", "1", "4", "netfilterHook"]]);
    well_formed(&[messages]);
}

/// A process of the host sends, and its user is told; what comes in is nobody's, and user 0 is not nobody.
#[test]
fn packets_that_go_out_have_an_owner() {
    let host = Netns::new();
    host.nft(
        "table inet t {
            chain o { type filter hook output priority 0; udp dport 9-11 counter log group 5; };
            chain i { type filter hook input priority 0; udp dport 12 counter log group 5; }; }",
    );
    let collector = UdpCollector::listen(host.udp("127.0.0.1:4739"));
    let (folder, fields) =
        (tempfile::tempdir().unwrap(), "destinationTransportPort,userName,netfilterUid,netfilterGid");
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let json = folder.path().join("flows");
    let destinations = format!("-e ipfix://127.0.0.1 -e json:{}", json.display());
    let mut probe = Probe::start(&host, &format!("--fields {fields} {destinations}"));
    for (port, uid, gid) in [(9, 65534, 4343), (10, 4242, 0), (11, 0, 0), (12, 0, 0)] {
        let send = format!("echo >/dev/udp/127.0.0.1/{port}");
        let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={gid}"));
        let mut child = host.spawn(Command::new("setpriv").args([&uid, &gid, "--clear-groups", "bash", "-c", &send]));
        assert!(child.wait().unwrap().success());
    }
    probe.stop().assert_balance();
    let messages = collector.stop();
    let text = fs::read_to_string(&json).unwrap();
    let mut flows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    flows.sort_by_key(|flow| flow["destinationTransportPort"].as_u64());
    let expected = [
        json!({"destinationTransportPort": 9, "userName": "nobody", "netfilterUid": 65534, "netfilterGid": 4343}),
        json!({"destinationTransportPort": 10, "userName": "4242", "netfilterUid": 4242, "netfilterGid": 0}),
        json!({"destinationTransportPort": 11, "userName": "root", "netfilterUid": 0, "netfilterGid": 0}),
        json!({"destinationTransportPort": 12, "userName": "", "netfilterUid": null, "netfilterGid": null}),
    ];
    assert_eq!(flows, expected);
    let types = options(&messages, &[346, 303, 339, 344, 341]);
    assert_eq!(types, [["21373", "9", "3", "4", "netfilterUid"], ["21373", "10", "3", "4", "netfilterGid"]]);
    well_formed(&[messages]);
}

/// The kernel tells IP's hooks of bridged packets (br_netfilter), and still knows the socket of the namespace that they come
/// from, which is none of this host.
#[test]
fn bridged_packets_have_ports_and_no_owner() {
    let (sender, bridge, receiver) = (Netns::new(), Netns::new(), Netns::new());
    sender.join("out0", &bridge, "port1", 1);
    receiver.join("in0", &bridge, "port2", 2);
    receiver.run("ip address add 10.1.0.3/24 dev in0");
    bridge.run("ip link add br0 type bridge");
    for command in ["ip link set port1 master br0", "ip link set port2 master br0", "ip link set br0 up"] {
        bridge.run(command);
    }
    have_ip_hooks_of_bridges(&bridge);
    bridge.nft(
        "table ip t {
            chain f { type filter hook forward priority 0; udp dport 9 counter log group 5; };
            chain p { type filter hook postrouting priority 0; udp dport 10 counter log group 5; }; }",
    );
    let collector = UdpCollector::listen(bridge.udp("127.0.0.1:2055"));
    let (folder, names) = (tempfile::tempdir().unwrap(), ["ingressPhysicalInterface", "egressPhysicalInterface"]);
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let json = folder.path().join("flows");
    let fields = format!("destinationTransportPort,{},netfilterUid,egressInterface", names.join(","));
    let destinations = format!("-e netflow9://127.0.0.1 -e json:{}", json.display());
    let rule = "--interface-number port:200";
    let mut probe = Probe::start(&bridge, &format!("--fields {fields} {rule} {destinations}"));
    sender.send("0.0.0.0:5000", [9, 10].map(|port| (SocketAddr::from(([10, 1, 0, 3], port)), 10)));
    until("the packets on their way", || (bridge.counted().0 == 2).then_some(()));
    probe.stop().assert_balance();
    let text = fs::read_to_string(&json).unwrap();
    let mut flows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    flows.sort_by_key(|flow| flow["destinationTransportPort"].as_u64());
    // at postrouting, the kernel does not tell where they came in
    let expected = [(9, 201), (10, 0)].map(|(port, input)| {
        let mut flow = json!({
            "destinationTransportPort": port, "ingressPhysicalInterface": input, "egressPhysicalInterface": 202,
            "egressPhysicalInterfaceName": "port2", "netfilterUid": null, "egressInterface": bridge.ifindex("br0"),
            "egressInterfaceName": "br0"
        });
        if input > 0 {
            flow["ingressPhysicalInterfaceName"] = json!("port1");
        }
        flow
    });
    assert_eq!(flows, expected);
    well_formed(&[collector.stop()]);
}

fn have_ip_hooks_of_bridges(netns: &Netns) {
    let setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if !fs::exists(setting).unwrap() {
        let _ = Command::new("modprobe").arg("br_netfilter").status();
    }
    netns.enter(|| fs::write(setting, "1")).unwrap_or_else(|error| {
        panic!("{setting} cannot be written ({error}): this test needs a kernel with br_netfilter");
    });
}

/// TCP's data comes in super-packets (GSO over veth): how many segments they are is what the sender's kernel counts.
#[test]
fn packets_on_the_wire_are_estimated() {
    let list = "--fields sourceTransportPort,packetDeltaCount,estimatedPackets";
    for (options, address) in [("--estimate-segments", "10.1.0.2:7001"), (list, "[fd00:1::2]:7001")] {
        let (sender, host) = (Netns::new(), Netns::new());
        sender.join("out0", &host, "in0", 1);
        host.nft("table inet t { chain c { type filter hook prerouting priority 0; tcp dport 7001 log group 5; }; }");
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let json = folder.path().join("flows");
        let mut probe = Probe::start(&host, &format!("{options} -e json:{}", json.display()));
        let listener = host.enter(|| TcpListener::bind(address).unwrap());
        let mut stream = sender.enter(|| TcpStream::connect(address).unwrap());
        let reading = std::thread::spawn(move || {
            let (mut accepted, _) = listener.accept().unwrap();
            std::io::copy(&mut accepted, &mut std::io::sink()).unwrap()
        });
        stream.write_all(&vec![0; 4_000_000]).unwrap();
        drop(stream);
        assert_eq!(reading.join().unwrap(), 4_000_000);
        probe.stop().assert_balance();
        let sent = sender.statistic("Tcp", "OutSegs") + sender.statistic("Tcp", "RetransSegs");
        let flow: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
        let [seen, estimated] = ["packetDeltaCount", "estimatedPackets"].map(|name| flow[name].as_u64().unwrap());
        assert!(seen < sent / 2, "{seen} super-packets of {sent}");
        // the last acknowledgement of the end may still be under way
        assert!(sent.abs_diff(estimated) <= 1, "{estimated} of {sent}");
    }
}
