//! What the operator says of selectors: names, sampling rates, directions, verdicts.

mod common;

use common::collectors::{Nfcapd, all_taken};
use common::netns::Netns;
use common::nfweir::{Probe, said};
use common::process::until;
use common::tshark::columns;
use common::udp_collector::{UdpCollector, options};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// A configuration that anybody may read, in a folder where anybody may write.
fn configuration(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = folder.path().join("nfweir.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// A firewall that logs what it drops, and some of what it lets pass.
fn firewall() -> Netns {
    let host = Netns::new();
    host.nft(
        "table inet filter { chain input { type filter hook input priority 0;
            udp dport 23 counter log prefix \"dropped\" group 5 drop;
            udp dport 24 counter log prefix \"dropped\" group 5 reject;
            udp dport 25 counter log prefix \"passed\" group 5;
            udp dport 26 counter log group 5; }; }",
    );
    host
}

const VERDICTS: &str = "
    [[selector]]
    prefix = \"dropped\"
    verdict = \"dropped\"
    [[selector]]
    prefix = \"passed\"
    verdict = \"accepted\"
";

fn send(host: &Netns) {
    // each by a socket of its own, as a rejection would be an error of the next packet
    for port in [23, 24, 25, 26] {
        host.send("127.0.0.1:0", [(SocketAddr::from(([127, 0, 0, 1], port)), 10)]);
    }
}

#[test]
fn nfcapd_knows_what_was_dropped() {
    for protocol in ["netflow9", "ipfix"] {
        let host = firewall();
        let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
        let (_folder, path) = configuration(VERDICTS);
        let mut probe = Probe::start(&host, &format!("-e {protocol}://127.0.0.1:9995 -c {}", path.display()));
        send(&host);
        let account = probe.stop();
        account.assert_balance();
        all_taken(&host, account.messages());
        let printed = nfcapd.printed("fmt:%dp %fwd %pkt %byt");
        // of IPFIX, nfcapd 1.7.1 does not read it
        let expected = match protocol {
            "netflow9" => ["23 129 1 38", "24 129 1 38", "25 64 1 38", "26 0 1 38"],
            _ => ["23 0 1 38", "24 0 1 38", "25 0 1 38", "26 0 1 38"],
        };
        for line in expected {
            assert!(printed.lines().any(|row| row.split_whitespace().eq(line.split(' '))), "{protocol}: {printed}");
        }
    }
}

#[test]
fn both_elements_tell() {
    let host = firewall();
    let collector = UdpCollector::listen(host.udp("127.0.0.1:4739"));
    let (folder, path) = configuration(VERDICTS);
    let json = folder.path().join("flows");
    let options = format!("-e ipfix://127.0.0.1 -e json:{} -c {}", json.display(), path.display());
    let mut probe = Probe::start(&host, &options);
    send(&host);
    probe.stop().assert_balance();
    let text = fs::read_to_string(&json).unwrap();
    let flows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let names = ["destinationTransportPort", "forwardingStatus", "firewallEvent"];
    let told: BTreeSet<_> = flows.map(|flow| names.map(|name| flow[name].as_u64().unwrap())).collect();
    assert_eq!(told, [[23, 129, 3], [24, 129, 3], [25, 64, 0], [26, 0, 0]].into());
    // dropped by an ACL that denies (2, 1), or forwarded (1)
    let names =
        ["forwarding_status", "forwarding_status_drop_code", "firewall_event"].map(|name| format!("cflow.{name}"));
    let told = columns(&[collector.stop()], &names.each_ref().map(String::as_str));
    let sorted = |column: &String| column.split(',').map(str::to_owned).collect::<BTreeSet<_>>();
    let told: Vec<_> = told.iter().find(|columns| !columns[0].is_empty()).unwrap().iter().map(sorted).collect();
    let expected: [&[&str]; 3] = [&["0", "1", "2"], &["1"], &["0", "3"]];
    assert_eq!(told, expected.map(|values| values.iter().map(|value| value.to_string()).collect()));
}

/// Where there is no collector.
#[test]
fn printed_flows_say_what_was_dropped() {
    let host = firewall();
    let (_folder, path) = configuration(VERDICTS);
    let mut probe = Probe::start(&host, &format!("-c {}", path.display()));
    send(&host);
    probe.stop().assert_balance();
    let printed = probe.log();
    assert!(printed.lines().any(|line| line.contains(":23 ") && line.ends_with(" octets lo> dropped")), "{printed}");
    assert!(printed.lines().any(|line| line.contains(":25 ") && line.ends_with(" octets lo> accepted")), "{printed}");
    assert!(printed.lines().any(|line| line.contains(":26 ") && line.ends_with(" octets lo>")), "{printed}");
}

#[test]
fn selectors_have_names_rates_and_directions_of_their_own() {
    for protocol in ["netflow9", "ipfix"] {
        let host = firewall();
        let collector = host.enter(UdpCollector::start);
        let (folder, path) = configuration(
            "sampling-rate = 10
            [[selector]]
            prefix = \"dropped\"
            name = \"by the firewall\"
            sampling-rate = 1
            direction = \"egress\"
            [[selector]]
            prefix = \"\"
            group = 5
            sampling-rate = 100",
        );
        let json = folder.path().join("flows");
        let target = format!("{protocol}://127.0.0.1:{}", collector.port);
        let destinations = format!("-e {target} -e json:{}", json.display());
        let mut probe = Probe::start(&host, &format!("{destinations} -c {} --inactive-timeout 1s", path.display()));
        send(&host);
        until("the flows exported", || fs::read_to_string(&json).ok().filter(|text| text.lines().count() == 4));
        probe.stop().assert_balance();
        let text = fs::read_to_string(&json).unwrap();
        for flow in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            let is_dropped = flow["destinationTransportPort"].as_u64() < Some(25);
            assert_eq!(flow["flowDirection"], u64::from(is_dropped), "{flow}");
            assert_eq!(flow["forwardingStatus"], Value::Null, "nobody has said it");
        }
        let messages = collector.stop();
        let names = options(&messages, &[302, 335]);
        let rates = options(&messages, if protocol == "ipfix" { &[302, 306] } else { &[48, 50] });
        let name = |id: &String| names.iter().find(|row| row[0] == *id).unwrap()[1].clone();
        let rates: BTreeSet<_> = rates.iter().map(|row| (name(&row[0]), row[1].clone())).collect();
        let expected = match protocol {
            "ipfix" => [("by the firewall", "0"), ("passed", "9"), ("", "99")],
            _ => [("by the firewall", "1"), ("passed", "10"), ("", "100")],
        };
        assert_eq!(rates, expected.map(|(name, rate)| (name.to_owned(), rate.to_owned())).into(), "{protocol}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let selector = |keys: &str| format!("group = 5\n[[selector]]\nprefix = \"a\"\n{keys}");
    for (text, options, reason) in [
        (selector("group = 6"), "", "about NFLOG group 6, which is not received: add -g 6"),
        (selector("sampling-rate = 10"), "-e netflow5://127.0.0.1", "NetFlow v5 tells of one sampling rate"),
        (selector(""), "--key protocolIdentifier", "add selectorId to --key"),
        (selector("verdict = 5"), "", "nfweir.toml line 4: "),
    ] {
        let (_folder, path) = configuration(&text);
        let said = said(&format!("run -c {} {options}", path.display()));
        assert!(said.code == Some(2) && said.stderr.contains(reason), "{said:?}");
    }
}
