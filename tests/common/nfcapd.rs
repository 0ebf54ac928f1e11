//! nfdump's collector, nfcapd, and what nfdump says it holds.

use super::flows::{Counts, Flows};
use super::process::{ends, require, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Nfcapd {
    pub port: u16,
    child: Child,
    folder: TempDir,
}

impl Nfcapd {
    /// In the network namespace of the calling thread, with the default socket buffer.
    pub fn start() -> Self {
        require("nfcapd", "nfdump");
        let folder = tempfile::tempdir().unwrap();
        // free a moment ago, and nobody else in this namespace wants it
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("nfcapd")
            .args(["-b", "127.0.0.1", "-t", "3600", "-p", &port.to_string(), "-w"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let listens = || {
            let sockets = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
            sockets.contains(&format!("0100007F:{port:04X} "))
        };
        wait_for("nfcapd to listen", listens);
        Self { port, child, folder }
    }

    /// Whether nothing is left in its socket and it sleeps: a signal would make it forget what it has not yet dealt with.
    fn is_done(&self) -> bool {
        let process = format!("/proc/{}", self.child.id());
        let sockets = fs::read_to_string(format!("{process}/net/udp")).unwrap();
        let port = format!(":{:04X}", self.port);
        let mut sockets = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let columns = sockets.find(|columns| columns[1].ends_with(&port)).unwrap();
        assert_eq!(columns.last(), Some(&"0"), "nfcapd's socket has dropped messages");
        let status = fs::read_to_string(format!("{process}/stat")).unwrap();
        columns[4].ends_with(":00000000") && status.rsplit(')').next().unwrap().starts_with(" S ")
    }

    /// Ends it, and gives the flows.
    pub fn stop(mut self) -> Flows {
        wait_for("nfcapd to take what has come", || self.is_done());
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        ends("nfcapd", &mut self.child);
        let output = Command::new("nfdump")
            .env("TZ", "UTC")
            .args(["-o", "json", "-R"])
            .arg(self.folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        if text.contains("No matching flows") {
            return Flows::default();
        }
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let mut flows = Flows::default();
        rows.iter().for_each(|row| add(row, &mut flows));
        flows
    }
}

fn add(row: &Value, flows: &mut Flows) {
    let number = |name: &str| row[name].as_u64().unwrap_or_default();
    let address = |v4: &str, v6: &str| row[v4].as_str().or(row[v6].as_str()).unwrap().parse().unwrap();
    let time = |name: &str| {
        let text = format!("{}Z", row[name].as_str().unwrap());
        let time = humantime::parse_rfc3339(&text).unwrap();
        time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
    };
    let protocol = number("proto") as u8;
    let (source_port, destination_port) = match protocol {
        1 | 58 => (0, number("icmp_type") << 8 | number("icmp_code")),
        _ => (number("src_port"), number("dst_port")),
    };
    let key = (
        protocol,
        address("src4_addr", "src6_addr"),
        source_port as u16,
        address("dst4_addr", "dst6_addr"),
        destination_port as u16,
    );
    // CEUAPRSF, a dot for each that is not set
    let flags = row["tcp_flags"].as_str().unwrap_or_default();
    let tcp_flags = flags.chars().fold(0, |bits, flag| bits << 1 | u16::from(flag != '.'));
    let counts = Counts {
        packets: number("in_packets"),
        octets: number("in_bytes"),
        first: time("first"),
        last: time("last"),
        tcp_flags,
    };
    flows.add(key, counts);
}
