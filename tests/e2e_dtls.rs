//! Collectors that are spoken to by DTLS: gone and back, trusted or not.

mod common;

use common::account::Account;
use common::loopback::{host, send};
use common::netns::Netns;
use common::nfweir::{NFWEIR, Probe, said};
use common::pki::{Identity, Pki};
use common::process::until;
use common::stream_collector::{TlsCollector, flows};
use common::tshark::well_formed;
use common::udp_collector::decode;
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// The messages among these that begin with templates.
fn templates(messages: &[Vec<u8>]) -> usize {
    messages.iter().filter(|message| message[16..18] == [0, 2]).count()
}

/// A host that counts the datagrams to the collector that are IPFIX in clear.
fn watched() -> Netns {
    let host = host();
    host.nft(
        "table inet w { chain c { type filter hook output priority 0; udp dport 4740 @th,64,16 0x000a counter; }; }",
    );
    host
}

fn nothing_came_in_clear(host: &Netns) {
    assert!(host.run("nft list table inet w").contains("counter packets 0 bytes 0"));
}

#[test]
fn messages_fit_the_path_and_templates_come_again() {
    let pki = Pki::new();
    let (ours, theirs) = (pki.authority("ours"), pki.authority("theirs"));
    let server = pki.identity("server", "127.0.0.1", &theirs);
    let Identity { cert, key } = pki.identity("client", "probe", &ours);
    let host = watched();
    host.run("ip link set lo mtu 1300");
    let options = format!("-Verify 1 -verify_return_error -CAfile {}", ours.cert.display());
    let mut collector = TlsCollector::start_dtls(&host, &server, &options);
    let url =
        format!("ipfix+dtls://127.0.0.1?ca={}&cert={}&key={}", theirs.cert.display(), cert.display(), key.display());
    let mut probe = Probe::start(&host, &format!("-e {url}"));
    send(&host, 0..2000);
    let account = probe.stop();
    account.assert_balance();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (2000, 0), "{}", account.0);
    until("all messages", || (collector.messages().len() as u64 == account.messages()).then_some(()));
    collector.stop();
    let came = collector.messages();
    assert_eq!((flows(&came), templates(&came)), (2000, 1 + came.len() / 64));
    let longest = came.iter().map(Vec::len).max().unwrap();
    // headers of IPv4, UDP and the record; nonce and tag of AES-GCM
    assert!((1150..=1300 - 20 - 8 - 13 - 24).contains(&longest), "{longest}");
    assert_eq!(host.statistic("Ip", "FragCreates"), 0);
    well_formed(&[came]);
    nothing_came_in_clear(&host);
}

/// To the record: what its host has refused within a quarter of a second is sent again in the next session.
#[test]
fn a_collector_that_comes_back_has_missed_nothing() {
    let pki = Pki::new();
    let authority = pki.authority("ca");
    let server = pki.identity("server", "127.0.0.1", &authority);
    let host = watched();
    let mut first = TlsCollector::start_dtls(&host, &server, "");
    let url = format!("ipfix+dtls://127.0.0.1?ca={}", authority.cert.display());
    let mut probe = Probe::start(&host, &format!("-e {url} --inactive-timeout 1s"));
    send(&host, 0..50);
    probe.until_account("records sent", 50);
    first.stop();
    send(&host, 50..100);
    probe.until_account("exported with", 100);
    probe.says("nobody listens there: start the collector; its flows are kept");
    let mut second = TlsCollector::start_dtls(&host, &server, "");
    probe.until_account("records sent", 100);
    let account = probe.stop();
    account.assert_balance();
    assert_eq!(account.number("lost in "), 0, "{}", account.0);
    assert_eq!(account.0.matches("its flows are kept until it takes them").count(), 1, "{}", account.0);
    assert_eq!(account.0.matches("takes flows again").count(), 1, "{}", account.0);
    second.stop();
    assert_eq!((flows(&first.messages()), flows(&second.messages())), (50, 50));
    nothing_came_in_clear(&host);
}

/// The same amid 5000 flows, of which some may come twice.
#[test]
fn a_collector_that_is_killed_amid_the_flows_has_missed_nothing_when_it_is_back() {
    let pki = Pki::new();
    let authority = pki.authority("ca");
    let server = pki.identity("server", "127.0.0.1", &authority);
    let host = watched();
    let mut first = TlsCollector::start_dtls(&host, &server, "");
    let mut probe = Probe::start(
        &host,
        &format!("-e ipfix+dtls://127.0.0.1?ca={}&rate=100 --inactive-timeout 1s", authority.cert.display()),
    );
    send(&host, 0..5000);
    until("messages", || (first.messages().len() > 20).then_some(()));
    first.stop();
    probe.says("nobody listens there: start the collector; its flows are kept");
    let mut second = TlsCollector::start_dtls(&host, &server, "");
    probe.until_account("records sent", 5000);
    let account = probe.stop();
    account.assert_balance();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (5000, 0), "{}", account.0);
    second.stop();
    let came = [first.messages(), second.messages()].concat();
    assert_eq!(decode(&came).0.len(), 5000);
}

