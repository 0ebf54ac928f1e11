//! Flows in files: IPFIX messages and JSON lines, begun anew by size, kept whole.

mod common;

use common::collectors::{Nfcapd, all_taken, total};
use common::loopback::{host, send};
use common::nfweir::{Probe, said};
use common::process::{require, until};
use common::stream_collector::messages;
use common::udp_collector::decode;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A folder in which the probe may write, though it becomes nobody.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_file_of_ipfix_is_read_by_others() {
    require("tshark", "tshark");
    let (host, folder) = (host(), folder());
    let path = folder.path().join("flows.ipfix");
    let mut probe = Probe::start(&host, &format!("-e file:{}", path.display()));
    send(&host, 0..500);
    let account = probe.stop();
    account.assert_balance();
    assert_eq!((account.number("records sent"), account.number("lost in ")), (500, 0), "{}", account.0);
    let messages = messages(&fs::read(&path).unwrap());
    assert_eq!((messages.len() as u64, decode(&messages).0.len()), (account.messages(), 500));
    // Wireshark knows such files by themselves
    let tshark =
        Command::new("tshark").args(["-T", "fields", "-e", "cflow.packets", "-r"]).arg(&path).output().unwrap();
    let text = String::from_utf8(tshark.stdout).unwrap();
    let packets = text.split(['\n', ',']).filter(|number| !number.is_empty());
    assert_eq!(packets.map(|number| number.parse::<u64>().unwrap()).sum::<u64>(), 500);
}

#[test]
fn files_begun_anew_are_read_each_on_its_own() {
    let (host, folder) = (host(), folder());
    let path = folder.path().join("flows.ipfix");
    let url = format!("file:{}?rotate-size=4KiB", path.display());
    let mut probe = Probe::start(&host, &format!("-e {url} --inactive-timeout 1s"));
    for round in 0..3 {
        send(&host, 100 * round..100 * (round + 1));
        until("a file that is kept", || (files(folder.path()).len() == usize::from(round) + 2).then_some(()));
    }
    assert_eq!(probe.stop().number("records sent"), 300);
    let kept: Vec<_> = files(folder.path()).into_iter().filter(|file| *file != path).collect();
    let flows = kept.iter().map(|file| decode(&messages(&fs::read(file).unwrap())).0.len());
    assert_eq!(flows.collect::<Vec<_>>(), [100; 3]);
    assert_eq!(fs::read(&path).unwrap().len(), 0);
}

/// The flows in lines: destination ports.
fn ports(lines: &str) -> BTreeSet<u64> {
    let objects = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ports = objects.map(|flow| {
        assert_eq!((&flow["packetDeltaCount"], &flow["octetDeltaCount"]), (&Value::from(1), &Value::from(38)));
        assert_eq!(flow["sourceIPv4Address"], "127.0.0.1");
        assert!(humantime::parse_rfc3339(flow["flowStartMilliseconds"].as_str().unwrap()).is_ok());
        flow["destinationTransportPort"].as_u64().unwrap()
    });
    ports.collect()
}

#[test]
fn json_goes_to_a_file_and_to_standard_output() {
    let (host, folder) = (host(), folder());
    let path = folder.path().join("flows.json");
    let mut probe = Probe::start(&host, &format!("-e json:{} -e json:-", path.display()));
    send(&host, 0..300);
    let account = probe.stop();
    let expected: BTreeSet<u64> = (10_000..10_300).collect();
    assert_eq!(ports(&fs::read_to_string(&path).unwrap()), expected);
    let output: String =
        account.0.lines().filter(|line| line.starts_with('{')).map(|line| format!("{line}\n")).collect();
    assert_eq!(ports(&output), expected);
}

