//! A flow's connection, as connection tracking knows it.

use crate::packet::address;
use std::net::SocketAddr;

/// Where packets come from and go to. IPv4 addresses stand in the first four octets, the rest 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the key's fields")]
pub struct Ends {
    pub source: [u8; 16],
    pub destination: [u8; 16],
    pub source_port: u16,
    pub destination_port: u16,
}

impl Ends {
    /// Those of packets that go the other way.
    pub fn swapped(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
        }
    }

    /// Addresses with ports.
    pub fn sockets(&self, ip_version: u8) -> [SocketAddr; 2] {
        [(self.source, self.source_port), (self.destination, self.destination_port)]
            .map(|(octets, port)| SocketAddr::new(address(ip_version, u128::from_be_bytes(octets)), port))
    }
}

/// What connection tracking says of a flow's connection: all 0 where it says nothing, or was not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracked {
    /// flowId: the connection's number, the same for both its directions.
    pub id: u32,
    /// Its packets are not of the direction of who began the connection, but of the other.
    pub is_reply: bool,
    /// What NAT makes of its packets' ends: the same ends where it changes nothing.
    pub after_nat: Ends,
}

impl Tracked {
    /// Whether it says anything.
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }
    /// How many 64-bit words it is.
    pub const WORDS: usize = 6;

    /// As words; [`Tracked::from_words`] is its inverse.
    pub fn to_words(self) -> [u64; Self::WORDS] {
        let Ends { source, destination, source_port, destination_port } = self.after_nat;
        let [source, destination] = [source, destination].map(u128::from_be_bytes);
        [
            (source >> 64) as u64,
            source as u64,
            (destination >> 64) as u64,
            destination as u64,
            u64::from(self.id) << 32 | u64::from(source_port) << 16 | u64::from(destination_port),
            self.is_reply.into(),
        ]
    }

    /// What gave these words.
    pub fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [a, b, c, d, numbers, is_reply] = words;
        let octets = |high: u64, low: u64| (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        let after_nat = Ends {
            source: octets(a, b),
            destination: octets(c, d),
            source_port: (numbers >> 16) as u16,
            destination_port: numbers as u16,
        };
        Self { id: (numbers >> 32) as u32, is_reply: is_reply != 0, after_nat }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tracked_survives_its_words() {
        let after_nat = Ends {
            source: std::array::from_fn(|i| 0xf0 + i as u8),
            destination: std::array::from_fn(|i| 1 + i as u8),
            source_port: 0xfedc,
            destination_port: 0x8001,
        };
        let tracked = Tracked { id: 0xfedc_ba98, is_reply: true, after_nat };
        assert_eq!(Tracked::from_words(tracked.to_words()), tracked);
        assert_eq!(Tracked::from_words([0; Tracked::WORDS]), Tracked::default());
    }
}
