//! `nfweir demo`: the whole way on one machine, without anything else installed.
//!
//! Two network namespaces with a pair of interfaces between them, a rule that logs all packets on the pair, real traffic,
//! the probe, and a collector that shares no code with it. At the end three independent counts must agree: what the
//! interfaces sent, what the probe captured, what the collector decoded.

mod collector;
mod network;
mod report;
mod traffic;

use crate::config::{CaptureConfig, ExportConfig};
use crate::export::delivery::Delivery;
use crate::export::destination::Destination;
use crate::export::fields::FieldChoice;
use crate::export::interface_numbers::Numbering;
use crate::export::sampling::Sampling;
use crate::export::selector_settings::SelectorSettings;
use crate::export::target::{Protocol, Target};
use crate::flow::expiry::Timeouts;
use crate::flow::key_fields::KeyFields;
use crate::metrics::Metrics;
use crate::probe::{OpenError, Probe, RunningProbe, StartError};
use crate::rules::expression::{Expression, Side};
use crate::rules::own_table::{OwnTable, RuleError};
use crate::rules::{Chain, Family, Hook, Priority, Rule, Table};
use collector::Collector;
use network::{PROBE_END, Peer};
use report::Books;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

const GROUP: u16 = 5;
const SNAPLEN: u32 = 128;
/// For packets on their way between the ends, before the interfaces go down.
const QUIET: Duration = Duration::from_millis(200);

/// Why there is no demonstration; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No namespaces.
    #[error(
        "no network namespace can be made ({0}): run the demo as root, or allow user namespaces with \
             `sysctl kernel.unprivileged_userns_clone=1` (or `user.max_user_namespaces=10000`)"
    )]
    Namespace(io::Error),
    /// No interfaces.
    #[error("the pair of interfaces cannot be set up ({0}): the kernel needs the module veth")]
    Network(io::Error),
    /// No rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// No NFLOG.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The probe could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The probe or the collector failed.
    #[error("{0} failed: {1}")]
    System(&'static str, io::Error),
    /// Traffic that should go through did not.
    #[error("the demonstration's traffic failed: {0}")]
    Traffic(io::Error),
    /// Nobody sees it.
    #[error("standard output cannot be written: {0}")]
    Output(io::Error),
    /// Three counts that should be one.
    #[error("the books do not balance: {} packets sent, {} captured, {} collected", .0.sent, .0.captured, .0.collected)]
    Unbalanced(Books),
}

/// Shows it, on standard output.
pub fn run() -> Result<(), DemoError> {
    show(&mut io::stdout().lock())
}

fn show(out: &mut impl Write) -> Result<(), DemoError> {
    network::enter_namespace()?;
    let peer = Peer::start()?;
    network::connect(&peer)?;
    say(
        out,
        format!("Two network namespaces, {PROBE_END} in the probe's, with 192.0.2.1 and 2001:db8::1; the peer has …2."),
    )?;

    let _table = OwnTable::load("nfweir-demo", &log_everything())?;
    say(out, format!("An nftables table of nfweir's own logs every packet on {PROBE_END} to NFLOG group {GROUP}."))?;

    let collector = Collector::start().map_err(|error| DemoError::System("starting the collector", error))?;
    let probe = start_probe(collector.address())?;
    say(out, format!("The probe receives group {GROUP} and exports IPFIX to a collector at {}.", collector.address()))?;

    network::bring_up(&peer)?;
    traffic::exchange(&peer).map_err(DemoError::Traffic)?;
    thread::sleep(QUIET);
    network::bring_down(&peer)?;
    say(out, "TCP, UDP and ICMP conversations with the peer over IPv4 and IPv6 are done.\n")?;

    let sent = network::packets_sent(&peer)?;
    let captured = stop_probe(probe, out)?;
    let collected = collector.stop().map_err(|error| DemoError::System("collecting", error))?;
    peer.stop();

    say(out, format!("What the collector decoded:\n\n{}", report::table(&collected.flows)))?;
    let packets = collected.flows.iter().map(|flow| flow.packets).sum();
    settle(Books { sent, captured, collected: packets }, collected.undecodable, out)
}

fn say(out: &mut impl Write, line: impl Display) -> Result<(), DemoError> {
    writeln!(out, "{line}").map_err(DemoError::Output)
}

/// The rule: all that comes in by the probe's end, and all that goes out by it.
fn log_everything() -> Table {
    let log = Expression::Log { group: GROUP, snaplen: SNAPLEN, prefix: "" };
    let chain = |name, hook, side| {
        let interface = Expression::Interface(side, PROBE_END.to_owned());
        Chain { name, hook: Some(hook), rules: vec![Rule::new([interface, log.clone()])] }
    };
    let chains =
        vec![chain("incoming", Hook::Prerouting, Side::Input), chain("outgoing", Hook::Postrouting, Side::Output)];
    Table { family: Family::Inet, priority: Priority::Filter, chains }
}

fn start_probe(collector: SocketAddr) -> Result<RunningProbe, DemoError> {
    let capture = CaptureConfig { groups: vec![GROUP], snaplen: SNAPLEN, receive_buffer: 8 << 20 };
    let target = Target::udp(Protocol::Ipfix, collector.ip().to_string(), collector.port());
    let timeouts = Timeouts { inactive: Duration::from_secs(15), active: Duration::from_secs(60), by_connection: true };
    let sampling = Sampling::default();
    let delivery = Delivery::Replicate;
    let export = ExportConfig {
        numbering: Numbering::default(),
        destinations: vec![Destination::Collector(target)],
        delivery,
        key: KeyFields::ALL,
        fields: FieldChoice::Standard,
        biflow: false,
        timeouts,
        max_flows: 4096,
        export_rate: 2000,
        sampling,
        selectors: SelectorSettings::default(),
    };
    let probe = Probe::open(&capture, export)?;
    Ok(probe.start()?)
}

/// Ends the probe, which exports what it has, and gives the number of packets it captured.
fn stop_probe(probe: RunningProbe, out: &mut impl Write) -> Result<u64, DemoError> {
    let metrics = probe.metrics().clone();
    probe.stop();
    probe.join().map_err(|error| DemoError::System("the probe", error))?;
    show_account(&metrics, out)?;
    Ok(metrics.captured().packets.get())
}

fn show_account(metrics: &Metrics, out: &mut impl Write) -> Result<(), DemoError> {
    say(out, "The probe's account:\n")?;
    metrics.to_string().lines().try_for_each(|line| say(out, format!("  {line}")))?;
    say(out, "")
}

fn settle(books: Books, undecodable: u64, out: &mut impl Write) -> Result<(), DemoError> {
    if undecodable > 0 {
        let error = io::Error::other(format!("{undecodable} messages could not be decoded"));
        return Err(DemoError::System("collecting", error));
    }
    if !books.balance() {
        return Err(DemoError::Unbalanced(books));
    }
    let Books { sent, captured, collected } = books;
    say(out, format!("{sent} packets sent, {captured} captured, {collected} collected: the books balance."))
}