/// Until it is there again, what would have gone into it is counted.
#[test]
fn a_folder_that_vanishes_loses_nothing_unsaid() {
    for scheme in ["file", "json"] {
        let (host, outer) = (host(), folder());
        let inner = outer.path().join("inner");
        let make = || {
            fs::create_dir(&inner).unwrap();
            fs::set_permissions(&inner, PermissionsExt::from_mode(0o777)).unwrap();
        };
        make();
        let path = inner.join("flows");
        let url = format!("{scheme}:{}", path.display());
        let mut probe = Probe::start(&host, &format!("-e {url} --inactive-timeout 1s"));
        fs::remove_dir_all(&inner).unwrap();
        send(&host, 0..50);
        probe.until_account("lost in ", 50);
        make();
        send(&host, 50..120);
        probe.until_account("exported with", 120);
        let account = probe.stop();
        let (sent, lost) = (account.number("records sent"), account.number("lost"));
        assert_eq!(sent + lost, 120, "{}", account.0);
        let octets = fs::read(&path).unwrap();
        let found = match scheme {
            "file" => decode(&messages(&octets)).0.len(),
            _ => String::from_utf8(octets).unwrap().lines().count(),
        };
        assert!(found > 0 && found as u64 == sent, "{found}: {}", account.0);
    }
}

#[test]
fn two_destinations_cannot_be_one_file() {
    let folder = folder();
    let path = folder.path().join("flows");
    let said = said(&format!("run -g 5 -e file:{0} -e json:{0}", path.display()));
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("something else writes it: give each a file of its own"), "{}", said.stderr);
}

#[test]
fn a_file_that_cannot_be_written_is_said_at_the_start() {
    let said = said("run -g 5 -e file:/no/such/folder/flows");
    assert_eq!(said.code, Some(1));
    let sentence = "file:/no/such/folder/flows: cannot be begun (No such file or directory";
    assert!(said.stderr.contains(sentence), "{}", said.stderr);
}

/// What does not fit is cut off at the end of a message, and counted.
#[test]
fn a_full_disk_leaves_whole_messages() {
    let (host, folder) = (host(), folder());
    let path = folder.path().join("flows.ipfix");
    // a limit makes itself heard by a signal first, which a disk does not
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", "prlimit", "--fsize=20000", "--"]);
    command.args([common::nfweir::NFWEIR, "run", "-g", "5", "-e"]).arg(format!("file:{}", path.display()));
    let mut probe = Probe::started(host.start(&mut command));
    send(&host, 0..1000);
    probe.signal(Signal::SIGTERM);
    let account = probe.account_at_end();
    let (sent, lost) = (account.number("records sent"), account.number("lost"));
    assert!(lost > 0 && sent + lost == 1000, "{}", account.0);
    assert!(account.0.contains("cannot be written (File too large"), "{}", account.0);
    let octets = fs::read(&path).unwrap();
    let messages = messages(&octets);
    assert_eq!(messages.iter().map(Vec::len).sum::<usize>(), octets.len());
    assert_eq!(decode(&messages).0.len() as u64, sent);
}

/// Per network and protocol: the sums are those of all packets, and a connection's end ends nothing.
#[test]
fn a_key_of_fewer_fields_sums_up() {
    let (host, folder) = (host(), folder());
    let json = folder.path().join("flows.json");
    let mut nfcapd = Nfcapd::start(&host, "127.0.0.1", 9995);
    let key = "--key sourceIPv4Address/24,protocolIdentifier";
    let mut probe = Probe::start(&host, &format!("{key} -e json:{} -e ipfix://127.0.0.1:9995", json.display()));
    for network in 0..2 {
        for end in 1..=3 {
            let ports = (0..50).map(|port| (SocketAddr::from(([127, 0, 0, 1], 10_000 + port)), 10));
            host.send(&format!("127.0.{network}.{end}:5000"), ports);
        }
    }
    let account = probe.stop();
    account.assert_balance();
    assert_eq!((account.number("exported with"), account.in_flows().0), (2, 300), "{}", account.0);
    all_taken(&host, account.messages());
    assert_eq!(total(&nfcapd.flows()), host.counted());
    let text = fs::read_to_string(&json).unwrap();
    let flows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sources: BTreeSet<_> = flows.iter().map(|flow| flow["sourceIPv4Address"].as_str().unwrap()).collect();
    assert_eq!(sources, ["127.0.0.0", "127.0.1.0"].into());
    for flow in flows {
        assert_eq!((&flow["packetDeltaCount"], &flow["sourceIPv4PrefixLength"]), (&Value::from(150), &Value::from(24)));
        assert_eq!((&flow["protocolIdentifier"], &flow["destinationIPv4Address"]), (&Value::from(17), &Value::Null));
    }
}
