//! The messages sent last: an answer of the network quotes the beginning of the one that it is about.

use crate::export::encoder::{Message, Sums};
use std::collections::VecDeque;
use std::iter;

/// Octets at the beginning of a message that tell it from others: the longest header, NetFlow v5's. Each protocol has its
/// time and its sequence number in there. Only one of IPFIX whose records have few octets can be shorter.
pub const BEGINNING: usize = 24;
/// Messages of which it is known what they were: at 2000 a second, those of two seconds, in some 300 KiB.
const MOST: usize = 4096;

/// What was sent last.
#[derive(Default)]
pub struct Recent(VecDeque<Sent>);

struct Sent {
    beginning: [u8; BEGINNING],
    /// How many octets of that there are.
    length: usize,
    sums: Sums,
    /// How many messages went with one call, from this one on.
    together: usize,
    refused: bool,
}

/// Messages that did not arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many there are.
    pub messages: u64,
    /// What they say.
    pub sums: Sums,
}

impl Recent {
    /// Notes messages that were sent with one call.
    pub fn note(&mut self, messages: &[Message]) {
        for (message, together) in messages.iter().zip((1..=messages.len()).rev()) {
            let length = message.bytes.len().min(BEGINNING);
            let mut beginning = [0; BEGINNING];
            beginning[..length].copy_from_slice(&message.bytes[..length]);
            if self.0.len() == MOST {
                self.0.pop_front();
            }
            // of those in between, each speaks for itself alone: then the call was cut apart before it was refused
            let together = if together == messages.len() { together } else { 1 };
            self.0.push_back(Sent { beginning, length, sums: message.sums, together, refused: false });
        }
    }

    /// What did not arrive if a message did not that began so; `None` if nobody can tell which that was. This host cuts
    /// messages of one call apart only for a socket that takes them: if there is none, it refuses the first for them all.
    pub fn refuse(&mut self, quoted: &[u8]) -> Option<Refused> {
        let is_quoted = |it: &Sent| quoted.starts_with(&it.beginning[..it.length]);
        let mut alike = self.0.iter().enumerate().rev().filter(|(_, it)| is_quoted(it));
        // messages of templates alone can be alike
        let latest = alike.next()?;
        let (first, _) = iter::once(latest).chain(alike).find(|(_, it)| !it.refused).unwrap_or(latest);
        let together = self.0[first].together;
        let mut refused = Refused::default();
        for sent in self.0.range_mut(first..).take(together).filter(|sent| !sent.refused) {
            sent.refused = true;
            refused.messages += 1;
            refused.sums.add_all(&sent.sums);
        }
        Some(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NetFlow v5: version, 1 record, uptime, seconds, nanoseconds, sequence 30, engine, sampling.
    const FIVE: [u8; 24] = [0, 5, 0, 1, 0, 0, 3, 232, 101, 83, 241, 0, 29, 205, 101, 0, 0, 0, 0, 30, 0, 5, 0, 0];
    /// NetFlow v9: version, 1 record, uptime, seconds, sequence 2, source id, set 256 of 60 octets.
    const NINE: [u8; 24] = [0, 9, 0, 1, 0, 0, 3, 232, 101, 83, 241, 0, 0, 0, 0, 2, 0, 0, 0, 5, 1, 0, 0, 60];
    /// IPFIX: version, length, time, sequence 30, domain, set 256 of 84 octets, 4 of a record.
    const TEN: [u8; 24] = [0, 10, 0, 100, 101, 83, 241, 0, 0, 0, 0, 30, 0, 0, 0, 5, 1, 0, 0, 84, 192, 0, 2, 1];

    fn message(beginning: [u8; 24], records: u64) -> Message {
        let sums = Sums { records, packets: 2 * records, octets: 100 * records };
        Message { bytes: [&beginning[..], &[0xaa; 76]].concat(), sums }
    }

    /// The next message of the same protocol, whose sequence number stands here.
    fn later(beginning: [u8; 24], low_octet: usize, by: u8) -> [u8; 24] {
        let mut later = beginning;
        later[low_octet] += by;
        later
    }

    fn refused(messages: u64, records: u64) -> Option<Refused> {
        Some(Refused { messages, sums: Sums { records, packets: 2 * records, octets: 100 * records } })
    }

    #[test]
    fn the_message_that_is_quoted_is_found_by_its_header() {
        for (beginning, sequence) in [(FIVE, 19), (NINE, 15), (TEN, 11)] {
            let mut recent = Recent::default();
            (0..5).for_each(|by| recent.note(&[message(later(beginning, sequence, by), 10 + u64::from(by))]));
            assert_eq!(recent.refuse(&later(beginning, sequence, 2)), refused(1, 12));
            assert_eq!(recent.refuse(&later(beginning, sequence, 2)), refused(0, 0), "said twice");
            assert_eq!(recent.refuse(&later(beginning, sequence, 0)), refused(1, 10));
            assert_eq!(recent.refuse(&later(beginning, sequence, 5)), None, "never sent");
            assert_eq!(recent.refuse(&beginning[..23]), None, "too little");
            assert_eq!(recent.refuse(&[]), None);
        }
    }

    #[test]
    fn messages_of_one_call_are_refused_with_the_first_and_else_one_by_one() {
        let burst = [0, 1, 2].map(|by| message(later(NINE, 15, by), 20));
        let mut recent = Recent::default();
        recent.note(&[message(later(NINE, 15, 100), 1)]);
        recent.note(&burst);
        recent.note(&[message(later(NINE, 15, 3), 1)]);
        assert_eq!(recent.refuse(&later(NINE, 15, 1)), refused(1, 20));
        assert_eq!(recent.refuse(&NINE), refused(2, 40), "with the others that are left");
        assert_eq!(recent.refuse(&later(NINE, 15, 2)), refused(0, 0));
        assert_eq!(recent.refuse(&later(NINE, 15, 3)), refused(1, 1));
    }

    /// Templates do not advance IPFIX's sequence.
    #[test]
    fn of_messages_that_are_alike_each_is_refused_once() {
        let mut recent = Recent::default();
        (0..2).for_each(|_| recent.note(&[message(TEN, 0)]));
        assert_eq!([(); 3].map(|()| recent.refuse(&TEN)), [refused(1, 0), refused(1, 0), refused(0, 0)]);
    }

    /// IPFIX with a record of one octet; where an answer has more behind it (RFC 4884), that is filled up with zeros.
    #[test]
    fn a_message_shorter_than_that_is_quoted_as_a_whole() {
        let mut short = message(TEN, 1);
        short.bytes.truncate(21);
        for quoted in [&short.bytes[..], &[&short.bytes[..], &[0; 3]].concat()] {
            let mut recent = Recent::default();
            recent.note(&[short.clone()]);
            assert_eq!((recent.refuse(&quoted[..20]), recent.refuse(quoted)), (None, refused(1, 1)));
        }
    }

    #[test]
    fn what_was_sent_long_ago_is_forgotten() {
        let mut recent = Recent::default();
        let numbered = |number: u16| {
            let mut beginning = NINE;
            beginning[14..16].copy_from_slice(&number.to_be_bytes());
            beginning
        };
        (0..=MOST as u16).for_each(|number| recent.note(&[message(numbered(number), 1)]));
        assert_eq!(recent.refuse(&numbered(0)), None);
        assert_eq!(
            (recent.refuse(&numbered(1)), recent.refuse(&numbered(MOST as u16))),
            (refused(1, 1), refused(1, 1))
        );
    }
}
