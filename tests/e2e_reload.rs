//! SIGHUP under traffic: what changes, what is refused, and that no packet gets lost by either.

mod common;

use common::account::Account;
use common::collectors::{Nfacctd, Nfcapd, all_taken, total};
use common::loopback::host;
use common::netns::Netns;
use common::nfweir::{Probe, said};
use common::process::until;
use common::prometheus::scrape;
use common::stream_collector::TcpCollector;
use common::udp_collector::{UdpCollector, decode, options};
use nix::sys::signal::Signal;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// A configuration file, and a probe that reads it as nobody does.
struct Scene {
    folder: TempDir,
    probe: Probe,
}

impl Scene {
    fn start(host: &Netns, text: &str, options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // readable by the user that the probe becomes, and writable for its files
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(folder.path().join("nfweir.toml"), text).unwrap();
        let file = folder.path().join("nfweir.toml");
        let command = format!("run -c {} {options}", file.display());
        let probe = Probe::started(host.start(&mut common::nfweir::nfweir(&command)));
        Self { folder, probe }
    }

    fn file(&self) -> String {
        self.folder.path().join("nfweir.toml").display().to_string()
    }

    /// Has another text read, and gives what the probe says to that.
    fn reload(&self, text: &str) -> String {
        fs::write(self.file(), text).unwrap();
        self.hang_up()
    }

    fn hang_up(&self) -> String {
        let lines =
            || self.probe.log().lines().filter(|line| line.contains("SIGHUP: ")).map(str::to_owned).collect::<Vec<_>>();
        let before = lines().len();
        self.probe.signal(Signal::SIGHUP);
        until("a word about the reload", || lines().get(before).cloned())
    }
}

/// Sends packets to twenty ports while something is done; and says how many.
fn under_traffic(host: &Netns, work: impl FnOnce()) -> u64 {
    let ending = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let socket = host.udp("127.0.0.1:5000");
            let mut sent = 0;
            while !ending.load(Ordering::Relaxed) {
                let port = 10_000 + sent % 20;
                assert_eq!(socket.send_to(&[0; 10], SocketAddr::from(([127, 0, 0, 1], port as u16))).unwrap(), 10);
                sent += 1;
                thread::sleep(Duration::from_micros(200));
            }
            sent
        });
        work();
        ending.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    })
}

/// Records that were sent to a collector.
fn records(host: &Netns, collector: &str) -> f64 {
    let name = format!("nfweir_collector_records_total{{collector=\"{collector}\"}}");
    scrape(host, 9464).get(&name).copied().unwrap_or_default()
}

fn packets(messages: &[Vec<u8>]) -> u64 {
    decode(messages).0.values().map(|counts| counts.packets).sum()
}

/// One collector after the other, by all protocols: what goes to the next one is missing from none.
#[test]
fn collectors_are_exchanged_without_losing_a_packet() {
    let host = host();
    let [a, b] = [9995, 9996].map(|port| UdpCollector::listen(host.udp(&format!("127.0.0.1:{port}"))));
    let c = TcpCollector::start(&host, 9997);
    let [to_a, to_b, to_c] = ["ipfix://127.0.0.1:9995", "netflow9://127.0.0.1:9996", "ipfix+tcp://127.0.0.1:9997"];
    let text = |destination: &str, options: &str| {
        format!("group = 5\nmetrics = 9464\nexport = \"{destination}\"\ninactive-timeout = \"1s\"\n{options}\n")
    };
    let mut scene = Scene::start(&host, &text(to_a, "active-timeout = \"1s\""), "");
    let rounds = [
        (to_b, "active-timeout = \"2s\""),
        (to_c, "active-timeout = \"1s\"\nfields = \"basic\"\nbiflow = true"),
        (to_b, "active-timeout = \"1s\"\nsampling-rate = 7\ndelivery = \"failover\""),
        (to_a, "active-timeout = \"60s\"\ninterface-number = \"lo:77\""),
        (to_c, "active-timeout = \"1s\"\nfields = \"basic\""),
        (to_a, "active-timeout = \"1s\""),
    ];
    let sent = under_traffic(&host, || {
        until("records at the first", || (records(&host, to_a) > 0.0).then_some(()));
        let mut current = to_a;
        for (destination, options) in rounds {
            let before = records(&host, destination);
            let said = scene.reload(&text(destination, options));
            let change = format!("{} is in force: without {current}, with {destination}", scene.file());
            assert!(said.contains(&change), "{said}");
            // where flows go on for a minute, none is sent; the next collector gets it
            if !options.contains("60s") {
                until(destination, || (records(&host, destination) > before).then_some(()));
            }
            current = destination;
        }
    });
    let account = scene.probe.stop();
    account.assert_balance();
    assert_eq!((account.number("seen,"), account.number("lost in the kernel")), (sent, 0), "{}", account.0);
    for destination in [to_a, to_b, to_c] {
        assert_eq!(account.of(destination).number("lost in"), 0, "{}", account.0);
    }
    assert!(account.of(to_b).0.ends_with("; not configured any more") && !account.of(to_a).0.contains("any more"));
    let [at_a, at_b] = [a, b].map(|collector| packets(&collector.stop()));
    let connections = c.stop(&host);
    assert_eq!(connections.len(), 2, "one for each time");
    let at_c = connections.iter().map(|messages| packets(messages)).sum::<u64>();
    assert!(at_a > 0 && at_b > 0 && at_c > 0, "{at_a} {at_b} {at_c}");
    assert_eq!(at_a + at_b + at_c, sent);
}

