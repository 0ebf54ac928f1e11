//! What NetFlow v9 and IPFIX have in common: templates that say how to read the data records, and options records about
//! the exporter itself.

use super::encoder::{Directions, Encoder, Message, Sums};
use super::facts::Facts;
use super::fields::{self, Flavour};
use super::growth::Growth;
use super::layout::Layout;
use super::message::{Builder, Dialect, Page};
use super::options::{self, ElementType, Interface, Selection, Statistics};
use crate::flow::FlowRecord;
use crate::metrics::CollectorCounters;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Templates are sent again after this many messages or this much time, whichever comes first: a collector that starts
/// later, or missed them, cannot read anything before that. Options are sent again after the time.
const TEMPLATES_EVERY_MESSAGES: u32 = 64;
const AGAIN_EVERY: Duration = Duration::from_secs(30);
/// Ids of templates begin here (RFC 7011 section 3.4.1, RFC 3954 section 5.2).
const FIRST_TEMPLATE: u16 = 256;
/// Beyond, they begin anew: one exporter has fewer than are left.
const LAST_TEMPLATE: u16 = u16::MAX - 256;

/// A layout, and the number by which records say that it is theirs.
struct Template<R> {
    id: u16,
    layout: Layout<R>,
}

/// All templates of an exporter.
struct Templates {
    /// By IP version: 4, then 6.
    flows: [Template<FlowRecord>; 2],
    selections: Vec<Template<Selection>>,
    interfaces: Template<Interface>,
    statistics: Vec<Template<Statistics>>,
    /// Where records have elements that are not IANA's.
    element_types: Option<Template<ElementType>>,
    /// Of both directions, by IP version; none where there are none such.
    biflows: Vec<BiflowTemplate>,
    /// The id behind theirs.
    next: u16,
}

/// How both directions stand behind each other in a record.
struct BiflowTemplate {
    id: u16,
    forward: Layout<FlowRecord>,
    reverse: Layout<FlowRecord>,
}

impl Templates {
    /// With ids from `first` on.
    fn new(flavour: Flavour, facts: &Facts, first: u16) -> Self {
        let mut next = first;
        let mut id = || {
            next += 1;
            next - 1
        };
        let described = !facts.fields.of_enterprises().is_empty();
        let element_types = if described { options::element_types(flavour) } else { None };
        let biflows: &[u8] = if facts.biflows && flavour == Flavour::Ipfix { &[4, 6] } else { &[] };
        Self {
            flows: [4, 6].map(|version| Template {
                id: id(),
                layout: fields::flow_layout(flavour, version, &facts.key, &facts.fields),
            }),
            selections: numbered(options::selections(flavour), &mut id),
            interfaces: Template { id: id(), layout: options::interfaces(flavour) },
            statistics: numbered(options::statistics(flavour), &mut id),
            element_types: element_types.map(|layout| Template { id: id(), layout }),
            biflows: biflows.iter().map(|version| biflow_template(id(), *version, facts)).collect(),
            next,
        }
    }
}

fn numbered<R>(layouts: Vec<Layout<R>>, id: &mut impl FnMut() -> u16) -> Vec<Template<R>> {
    layouts.into_iter().map(|layout| Template { id: id(), layout }).collect()
}

fn biflow_template(id: u16, ip_version: u8, facts: &Facts) -> BiflowTemplate {
    let (forward, reverse) = fields::biflow_layouts(ip_version, &facts.key, &facts.fields);
    BiflowTemplate { id, forward, reverse }
}

/// Encodes flows as template and data sets.
pub struct Templated<D> {
    builder: Builder<D>,
    layouts: Templates,
    facts: Arc<Facts>,
    /// What the collector was sent.
    sent: Arc<CollectorCounters>,
    /// Whether templates are sent again.
    repeats: bool,
    /// When it was last told how to read, and how many messages had been before; `None` if it has to be told everything.
    templates: Option<(Timestamp, u32)>,
    /// When it was last told the options, and how many selectors there were.
    options: Option<(Timestamp, usize)>,
    /// When packets were ignored, and records not sent, as it is seen before each message.
    ignored: Growth,
    not_sent: Growth,
}

