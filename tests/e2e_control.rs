//! A running probe is asked and told things.

mod common;

use common::loopback::{host, send};
use common::netns::Netns;
use common::nfweir::{NFWEIR, Probe, Said, nfweir, open_folder};
use common::process::{Process, until};
use common::udp_collector::{UdpCollector, decode};
use nix::sys::signal::Signal;
use nix::unistd::Group;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A probe with a control socket of its own.
struct Controlled {
    probe: Probe,
    path: PathBuf,
    _folder: TempDir,
}

impl Controlled {
    fn start(host: &Netns, options: &str) -> Self {
        let folder = open_folder();
        let path = folder.path().join("run/control.sock");
        let probe = Probe::start(host, &format!("--control {} {options}", path.display()));
        Self { probe, path, _folder: folder }
    }

    /// What a command of nfweir says of it.
    fn said(&self, words: &str) -> Said {
        Said::by(nfweir(&format!("{words} --control {}", self.path.display())).stdin(Stdio::null()))
    }

    #[track_caller]
    fn told(&self, words: &str) -> String {
        let said = self.said(words);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
        said.stdout
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.told("status --json")).unwrap()
    }

    /// Waits until so many packets were seen.
    fn until_seen(&self, packets: u64) -> Value {
        until("packets in the status", || {
            let status = self.status();
            (status["groups"][0]["counters"]["packets"] == packets).then_some(status)
        })
    }

    /// The status when so many flows are in the table, which is looked at once a second.
    fn until_held(&self, flows: u64) -> Value {
        until("flows in the status", || {
            let status = self.status();
            (status["table"]["flows"] == flows).then_some(status)
        })
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }
}

