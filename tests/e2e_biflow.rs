//! Both directions of a conversation in one record.

mod common;

use common::account::Account;
use common::collectors::{Nfcapd, all_taken, total};
use common::netns::Netns;
use common::nfweir::{Probe, said};
use common::stream_collector::{TcpCollector, messages};
use common::tshark::well_formed;
use common::udp_collector::{UdpCollector, decode};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

const CLIENT: &str = "127.0.0.1:5000";

/// A namespace that logs what comes from or goes to the client's port.
fn host() -> Netns {
    let host = Netns::new();
    host.nft(
        "table inet t { chain c { type filter hook input priority 0;
            udp sport 5000 counter log group 5; udp dport 5000 counter log group 5; }; }",
    );
    host
}

/// The client asks 25 ports three times each, of which 20 answer once.
fn talk(host: &Netns) {
    let port = |port| SocketAddr::from(([127, 0, 0, 1], port));
    host.send(CLIENT, (10_000..10_025).flat_map(|number| [(port(number), 10); 3]));
    for number in 10_000..10_020 {
        host.send(&port(number).to_string(), [(CLIENT.parse().unwrap(), 30)]);
    }
}

/// Records, and what tshark finds in them: packets of both directions.
fn assert_biflows(messages: Vec<Vec<u8>>) {
    let flows = decode(&messages).0;
    assert_eq!(flows.len(), 25);
    assert!(flows.values().all(|forward| forward.packets == 3), "who asked is the forward direction");
    let packets: Vec<_> = well_formed(&[messages]).into_iter().flat_map(|message| message.packets).collect();
    assert_eq!((packets.len(), packets.iter().sum::<u64>()), (45, 95), "a value for each direction");
}

#[test]
fn ipfix_has_one_record_for_both_directions_by_every_transport() {
    let host = host();
    let udp = host.enter(UdpCollector::start);
    let tcp = TcpCollector::start(&host, 4739);
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let file = folder.path().join("flows");
    let targets =
        [format!("ipfix://127.0.0.1:{}", udp.port), "ipfix+tcp://127.0.0.1".into(), format!("file:{}", file.display())];
    let mut probe = Probe::start(&host, &format!("--biflow -e {}", targets.join(" -e ")));
    talk(&host);
    let account = probe.stop();
    account.assert_balance();
    assert_eq!((account.number("exported with"), account.in_flows().0), (45, 95), "{}", account.0);
    assert_eq!(account.0.matches(": 25 records sent").count(), 3, "{}", account.0);
    assert!(!account.0.contains("not sent yet"));
    assert_biflows(udp.stop());
    assert_biflows(tcp.stop(&host).remove(0));
    assert_biflows(messages(&fs::read(&file).unwrap()));
}

#[test]
fn netflow_has_two_and_nfcapd_both() {
    for (protocol, records) in [("netflow5", 45), ("netflow9", 45), ("ipfix", 25)] {
        let host = host();
        let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
        let mut probe = Probe::start(&host, &format!("--biflow -e {protocol}://127.0.0.1:9995"));
        talk(&host);
        let account: Account = probe.stop();
        account.assert_balance();
        assert_eq!(account.number("records sent"), records, "{}", account.0);
        all_taken(&host, account.messages());
        let flows = nfcapd.flows();
        assert_eq!(flows.len() as u64, records);
        let forward = (75, 75 * 38);
        assert_eq!(total(&flows), if records == 45 { host.counted() } else { forward }, "{protocol}");
    }
}

#[test]
fn what_would_say_nothing_is_refused() {
    for (options, sentence) in [
        ("--fields sourceIPv6Address", "--fields leaves nothing to say of IPv4 flows with this --key"),
        ("--fields flowStartSysUpTime", "--fields leaves nothing to say of IPv4 flows"),
        ("--key vlanId --fields sourceTransportPort", "--fields leaves nothing to say of IPv4 flows"),
        ("--fields packetDeltaCount,packetDeltaCount", "packetDeltaCount is named twice"),
        ("--biflow --key vlanId", "--biflow needs a --key that tells of both ends alike"),
    ] {
        let said = said(&format!("run -g 5 {options} -e ipfix://127.0.0.1"));
        assert!(said.code == Some(2) && said.stderr.contains(sentence), "{options}: {}", said.stderr);
    }
}
