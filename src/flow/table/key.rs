//! A key as the table keeps it: in three words, and for IPv6 its addresses beside them.

use crate::flow::FlowKey;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};
use zerocopy::IntoBytes;

/// What is compared first: a word that stands for both addresses, then the other words of the key.
pub type Short = [u64; 3];
/// Source and destination address.
pub type Addresses = [u64; 4];

/// The bits of an IPv4 address in its word: the upper ones.
const V4: u64 = 0xffff_ffff_0000_0000;

#[derive(Clone, Copy, Default)]
pub struct Key {
    pub short: Short,
    pub addresses: Addresses,
}

impl Key {
    /// The key of a writer's own slot (*single*), of these words of a flow's.
    #[inline(always)]
    pub fn new(words: [u64; FlowKey::WORDS], writer: u8, secrets: &RapidSecrets) -> Self {
        let [a, b, c, d, mut rest, last] = words;
        rest |= u64::from(writer) << FlowKey::SPARE_BIT;
        let addresses = [a, b, c, d];
        let mut short = [a & V4 | c >> 32, rest, last];
        if is_long(&short) {
            short[0] = hash(&addresses, secrets);
        }
        Self { short, addresses }
    }

    /// Whether the addresses are more than the first word can say.
    #[inline(always)]
    pub fn is_long(&self) -> bool {
        is_long(&self.short)
    }
}

/// Whether the addresses of a key are more than its first word can say: those of IPv6.
#[inline(always)]
pub fn is_long(short: &Short) -> bool {
    short[1] as u8 == 6
}

/// The flow's key; the addresses are asked for where the first word does not say them.
pub fn flow_key(short: Short, addresses: impl FnOnce() -> Addresses) -> FlowKey {
    let [both, rest, last] = short;
    let [a, b, c, d] = if is_long(&short) { addresses() } else { [both & V4, 0, both << 32, 0] };
    FlowKey::from_words(&[a, b, c, d, rest, last])
}

/// Without the last mixing, which hash tables do not need (rapidhash's own `fast` hasher leaves it out): each packet would
/// wait for one more multiplication.
#[inline(always)]
pub fn hash(words: &[u64], secrets: &RapidSecrets) -> u64 {
    rapidhash_v3_inline::<false, false, false>(words.as_bytes(), secrets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;

    #[test]
    fn a_key_of_either_version_is_whole_again() {
        let secrets = RapidSecrets::seed(1);
        let v4 = record().key;
        let v6 = FlowKey { source: [0xfe; 16], destination: std::array::from_fn(|i| i as u8), ip_version: 6, ..v4 };
        for key in [v4, v6] {
            let kept = Key::new(key.to_words(), 200, &secrets);
            assert_eq!(flow_key(kept.short, || kept.addresses), key);
        }
    }

    #[test]
    fn writers_and_addresses_tell_keys_apart() {
        let secrets = RapidSecrets::seed(1);
        let short = |key: FlowKey, writer| Key::new(key.to_words(), writer, &secrets).short;
        let v4 = record().key;
        let turned = FlowKey { source: v4.destination, destination: v4.source, ..v4 };
        let [v6, turned_v6] = [v4, turned].map(|key| FlowKey { ip_version: 6, ..key });
        let shorts = [short(v4, 0), short(v4, 1), short(turned, 0), short(v6, 0), short(turned_v6, 0)];
        for (number, one) in shorts.iter().enumerate() {
            assert!(shorts[..number].iter().all(|other| other != one));
        }
    }
}
