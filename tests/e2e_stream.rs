//! Collectors at the end of a connection: in clear and encrypted, gone and back, trusted or not.

mod common;

use common::account::Account;
use common::capture::{Capture, RAW};
use common::frames;
use common::loopback::{host, send};
use common::netns::Netns;
use common::nfweir::{Probe, nfweir};
use common::pki::{Identity, Pki};
use common::process::until;
use common::stream_collector::{TcpCollector, TlsCollector, flows};
use common::tshark::well_formed;
use common::udp_collector::decode;
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Command;
use std::thread;

#[test]
fn tcp_takes_messages_one_behind_the_other() {
    let host = host();
    let collector = TcpCollector::start(&host, 4739);
    let mut probe = Probe::start(&host, "-e ipfix+tcp://127.0.0.1");
    send(&host, 0..1000);
    let account = probe.stop();
    account.assert_balance();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (1000, 0), "{}", account.0);
    let came = collector.stop(&host);
    assert_eq!((came.len(), came[0].len() as u64), (1, account.messages()));
    assert_eq!(flows(&came[0]), 1000);
    well_formed(&came);
}

/// To the record: what was not acknowledged is sent again on the next connection.
#[test]
fn a_tcp_collector_that_comes_back_has_missed_nothing() {
    let host = host();
    let collector = TcpCollector::start(&host, 4739);
    let mut probe = Probe::start(&host, "-e ipfix+tcp://127.0.0.1 --inactive-timeout 1s");
    send(&host, 0..50);
    probe.until_account("records sent", 50);
    let first = collector.stop(&host);
    send(&host, 50..100);
    probe.until_account("exported with", 100);
    assert_eq!(Account(probe.log()).number("records sent"), 50);
    let collector = TcpCollector::start(&host, 4739);
    send(&host, 100..150);
    probe.until_account("records sent", 150);
    let account = probe.stop();
    assert_eq!(account.number("lost in "), 0, "{}", account.0);
    assert_eq!(account.0.matches("its flows are kept until it takes them").count(), 1, "{}", account.0);
    assert_eq!(account.0.matches("takes flows again").count(), 1, "{}", account.0);
    let second = collector.stop(&host);
    assert_eq!((flows(&first[0]), flows(&second[0])), (50, 100));
}

#[test]
fn a_queue_that_overflows_loses_the_oldest_and_says_so() {
    let host = host();
    let mut probe = Probe::start(&host, "-e ipfix+tcp://127.0.0.1?queue=30 --inactive-timeout 1s");
    send(&host, 0..50);
    probe.until_account("lost in ", 20);
    let collector = TcpCollector::start(&host, 4739);
    let account = probe.stop();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (30, 20), "{}", account.0);
    assert!(account.0.contains("the oldest of its flows are lost and counted"), "{}", account.0);
    assert_eq!(flows(&collector.stop(&host)[0]), 30);
}

#[test]
fn an_absent_tcp_collector_does_not_keep_the_end_waiting_for_long() {
    let host = host();
    let mut probe = Probe::start(&host, "-e ipfix+tcp://127.0.0.1");
    send(&host, 0..50);
    let account = probe.stop();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (0, 50), "{}", account.0);
}

#[test]
fn a_file_of_more_flows_than_the_queue_holds_gets_through() {
    let host = Netns::new();
    let collector = TcpCollector::start(&host, 4739);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flows.pcap");
    let packets = (0..20_000_u32).map(|i| {
        let header = etherparse::Ipv4Header { source: i.to_be_bytes(), ..frames::v4(frames::UDP) };
        frames::ipv4(header, &[0x13, 0x88, 0x1b, 0x59, 0, 8, 0, 0])
    });
    packets.fold(Capture::pcap(RAW), |capture, packet| capture.packet(1, &packet)).write(&file);
    let url = "ipfix+tcp://127.0.0.1?queue=500";
    let mut read = host.start(&mut nfweir(&format!("read -e {url} {}", file.display())));
    assert_eq!(read.ends(), Some(0), "{}", read.log());
    assert_eq!(Account(read.log()).number("records sent"), 20_000);
    assert_eq!(flows(&collector.stop(&host)[0]), 20_000);
}

