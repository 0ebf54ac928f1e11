//! tshark as judge of the messages that nfweir sends.

use super::capture::{Capture, ETHERNET};
use super::process::require;
use etherparse::PacketBuilder;
use std::process::Command;

const PORT: u16 = 9995;

/// What tshark reads in the data records of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub packets: Vec<u64>,
    pub octets: Vec<u64>,
    /// All twelve.
    pub tcp_flags: Vec<u64>,
}

/// The records in the messages of these exporters. Fails if tshark finds anything malformed, or worth an expert's note.
#[track_caller]
pub fn well_formed(exporters: &[Vec<Vec<u8>>]) -> Vec<Records> {
    let names =
        ["cflow.version", "_ws.malformed", "_ws.expert.message", "cflow.packets", "cflow.octets", "cflow.tcpflags"];
    let records = |(columns, number): (Vec<String>, u32)| {
        assert!(["5", "9", "10"].contains(&&*columns[0]), "message {number} is not decoded: {columns:?}");
        assert_eq!(columns[1..3], ["", ""], "message {number} is not well-formed");
        let [packets, octets, tcp_flags] = [3, 4, 5].map(|column| numbers(&columns[column]));
        Records { packets, octets, tcp_flags }
    };
    columns(exporters, &names).into_iter().zip(1..).map(records).collect()
}

/// What tshark says of each message by these names of its own.
#[track_caller]
pub fn columns(exporters: &[Vec<Vec<u8>>], names: &[&str]) -> Vec<Vec<String>> {
    require("tshark", "tshark");
    let frame = |exporter: usize, message: &[u8]| {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([192, 0, 2, exporter as u8], [198, 51, 100, 1], 64)
            .udp(40_000, PORT)
            .write(&mut bytes, message)
            .unwrap();
        bytes
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messages.pcap");
    let frames: Vec<_> = (0..)
        .zip(exporters)
        .flat_map(|(exporter, messages)| messages.iter().map(move |message| frame(exporter, message)))
        .collect();
    let capture = frames.iter().fold(Capture::pcap(ETHERNET), |capture, frame| capture.packet(0, frame));
    capture.write(&path);
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-d", &format!("udp.port=={PORT},cflow"), "-T", "fields", "-r"]).arg(&path);
    tshark.args(names.iter().flat_map(|name| ["-e", name]));
    let output = tshark.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), frames.len(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn numbers(column: &str) -> Vec<u64> {
    let number = |item: &str| match item.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => item.parse().unwrap(),
    };
    column.split(',').filter(|item| !item.is_empty()).map(number).collect()
}
