//! What NAT makes of addresses and ports, by connection tracking: a client, a router that translates, a server.

mod common;

use common::account::Account;
use common::collectors::{Nfcapd, all_taken};
use common::netns::Netns;
use common::nfweir::{Probe, said};
use common::process::until;
use common::tshark::columns;
use common::udp_collector::UdpCollector;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

/// What the router translates: the source of what goes to the server's network, and where its port 8080 is.
const NAT: &str = "table inet nat {
    chain pre { type nat hook prerouting priority dstnat;
        ip daddr 10.2.0.1 tcp dport 8080 dnat ip to 10.1.0.1:80; ip daddr 10.2.0.1 udp dport 8080 dnat ip to 10.1.0.1:80;
        ip6 daddr fd00:2::1 tcp dport 8080 dnat ip6 to [fd00:1::1]:80;
        ip6 daddr fd00:2::1 udp dport 8080 dnat ip6 to [fd00:1::1]:80; };
    chain post { type nat hook postrouting priority srcnat;
        oifname \"r1\" meta l4proto { tcp, udp } masquerade to :20000; }; }";

/// A client and a server with a router between them.
struct Scene {
    client: Netns,
    router: Netns,
    server: Netns,
}

impl Scene {
    /// The router logs TCP and UDP at a hook.
    fn new(hook: &str) -> Self {
        let (client, router, server) = (Netns::new(), Netns::new(), Netns::new());
        client.join("c0", &router, "r0", 1);
        router.join("r1", &server, "s0", 2);
        router.enter(|| {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        });
        client.run("ip route add default via 10.1.0.2");
        client.run("ip -6 route add default via fd00:1::2");
        router.nft(&format!(
            "table inet t {{ chain c {{ type filter hook {hook};
                iifname {{ r0, r1 }} meta l4proto {{ tcp, udp }} counter log group 5; }}; }}"
        ));
        Self { client, router, server }
    }

    /// The client asks the server, and the server what is behind the router's port, by UDP and TCP.
    fn talk(&self, ends: &Conversation) {
        let Self { client, server, .. } = self;
        for talk in [udp, tcp] {
            talk((client, ends.client), ends.server, (server, ends.server));
            talk((server, ends.visitor), ends.door, (client, ends.inside));
        }
    }
}

/// The ends of the conversations of one IP version.
struct Conversation {
    client: SocketAddr,
    server: SocketAddr,
    /// What the client looks like to the server.
    masked: SocketAddr,
    visitor: SocketAddr,
    /// What the visitor speaks to, and what that is.
    door: SocketAddr,
    inside: SocketAddr,
}

impl Conversation {
    fn new([client, router, server]: [&str; 3]) -> Self {
        let end = |address: &str, port| SocketAddr::new(address.parse().unwrap(), port);
        Self {
            client: end(client, 5000),
            server: end(server, 9),
            masked: end(router, 20_000),
            visitor: end(server, 6000),
            door: end(router, 8080),
            inside: end(client, 80),
        }
    }

    fn v4() -> Self {
        Self::new(["10.1.0.1", "10.2.0.1", "10.2.0.2"])
    }

    fn v6() -> Self {
        Self::new(["fd00:1::1", "fd00:2::1", "fd00:2::2"])
    }

    /// Of each direction, its ends before NAT and behind it.
    fn directions(&self) -> [[(SocketAddr, SocketAddr); 2]; 4] {
        let Self { client, server, masked, visitor, door, inside } = *self;
        [
            [(client, server), (masked, server)],
            [(server, masked), (server, client)],
            [(visitor, door), (visitor, inside)],
            [(inside, visitor), (door, visitor)],
        ]
    }
}

/// A question from one end, sent to an address, and the answer of who gets it.
fn udp(asks: (&Netns, SocketAddr), to: SocketAddr, answers: (&Netns, SocketAddr)) {
    let (from, there) = (asks.0.udp(&asks.1.to_string()), answers.0.udp(&answers.1.to_string()));
    let mut buffer = [0; 9];
    from.send_to(b"ask", to).unwrap();
    let (_, peer) = there.recv_from(&mut buffer).unwrap();
    there.send_to(b"answer", peer).unwrap();
    assert_eq!(from.recv_from(&mut buffer).unwrap(), (6, to));
}

fn tcp(asks: (&Netns, SocketAddr), to: SocketAddr, answers: (&Netns, SocketAddr)) {
    let listener = answers.0.enter(|| TcpListener::bind(answers.1)).unwrap();
    let mut from = asks.0.enter(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.bind(&asks.1.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        TcpStream::from(socket)
    });
    let mut there = listener.accept().unwrap().0;
    from.write_all(b"ask").unwrap();
    there.read_exact(&mut [0; 3]).unwrap();
    there.write_all(b"answer").unwrap();
    drop(there);
    from.read_to_end(&mut Vec::new()).unwrap();
}

/// A file that the probe may write, once it is somebody else.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    folder
}

