//! From the configuration to an exporter: a collector for each destination, with its counters; and from another
//! configuration to what changes in it.

use crate::capture::selectors::Selectors;
use crate::config::ExportConfig;
use crate::conntrack::Tracker;
use crate::export::biflow::Pairing;
use crate::export::change::{Change, Member};
use crate::export::delivery::deliver;
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
use crate::lineup::{Lineup, Place};
use crate::metrics::{CaptureCounters, CollectorCounters, Metrics};
use crate::time::Timestamp;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the names of all collectors that come in by a reload are waited for: flows go to them from then on.
const RESOLVING: Duration = Duration::from_secs(3);

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
    /// It is written otherwise.
    #[error(
        "{0}: the file is being written in another way, or begun anew at other times: name another, or restart the probe"
    )]
    Held(String),
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
    let captures = captures.into_iter().map(|(_, counters)| counters).collect();
    let base = Facts { selectors, interfaces, captures, export: metrics.export.clone(), ..Facts::default() };
    let facts = Arc::new(facts(config, base));
    let lineup = Lineup::of(config);
    let maker = Maker { domain, facts: facts.clone(), patient };
    let (mut collectors, mut listed) = (Vec::new(), Vec::new());
    for place in &lineup.places {
        let counters = Arc::<CollectorCounters>::default();
        listed.push((place.name.clone(), counters.clone()));
        collectors.push(maker.make(place, counters)?);
    }
    metrics.collectors.configure(listed);
    let collectors = deliver(collectors, lineup.networked(), config.delivery);
    let collectors = behind(collectors, &facts, tracker, &mut metrics);
    Ok((Exporter::new(harvester, config.timeouts, collectors, facts), metrics))
}

