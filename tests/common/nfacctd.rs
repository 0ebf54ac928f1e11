//! pmacct's collector, nfacctd, and what its print plugin wrote.

use super::flows::{Counts, Flows};
use super::process::{ends, require, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Nfacctd {
    pub port: u16,
    child: Child,
    folder: TempDir,
}

impl Nfacctd {
    /// In the network namespace of the calling thread.
    pub fn start() -> Self {
        require("nfacctd", "pmacct");
        let folder = tempfile::tempdir().unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let configuration = format!(
            "daemonize: false\nnfacctd_ip: 127.0.0.1\nnfacctd_port: {port}\nplugins: print\n\
             aggregate: src_host, dst_host, src_port, dst_port, proto\nprint_output: json\n\
             print_output_file: {}\nprint_refresh_time: 1\nprint_history: 1h\nprint_output_file_append: true\n",
            path("flows")
        );
        fs::write(path("configuration"), configuration).unwrap();
        let child = Command::new("nfacctd")
            .args(["-f", &path("configuration")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let listens = || {
            let sockets = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
            sockets.contains(&format!("0100007F:{port:04X} "))
        };
        wait_for("nfacctd to listen", listens);
        Self { port, child, folder }
    }

    /// Waits until this many packets have come to it, ends it, and gives the flows. It knows neither times nor flags.
    pub fn stop(mut self, packets: u64) -> Flows {
        wait_for("the flows at nfacctd", || self.flows().sums().0 >= packets);
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        ends("nfacctd", &mut self.child);
        self.flows()
    }

    fn flows(&self) -> Flows {
        let text = fs::read_to_string(self.folder.path().join("flows")).unwrap_or_default();
        let mut flows = Flows::default();
        for row in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let text = |name: &str| row[name].as_str().unwrap_or_else(|| panic!("no {name} in {row}"));
            let number = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("no {name} in {row}"));
            let protocol = match text("ip_proto") {
                "icmp" => 1,
                "tcp" => 6,
                "udp" => 17,
                "ipv6-icmp" => 58,
                other => other.parse().unwrap(),
            };
            let key = (
                protocol,
                text("ip_src").parse().unwrap(),
                number("port_src") as u16,
                text("ip_dst").parse().unwrap(),
                number("port_dst") as u16,
            );
            let counts =
                Counts { packets: number("packets"), octets: number("bytes"), first: 0, last: 0, tcp_flags: 0 };
            flows.add(key, counts);
        }
        flows
    }
}