impl<D: Dialect> Templated<D> {
    /// Begins with templates, and options that tell of `facts` and what was `sent`.
    pub fn new(dialect: D, facts: Arc<Facts>, sent: Arc<CollectorCounters>) -> Self {
        let (builder, layouts) = (Builder::new(dialect), Templates::new(D::FLAVOUR, &facts, FIRST_TEMPLATE));
        let (templates, options, ignored, not_sent) = Default::default();
        Self { builder, layouts, facts, sent, repeats: true, templates, options, ignored, not_sent }
    }

    /// The same for a connection, which does not lose templates: they are sent once (RFC 7011 section 8).
    pub fn once(dialect: D, facts: Arc<Facts>, sent: Arc<CollectorCounters>) -> Self {
        Self { repeats: false, ..Self::new(dialect, facts, sent) }
    }

    /// Tells the collector what it has to know to read this flow, unless it does.
    fn tell(&mut self, flow: &FlowRecord, page: &mut Page<'_>) {
        // but not in the middle of a message
        let due = |when| self.builder.is_empty() && page.now.since(when) >= AGAIN_EVERY;
        let templates = self.templates.is_none_or(|(when, before)| {
            let messages = self.builder.finished.wrapping_sub(before);
            self.repeats && (due(when) || self.builder.is_empty() && messages >= TEMPLATES_EVERY_MESSAGES)
        });
        let options = self.options.is_none_or(|(when, _)| due(when)) || self.is_new(flow);
        if !templates && !options {
            return;
        }
        self.builder.finish(page.out);
        if templates {
            self.tell_templates(page);
        }
        if options {
            self.tell_options(page);
        }
    }

    /// Whether it is the first of a selector of which the collector does not know.
    fn is_new(&self, flow: &FlowRecord) -> bool {
        let told = self.options.map_or(0, |(_, selectors)| selectors);
        usize::from(flow.key.selector) >= told && self.facts.selectors.count() > told
    }

    fn tell_templates(&mut self, page: &mut Page<'_>) {
        self.templates = Some((page.now, self.builder.finished));
        let Self { builder, layouts, .. } = self;
        layouts.flows.iter().for_each(|template| add_template(builder, template, page));
        layouts.selections.iter().for_each(|template| add_options_template(builder, template, page));
        add_options_template(builder, &layouts.interfaces, page);
        layouts.statistics.iter().for_each(|template| add_options_template(builder, template, page));
        layouts.element_types.iter().for_each(|template| add_options_template(builder, template, page));
        layouts.biflows.iter().for_each(|template| add_biflow_template(builder, template, page));
    }

    fn tell_options(&mut self, page: &mut Page<'_>) {
        let Self { builder, layouts, facts, .. } = self;
        let domain = builder.dialect.domain();
        self.options = Some((page.now, facts.selectors.count()));
        let selections = facts.selections(domain);
        layouts.selections.iter().for_each(|template| add_options(builder, template, &selections, page));
        add_options(builder, &layouts.interfaces, &facts.numbering.apply((facts.interfaces)()), page);
        let (ignored_times, not_sent_times) = (self.ignored.times(), self.not_sent.times());
        let statistics = [Statistics { ignored_times, not_sent_times, ..facts.statistics(domain, &self.sent) }];
        layouts.statistics.iter().for_each(|template| add_options(builder, template, &statistics, page));
        let described: Vec<_> = facts.fields.of_enterprises().into_iter().map(ElementType).collect();
        layouts.element_types.iter().for_each(|template| add_options(builder, template, &described, page));
    }
}

fn add_template<R, D: Dialect>(builder: &mut Builder<D>, template: &Template<R>, page: &mut Page<'_>) {
    let mut record = Vec::new();
    record.extend(template.id.to_be_bytes());
    record.extend((template.layout.fields() as u16).to_be_bytes());
    template.layout.write_template(&mut record);
    builder.room(D::TEMPLATE_SET, record.len(), page).extend(record);
    builder.content.templates += 1;
}

fn add_biflow_template<D: Dialect>(builder: &mut Builder<D>, template: &BiflowTemplate, page: &mut Page<'_>) {
    let mut record = Vec::new();
    record.extend(template.id.to_be_bytes());
    record.extend(((template.forward.fields() + template.reverse.fields()) as u16).to_be_bytes());
    template.forward.write_template(&mut record);
    template.reverse.write_reverse_template(&mut record);
    builder.close_set();
    builder.room(D::TEMPLATE_SET, record.len(), page).extend(record);
    builder.content.templates += 1;
}

