//! Flows for people to read: aligned, and in colour on a terminal.

use super::element::{Element, Kind};
use super::facts::Facts;
use super::fields::{FieldChoice, Flavour, flow_layout};
use super::interface_names::InterfaceNames;
use super::json::shown;
use super::layout::{Layout, Value};
use super::lines::Format;
use crate::flow::{Ends, FlowRecord, ForwardingStatus};
use crate::packet::details::NOBODY;
use etherparse::IpNumber;
use std::env;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// TCP control bits from the highest of the low eight, as tcpdump's letters.
const FLAGS: &[u8; 8] = b"CEUAPRSF";
/// Room for an IPv4 address with its port.
const NARROW: usize = 21;
/// What lets a terminal write in colour (ECMA-48 section 8.3.117), and as before.
const FAINT: &str = "\x1b[2m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// What is behind the rest where it is asked for.
const BEHIND: [Element; 5] = [
    Element::UserName,
    Element::NetfilterUid,
    Element::NetfilterGid,
    Element::IngressPhysicalInterface,
    Element::EgressPhysicalInterface,
];

/// How flows are written. A column becomes wider with the first address that needs it, and stays so.
pub struct Readable {
    colour: bool,
    source_width: usize,
    destination_width: usize,
    behind: Layout<FlowRecord>,
    says_verdicts: bool,
    /// Whether records have the devices that packets come in and go out by.
    says_devices: [bool; 2],
    names: InterfaceNames,
    /// Whether the key has ICMP's type and code.
    says_icmp: bool,
}

impl Readable {
    /// For standard output: in colour if that is a terminal, unless NO_COLOR is set.
    pub fn for_output(facts: &Facts) -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::new(io::stdout().is_terminal() && !unwanted, facts)
    }

    /// For whatever it is written to: without colour.
    pub fn plain(facts: &Facts) -> Self {
        Self::new(false, facts)
    }

    fn new(colour: bool, facts: &Facts) -> Self {
        let behind = behind(facts);
        let says_verdicts = facts.fields.has(Element::ForwardingStatus);
        let (says_devices, names) = (says_devices(facts), InterfaceNames::new(facts));
        let says_icmp = facts.key.protocol && facts.key.destination_port;
        let [source_width, destination_width] = [NARROW; 2];
        Self { colour, source_width, destination_width, behind, says_verdicts, says_devices, names, says_icmp }
    }

    /// Both ends with their ports; of ICMP, the destination with type and code.
    fn ends(&self, flow: &FlowRecord, ends: Ends) -> [String; 2] {
        let [source, destination] = ends.sockets(flow.key.ip_version);
        let is_icmp = [IpNumber::ICMP, IpNumber::IPV6_ICMP].contains(&IpNumber(flow.key.protocol));
        if !(is_icmp && self.says_icmp) {
            return [source, destination].map(|end| end.to_string());
        }
        let [kind, code] = destination.port().to_be_bytes();
        let host = |end: SocketAddr| end.ip().to_string();
        [host(source), format!("{} icmp {kind}/{code}", host(destination))]
    }

    /// What NAT makes of the ends, if it is known and something else.
    fn translation(&self, flow: &FlowRecord) -> String {
        let after = flow.tracked.after_nat;
        if !flow.tracked.is_known() || after == flow.key.ends() {
            return String::new();
        }
        let [source, destination] = self.ends(flow, after);
        format!(", by NAT {source} -> {destination}")
    }

    /// What became of its packets, if that is known and asked for.
    fn verdict(&self, flow: &FlowRecord) -> &'static str {
        match flow.forwarding_status {
            ForwardingStatus::Forwarded if self.says_verdicts => " accepted",
            ForwardingStatus::AclDenied if self.says_verdicts => " dropped",
            _ => "",
        }
    }

    /// The names of the devices that its packets come in and go out by, if one is known.
    fn devices(&self, flow: &FlowRecord) -> String {
        let [input, output] = [flow.key.input, flow.output].map(|number| self.names.name(number).unwrap_or_default());
        let [input, output] = [(input, 0), (output, 1)].map(|(name, at)| if self.says_devices[at] { name } else { "" });
        if input.is_empty() && output.is_empty() { String::new() } else { format!(" {input}>{output}") }
    }

    /// Name and value of each that is known.
    fn behind(&self, flow: &FlowRecord) -> String {
        let known = self.behind.values(flow).filter(|(element, value)| match value {
            Value::Number(number) => *number != if element.kind() == Kind::Account { NOBODY.into() } else { 0 },
            Value::Octets(octets) => !octets.is_empty(),
        });
        known
            .map(|(element, value)| {
                let name = match value {
                    Value::Number(number) => self.names.said_by(element, number),
                    Value::Octets(_) => None,
                };
                let shown = name.map_or_else(|| shown(element, value), str::to_owned);
                format!(" {}={}", element.name(), shown.trim_matches('"'))
            })
            .collect()
    }
}

