//! What collectors are told beside flows: sampling, selectors, interfaces, statistics.

mod common;

use common::account::Account;
use common::collectors::{Flow, Nfacctd, Nfcapd, all_taken, total};
use common::netns::Netns;
use common::nfweir::Probe;
use common::process::until;
use common::tshark::well_formed;
use common::udp_collector::{UdpCollector, options};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A namespace with two groups, by destination port.
fn host() -> Netns {
    let host = Netns::new();
    host.nft(
        "table inet t { chain c { type filter hook input priority 0;
            udp dport 10000-10999 counter log group 5 prefix \"low\";
            udp dport 11000-11999 counter log group 6 prefix \"high\"; }; }",
    );
    host
}

/// Three packets of 38 octets to each of 20 ports of either group.
fn send(host: &Netns) {
    let ports = (0..20).flat_map(|i| [10_000 + i, 11_000 + i]);
    let packets = ports.flat_map(|port| [(SocketAddr::from(([127, 0, 0, 1], port)), 10); 3]);
    host.send("127.0.0.1:5000", packets);
}

/// What the flows to the ports of one group come to.
fn of_group(flows: &[Flow], first_port: u16) -> (u64, u64) {
    let flows: Vec<_> = flows.iter().filter(|flow| flow.destination.1 / 1000 == first_port / 1000).cloned().collect();
    assert_eq!(flows.len(), 20);
    total(&flows)
}

#[test]
fn collectors_count_what_sampling_left_out() {
    let different = ("--sampling-rate 10 --sampling-rate 6:1000", [10, 1000]);
    let one = ("--sampling-rate 10", [10, 10]);
    for (protocol, (rates, [low, high])) in [("netflow5", one), ("netflow9", different), ("ipfix", different)] {
        let host = host();
        let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
        let mut nfacctd = Nfacctd::start(&host, "127.0.0.1", 9996);
        let targets = format!("-e {protocol}://127.0.0.1:9995 -e {protocol}://127.0.0.1:9996");
        let mut probe = Probe::start(&host, &format!("-g 6 {rates} {targets}"));
        send(&host);
        let account = probe.stop();
        account.assert_balance();
        all_taken(&host, account.messages());
        for (collector, flows) in [("nfcapd", nfcapd.flows()), ("nfacctd", nfacctd.flows())] {
            assert_eq!(of_group(&flows, 10_000), (60 * low, 60 * 38 * low), "{collector} by {protocol}");
            assert_eq!(of_group(&flows, 11_000), (60 * high, 60 * 38 * high), "{collector} by {protocol}");
        }
    }
}

#[test]
fn decoders_read_names_rates_and_statistics() {
    for protocol in ["netflow9", "ipfix"] {
        let host = host();
        let peer = Netns::new();
        host.join("out0", &peer, "in0", 1);
        host.run("ip link set out0 alias uplink");
        let collector = host.enter(UdpCollector::start);
        let target = format!("{protocol}://127.0.0.1:{}", collector.port);
        let mut probe = Probe::start(&host, &format!("-g 6 --sampling-rate 6:1000 -e {target} --inactive-timeout 1s"));
        send(&host);
        until("the first flows exported", || {
            probe.signal(Signal::SIGUSR1);
            let log = probe.log();
            (log.contains(" records sent") && Account(log).number("records sent") == 40).then_some(())
        });
        // the prefixes of these rules are new, so the options come again
        host.nft("table inet t2 { chain c { type filter hook input priority 0; log group 5 prefix \"all\"; }; }");
        send(&host);
        let account = probe.stop();
        account.assert_balance();
        let messages = collector.stop();
        let rows = |elements: &[u16]| options(&messages, elements);

        let devices = rows(&[10, 82, 83]);
        for (device, description) in [("lo", "lo"), ("out0", "uplink")] {
            let expected = [host.ifindex(device).to_string(), device.to_owned(), description.to_owned()];
            assert_eq!(devices.iter().filter(|row| **row == expected).count(), 2, "{protocol}: {devices:?}");
        }
        // the groups' threads take the numbers as packets come
        let names: BTreeMap<_, _> = rows(&[302, 335]).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
        let mut rates: Vec<_> = rows(if protocol == "ipfix" { &[302, 305, 306] } else { &[48, 50, 34] });
        rates.iter_mut().for_each(|row| row[0] = names[&row[0]].clone());
        let rates: BTreeSet<_> = rates.into_iter().collect();
        let expected = match protocol {
            "ipfix" => [["low", "1", "0"], ["high", "1", "999"], ["all", "1", "0"]],
            _ => [["low", "1", "1"], ["high", "1000", "1000"], ["all", "1", "1"]],
        };
        assert_eq!(rates, expected.map(|row| row.map(str::to_owned).to_vec()).into(), "{protocol}");
        // what was done until the second time
        let first_messages = rows(&[40, 41, 42, 163]).remove(1);
        assert_eq!(first_messages[2], "40", "{protocol}");
        assert_eq!(rows(&[318, 319]).iter().filter(|row| **row == ["60000", "60"]).count(), 1, "{protocol}");
        assert_eq!(rows(&[164, 165]), vec![["0", "0"]; 2], "{protocol}");
        assert_eq!(rows(&[166, 167, 168]), vec![["0", "0", "0"]; 2], "{protocol}");
        well_formed(&[messages]);
    }
}

