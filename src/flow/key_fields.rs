//! Which parts of a key count: packets that are alike in those are one flow, whatever the rest of their keys.

use super::FlowKey;

/// Bits of addresses.
const V4_BITS: u8 = 32;
const V6_BITS: u8 = 128;

/// The parts of a key that count. Of addresses it is a prefix; 0 means that the address does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the key's fields")]
pub struct KeyFields {
    pub source_v4: u8,
    pub source_v6: u8,
    pub destination_v4: u8,
    pub destination_v6: u8,
    pub source_port: bool,
    pub destination_port: bool,
    pub protocol: bool,
    pub tos: bool,
    pub input: bool,
    pub vlan: bool,
    pub selector: bool,
}

impl KeyFields {
    /// The whole key.
    pub const ALL: Self = Self {
        source_v4: V4_BITS,
        source_v6: V6_BITS,
        destination_v4: V4_BITS,
        destination_v6: V6_BITS,
        source_port: true,
        destination_port: true,
        protocol: true,
        tos: true,
        input: true,
        vlan: true,
        selector: true,
    };
    /// Nothing but the IP version, which always counts.
    pub const NONE: Self = Self {
        source_v4: 0,
        source_v6: 0,
        destination_v4: 0,
        destination_v6: 0,
        source_port: false,
        destination_port: false,
        protocol: false,
        tos: false,
        input: false,
        vlan: false,
        selector: false,
    };

    /// The prefixes of source and destination that count in an IP version, and how long they can be.
    pub fn prefixes(&self, ip_version: u8) -> (u8, u8, u8) {
        match ip_version {
            6 => (self.source_v6, self.destination_v6, V6_BITS),
            _ => (self.source_v4, self.destination_v4, V4_BITS),
        }
    }

    /// Whether a flow is one direction of one TCP connection, so that it ends with that.
    pub fn tell_connections_apart(&self) -> bool {
        let whole = |version| {
            let (source, destination, bits) = self.prefixes(version);
            source == bits && destination == bits
        };
        whole(4) && whole(6) && self.source_port && self.destination_port && self.protocol
    }
}

/// The bits of a key's words that count, by IP version: 4, then 6.
#[derive(Clone, Debug)]
pub struct KeyMask([[u64; FlowKey::WORDS]; 2]);

impl KeyMask {
    /// Of these fields.
    pub fn new(fields: &KeyFields) -> Self {
        Self([4, 6].map(|version| mask(fields, version).to_words()))
    }

    /// Leaves of a key's words what counts.
    #[inline]
    pub fn apply(&self, ip_version: u8, words: &mut [u64; FlowKey::WORDS]) {
        let mask = &self.0[usize::from(ip_version == 6)];
        words.iter_mut().zip(mask).for_each(|(word, mask)| *word &= mask);
    }
}

/// A key that has ones where another's bits count.
fn mask(fields: &KeyFields, ip_version: u8) -> FlowKey {
    let (source, destination, _) = fields.prefixes(ip_version);
    let ones = |prefix: u8| u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0).to_be_bytes();
    let octet = |counts| if counts { u8::MAX } else { 0 };
    let two = |counts| if counts { u16::MAX } else { 0 };
    FlowKey {
        source: ones(source),
        destination: ones(destination),
        source_port: two(fields.source_port),
        destination_port: two(fields.destination_port),
        protocol: octet(fields.protocol),
        tos: octet(fields.tos),
        ip_version: u8::MAX,
        input: if fields.input { u32::MAX } else { 0 },
        vlan: two(fields.vlan),
        selector: two(fields.selector),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;

    fn masked(fields: KeyFields, key: FlowKey) -> FlowKey {
        let mut words = key.to_words();
        KeyMask::new(&fields).apply(key.ip_version, &mut words);
        FlowKey::from_words(&words)
    }

    #[test]
    fn the_whole_key_stays_and_nothing_leaves_the_version() {
        let key = record().key;
        assert_eq!(masked(KeyFields::ALL, key), key);
        let nothing = masked(KeyFields::NONE, key);
        assert_eq!(nothing.to_words(), [0, 0, 0, 0, 4, 0]);
    }

    #[test]
    fn prefixes_are_those_of_the_version() {
        let fields = KeyFields { source_v4: 20, destination_v6: 33, protocol: true, ..KeyFields::NONE };
        let mut key = record().key;
        key.source[..4].copy_from_slice(&[10, 1, 0xff, 0xff]);
        let v4 = masked(fields, key);
        assert_eq!((v4.source[..4].to_vec(), v4.destination, v4.protocol), (vec![10, 1, 0xf0, 0], [0; 16], 6));
        let v6 = masked(fields, FlowKey { ip_version: 6, destination: [0xff; 16], ..key });
        let mut expected = [0; 16];
        expected[..5].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x80]);
        assert_eq!((v6.source, v6.destination, v6.source_port), ([0; 16], expected, 0));
    }

    #[test]
    fn only_whole_conversations_end_with_their_connection() {
        assert!(KeyFields { vlan: false, tos: false, ..KeyFields::ALL }.tell_connections_apart());
        assert!(!KeyFields { source_v6: 64, ..KeyFields::ALL }.tell_connections_apart());
        assert!(!KeyFields { source_port: false, ..KeyFields::ALL }.tell_connections_apart());
    }
}
