//! Each counter that is declared is really counted: situations in network namespaces, and which counters each is there for.

mod common;

use clap::Parser;
use common::frames;
use common::icmp::answer;
use common::netns::Netns;
use common::process::until;
use nfweir::cli::{Cli, Command};
use nfweir::metrics::{CaptureCounters, CollectorCounters, ConnectionCounters, Entry, ExportCounters, Metrics};
use nfweir::probe::Probe;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;

/// By group and name of the counter.
type Counts = BTreeMap<(&'static str, &'static str), u64>;

/// What happens, and the counters that it is there for.
struct Situation {
    what: &'static str,
    happen: fn() -> Arc<Metrics>,
    counted: &'static [(&'static str, &'static [&'static str])],
}

const SITUATIONS: [Situation; 8] = [
    Situation {
        what: "flows that end by themselves, to collectors of which only one is there",
        happen: flows_end,
        counted: &[
            ("capture", &["packets", "flow_packets", "flow_octets"]),
            ("export", &["flows", "flow_packets", "flow_octets", "idle_timeouts", "ends_of_flow", "forced_ends"]),
            ("collector", &["given_records", "messages", "records", "octets", "connect_failures"]),
            ("collector", &["refusals", "refused_messages", "refused_records", "refused_packets", "refused_octets"]),
            ("collector", &["lost_messages", "lost_records", "lost_packets", "lost_octets", "unexportable_records"]),
        ],
    },
    Situation {
        what: "an answer that a message did not arrive, which quotes nothing of it",
        happen: an_answer_quotes_nothing,
        counted: &[("collector", &["untold_refusals"])],
    },
    Situation { what: "a flow that goes on", happen: a_flow_goes_on, counted: &[("export", &["active_timeouts"])] },
    Situation {
        what: "more flows than the table holds",
        happen: the_table_is_full,
        counted: &[("capture", &["ignored_packets", "ignored_octets"]), ("export", &["early_ends"])],
    },
    Situation {
        what: "frames without IP, with a broken header, and with no length",
        happen: odd_frames,
        counted: &[("capture", &["not_ip_packets", "malformed_packets", "unknown_length_packets"])],
    },
    Situation {
        what: "more packets than the kernel has room for, and others behind them",
        happen: packets_are_lost,
        counted: &[("capture", &["lost_packets"])],
    },
    Situation {
        what: "the same at the very end",
        happen: the_last_packets_are_lost,
        counted: &[("capture", &["lost_last_datagrams"])],
    },
    Situation {
        what: "more connections than are looked up at once, some of them not tracked, and pings",
        happen: connections_are_looked_up,
        counted: &[("connections", &["found_flows", "unknown_flows", "unasked_flows", "untold_flows"])],
    },
];

/// Packets from this host to itself.
const LOOPBACK: &str =
    "table inet t { chain c { type filter hook input priority 0; meta l4proto { tcp, udp } log group 5; }; }";

#[test]
fn each_declared_counter_is_counted() {
    let mut total = declared();
    for Situation { what, happen, counted } in SITUATIONS {
        let counts = counts(&happen());
        let expected = counted.iter().flat_map(|(group, names)| names.iter().map(move |name| (*group, *name)));
        for counter in expected {
            assert!(counts[&counter] > 0, "{what}: {counter:?} was not counted");
            *total.get_mut(&counter).unwrap() += 1;
        }
    }
    let never: Vec<_> = total.into_iter().filter(|(_, times)| *times == 0).map(|(counter, _)| counter).collect();
    assert!(never.is_empty(), "no situation is there for these counters: {never:?}");
}

/// All there are, none counted.
fn declared() -> Counts {
    let all = [
        ("capture", CaptureCounters::default().entries()),
        ("export", ExportCounters::default().entries()),
        ("connections", ConnectionCounters::default().entries()),
        ("collector", CollectorCounters::default().entries()),
    ];
    summed(all)
}

fn counts(metrics: &Metrics) -> Counts {
    let captures = metrics.captures.iter().map(|(_, counters)| ("capture", counters.entries()));
    let connections = metrics.connections.iter().map(|counters| ("connections", counters.entries()));
    let collectors = metrics.collectors.all().into_iter().map(|it| ("collector", it.counters.entries()));
    summed(captures.chain([("export", metrics.export.entries())]).chain(connections).chain(collectors))
}

