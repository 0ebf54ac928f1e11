//! Captures through `nfweir read`: exactly the flows that are in them, by each protocol, at each collector.

mod common;

use common::account::Account;
use common::capture::{Capture, RAW};
use common::cases::{self, Case};
use common::collectors::{Nfcapd, all_taken};
use common::flows::{Counts, Flows, Key};
use common::frames::{A, B, UDP, ipv4, ipv6, udp, v4};
use common::netns::Netns;
use common::nfweir::{NFWEIR, Said, nfweir, said};
use common::process::{Process, until};
use common::python_netflow;
use common::tshark;
use common::udp_collector::{UdpCollector, decode};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// No flow ends before its capture does.
const NO_TIMEOUTS: &str = "--inactive-timeout 7days --active-timeout 7days";
const PROTOCOLS: [&str; 3] = ["netflow5", "netflow9", "ipfix"];

/// Reads a capture, and gives the messages that came by this protocol.
fn messages(protocol: &str, capture: &Path) -> (Said, Vec<Vec<u8>>) {
    let collector = UdpCollector::start();
    let port = collector.port;
    let said = said(&format!("read {} -e {protocol}://127.0.0.1:{port} {NO_TIMEOUTS}", capture.display()));
    (said, collector.stop())
}

/// Reads captures, and gives the flows that nfcapd has by this protocol.
fn at_nfcapd(protocol: &str, captures: &str) -> Flows {
    let host = Netns::new();
    let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
    let read = &mut nfweir(&format!("read -e {protocol}://127.0.0.1:9995 {NO_TIMEOUTS} {captures}"));
    let said = host.enter(|| Said::by(read));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    all_taken(&host, said.account().messages());
    nfcapd.sums()
}

/// What of the expected flows this protocol can say.
fn sayable(protocol: &str, expected: Flows) -> Flows {
    match protocol {
        // netflow_parser knows nine of the twelve
        "ipfix" => expected.reduced(|counts| counts.tcp_flags &= 0x1ff),
        "netflow9" => expected.reduced(|counts| counts.tcp_flags &= 0xff),
        _ => expected.v4_only().reduced(|counts| counts.tcp_flags &= 0xff),
    }
}

/// A case by its name, and a folder with its capture under that name.
fn written(name: &str) -> (Case, TempDir) {
    let case = cases::all().into_iter().find(|case| case.name == name).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), &case.capture).unwrap();
    (case, folder)
}

fn without_times(counts: &mut Counts) {
    (counts.first, counts.last) = (0, 0);
}

