//! Collectors as they are: several at once, absent, late, without a name, behind a narrow path, with a small buffer.

mod common;

use common::account::Account;
use common::capture::{Capture, RAW};
use common::collectors::{Nfcapd, all_taken, total};
use common::frames;
use common::loopback::{host, send};
use common::netns::Netns;
use common::nfweir::{Probe, nfweir};
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

#[test]
fn all_collectors_get_everything_though_one_is_absent() {
    let host = host();
    let targets =
        ["netflow5://127.0.0.1:9995", "netflow9://127.0.0.1:9996", "ipfix://127.0.0.1:9997", "ipfix://[::1]:9998"];
    let present = [("127.0.0.1", 9995), ("127.0.0.1", 9996), ("127.0.0.1", 9997), ("::1", 9998)];
    let mut collectors = present.map(|(address, port)| Nfcapd::start(&host, address, port));
    let absent = "ipfix://127.0.0.1:9999";
    let mut probe = Probe::start(&host, &format!("-e {} -e {absent}", targets.join(" -e ")));
    send(&host, 0..500);
    let account = probe.stop();
    account.assert_balance();
    assert_eq!(account.number("exported with"), 500);
    assert!(account.of(absent).number("refusals") > 0, "{}", account.0);
    assert_eq!(account.0.matches("answers that nobody listens there").count(), 1, "{}", account.0);
    all_taken(&host, targets.iter().map(|target| account.of(target).messages()).sum());
    for (collector, target) in collectors.iter_mut().zip(targets) {
        assert_eq!((account.of(target).number("records"), account.of(target).number("refusals")), (500, 0));
        let flows = collector.flows();
        assert_eq!((flows.len(), total(&flows)), (500, host.counted()), "{target}");
    }
}

#[test]
fn a_name_that_does_not_resolve_costs_its_own_records_only() {
    let host = host();
    let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
    let nameless = "ipfix://no-such-host.invalid:4739";
    let mut probe = Probe::start(&host, &format!("-e {nameless} -e netflow9://127.0.0.1:9995"));
    send(&host, 0..500);
    let account = probe.stop();
    let said = account.0.lines().filter(|line| line.contains("are lost and counted until it can be reached")).count();
    assert_eq!(said, 1, "{}", account.0);
    let lost = account.of(nameless);
    assert_eq!((lost.number("records sent"), lost.number("lost in")), (0, 500), "{}", lost.0);
    assert!(lost.number("messages, 0 not expressible") > 0, "{}", lost.0);
    all_taken(&host, account.messages());
    assert_eq!(total(&nfcapd.flows()), host.counted());
}

#[test]
fn a_collector_that_starts_later_reads_the_flows_from_then_on() {
    for protocol in ["netflow9", "ipfix"] {
        let host = host();
        let mut probe = Probe::start(&host, &format!("-e {protocol}://127.0.0.1:9995 --inactive-timeout 1s"));
        for lost in [50, 100] {
            send(&host, 0..50);
            probe.until_account("lost in ", lost);
        }
        let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
        send(&host, 0..50);
        let account = probe.stop();
        assert_eq!((account.number("records sent"), account.number("lost in ")), (50, 100), "{}", account.0);
        all_taken(&host, account.messages());
        assert_eq!(nfcapd.flows().len(), 50, "{protocol}");
    }
}

/// The last flows find a collector that was out of reach for a while, though an attempt to reach it was not due.
#[test]
fn a_collector_that_is_back_gets_the_last_flows() {
    let (host, collector) = (host(), Netns::new());
    host.join("out0", &collector, "in0", 1);
    let mut nfcapd = Nfcapd::start(&collector, "10.1.0.2", 4739);
    host.run("ip link set out0 down");
    let mut probe = Probe::start(&host, "-e ipfix://10.1.0.2:4739 --inactive-timeout 1s");
    send(&host, 0..50);
    probe.until_account("lost in ", 50);
    host.run("ip link set out0 up");
    send(&host, 0..70);
    let account = probe.stop();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (70, 50), "{}", account.0);
    all_taken(&collector, account.messages());
    assert_eq!(nfcapd.flows().len(), 70);
}

/// A rule of the host itself lets nothing out.
#[test]
fn a_trouble_that_goes_on_is_said_once() {
    let host = host();
    host.nft("table inet o { chain c { type filter hook output priority 0; udp dport 4739 drop; }; }");
    let mut probe = Probe::start(&host, "-e ipfix://127.0.0.1:4739 --inactive-timeout 1s");
    for round in 1..=3 {
        send(&host, 0..50);
        probe.until_account("lost in ", 50 * round);
    }
    let log = probe.stop().0;
    assert_eq!((log.matches("warning").count(), log.matches("again").count()), (1, 0), "{log}");
    assert!(log.contains("ipfix://127.0.0.1:4739: Operation not permitted"), "{log}");
}

