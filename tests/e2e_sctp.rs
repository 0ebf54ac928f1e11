//! Collectors at the end of an SCTP association. Most of it takes a kernel that has SCTP: `tests/vm/run` has one.

mod common;

use common::account::Account;
use common::capture::{Capture, RAW};
use common::flows::Key;
use common::frames;
use common::loopback::{host, send};
use common::netns::Netns;
use common::nfweir::{Probe, nfweir, said};
use common::process::until;
use common::sctp_collector::SctpCollector;
use common::udp_collector::decode;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

/// The flows of one association, each of one packet; and how many records there were.
fn flows(messages: &[Vec<u8>]) -> (BTreeSet<Key>, u64) {
    for (i, message) in messages.iter().enumerate() {
        assert_eq!(usize::from(u16::from_be_bytes([message[2], message[3]])), message.len(), "one message in each");
        assert_eq!(message[16..18] == [0, 2], i == 0, "templates come first, and once");
    }
    let flows = decode(messages);
    let records = flows.sums().0;
    (flows.0.into_keys().collect(), records)
}

fn count(messages: &[Vec<u8>]) -> usize {
    let (flows, records) = flows(messages);
    assert_eq!(flows.len() as u64, records, "each once");
    flows.len()
}

#[test]
fn a_kernel_without_sctp_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.pcap");
    Capture::pcap(RAW).write(&file);
    let said = said(&format!("read -e ipfix+sctp://127.0.0.1 {}", file.display()));
    let without = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::SCTP)).is_err();
    let sentence = "ipfix+sctp://127.0.0.1:4739: this kernel has no SCTP: load it with `modprobe sctp`";
    assert_eq!((said.code, said.stderr.contains(sentence)), (Some(1), without), "{}", said.stderr);
}

/// By the eye of netfilter, too: nothing goes by another stream, and nothing out of order.
#[test]
#[ignore = "takes a kernel with SCTP: run tests/vm/run"]
fn sctp_takes_messages_one_by_one_on_one_stream() {
    let host = host();
    host.nft(
        "table inet s {
            chain good { counter; }
            chain bad { counter; }
            chain data { sctp chunk data stream 0 sctp chunk data flags & 4 == 0 goto good; goto bad; }
            chain c { type filter hook input priority 0; sctp dport 4739 sctp chunk data exists jump data; }; }",
    );
    let collector = SctpCollector::start(&host);
    let mut probe = Probe::start(&host, "-e ipfix+sctp://127.0.0.1");
    send(&host, 0..1000);
    // a slow kernel has packets on their way to the rule for longer than it takes to stop the probe
    let counted = || host.run("nft list chain inet t c").contains("counter packets 1000 ").then_some(());
    until("1000 packets at the rule", counted);
    let account = probe.stop();
    account.assert_balance();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (1000, 0), "{}", account.0);
    let came = collector.stop();
    assert_eq!((came.len(), came[0].len() as u64), (1, account.messages()));
    assert_eq!(count(&came[0]), 1000);
    let none = |chain| host.run(&format!("nft list chain inet s {chain}")).contains("counter packets 0 ");
    assert!(none("bad") && !none("good"), "{}", host.run("nft list ruleset"));
}

/// To the record.
#[test]
#[ignore = "takes a kernel with SCTP: run tests/vm/run"]
fn an_sctp_collector_that_comes_back_has_missed_nothing() {
    let host = host();
    let collector = SctpCollector::start(&host);
    let mut probe = Probe::start(&host, "-e ipfix+sctp://127.0.0.1 --inactive-timeout 1s");
    send(&host, 0..50);
    probe.until_account("records sent", 50);
    let first = collector.stop();
    send(&host, 50..100);
    probe.until_account("exported with", 100);
    assert_eq!(Account(probe.log()).number("records sent"), 50);
    let collector = SctpCollector::start(&host);
    send(&host, 100..150);
    probe.until_account("records sent", 150);
    let account = probe.stop();
    assert_eq!(account.number("lost in "), 0, "{}", account.0);
    assert_eq!(account.0.matches("its flows are kept until it takes them").count(), 1, "{}", account.0);
    assert_eq!(account.0.matches("takes flows again").count(), 1, "{}", account.0);
    let second = collector.stop();
    assert_eq!((count(&first[0]), count(&second[0])), (50, 100));
}

/// What its host had acknowledged but it had not read is sent again.
#[test]
#[ignore = "takes a kernel with SCTP: run tests/vm/run"]
fn what_a_killed_collector_has_not_read_is_not_called_sent() {
    let host = host();
    let collector = SctpCollector::start(&host);
    let mut probe = Probe::start(&host, "-e ipfix+sctp://127.0.0.1 --inactive-timeout 1s");
    send(&host, 0..50);
    probe.until_account("records sent", 50);
    collector.read_no_more();
    send(&host, 50..100);
    probe.0.says("Connection reset by peer");
    let first = collector.stop();
    assert_eq!(Account(probe.log()).number("records sent"), 50);
    let collector = SctpCollector::start(&host);
    probe.until_account("records sent", 100);
    let account = probe.stop();
    assert_eq!(account.number("lost in "), 0, "{}", account.0);
    let second = collector.stop();
    assert_eq!((count(&first[0]), count(&second[0])), (50, 50));
}