/// The answer to a line.
fn answer(mut stream: &UnixStream, line: &[u8]) -> Value {
    stream.write_all(line).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

const STATUS: &[u8] = b"{\"version\":1,\"command\":\"status\"}\n";

#[test]
fn the_status_is_the_account() {
    let host = host();
    let mut controlled = Controlled::start(&host, "-e json:- -e ipfix+tcp://127.0.0.1:9?queue=77 --max-flows 1000");
    send(&host, 0..100);
    send(&host, 50..100);
    controlled.until_seen(150);
    let status = controlled.until_held(100);
    assert_eq!(status["groups"][0]["group"], 5);
    assert_eq!(status["groups"][0]["counters"]["flow_octets"], 150 * 38);
    let table = &status["table"];
    assert_eq!((&table["flows"], &table["max_flows"], &table["fill"]), (&100.into(), &1000.into(), &10.0.into()));
    assert_eq!((&status["process"], &status["ending"]), (&controlled.probe.id().into(), &false.into()));
    let collectors = &status["collectors"];
    assert_eq!((&collectors[0]["state"], &collectors[0]["name"]), (&"well".into(), &"json:-".into()));
    let failing = until("a collector that is not there", || {
        let status = controlled.status();
        (status["collectors"][1]["state"] == "failing").then_some(status)
    });
    let failing = &failing["collectors"][1];
    assert_eq!((&failing["queue_limit"], &failing["name"]), (&77.into(), &"ipfix+tcp://127.0.0.1:9".into()));
    assert!(failing["trouble"].as_str().unwrap().contains("nobody listens there"), "{failing}");
    controlled.told("flush");
    let status = controlled.status();
    assert_eq!((&status["table"]["flows"], &status["export"]["forced_ends"]), (&0.into(), &100.into()));
    assert_eq!(status["collectors"][0]["counters"]["records"], 100);
    assert_eq!(
        (&status["collectors"][1]["waiting_records"], &status["collectors"][1]["counters"]["lost_records"]),
        (&77.into(), &23.into())
    );
    let readable = controlled.told("status");
    assert!(readable.contains("\n! ipfix+tcp://127.0.0.1:9: 23 records lost with "), "{readable}");
    assert!(readable.contains("\ntable: 0 of 1000 flows (0.0 %)\n"), "{readable}");
    let account = controlled.probe.stop();
    account.assert_balance();
    let exported = controlled.probe.log();
    assert!(exported.contains(&format!("control socket {}", controlled.path.display())), "{exported}");
    assert_eq!((account.number("seen,"), account.number("exported with")), (150, 100));
}

#[test]
fn flows_are_filtered_sorted_and_limited() {
    let host = host();
    let controlled = Controlled::start(&host, "-e json:-");
    // to port 10000 + n: n packets with 100 - n octets each
    for n in 1..=9_u16 {
        host.send(
            "127.0.0.1:5000",
            (0..n).map(|_| (SocketAddr::from(([127, 0, 0, 1], 10_000 + n)), usize::from(100 - n))),
        );
    }
    host.send("127.0.0.2:5001", [(SocketAddr::from(([127, 0, 0, 1], 10_001)), 2000)]);
    host.send("[::1]:5000", [(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 10_001)), 500)]);
    controlled.until_seen(47);
    let flows = |words: &str| -> Vec<Value> {
        let lines = controlled.told(&format!("flows --json {words}"));
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let ports = |words: &str| -> Vec<u64> {
        flows(words).iter().map(|flow| flow["destinationTransportPort"].as_u64().unwrap() - 10_000).collect()
    };
    assert_eq!(ports("").len(), 11);
    assert_eq!(ports("--sort packets --limit 3"), [9, 8, 7]);
    assert_eq!(ports("--sort first --limit 2"), [1, 1]);
    assert_eq!(ports("--sort last --address 127.0.0.1 --port 5000 --limit 2"), [9, 8]);
    assert_eq!(ports("--address 127.0.0.2"), [1]);
    assert_eq!(ports("--address 127.0.0.2/31").len(), 1);
    assert_eq!(ports("--address 127.0.0.0/8").len(), 10);
    assert_eq!(ports("--address ::/0"), [1]);
    assert_eq!(ports("--port 10009 --protocol udp"), [9]);
    assert!(ports("--protocol tcp").is_empty());
    assert_eq!(ports("--port 10001").len(), 3);
    let largest = &flows("--limit 1")[0];
    assert_eq!((&largest["octetDeltaCount"], &largest["sourceIPv4Address"]), (&2028.into(), &"127.0.0.2".into()));
    assert_eq!((&largest["packetDeltaCount"], largest.get("flowEndReason")), (&1.into(), None));
    let readable = controlled.told("flows --port 10001 --sort octets --limit 2");
    let lines: Vec<_> = readable.lines().collect();
    assert!(
        lines[0].contains("127.0.0.2:5001 -> 127.0.0.1:10001 ") && lines[0].contains(" 1 packets      2028 octets"),
        "{readable}"
    );
    assert!(lines[1].contains("[::1]:5000 -> [::1]:10001 "), "{readable}");
    assert_eq!(lines[2], "2 of 3 flows, which have 3 packets, 2703 octets");
    // nothing is removed by looking
    controlled.until_held(11);
    for (words, reason) in [
        ("flows --address 10.0.0.0/33", "no address such as"),
        ("flows --protocol tcpp", "no protocol"),
        ("flows --limit 0", "1 to 10000"),
        ("flows --sort size", "possible values: octets"),
    ] {
        let said = controlled.said(words);
        assert!(said.code == Some(2) && said.stderr.contains(reason), "{said:?}");
    }
}

#[test]
fn a_flush_exports_the_table_and_goes_on() {
    let host = host();
    let collector = UdpCollector::listen(host.udp("127.0.0.1:9995"));
    let mut controlled = Controlled::start(&host, "-e ipfix://127.0.0.1:9995");
    send(&host, 0..300);
    controlled.until_seen(300);
    assert_eq!(controlled.told("flush"), "300 flows are exported\n");
    assert_eq!(controlled.told("flush"), "0 flows are exported\n");
    assert_eq!(controlled.status()["export"]["forced_ends"], 300);
    send(&host, 0..5);
    let account = controlled.probe.stop();
    account.assert_balance();
    assert_eq!((account.number("seen,"), account.number("records sent")), (305, 305));
    let flows = decode(&collector.stop());
    assert_eq!(flows.sums(), (305, 305 * 38));
    assert_eq!(controlled.probe.log().matches("flush at the control socket: 300 flows are exported").count(), 1);
}

#[test]
fn a_stop_is_answered_when_all_is_exported() {
    let host = host();
    let mut controlled = Controlled::start(&host, "-e json:-");
    send(&host, 0..100);
    let said = controlled.told("stop");
    assert!(said.starts_with("packets: 100 seen, 100 in flows"), "{said}");
    assert!(said.contains("\njson:-: 100 records sent"), "{said}");
    controlled.probe.account_at_end().assert_balance();
    assert!(!controlled.path.exists());
    let said = controlled.said("status");
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("no nfweir runs with the control socket"), "{said:?}");
}

