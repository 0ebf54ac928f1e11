//! Connections that NFLOG tells with packets (`NFULA_CT`), which takes a kernel that can: `tests/vm/run` has one.

mod common;

use common::netns::Netns;
use common::nfweir::Probe;
use common::process::until;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;

/// A client, a router that changes both ends of what goes to its port 8080, and the source of the rest; a server. The router
/// logs at a hook.
fn scene(hook: &str) -> [Netns; 3] {
    let (client, router, server) = (Netns::new(), Netns::new(), Netns::new());
    client.join("c0", &router, "r0", 1);
    router.join("r1", &server, "s0", 2);
    router.enter(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    client.run("ip route add default via 10.1.0.2");
    router.nft(&format!(
        "table inet nat {{
            chain pre {{ type nat hook prerouting priority dstnat; ip daddr 10.1.0.2 udp dport 8080 dnat ip to 10.2.0.2:80; }};
            chain post {{ type nat hook postrouting priority srcnat; oifname r1 meta l4proto udp masquerade to :20000;
                oifname r1 masquerade; }}; }}
        table inet t {{ chain c {{ type filter hook {hook};
            iifname {{ r0, r1 }} meta l4proto {{ udp, icmp }} counter log group 5; }}; }}"
    ));
    [client, router, server]
}

/// So many questions and answers.
fn talk(client: &UdpSocket, server: &UdpSocket, to: &str, times: usize) {
    let mut buffer = [0; 9];
    for _ in 0..times {
        client.send_to(b"ask", to).unwrap();
        let (_, peer) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"answer", peer).unwrap();
        client.recv_from(&mut buffer).unwrap();
    }
}

/// So many echo requests to the server, each answered.
fn ping(client: &Netns, times: u16) {
    let socket = client.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))).unwrap();
    for sequence in 1..=times {
        // type 8, code 0, the checksum, identifier 7
        let [[a, b], [c, d]] = [!(0x0800 + 7 + sequence), sequence].map(u16::to_be_bytes);
        socket.send_to(&[8, 0, a, b, 0, 7, c, d], &SocketAddr::from(([10, 2, 0, 2], 0)).into()).unwrap();
        let mut answer = [0; 28];
        while answer[20..28] != [0, 0, a + 8, b, 0, 7, c, d] {
            (&socket).read_exact(&mut answer).unwrap();
        }
    }
}

/// What the router exports of what happens, and how many flows its account calls found.
fn flows(router: &Netns, happen: impl FnOnce()) -> (Vec<Value>, u64) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let json = folder.path().join("flows");
    let mut probe = Probe::start(router, &format!("--nat -e json:{}", json.display()));
    happen();
    let account = probe.stop();
    account.assert_balance();
    assert_eq!(account.in_flows(), router.counted());
    let counts = ["flows found", "not tracked", "not looked up", "without ports"].map(|words| account.number(words));
    assert_eq!(counts.iter().sum::<u64>(), account.number("exported with"), "{}", account.0);
    let text = fs::read_to_string(json).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), counts[0])
}

/// A flow's ends behind NAT.
fn behind(flow: &Value) -> [SocketAddr; 2] {
    ["Source", "Destination"].map(|end| {
        let address = flow[format!("postNAT{end}IPv4Address")].as_str().unwrap();
        let port = flow[format!("postNAPT{end}TransportPort")].as_u64().unwrap();
        SocketAddr::new(address.parse().unwrap(), port as u16)
    })
}

/// Which the kernel cannot be asked for by the ends that packets have at hook forward; at prerouting, a flow's second packet
/// tells it.
#[test]
#[ignore = "takes a kernel whose NFLOG tells connections: run tests/vm/run"]
fn connections_of_which_nat_changes_both_ends() {
    for hook in
        ["prerouting priority raw", "prerouting priority -150", "forward priority 0", "postrouting priority 300"]
    {
        let [client, router, server] = scene(hook);
        let (from, there) = (client.udp("10.1.0.1:5000"), server.udp("10.2.0.2:80"));
        let (flows, found) = flows(&router, || talk(&from, &there, "10.1.0.2:8080", 3));
        let raw = hook.ends_with("raw");
        assert_eq!((flows.len(), found), (2, 2), "{hook}: {flows:?}");
        let told: BTreeSet<_> = flows.iter().map(behind).collect();
        let end = |text: &str| text.parse::<SocketAddr>().unwrap();
        let out = [end("10.2.0.1:20000"), end("10.2.0.2:80")];
        let back = [end("10.1.0.2:8080"), end("10.1.0.1:5000")];
        assert_eq!(told, BTreeSet::from([out, back]), "{hook}{}", if raw { ", by asking" } else { "" });
        let ids: BTreeSet<_> = flows.iter().map(|flow| flow["flowId"].as_u64().unwrap()).collect();
        assert!(ids.len() == 1 && !ids.contains(&0), "{hook}: {ids:?}");
    }
}

/// ICMP has no ports to ask by. The first packet of a connection has its NAT before it at prerouting, and is asked for.
#[test]
#[ignore = "takes a kernel whose NFLOG tells connections: run tests/vm/run"]
fn pings_and_single_packets() {
    let [client, router, server] = scene("forward priority 300");
    let server_end = server.udp("10.2.0.2:80");
    let (flows, found) = flows(&router, || {
        ping(&client, 3);
        client.send("10.1.0.1:5001", [("10.2.0.2:80".parse().unwrap(), 10)]);
        server_end.recv_from(&mut [0; 99]).unwrap();
        until("the last packet", || (router.counted().0 == 7).then_some(()));
    });
    assert_eq!((flows.len(), found), (3, 3), "{flows:?}");
    for flow in &flows {
        let is_back = flow["sourceIPv4Address"] == "10.2.0.2";
        let (address, end) = if is_back { ("10.1.0.1", 1) } else { ("10.2.0.1", 0) };
        assert_eq!(behind(flow)[end].ip().to_string(), address, "{flow}");
        assert!(flow["flowId"] != 0, "{flow}");
    }
    // type and code stay where they are
    let icmp: BTreeSet<_> =
        flows.iter().filter(|flow| flow["protocolIdentifier"] == 1).map(|it| behind(it)[1].port()).collect();
    assert_eq!(icmp, BTreeSet::from([0, 8 << 8]));
}
