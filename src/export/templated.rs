//! What NetFlow v9 and IPFIX have in common: messages of sets, and templates that say how to read the data sets.
//!
//! A [`Dialect`] adds what they do not share: the header with its sequence rule, the number of the template set, padding.

use super::encoder::{Encoder, Message};
use super::fields::{self, FieldList, Flavour};
use crate::flow::FlowRecord;
use crate::time::Timestamp;
use std::time::Duration;

/// Templates are sent again after this many messages or this much time, whichever comes first: a collector that starts
/// later, or missed them, cannot read anything before that.
const TEMPLATES_EVERY_MESSAGES: u32 = 64;
const TEMPLATES_EVERY: Duration = Duration::from_secs(30);

/// Set id and length.
const SET_HEADER: usize = 4;
/// Sets end at multiples of this where they are padded.
const PADDING: usize = 4;
/// Ids of templates begin here (RFC 7011 section 3.4.1, RFC 3954 section 5.2): one for IPv4, one for IPv6.
const FIRST_TEMPLATE: u16 = 256;

/// What a message holds, for its header.
pub struct Content {
    /// Data records.
    pub records: u16,
    /// Template records.
    pub templates: u16,
    /// When it is exported; no record in it ends later.
    pub time: Timestamp,
}

/// Where NetFlow v9 and IPFIX differ.
pub trait Dialect: Send {
    /// How fields are said.
    const FLAVOUR: Flavour;
    /// Octets of the message header.
    const HEADER: usize;
    /// Set id of templates.
    const TEMPLATE_SET: u16;
    /// Whether sets are padded.
    const PADDED: bool;

    /// Whether the next record can be said in a message with those before. If not, that message is finished, and
    /// [`Dialect::restart`] called.
    fn reaches(&self, flow: &FlowRecord) -> bool;

    /// Makes it possible to say this record.
    fn restart(&mut self, flow: &FlowRecord);

    /// What uptimes count from.
    fn boot(&self) -> Timestamp;

    /// Fills in the header of a complete message, and advances the sequence.
    fn write_header(&mut self, message: &mut [u8], content: &Content);
}

struct Template {
    id: u16,
    fields: FieldList,
    record_length: usize,
}

/// Encodes flows as template and data sets.
pub struct Templated<D> {
    dialect: D,
    /// By IP version: 4, then 6.
    templates: [Template; 2],
    refresh: Refresh,
    /// The message under construction; empty between messages.
    message: Vec<u8>,
    content: Content,
    /// Template of the set under construction, and where that set begins.
    open_set: Option<(u16, usize)>,
}

impl<D: Dialect> Templated<D> {
    /// Begins with templates.
    pub fn new(dialect: D) -> Self {
        let template = |id, ip_version| {
            let fields = fields::flow_fields(D::FLAVOUR, ip_version);
            Template { id, record_length: fields::record_length(&fields), fields }
        };
        Self {
            dialect,
            templates: [template(FIRST_TEMPLATE, 4), template(FIRST_TEMPLATE + 1, 6)],
            refresh: Refresh::default(),
            message: Vec::new(),
            content: Content { records: 0, templates: 0, time: Timestamp::default() },
            open_set: None,
        }
    }

    fn begin(&mut self, now: Timestamp) {
        self.message.resize(D::HEADER, 0);
        self.content = Content { records: 0, templates: 0, time: now };
        if self.refresh.due(now) {
            self.open(D::TEMPLATE_SET);
            for template in &self.templates {
                self.message.extend(template.id.to_be_bytes());
                self.message.extend((template.fields.len() as u16).to_be_bytes());
                fields::write_template(&template.fields, &mut self.message);
                self.content.templates += 1;
            }
            self.close_set();
            self.refresh.sent(now);
        }
    }

    fn open(&mut self, set: u16) {
        self.open_set = Some((set, self.message.len()));
        self.message.extend(set.to_be_bytes());
        self.message.extend([0, 0]);
    }

    fn close_set(&mut self) {
        let Some((_, start)) = self.open_set.take() else { return };
        if D::PADDED {
            self.message.resize(self.message.len().next_multiple_of(PADDING), 0);
        }
        let length = (self.message.len() - start) as u16;
        self.message[start + 2..start + SET_HEADER].copy_from_slice(&length.to_be_bytes());
    }

    /// How long the message becomes, at most, with another record of this template.
    fn length_with(&self, template: &Template) -> usize {
        let opened = self.open_set.is_some_and(|(set, _)| set == template.id);
        let header = if opened { 0 } else { PADDING - 1 + SET_HEADER };
        self.message.len() + header + template.record_length + PADDING - 1
    }
}

impl<D: Dialect> Encoder for Templated<D> {
    fn add(&mut self, flow: &FlowRecord, now: Timestamp, limit: usize, out: &mut Vec<Message>) -> bool {
        if !self.dialect.reaches(flow) {
            self.finish(out);
            self.dialect.restart(flow);
        }
        let which = usize::from(flow.key.ip_version == 6);
        if !self.message.is_empty() && self.length_with(&self.templates[which]) > limit {
            self.finish(out);
        }
        if self.message.is_empty() {
            self.begin(now);
        }
        let id = self.templates[which].id;
        if self.open_set.is_none_or(|(set, _)| set != id) {
            self.close_set();
            self.open(id);
        }
        fields::write_record(&self.templates[which].fields, flow, self.dialect.boot(), &mut self.message);
        self.content.records += 1;
        self.content.time = self.content.time.max(flow.last).max(now);
        true
    }

    fn finish(&mut self, out: &mut Vec<Message>) {
        if self.message.is_empty() {
            return;
        }
        self.close_set();
        self.dialect.write_header(&mut self.message, &self.content);
        self.refresh.messages += 1;
        out.push(Message { bytes: std::mem::take(&mut self.message), records: self.content.records.into() });
    }

    fn renew_templates(&mut self) {
        self.refresh = Refresh::default();
    }
}

/// When templates were sent last.
#[derive(Default)]
struct Refresh {
    last: Option<Timestamp>,
    messages: u32,
}

impl Refresh {
    fn due(&self, now: Timestamp) -> bool {
        self.messages >= TEMPLATES_EVERY_MESSAGES || self.last.is_none_or(|last| now.since(last) >= TEMPLATES_EVERY)
    }

    fn sent(&mut self, now: Timestamp) {
        *self = Self { last: Some(now), messages: 0 };
    }
}
