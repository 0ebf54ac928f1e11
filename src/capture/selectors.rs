//! Selectors: which rule selected a packet, told by its NFLOG group and prefix.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More than this many prefixes are not told apart: the rest of a group's packets count for its last selector.
const MOST: usize = 4096;

/// All selectors that were seen, shared by the capture threads. The index of one is its selectorId (element 302); the first
/// is that of packets that no rule selected, as they came from a file.
#[derive(Clone, Debug)]
pub struct Selectors(Arc<Mutex<Vec<Selector>>>);

impl Default for Selectors {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(vec![Selector::default()])))
    }
}

/// One selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// NFLOG group.
    pub group: u16,
    /// Prefix of the rule, as it stands there.
    pub prefix: Vec<u8>,
    /// Packets selected, as far as their flows were exported.
    pub exported_packets: u64,
}

impl Selectors {
    /// The view of one group's thread, whose packets need the shared list only at the first packet of each prefix.
    pub fn of_group(&self, group: u16) -> GroupSelectors {
        GroupSelectors { group, shared: self.clone(), known: Vec::new(), latest: 0 }
    }

    /// How many there are, with the first.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Those that were met, or if none was, the one of files; with their indices.
    pub fn all(&self) -> Vec<(u16, Selector)> {
        let all = self.lock().clone();
        let of_no_rule = usize::from(all.len() > 1);
        (0..).zip(all).skip(of_no_rule).collect()
    }

    /// Something of one, if there is such a selector.
    pub fn look<T>(&self, index: u16, look: impl FnOnce(&Selector) -> T) -> Option<T> {
        self.lock().get(usize::from(index)).map(look)
    }

    /// Something of each, by index.
    pub fn map<T>(&self, look: impl FnMut(&Selector) -> T) -> Vec<T> {
        self.lock().iter().map(look).collect()
    }

    /// Adds packets whose flows were exported: by index, and 0 from then on.
    pub fn count_exported(&self, packets: &mut [u64]) {
        for (selector, packets) in self.lock().iter_mut().zip(packets) {
            selector.exported_packets += std::mem::take(packets);
        }
    }

    fn register(&self, group: u16, prefix: &[u8]) -> u16 {
        let mut all = self.lock();
        let known = all.iter().skip(1).position(|known| known.group == group && known.prefix == prefix);
        let index = known.map_or_else(
            || {
                if all.len() < MOST {
                    all.push(Selector { group, prefix: prefix.to_vec(), exported_packets: 0 });
                }
                all.len() - 1
            },
            |position| position + 1,
        );
        index as u16
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Selector>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The selectors of one NFLOG group.
#[derive(Debug)]
pub struct GroupSelectors {
    group: u16,
    shared: Selectors,
    known: Vec<(Vec<u8>, u16)>,
    latest: usize,
}

impl GroupSelectors {
    /// The index of the selector with this prefix. Successive packets mostly have the same.
    #[inline]
    pub fn index(&mut self, prefix: &[u8]) -> u16 {
        match self.known.get(self.latest) {
            // comparing nothing to nothing takes longer than one would think
            Some((known, index)) if known.len() == prefix.len() && (prefix.is_empty() || known == prefix) => *index,
            _ => self.find(prefix),
        }
    }

    fn find(&mut self, prefix: &[u8]) -> u16 {
        if let Some(at) = self.known.iter().position(|(known, _)| known == prefix) {
            self.latest = at;
        } else if self.known.len() < MOST {
            let index = self.shared.register(self.group, prefix);
            self.latest = self.known.len();
            self.known.push((prefix.to_vec(), index));
        }
        self.known[self.latest].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_group_and_a_prefix() {
        let shared = Selectors::default();
        let mut five = shared.of_group(5);
        let mut six = shared.of_group(6);
        assert_eq!([five.index(b""), five.index(b"in"), six.index(b"in"), five.index(b"")], [1, 2, 3, 1]);
        assert_eq!(shared.of_group(6).index(b"in"), 3);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut group = Selectors::default().of_group(5);
        for number in 0..2 * MOST {
            assert_eq!(usize::from(group.index(number.to_string().as_bytes())), (number + 1).min(MOST - 1));
        }
    }
}
