//! The package netflow of Python's registry as judge of the messages that nfweir sends.

use super::flows::{Counts, Flows};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where `tests/run` installs it.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");
const SCRIPT: &str = include_str!("python_netflow.py");

/// The flows in the messages of each exporter.
pub fn decode(exporters: &[Vec<Vec<u8>>]) -> Vec<Flows> {
    assert!(Path::new(PYTHON).exists(), "there is no Python with the package netflow: tests/run installs it");
    let mut command = Command::new(PYTHON);
    let mut python = command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text: String = exporters.iter().map(|messages| format!("\n{}", lines(messages))).collect();
    let mut stdin = python.stdin.take().unwrap();
    // the flows may fill their pipe before all is written
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "Python's decoder failed, as it says above");
    let mut flows = vec![Flows::default(); exporters.len()];
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (exporter, rest) = line.split_once(' ').unwrap();
        add(&mut flows[exporter.parse::<usize>().unwrap()], rest);
    }
    flows
}

fn lines(messages: &[Vec<u8>]) -> String {
    let hex = |message: &Vec<u8>| message.iter().map(|octet| format!("{octet:02x}")).collect::<String>() + "\n";
    messages.iter().map(hex).collect()
}

fn add(flows: &mut Flows, line: &str) {
    let columns: Vec<_> = line.split(' ').collect();
    let number = |column: usize| columns[column].parse::<u64>().unwrap();
    let address = |column: usize| columns[column].parse::<IpAddr>().unwrap();
    let key = (number(0) as u8, address(1), number(2) as u16, address(3), number(4) as u16);
    let [packets, octets, first, last, tcp_flags] = [5, 6, 7, 8, 9].map(number);
    flows.add(key, Counts { packets, octets, first, last, tcp_flags: tcp_flags as u16 });
}
