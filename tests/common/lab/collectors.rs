//! nfcapd and nfacctd as collectors inside a namespace.

use super::netns::Netns;
use super::process::{Process, until};
use nix::sys::signal::Signal;
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
        self.0.signal(Signal::SIGTERM);
        self.0.ends();
        let log = self.0.log();
        assert_eq!(log.matches("Sequence Errors: 0, Bad Packets: 0").count(), log.matches("Ident:").count(), "{log}");
        let mut command = Command::new("nfdump");
        command.arg("-R").arg(self.0.folder.path().join("flows")).env("TZ", "UTC");
        command.args(["-q", "-N", "-6", "-o", "fmt:%ts|%te|%sa|%sp|%da|%dp|%pkt|%byt|%in|%out|%dir"]);
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(details).collect()
    }

    pub fn flows(&mut self) -> Vec<Flow> {
        sorted(self.details().into_iter().map(|details| details.flow))
    }
}

fn details(line: &str) -> Details {
    let columns: Vec<_> = line.split('|').map(str::trim).collect();
    let &[first, last, source, source_port, destination, destination_port, packets, octets, input, output, direction] =
        columns.as_slice()
    else {
        panic!("{line}")
    };
    let time = |text| humantime::parse_rfc3339_weak(text).unwrap();
    let number = |text: &str| text.parse::<u32>().unwrap();
    // ICMP has type.code
    let port = match destination_port.split_once('.') {
        Some((kind, code)) => number(kind) << 8 | number(code),
        None => number(destination_port),
    };
    let flow = Flow {
        source: (source.parse().unwrap(), source_port.parse().unwrap()),
        destination: (destination.parse().unwrap(), port as u16),
        packets: packets.parse().unwrap(),
        octets: octets.parse().unwrap(),
    };
    let (first, last, egress) = (time(first), time(last), direction == "E");
    Details { flow, first, last, input: number(input), output: number(output), egress }
}

pub struct Nfacctd(Process);

impl Nfacctd {
    pub fn start(netns: &Netns, address: &str, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("nfacctd.conf");
        let text = format!(
            "daemonize: false\nnfacctd_ip: {address}\nnfacctd_port: {port}\nplugins: print\n\
             aggregate: src_host, src_port, dst_host, dst_port, proto\nprint_output: csv\nprint_output_file: {}\n\
             print_output_file_append: true\nprint_refresh_time: 3600\nnfacctd_time_new: true\n",
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
