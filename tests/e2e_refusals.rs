//! Collectors by UDP that end and come back: what arrived is what counts as sent, to the record.

mod common;

use common::account::Account;
use common::collectors::{Nfcapd, all_taken};
use common::icmp::answer;
use common::loopback::{host, send};
use common::netns::Netns;
use common::nfweir::{NFWEIR, Probe};
use common::process::until;
use common::stream_collector::flows;
use common::udp_collector::UdpCollector;
use nix::sys::signal::Signal;
use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

/// A collector whose end can be told to the message.
struct Mortal {
    collector: UdpCollector,
    socket: UdpSocket,
}

impl Mortal {
    fn start(netns: &Netns, address: &str) -> Self {
        let socket = netns.udp(address);
        Self { collector: UdpCollector::listen(socket.try_clone().unwrap()), socket }
    }

    /// Gives what came. A socket that is connected to somebody else takes nothing more, but is read to its end.
    fn stop(self) -> Vec<Vec<u8>> {
        let own = self.socket.local_addr().unwrap();
        self.socket.connect((own.ip(), 1)).unwrap();
        self.collector.stop()
    }
}

/// How many datagrams came to this namespace where nobody took them.
fn refused(netns: &Netns) -> u64 {
    netns.statistic("Udp", "NoPorts") + netns.statistic("Udp6", "NoPorts")
}

fn taken(netns: &Netns) -> u64 {
    netns.statistic("Udp", "InDatagrams") + netns.statistic("Udp6", "InDatagrams")
}

/// Has a probe in `host` export 5000 flows by 100 messages a second, while the collector ends and another begins.
fn killed_and_restarted(host: &Netns, far: &Netns, protocol: &str, address: &str) {
    let target = format!("{protocol}://{address}");
    let mut collector = Mortal::start(far, address);
    let mut probe = Probe::start(host, &format!("-e {target}?rate=100"));
    send(host, 0..5000);
    let before = (taken(far), refused(far));
    probe.signal(Signal::SIGTERM);
    until("messages", || (taken(far) > before.0 + 20).then_some(()));
    let mut came = collector.stop();
    until("refused messages", || (refused(far) > before.1 + 3).then_some(()));
    collector = Mortal::start(far, address);
    let account = probe.account_at_end();
    came.extend(collector.stop());
    account.assert_balance();
    let [sent, lost] = ["records sent", "lost in "].map(|words| account.of(&target).number(words));
    assert_eq!((sent, sent + lost), (flows(&came) as u64, 5000), "{target}: {}", account.0);
    assert_eq!(account.of(&target).messages(), came.len() as u64, "{target}: {}", account.0);
    assert!(lost > 0 && !account.0.contains("nobody can tell"), "{target}: {}", account.0);
}

#[test]
fn on_the_same_host_the_account_is_right_to_the_record() {
    for protocol in ["netflow5", "netflow9", "ipfix"] {
        for address in ["127.0.0.1:4739", "[::1]:4739"] {
            let host = host();
            killed_and_restarted(&host, &host, protocol, address);
        }
    }
}

/// A host of its own, which answers each message that it has no socket for. Each knows the other already: what waits for a
/// neighbour to be found may be dropped without a word.
fn far_from(host: &Netns) -> Netns {
    let far = Netns::new();
    host.join("out0", &far, "in0", 1);
    far.enter(|| {
        fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0").unwrap();
        fs::write("/proc/sys/net/ipv6/icmp/ratelimit", "0").unwrap();
    });
    meet(host, &far, "10.1.0.1:9", "10.1.0.2:9");
    meet(host, &far, "[fd00:1::1]:9", "[fd00:1::2]:9");
    far
}

/// Until a datagram gets there, and one back.
fn meet(host: &Netns, far: &Netns, here: &str, there: &str) {
    let (ours, theirs) = (host.udp(here), far.udp(there));
    for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
        to.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        until("a datagram", || {
            from.send_to(&[0], to.local_addr().unwrap()).unwrap();
            to.recv(&mut [0]).ok()
        });
    }
}

