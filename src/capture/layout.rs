//! Reading a message of NFLOG by where the attributes of an earlier one were.
//!
//! The messages of a rule have the same attributes at the same places. Walking from one to the next, each load waits
//! for the length that the one before it gave; where the places are known, all loads go at once.

use super::netlink::{self, ATTRIBUTE_HEADER, Logged, NFGENMSG, NFULA_VLAN, aligned};

/// As many kinds of messages as a host's rules usually make: by hook, by prefix, with and without a local socket.
const LAYOUTS: usize = 8;
/// Attributes of a message; the kernel has about 20. One with more is walked.
const ATTRIBUTES: usize = 24;

/// The layouts that were met.
#[derive(Debug, Default)]
pub struct Layouts {
    known: [Layout; LAYOUTS],
    /// The one of the latest message.
    latest: usize,
    /// The one to be forgotten next.
    oldest: usize,
}

impl Layouts {
    /// Reads the body of a message, exactly as [`Logged::parse`] does.
    #[inline(always)]
    pub fn read<'a>(&mut self, body: &'a [u8]) -> Logged<'a> {
        match self.known[self.latest].read(body) {
            Some(logged) => logged,
            None => self.read_another(body),
        }
    }

    #[cold]
    fn read_another<'a>(&mut self, body: &'a [u8]) -> Logged<'a> {
        for (number, layout) in self.known.iter().enumerate() {
            if let Some(logged) = layout.read(body) {
                self.latest = number;
                return logged;
            }
        }
        if self.known[self.oldest].learn(body) {
            self.latest = self.oldest;
            self.oldest = (self.oldest + 1) % LAYOUTS;
        }
        Logged::parse(body)
    }
}

/// Where attributes are, counted from the first octet of a message's body; 0 of what is not there.
#[derive(Debug, Default)]
struct Layout {
    /// Place and content of every attribute header but the payload's.
    headers: Vec<(usize, u32)>,
    packet_header: usize,
    timestamp: usize,
    input: usize,
    output: usize,
    sequence: usize,
    prefix: (usize, usize),
    vlan: (usize, usize),
    /// The last attribute, of any length.
    payload: usize,
}

impl Layout {
    /// Reads a message that is laid out like this.
    #[inline(always)]
    fn read<'a>(&self, body: &'a [u8]) -> Option<Logged<'a>> {
        let payload = self.payload_of(body)?;
        let at = |place: usize| if place == 0 { &[] } else { &body[place..] };
        let mut logged = Logged {
            family: body[0],
            time: netlink::timestamp(at(self.timestamp)),
            input: netlink::be32(at(self.input)).unwrap_or_default(),
            output: netlink::be32(at(self.output)).unwrap_or_default(),
            sequence: netlink::be32(at(self.sequence)),
            payload,
            ..Logged::default()
        };
        if let &[high, low, hook, ..] = at(self.packet_header) {
            (logged.hw_protocol, logged.hook) = (u16::from_be_bytes([high, low]), hook);
        }
        if self.prefix.0 > 0 {
            logged.prefix = netlink::unterminated(&body[self.prefix.0..self.prefix.1]);
        }
        if self.vlan.0 > 0 {
            logged.vlan = netlink::vlan_id(&body[self.vlan.0..self.vlan.1]);
        }
        Some(logged)
    }

    /// The payload, if each attribute is where this layout has it and nothing follows.
    #[inline(always)]
    fn payload_of<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        // no layout yet has its payload at 0, where no attribute can be
        let last = body.get(self.payload..).filter(|_| self.payload > 0)?;
        let (kind, payload) = netlink::attributes(last).next()?;
        let whole = kind == libc::NFULA_PAYLOAD as u16 && aligned(ATTRIBUTE_HEADER + payload.len()) >= last.len();
        (whole && self.headers.iter().all(|&(at, header)| word(body, at) == header)).then_some(payload)
    }

    /// Takes the layout of this message; false if it is not laid out as the kernel does it.
    #[cold]
    fn learn(&mut self, body: &[u8]) -> bool {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        headers.reserve(ATTRIBUTES);
        *self = Self { headers, ..Self::default() };
        let mut end = NFGENMSG;
        for (kind, content) in netlink::attributes(body.get(end..).unwrap_or_default()) {
            let (place, start) = (end, end + ATTRIBUTE_HEADER);
            end = aligned(start + content.len());
            if i32::from(kind) == libc::NFULA_PAYLOAD {
                self.payload = place;
                break;
            }
            if self.headers.len() == ATTRIBUTES || !self.note(kind, start, content.len()) {
                return false;
            }
            self.headers.push((place, word(body, place)));
        }
        // an attribute behind the payload would go unread
        let complete = self.payload > 0 && end >= body.len();
        if !complete {
            self.payload = 0;
        }
        complete
    }

    /// Notes where an attribute begins; false if its length is not the kernel's, or it is there twice.
    fn note(&mut self, kind: u16, start: usize, length: usize) -> bool {
        let (place, expected) = match i32::from(kind) {
            libc::NFULA_PACKET_HDR => (&mut self.packet_header, 4),
            libc::NFULA_TIMESTAMP => (&mut self.timestamp, 16),
            libc::NFULA_IFINDEX_INDEV => (&mut self.input, 4),
            libc::NFULA_IFINDEX_OUTDEV => (&mut self.output, 4),
            libc::NFULA_SEQ => (&mut self.sequence, 4),
            libc::NFULA_PREFIX => return note_range(&mut self.prefix, start, length),
            _ if kind == NFULA_VLAN => return note_range(&mut self.vlan, start, length),
            _ => return true,
        };
        let first = *place == 0;
        *place = start;
        first && length == expected
    }
}