#[test]
fn collectors_read_records_of_any_fields() {
    let list = "sourceIPv4Address,destinationIPv4Address,sourceTransportPort,destinationTransportPort,protocolIdentifier,\
                packetDeltaCount,octetDeltaCount,tcpControlBits,flowStartMilliseconds,flowEndMilliseconds,ipVersion";
    for protocol in ["netflow9", "ipfix"] {
        for fields in ["basic", "full", list] {
            let host = host();
            let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
            let mut nfacctd = Nfacctd::start(&host, "127.0.0.1", 9996);
            let collector = host.enter(UdpCollector::start);
            let ports = [9995, 9996, collector.port].map(|port| format!("-e {protocol}://127.0.0.1:{port}"));
            let mut probe = Probe::start(&host, &format!("-g 6 --fields {fields} {}", ports.join(" ")));
            let before = std::time::SystemTime::now();
            send(&host);
            let account = probe.stop();
            account.assert_balance();
            all_taken(&host, account.messages());
            let seen = nfcapd.details();
            assert!(seen.iter().all(|flow| flow.first + std::time::Duration::from_secs(2) > before), "{protocol}");
            let flows: Vec<_> = seen.into_iter().map(|details| details.flow).collect();
            for flows in [flows, nfacctd.flows()] {
                assert_eq!((flows.len(), total(&flows)), (40, host.counted()), "{protocol} with {fields}");
            }
            let messages = collector.stop();
            assert_eq!(well_formed(&[messages]).iter().flat_map(|message| &message.packets).sum::<u64>(), 120);
        }
    }
}

#[test]
fn nfcapd_names_interfaces() {
    for protocol in ["netflow9", "ipfix"] {
        let (sender, host) = (Netns::new(), host());
        sender.join("out0", &host, "in0", 1);
        host.run("ip link set in0 alias uplink");
        let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
        let mut probe = Probe::start(&host, &format!("-e {protocol}://127.0.0.1:9995"));
        sender.send("0.0.0.0:5000", [(SocketAddr::from(([10, 1, 0, 2], 10_000)), 10)]);
        host.send("0.0.0.0:5000", [(SocketAddr::from(([127, 0, 0, 1], 10_001)), 10)]);
        until("the packets on their way", || (host.counted().0 == 2).then_some(()));
        let account = probe.stop();
        account.assert_balance();
        all_taken(&host, account.messages());
        let names = nfcapd.printed("fmt:%dp %inam");
        for line in ["10000 uplink", "10001 lo"] {
            assert!(names.lines().any(|row| row.split_whitespace().eq(line.split(' '))), "{protocol}: {names}");
        }
    }
}

/// A device is gone before its flows are exported, and they and the options name it by the operator's number; a host's own
/// packets have the number for itself where the hook tells.
#[test]
fn devices_have_the_numbers_that_the_operator_chose() {
    let (sender, host) = (Netns::new(), Netns::new());
    sender.join("out0", &host, "ppp3", 1);
    host.nft(
        "table inet t {
            chain i { type filter hook input priority 0; udp dport 9 counter log group 5; };
            chain o { type filter hook output priority 0; udp dport 10 counter log group 5; }; }",
    );
    let collector = UdpCollector::listen(host.udp("127.0.0.1:4739"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let json = folder.path().join("flows");
    let options = "--interface-number ppp:200 --local-interface 999 -e ipfix://127.0.0.1 -e json:";
    let mut probe = Probe::start(&host, &format!("{options}{}", json.display()));
    sender.send("0.0.0.0:5000", [(SocketAddr::from(([10, 1, 0, 2], 9)), 10)]);
    host.send("0.0.0.0:5000", [(SocketAddr::from(([10, 1, 0, 1], 10)), 10)]);
    until("the packets on their way", || (host.counted().0 == 2).then_some(()));
    host.run("ip link delete ppp3");
    let account = probe.stop();
    account.assert_balance();
    let text = std::fs::read_to_string(&json).unwrap();
    let flows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let devices: BTreeSet<_> = flows
        .map(|flow| ["destinationTransportPort", "ingressInterface", "egressInterface"].map(|name| flow[name].as_u64()))
        .collect();
    assert_eq!(devices, [[Some(9), Some(203), Some(999)], [Some(10), Some(999), Some(203)]].into());
    let names: BTreeSet<_> = self::options(&collector.stop(), &[10, 82]).into_iter().collect();
    assert!(names.contains(&vec![host.ifindex("lo").to_string(), "lo".to_owned()]), "{names:?}");
}