impl Format for Readable {
    fn learn(&mut self, facts: &Facts) {
        (self.behind, self.says_verdicts) = (behind(facts), facts.fields.has(Element::ForwardingStatus));
        (self.says_devices, self.names) = (says_devices(facts), InterfaceNames::new(facts));
    }

    fn tick(&mut self) {
        self.names.grow_old();
    }

    /// Start, duration, protocol, both ends, flags, packets, octets, devices, and what else is asked for.
    fn line(&mut self, flow: &FlowRecord) -> String {
        self.names.look();
        let start: SystemTime = UNIX_EPOCH + Duration::from_millis(flow.first.millis());
        let [source, destination] = self.ends(flow, flow.key.ends());
        self.source_width = self.source_width.max(source.len());
        self.destination_width = self.destination_width.max(destination.len());
        let [faint, cyan, plain] = if self.colour { [FAINT, CYAN, PLAIN] } else { [""; 3] };
        format!(
            "{faint}{}{plain} {:>8.3}s {cyan}{:<6}{plain} {:>source_width$} -> {:<destination_width$} {} {:>6} packets \
             {:>9} octets{}{}{}{}",
            humantime::format_rfc3339_millis(start),
            flow.last.since(flow.first).as_secs_f64(),
            protocol(flow.key.protocol),
            source,
            destination,
            flags(flow.tcp_flags),
            flow.packets,
            flow.octets,
            self.devices(flow),
            self.behind(flow),
            self.verdict(flow),
            self.translation(flow),
            source_width = self.source_width,
            destination_width = self.destination_width,
        )
    }
}

/// How what is asked for behind the rest is found.
fn behind(facts: &Facts) -> Layout<FlowRecord> {
    let asked = BEHIND.into_iter().filter(|element| facts.fields.has(*element)).collect();
    // either version's: these are not of addresses
    flow_layout(Flavour::Ipfix, 4, &facts.key, &FieldChoice::List(asked))
}

fn says_devices(facts: &Facts) -> [bool; 2] {
    // what is not in the key is 0
    [Element::IngressInterface, Element::EgressInterface].map(|element| facts.fields.has(element))
}

fn protocol(number: u8) -> String {
    match IpNumber(number).keyword_str() {
        Some(keyword) if !keyword.is_empty() => keyword.to_owned(),
        _ => number.to_string(),
    }
}

