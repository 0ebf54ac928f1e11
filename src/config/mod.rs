//! Command line and TOML file become one valid configuration; nothing is checked again later.
//!
//! Each option is defined once, for both: a key of the file is the long name on the command line. What the command line
//! gives replaces what the file says.

mod control;
mod destination;
mod fields;
mod file;
mod key;
mod metrics_address;
pub mod reload;
mod rules;
mod selector;
mod units;

use crate::control::Place;
use crate::export::biflow::Pairing;
use crate::export::delivery::Delivery;
use crate::export::destination::Destination;
use crate::export::element::Element;
use crate::export::fields::{FieldChoice, Flavour, flow_layout};
use crate::export::interface_numbers::{Numbering, NumberingRule};
use crate::export::netflow5;
use crate::export::sampling::Sampling;
use crate::export::selector_settings::SelectorSettings;
use crate::export::stream;
use crate::export::target::{Protocol, Target};
use crate::flow::expiry::Timeouts;
use crate::flow::key_fields::KeyFields;
use crate::flow::table;
use crate::rules::plan::Plan;
use clap::Args;
use control::ControlOptions;
use fields::{FieldName, field_choice};
pub use file::options as file_options;
use key::{KeyPart, key_fields};
use metrics_address::MetricsAddress;
use rules::{FIRST_GROUP, RuleOptions};
pub use rules::{Program, RulesOptions};
pub use selector::KEYS as SELECTOR_KEYS;
use selector::{SelectorTable, selector_settings};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use units::{Bounded, Interval, Rate, Size, one_or_many};

/// Wrong usage or configuration; the text is the operator's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Octets of each packet, where nothing else is said.
const SNAPLEN: u32 = 128;
/// Each group has a thread and a socket; the flow table can tell no more threads apart.
const MOST_GROUPS: usize = table::MOST_WRITERS;

/// Options that say which packets come in and how.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CaptureOptions {
    /// NFLOG group to receive, the number in the rule's `log group`; may be given several times. With --interface the one that
    /// its rules log to [default there: 5]
    #[arg(short, long, value_name = "GROUP")]
    #[serde(deserialize_with = "one_or_many")]
    group: Vec<Bounded<0, 65535>>,

    /// Octets of each packet to receive, 64 to 65531: enough for its headers [default: 128]
    #[arg(long, value_name = "OCTETS")]
    snaplen: Option<Bounded<64, 65531>>,

    /// The kernel's buffer for each group [default: 32MiB]
    #[arg(long, value_name = "SIZE")]
    receive_buffer: Option<Size>,

    /// Say in NetFlow v9, IPFIX and JSON what NAT makes of addresses and ports, by connection tracking
    #[arg(long)]
    nat: bool,

    /// User to become once everything is set up, by name or number [default: nfweir if there is such a user, else nobody]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Let Prometheus read the counters at http://ADDRESS:PORT/metrics; a port alone is loopback's [default: off]
    #[arg(long, value_name = "[ADDRESS:]PORT")]
    metrics: Option<MetricsAddress>,
}