/// Here the export takes for ever; then a stop is no reason for the next signal to give flows up.
#[test]
fn a_stop_and_a_signal_are_one_end_and_two_signals_are_not() {
    let host = host();
    let mut controlled = Controlled::start(&host, "-e netflow5://127.0.0.1:9995 --export-rate 1");
    send(&host, 0..3000);
    let mut first = controlled.connect();
    first.write_all(b"{\"version\":1,\"command\":\"stop\"}\n").unwrap();
    controlled.probe.says("stop at the control socket: capture ends");
    controlled.probe.signal(Signal::SIGTERM);
    controlled.probe.says("SIGTERM: capture ends");
    assert_eq!(controlled.status()["ending"], true);
    assert!(controlled.told("status").contains(", ending: it exports what it has\n"));
    // at once: the export thread comes to nothing else any more
    for words in ["flows", "flush"] {
        assert!(controlled.said(words).stderr.contains("the probe comes to its end, and exports every flow"));
    }
    let second = controlled.connect();
    (&second).write_all(b"{\"version\":1,\"command\":\"stop\"}\n").unwrap();
    assert_eq!(controlled.status()["ending"], true);
    // half a second after the first, which is no echo of it
    std::thread::sleep(std::time::Duration::from_millis(600));
    controlled.probe.signal(Signal::SIGTERM);
    assert_eq!(controlled.probe.ends(), Some(1));
    let mut told = String::new();
    BufReader::new(second).read_line(&mut told).unwrap();
    assert!(told.contains("packets are in flows not exported") || told.contains("not sent yet"), "{told}");
    assert_eq!(controlled.probe.log().matches("stop at the control socket").count(), 1);
}

#[test]
fn its_user_and_group_may_ask_and_nobody_else() {
    let host = host();
    let controlled = Controlled::start(&host, "-e json:-");
    let about = fs::metadata(&controlled.path).unwrap();
    assert!(about.file_type().is_socket());
    assert_eq!(about.mode() & 0o7777, 0o660);
    let group = Group::from_gid(about.gid().into()).unwrap().unwrap();
    let ask = |gid: u32| {
        let words = ["status", "--control", controlled.path.to_str().unwrap()];
        Said::by(Command::new(copied().path().join("nfweir")).args(words).uid(54_321).gid(gid))
    };
    let said = ask(about.gid());
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = ask(54_321);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains(&format!("group {}: be in that group, or use sudo", group.name)), "{said:?}");
}

/// A folder with the program, which every user may run.
fn copied() -> TempDir {
    let folder = open_folder();
    fs::copy(NFWEIR, folder.path().join("nfweir")).unwrap();
    folder
}

#[test]
fn a_socket_has_one_probe_and_outlives_none() {
    let host = host();
    let mut controlled = Controlled::start(&host, "-e json:-");
    let second = format!("run -g 6 --control {}", controlled.path.display());
    let mut other = host.start(&mut nfweir(&second));
    assert_eq!(other.ends(), Some(1));
    assert!(
        other.log().contains("cannot be made: another probe has it: name another with --control"),
        "{}",
        other.log()
    );
    assert_eq!(controlled.status()["groups"][0]["group"], 5);
    controlled.probe.signal(Signal::SIGKILL);
    controlled.probe.ends();
    assert!(controlled.path.exists());
    assert!(controlled.said("status").stderr.contains("no nfweir runs"));
    controlled.probe = Probe::start(&host, &format!("-e json:- --control {}", controlled.path.display()));
    assert_eq!(controlled.status()["process"], controlled.probe.id());
    controlled.probe.stop();
    assert!(!controlled.path.exists());
}