/// By a path of 64 kbit/s, a socket's buffer would take half a minute to empty.
#[test]
fn a_slow_path_holds_up_nobody_else() {
    let (host, far) = (host(), Netns::new());
    host.join("out0", &far, "in0", 1);
    host.run("tc qdisc add dev out0 root tbf rate 64kbit burst 3000 limit 3000000");
    let _listening = far.udp("10.1.0.2:4739");
    let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
    let (slow, quick) = ("ipfix://10.1.0.2:4739", "ipfix://127.0.0.1:9995");
    let mut probe = Probe::start(&host, &format!("-e {slow} -e {quick}"));
    send(&host, 0..20_000);
    let told = Instant::now();
    let account = probe.stop();
    assert!(told.elapsed() < Duration::from_secs(20), "the buffer's half minute was waited for");
    assert!(account.0.contains("the way to it is slower than the flows"), "{}", account.0);
    let lost = account.of(slow);
    assert!(lost.number("lost in ") > 0);
    assert_eq!(lost.number("records sent") + lost.number("lost in "), 20_000);
    assert_eq!((account.of(quick).number("records sent"), account.of(quick).number("lost in ")), (20_000, 0));
    all_taken(&host, account.of(quick).messages());
    assert_eq!(nfcapd.flows().len(), 20_000);
}

/// Has a probe send that many flows to a collector at this address, which has to get all messages; gives the longest.
fn longest_message(collector: &Netns, host: &Netns, address: &str, flows: u16) -> usize {
    let socket: UdpSocket = collector.udp(&format!("{address}:4739"));
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut probe = Probe::start(host, &format!("-e ipfix://{address}:4739"));
    send(host, 0..flows);
    let account = probe.stop();
    let mut lengths = (0..account.messages()).map(|_| socket.recv(&mut [0; 65_535]).unwrap());
    lengths.by_ref().max().unwrap()
}

#[test]
fn messages_fit_the_path_and_fill_it() {
    let (host, collector) = (host(), Netns::new());
    host.join("out0", &collector, "in0", 1);
    let record = 100;
    for (address, headers, route) in [("10.1.0.2", 28, "10.1.0.2/32"), ("[fd00:1::2]", 48, "fd00:1::2/128")] {
        for mtu in [1500, 1280] {
            host.run(&format!("ip route replace {route} dev out0 mtu {mtu}"));
            let longest = headers + longest_message(&collector, &host, address, 500);
            assert!(longest <= mtu && longest > mtu - record, "{longest} octets by a path for {mtu}");
        }
    }
    assert_eq!([("Ip6", "ReasmReqds"), ("Ip", "ReasmReqds")].map(|(ip, name)| collector.statistic(ip, name)), [0, 0]);
}

#[test]
fn by_a_path_narrower_than_all_templates_they_go_one_by_one() {
    let host = host();
    let narrow = 200;
    host.run(&format!("ip route replace local 127.0.0.1 dev lo mtu {narrow} table local"));
    assert!(28 + longest_message(&host, &host, "127.0.0.1", 100) <= narrow);
    assert_eq!(host.statistic("Ip", "ReasmReqds"), 0);
}

#[test]
fn balanced_collectors_share_the_flows() {
    let host = host();
    let targets = ["ipfix://127.0.0.1:9995", "netflow9://127.0.0.1:9996"];
    let mut collectors = [9995, 9996].map(|port| Nfcapd::start(&host, "127.0.0.1", port));
    let mut probe = Probe::start(&host, &format!("--delivery balance -e {} -e {}", targets[0], targets[1]));
    send(&host, 0..500);
    let account = probe.stop();
    account.assert_balance();
    assert!(!account.0.contains("not sent yet"), "{}", account.0);
    all_taken(&host, account.messages());
    let flows = collectors.each_mut().map(Nfcapd::flows);
    let counts = flows.each_ref().map(Vec::len);
    assert_eq!(counts.map(|count| count as u64), targets.map(|target| account.of(target).number("records sent")));
    assert!(counts.iter().all(|count| *count > 100) && counts.iter().sum::<usize>() == 500, "{counts:?}");
    assert_eq!(total(&flows.concat()), host.counted());
}