/// Options that say when flows end and where they go.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ExportOptions {
    /// Collector: netflow5://HOST:PORT, netflow9://HOST:PORT, ipfix://HOST:PORT, ipfix+sctp://HOST:PORT,
    /// ipfix+tcp://HOST:PORT, ipfix+tls://HOST:PORT or, if built with it, ipfix+dtls://HOST:PORT; or file:PATH (IPFIX),
    /// json:PATH or json:-. May be given several times. With none, flows are printed
    #[arg(short, long, value_name = "URL")]
    #[serde(deserialize_with = "one_or_many")]
    export: Vec<Destination>,

    /// Which of several collectors in the network gets a flow [default: replicate]; files get each
    #[arg(long, value_name = "HOW")]
    delivery: Option<Delivery>,

    /// What packets of a flow have in common, by IANA's names, such as sourceIPv4Address/24,protocolIdentifier [default:
    /// both addresses and ports, protocol, ipClassOfService, ingressInterface, vlanId, selectorId]
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_many")]
    key: Vec<KeyPart>,

    /// What records have: basic, standard or full, each by itself, or a list of IANA's names, all of which --help has
    /// [default: standard]
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',', long_help = fields::help())]
    #[serde(deserialize_with = "one_or_many")]
    fields: Vec<FieldName>,

    /// Export both directions of a conversation as one record (RFC 5103): IPFIX and JSON have such, NetFlow gets two
    #[arg(long)]
    biflow: bool,

    /// Say in IPFIX and JSON how many packets of TCP there were on the wire (estimatedPackets), where the kernel shows one for
    /// several: its data is divided by the maximum segment size that the connection began with
    #[arg(long)]
    estimate_segments: bool,

    /// A flow without packets for this long has ended [default: 15s]
    #[arg(long, value_name = "TIME")]
    inactive_timeout: Option<Interval>,

    /// A flow that goes on is exported in parts this long [default: 60s]
    #[arg(long, value_name = "TIME")]
    active_timeout: Option<Interval>,

    /// Most flows kept at a time, 1 to 2147483648; each takes 124 octets of memory, and 64 more if --fields asks for details such as MAC addresses, or with --estimate-segments, 48 more with --nat [default: 524288]
    #[arg(long, value_name = "N")]
    max_flows: Option<Bounded<1, 2_147_483_648>>,

    /// Most messages a second to each collector by UDP or DTLS, 0 for no limit [default: 2000]
    #[arg(long, value_name = "N")]
    export_rate: Option<Bounded<0, 10_000_000>>,

    /// Tell collectors that the rule selects one packet in N [default: 1]; for one group alone: GROUP:N; may be given
    /// several times
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "one_or_many")]
    sampling_rate: Vec<Rate>,

    /// Number devices by their names instead of their ifIndex, for those that come and go: with ppp:200, ppp0 is 200 and
    /// ppp7 is 207; may be given several times, and the first that is about a device counts
    #[arg(long, value_name = "NAME:NUMBER")]
    #[serde(deserialize_with = "one_or_many")]
    interface_number: Vec<NumberingRule>,

    /// What stands for the interface of packets that this host sends or receives itself, at hooks input and output [default: 0]
    #[arg(long, value_name = "NUMBER")]
    local_interface: Option<Bounded<0, 4_294_967_295>>,

    /// Only a file has them.
    #[arg(skip)]
    selector: Vec<Spanned<SelectorTable>>,
}

/// Options that say where the log goes.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct LogOptions {
    /// Log to syslog instead of standard error
    #[arg(long)]
    syslog: bool,
}

impl LogOptions {
    /// Whether to log to syslog.
    pub fn syslog(&self) -> bool {
        self.syslog
    }
}

/// What `nfweir run` was told.
#[derive(Args, Clone, Debug, Default)]
pub struct RunOptions {
    /// Configuration file; its keys are the long names of these options, and it may have tables about selectors
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    rules: RuleOptions,
    #[command(flatten)]
    capture: CaptureOptions,
    #[command(flatten)]
    export: ExportOptions,
    #[command(flatten)]
    log: LogOptions,
    #[command(flatten)]
    control: ControlOptions,
}

/// How `nfweir run` is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunConfig {
    /// Rules of the probe's own, if there are to be any.
    pub rules: Option<Plan>,
    /// Where packets come from.
    pub capture: CaptureConfig,
    /// Where flows go.
    pub export: ExportConfig,
    /// User to become; `None` for the default.
    pub user: Option<String>,
    /// Where Prometheus finds the counters, if it may.
    pub metrics: Option<SocketAddr>,
    /// Log to syslog.
    pub syslog: bool,
    /// Where it is asked and told things.
    pub control: Place,
}

/// Where packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// NFLOG groups, at least one, each once.
    pub groups: Vec<u16>,
    /// Octets of each packet.
    pub snaplen: u32,
    /// Octets of each group's buffer in the kernel.
    pub receive_buffer: usize,
}

/// Where flows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportConfig {
    /// Where they go; nowhere means printing.
    pub destinations: Vec<Destination>,
    /// Which of the collectors in the network gets a flow.
    pub delivery: Delivery,
    /// What their packets have in common.
    pub key: KeyFields,
    /// What their records have.
    pub fields: FieldChoice,
    /// Whether both directions of a conversation are one record, where there are such.
    pub biflow: bool,
    /// By which numbers records name devices.
    pub numbering: Numbering,
    /// When flows end.
    pub timeouts: Timeouts,
    /// Most flows kept at a time.
    pub max_flows: u32,
    /// Most messages a second to each collector, 0 for no limit.
    pub export_rate: u32,
    /// What share of the packets the rules select.
    pub sampling: Sampling,
    /// What else is said of those.
    pub selectors: SelectorSettings,
}

impl RunOptions {
    /// These, with the usual group where nothing says which.
    pub fn with_usual_group(mut self) -> Self {
        if self.config.is_none() && self.capture.group.is_empty() && !self.rules.are_asked_for() {
            self.capture.group.push(Bounded(FIRST_GROUP.into()));
        }
        self
    }