/// Other fields, rates and names for collectors that stay: by the same socket or connection, with no gap in the sequence.
#[test]
fn collectors_that_stay_are_told_what_is_new() {
    let host = Netns::new();
    host.nft(
        "table inet t { chain c { type filter hook input priority 0; \
           udp dport 10000-65535 log prefix \"in\" group 5; }; }",
    );
    let [a, b] = [9995, 9996].map(|port| UdpCollector::listen(host.udp(&format!("127.0.0.1:{port}"))));
    let c = TcpCollector::start(&host, 9997);
    let destinations = ["ipfix://127.0.0.1:9995", "netflow9://127.0.0.1:9996", "ipfix+tcp://127.0.0.1:9997"];
    let text = |options: &str| {
        format!("group = 5\nmetrics = 9464\nexport = {destinations:?}\nactive-timeout = \"1s\"\n{options}\n")
    };
    let mut scene = Scene::start(&host, &text(""), "");
    let sent = under_traffic(&host, || {
        for (options, told) in [
            ("fields = \"basic\"", "other fields"),
            ("biflow = true", "other fields, other biflow"),
            (
                "sampling-rate = 100\n[[selector]]\nprefix = \"in\"\nname = \"by the door\"",
                "other biflow, other sampling-rate, other selector",
            ),
        ] {
            let before = destinations.map(|destination| records(&host, destination));
            let said = scene.reload(&text(options));
            assert!(said.ends_with(&format!(" is in force: {told}")), "{said}");
            for (destination, before) in destinations.iter().zip(before) {
                until("records of each", || (records(&host, destination) > before).then_some(()));
            }
        }
    });
    assert!(scene.hang_up().ends_with(" says nothing new"));
    let account = scene.probe.stop();
    account.assert_balance();
    assert_eq!(account.number("seen,"), sent);
    let connections = c.stop(&host);
    assert_eq!(connections.len(), 1, "the connection stays");
    let [at_a, at_b] = [a, b].map(UdpCollector::stop);
    for messages in [&at_a, &at_b, &connections[0]] {
        assert_eq!(packets(messages), sent);
        // selectorName, and of IPFIX also the interval and the space
        let names: Vec<_> = options(messages, &[335]).concat();
        assert!(names.contains(&"in".to_owned()) && names.last().unwrap() == "by the door", "{names:?}");
        let rates: Vec<_> = options(messages, &[34]).concat();
        assert!(rates.first().unwrap() == "1" && rates.last().unwrap() == "100", "{rates:?}");
    }
    let numbers: Vec<_> = at_b.iter().map(|message| u32::from_be_bytes(message[12..16].try_into().unwrap())).collect();
    assert_eq!(numbers, (0..at_b.len() as u32).collect::<Vec<_>>(), "NetFlow v9 counts messages");
}