/// Nothing is missed, and hardly anything comes twice.
#[test]
#[ignore = "takes a kernel with SCTP: run tests/vm/run"]
fn a_collector_that_comes_and_goes_while_packets_come_gets_all() {
    let host = host();
    let mut probe = Probe::start(&host, "-e ipfix+sctp://127.0.0.1 --inactive-timeout 1s");
    let came = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            for start in (0..20_000).step_by(100) {
                send(&host, start..start + 100);
                thread::sleep(Duration::from_millis(50));
            }
        });
        let mut came = Vec::new();
        while !sending.is_finished() {
            let collector = SctpCollector::start(&host);
            thread::sleep(Duration::from_secs(3));
            came.extend(collector.stop());
        }
        came
    });
    let collector = SctpCollector::start(&host);
    let account = probe.stop();
    account.assert_balance();
    let came = [came, collector.stop()].concat();
    let (mut all, mut records) = (BTreeSet::new(), 0);
    for messages in &came {
        let (flows, more) = flows(messages);
        all.extend(flows);
        records += more;
    }
    let sent = account.number("records sent");
    println!("{} associations; {records} records came, {} of them twice", came.len(), records - all.len() as u64);
    assert!(came.len() > 2);
    assert_eq!((sent, account.number("lost in ")), (20_000, 0), "{}", account.0);
    assert_eq!(all.len(), 20_000);
}

#[test]
#[ignore = "takes a kernel with SCTP: run tests/vm/run"]
fn a_file_of_more_flows_than_the_queue_holds_gets_through() {
    let host = Netns::new();
    let collector = SctpCollector::start(&host);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flows.pcap");
    let packets = (0..50_000_u32).map(|i| {
        let header = etherparse::Ipv4Header { source: i.to_be_bytes(), ..frames::v4(frames::UDP) };
        frames::ipv4(header, &[0x13, 0x88, 0x1b, 0x59, 0, 8, 0, 0])
    });
    packets.fold(Capture::pcap(RAW), |capture, packet| capture.packet(1, &packet)).write(&file);
    let url = "ipfix+sctp://127.0.0.1?queue=500";
    let mut read = host.start(&mut nfweir(&format!("read -e {url} {}", file.display())));
    assert_eq!(read.ends(), Some(0), "{}", read.log());
    assert_eq!(Account(read.log()).number("records sent"), 50_000);
    assert_eq!(count(&collector.stop()[0]), 50_000);
}

/// An association on which nothing is acknowledged ends after half a minute.
#[test]
#[ignore = "takes a kernel with SCTP: run tests/vm/run"]
fn a_collector_that_falls_silent_is_left_and_gets_its_records_later() {
    let host = host();
    let collector = SctpCollector::start(&host);
    let mut probe = Probe::start(&host, "-e ipfix+sctp://127.0.0.1 --inactive-timeout 1s");
    send(&host, 0..50);
    probe.until_account("records sent", 50);
    host.nft("table inet s { chain c { type filter hook input priority 0; sctp dport 4739 drop; }; }");
    send(&host, 50..100);
    probe.0.says("Connection timed out");
    let first = collector.stop();
    host.run("nft delete table inet s");
    let collector = SctpCollector::start(&host);
    probe.until_account("records sent", 100);
    assert_eq!(probe.stop().number("lost in "), 0);
    let second = collector.stop();
    assert_eq!((count(&first[0]), count(&second[0])), (50, 50));
}

/// By address and device of the sender, and by the fields of the IP header.
#[test]
#[ignore = "takes a kernel with SCTP: run tests/vm/run"]
fn associations_go_as_the_url_says() {
    for (source, there) in [("10.1.0.9", "10.1.0.2"), ("fd00:1::9", "[fd00:1::2]")] {
        let (host, collector) = (host(), Netns::new());
        host.join("out0", &collector, "in0", 1);
        host.run("ip address add 10.1.0.9/24 dev out0");
        host.run("ip -6 address add fd00:1::9/64 dev out0 nodad");
        collector.nft(
            "table inet t { chain c { type filter hook input priority 0;
                iif in0 ip saddr 10.1.0.9 ip dscp 46 ip ttl 7 sctp dport 4739 counter;
                iif in0 ip6 saddr fd00:1::9 ip6 dscp 46 ip6 hoplimit 7 sctp dport 4739 counter; }; }",
        );
        let url = format!("ipfix+sctp://{there}?source={source}&device=out0&dscp=46&ttl=7");
        let mut probe = Probe::start(&host, &format!("-e {url}"));
        probe.0.says("nobody listens there: start the collector");
        assert!(collector.counted().0 > 0, "{}", collector.run("nft list ruleset"));
        probe.stop();
    }
}

#[test]
#[ignore = "takes a kernel with SCTP: run tests/vm/run"]
fn a_host_without_sctp_is_called_that() {
    let host = host();
    host.nft(
        "table ip s { chain c { type filter hook input priority 0;
            meta l4proto sctp reject with icmp type prot-unreachable; }; }",
    );
    let mut probe = Probe::start(&host, "-e ipfix+sctp://127.0.0.1");
    probe.0.says("its host has no SCTP");
    probe.stop();
}