#[test]
fn whoever_is_not_trusted_gets_nothing() {
    let pki = Pki::new();
    let (ours, others) = (pki.authority("ours"), pki.authority("others"));
    let good = pki.identity("good", "127.0.0.1", &ours);
    let for_another_name = pki.identity("named", "collector.example", &ours);
    let expired = pki.expired("expired", "127.0.0.1", &ours);
    let demanding = format!("-Verify 1 -verify_return_error -CAfile {}", ours.cert.display());
    let cases = [
        (&good, "", &others, "comes from an authority that is not trusted here"),
        (&for_another_name, "", &ours, "its certificate is for another name"),
        (&expired, "", &ours, "its certificate has expired"),
        (&good, demanding.as_str(), &ours, "it does not accept the probe's certificate, or wants one"),
        (&good, "-cipher AES128-SHA", &ours, "it has no version or cipher that serves"),
    ];
    thread::scope(|scope| {
        for (identity, options, ca, sentence) in cases {
            scope.spawn(move || {
                let host = watched();
                let collector = TlsCollector::start_dtls(&host, identity, options);
                gets_nothing(&host, &ca.cert, sentence);
                assert_eq!(collector.octets(), 0);
            });
        }
    });
}

fn gets_nothing(host: &Netns, ca: &Path, sentence: &str) {
    let url = format!("ipfix+dtls://127.0.0.1?ca={}", ca.display());
    let mut probe = Probe::start(host, &format!("-e {url} --inactive-timeout 1s"));
    send(host, 0..50);
    probe.until_account("exported with", 50);
    probe.says(sentence);
    assert_eq!(Account(probe.log()).number("lost in "), 0, "they are kept");
    let account = probe.stop();
    account.assert_balance();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (0, 50), "{}", account.0);
    assert_eq!(account.0.matches(sentence).count(), 1, "{sentence}: {}", account.0);
    nothing_came_in_clear(host);
}

/// As a collector of IPFIX in clear would be.
#[test]
fn who_does_not_answer_gets_nothing_but_greetings() {
    let pki = Pki::new();
    let host = watched();
    let silent = host.udp("127.0.0.1:4740");
    silent.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    gets_nothing(&host, &pki.authority("ca").cert, "it does not answer in DTLS");
    let mut datagram = [0; 2000];
    let mut greetings = 0;
    while let Ok(length) = silent.recv(&mut datagram) {
        // a record of the handshake
        assert_eq!((datagram[0], &datagram[1..2]), (22, &[254][..]), "{length} octets");
        greetings += 1;
    }
    assert!(greetings >= 3, "what is not answered is said again: {greetings}");
}

#[test]
fn a_name_can_be_given_and_a_hangup_has_certificates_read_again() {
    let pki = Pki::new();
    let authority = pki.authority("ca");
    let server = pki.identity("server", "collector.example", &authority);
    let host = watched();
    let collector = TlsCollector::start_dtls(&host, &server, "");
    let url = format!("ipfix+dtls://127.0.0.1?ca={}&name=collector.example", authority.cert.display());
    let mut command = Command::new("setsid"); // no terminal whose closing would be meant
    command.args([NFWEIR, "run", "-g", "5", "--inactive-timeout", "1s", "-e", &url]);
    let mut probe = Probe::started(host.start(&mut command));
    send(&host, 0..50);
    probe.until_account("records sent", 50);
    let pem = std::fs::read_to_string(&authority.cert).unwrap();
    pki.write("ca.pem", "no certificate");
    probe.signal(Signal::SIGHUP);
    probe.says("the connection stays as it is");
    pki.write("ca.pem", &pem);
    probe.signal(Signal::SIGHUP);
    send(&host, 50..100);
    probe.until_account("records sent", 100);
    let account = probe.stop();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (100, 0), "{}", account.0);
    until("all flows", || (flows(&collector.messages()) == 100).then_some(()));
    assert_eq!(templates(&collector.messages()), 2, "once in each session");
}

#[test]
fn certificates_that_cannot_be_used_are_said_at_the_start() {
    let pki = Pki::new();
    let authority = pki.authority("ca");
    let (one, other) = (pki.identity("one", "probe", &authority), pki.identity("other", "probe", &authority));
    for (setting, sentence) in [
        ("ca=/no/such.pem".to_owned(), "/no/such.pem cannot be read (No such file"),
        (
            format!("ca={}&cert={}&key={}", authority.cert.display(), one.cert.display(), other.key.display()),
            "one.pem does not serve (",
        ),
    ] {
        let said = said(&format!("run -g 5 -e ipfix+dtls://127.0.0.1?{setting}"));
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(said.stderr.contains(sentence), "{}", said.stderr);
    }
}