/// The JSON of flows that a probe with these options exports while something happens, and its account.
fn flows(router: &Netns, options: &str, happen: impl FnOnce()) -> (Vec<Value>, Account) {
    let folder = open_folder();
    let path = folder.path().join("flows");
    let mut probe = Probe::start(router, &format!("{options} -e json:{}", path.display()));
    happen();
    let account = probe.stop();
    account.assert_balance();
    assert_eq!(account.in_flows(), router.counted());
    let connections = ["flows found", "not tracked", "not looked up", "without ports"];
    let sum: u64 = connections.iter().map(|words| account.number(words)).sum();
    assert_eq!(sum, account.number("exported with"), "{}", account.0);
    let text = fs::read_to_string(&path).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), account)
}

/// A flow's ends, and those behind NAT.
fn ends(flow: &Value) -> [(SocketAddr, SocketAddr); 2] {
    let address = |v4: &str, v6: &str| -> IpAddr { flow[v4].as_str().or(flow[v6].as_str()).unwrap().parse().unwrap() };
    let port = |name: &str| flow[name].as_u64().unwrap() as u16;
    let own = [
        (address("sourceIPv4Address", "sourceIPv6Address"), port("sourceTransportPort")),
        (address("destinationIPv4Address", "destinationIPv6Address"), port("destinationTransportPort")),
    ];
    let post = [
        (address("postNATSourceIPv4Address", "postNATSourceIPv6Address"), port("postNAPTSourceTransportPort")),
        (
            address("postNATDestinationIPv4Address", "postNATDestinationIPv6Address"),
            port("postNAPTDestinationTransportPort"),
        ),
    ];
    [own, post].map(|ends| ends.map(SocketAddr::from).into())
}

#[test]
fn both_directions_of_both_translations_at_every_hook() {
    for (hook, behind) in [
        ("prerouting priority raw", [false, false]),
        ("forward priority 300", [false, true]),
        ("postrouting priority 300", [true, true]),
    ] {
        let scene = Scene::new(hook);
        scene.router.nft(NAT);
        let conversations = [Conversation::v4(), Conversation::v6()];
        let talk = || conversations.iter().for_each(|ends| scene.talk(ends));
        let (flows, account) = flows(&scene.router, "--nat", talk);
        assert_eq!(account.number("flows found"), 16, "{hook}: {}", account.0);
        // at a hook, source and destination are either before NAT or behind it
        let [source, destination] = behind.map(usize::from);
        let directions = conversations.iter().flat_map(Conversation::directions);
        let expected: BTreeSet<_> = directions.map(|both| [(both[source].0, both[destination].1), both[1]]).collect();
        for protocol in [6, 17] {
            let flows = flows.iter().filter(|flow| flow["protocolIdentifier"] == protocol);
            assert_eq!(flows.map(ends).collect::<BTreeSet<_>>(), expected, "{hook}");
        }
        let ids: BTreeSet<_> = flows.iter().map(|flow| flow["flowId"].as_u64().unwrap()).collect();
        assert!(ids.len() == 8 && !ids.contains(&0), "a number for each connection: {ids:?}");
    }
}

/// While the probe goes on: the kernel still remembers them.
#[test]
fn flows_of_ended_connections_are_in_time() {
    let scene = Scene::new("forward priority 300");
    scene.router.nft(NAT);
    let ends = Conversation::v4();
    let folder = open_folder();
    let mut probe = Probe::start(&scene.router, &format!("--nat -e json:{}", folder.path().join("flows").display()));
    tcp((&scene.client, ends.client), ends.server, (&scene.server, ends.server));
    probe.until_account("ended,", 2);
    let account = probe.stop();
    assert_eq!(account.number("flows found"), 2, "{}", account.0);
}

/// More than are asked for at once, each with an answer of its own.
#[test]
fn many_flows_have_each_its_own() {
    let scene = Scene::new("prerouting priority raw");
    scene.router.nft(NAT);
    let ports = 10_000..10_300;
    let (flows, account) = flows(&scene.router, "--nat", || {
        scene.client.send("10.1.0.1:5000", ports.clone().map(|port| (SocketAddr::from(([10, 2, 0, 2], port)), 10)));
        until("the packets on their way", || (scene.router.counted().0 >= 300).then_some(()));
    });
    assert_eq!(account.number("flows found"), 300, "{}", account.0);
    let end = |address: [u8; 4], port: u16| SocketAddr::from((address, port));
    let expected = ports.map(|port| {
        let server = end([10, 2, 0, 2], port);
        [(end([10, 1, 0, 1], 5000), server), (end([10, 2, 0, 1], 20_000), server)]
    });
    assert_eq!(flows.iter().map(ends).collect::<BTreeSet<_>>(), expected.collect());
}

