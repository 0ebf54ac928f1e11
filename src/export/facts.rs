//! What the exporter knows beside flows, for options records.

use super::fields::FieldChoice;
use super::interface_numbers::Numbering;
use super::options::{Interface, Selection, Statistics};
use super::sampling::Sampling;
use super::selector_settings::SelectorSettings;
use crate::capture::selectors::{Selector, Selectors};
use crate::flow::key_fields::KeyFields;
use crate::metrics::{CaptureCounters, CollectorCounters, Counter, ExportCounters};
use crate::watch::Watch;
use std::process;
use std::sync::Arc;

/// Where it is found.
#[derive(Clone)]
pub struct Facts {
    /// The rules that packets were selected by.
    pub selectors: Selectors,
    /// What share of the packets they select.
    pub sampling: Sampling,
    /// What else the operator says of them.
    pub selector_settings: SelectorSettings,
    /// What packets of a flow have in common.
    pub key: KeyFields,
    /// What their records have.
    pub fields: FieldChoice,
    /// Whether both directions of a conversation may be one record.
    pub biflows: bool,
    /// Looks up the network's devices.
    pub interfaces: fn() -> Vec<Interface>,
    /// By which numbers records name them.
    pub numbering: Numbering,
    /// What became of the packets.
    pub captures: Vec<Arc<CaptureCounters>>,
    /// What became of the flows.
    pub export: Arc<ExportCounters>,
    /// How often the operator wished that files are read again.
    pub reloads: Arc<Counter>,
    /// The threads that have to get on.
    pub watch: Arc<Watch>,
}

impl Default for Facts {
    /// Nothing is known.
    fn default() -> Self {
        let (selectors, sampling, selector_settings, fields) = Default::default();
        let (numbering, captures, export, reloads, watch) = Default::default();
        Self {
            selectors,
            sampling,
            selector_settings,
            key: KeyFields::ALL,
            fields,
            biflows: false,
            interfaces: Vec::new,
            numbering,
            captures,
            export,
            reloads,
            watch,
        }
    }
}

impl Facts {
    /// One in so many packets is selected by this selector.
    pub fn rate_of(&self, selector: u16) -> u32 {
        let rate = match self.sampling.groups.is_empty() && self.selector_settings.rates().next().is_none() {
            true => None,
            false => self.selectors.look(selector, |selector| self.rate(selector)),
        };
        rate.unwrap_or(self.sampling.everywhere)
    }

    fn rate(&self, selector: &Selector) -> u32 {
        let own = self.selector_settings.of(selector).and_then(|setting| setting.sampling_rate);
        own.unwrap_or_else(|| self.sampling.rate(selector.group))
    }

    /// What each selector selected, for exporter number `domain`.
    pub fn selections(&self, domain: u32) -> Vec<Selection> {
        let selection = |(id, selector): (u16, Selector)| Selection {
            domain,
            id,
            rate: self.rate(&selector),
            packets: selector.exported_packets,
            name: match self.selector_settings.of(&selector).and_then(|setting| setting.name.clone()) {
                Some(name) => name.into(),
                None => selector.prefix,
            },
        };
        self.selectors.all().into_iter().map(selection).collect()
    }

    /// What was done so far, for exporter number `domain` and a collector that was `sent` this; but for the times.
    pub fn statistics(&self, domain: u32, sent: &CollectorCounters) -> Statistics {
        Statistics {
            domain,
            process: process::id(),
            exported_octets: sent.octets.get(),
            exported_messages: sent.messages.get(),
            exported_flows: sent.records.get(),
            observed_flows: self.export.flows.get(),
            ignored_packets: self.ignored_packets(),
            ignored_octets: self.captures.iter().map(|packets| packets.ignored_octets.get()).sum(),
            not_sent_flows: sent.lost_records.get(),
            not_sent_packets: sent.lost_packets.get(),
            not_sent_octets: sent.lost_octets.get(),
            ..Statistics::default()
        }
    }

    /// Packets that are in no flow.
    pub fn ignored_packets(&self) -> u64 {
        let ignored = self.captures.iter().map(|packets| {
            packets.lost_packets.get() + packets.ignored_packets.get() + packets.malformed_packets.get()
        });
        ignored.sum()
    }
}
