//! A capture file: how long softflowd and nfweir take for it.

use super::common::netns::Netns;
use super::common::process::Process;
use super::peers;
use super::traffic;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub fn compare(flows: u32, packets: u64, rounds: usize) {
    let folder = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
    let file = folder.path().join("packets.pcap");
    traffic::write(&file, flows, packets);
    let file = file.display();
    println!("\nA capture of {packets} packets of {flows} flows:\n");
    println!("| | seconds | million packets a second | × softflowd |");
    println!("|---|---|---|---|");
    let softflowd = format!("softflowd -r {file} {}", peers::softflowd_options());
    let timeouts = format!("--inactive-timeout {}s --active-timeout {}s", peers::INACTIVE, peers::ACTIVE);
    let nfweir =
        format!("{} read {file} -e ipfix://127.0.0.1:9995 {timeouts} --export-rate 0", env!("CARGO_BIN_EXE_nfweir"));
    let mut slowest = None;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds.max(5) {
        times[0].push(time(&softflowd));
        times[1].push(time(&nfweir));
    }
    for (name, mut times) in ["softflowd", "nfweir"].into_iter().zip(times) {
        times.sort();
        let seconds = times[times.len() / 2].as_secs_f64();
        let slowest = *slowest.get_or_insert(seconds);
        println!("| {name} | {seconds:.2} | {:.2} | {:.1} |", packets as f64 / seconds / 1e6, slowest / seconds);
    }
}

/// How long a program takes, beside a collector.
fn time(command: &str) -> Duration {
    let host = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Command::new("nfcapd");
    collector.args(["-b", "127.0.0.1", "-p", "9995", "-w"]).arg(folder.path());
    let mut collector = Process::start(&host, &mut collector);
    collector.listens(9995);
    let mut program = peers::split(command);
    program.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = host.spawn(&mut program).wait().unwrap();
    let elapsed = start.elapsed();
    assert!(status.success(), "{command}: {status}");
    elapsed
}