#[test]
fn on_another_host_that_answers_all_it_is_too() {
    for protocol in ["netflow5", "netflow9", "ipfix"] {
        for address in ["10.1.0.2:4739", "[fd00:1::2]:4739"] {
            let host = host();
            killed_and_restarted(&host, &far_from(&host), protocol, address);
        }
    }
}

#[test]
fn between_two_nfcapds_nothing_is_missing_that_is_not_called_lost() {
    for protocol in ["netflow5", "netflow9", "ipfix"] {
        let host = host();
        let mut first = Nfcapd::start(&host, "127.0.0.1", 9995);
        let mut probe = Probe::start(&host, &format!("-e {protocol}://127.0.0.1:9995 --inactive-timeout 1s"));
        send(&host, 0..50);
        probe.until_account("records sent", 50);
        all_taken(&host, Account(probe.log()).messages());
        assert_eq!(first.flows().len(), 50);
        send(&host, 0..60);
        // heard without another message
        probe.until_account("lost in ", 60);
        let mut second = Nfcapd::start(&host, "127.0.0.1", 9995);
        send(&host, 0..70);
        let account = probe.stop();
        account.assert_balance();
        assert_eq!((account.number("records sent"), account.number("lost in ")), (120, 60), "{}", account.0);
        all_taken(&host, account.messages());
        assert_eq!(second.flows().len(), 70, "{protocol}: {}", account.0);
    }
}

/// No later message brings the news.
#[test]
fn a_collector_that_ends_just_before_the_probe_has_missed_the_last_records() {
    for (far, address) in [(false, "127.0.0.1:4739"), (true, "10.1.0.2:4739"), (true, "[fd00:1::2]:4739")] {
        let host = host();
        let other = far_from(&host);
        let netns = if far { &other } else { &host };
        let collector = Mortal::start(netns, address);
        let mut probe = Probe::start(&host, &format!("-e ipfix://{address} --inactive-timeout 1s"));
        send(&host, 0..50);
        probe.until_account("records sent", 50);
        assert_eq!(flows(&collector.stop()), 50);
        send(&host, 0..700);
        let account = probe.stop();
        account.assert_balance();
        assert_eq!((account.number("records sent"), account.number("lost in ")), (50, 700), "{}", account.0);
    }
}

/// A router has no way for the first messages, and says so.
#[test]
fn what_is_too_long_for_the_path_is_lost_and_counted() {
    for (address, via) in [("10.2.0.2:4739", "10.1.0.2"), ("[fd00:2::2]:4739", "fd00:1::2")] {
        let (host, router, far) = (host(), Netns::new(), Netns::new());
        host.join("out0", &router, "in0", 1);
        router.join("out1", &far, "in1", 2);
        router.run("ip link set out1 mtu 1280");
        router.enter(|| {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        });
        host.run(&format!("ip route add default via {via}"));
        far.run("ip route add 10.1.0.0/24 via 10.2.0.1");
        far.run("ip route add fd00:1::/64 via fd00:2::1");
        let port_9 = |address: &str| address.replace(":4739", ":9");
        meet(&host, &far, if address.starts_with('[') { "[fd00:1::1]:9" } else { "10.1.0.1:9" }, &port_9(address));
        let collector = Mortal::start(&far, address);
        let mut probe = Probe::start(&host, &format!("-e netflow5://{address}?rate=100"));
        send(&host, 0..2000);
        let account = probe.stop();
        let came = collector.stop();
        let [sent, lost] = ["records sent", "lost in "].map(|words| account.number(words));
        assert!(lost > 0 && lost < 1000, "{}", account.0);
        assert_eq!((sent, sent + lost), (flows(&came) as u64, 2000), "{}", account.0);
        assert_eq!(account.messages(), came.len() as u64, "{}", account.0);
        assert!(account.0.contains("the path has become narrower"), "{}", account.0);
    }
}

/// Has a probe export to `both.test`, which is first IPv6's, then IPv4's loopback address.
fn with_two_addresses(host: &Netns, options: &str) -> Probe {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, "::1 both.test\n127.0.0.1 both.test\n").unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(hosts);
    command.args([NFWEIR, "run", "-g", "5", "--control", "none"]).args(options.split_whitespace());
    Probe::started(host.start(&mut command))
}