#[test]
fn every_case_by_every_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for case in cases::all() {
        let path = folder.path().join(case.name);
        fs::write(&path, &case.capture).unwrap();
        for protocol in PROTOCOLS {
            let (said, messages) = messages(protocol, &path);
            assert_eq!(said.code, Some(0), "{}: {}", case.name, said.stderr);
            said.account().assert_balance();
            assert_eq!(
                said.account().number("not IP") + said.account().number("malformed"),
                case.refused,
                "{}",
                case.name
            );
            let flows = decode(&messages).reduced(without_times);
            let differences = flows.differences(&sayable(protocol, Flows::expected(&case)));
            wrong
                .extend(differences.into_iter().map(|difference| format!("{} by {protocol}: {difference}", case.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_cases_at_nfcapd() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Flows::default();
    let mut files = String::new();
    for case in cases::all() {
        let path = folder.path().join(case.name);
        fs::write(&path, &case.capture).unwrap();
        files += &format!(" {}", path.display());
        Flows::expected(&case).0.into_iter().for_each(|(key, counts)| all.add(key, counts));
    }
    for protocol in PROTOCOLS {
        let low_flags = |counts: &mut Counts| {
            without_times(counts);
            counts.tcp_flags &= 0xff;
        };
        let flows = at_nfcapd(protocol, &files).reduced(low_flags);
        let differences = flows.differences(&sayable(protocol, all.clone()).reduced(low_flags));
        assert!(differences.is_empty(), "by {protocol}:\n{}", differences.join("\n"));
    }
}

#[test]
fn every_message_is_well_formed_for_tshark() {
    let folder = tempfile::tempdir().unwrap();
    for protocol in PROTOCOLS {
        let mut all = Vec::new();
        for case in cases::all() {
            let path = folder.path().join(case.name);
            fs::write(&path, &case.capture).unwrap();
            all.push(messages(protocol, &path).1);
        }
        tshark::well_formed(&all);
    }
}

/// The same flows with the same times as netflow_parser reads, of every case. Of TCP flags, that knows eight.
#[test]
fn another_decoder_reads_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases::all();
    for protocol in PROTOCOLS {
        let exporters: Vec<_> = cases
            .iter()
            .map(|case| {
                let path = folder.path().join(case.name);
                fs::write(&path, &case.capture).unwrap();
                messages(protocol, &path).1
            })
            .collect();
        for ((messages, theirs), case) in exporters.iter().zip(python_netflow::decode(&exporters)).zip(&cases) {
            let [ours, theirs] =
                [decode(messages), theirs].map(|flows| flows.reduced(|counts| counts.tcp_flags &= 0xff));
            let differences = theirs.differences(&ours);
            assert!(differences.is_empty(), "{} by {protocol}:\n{}", case.name, differences.join("\n"));
        }
    }
}

/// All twelve, which netflow_parser does not know; the low eight by v9.
#[test]
fn tcp_flags_by_tshark() {
    let (case, folder) = written("tcp_flags_beyond_the_octet");
    let path = folder.path().join(case.name);
    for (protocol, mask) in [("ipfix", 0xfff), ("netflow9", 0xff)] {
        let records = tshark::well_formed(&[messages(protocol, &path).1]);
        let mut found: Vec<_> = records.into_iter().flat_map(|records| records.tcp_flags).collect();
        let mut expected: Vec<_> = case.expected.iter().map(|row| u64::from(row.7 & mask)).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "by {protocol}");
    }
}

/// 2000 flows of each IP version, mixed: full messages, repeated templates, sequence numbers without a gap, and tshark
/// reads the same records.
#[test]
fn many_flows_fill_many_messages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.pcap");
    let mut capture = Capture::pcap(RAW);
    for port in 1..=2000 {
        let time = 1_700_000_000_000_000_000 + u64::from(port) * 1_000_000;
        capture = capture.packet(time, &query(port)).packet(time, &ipv6(UDP, &udp(port, 53, 20)));
    }
    capture.write(&path);
    for protocol in PROTOCOLS {
        let (said, messages) = messages(protocol, &path);
        said.account().assert_balance();
        let (flows, octets) = if protocol == "netflow5" { (2000, 48) } else { (4000, 48 + 68) };
        assert_eq!(said.account().number("records sent"), flows);
        assert_eq!(said.account().number("messages, 0 lost"), messages.len() as u64);
        assert!(messages.iter().all(|message| message.len() <= 1472), "larger than an Ethernet frame");
        assert_eq!(decode(&messages).0.len() as u64, flows);
        let records = tshark::well_formed(&[messages]);
        assert_eq!(records.iter().map(|records| records.packets.len() as u64).sum::<u64>(), flows, "by {protocol}");
        assert_eq!(records.iter().flat_map(|records| &records.octets).sum::<u64>(), 2000 * octets, "by {protocol}");
    }
}

/// Nanoseconds are cut off, packets need not come in order, and gaps and durations of days are said exactly.
#[test]
fn times_are_exact_to_the_millisecond() {
    const START: u64 = 1_700_000_000_123_999_999;
    const MILLISECOND: u64 = 1_000_000;
    const DAY: u64 = 24 * 3600 * 1000 * MILLISECOND;
    let packets = [
        (1, START),
        (2, START + 1),
        (1, START + 6 * DAY),
        (3, START + 6 * DAY - 7 * MILLISECOND),
        (3, START + 5 * DAY),
        (4, START + 60 * DAY),
        (4, START + 60 * DAY + 876 * MILLISECOND), // .999999999
        (5, START - 1000 * DAY),
    ];
    let mut capture = Capture::pcap(RAW).nanoseconds();
    let mut expected = Flows::default();
    for (port, time) in packets {
        capture = capture.packet(time, &query(port));
        let millis = time / MILLISECOND;
        let key = (17, A.parse().unwrap(), port, B.parse().unwrap(), 53);
        expected.add(key, Counts { packets: 1, octets: 48, first: millis, last: millis, tcp_flags: 0 });
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("times.pcap");
    capture.write(&path);
    for protocol in PROTOCOLS {
        let differences = decode(&messages(protocol, &path).1).differences(&expected);
        assert!(differences.is_empty(), "by {protocol}:\n{}", differences.join("\n"));
        let differences = at_nfcapd(protocol, &path.display().to_string()).differences(&expected);
        assert!(differences.is_empty(), "by {protocol} at nfcapd:\n{}", differences.join("\n"));
    }
}

#[test]
fn a_damaged_file_gives_its_flows_up_to_the_damage() {
    let (case, folder) = written("pcap_in_microseconds");
    let path = folder.path().join("cut.pcap");
    fs::write(&path, &case.capture[..case.capture.len() - 1]).unwrap();
    let (said, messages) = messages("ipfix", &path);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("cut.pcap: at byte "), "{}", said.stderr);
    said.account().assert_balance();
    assert_eq!(decode(&messages).sums().0, case.frames() - 1);
}

/// UDP from this port of A to port 53 of B: 48 octets.
fn query(port: u16) -> Vec<u8> {
    ipv4(v4(UDP), &udp(port, 53, 20))
}

/// A capture of that many packets of one flow, and the folder that it is gone with.
fn queries(packets: u32) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcap");
    let time = 1_700_000_000_000_000_000;
    (0..packets).fold(Capture::pcap(RAW), |capture, _| capture.packet(time, &query(1024))).write(&path);
    (folder, path)
}