fn flags(bits: u16) -> String {
    let letter = |(place, letter): (usize, &u8)| if bits << place & 0x80 == 0 { '.' } else { char::from(*letter) };
    FLAGS.iter().enumerate().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::options::Interface;
    use crate::flow::tests::record;
    use crate::flow::{LOCAL, Tracked, UserName};
    use crate::packet::details::Provenance;

    #[test]
    fn a_flow_is_a_line() {
        assert_eq!(
            Readable::new(false, &Facts::default()).line(&record()),
            "2023-11-14T22:13:20.123Z    1.333s TCP            10.1.2.3:1024 -> 10.9.8.7:443          ...AP.SF      5 \
             packets       600 octets"
        );
        assert!(
            Readable::new(true, &Facts::default())
                .line(&record())
                .starts_with("\x1b[2m2023-11-14T22:13:20.123Z\x1b[0m    1.333s")
        );
    }

    #[test]
    fn what_is_asked_for_and_known_is_behind() {
        let facts = Facts { fields: FieldChoice::Full, ..Facts::default() };
        let mut readable = Readable::new(false, &facts);
        assert!(readable.line(&record()).ends_with(" 600 octets"));
        let mut flow = record();
        flow.details.first.provenance = Provenance::Process { uid: 0, gid: 5 };
        flow.user_name = UserName::from("root");
        assert!(readable.line(&flow).ends_with(" octets userName=root netfilterUid=0 netfilterGid=5"));
        flow = record();
        flow.details.first.provenance = Provenance::Bridge { input: 0, output: 7 };
        assert!(readable.line(&flow).ends_with(" octets egressPhysicalInterface=7"));
        flow = FlowRecord { forwarding_status: ForwardingStatus::AclDenied, ..record() };
        assert!(readable.line(&flow).ends_with(" octets dropped"));
        assert!(Readable::new(false, &Facts::default()).line(&flow).ends_with(" octets"));
    }

    #[test]
    fn devices_are_told_by_their_names_as_far_as_they_are_known() {
        let interfaces = || {
            let interface = |index, name: &str| Interface { index, name: name.to_owned(), description: String::new() };
            vec![interface(2, "eth0"), interface(3, "eth1")]
        };
        let line = |fields: FieldChoice, flow: FlowRecord| {
            Readable::new(false, &Facts { interfaces, fields, ..Facts::default() }).line(&flow)
        };
        let standard = |flow| line(FieldChoice::Standard, flow);
        assert!(standard(record()).ends_with(" octets eth0>eth1"));
        assert!(standard(FlowRecord { output: LOCAL, ..record() }).ends_with(" octets eth0>"));
        let key = crate::flow::FlowKey { input: 4, ..record().key };
        assert!(standard(FlowRecord { key, ..record() }).ends_with(" octets >eth1"));
        assert!(standard(FlowRecord { key, output: 0, ..record() }).ends_with(" octets"));
        assert!(line(FieldChoice::List(vec![Element::EgressInterface]), record()).ends_with(" octets >eth1"));
        assert!(line(FieldChoice::List(vec![Element::VlanId]), record()).ends_with(" octets"));
        let mut flow = record();
        flow.details.first.provenance = Provenance::Bridge { input: 3, output: 9 };
        let behind = " octets eth0>eth1 ingressPhysicalInterface=eth1 egressPhysicalInterface=9";
        assert!(line(FieldChoice::Full, flow).ends_with(behind));
    }

    #[test]
    fn what_nat_changes_is_at_the_end() {
        let mut flow = record();
        let line = |flow: &FlowRecord| Readable::new(false, &Facts::default()).line(flow);
        flow.tracked = Tracked { id: 7, is_reply: false, after_nat: flow.key.ends() };
        assert!(line(&flow).ends_with(" 600 octets"), "nothing is changed");
        flow.tracked.after_nat.source[3] = 9;
        assert!(line(&flow).ends_with(" 600 octets, by NAT 10.1.2.9:1024 -> 10.9.8.7:443"));
    }

    #[test]
    fn icmp_has_a_type_and_a_code() {
        let mut flow = record();
        (flow.key.protocol, flow.key.source_port, flow.key.destination_port) = (1, 0, 3 << 8 | 1);
        let line = Readable::new(false, &Facts::default()).line(&flow);
        assert!(line.contains("ICMP                10.1.2.3 -> 10.9.8.7 icmp 3/1     ...AP"), "{line}");
        flow.tracked = Tracked { id: 7, is_reply: false, after_nat: flow.key.ends() };
        flow.tracked.after_nat.source[3] = 9;
        let line = Readable::new(false, &Facts::default()).line(&flow);
        assert!(line.ends_with(", by NAT 10.1.2.9 -> 10.9.8.7 icmp 3/1"), "{line}");
        let key = crate::flow::key_fields::KeyFields { destination_port: false, ..Facts::default().key };
        let line = Readable::new(false, &Facts { key, ..Facts::default() }).line(&flow);
        assert!(!line.contains("icmp"), "{line}");
    }

    #[test]
    fn columns_widen_for_ipv6_and_stay_aligned() {
        let mut long = record();
        long.key.ip_version = 6;
        long.key.source =
            [0xfd, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        let mut readable = Readable::new(false, &Facts::default());
        let arrow = |line: String| line.find(" -> ").unwrap();
        let narrow = arrow(readable.line(&record()));
        let wide = arrow(readable.line(&long));
        assert!(wide > narrow);
        assert_eq!(arrow(readable.line(&record())), wide);
    }
}
