//! How a record is laid out: one list of fields, from which both its template and its data follow.

use super::element::{ENTERPRISE, Element};
use crate::time::Timestamp;

/// The scope type "System" of NetFlow v9 (RFC 3954 section 6.1).
const SYSTEM: u16 = 1;

/// The enterprise number that reverses elements.
const REVERSE: u32 = 29_305;

/// How the content of a field is found in what a record is made of.
enum Content<R> {
    /// A number, written big-endian in as many octets as the field has. Fewer than the element's own type has is the
    /// reduced-size encoding of RFC 7011 section 6.2. The time is what uptimes count from.
    Number(fn(&R, Timestamp) -> u64),
    /// The same number in each record.
    Constant(u64),
    /// Octets as they are: an address or a string, cut off or filled up with zeros to the field's length. Not a field of
    /// variable length (RFC 7011 section 7), for which nfcapd has no eye in options.
    Octets(fn(&R) -> &[u8]),
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// An address or a string.
    Octets(&'a [u8]),
}

/// A field of the records that are made of an `R`.
pub struct Field<R> {
    /// `None` for a scope of NetFlow v9.
    element: Option<Element>,
    /// Octets of it.
    length: u16,
    content: Content<R>,
}

impl<R> Field<R> {
    /// A field of at most eight octets that holds a number.
    pub fn number(element: Element, length: u16, number: fn(&R, Timestamp) -> u64) -> Self {
        Self { element: Some(element), length, content: Content::Number(number) }
    }

    /// A field that holds the same number in each record.
    pub fn constant(element: Element, length: u16, number: u64) -> Self {
        Self { element: Some(element), length, content: Content::Constant(number) }
    }

    /// A field that holds an address or a string.
    pub fn octets(element: Element, length: u16, octets: fn(&R) -> &[u8]) -> Self {
        Self { element: Some(element), length, content: Content::Octets(octets) }
    }

    /// What an options record of NetFlow v9 is about where that is nothing in particular: the exporter.
    pub fn system() -> Self {
        Self { element: None, length: 4, content: Content::Constant(0) }
    }

    fn write(&self, row: &R, boot: Timestamp, place: &mut [u8]) {
        match self.content {
            Content::Number(number) => write_number(number(row, boot), place),
            Content::Constant(number) => write_number(number, place),
            Content::Octets(octets) => write_octets(octets(row), place),
        }
    }
}

/// The fields of one kind of record, in their order. The first `scopes` of an options record say what it is about.
pub struct Layout<R> {
    scopes: usize,
    fields: Vec<Field<R>>,
    length: usize,
}

impl<R> Layout<R> {
    /// A layout of data records, or of options records with so many scopes.
    pub fn new(scopes: usize, fields: Vec<Field<R>>) -> Self {
        let length = fields.iter().map(|field| usize::from(field.length)).sum();
        Self { scopes, fields, length }
    }

    /// How many fields say what a record is about.
    pub fn scopes(&self) -> usize {
        self.scopes
    }

    /// How many fields there are in all.
    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// Octets of a record.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Appends the fields' part of a template record: element and length of each, and whose it is if not IANA's (RFC 7011
    /// section 3.2, RFC 3954 section 5.2).
    pub fn write_template(&self, out: &mut Vec<u8>) {
        for field in &self.fields {
            out.extend(field.element.map_or(SYSTEM, |element| element as u16).to_be_bytes());
            out.extend(field.length.to_be_bytes());
            out.extend(field.element.and_then(Element::enterprise).into_iter().flat_map(u32::to_be_bytes));
        }
    }

    /// The same for the fields as they are in the other direction (RFC 5103 section 6.1).
    pub fn write_reverse_template(&self, out: &mut Vec<u8>) {
        for field in &self.fields {
            out.extend((field.element.map_or(0, |element| element as u16) | ENTERPRISE).to_be_bytes());
            out.extend(field.length.to_be_bytes());
            out.extend(REVERSE.to_be_bytes());
        }
    }

    /// A record's values, for whoever reads them without a template. Uptimes count from the epoch.
    pub fn values<'a>(&'a self, row: &'a R) -> impl Iterator<Item = (Element, Value<'a>)> {
        self.fields.iter().filter_map(|field| {
            let value = match field.content {
                Content::Number(number) => Value::Number(number(row, Timestamp::default())),
                Content::Constant(number) => Value::Number(number),
                Content::Octets(octets) => {
                    let octets = octets(row);
                    Value::Octets(&octets[..octets.len().min(field.length.into())])
                }
            };
            Some((field.element?, value))
        })
    }

    /// Appends a record. `boot` is what uptimes count from.
    pub fn write_record(&self, row: &R, boot: Timestamp, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.length, 0);
        let mut rest = &mut out[start..];
        for field in &self.fields {
            let (place, behind) = rest.split_at_mut(field.length.into());
            rest = behind;
            field.write(row, boot, place);
        }
    }
}

/// Big-endian; the usual lengths each by an instruction of its own.
fn write_number(number: u64, place: &mut [u8]) {
    match place.len() {
        1 => place[0] = number as u8,
        2 => place.copy_from_slice(&(number as u16).to_be_bytes()),
        4 => place.copy_from_slice(&(number as u32).to_be_bytes()),
        length => place.copy_from_slice(&number.to_be_bytes()[8 - length..]),
    }
}

fn write_octets(octets: &[u8], place: &mut [u8]) {
    let length = octets.len().min(place.len());
    place[..length].copy_from_slice(&octets[..length]);
}