    /// The file, if one is given.
    pub fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Reads the file, if one is given, and puts everything together.
    pub fn resolve(self) -> Result<RunConfig, ConfigError> {
        let (rules, capture, export, log, control) = match &self.config {
            Some(path) => file::read(path)?,
            None => Default::default(),
        };
        let capture = self.capture.over(capture);
        let snaplen = capture.snaplen.map_or(SNAPLEN, |octets| octets.0);
        let (rules, groups) = with_groups(self.rules.over(rules), capture.group, snaplen)?;
        let sample = rules.as_ref().map_or(1, |plan| plan.sample);
        let mut export = self.export.over(export).sampled(sample)?.resolve(&groups)?;
        if capture.nat {
            export.tell_nat()?;
        }
        Ok(RunConfig {
            rules,
            export,
            capture: CaptureConfig {
                groups,
                snaplen,
                receive_buffer: capture.receive_buffer.map_or(32 << 20, |size| size.0),
            },
            user: capture.user,
            metrics: capture.metrics.map(|address| address.0),
            syslog: self.log.syslog || log.syslog,
            control: self.control.over(control).place(),
        })
    }
}

impl CaptureOptions {
    /// These, and where they say nothing, those of the file.
    fn over(self, file: Self) -> Self {
        Self {
            group: or_else(self.group, file.group),
            snaplen: self.snaplen.or(file.snaplen),
            receive_buffer: self.receive_buffer.or(file.receive_buffer),
            nat: self.nat || file.nat,
            user: self.user.or(file.user),
            metrics: self.metrics.or(file.metrics),
        }
    }
}

/// The rules of the probe's own, and the groups to receive.
fn with_groups(
    rules: RuleOptions,
    groups: Vec<Bounded<0, 65535>>,
    snaplen: u32,
) -> Result<(Option<Plan>, Vec<u16>), ConfigError> {
    let mut groups: Vec<_> = groups.into_iter().map(|group| group.0 as u16).collect();
    if groups.is_empty() && rules.are_asked_for() {
        groups.push(FIRST_GROUP);
    }
    let plan = rules.resolve(&groups, snaplen)?;
    if let Some(plan) = &plan {
        let (first, count) = plan.groups;
        groups = (0..count).map(|number| first + number).collect();
    }
    if groups.is_empty() {
        return Err(ConfigError(
            "no device and no NFLOG group is given: capture by a device with -i DEVICE, or name the group in your rule with \
             -g GROUP"
                .to_owned(),
        ));
    }
    if let Some(twice) = groups.iter().enumerate().find_map(|(i, group)| groups[..i].contains(group).then_some(group)) {
        return Err(ConfigError(format!("NFLOG group {twice} is given twice: name each group once")));
    }
    if groups.len() > MOST_GROUPS {
        return Err(ConfigError(format!("{} NFLOG groups are given: at most {MOST_GROUPS} can be", groups.len())));
    }
    Ok((plan, groups))
}

impl ExportOptions {
    /// These, and where they say nothing, those of the file.
    fn over(self, file: Self) -> Self {
        Self {
            export: or_else(self.export, file.export),
            delivery: self.delivery.or(file.delivery),
            key: or_else(self.key, file.key),
            fields: or_else(self.fields, file.fields),
            biflow: self.biflow || file.biflow,
            estimate_segments: self.estimate_segments || file.estimate_segments,
            inactive_timeout: self.inactive_timeout.or(file.inactive_timeout),
            active_timeout: self.active_timeout.or(file.active_timeout),
            max_flows: self.max_flows.or(file.max_flows),
            export_rate: self.export_rate.or(file.export_rate),
            sampling_rate: or_else(self.sampling_rate, file.sampling_rate),
            interface_number: or_else(self.interface_number, file.interface_number),
            local_interface: self.local_interface.or(file.local_interface),
            selector: or_else(self.selector, file.selector),
        }
    }

    /// Where rules of the probe's own select one packet in so many.
    fn sampled(mut self, sample: u32) -> Result<Self, ConfigError> {
        if sample > 1 {
            if !self.sampling_rate.is_empty() {
                return Err(ConfigError("--sample tells collectors its rate: leave out --sampling-rate".to_owned()));
            }
            if self.selector.iter().any(|table| table.get_ref().has_rate()) {
                return Err(ConfigError(
                    "--sample tells collectors its rate: leave out sampling-rate of the selectors".to_owned(),
                ));
            }
            self.sampling_rate = vec![Rate { group: None, rate: sample }];
        }
        Ok(self)
    }

