//! From a message of NFLOG to the packet in it: what the message says beside the packet.
//!
//! The messages of a rule are alike up to the packet itself: the same attributes at the same places, and but for time and
//! sequence number the same in them. So an envelope is read once, attribute by attribute, and recognised from then on by
//! comparing octets. Walking from attribute to attribute, where each says where the next begins, would be a third of all
//! the work on a packet.

use super::Captured;
use super::netlink::{self, ATTRIBUTE_HEADER, Beside, Logged, NFGENMSG, aligned};
use super::selectors::GroupSelectors;
use crate::flow::Direction;
use crate::packet::Start;
use crate::time::Timestamp;

/// As many kinds of messages as a host's rules usually make: by device, IP version, prefix.
const ENVELOPES: usize = 16;
/// Octets that are compared at a time, and at most in all; without a long prefix there are about 100, and 250 more where the
/// packet's connection is told.
const BLOCK: usize = 16;
const BLOCKS: usize = 32;
/// Blocks that most messages have to be compared in, so many that it is one step rather than a loop.
const FEW: usize = 8;

/// The envelopes of a group, as far as they were met.
pub struct Envelopes {
    selectors: GroupSelectors,
    known: [Envelope; ENVELOPES],
    /// The one of the latest message.
    latest: usize,
    /// The one to be forgotten next.
    oldest: usize,
}

/// A packet and its number within the group.
pub type Numbered<'a> = (Captured<'a>, Option<u32>);

impl Envelopes {
    /// None as yet.
    pub fn new(selectors: GroupSelectors) -> Self {
        Self { selectors, known: std::array::from_fn(|_| Envelope::default()), latest: 0, oldest: 0 }
    }

    /// The packet in the body of a message. `now` is asked for the time if the message does not tell it.
    #[inline(always)]
    pub fn open<'a>(&mut self, body: &'a [u8], now: impl FnOnce() -> Timestamp) -> Numbered<'a> {
        match self.known[self.latest].open(body) {
            Some(opened) => timed(opened, now),
            None => self.open_another(body, now),
        }
    }

    #[cold]
    fn open_another<'a>(&mut self, body: &'a [u8], now: impl FnOnce() -> Timestamp) -> Numbered<'a> {
        for (number, envelope) in self.known.iter().enumerate() {
            if let Some(opened) = envelope.open(body) {
                self.latest = number;
                return timed(opened, now);
            }
        }
        let logged = Logged::parse(body);
        let packet = describe(&logged, &mut self.selectors);
        if self.known[self.oldest].learn(body, &packet) {
            self.latest = self.oldest;
            self.oldest = (self.oldest + 1) % ENVELOPES;
        }
        timed((Captured { bytes: logged.payload, ..packet }, logged.sequence, logged.time), now)
    }
}

/// A packet, its number, and its time, if the message tells that.
type Opened<'a> = (Captured<'a>, Option<u32>, Option<Timestamp>);