/// In a mount namespace of its own, where the usual path is nobody else's.
#[test]
fn without_a_word_there_is_a_socket_if_it_can_be_had() {
    let host = host();
    let script = "mount -t tmpfs none /run && exec \"$@\"";
    let unshared = |options: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh", NFWEIR, "run"]).args(options.split_whitespace());
        Probe::started(host.start(&mut command))
    };
    let mut probe = unshared("-g 5");
    let inside = |words: &str| {
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &probe.id().to_string(), NFWEIR]).args(words.split_whitespace());
        command
    };
    let said = Said::by(&mut inside("status"));
    assert!(said.code == Some(0) && said.stdout.contains("\ngroup 5 "), "{said:?}");
    let second: Process = host.start(&mut inside("run -g 6"));
    let mut second = Probe::started(second);
    assert!(
        second
            .log()
            .contains("warning: the control socket /run/nfweir/control.sock cannot be made: another probe has it")
    );
    second.stop();
    assert_eq!(Said::by(&mut inside("flush")).stdout, "0 flows are exported\n");
    probe.stop();
    let mut none = unshared("-g 5 --control none");
    assert!(!none.log().contains("control socket"), "{}", none.log());
    none.stop();
}

#[test]
fn no_octets_are_too_much() {
    let host = host();
    let mut controlled = Controlled::start(&host, "-e json:-");
    let said = answer(&controlled.connect(), b"{\"version\":1,\"command\":\"restart\"}\n");
    assert!(said["error"].as_str().unwrap().contains("expected one of `status`, `flows`, `flush`, `stop`"), "{said}");
    let stream = controlled.connect();
    for garbage in [
        &b"\n"[..],
        b"\xff\xfe\n",
        b"GET / HTTP/1.1\r\n",
        b"{\"version\":1e999,\"command\":1}\n",
        &[b"[".repeat(4000), b"\n".to_vec()].concat(),
    ] {
        assert_eq!(answer(&stream, garbage)["version"], 1, "and the connection goes on");
    }
    assert_eq!(answer(&stream, STATUS)["status"]["groups"][0]["group"], 5);
    // all at once, and an answer to each
    let mut many = controlled.connect();
    many.write_all(&STATUS.repeat(300)).unwrap();
    let answers = BufReader::new(many).lines().take(300).filter(|line| line.as_ref().unwrap().contains("\"status\""));
    assert_eq!(answers.count(), 300, "one a second would take too long");
    for huge in [vec![b'x'; 1 << 20], [vec![b' '; 5000], b"\n".to_vec()].concat()] {
        let mut stream = controlled.connect();
        // it may have closed before all of it is written
        let _ = stream.write_all(&huge);
        let mut said = Vec::new();
        let read = stream.read_to_end(&mut said);
        assert!(read.is_ok() || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
        assert!(String::from_utf8_lossy(&said).contains("at most 4096 octets"), "{said:?}");
    }
    assert_eq!(controlled.status()["groups"][0]["group"], 5);
    controlled.probe.stop();
}

/// Each asks for megabytes and reads nothing.
#[test]
fn who_does_not_read_holds_nobody_up() {
    let host = host();
    let mut controlled = Controlled::start(&host, "-e json:-");
    send(&host, 0..5000);
    controlled.until_seen(5000);
    let mut lazy: Vec<_> = (0..10).map(|_| controlled.connect()).collect();
    for stream in &mut lazy {
        stream.write_all(b"{\"version\":1,\"command\":{\"flows\":{\"limit\":10000}}}\n").unwrap();
    }
    send(&host, 0..5000);
    controlled.until_seen(10_000);
    let mut line = String::new();
    BufReader::new(&lazy[0]).read_line(&mut line).unwrap();
    let flows: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&flows["flows"]["matched"], flows["flows"]["records"].as_array().unwrap().len()), (&5000.into(), 5000));
    let account = controlled.probe.stop();
    account.assert_balance();
    assert_eq!(account.number("seen,"), 10_000);
}

#[test]
fn a_hundred_connections_lock_nobody_out() {
    let host = host();
    let mut controlled = Controlled::start(&host, "-e json:-");
    let idle: Vec<_> = (0..100).map(|_| controlled.connect()).collect();
    assert_eq!(controlled.status()["groups"][0]["group"], 5);
    let asking: Vec<_> = (0..100).map(|_| controlled.connect()).collect();
    let served = asking.iter().filter(|stream| {
        let mut line = String::new();
        // those whose place another took before they asked are closed
        let asked = (&mut &**stream).write_all(STATUS).and_then(|()| BufReader::new(*stream).read_line(&mut line));
        asked.is_ok() && line.contains("\"status\"")
    });
    assert!(served.count() >= 32, "the last of them at least");
    drop((idle, asking));
    assert_eq!(controlled.status()["groups"][0]["group"], 5);
    controlled.probe.stop();
}