#[test]
fn another_collector_stands_in_for_the_first() {
    for (first, lost_there) in [("ipfix+tcp://127.0.0.1:9995", 0), ("ipfix://127.0.0.1:9995", 50)] {
        let host = host();
        let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9996);
        let second = "netflow9://127.0.0.1:9996";
        let options = format!("--delivery failover -e {first} -e {second} --inactive-timeout 1s");
        let mut probe = Probe::start(&host, &options);
        // over UDP, only an answer to a message tells that there is nobody
        send(&host, 0..50);
        probe.until_account("exported with", 50);
        send(&host, 0..70);
        let account = probe.stop();
        account.assert_balance();
        let numbers = ["records sent", "lost in "].map(|words| account.of(first).number(words));
        assert_eq!(numbers, [0, lost_there], "{}", account.0);
        assert_eq!(account.of(second).number("records sent"), 120 - lost_there, "{}", account.0);
        all_taken(&host, account.messages());
        assert_eq!(nfcapd.flows().len() as u64, 120 - lost_there);
    }
}

/// By address and device of the sender, and by the fields of the IP header.
#[test]
fn messages_go_as_the_url_says() {
    let (host, collector) = (host(), Netns::new());
    host.join("out0", &collector, "in0", 1);
    host.run("ip address add 10.1.0.9/24 dev out0");
    host.run("ip -6 address add fd00:1::9/64 dev out0 nodad");
    collector.nft(
        "table inet t { chain c { type filter hook input priority 0;
            iif in0 ip saddr 10.1.0.9 ip dscp 46 ip ttl 7 udp dport 4739 counter;
            iif in0 ip6 saddr fd00:1::9 ip6 dscp 46 ip6 hoplimit 7 udp dport 4739 counter;
            iif in0 ip saddr 10.1.0.9 ip dscp 46 ip ttl 7 tcp dport 4739 tcp flags syn counter; }; }",
    );
    let [_four, _six] = ["10.1.0.2:4739", "[fd00:1::2]:4739"].map(|address| collector.udp(address));
    let settings = "device=out0&dscp=46&ttl=7&domain=77";
    let [four, six, tcp] = [
        format!("ipfix://10.1.0.2?source=10.1.0.9&{settings}&rate=5"),
        format!("netflow9://[fd00:1::2]:4739?source=fd00:1::9&{settings}"),
        format!("ipfix+tcp://10.1.0.2?source=10.1.0.9&{settings}"),
    ];
    let mut probe = Probe::start(&host, &format!("-e {four} -e {six} -e {tcp}"));
    send(&host, 0..50);
    let account = probe.stop();
    let messages =
        account.of("ipfix://10.1.0.2:4739").messages() + account.of("netflow9://[fd00:1::2]:4739").messages();
    let syns = account.0.matches("ipfix+tcp://10.1.0.2:4739: nobody listens there").count() as u64;
    assert!(syns > 0, "{}", account.0);
    assert!(collector.counted().0 > messages, "{}", collector.run("nft list ruleset"));
}

#[test]
fn what_a_slow_queue_before_the_network_drops_is_not_called_sent() {
    let (host, collector) = (host(), Netns::new());
    host.join("out0", &collector, "in0", 1);
    host.run("tc qdisc replace dev out0 root tbf rate 8mbit burst 10kb limit 8kb");
    longest_message(&collector, &host, "10.1.0.2", 1500);
}

#[test]
fn half_a_million_flows_at_once_reach_ipfix() {
    burst("ipfix", 500_000);
}

#[test]
fn a_hundred_thousand_flows_at_once_reach_netflow9() {
    burst("netflow9", 100_000);
}

#[test]
fn a_hundred_thousand_flows_at_once_reach_netflow5() {
    burst("netflow5", 100_000);
}

/// All flows of a capture end with it, and nfcapd has the socket buffer that it has by default.
fn burst(protocol: &str, flows: u32) {
    let host = Netns::new();
    let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flows.pcap");
    let packets = (0..flows).map(|i| {
        let header = etherparse::Ipv4Header { source: i.to_be_bytes(), ..frames::v4(frames::UDP) };
        frames::ipv4(header, &[0x13, 0x88, 0x1b, 0x59, 0, 8, 0, 0])
    });
    let start = 1_700_000_000_000_000_000;
    packets.fold(Capture::pcap(RAW), |capture, packet| capture.packet(start, &packet)).write(&file);
    let mut read = host.start(&mut nfweir(&format!("read -e {protocol}://127.0.0.1:9995 {}", file.display())));
    assert_eq!(read.ends(), Some(0));
    let account = Account(read.log());
    assert_eq!(account.number("records sent"), u64::from(flows));
    all_taken(&host, account.messages());
    let mut sources: Vec<_> = nfcapd.flows().into_iter().map(|flow| flow.source.0).collect();
    sources.sort();
    assert!(sources.into_iter().eq((0..flows).map(|i| IpAddr::from(i.to_be_bytes()))));
}