fn summed(groups: impl IntoIterator<Item = (&'static str, Vec<Entry>)>) -> Counts {
    let mut counts = Counts::new();
    for (group, entries) in groups {
        entries.iter().for_each(|entry| *counts.entry((group, entry.name)).or_default() += entry.value);
    }
    counts
}

/// A probe in a namespace with these rules. Some things happen when its group is bound but nobody reads, others when it is at
/// work.
fn observe(
    rules: &str,
    options: &str,
    early: impl FnOnce(&Netns),
    late: impl FnOnce(&Netns, &Metrics),
) -> Arc<Metrics> {
    let host = Netns::new();
    let peer = Netns::new();
    peer.join("peer0", &host, "host0", 1);
    host.nft(rules);
    let cli = Cli::parse_from(format!("nfweir run -g 5 {options}").split_whitespace());
    let Command::Run(options) = cli.command else { panic!("`run` was said") };
    let config = options.resolve().unwrap();
    let probe = host.enter(|| Probe::open(&config.capture, config.export).unwrap());
    early(&host);
    let probe = host.enter(|| probe.start().unwrap());
    late(&host, probe.metrics());
    // frames that only a peer can send
    if rules.contains("host0") {
        send_odd_frames(&peer, probe.metrics());
    }
    probe.stop();
    let metrics = probe.metrics().clone();
    probe.join().unwrap();
    metrics
}

/// A packet of UDP to each of these ports.
fn send(host: &Netns, from: &str, ports: Range<u16>) {
    let address: SocketAddr = from.parse().unwrap();
    host.send(from, ports.map(|port| (SocketAddr::new(address.ip(), port), 10)));
}

fn flows_end() -> Arc<Metrics> {
    let options =
        "--inactive-timeout 1s -e ipfix://127.0.0.1:9995 -e netflow5://127.0.0.1:9 -e ipfix://no-such-host.invalid";
    observe(
        LOOPBACK,
        options,
        |_| (),
        |host, metrics| {
            let _collector = host.udp("127.0.0.1:9995");
            host.enter(|| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                drop((TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener.accept().unwrap()));
            });
            send(host, "[::1]:5000", 10_000..10_001);
            let export = &metrics.export;
            until("an end by FIN", || (export.ends_of_flow.get() > 0).then_some(()));
            // the second message tells that the first was refused
            until("flows ended, and a refusal", || {
                send(host, "127.0.0.1:5000", 10_000..10_010);
                let refused = metrics.collectors.all().iter().any(|it| it.counters.refusals.get() > 0);
                std::thread::sleep(std::time::Duration::from_millis(100));
                // the flow goes on as long as it is sent to; another one does not
                (refused && export.idle_timeouts.get() > 0).then_some(())
            });
            let before = metrics.captured().packets.get();
            send(host, "127.0.0.1:5001", 10_000..10_001);
            until("the last packet", || (metrics.captured().packets.get() > before).then_some(()));
        },
    )
}

fn an_answer_quotes_nothing() -> Arc<Metrics> {
    observe(
        LOOPBACK,
        "--inactive-timeout 1s -e ipfix://127.0.0.1:4739",
        |_| (),
        |host, metrics| {
            let collector = host.udp("127.0.0.1:4739");
            send(host, "127.0.0.1:5000", 10_000..10_001);
            let (_, exporter) = collector.recv_from(&mut [0; 2000]).unwrap();
            answer(host, exporter, &[0; 100], 0);
            let untold = || metrics.collectors.all()[0].counters.untold_refusals.get();
            until("an answer", || (untold() > 0).then_some(()));
        },
    )
}

fn a_flow_goes_on() -> Arc<Metrics> {
    observe(
        LOOPBACK,
        "--active-timeout 1s -e json:/dev/null",
        |_| (),
        |host, metrics| {
            until("an active timeout", || {
                send(host, "127.0.0.1:5000", 10_000..10_001);
                (metrics.export.active_timeouts.get() > 0).then_some(())
            });
        },
    )
}

fn the_table_is_full() -> Arc<Metrics> {
    let many = |host: &Netns| send(host, "127.0.0.1:5000", 10_000..15_000);
    observe(LOOPBACK, "--max-flows 100 -e json:/dev/null", many, |host, metrics| {
        until("flows ended early", || {
            many(host);
            (metrics.export.early_ends.get() > 0).then_some(())
        });
    })
}

fn odd_frames() -> Arc<Metrics> {
    let rules = "table netdev n { chain c { type filter hook ingress device host0 priority 0; log group 5; }; }";
    observe(rules, "-e json:/dev/null", |_| (), |_, _| ())
}

fn send_odd_frames(peer: &Netns, metrics: &Metrics) {
    let mut without_length = frames::ethernet(frames::IPV4, &[0x45; 40]);
    without_length[16..18].copy_from_slice(&[0, 0]);
    peer.send_frames("peer0", &frames::ethernet(frames::ARP, &[0; 28]), 1);
    peer.send_frames("peer0", &frames::ethernet(frames::IPV4, &[0x41; 40]), 1);
    peer.send_frames("peer0", &without_length, 1);
    until("the frames", || (metrics.captured().unknown_length_packets.get() > 0).then_some(()));
}

fn packets_are_lost() -> Arc<Metrics> {
    let many = |host: &Netns| (0..10).for_each(|_| send(host, "127.0.0.1:5000", 10_000..12_000));
    observe(LOOPBACK, "--receive-buffer 4096 -e json:/dev/null", many, |host, metrics| {
        until("a gap in the sequence numbers", || {
            send(host, "127.0.0.1:5000", 10_000..10_001);
            (metrics.captured().lost_packets.get() > 0).then_some(())
        });
    })
}

fn the_last_packets_are_lost() -> Arc<Metrics> {
    let many = |host: &Netns| (0..10).for_each(|_| send(host, "127.0.0.1:5000", 10_000..12_000));
    observe(LOOPBACK, "--receive-buffer 4096 -e json:/dev/null", many, |_, _| ())
}

/// Each that is not tracked is asked for twice, of 100,000 questions that may be asked at once.
fn connections_are_looked_up() -> Arc<Metrics> {
    let rules = "table inet t {
        chain raw { type filter hook output priority raw; udp sport 5001-5002 notrack; };
        chain pre { type filter hook prerouting priority raw; udp sport 5001-5002 notrack; };
        chain c { type filter hook input priority 0; ct state new counter;
            udp sport 5000-5002 log group 5; icmp type echo-request log group 5; }; }";
    observe(
        rules,
        "--nat -e json:/dev/null",
        |_| (),
        |host, metrics| {
            host.run("ping -c 1 127.0.0.1");
            send(host, "127.0.0.1:5000", 10_000..10_010);
            send(host, "127.0.0.1:5001", 10_000..62_000);
            send(host, "127.0.0.1:5002", 10_000..62_000);
            until("all packets", || (metrics.captured().packets.get() > 104_000).then_some(()));
        },
    )
}