#[inline(always)]
fn timed((packet, number, time): Opened<'_>, now: impl FnOnce() -> Timestamp) -> Numbered<'_> {
    (Captured { time: time.unwrap_or_else(now), ..packet }, number)
}

/// What a message says of its packet, but for time and payload.
fn describe(logged: &Logged<'_>, selectors: &mut GroupSelectors) -> Captured<'static> {
    let (start, direction) = netlink::seen_at(logged);
    let (input, output) = netlink::devices(logged);
    Captured {
        bytes: &[],
        start,
        octets: None,
        time: Timestamp::default(),
        input,
        output,
        vlan: logged.vlan,
        direction,
        selector: selectors.index(logged.prefix),
        beside: Beside::default(),
    }
}

/// What a message has around its packet. The default is nothing's envelope.
struct Envelope {
    /// The octets up to the payload, and which of them count: all but time, number, and what means nothing.
    octets: [[u8; BLOCK]; BLOCKS],
    mask: [[u8; BLOCK]; BLOCKS],
    /// How many of the blocks there are.
    blocks: usize,
    /// Where the payload's attribute begins; at the end of a message.
    payload: usize,
    /// Where the content of these is, 0 where there is none.
    sequence: usize,
    timestamp: usize,
    packet: Captured<'static>,
}

impl Default for Envelope {
    fn default() -> Self {
        let packet = Captured {
            bytes: &[],
            start: Start::Ip,
            octets: None,
            time: Timestamp::default(),
            input: 0,
            output: 0,
            vlan: 0,
            direction: Direction::default(),
            selector: 0,
            beside: Beside::default(),
        };
        let (octets, mask) = ([[0; BLOCK]; BLOCKS], [[0; BLOCK]; BLOCKS]);
        Self { octets, mask, blocks: 0, payload: usize::MAX, sequence: 0, timestamp: 0, packet }
    }
}

impl Envelope {
    /// The packet in a message, if it has this envelope.
    #[inline(always)]
    fn open<'a>(&self, body: &'a [u8]) -> Option<Opened<'a>> {
        // the payload is the last attribute, of any length
        let last = body.get(self.payload..)?;
        let (_, payload) = netlink::attributes(last).next()?;
        let same = match body.first_chunk::<{ FEW * BLOCK }>() {
            Some(body) if self.blocks <= FEW => self.has(body.as_chunks::<BLOCK>().0.first_chunk::<FEW>()?),
            _ => self.has(body.as_chunks::<BLOCK>().0.get(..self.blocks)?),
        };
        if !same || aligned(ATTRIBUTE_HEADER + payload.len()) < last.len() {
            return None;
        }
        let content = |place: usize| if place == 0 { &[] } else { &body[place..] };
        let number = netlink::be32(content(self.sequence));
        Some((Captured { bytes: payload, ..self.packet }, number, netlink::timestamp(content(self.timestamp))))
    }

    /// Whether a message that begins with these blocks has this envelope, as far as they go.
    #[inline(always)]
    fn has(&self, blocks: &[[u8; BLOCK]]) -> bool {
        let mut difference = [0; BLOCK];
        for ((block, octets), mask) in blocks.iter().zip(&self.octets).zip(&self.mask) {
            (0..BLOCK).for_each(|i| difference[i] |= (block[i] ^ octets[i]) & mask[i]);
        }
        difference == [0; BLOCK]
    }

    /// Becomes the envelope of this message; false if it is not one that the kernel makes.
    fn learn(&mut self, body: &[u8], packet: &Captured<'static>) -> bool {
        *self = Self { packet: *packet, ..Self::default() };
        self.mark(body, 0, 1); // nfgen_family
        let mut end = NFGENMSG;
        for (kind, content) in netlink::attributes(body.get(end..).unwrap_or_default()) {
            let (place, start) = (end, end + ATTRIBUTE_HEADER);
            end = aligned(start + content.len());
            let whole = match i32::from(kind) {
                libc::NFULA_PAYLOAD => {
                    // its type, but not its length
                    return self.mark(body, place + 2, place + ATTRIBUTE_HEADER) && self.close(place, end, body.len());
                }
                libc::NFULA_SEQ => content.len() == 4 && std::mem::replace(&mut self.sequence, start) == 0,
                libc::NFULA_TIMESTAMP => content.len() == 16 && std::mem::replace(&mut self.timestamp, start) == 0,
                _ if netlink::describes(kind) => self.mark(body, start, start + content.len()),
                _ => true,
            };
            if !whole || !self.mark(body, place, start) {
                return false;
            }
        }
        false
    }

    /// Lets these octets count.
    fn mark(&mut self, body: &[u8], from: usize, to: usize) -> bool {
        for at in from..to {
            let (Some(&octet), true) = (body.get(at), at < BLOCK * BLOCKS) else { return false };
            self.octets[at / BLOCK][at % BLOCK] = octet;
            self.mask[at / BLOCK][at % BLOCK] = u8::MAX;
        }
        self.blocks = self.blocks.max(to.div_ceil(BLOCK));
        true
    }

    /// Notes where the payload is, behind which there must be nothing.
    fn close(&mut self, payload: usize, end: usize, length: usize) -> bool {
        let is_last = end >= length;
        if is_last {
            self.payload = payload;
        }
        is_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::netlink::tests::attribute;
    use crate::capture::selectors::Selectors;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn envelopes() -> Envelopes {
        Envelopes::new(Selectors::default().of_group(5))
    }

    fn now() -> Timestamp {
        Timestamp::from_nanos(99)
    }

    /// Type and length of an attribute, as the kernel writes it or not, and how much of the message is cut off.
    type Shape = (Vec<(u16, usize)>, usize);

    fn shape() -> impl Strategy<Value = Shape> {
        const USUAL: [(u16, usize); 9] =
            [(1, 4), (3, 16), (4, 4), (5, 4), (9, 24), (10, 3), (12, 4), (20, 16), (21, 14)];
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
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn messages_are_read_as_if_walked(
            shapes in vec(shape(), 1..12),
            messages in vec((any::<prop::sample::Index>(), 0..3_u8), 1..60),
        ) {
            let mut envelopes = envelopes();
            for (shape, content) in messages {
                let body = body(shape.get(&shapes), content);
                let logged = Logged::parse(&body);
                let described = describe(&logged, &mut envelopes.selectors);
                let time = logged.time.unwrap_or_else(now);
                let expected = (Captured { bytes: logged.payload, time, ..described }, logged.sequence);
                prop_assert_eq!(envelopes.open(&body, now), expected);
            }
        }
    }

    fn message(device: u8, number: u8, payload: &[u8]) -> Vec<u8> {
        let time = [0, 0, 0, 0, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, 0];
        [
            vec![2, 0, 0, 5],
            attribute(1, &[0x08, 0x00, 2, 0]),
            attribute(10, b"a\0"),
            attribute(4, &[0, 0, 0, device]),
            attribute(3, &time),
            attribute(12, &[0, 0, 0, number]),
            attribute(9, payload),
        ]
        .concat()
    }

    #[test]
    fn an_envelope_is_recognised_whatever_is_in_it() {
        let mut envelope = Envelope::default();
        let first = message(7, 1, &[0x45; 20]);
        assert!(envelope.open(&first).is_none());
        let packet = describe(&Logged::parse(&first), &mut Selectors::default().of_group(5));
        assert!(envelope.learn(&first, &packet));
        let second = message(7, 2, &[0x46; 60]);
        let (packet, number, time) = envelope.open(&second).unwrap();
        assert_eq!((packet.input, packet.bytes, number), (7, &[0x46; 60][..], Some(2)));
        assert_eq!(time, Some(Timestamp::from_nanos(2_000_000_000)));
        assert!(envelope.open(&message(8, 2, &[0x46; 60])).is_none());
    }

    /// A connection of IPv6 with the longest that NFLOG usually says of one; its timeout is another in each message.
    #[test]
    fn connections_are_passed_over() {
        let with_connection = |timeout| {
            let mut body = message(7, 1, &[]);
            body.truncate(body.len() - ATTRIBUTE_HEADER);
            body.extend(attribute(18, &[timeout; 330]));
            body.extend(attribute(19, &[0, 0, 0, 2]));
            body.extend(attribute(9, &[0x60; 40]));
            body
        };
        let mut envelope = Envelope::default();
        let packet = describe(&Logged::parse(&with_connection(1)), &mut Selectors::default().of_group(5));
        assert!(envelope.learn(&with_connection(1), &packet));
        assert_eq!(envelope.open(&with_connection(2)).map(|(packet, ..)| packet.bytes), Some(&[0x60; 40][..]));
    }

    #[test]
    fn many_devices_take_turns() {
        let mut envelopes = envelopes();
        for number in 0..100 {
            let device = number % 20;
            let body = message(device, number, &[0x45; 20]);
            assert_eq!(envelopes.open(&body, now).0.input, u32::from(device));
        }
    }
}