/// nfdump reads one options template of a set, and one record about sampling: each has a set to itself.
fn add_options_template<R, D: Dialect>(builder: &mut Builder<D>, template: &Template<R>, page: &mut Page<'_>) {
    let mut record = Vec::new();
    record.extend(template.id.to_be_bytes());
    for number in D::scopes_and_fields(template.layout.scopes(), template.layout.fields()) {
        record.extend(number.to_be_bytes());
    }
    template.layout.write_template(&mut record);
    builder.close_set();
    builder.room(D::OPTIONS_TEMPLATE_SET, record.len(), page).extend(record);
    builder.content.templates += 1;
}

fn add_options<R, D: Dialect>(builder: &mut Builder<D>, template: &Template<R>, rows: &[R], page: &mut Page<'_>) {
    for row in rows {
        builder.close_set();
        let boot = builder.dialect.boot();
        let message = builder.room(template.id, template.layout.length(), page);
        template.layout.write_record(row, boot, message);
        builder.content.data += 1;
    }
}

impl<D: Dialect> Templated<D> {
    /// Makes room in set `set` for a record of so many octets about this flow, the collector being told what it has to know.
    fn prepare(&mut self, flow: &FlowRecord, (set, length): (u16, usize), page: &mut Page<'_>) {
        if !self.builder.dialect.reaches(flow) {
            self.builder.finish(page.out);
            self.builder.dialect.restart(flow);
        }
        if !self.builder.fits(set, length, page.limit) {
            self.builder.finish(page.out);
        }
        if self.builder.is_empty() {
            self.ignored.look(self.facts.ignored_packets(), page.now);
            self.not_sent.look(self.sent.lost_records.get(), page.now);
        }
        self.tell(flow, page);
    }

    /// Counts a record that was written about these flows.
    fn note<'a>(&mut self, flows: impl IntoIterator<Item = &'a FlowRecord> + Clone, now: Timestamp) {
        let content = &mut self.builder.content;
        content.data += 1;
        content.time = flows.clone().into_iter().fold(content.time.max(now), |time, flow| time.max(flow.last));
        content.flows.add_all(&Sums::of_one(flows));
    }
}

impl<D: Dialect> Encoder for Templated<D> {
    fn add(&mut self, flow: &FlowRecord, now: Timestamp, limit: usize, out: &mut Vec<Message>) -> bool {
        let which = usize::from(flow.key.ip_version == 6);
        let place = (self.layouts.flows[which].id, self.layouts.flows[which].layout.length());
        let mut page = Page { now, limit, out };
        self.prepare(flow, place, &mut page);
        let Self { builder, layouts, .. } = self;
        let boot = builder.dialect.boot();
        layouts.flows[which].layout.write_record(flow, boot, builder.room(place.0, place.1, &mut page));
        self.note([flow], now);
        true
    }

    fn add_biflow(&mut self, both: Directions<'_>, now: Timestamp, limit: usize, out: &mut Vec<Message>) -> bool {
        let (forward, reverse) = both;
        let which = usize::from(forward.key.ip_version == 6);
        let Some(template) = self.layouts.biflows.get(which) else {
            return self.add(forward, now, limit, out) && self.add(reverse, now, limit, out);
        };
        let place = (template.id, template.forward.length() + template.reverse.length());
        let mut page = Page { now, limit, out };
        self.prepare(forward, place, &mut page);
        let Self { builder, layouts, .. } = self;
        let boot = builder.dialect.boot();
        let message = builder.room(place.0, place.1, &mut page);
        layouts.biflows[which].forward.write_record(forward, boot, message);
        layouts.biflows[which].reverse.write_record(reverse, boot, message);
        self.note([forward, reverse], now);
        true
    }

    fn finish(&mut self, out: &mut Vec<Message>) {
        self.builder.finish(out);
    }

    /// Other fields have templates of other ids (RFC 7011 section 8.4, RFC 3954 section 9): a collector may meanwhile read
    /// what was sent before. Over a connection too, where that saves another one; no sequence number is interrupted.
    fn learn(&mut self, facts: &Arc<Facts>) {
        if facts.fields != self.facts.fields || facts.biflows != self.facts.biflows {
            let first = if self.layouts.next > LAST_TEMPLATE { FIRST_TEMPLATE } else { self.layouts.next };
            self.layouts = Templates::new(D::FLAVOUR, facts, first);
            self.templates = None;
        }
        self.facts = facts.clone();
        self.options = None;
    }

    fn renew_templates(&mut self) {
        (self.templates, self.options) = (None, None);
    }
}
