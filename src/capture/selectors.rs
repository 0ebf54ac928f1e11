//! Selectors: which rule selected a packet, told by its NFLOG group and prefix.

use std::sync::{Arc, Mutex, PoisonError};

/// More than this many prefixes are not told apart: the rest of a group's packets count for its last selector.
const MOST: usize = 4096;

/// All selectors that were seen, shared by the capture threads. The index of one is its selectorId (element 302).
#[derive(Clone, Debug, Default)]
pub struct Selectors(Arc<Mutex<Vec<Selector>>>);

/// One selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// NFLOG group.
    pub group: u16,
    /// Prefix of the rule, as it stands there.
    pub prefix: Vec<u8>,
}

impl Selectors {
    /// The view of one group's thread, whose packets need the shared list only at the first packet of each prefix.
    pub fn of_group(&self, group: u16) -> GroupSelectors {
        GroupSelectors { group, shared: self.clone(), known: Vec::new(), latest: 0 }
    }

    fn register(&self, selector: Selector) -> u16 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = all.iter().position(|known| *known == selector).unwrap_or_else(|| {
            if all.len() < MOST {
                all.push(selector);
            }
            all.len() - 1
        });
        index as u16
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
            let index = self.shared.register(Selector { group: self.group, prefix: prefix.to_vec() });
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
        assert_eq!([five.index(b""), five.index(b"in"), six.index(b"in"), five.index(b"")], [0, 1, 2, 0]);
        assert_eq!(shared.of_group(6).index(b"in"), 2);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut group = Selectors::default().of_group(5);
        for number in 0..2 * MOST {
            assert_eq!(usize::from(group.index(number.to_string().as_bytes())), number.min(MOST - 1));
        }
    }
}
