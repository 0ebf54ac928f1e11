//! nfcapd and nfacctd as collectors inside a namespace.

use super::flows::{Counts, Flows};
use super::netns::Netns;
use super::process::{Process, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::time::SystemTime;

/// What a collector says of a flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    pub source: (IpAddr, u16),
    /// With ICMP, the port is type * 256 + code.
    pub destination: (IpAddr, u16),
    pub packets: u64,
    pub octets: u64,
}

/// What nfdump knows beyond that.
pub struct Details {
    pub flow: Flow,
    pub protocol: u8,
    pub tcp_flags: u16,
    pub first: SystemTime,
    pub last: SystemTime,
    pub input: u32,
    pub output: u32,
    pub egress: bool,
}

pub fn total(flows: &[Flow]) -> (u64, u64) {
    flows.iter().fold((0, 0), |sum, flow| (sum.0 + flow.packets, sum.1 + flow.octets))
}

/// Waits until the collectors of a namespace, and whatever else receives UDP there, have taken so many datagrams.
pub fn all_taken(netns: &Netns, datagrams: u64) {
    until(&format!("{datagrams} datagrams taken"), || {
        let sum = |name| netns.statistic("Udp", name) + netns.statistic("Udp6", name);
        assert_eq!(sum("RcvbufErrors"), 0, "a collector's buffer overflowed");
        (sum("InDatagrams") >= datagrams).then_some(())
    });
}

pub struct Nfcapd(Process);

impl Nfcapd {
    pub fn start(netns: &Netns, address: &str, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flows = folder.path().join("flows");
        fs::create_dir(&flows).unwrap();
        // ahead of other tests, which must not keep it from emptying its socket
        let mut command = Command::new("nice");
        command.args(["-n", "-20", "nfcapd", "-b", address, "-p", &port.to_string(), "-w"]).arg(flows);
        if address.contains(':') {
            command.arg("-6");
        }
        let mut process = Process::start_with(netns, &mut command, folder);
        process.says("Startup nfcapd");
        process.listens(port);
        Self(process)
    }

    /// Ends it, and gives what it received without a gap in the sequence.
    pub fn details(&mut self) -> Vec<Details> {
        let text = self.printed("json");
        if text.contains("No matching flows") {
            return Vec::new();
        }
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        rows.iter().map(Details::from_json).collect()
    }

    /// The same as nfdump prints it in this format.
    pub fn printed(&mut self, format: &str) -> String {
        self.0.signal(Signal::SIGTERM);
        self.0.ends();
        let log = self.0.log();
        // of IPFIX, it does not count options records, though RFC 7011 section 3.1 does
        let good =
            if log.contains("ipfix exporter") { ", Bad Packets: 0" } else { "Sequence Errors: 0, Bad Packets: 0" };
        assert_eq!(log.matches(good).count(), log.matches("Ident:").count(), "{log}");
        let mut command = Command::new("nfdump");
        command.env("TZ", "UTC").args(["-o", format, "-R"]).arg(self.0.folder.path().join("flows"));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    pub fn flows(&mut self) -> Vec<Flow> {
        sorted(self.details().into_iter().map(|details| details.flow))
    }

    /// Summed by the five-tuple.
    pub fn sums(&mut self) -> Flows {
        let mut flows = Flows::default();
        for details in self.details() {
            let Flow { source, destination, packets, octets } = details.flow;
            let [first, last] = [details.first, details.last].map(milliseconds);
            let counts = Counts { packets, octets, first, last, tcp_flags: details.tcp_flags };
            flows.add((details.protocol, source.0, source.1, destination.0, destination.1), counts);
        }
        flows
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

impl Details {
    /// A row of `nfdump -o json`, which leaves out what is 0.
    fn from_json(row: &Value) -> Self {
        let number = |name: &str| row[name].as_u64().unwrap_or_default();
        let address = |v4: &str, v6: &str| row[v4].as_str().or(row[v6].as_str()).unwrap().parse().unwrap();
        let time = |name: &str| humantime::parse_rfc3339(&format!("{}Z", row[name].as_str().unwrap())).unwrap();
        let protocol = number("proto") as u8;
        let (source_port, destination_port) = match protocol {
            1 | 58 => (0, number("icmp_type") << 8 | number("icmp_code")),
            _ => (number("src_port"), number("dst_port")),
        };
        // CEUAPRSF, a dot for each that is not set
        let flags = row["tcp_flags"].as_str().unwrap_or_default();
        Self {
            flow: Flow {
                source: (address("src4_addr", "src6_addr"), source_port as u16),
                destination: (address("dst4_addr", "dst6_addr"), destination_port as u16),
                packets: number("in_packets"),
                octets: number("in_bytes"),
            },
            protocol,
            tcp_flags: flags.chars().fold(0, |bits, flag| bits << 1 | u16::from(flag != '.')),
            first: time("first"),
            last: time("last"),
            input: number("input_snmp") as u32,
            output: number("output_snmp") as u32,
            egress: number("direction") == 1,
        }
    }
}

pub struct Nfacctd(Process);

impl Nfacctd {
    /// Counts for each packet that was sampled those that were not, by what it was told of the sampling.
    pub fn start(netns: &Netns, address: &str, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("nfacctd.conf");
        let text = format!(
            "daemonize: false\nnfacctd_ip: {address}\nnfacctd_port: {port}\nplugins: print\n\
             aggregate: src_host, src_port, dst_host, dst_port, proto\nprint_output: csv\nprint_output_file: {}\n\
             print_output_file_append: true\nprint_refresh_time: 3600\nnfacctd_time_new: true\nnfacctd_renormalize: true\n",
            folder.path().join("flows").display()
        );
        fs::write(&configuration, text).unwrap();
        let mut process = Process::start_with(netns, Command::new("nfacctd").arg("-f").arg(configuration), folder);
        process.listens(port);
        process.says("base cache memory");
        Self(process)
    }

    pub fn flows(&mut self) -> Vec<Flow> {
        self.0.signal(Signal::SIGINT);
        self.0.ends();
        // the plugin writes its file in a process of its own
        until("the flows of nfacctd", || self.0.log().contains("Purging cache - END").then_some(()));
        let text = fs::read_to_string(self.0.folder.path().join("flows")).unwrap();
        let flow = |line: &str| {
            let columns: Vec<_> = line.split(',').collect();
            Flow {
                source: (columns[0].parse().unwrap(), columns[2].parse().unwrap()),
                destination: (columns[1].parse().unwrap(), columns[3].parse().unwrap()),
                packets: columns[5].parse().unwrap(),
                octets: columns[6].parse().unwrap(),
            }
        };
        sorted(text.lines().skip(1).map(flow))
    }
}

fn sorted(flows: impl Iterator<Item = Flow>) -> Vec<Flow> {
    let mut flows: Vec<_> = flows.collect();
    flows.sort();
    flows
}
