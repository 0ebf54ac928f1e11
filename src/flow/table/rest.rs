//! What one flow has beside its slot: written when it begins, and read when its record is made.
//!
//! Relaxed throughout: *published* and *grace* order the first and the last access.

use super::key::Addresses;
use crate::flow::{Direction, Sighting, Tracked};
use crate::packet::details::{Details, FirstDetails, Segments};
use crate::sync::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// What its first packet alone says.
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
#[cfg_attr(loom, derive(Default))]
pub struct Rest {
    output: AtomicU32,
    direction: AtomicU16,
    tcp_flags: AtomicU16,
}

impl Rest {
    pub fn begin(&self, packet: &Sighting) {
        self.output.store(packet.output, Ordering::Relaxed);
        self.direction.store(packet.direction as u16, Ordering::Relaxed);
        self.tcp_flags.store(packet.tcp_flags, Ordering::Relaxed);
    }

    pub fn output(&self) -> u32 {
        self.output.load(Ordering::Relaxed)
    }

    pub fn tcp_flags(&self) -> u16 {
        self.tcp_flags.load(Ordering::Relaxed)
    }

    pub fn direction(&self) -> Direction {
        match self.direction.load(Ordering::Relaxed) {
            1 => Direction::Egress,
            _ => Direction::Ingress,
        }
    }
}

/// What records can say beside the rest, where they do.
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
#[cfg_attr(loom, derive(Default))]
pub struct KeptDetails {
    first: [AtomicU64; FirstDetails::WORDS],
    tcp_options: AtomicU64,
    lengths: [AtomicU32; 2],
    segments: AtomicU64,
}

impl KeptDetails {
    pub fn begin(&self, packet: &Details) {
        self.first.iter().zip(packet.first.to_words()).for_each(|(own, word)| own.store(word, Ordering::Relaxed));
        let mut sums = *packet;
        sums.segments.add(&packet.segment);
        self.set_sums(&sums);
    }

    /// Adds a packet. Nobody else stores (*single*).
    pub fn add(&self, packet: &Details) {
        let mut sums = self.sums();
        sums.add(packet);
        self.set_sums(&sums);
    }

    fn set_sums(&self, details: &Details) {
        self.tcp_options.store(details.tcp_options, Ordering::Relaxed);
        self.lengths.iter().zip(details.lengths).for_each(|(own, length)| own.store(length, Ordering::Relaxed));
        self.segments.store(details.segments.to_word(), Ordering::Relaxed);
    }

    /// But for what its first packet alone says.
    fn sums(&self) -> Details {
        Details {
            tcp_options: self.tcp_options.load(Ordering::Relaxed),
            lengths: self.lengths.each_ref().map(|length| length.load(Ordering::Relaxed)),
            segments: Segments::from_word(self.segments.load(Ordering::Relaxed)),
            ..Details::default()
        }
    }

    pub fn get(&self) -> Details {
        let first = FirstDetails::from_words(self.first.each_ref().map(|word| word.load(Ordering::Relaxed)));
        Details { first, ..self.sums() }
    }
}

/// What the latest of its packets that knew said of its connection, where records say it.
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
#[cfg_attr(loom, derive(Default))]
pub struct KeptConnection([AtomicU64; Tracked::WORDS]);

impl KeptConnection {
    pub fn set(&self, tracked: &Tracked) {
        self.0.iter().zip(tracked.to_words()).for_each(|(own, word)| own.store(word, Ordering::Relaxed));
    }

    pub fn get(&self) -> Tracked {
        Tracked::from_words(self.0.each_ref().map(|word| word.load(Ordering::Relaxed)))
    }
}

/// The addresses of an IPv6 flow; another's never come here from memory.
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
#[cfg_attr(loom, derive(Default))]
#[repr(align(32))]
pub struct LongAddresses([AtomicU64; 4]);

impl LongAddresses {
    pub fn set(&self, addresses: &Addresses) {
        self.0.iter().zip(addresses).for_each(|(own, word)| own.store(*word, Ordering::Relaxed));
    }

    pub fn get(&self) -> Addresses {
        self.0.each_ref().map(|word| word.load(Ordering::Relaxed))
    }
}
