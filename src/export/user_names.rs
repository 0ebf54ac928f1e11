//! The names of the users whose flows are exported, looked up where records say them.

use crate::flow::{FlowRecord, UserName};
use crate::packet::details::NOBODY;
use crate::time::Timestamp;
use nix::unistd::{Uid, User};
use std::collections::HashMap;
use std::time::Duration;

/// As many as are remembered, and for how long: users get other names, and looking one up can take a while where their
/// directory is elsewhere.
const MOST: usize = 1024;
const REMEMBERED: Duration = Duration::from_secs(300);

/// The names by the users' numbers, as far as they are known.
pub struct UserNames {
    /// Whether records say them.
    wanted: bool,
    look_up: fn(u32) -> Option<String>,
    known: HashMap<u32, UserName>,
    /// When the first of them was looked up.
    since: Timestamp,
}

impl UserNames {
    /// Those of this host.
    pub fn new(wanted: bool) -> Self {
        Self { wanted, look_up, known: HashMap::new(), since: Timestamp::default() }
    }

    /// Has a flow say its user's name, or number where there is no name.
    pub fn apply(&mut self, flow: &mut FlowRecord, now: Timestamp) {
        let [uid, _] = flow.details.first.provenance.owner();
        if self.wanted && uid != NOBODY {
            flow.user_name = self.name(uid, now);
        }
    }

    fn name(&mut self, uid: u32, now: Timestamp) -> UserName {
        if self.known.len() >= MOST || now.since(self.since) >= REMEMBERED || now < self.since {
            self.known.clear();
        }
        if self.known.is_empty() {
            self.since = now;
        }
        let look_up = self.look_up;
        let name = || UserName::from(look_up(uid).unwrap_or_else(|| uid.to_string()).as_str());
        *self.known.entry(uid).or_insert_with(name)
    }
}

/// In the host's directory of users.
fn look_up(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;
    use crate::packet::details::Provenance;
    use std::sync::atomic::{AtomicU32, Ordering};

    static LOOKED_UP: AtomicU32 = AtomicU32::new(0);

    fn counted(uid: u32) -> Option<String> {
        LOOKED_UP.fetch_add(1, Ordering::Relaxed);
        (uid == 33).then(|| "www-data".to_owned())
    }

    #[test]
    fn a_name_is_looked_up_once_and_again_when_it_may_have_changed() {
        let mut names = UserNames { look_up: counted, ..UserNames::new(true) };
        let at = |second: u64| Timestamp::from_nanos((1_700_000_000 + second) * 1_000_000_000);
        let mut said = |uid, second| {
            let mut flow = record();
            flow.details.first.provenance = Provenance::Process { uid, gid: 7 };
            names.apply(&mut flow, at(second));
            (String::from_utf8(flow.user_name.octets().to_vec()).unwrap(), LOOKED_UP.load(Ordering::Relaxed))
        };
        assert_eq!(said(33, 0), ("www-data".to_owned(), 1));
        assert_eq!(said(33, 299), ("www-data".to_owned(), 1));
        assert_eq!(said(12345, 299), ("12345".to_owned(), 2));
        assert_eq!(said(33, 300), ("www-data".to_owned(), 3));
        let last = (1000..5000).map(|uid| said(uid, 301)).last().unwrap();
        assert_eq!(last, ("4999".to_owned(), 4003));
        assert!(names.known.len() <= MOST);
        let mut unknown = record();
        names.apply(&mut unknown, at(301));
        assert_eq!(unknown.user_name, UserName::default());
    }

    #[test]
    fn the_host_knows_root() {
        assert_eq!(look_up(0).as_deref(), Some("root"));
    }
}
