//! The kernel's connection tracking: which connection packets belong to, and what NAT makes of them.
//!
//! The kernel says it beside each packet that it logs, where it can ([`told`]); else it is asked for a flow's connection
//! ([`Tracker`]).
//!
//! A connection has the ends of its first packet before NAT (`CTA_TUPLE_ORIG`), and those that an answer to it has when it
//! comes in (`CTA_TUPLE_REPLY`). By either it is found. Where a packet is logged decides which of its ends a flow has:
//!
//! | packet of | before NAT | behind NAT |
//! |---|---|---|
//! | the original direction | the original ends | the reply's, swapped |
//! | the other | the reply's ends | the original ones, swapped |
//!
//! At hook forward, destinations are those behind NAT and sources those before it, so a packet of which NAT changes both has
//! neither, and its connection is not found by asking: by no hook's ends alone can its tuples be known.

mod message;
mod socket;
mod told;

pub use socket::{Conntrack, OpenError};
pub use told::told;

use crate::flow::{Ends, FlowKey, Tracked};
use etherparse::IpNumber;
use std::io;

/// DCCP and UDP-Lite (IANA protocol numbers), which etherparse does not name.
const DCCP: u8 = 33;
const UDP_LITE: u8 = 136;

/// Whether connections of this protocol are told apart by ports, as flows are.
fn has_ports(protocol: IpNumber) -> bool {
    matches!(protocol, IpNumber::TCP | IpNumber::UDP | IpNumber::SCTP | IpNumber(DCCP | UDP_LITE))
}

/// What connections are asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// 4 or 6.
    pub ip_version: u8,
    /// Protocol number.
    pub protocol: u8,
    /// Those that packets have before NAT, in either direction.
    pub ends: Ends,
}

impl Query {
    /// For the connection of a flow whose packets were logged before NAT. `None` where the key does not tell connections
    /// apart: ICMP's have an identifier that it has not, later fragments no ports.
    pub fn of(key: &FlowKey) -> Option<Self> {
        let ends = key.ends();
        let is_told = match IpNumber(key.protocol) {
            IpNumber::GRE => true,
            protocol => has_ports(protocol) && (ends.source_port, ends.destination_port) != (0, 0),
        };
        is_told.then_some(Self { ip_version: key.ip_version, protocol: key.protocol, ends })
    }

    /// The same for a flow whose packets were logged behind NAT: the other direction's come in by its ends.
    pub fn swapped(self) -> Self {
        Self { ends: self.ends.swapped(), ..self }
    }
}

/// A connection that the kernel tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `CTA_ID`: its number, for as long as it is tracked.
    pub id: u32,
    /// The ends of packets of its original direction before NAT.
    pub original: Ends,
    /// The ends of packets of the other direction before NAT.
    pub reply: Ends,
}

impl Connection {
    /// What there is to say of packets that were seen with these ends; `None` if they are not this connection's.
    pub fn tracked(&self, seen: Ends) -> Option<Tracked> {
        // of each direction, before NAT and behind it
        let directions = [[self.original, self.reply.swapped()], [self.reply, self.original.swapped()]];
        let direction = directions.iter().position(|ends| ends.contains(&seen))?;
        Some(Tracked { id: self.id, is_reply: direction == 1, after_nat: directions[direction][1] })
    }
}

/// Something that knows connections.
pub trait Tracker: Send {
    /// The connection that each query asks for, if it is tracked.
    fn look_up(&mut self, queries: &[Query]) -> io::Result<Vec<Option<Connection>>>;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::flow::tests::record;

    /// IPv4 addresses and ports for tests.
    pub(crate) fn ends(source: [u8; 4], source_port: u16, destination: [u8; 4], destination_port: u16) -> Ends {
        let address = |octets: [u8; 4]| std::array::from_fn(|i| octets.get(i).copied().unwrap_or_default());
        let [source, destination] = [source, destination].map(address);
        Ends { source, destination, source_port, destination_port }
    }

    const CLIENT: [u8; 4] = [10, 1, 0, 1];
    const ROUTER: [u8; 4] = [192, 0, 2, 1];
    const SERVER: [u8; 4] = [198, 51, 100, 2];

    #[test]
    fn both_directions_before_and_behind_nat() {
        // the client's address is translated
        let original = ends(CLIENT, 5000, SERVER, 80);
        let reply = ends(SERVER, 80, ROUTER, 20_000);
        let connection = Connection { id: 7, original, reply };
        let out = ends(ROUTER, 20_000, SERVER, 80);
        let back = ends(SERVER, 80, CLIENT, 5000);
        for (seen, is_reply, after_nat) in
            [(original, false, out), (out, false, out), (reply, true, back), (back, true, back)]
        {
            assert_eq!(connection.tracked(seen), Some(Tracked { id: 7, is_reply, after_nat }), "{seen:?}");
        }
        assert_eq!(connection.tracked(ends(CLIENT, 5001, SERVER, 80)), None);
        let untranslated = Connection { reply: original.swapped(), ..connection };
        let after_nat = |seen| untranslated.tracked(seen).map(|tracked| tracked.after_nat);
        assert_eq!([original, back].map(after_nat), [Some(original), Some(back)]);
    }

    #[test]
    fn only_keys_that_tell_connections_apart_are_asked_for() {
        let asked = |protocol, source_port, destination_port| {
            Query::of(&FlowKey { protocol, source_port, destination_port, ..record().key }).is_some()
        };
        assert!([6, 17, 33, 132, 136].iter().all(|protocol| asked(*protocol, 1024, 0)));
        assert!(asked(47, 0, 0), "GRE has no ports");
        assert!(!asked(17, 0, 0), "a later fragment");
        assert!(!asked(1, 0, 0x0800) && !asked(58, 0, 0x8000) && !asked(50, 0, 0));
    }
}