/// What is known by `base`, with what the operator says.
fn facts(config: &ExportConfig, base: Facts) -> Facts {
    Facts {
        sampling: config.sampling.clone(),
        selector_settings: config.selectors.clone(),
        key: config.key,
        fields: config.fields.clone(),
        biflows: config.biflow,
        numbering: config.numbering.clone(),
        ..base
    }
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

/// What it takes to change who takes records, and who does now.
pub struct Outfit {
    domain: u32,
    facts: Arc<Facts>,
    lineup: Lineup,
    metrics: Arc<Metrics>,
}

/// A change that can be carried out.
pub struct Prepared {
    change: Change,
    lineup: Lineup,
    /// By name.
    counters: Vec<(String, Arc<CollectorCounters>)>,
}

impl Outfit {
    /// Of an exporter that was made by `config`, and knows these facts.
    pub fn new(config: &ExportConfig, domain: u32, facts: Arc<Facts>, metrics: Arc<Metrics>) -> Self {
        Self { domain, facts, lineup: Lineup::of(config), metrics }
    }

    /// Makes the collectors that come in. Until that is carried out, nothing is changed.
    pub fn prepare(&self, config: &ExportConfig) -> Result<Prepared, CollectorError> {
        let facts = Arc::new(facts(config, (*self.facts).clone()));
        let lineup = self.lineup.next(config);
        let maker = Maker { domain: self.domain, facts: facts.clone(), patient: false };
        let (mut members, mut listed) = (Vec::new(), Vec::new());
        for place in &lineup.places {
            let counters = self.metrics.collectors.of(&place.name).unwrap_or_default();
            listed.push((place.name.clone(), counters.clone()));
            members.push(match self.lineup.position(place) {
                Some(position) => Member::Stays(position),
                None => Member::New(self.make(&maker, place, counters)?),
            });
        }
        settle(&lineup.places, &mut members, Instant::now() + RESOLVING);
        let (networked, delivery) = (lineup.networked(), config.delivery);
        let change = Change { facts, timeouts: config.timeouts, members, networked, delivery };
        Ok(Prepared { change, lineup, counters: listed })
    }

    fn make(
        &self,
        maker: &Maker,
        place: &Place,
        counters: Arc<CollectorCounters>,
    ) -> Result<Box<dyn Collector>, CollectorError> {
        if place.file().is_some_and(|path| self.lineup.writes(path)) {
            return Err(CollectorError::Held(place.name.clone()));
        }
        maker.make(place, counters)
    }

    /// What the exporter has to do now: it counts as done.
    pub fn carry_out(&mut self, Prepared { change, lineup, counters }: Prepared) -> Change {
        self.metrics.collectors.configure(counters);
        (self.facts, self.lineup) = (change.facts.clone(), lineup);
        change
    }
}

/// Waits for the names of those that come in and have no queue for what comes meanwhile.
fn settle(places: &[Place], members: &mut [Member], deadline: Instant) {
    for (place, member) in places.iter().zip(members) {
        if let (Some(Destination::Collector(target)), Member::New(collector)) = (&place.destination, member)
            && target.transport == Transport::Udp
        {
            collector.settle(deadline.saturating_duration_since(Instant::now()));
        }
    }
}

/// What collectors are made with.
struct Maker {
    domain: u32,
    facts: Arc<Facts>,
    patient: bool,
}

impl Maker {
    fn make(&self, place: &Place, counters: Arc<CollectorCounters>) -> Result<Box<dyn Collector>, CollectorError> {
        let (name, told) = (place.name.clone(), (self.facts.clone(), counters.clone()));
        let domain = self.domain | place.number << 16;
        Ok(match &place.destination {
            Some(Destination::Collector(target)) => return self.collector(target, domain, told),
            Some(Destination::IpfixFile(file)) => Box::new(IpfixFile::new(begin(&name, file)?, name, domain, told)),
            Some(Destination::JsonFile(file)) => self.json(begin(&name, file)?, name, counters),
            Some(Destination::JsonOutput) => self.json(io::stdout(), name, counters),
            None => Box::new(Lines::new(io::stdout(), name, Readable::for_output(&self.facts), counters)),
        })
    }

    fn collector(
        &self,
        target: &Target,
        domain: u32,
        told: (Arc<Facts>, Arc<CollectorCounters>),
    ) -> Result<Box<dyn Collector>, CollectorError> {
        let domain = target.settings.domain.unwrap_or(domain);
        if target.transport == Transport::Udp {
            return Ok(Box::new(Remote::new(target, domain, told)));
        }
        let stream = Stream::start(target, domain, told, self.patient);
        Ok(Box::new(stream.map_err(|error| CollectorError::Stream(target.to_string(), error))?))
    }

    fn json<W: Write + Send + 'static>(
        &self,
        out: W,
        name: String,
        counters: Arc<CollectorCounters>,
    ) -> Box<dyn Collector> {
        Box::new(Lines::new(out, name, Json::new(&self.facts), counters))
    }
}

fn begin(name: &str, file: &FilePath) -> Result<RotatingFile, CollectorError> {
    RotatingFile::begin(&file.path, file.rotation, Timestamp::now())
        .map_err(|error| CollectorError::File(name.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::flow::FlowRecord;
    use clap::Parser;
    use std::sync::mpsc::{Sender, channel};

    /// Says how long it may wait.
    struct Waiting(Sender<Duration>);

    impl Collector for Waiting {
        fn name(&self) -> String {
            String::new()
        }

        fn add(&mut self, _: &FlowRecord, _: Timestamp) {}

        fn flush(&mut self) {}

        fn settle(&mut self, patience: Duration) -> bool {
            self.0.send(patience).unwrap();
            false
        }

        fn is_well(&self) -> bool {
            false
        }

        fn close(&mut self) {}
    }

    /// However many there are: the watchdog is not fed meanwhile.
    #[test]
    fn names_are_waited_for_together() {
        let cli = Cli::parse_from("nfweir run -g 5 -e ipfix://a -e ipfix+tcp://b -e netflow9://c".split_whitespace());
        let Command::Run(options) = cli.command else { panic!("`run` was said") };
        let places = Lineup::of(&options.resolve().unwrap().export).places;
        let (told, patience) = channel();
        let new = |_: &Place| Member::New(Box::new(Waiting(told.clone())));
        let mut members: Vec<_> = places.iter().map(new).collect();
        settle(&places, &mut members, Instant::now());
        assert_eq!(patience.try_iter().collect::<Vec<_>>(), [Duration::ZERO; 2], "and none for who has a queue");
    }
}