/// It is sent to the one where somebody listens, templates first, and what got lost until that was found is counted.
#[test]
fn of_a_name_with_several_addresses_each_is_tried() {
    for protocol in ["netflow5", "netflow9", "ipfix"] {
        let host = host();
        let four = Mortal::start(&host, "127.0.0.1:4739");
        let target = format!("{protocol}://both.test:4739");
        let mut probe = with_two_addresses(&host, &format!("-e {target} --inactive-timeout 1s"));
        send(&host, 0..50);
        probe.until_account("exported with", 50);
        send(&host, 50..100);
        probe.until_account("exported with", 100);
        let by_four = four.stop();
        let six = Mortal::start(&host, "[::1]:4739");
        send(&host, 100..150);
        probe.until_account("exported with", 150);
        send(&host, 150..200);
        let account = probe.stop();
        account.assert_balance();
        let came = [flows(&by_four), flows(&six.stop())];
        assert!(came.iter().all(|&came| came >= 50), "{protocol}: {came:?}: {}", account.0);
        let [sent, lost] = ["records sent", "lost in "].map(|words| account.number(words));
        assert_eq!((sent, sent + lost), (came.iter().sum::<usize>() as u64, 200), "{protocol}: {}", account.0);
        let said = "nobody listens at [::1]:4739: the next address of its name is tried, 127.0.0.1:4739";
        assert!(account.0.contains(said), "{}", account.0);
    }
}

/// Their names are told with the templates, in more messages than go at once.
#[test]
fn a_host_of_many_devices_goes_on_though_a_collector_is_absent() {
    let host = host();
    (0..200).for_each(|pair| drop(host.run(&format!("ip link add a{pair} type veth peer name b{pair}"))));
    let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
    let (present, absent) = ("ipfix://127.0.0.1:9995", "netflow9://127.0.0.1:9996");
    let mut probe = Probe::start(&host, &format!("-e {present} -e {absent}?rate=0"));
    send(&host, 0..5000);
    let account = probe.stop();
    account.assert_balance();
    let [sent, lost] = ["records sent", "lost in "].map(|words| account.of(absent).number(words));
    assert_eq!((sent, lost), (0, 5000), "{}", account.0);
    // each record would bring on all names anew
    assert!(account.of(absent).number("messages, 0 not expressible") < 50_000, "{}", account.0);
    all_taken(&host, account.messages());
    assert_eq!(nfcapd.flows().len(), 5000);
}

/// It is IPv4's, whose answers a socket of IPv6 would not hear.
#[test]
fn an_ipv4_address_in_the_form_of_ipv6_is_one_of_ipv4() {
    let host = host();
    let mut probe = Probe::start(&host, "-e ipfix://[::ffff:127.0.0.1]:4739?dscp=46");
    send(&host, 0..500);
    let account = probe.stop();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (0, 500), "{}", account.0);
}

#[test]
fn an_answer_that_quotes_too_little_is_said_to_tell_nothing() {
    let host = host();
    let collector = host.udp("127.0.0.1:4739");
    let mut probe = Probe::start(&host, "-e netflow5://127.0.0.1:4739 --inactive-timeout 1s");
    // a message has 30 records
    send(&host, 0..45);
    let mut datagram = [0; 2000];
    collector.recv(&mut datagram).unwrap();
    let (length, from) = collector.recv_from(&mut datagram).unwrap();
    for (number, quoted) in (1..).zip([0, 23]) {
        answer(&host, from, &datagram[..length], quoted);
        probe.until_account("refusals", number);
    }
    assert_eq!(Account(probe.log()).number("records sent"), 45);
    // once again it is no news
    for (number, quoted) in (3..).zip([24, length]) {
        answer(&host, from, &datagram[..length], quoted);
        probe.until_account("refusals", number);
    }
    let account = probe.stop();
    assert_eq!((account.number("records sent"), account.number("lost in 1")), (30, 15), "{}", account.0);
    assert!(
        account.0.contains("4 refusals (2 of messages that nobody can tell, which count as sent)"),
        "{}",
        account.0
    );
}
