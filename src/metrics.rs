//! Every counter, declared once.
//!
//! Counters are relaxed atomics that stand for themselves: nothing else is read by their order. A capture thread adds
//! its own sums once per datagram, not per packet.

use crate::export::encoder::{Message, Sums};
use crate::export::health::Health;
use crate::export::udp::recent::Refused;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// It is `n` from now on.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter or gauge as it is shown to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name here.
    pub name: &'static str,
    /// What it tells, in a sentence or several.
    pub meaning: &'static str,
    /// What it has come to.
    pub value: u64,
}

macro_rules! counters {
    (
        $(#[$group_doc:meta])* $group:ident { $($(#[doc = $doc:literal])+ $name:ident,)* }
        $(gauges { $($(#[doc = $gauge_doc:literal])+ $gauge:ident,)* })?
        $(beside { $(#[$beside_doc:meta])+ $beside:ident: $kind:ty })?
    ) => {
        $(#[$group_doc])*
        #[derive(Debug, Default)]
        pub struct $group {
            $($(#[doc = $doc])+ pub $name: Counter,)*
            $($($(#[doc = $gauge_doc])+ pub $gauge: Gauge,)*)?
            $($(#[$beside_doc])+ pub $beside: $kind,)?
        }

        impl $group {
            /// Adds all counters of `other` to these.
            pub fn add(&self, other: &Self) {
                $(self.$name.add(other.$name.get());)*
            }

            /// All of them, in the order of their declaration.
            pub fn entries(&self) -> Vec<Entry> {
                vec![$(Entry {
                    name: stringify!($name),
                    meaning: concat!($($doc),+).trim_ascii(),
                    value: self.$name.get(),
                },)*]
            }

            /// What goes up and down beside them.
            pub fn gauges(&self) -> Vec<Entry> {
                vec![$($(Entry {
                    name: stringify!($gauge),
                    meaning: concat!($($gauge_doc),+).trim_ascii(),
                    value: self.$gauge.get(),
                },)*)?]
            }
        }
    };
}

counters! {
    /// What became of the packets of a source. `packets` is the sum of `flow_packets`, `ignored_packets`,
    /// `not_ip_packets` and `malformed_packets`.
    CaptureCounters {
        /// Packets that the source delivered.
        packets,
        /// Packets counted in a flow.
        flow_packets,
        /// IP octets counted in a flow.
        flow_octets,
        /// Packets in no flow because the table was full (ignoredPacketTotalCount).
        ignored_packets,
        /// IP octets in no flow because the table was full (ignoredOctetTotalCount).
        ignored_octets,
        /// Frames without an IP header.
        not_ip_packets,
        /// Packets whose IP header is cut off or contradicts itself.
        malformed_packets,
        /// Packets that the kernel logged but had no room to deliver, by their sequence numbers.
        lost_packets,
        /// Datagrams of the kernel lost at the very end, after which no sequence number told how many packets were in them.
        lost_last_datagrams,
        /// Packets whose true length could not be known (IPv4 length 0 by segmentation offload).
        unknown_length_packets,
    }
}

counters! {
    /// What left the flow table. `flow_packets` and `flow_octets` are the sums over all records, so at the end they equal
    /// those of the sources.
    ExportCounters {
        /// Flow records that left the table.
        flows,
        /// Packets in flow records that left the table.
        flow_packets,
        /// IP octets in flow records that left the table.
        flow_octets,
        /// Flows that ended by inactive timeout.
        idle_timeouts,
        /// Flows exported in part by active timeout.
        active_timeouts,
        /// TCP flows that ended by FIN or RST.
        ends_of_flow,
        /// Flows ended from outside: by the end of the probe.
        forced_ends,
        /// Flows ended early because the table was filling up.
        early_ends,
    }
    gauges {
        /// Flows in the table, as seen once a second.
        table_flows,
        /// Most flows that the table can hold.
        table_limit,
    }
}

counters! {
    /// What connection tracking said of flows, where records are to say it. Each flow is in one of these.
    ConnectionCounters {
        /// Flows whose connection was found, or told with their packets.
        found_flows,
        /// Flows whose connection is not, or no more, tracked, or not by the ends that its packets had where they were logged.
        unknown_flows,
        /// Flows whose connection was not looked up, because there were too many at once or the kernel did not answer.
        unasked_flows,
        /// Flows whose key does not tell connections apart: ICMP's, fragments, protocols without ports.
        untold_flows,
    }
}

counters! {
    /// What became of the records for one collector. Each that it was given is in `records`, `lost_records` or
    /// `unexportable_records`, or waits; one that had to be split makes several of the collector's records. What is refused
    /// was sent, and so stays in `records`, too: the sequence numbers of the messages count it. In the account it is among
    /// the lost instead.
    CollectorCounters {
        /// Flow records that it was to get.
        given_records,
        /// Messages sent.
        messages,
        /// Flow records in messages sent.
        records,
        /// Octets of messages sent.
        octets,
        /// Messages that could not be sent.
        lost_messages,
        /// Flow records that could not be sent (notSentFlowTotalCount).
        lost_records,
        /// Packets in flow records that could not be sent (notSentPacketTotalCount).
        lost_packets,
        /// IP octets in flow records that could not be sent (notSentOctetTotalCount).
        lost_octets,
        /// Flow records that the protocol cannot express (IPv6 in NetFlow v5).
        unexportable_records,
        /// Messages sent of which the collector's host or a router answered that they did not arrive.
        refused_messages,
        /// Flow records in them.
        refused_records,
        /// Packets in those.
        refused_packets,
        /// IP octets in those.
        refused_octets,
        /// How often there was such an answer. One may stand for several messages that went at once.
        refusals,
        /// How often it did not tell which message it was about.
        untold_refusals,
        /// How often the collector's name could not be resolved or no socket be opened to it.
        connect_failures,
    }
    gauges {
        /// Whether records are likely to get to the collector now: 1, else 0.
        up,
        /// Records that wait in the collector's queue.
        queued_records,
        /// Most records that can wait in the collector's queue; 0 where there is none.
        queue_limit,
    }
    beside {
        /// How it is.
        health: Health
    }
}

/// The counters of a running probe.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By source: an NFLOG group, or files, which have none.
    pub captures: Vec<(Option<u16>, Arc<CaptureCounters>)>,
    /// Of the export thread.
    pub export: Arc<ExportCounters>,
    /// Of the connections of flows, where they are looked up.
    pub connections: Option<Arc<ConnectionCounters>>,
    /// By collector.
    pub collectors: CollectorList,
}

/// Those collectors that there are or were. One that is gone and comes again goes on counting.
#[derive(Debug, Default)]
pub struct CollectorList(Mutex<Vec<CollectorEntry>>);

/// A collector that there is or was.
#[derive(Clone, Debug)]
pub struct CollectorEntry {
    /// What it is called. No two are called the same.
    pub name: String,
    /// What became of its records.
    pub counters: Arc<CollectorCounters>,
    /// Whether it gets more of them; not after a reload without it.
    pub is_configured: bool,
}

impl CollectorList {
    /// These, by name, are the collectors that there are from now on.
    pub fn configure(&self, configured: Vec<(String, Arc<CollectorCounters>)>) {
        let mut all = self.lock();
        all.iter_mut().for_each(|entry| entry.is_configured = false);
        for (name, counters) in configured {
            match all.iter_mut().find(|entry| entry.name == name) {
                Some(known) => (known.counters, known.is_configured) = (counters, true),
                None => all.push(CollectorEntry { name, counters, is_configured: true }),
            }
        }
    }

    /// The counters of one, if there is or was one of this name.
    pub fn of(&self, name: &str) -> Option<Arc<CollectorCounters>> {
        self.lock().iter().find(|entry| entry.name == name).map(|entry| entry.counters.clone())
    }

    /// All of them.
    pub fn all(&self) -> Vec<CollectorEntry> {
        self.lock().clone()
    }

    /// Messages that were sent to any of them, or could not be.
    pub fn messages(&self) -> u64 {
        self.lock().iter().map(|entry| entry.counters.messages.get() + entry.counters.lost_messages.get()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<CollectorEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    /// The sum over all sources.
    pub fn captured(&self) -> CaptureCounters {
        let sum = CaptureCounters::default();
        self.captures.iter().for_each(|(_, counters)| sum.add(counters));
        sum
    }

    /// Whether each packet that was captured is in an exported record or in a named counter. True once the table has
    /// been drained; before, flows still in it are missing from one side.
    pub fn balance(&self) -> bool {
        let captured = self.captured();
        let accounted =
            [&captured.flow_packets, &captured.ignored_packets, &captured.not_ip_packets, &captured.malformed_packets];
        captured.packets.get() == accounted.into_iter().map(Counter::get).sum::<u64>()
            && captured.flow_packets.get() == self.export.flow_packets.get()
            && captured.flow_octets.get() == self.export.flow_octets.get()
    }
}

/// The account: what was seen, and where it went.
impl fmt::Display for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.captured();
        let export = &self.export;
        let get = Counter::get;
        write!(
            out,
            "packets: {} seen, {} in flows ({} octets), {} ignored for lack of room, {} not IP, {} malformed, \
             {} lost in the kernel",
            get(&seen.packets),
            get(&seen.flow_packets),
            get(&seen.flow_octets),
            get(&seen.ignored_packets),
            get(&seen.not_ip_packets),
            get(&seen.malformed_packets),
            get(&seen.lost_packets),
        )?;
        if get(&seen.lost_last_datagrams) > 0 {
            write!(out, " and what was in at most {} datagrams more", get(&seen.lost_last_datagrams))?;
        }
        if get(&seen.unknown_length_packets) > 0 {
            write!(out, "; {} of unknown length", get(&seen.unknown_length_packets))?;
        }
        write!(
            out,
            "\nflows: {} exported with {} packets ({} octets): {} idle, {} active, {} ended, {} forced, {} early",
            get(&export.flows),
            get(&export.flow_packets),
            get(&export.flow_octets),
            get(&export.idle_timeouts),
            get(&export.active_timeouts),
            get(&export.ends_of_flow),
            get(&export.forced_ends),
            get(&export.early_ends),
        )?;
        let waiting = get(&seen.flow_packets).saturating_sub(get(&export.flow_packets));
        if waiting > 0 {
            write!(out, "; {waiting} packets are in flows not exported")?;
        }
        if let Some(connections) = &self.connections {
            write!(out, "\nconnections: {connections}")?;
        }
        self.collectors.all().iter().try_for_each(|CollectorEntry { name, counters, is_configured }| {
            write!(out, "\n{name}: {counters}")?;
            match counters.waiting_records() {
                0 => Ok(()),
                waiting => write!(out, ", {waiting} not sent yet"),
            }?;
            if *is_configured { Ok(()) } else { write!(out, "; not configured any more") }
        })
    }
}

impl fmt::Display for ConnectionCounters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} flows found, {} not tracked, {} not looked up, {} without ports",
            self.found_flows.get(),
            self.unknown_flows.get(),
            self.unasked_flows.get(),
            self.untold_flows.get(),
        )
    }
}

impl CollectorCounters {
    /// Notes whether records are likely to get there now.
    pub fn note_health(&self, is_well: bool) {
        self.up.set(is_well.into());
    }

    /// Counts a message that is on its way.
    pub fn count_sent(&self, message: &Message) {
        self.messages.add(1);
        self.records.add(message.sums.records);
        self.octets.add(message.bytes.len() as u64);
    }

    /// Counts flows that do not get to the collector.
    pub fn count_lost(&self, flows: &Sums) {
        self.lost_records.add(flows.records);
        self.lost_packets.add(flows.packets);
        self.lost_octets.add(flows.octets);
    }

    /// Counts an answer that messages did not arrive, and those, if it tells.
    pub fn count_refusal(&self, refused: Option<&Refused>) {
        self.refusals.add(1);
        match refused {
            Some(Refused { messages, sums }) => {
                self.refused_messages.add(*messages);
                self.refused_records.add(sums.records);
                self.refused_packets.add(sums.packets);
                self.refused_octets.add(sums.octets);
            }
            None => self.untold_refusals.add(1),
        }
    }

    /// Flow records that are known not to have arrived.
    pub fn missing_records(&self) -> u64 {
        self.lost_records.get() + self.refused_records.get()
    }

    /// Records of which it is not known yet what becomes of them.
    pub fn waiting_records(&self) -> u64 {
        self.given_records.get().saturating_sub(self.settled())
    }

    /// Flows of which it is known what became of them. Those that were split count as several.
    fn settled(&self) -> u64 {
        self.records.get() + self.lost_records.get() + self.unexportable_records.get()
    }
}

/// What was refused is lost, not sent.
impl fmt::Display for CollectorCounters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, missing) = (self.records.get().saturating_sub(self.refused_records.get()), self.missing_records());
        // lines of text are in none
        match (self.messages.get(), self.lost_messages.get()) {
            (0, 0) if sent > 0 => write!(out, "{sent} records sent, {missing} lost")?,
            (messages, lost) => {
                let refused = self.refused_messages.get();
                let (messages, lost) = (messages.saturating_sub(refused), lost + refused);
                write!(out, "{sent} records sent in {messages} messages, {missing} lost in {lost} messages")?;
            }
        }
        write!(out, ", {} not expressible, {} refusals", self.unexportable_records.get(), self.refusals.get())?;
        match self.untold_refusals.get() {
            0 => Ok(()),
            untold => write!(out, " ({untold} of messages that nobody can tell, which count as sent)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_tell_what_they_count() {
        let counters = CaptureCounters::default();
        counters.flow_packets.add(3);
        let Entry { name, meaning, value } = counters.entries()[1];
        assert_eq!((name, meaning, value), ("flow_packets", "Packets counted in a flow.", 3));
        assert_eq!(counters.gauges(), []);
    }

    #[test]
    fn a_collector_that_comes_again_goes_on_counting() {
        let metrics = Metrics::default();
        let configure = |names: &[&str]| {
            let counters = |name: &&str| ((*name).to_owned(), metrics.collectors.of(name).unwrap_or_default());
            metrics.collectors.configure(names.iter().map(counters).collect());
        };
        configure(&["a", "b"]);
        let first = metrics.collectors.of("a").unwrap();
        first.records.add(2);
        configure(&["b"]);
        assert!(metrics.to_string().contains("\na: 2 records sent, 0 lost"), "{metrics}");
        assert_eq!(metrics.to_string().matches("; not configured any more").count(), 1, "{metrics}");
        configure(&["c", "a"]);
        first.records.add(1);
        assert_eq!((metrics.collectors.all().len(), metrics.collectors.of("a").unwrap().records.get()), (3, 3));
    }

    #[test]
    fn messages_are_told_of_where_there_are_any() {
        let counters = CollectorCounters::default();
        counters.records.add(5);
        assert_eq!(counters.to_string(), "5 records sent, 0 lost, 0 not expressible, 0 refusals");
        counters.messages.add(1);
        assert_eq!(
            counters.to_string(),
            "5 records sent in 1 messages, 0 lost in 0 messages, 0 not expressible, 0 refusals"
        );
    }
}