#[test]
fn tls_of_either_version_with_certificates_of_both() {
    let pki = Pki::new();
    let (ours, theirs) = (pki.authority("ours"), pki.authority("theirs"));
    let server = pki.identity("server", "127.0.0.1", &theirs);
    let Identity { cert, key } = pki.identity("client", "probe", &ours);
    for version in ["-tls1_2", "-tls1_3"] {
        let host = host();
        let options = format!("{version} -Verify 1 -verify_return_error -CAfile {}", ours.cert.display());
        let mut collector = TlsCollector::start(&host, &server, &options);
        let url =
            format!("ipfix+tls://127.0.0.1?ca={}&cert={}&key={}", theirs.cert.display(), cert.display(), key.display());
        let mut probe = Probe::start(&host, &format!("-e {url} --inactive-timeout 1s"));
        send(&host, 0..50);
        probe.until_account("records sent", 50);
        send(&host, 50..500);
        let account = probe.stop();
        assert_eq!((account.number("records sent"), account.number("lost in ")), (500, 0), "{}", account.0);
        until("all messages", || (collector.messages().len() as u64 == account.messages()).then_some(()));
        collector.stop();
        assert_eq!(flows(&collector.messages()), 500);
    }
}

#[test]
fn a_tls_collector_that_comes_back_has_missed_nothing() {
    let pki = Pki::new();
    let authority = pki.authority("ca");
    let server = pki.identity("server", "127.0.0.1", &authority);
    let host = host();
    let mut first = TlsCollector::start(&host, &server, "");
    let url = format!("ipfix+tls://127.0.0.1?ca={}", authority.cert.display());
    let mut probe = Probe::start(&host, &format!("-e {url} --inactive-timeout 1s"));
    send(&host, 0..50);
    probe.until_account("records sent", 50);
    until("the messages", || (flows(&first.messages()) == 50).then_some(()));
    first.stop();
    send(&host, 50..100);
    probe.until_account("exported with", 100);
    let mut second = TlsCollector::start(&host, &server, "");
    probe.until_account("records sent", 100);
    let account = probe.stop();
    assert_eq!(account.number("lost in "), 0, "{}", account.0);
    second.stop();
    assert_eq!(flows(&second.messages()), 50);
}

/// The same amid 5000 flows, of which some may come twice, by a path that is slow enough.
#[test]
fn a_tls_collector_that_is_killed_amid_the_flows_has_missed_nothing_when_it_is_back() {
    let pki = Pki::new();
    let authority = pki.authority("ca");
    let server = pki.identity("server", "127.0.0.1", &authority);
    for version in ["-tls1_2", "-tls1_3"] {
        let host = host();
        host.run("tc qdisc add dev lo root tbf rate 2mbit burst 100kb limit 10mb");
        let mut first = TlsCollector::start(&host, &server, version);
        let url = format!("ipfix+tls://127.0.0.1?ca={}", authority.cert.display());
        let mut probe = Probe::start(&host, &format!("-e {url} --inactive-timeout 1s"));
        send(&host, 0..5000);
        until("messages", || (first.messages().len() > 4).then_some(()));
        first.stop();
        probe.says("its flows are kept until it takes them");
        let mut second = TlsCollector::start(&host, &server, version);
        probe.until_account("records sent", 5000);
        let account = probe.stop();
        account.assert_balance();
        assert_eq!((account.number("records sent"), account.number("lost in ")), (5000, 0), "{}", account.0);
        second.stop();
        let [before, after] = [first.messages(), second.messages()];
        assert!(decode(&before).0.len() < 5000, "it was killed too late to tell");
        // each connection begins with its own templates
        let mut came = decode(&before).0;
        came.extend(decode(&after).0);
        assert_eq!(came.len(), 5000, "{version}: {}", account.0);
    }
}

