//! From the configuration to an exporter: a collector for each destination, with its counters.

use crate::capture::selectors::Selectors;
use crate::config::ExportConfig;
use crate::conntrack::Tracker;
use crate::export::biflow::Pairing;
use crate::export::delivery::{Delivery, Group};
use crate::export::destination::{Destination, FilePath};
use crate::export::facts::Facts;
use crate::export::ipfix_file::IpfixFile;
use crate::export::json::Json;
use crate::export::lines::Lines;
use crate::export::nat::Nat;
use crate::export::options::Interface;
use crate::export::readable::Readable;
use crate::export::remote::Remote;
use crate::export::rotating::RotatingFile;
use crate::export::stream::{StartError, Stream};
use crate::export::target::{Target, Transport};
use crate::export::{Collector, Exporter};
use crate::flow::table::Harvester;
use crate::metrics::{CaptureCounters, CollectorCounters, Metrics};
use crate::time::Timestamp;
use std::io::{self, Write};
use std::sync::Arc;

/// Why flows cannot be exported as it was configured; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// A collector cannot be spoken to.
    #[error("{0}: {1}")]
    Stream(String, StartError),
    /// A file cannot be written.
    #[error(
        "{0}: cannot be begun ({1}): it takes a folder where the user that the probe is or becomes (--user of `nfweir run`) may write"
    )]
    File(String, io::Error),
}

/// Where the packets of an exporter's flows come from.
pub struct Origin {
    /// What it is called among the exporters of its host.
    pub domain: u32,
    /// The counters of its sources: NFLOG groups, or files.
    pub captures: Vec<(Option<u16>, Arc<CaptureCounters>)>,
    /// The rules that selected them.
    pub selectors: Selectors,
    /// Looks up the devices that they came and went by.
    pub interfaces: fn() -> Vec<Interface>,
    /// Knows their connections, where records are to say what NAT makes of them.
    pub tracker: Option<Box<dyn Tracker>>,
    /// Whether collectors may keep the exporter waiting, as the packets wait too.
    pub patient: bool,
}

/// Makes the exporter with its collectors, and the list of all counters.
pub fn exporter(
    harvester: Harvester,
    config: &ExportConfig,
    origin: Origin,
) -> Result<(Exporter, Metrics), CollectorError> {
    let Origin { domain, captures, selectors, interfaces, tracker, patient } = origin;
    let mut metrics = Metrics { captures: captures.clone(), ..Metrics::default() };
    let facts = Arc::new(Facts {
        selectors,
        sampling: config.sampling.clone(),
        selector_settings: config.selectors.clone(),
        key: config.key,
        fields: config.fields.clone(),
        biflows: config.biflow,
        interfaces,
        numbering: config.numbering.clone(),
        captures: captures.into_iter().map(|(_, counters)| counters).collect(),
        export: metrics.export.clone(),
        reloads: Arc::default(),
        watch: Arc::default(),
    });
    let mut collectors = Vec::new();
    let mut group = Vec::new();
    for (number, destination) in (0..).zip(&config.destinations) {
        let counters = metrics.collectors.configured(&destination.to_string());
        let rate = config.export_rate;
        // each has another domain: two of them may be one program that tells exporters apart by it
        let maker = Maker { domain: domain | number << 16, facts: facts.clone(), counters, rate, patient };
        match destination {
            Destination::Collector(target) => group.push(maker.collector(target)?),
            Destination::IpfixFile(file) => collectors.push(maker.ipfix_file(destination, file)?),
            Destination::JsonFile(file) => collectors.push(maker.json(destination, begin(destination, file)?)),
            Destination::JsonOutput => collectors.push(maker.json(destination, io::stdout())),
        }
    }
    match config.delivery {
        Delivery::Replicate => collectors.append(&mut group),
        _ if group.is_empty() => {}
        delivery => collectors.push(Box::new(Group::new(group, delivery == Delivery::Failover))),
    }
    if collectors.is_empty() {
        collectors.push(readable(&facts, &mut metrics));
    }
    let collectors = behind(collectors, &facts, tracker, &mut metrics);
    Ok((Exporter::new(harvester, config.timeouts, collectors, facts), metrics))
}

/// Who takes records for these, looks up what NAT makes of them, and pairs them, where that is wanted.
fn behind(
    mut collectors: Vec<Box<dyn Collector>>,
    facts: &Arc<Facts>,
    tracker: Option<Box<dyn Tracker>>,
    metrics: &mut Metrics,
) -> Vec<Box<dyn Collector>> {
    if facts.biflows {
        collectors = vec![Box::new(Pairing::new(collectors, facts.clone()))];
    }
    if let Some(tracker) = tracker {
        let counters = metrics.connections.insert(Arc::default()).clone();
        collectors = vec![Box::new(Nat::new(collectors, tracker, counters))];
    }
    collectors
}

/// What a collector is made of.
struct Maker {
    domain: u32,
    facts: Arc<Facts>,
    counters: Arc<CollectorCounters>,
    /// Most messages a second.
    rate: u32,
    patient: bool,
}

impl Maker {
    fn collector(self, target: &Target) -> Result<Box<dyn Collector>, CollectorError> {
        let (mut target, told) = (target.clone(), (self.facts, self.counters));
        let domain = target.settings.domain.unwrap_or(self.domain);
        let rate = *target.settings.rate.get_or_insert(self.rate);
        if target.transport == Transport::Udp {
            return Ok(Box::new(Remote::new(&target, domain, rate, told)));
        }
        let stream = Stream::start(&target, domain, told, self.patient);
        Ok(Box::new(stream.map_err(|error| CollectorError::Stream(target.to_string(), error))?))
    }

    fn ipfix_file(self, destination: &Destination, file: &FilePath) -> Result<Box<dyn Collector>, CollectorError> {
        let told = (self.facts, self.counters);
        Ok(Box::new(IpfixFile::new(begin(destination, file)?, destination.to_string(), self.domain, told)))
    }

    fn json<W: Write + Send + 'static>(self, destination: &Destination, out: W) -> Box<dyn Collector> {
        Box::new(Lines::new(out, destination.to_string(), Json::new(&self.facts), self.counters))
    }
}

fn begin(destination: &Destination, file: &FilePath) -> Result<RotatingFile, CollectorError> {
    RotatingFile::begin(&file.path, file.rotation, Timestamp::now())
        .map_err(|error| CollectorError::File(destination.to_string(), error))
}

/// Where there is no destination, flows are printed.
fn readable(facts: &Facts, metrics: &mut Metrics) -> Box<dyn Collector> {
    let name = "standard output".to_owned();
    let counters = metrics.collectors.configured(&name);
    Box::new(Lines::new(io::stdout(), name, Readable::for_output(facts), counters))
}