    /// With the defaults for what is not given. Packets come by these NFLOG groups.
    pub fn resolve(self, groups: &[u16]) -> Result<ExportConfig, ConfigError> {
        let sampling = sampling(&self.sampling_rate, groups)?;
        let key = key_fields(&self.key)?;
        let selectors = selector_settings(self.selector, groups, &key)?;
        for destination in &self.export {
            if let Destination::Collector(target) = destination {
                check(target, &sampling, &selectors)?;
            }
        }
        let mut fields = match field_choice(&self.fields)? {
            FieldChoice::Standard if selectors.have_verdicts() => FieldChoice::WithVerdicts,
            fields => fields,
        };
        if self.estimate_segments && !fields.has(Element::EstimatedPackets) {
            fields = FieldChoice::WithEstimate(Box::new(fields));
        }
        for (flavour, version) in
            [(Flavour::Ipfix, 4), (Flavour::Ipfix, 6), (Flavour::NetFlow9, 4), (Flavour::NetFlow9, 6)]
        {
            if flow_layout(flavour, version, &key, &fields).fields() == 0 {
                return Err(ConfigError(format!(
                    "--fields leaves nothing to say of IPv{version} flows with this --key: add what all have, such as \
                     packetDeltaCount"
                )));
            }
        }
        if self.biflow && !Pairing::is_possible(&key) {
            return Err(ConfigError(
                "--biflow needs a --key that tells of both ends alike: both addresses, and both ports or none"
                    .to_owned(),
            ));
        }
        Ok(ExportConfig {
            sampling,
            selectors,
            key,
            fields,
            biflow: self.biflow,
            numbering: Numbering {
                rules: self.interface_number,
                local: self.local_interface.map_or(0, |number| number.0),
            },
            destinations: self.export,
            delivery: self.delivery.unwrap_or_default(),
            timeouts: Timeouts {
                inactive: self.inactive_timeout.map_or(Duration::from_secs(15), |time| time.0),
                active: self.active_timeout.map_or(Duration::from_secs(60), |time| time.0),
                by_connection: key.tell_connections_apart(),
            },
            max_flows: self.max_flows.map_or(524_288, |number| number.0),
            export_rate: self.export_rate.map_or(2000, |rate| rate.0),
        })
    }
}

impl ExportConfig {
    /// Has records say what NAT makes of their packets.
    fn tell_nat(&mut self) -> Result<(), ConfigError> {
        if !self.key.tell_connections_apart() {
            return Err(ConfigError(
                "--nat needs a --key that tells connections apart: both addresses, both ports and the protocol"
                    .to_owned(),
            ));
        }
        let is_v5 =
            |it: &Destination| matches!(it, Destination::Collector(target) if target.protocol == Protocol::NetFlow5);
        if !self.destinations.is_empty() && self.destinations.iter().all(is_v5) {
            return Err(ConfigError(
                "--nat is given, but NetFlow v5 cannot say what NAT makes of addresses and ports: export by netflow9:// or \
                 ipfix://, or leave out --nat"
                    .to_owned(),
            ));
        }
        self.fields = FieldChoice::WithNat(Box::new(std::mem::take(&mut self.fields)));
        Ok(())
    }
}

/// What a collector's URL asks for, as far as it can be seen beforehand.
fn check(target: &Target, sampling: &Sampling, selectors: &SelectorSettings) -> Result<(), ConfigError> {
    if target.protocol == Protocol::NetFlow5 && !netflow5::can_tell(sampling, selectors) {
        let highest = netflow5::HIGHEST_RATE;
        return Err(ConfigError(format!(
            "{target}: NetFlow v5 tells of one sampling rate for all groups and selectors, at most {highest}: give one \
             --sampling-rate, or export by netflow9:// or ipfix://"
        )));
    }
    stream::check(target).map_err(|error| ConfigError(format!("{target}: {error}")))
}

/// Puts the rates together, each given once.
fn sampling(rates: &[Rate], groups: &[u16]) -> Result<Sampling, ConfigError> {
    let mut sampling = Sampling::default();
    for (i, Rate { group, rate }) in rates.iter().enumerate() {
        if rates[..i].iter().any(|other| other.group == *group) {
            let whose = group.map_or("all groups".to_owned(), |group| format!("group {group}"));
            return Err(ConfigError(format!("the sampling rate of {whose} is given twice: give it once")));
        }
        match group {
            None => sampling.everywhere = *rate,
            Some(group) if groups.contains(group) => sampling.groups.push((*group, *rate)),
            Some(group) => {
                return Err(ConfigError(format!(
                    "a sampling rate is given for NFLOG group {group}, which is not received: add -g {group}, or leave out the \
                     group"
                )));
            }
        }
    }
    // one rate for all of them is one that everybody can tell
    let mut own = groups.iter().map(|group| sampling.rate(*group));
    if let Some(rate) = own.next()
        && own.all(|other| other == rate)
    {
        sampling = Sampling { everywhere: rate, groups: Vec::new() };
    }
    Ok(sampling)
}

fn or_else<T>(given: Vec<T>, file: Vec<T>) -> Vec<T> {
    if given.is_empty() { file } else { given }
}