fn note_range(range: &mut (usize, usize), start: usize, length: usize) -> bool {
    let first = range.0 == 0;
    *range = (start, start + length);
    first
}

/// The attribute header at this place, 0 (which none is) where there is nothing.
#[inline]
fn word(body: &[u8], at: usize) -> u32 {
    body.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |octets| u32::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::netlink::tests::attribute;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Type and length of an attribute, as the kernel writes it or not, and how much of the message is cut off.
    type Shape = (Vec<(u16, usize)>, usize);

    fn shape() -> impl Strategy<Value = Shape> {
        const USUAL: [(u16, usize); 8] = [(1, 4), (3, 16), (4, 4), (5, 4), (9, 24), (10, 3), (12, 4), (20, 16)];
        let odd = (0..24_u16, 0..24_usize);
        (vec(prop_oneof![9 => prop::sample::select(&USUAL[..]), 1 => odd], 0..6), 0..40_usize)
    }

    fn body((attributes, cut): &Shape, content: u8) -> Vec<u8> {
        let mut body = vec![2, 0, 0, 5];
        attributes.iter().for_each(|&(kind, length)| body.extend(attribute(kind, &vec![content; length])));
        let kept = if *cut < 8 { body.len().saturating_sub(*cut) } else { body.len() };
        body.truncate(kept);
        body
    }

    proptest! {
        #[test]
        fn messages_are_read_as_if_walked(
            shapes in vec(shape(), 1..12),
            messages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        ) {
            let mut layouts = Layouts::default();
            for (shape, content) in messages {
                let body = body(shape.get(&shapes), content);
                prop_assert_eq!(layouts.read(&body), Logged::parse(&body));
            }
        }
    }

    #[test]
    fn the_layout_of_a_rule_is_learnt_at_its_first_message() {
        let message = |number: u8, payload: &[u8]| {
            [
                vec![2, 0, 0, 5],
                attribute(1, &[0x08, 0x00, 2, 0]),
                attribute(4, &[0, 0, 0, 7]),
                attribute(10, b"a\0"),
                attribute(12, &[0, 0, 0, number]),
                attribute(9, payload),
            ]
            .concat()
        };
        let mut layout = Layout::default();
        assert_eq!(layout.read(&message(1, b"E")), None);
        assert!(layout.learn(&message(1, b"E")));
        let body = message(2, b"EFGHIJ");
        let logged = layout.read(&body).unwrap();
        assert_eq!((logged.sequence, logged.payload, logged.prefix), (Some(2), &b"EFGHIJ"[..], &b"a"[..]));
        assert_eq!(logged, Logged::parse(&body));
    }
}