#[test]
fn collectors_read_it() {
    let scene = Scene::new("forward priority 300");
    scene.router.nft(NAT);
    let mut nfcapds = [2055, 4739].map(|port| Nfcapd::start(&scene.router, "127.0.0.1", port));
    let tshark = UdpCollector::listen(scene.router.udp("127.0.0.1:9995"));
    let targets = "-e netflow9://127.0.0.1 -e ipfix://127.0.0.1 -e ipfix://127.0.0.1:9995";
    let ends = Conversation::v4();
    let mut probe = Probe::start(&scene.router, &format!("--nat {targets}"));
    scene.talk(&ends);
    let account = probe.stop();
    account.assert_balance();
    all_taken(&scene.router, account.messages());
    let shown =
        |both: [(SocketAddr, SocketAddr); 2]| [both[0].0, both[1].1, both[1].0, both[1].1].map(|end| end.to_string());
    let expected: BTreeSet<_> = ends.directions().map(shown).map(Vec::from).into();
    // of IPFIX, nfdump 1.7.1 does not read the connection: four, TCP's and UDP's, outwards and inwards
    for (nfcapd, connections) in nfcapds.iter_mut().zip([4, 1]) {
        let printed = nfcapd.printed("fmt:%sap %dap %nsap %ndap %nfc");
        let rows = printed.lines().map(|row| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let rows: Vec<_> = rows.filter(|row| row[0].starts_with("10.")).collect();
        let told: BTreeSet<_> = rows.iter().map(|row| row[..4].to_vec()).collect();
        assert_eq!((rows.len(), &told), (8, &expected), "{printed}");
        assert_eq!(rows.iter().map(|row| &row[4]).collect::<BTreeSet<_>>().len(), connections, "{printed}");
    }
    let names = ["cflow.post_natsource_ipv4_address", "cflow.post_naptsource_transport_port", "cflow.flow_id"];
    let told = columns(&[tshark.stop()], &names);
    assert!(
        told.iter().any(|row| row[0].contains("10.2.0.1") && row[1].contains("20000") && !row[2].is_empty()),
        "{told:?}"
    );
}

/// Tracked, but not translated: the same ends. Not tracked: 0. ICMP is not asked for.
#[test]
fn without_nat_the_ends_are_the_same_and_unknown_ones_are_0() {
    let scene = Scene::new("forward priority 300");
    scene.router.nft(
        "table inet r { chain c { type filter hook prerouting priority raw; udp dport 7 notrack; };
            chain f { type filter hook forward priority 0; icmp type echo-request counter log group 5; ct state new accept; }; }",
    );
    scene.server.run("ip route add 10.1.0.0/24 via 10.2.0.1");
    let ends_v4 = Conversation::v4();
    let (flows, account) = flows(&scene.router, "--nat", || {
        udp((&scene.client, ends_v4.client), ends_v4.server, (&scene.server, ends_v4.server));
        scene.client.run("ping -c 1 10.2.0.2");
        let port_7 = SocketAddr::new(ends_v4.server.ip(), 7);
        scene.client.send("10.1.0.1:5001", [(port_7, 10)]);
        until("the last packet", || (scene.router.counted().0 >= 4).then_some(()));
    });
    let counts = ["flows found", "not tracked", "not looked up", "without ports"].map(|words| account.number(words));
    assert_eq!(counts, [2, 1, 0, 1], "{}", account.0);
    for flow in &flows {
        let [own, post] = ends(flow);
        let is_known = [own.0.port(), own.1.port()].contains(&9);
        let zero = SocketAddr::from(([0, 0, 0, 0], 0));
        assert_eq!(post, if is_known { own } else { (zero, zero) }, "{flow}");
        assert_eq!(flow["flowId"] != 0, is_known, "{flow}");
    }
}

/// One record for both directions, whose ends are not each other's before and behind NAT: it says what becomes of the first.
#[test]
fn a_biflow_is_of_one_connection() {
    for hook in ["prerouting priority raw", "postrouting priority 300"] {
        let scene = Scene::new(hook);
        scene.router.nft(NAT);
        let v4 = Conversation::v4();
        let (flows, _) = flows(&scene.router, "--nat --biflow", || scene.talk(&v4));
        assert_eq!(flows.len(), 4, "{flows:?}");
        let before = hook.starts_with("pre");
        let [out, _, door, _] = v4.directions().map(|[seen, behind]| [if before { seen } else { behind }, behind]);
        assert_eq!(flows.iter().map(ends).collect::<BTreeSet<_>>(), BTreeSet::from([out, door]), "{hook}");
        assert!(flows.iter().all(|flow| flow["reversePacketDeltaCount"].as_u64() > Some(0)), "{flows:?}");
        assert!(flows.iter().all(|flow| flow["biflowDirection"] == 1), "who began is known: {flows:?}");
    }
}

#[test]
fn wrong_usage_is_said() {
    for (options, sentence) in [
        ("--nat --key sourceIPv4Address", "--nat needs a --key that tells connections apart"),
        (
            "--nat -e netflow5://127.0.0.1 -e netflow5://127.0.0.2",
            "--nat is given, but NetFlow v5 cannot say what NAT makes",
        ),
        ("--fields postNATSourceIPv4Address", "`postNATSourceIPv4Address` comes with --nat"),
    ] {
        let said = said(&format!("run -g 5 {options}"));
        assert!(said.code == Some(2) && said.stderr.contains(sentence), "{options}: {}", said.stderr);
    }
}