#[test]
fn whoever_is_not_trusted_gets_nothing() {
    let pki = Pki::new();
    let (ours, others) = (pki.authority("ours"), pki.authority("others"));
    let good = pki.identity("good", "127.0.0.1", &ours);
    let for_another_name = pki.identity("named", "collector.example", &ours);
    let expired = pki.expired("expired", "127.0.0.1", &ours);
    let demanding = format!("-Verify 1 -verify_return_error -CAfile {}", ours.cert.display());
    let (demanding_2, demanding_3) = (format!("{demanding} -tls1_2"), format!("{demanding} -tls1_3"));
    let cases = [
        (&good, "", &others, "comes from an authority that is not trusted here"),
        (&for_another_name, "", &ours, "its certificate is for another name"),
        (&expired, "", &ours, "its certificate has expired"),
        (&good, demanding_2.as_str(), &ours, "it does not accept the probe's certificate, or wants one"),
        (&good, demanding_3.as_str(), &ours, "it does not accept the probe's certificate, or wants one"),
    ];
    thread::scope(|scope| {
        for (identity, options, ca, sentence) in cases {
            scope.spawn(move || gets_nothing(identity, options, &ca.cert, sentence));
        }
    });
}

fn gets_nothing(identity: &Identity, options: &str, ca: &Path, sentence: &str) {
    let host = host();
    let collector = TlsCollector::start(&host, identity, options);
    let url = format!("ipfix+tls://127.0.0.1?ca={}", ca.display());
    let mut probe = Probe::start(&host, &format!("-e {url} --inactive-timeout 1s"));
    send(&host, 0..50);
    probe.until_account("exported with", 50);
    assert_eq!(Account(probe.log()).number("lost in "), 0, "they are kept");
    let account = probe.stop();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (0, 50), "{}", account.0);
    assert_eq!(account.0.matches(sentence).count(), 1, "{sentence}: {}", account.0);
    assert_eq!(collector.octets(), 0);
}

#[test]
fn a_name_can_be_given_and_a_hangup_has_certificates_read_again() {
    let pki = Pki::new();
    let authority = pki.authority("ca");
    let server = pki.identity("server", "collector.example", &authority);
    let host = host();
    let collector = TlsCollector::start(&host, &server, "");
    let url = format!("ipfix+tls://127.0.0.1?ca={}&name=collector.example", authority.cert.display());
    let mut command = Command::new("setsid"); // no terminal whose closing would be meant
    command.args([common::nfweir::NFWEIR, "run", "-g", "5", "--inactive-timeout", "1s", "-e", &url]);
    let mut probe = Probe::started(host.start(&mut command));
    send(&host, 0..50);
    probe.until_account("records sent", 50);
    let pem = std::fs::read_to_string(&authority.cert).unwrap();
    pki.write("ca.pem", "no certificate");
    probe.signal(Signal::SIGHUP);
    probe.0.says("the connection stays as it is");
    send(&host, 50..100);
    probe.until_account("records sent", 100);
    pki.write("ca.pem", &pem);
    probe.signal(Signal::SIGHUP);
    send(&host, 100..150);
    probe.until_account("records sent", 150);
    let account = probe.stop();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (150, 0), "{}", account.0);
    until("all flows", || (flows(&collector.messages()) == 150).then_some(()));
    let templates = |message: &&Vec<u8>| message[16..18] == [0, 2];
    assert_eq!(collector.messages().iter().filter(templates).count(), 2, "once on each connection");
}

#[test]
fn certificates_that_cannot_be_used_are_said_at_the_start() {
    let pki = Pki::new();
    let empty = pki.write("empty.pem", "");
    for (setting, sentence) in [
        ("ca=/no/such.pem".to_owned(), "/no/such.pem cannot be read (No such file"),
        (format!("ca={}", empty.display()), "empty.pem holds no certificate in PEM"),
    ] {
        let said = common::nfweir::said(&format!("run -g 5 -e ipfix+tls://127.0.0.1?{setting}"));
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(said.stderr.contains(sentence), "{}", said.stderr);
    }
}
