//! Messages of NetFlow v9 and IPFIX under construction: a header, and sets of records.
//!
//! A [`Dialect`] says what the two do not share: the header with its sequence rule, the numbers of the template sets,
//! padding.

use super::encoder::{Message, Sums};
use super::fields::Flavour;
use crate::flow::FlowRecord;
use crate::time::Timestamp;

/// Set id and length.
const SET_HEADER: usize = 4;
/// Sets end at multiples of this where they are padded.
const PADDING: usize = 4;

/// What a message holds, for its header.
#[derive(Default)]
pub struct Content {
    /// Flows.
    pub flows: Sums,
    /// Data records: flows and options.
    pub data: u16,
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
    /// Set id of options templates.
    const OPTIONS_TEMPLATE_SET: u16;
    /// Whether sets are padded.
    const PADDED: bool;

    /// Number of this exporter among those of its host.
    fn domain(&self) -> u32;

    /// Whether the next record can be said in a message with those before. If not, that message is finished, and
    /// [`Dialect::restart`] called.
    fn reaches(&self, flow: &FlowRecord) -> bool;

    /// Makes it possible to say this record.
    fn restart(&mut self, flow: &FlowRecord);

    /// What uptimes count from.
    fn boot(&self) -> Timestamp;

    /// What an options template record says of its fields before it lists them, the first `scopes` of which are scopes.
    fn scopes_and_fields(scopes: usize, fields: usize) -> [u16; 2];

    /// Fills in the header of a complete message, and advances the sequence.
    fn write_header(&mut self, message: &mut [u8], content: &Content);
}

/// Where complete messages go, and how large they may be.
pub struct Page<'a> {
    /// When they are exported.
    pub now: Timestamp,
    /// Octets of the largest.
    pub limit: usize,
    /// The complete ones.
    pub out: &'a mut Vec<Message>,
}

/// The message under construction.
pub struct Builder<D> {
    pub dialect: D,
    /// Empty between messages.
    message: Vec<u8>,
    pub content: Content,
    /// Id of the set under construction, and where that set begins.
    open_set: Option<(u16, usize)>,
    /// Messages finished, modulo 2^32.
    pub finished: u32,
}

impl<D: Dialect> Builder<D> {
    pub fn new(dialect: D) -> Self {
        Self { dialect, message: Vec::new(), content: Content::default(), open_set: None, finished: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.message.is_empty()
    }

    /// Whether another record of so many octets has room in the message.
    pub fn fits(&self, set: u16, length: usize, limit: usize) -> bool {
        let opened = self.open_set.is_some_and(|(open, _)| open == set);
        let header = if opened { 0 } else { PADDING - 1 + SET_HEADER };
        self.message.len() + header + length + PADDING - 1 <= limit
    }

    /// Gives room for a record of so many octets, to be appended: in this set of the message, or of a new one.
    pub fn room(&mut self, set: u16, length: usize, page: &mut Page<'_>) -> &mut Vec<u8> {
        if !self.is_empty() && !self.fits(set, length, page.limit) {
            self.finish(page.out);
        }
        if self.is_empty() {
            self.message.reserve_exact(page.limit);
            self.message.resize(D::HEADER, 0);
            self.content = Content { time: page.now, ..Content::default() };
        }
        if self.open_set.is_none_or(|(open, _)| open != set) {
            self.close_set();
            self.open_set = Some((set, self.message.len()));
            self.message.extend(set.to_be_bytes());
            self.message.extend([0, 0]);
        }
        &mut self.message
    }

    /// Lets the next record begin a set.
    pub fn close_set(&mut self) {
        let Some((_, start)) = self.open_set.take() else { return };
        if D::PADDED {
            self.message.resize(self.message.len().next_multiple_of(PADDING), 0);
        }
        let length = (self.message.len() - start) as u16;
        self.message[start + 2..start + SET_HEADER].copy_from_slice(&length.to_be_bytes());
    }

    /// Completes the message, if one has begun.
    pub fn finish(&mut self, out: &mut Vec<Message>) {
        if self.is_empty() {
            return;
        }
        self.close_set();
        self.dialect.write_header(&mut self.message, &self.content);
        self.finished = self.finished.wrapping_add(1);
        out.push(Message { bytes: std::mem::take(&mut self.message), sums: self.content.flows });
    }
}