/// With the default timeouts: what the gap separates is two flows, though no packet in it says that time goes on.
#[test]
fn a_gap_ends_the_flows_before_it() {
    const SECOND: u64 = 1_000_000_000;
    let times = [0, 1, 3600, 3601].map(|second| (1_700_000_000 + second) * SECOND);
    let capture = times.iter().fold(Capture::pcap(RAW), |capture, time| capture.packet(*time, &query(1024)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gap.pcap");
    capture.write(&path);
    let said = said(&format!("read {}", path.display()));
    let flows: Vec<_> = said.stdout.lines().collect();
    assert_eq!(flows.len(), 2, "{}", said.stdout);
    assert!(flows.iter().all(|flow| flow.contains(" 1.000s ") && flow.contains(" 2 packets ")), "{}", said.stdout);
    said.account().assert_balance();
}

#[test]
fn several_files_and_standard_input() {
    let (case, folder) = written("pcapng");
    let path = folder.path().join(case.name);
    let said = Said::by(nfweir(&format!("read {} -", path.display())).stdin(File::open(&path).unwrap()));
    assert_eq!((said.code, said.account().number("seen")), (Some(0), 2 * case.frames()), "{}", said.stderr);
}

/// A stream that goes on: what came is exported when a signal ends it.
#[test]
fn what_came_by_a_pipe_that_is_silent_now_is_counted() {
    let (_folder, path) = queries(10);
    let (pipe, mut input) = std::io::pipe().unwrap();
    let reader = Process::start(&Netns::new(), nfweir("read -").stdin(pipe));
    input.write_all(&fs::read(&path).unwrap()).unwrap();
    // a signal before it has threads would end it
    let threads = format!("/proc/{}/task", reader.id());
    until("its threads", || (fs::read_dir(&threads).is_ok_and(|threads| threads.count() > 2)).then_some(()));
    until("the packets of an open pipe in the account", || {
        reader.signal(Signal::SIGUSR1);
        reader.log().contains("packets: 10 seen, 10 in flows").then_some(())
    });
}

#[test]
fn a_signal_ends_the_reading_and_not_the_export() {
    // more than a pipe holds, so that some of it has been read when all is written
    let (_folder, path) = queries(10_000);
    let mut command = nfweir("read -");
    let mut reader = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = reader.stdin.take().unwrap();
    input.write_all(&fs::read(&path).unwrap()).unwrap();
    kill(Pid::from_raw(reader.id() as i32), Signal::SIGINT).unwrap();
    let output = reader.wait_with_output().unwrap();
    let (flows, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), flows.lines().count()), (Some(1), 1), "{flows}{log}");
    assert!(log.contains(" packets: it cannot be read: a signal ended the reading"), "{log}");
    Account(log.into_owned()).assert_balance();
    drop(input);
}

#[test]
fn lines_that_cannot_be_written_are_lost_and_said() {
    let (case, folder) = written("pcapng");
    let path = folder.path().join(case.name);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = nfweir(&format!("read {}", path.display()));
    let output = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    let account = Account(log);
    assert_eq!(account.number("records sent"), 0, "{}", account.0);
    assert_eq!(account.number("lost in 0 messages"), account.number("exported with"), "{}", account.0);
    assert!(account.0.contains("standard output cannot be written (No space left on device"), "{}", account.0);
}