#[test]
fn what_is_wrong_or_takes_a_restart_changes_nothing() {
    let host = host();
    let collector = UdpCollector::listen(host.udp("127.0.0.1:9995"));
    let export = "export = \"ipfix://127.0.0.1:9995\"\nactive-timeout = \"1s\"\n";
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(&host, &format!("group = 5\n{export}"), "--snaplen 100");
    let elsewhere = "export = \"ipfix://127.0.0.1:9996\"\n";
    let sent = under_traffic(&host, || {
        for (text, reason) in [
            (format!("group = 5\n{elsewhere}snaplan = 9"), format!("{} line 3: `snaplan` is no option", scene.file())),
            (format!("{elsewhere}group = 5\nkey = 5"), format!("{} line 3: ", scene.file())),
            (
                format!("group = 6\n{elsewhere}"),
                "group or spread cannot change while the probe runs: restart it".to_owned(),
            ),
            (
                format!(
                    "group = 5\n{elsewhere}max-flows = 9\nkey = \"protocolIdentifier\"\nreceive-buffer = \"1MiB\"\nuser = \"a\""
                ),
                "receive-buffer, key, max-flows, user cannot change while the probe runs".to_owned(),
            ),
            (
                format!("group = 5\n{elsewhere}fields = \"full\""),
                "fields or estimate-segments that take details".to_owned(),
            ),
            (format!("group = 5\n{elsewhere}nat = true\nmetrics = 9464"), "nat, metrics cannot change".to_owned()),
            (format!("interface = \"any\"\n{elsewhere}"), "interface, mirror or vlan cannot change".to_owned()),
            (
                format!("group = 5\nexport = \"json:{}/a/b\"", folder.path().display()),
                format!("json:{}/a/b: cannot be begun (", folder.path().display()),
            ),
            ("group = 5\nexport = \"ipfix+tls://a?ca=/none\"".to_owned(), "ipfix+tls://a:4740: ".to_owned()),
        ] {
            let said = scene.reload(&text);
            let expected = format!("nfweir: error: SIGHUP: nothing is changed: {reason}");
            assert!(said.starts_with(&expected), "{said}");
        }
        // what the command line gives is not the file's to change
        let said = scene.reload(&format!("group = 5\n{export}snaplen = 70"));
        assert!(said.ends_with(" says nothing new"), "{said}");
        fs::set_permissions(scene.file(), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(scene.hang_up().contains("let the user read it that the probe becomes"));
        fs::remove_file(scene.file()).unwrap();
        assert!(scene.hang_up().contains("cannot be read (No such file or directory"));
    });
    let account = scene.probe.stop();
    account.assert_balance();
    assert_eq!((account.number("seen,"), packets(&collector.stop())), (sent, sent));
}

/// What nobody would carry out any more is not said to be in force.
#[test]
fn at_the_end_nothing_changes() {
    let host = host();
    let text = |port: u16| format!("group = 5\nexport = \"ipfix://127.0.0.1:{port}?rate=1\"\n");
    let mut scene = Scene::start(&host, &text(9995), "");
    let _slow = host.udp("127.0.0.1:9995");
    common::loopback::send(&host, 0..1000);
    scene.probe.until_account("seen,", 1000);
    scene.probe.signal(Signal::SIGTERM);
    scene.probe.says("exporting every flow");
    assert!(scene.reload(&text(9996)).ends_with("SIGHUP: nothing is changed: the probe comes to its end"));
}

/// nfdump and pmacct read what comes by new templates, and from an exporter that begins anew under the same number.
#[test]
fn collectors_of_others_go_on_reading() {
    for protocol in ["netflow9", "ipfix"] {
        let host = host();
        let (mut nfcapd, mut nfacctd) =
            (Nfcapd::start(&host, "127.0.0.1", 9995), Nfacctd::start(&host, "127.0.0.1", 9996));
        let text = |settings: &str, fields: &str| {
            let export = [9995, 9996].map(|port| format!("{protocol}://127.0.0.1:{port}{settings}"));
            format!("group = 5\nexport = {export:?}\ninactive-timeout = \"1s\"\nfields = \"{fields}\"\n")
        };
        let mut scene = Scene::start(&host, &text("", "basic"), "");
        let mut exported = 0;
        let mut export = |scene: &Scene| {
            exported += 50;
            common::loopback::send(&host, 0..50);
            scene.probe.until_account("idle,", exported);
        };
        export(&scene);
        for (settings, fields) in [("", "standard"), ("", "basic"), ("?ttl=9", "standard")] {
            assert!(scene.reload(&text(settings, fields)).contains(" is in force: "));
            export(&scene);
        }
        let account = scene.probe.stop();
        account.assert_balance();
        all_taken(&host, account.messages());
        assert_eq!(total(&nfcapd.flows()), host.counted(), "nfcapd, {protocol}");
        assert_eq!(total(&nfacctd.flows()), host.counted(), "nfacctd, {protocol}");
    }
}

/// A queue that a collector has not taken when it is no more wanted is lost, and counted.
#[test]
fn what_a_collector_that_goes_does_not_take_is_counted() {
    let host = host();
    let [gone, kept] = ["ipfix+tcp://127.0.0.1:9995", "json:/dev/null"];
    let mut scene =
        Scene::start(&host, &format!("group = 5\nexport = [\"{gone}\", \"{kept}\"]\ninactive-timeout = \"1s\""), "");
    common::loopback::send(&host, 0..30);
    until("records in the queue", || {
        scene.probe.signal(Signal::SIGUSR1);
        scene.probe.log().contains(", 30 not sent yet").then_some(())
    });
    let said = scene.reload(&format!("group = 5\nexport = \"{kept}\"\n"));
    assert!(said.contains(&format!("without {gone}, inactive-timeout 15s instead of 1s")), "{said}");
    common::loopback::send(&host, 0..10);
    let account = scene.probe.stop();
    account.assert_balance();
    let of_gone = account.of(gone);
    assert_eq!((of_gone.number("records sent"), of_gone.number("lost in")), (0, 30), "{}", of_gone.0);
    assert_eq!(account.of(kept).number("records sent"), 40);
}

#[test]
fn files_are_exchanged_but_not_rewritten_otherwise() {
    let host = host();
    let mut scene = Scene::start(&host, "group = 5\n", "");
    let path = |name: &str| scene.folder.path().join(name).display().to_string();
    let [one, two] = ["one", "two"].map(path);
    assert!(scene.reload(&format!("group = 5\nexport = \"json:{one}\"")).contains(&format!("with json:{one}")));
    common::loopback::send(&host, 0..10);
    scene.probe.until_account("seen,", 10);
    for other in [format!("file:{one}"), format!("json:{one}?rotate-time=5s")] {
        let said = scene.reload(&format!("group = 5\nexport = \"{other}\""));
        assert!(said.contains("the file is being written in another way"), "{said}");
    }
    assert!(scene.reload(&format!("group = 5\nexport = \"file:{two}\"")).contains(&format!("without json:{one}")));
    let account: Account = scene.probe.stop();
    account.assert_balance();
    assert_eq!(account.of(&format!("file:{two}")).number("records sent"), 10);
    assert_eq!(fs::read_to_string(one).unwrap(), "");
    assert_eq!(packets(&common::stream_collector::messages(&fs::read(two).unwrap())), 10);
}

/// Where the probe has rules of its own, these leave out the export to the new collector too.
#[test]
fn own_rules_follow_the_export() {
    let (host, far) = (Netns::new(), Netns::new());
    host.join("out0", &far, "in0", 1);
    let _first = far.udp("10.1.0.2:4739");
    let collector = UdpCollector::listen(far.udp("10.1.0.2:4738"));
    let text =
        |port: u16| format!("interface = \"out0\"\nexport = \"ipfix://10.1.0.2:{port}\"\ninactive-timeout = \"1s\"");
    let mut scene = Scene::start(&host, &text(4739), "");
    let listed = || host.run("nft list table inet nfweir_5");
    assert!(listed().contains("dport 4739") && !listed().contains("dport 4738"), "{}", listed());
    let rules = listed().lines().count();
    assert!(scene.reload(&text(4738)).contains("with ipfix://10.1.0.2:4738"));
    assert!(listed().contains("dport 4739") && listed().contains("dport 4738"), "{}", listed());
    assert_eq!(listed().lines().count(), rules + 1, "{}", listed());
    host.send("10.1.0.1:5000", (0..5).map(|port| (SocketAddr::from(([10, 1, 0, 2], 10_000 + port)), 10)));
    // and some flows of IPv6's own
    until("the flows exported", || {
        scene.probe.signal(Signal::SIGUSR1);
        let log = scene.probe.log();
        (log.contains(" idle,") && Account(log).of("ipfix://10.1.0.2:4738").number("records sent") >= 5).then_some(())
    });
    scene.probe.stop().assert_balance();
    let flows = decode(&collector.stop()).0;
    let to = |ports: std::ops::Range<u16>| flows.keys().filter(|key| key.0 == 17 && ports.contains(&key.4)).count();
    assert_eq!((to(10_000..10_005), to(4738..4740)), (5, 0));
}

#[test]
fn check_judges_a_file_beforehand() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nfweir.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let host = host();
        host.enter(|| said(&format!("check --config {}", file.display())))
    };
    assert_eq!(check("group = 5\nexport = \"ipfix://a\"").code, Some(0));
    for (text, reason) in [
        ("group = 5\nactive-timeout = 7", "nfweir.toml line 2: `7` is not a time"),
        ("group = 5\nexport = \"ipfix+tls://a?ca=/none\"", "ipfix+tls://a:4740: "),
        ("group = 5\nbiflow = true\nkey = \"protocolIdentifier\"", "--biflow needs a --key"),
    ] {
        let said = check(text);
        assert!(said.code == Some(2) && said.stderr.contains(reason), "{said:?}");
    }
    assert_eq!(check("group = 77").code, Some(1));
}
