//! Packets on a wire: processor time of each for the probe, memory, and how many the collector has.

use super::common::netns::Netns;
use super::common::process::Process;
use super::peers::{self, ACTIVE, INACTIVE, NAMES};
use super::traffic::{RECEIVER_MAC, SENDER};
use super::usage::{self, Usage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

const RMEM_MAX: &str = "/proc/sys/net/core/rmem_max";
/// nfcapd's buffer, which its -B asks for within `rmem_max`.
const COLLECTOR_BUFFER: &str = "33554432";

const READS_NFLOG: [&str; 2] = ["null", "nfweir"];
const EXPORTS: [&str; 3] = ["nfweir", "softflowd", "uacctd"];

struct Result {
    packets: u64,
    while_packets_came: Usage,
    afterwards: Usage,
    collected: u64,
}

/// The rule logs each packet `logs` times; what is said is for each message. Of several rounds, all programs taking turns,
/// each program's median run counts. "machine" is all processors' time while packets came, for sending them too: what there is
/// more of than with "nothing" is what the program costs with all that the kernel does for it.
pub fn compare(flows: u32, packets: u64, logs: u64, rounds: usize) {
    let names: Vec<_> = NAMES.into_iter().filter(|name| logs == 1 || READS_NFLOG.contains(name)).collect();
    let mut runs: Vec<Vec<Result>> = names.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (name, runs) in names.iter().zip(&mut runs) {
            runs.push(measure(name, flows, packets, logs));
        }
    }
    println!("\n{packets} packets of {flows} flows, each logged {logs} times; ns of processor time a message:\n");
    println!("| | user | kernel | both | × null | afterwards | MiB | packets collected | machine |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut floor = None;
    for (name, mut runs) in names.iter().zip(runs) {
        runs.sort_by_key(|run| run.while_packets_came.nanoseconds);
        let result = &runs[rounds / 2];
        let per_packet = |nanoseconds: u64| nanoseconds as f64 / result.packets as f64;
        let both = per_packet(result.while_packets_came.nanoseconds);
        let kernel = per_packet(result.while_packets_came.kernel_nanoseconds);
        if *name == "null" {
            floor = Some(both);
        }
        println!(
            "| {name} | {:.0} | {kernel:.0} | {both:.1} | {} | {:.0} | {:.1} | {:.6} | {:.0} |",
            both - kernel,
            floor.map_or("-".to_owned(), |floor| format!("{:.2}", both / floor)),
            per_packet(result.afterwards.nanoseconds),
            result.afterwards.peak_kib as f64 / 1024.0,
            result.collected as f64 / result.packets as f64,
            per_packet(result.while_packets_came.machine_nanoseconds),
        );
    }
}

fn measure(name: &str, flows: u32, packets: u64, logs: u64) -> Result {
    let (sender, host) = wire(if name == "nothing" { 0 } else { logs });
    let usual = fs::read_to_string(RMEM_MAX).unwrap();
    fs::write(RMEM_MAX, "67108864").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Command::new("nfcapd");
    collector.args(["-b", "127.0.0.1", "-p", "9995", "-t", "3600", "-B", COLLECTOR_BUFFER, "-w"]).arg(folder.path());
    let mut collector = Process::start(&host, &mut collector);
    collector.says("Startup nfcapd");
    let work = tempfile::tempdir().unwrap();
    let (mut command, ready) = peers::command(name, work.path());
    let mut probe = Process::start(&host, &mut command);
    ready.into_iter().for_each(|ready| probe.says(ready));
    thread::sleep(Duration::from_secs(2));
    let before = Usage::of(probe.id());
    let mut sending = Command::new(env::current_exe().unwrap());
    sending.args(["send", &flows.to_string(), &packets.to_string()]);
    assert!(sender.spawn(&mut sending).wait().unwrap().success());
    thread::sleep(Duration::from_millis(500));
    let came = Usage::of(probe.id());
    if EXPORTS.contains(&name) {
        thread::sleep(Duration::from_secs((ACTIVE + INACTIVE + 5).into()));
    }
    let end = Usage::of(probe.id());
    let family = usage::family(probe.id());
    probe.signal(Signal::SIGTERM);
    thread::sleep(Duration::from_secs(3));
    // uacctd's plugin outlives it
    for id in family.into_iter().skip(1) {
        let _ = kill(Pid::from_raw(id as i32), Signal::SIGKILL);
    }
    collector.signal(Signal::SIGINT);
    collector.ends();
    fs::write(RMEM_MAX, usual).unwrap();
    let collected = match name {
        "null" => number_behind(&probe.log(), "packets "),
        _ => collected(folder.path()),
    };
    Result { packets: logs * host.counted().0, while_packets_came: came - before, afterwards: end - came, collected }
}

/// A namespace that sends, and one that logs and drops what comes.
fn wire(logs: u64) -> (Netns, Netns) {
    let (sender, host) = (Netns::new(), Netns::new());
    sender.join(SENDER, &host, "recv0", 1);
    let mac = RECEIVER_MAC.map(|octet| format!("{octet:02x}")).join(":");
    host.run(&format!("ip link set recv0 address {mac}"));
    let log = "log group 5 snaplen 128 ".repeat(logs as usize);
    host.nft(&format!(
        "table inet t {{ chain c {{ type filter hook prerouting priority raw; \
         iifname recv0 meta l4proto {{ tcp, udp }} counter {log} drop; }}; }}",
    ));
    (sender, host)
}

/// Packets in nfcapd's files.
fn collected(folder: &Path) -> u64 {
    let output = Command::new("nfdump").args(["-I", "-R"]).arg(folder).output().unwrap();
    number_behind(&String::from_utf8_lossy(&output.stdout), "Packets: ")
}

/// The last number behind these words.
fn number_behind(text: &str, words: &str) -> u64 {
    let behind = text.rsplit_once(words).map_or("", |(_, behind)| behind);
    behind.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
}