/// Also where only one message was sent, after which none can bring the news.
#[test]
fn messages_that_nobody_takes_are_said() {
    let (case, folder) = written("pcapng");
    let path = folder.path().join(case.name);
    let said = Netns::new().enter(|| said(&format!("read {} -e ipfix://127.0.0.1:9995", path.display())));
    assert_eq!((said.code, said.account().number("refusals")), (Some(1), 1), "{}", said.stderr);
    assert!(said.stderr.contains("ipfix://127.0.0.1:9995: messages did not arrive"), "{}", said.stderr);
}

#[test]
fn a_table_too_large_for_memory_is_refused() {
    let mut command = Command::new("prlimit");
    command.args(["--as=1000000000", NFWEIR, "read", "--max-flows", "2147483648", "-"]).stdin(Stdio::null());
    let said = Said::by(&mut command);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("there is no memory for a table of 2147483648 flows: lower --max-flows"));
}

#[test]
fn what_is_no_capture_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "this is a text, and not a capture").unwrap();
    let absent = folder.path().join("absent");
    let said = said(&format!("read {} {}", text.display(), absent.display()));
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("text: at byte 0"), "{}", said.stderr);
    assert!(said.stderr.contains("absent cannot be opened (No such file"), "{}", said.stderr);
}

/// The captures of other projects, which are not in this repository: their folder, or `None` with a line that says so.
fn other_projects_captures() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pcaps");
    let folder = std::env::var_os("NFWEIR_PCAPS").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!(
        "not run: the captures of other projects are not in {}; NFWEIR_PCAPS may name their folder",
        folder.display()
    );
    None
}

/// The rows of a table with a line of names at its head.
fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned));
    let names: Vec<_> = lines.next().unwrap().collect();
    lines.map(|line| names.iter().cloned().zip(line).collect()).collect()
}

fn expected_flows(path: &Path) -> Flows {
    let mut flows = Flows::default();
    for row in table(path) {
        let number = |name: &str| row[name].parse::<u64>().unwrap();
        // seconds with nine decimals; before 1970 is 1970
        let millis = |name: &str| match row[name].split_once('.').unwrap() {
            (seconds, decimals) if !seconds.starts_with('-') => {
                seconds.parse::<u64>().unwrap() * 1000 + decimals[..3].parse::<u64>().unwrap()
            }
            _ => 0,
        };
        let key: Key = (
            number("proto") as u8,
            row["src"].parse().unwrap(),
            number("sport") as u16,
            row["dst"].parse().unwrap(),
            number("dport") as u16,
        );
        let counts = Counts {
            packets: number("packets"),
            octets: number("ip_bytes"),
            first: millis("first_ts"),
            last: millis("last_ts"),
            tcp_flags: u16::from_str_radix(row["tcp_flags"].trim_start_matches("0x"), 16).unwrap(),
        };
        flows.add(key, counts);
    }
    flows
}

#[test]
fn captures_of_other_projects() {
    let Some(folder) = other_projects_captures() else { return };
    let mut wrong = Vec::new();
    for row in table(&folder.join("MANIFEST.tsv")) {
        let file = &row["file"];
        if row["compare"] == "robust" {
            survives(&folder.join(file));
            continue;
        }
        let expected = expected_flows(&folder.join("expected").join(format!("{file}.tsv")));
        for protocol in PROTOCOLS {
            let (said, messages) = messages(protocol, &folder.join(file));
            assert_eq!(said.code, Some(0), "{file}: {}", said.stderr);
            said.account().assert_balance();
            let only_counts = |counts: &mut Counts| {
                without_times(counts);
                counts.tcp_flags = 0;
            };
            let (flows, expected) = (decode(&messages), sayable(protocol, expected.clone()));
            let differences = match row["compare"].as_str() {
                "exact" => flows.differences(&expected),
                _ => flows.reduced(only_counts).differences(&expected.reduced(only_counts)),
            };
            wrong.extend(differences.into_iter().map(|difference| format!("{file} by {protocol}: {difference}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Malformed captures end with a result or an error, soon, and in bounded memory.
fn survives(path: &Path) {
    const MEMORY: u64 = 512 << 20;
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={MEMORY}")).args([NFWEIR, "read", "--max-flows", "10000"]).arg(path);
    let mut read = Process::start(&Netns::new(), &mut command);
    let code = read.ends();
    assert!(matches!(code, Some(0 | 1)), "{}: {code:?}, {}", path.display(), read.log());
}
