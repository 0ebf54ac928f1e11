//! How a collector is, for whoever asks: written only where that changes, by the thread that speaks to it.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long after trouble it is doubtful whether records get there: others stand in for the collector, if they can; then the
/// trouble is over.
pub const CONVALESCENCE: Duration = Duration::from_secs(30);

/// Whether records get to a collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Nobody knows: it is being connected to for the first time.
    #[default]
    Starting,
    /// Nothing else was heard.
    Well,
    /// They can be sent, but there was trouble less than half a minute ago.
    Doubtful,
    /// They cannot be sent.
    Failing,
}

/// What was the matter with a collector, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In the words of the log.
    pub text: String,
    /// When it was met last.
    pub time: Timestamp,
}

/// How one collector is.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    condition: Condition,
    trouble: Option<Trouble>,
}

impl Health {
    /// Records can be sent from now on.
    pub fn recover(&self) {
        self.lock().condition = Condition::Well;
    }

    /// Some are lost or late, but the next may not be.
    pub fn note(&self, trouble: &str, now: Timestamp) {
        self.lock().trouble = Some(Trouble { text: trouble.to_owned(), time: now });
    }

    /// None can be sent until it recovers.
    pub fn fail(&self, trouble: &str, now: Timestamp) {
        self.note(trouble, now);
        self.lock().condition = Condition::Failing;
    }

    /// How it is, and the last trouble, if there was any.
    pub fn tell(&self, now: Timestamp) -> (Condition, Option<Trouble>) {
        let state = self.lock();
        let recent = state.trouble.as_ref().is_some_and(|trouble| now.since(trouble.time) < CONVALESCENCE);
        let condition = match state.condition {
            Condition::Well if recent => Condition::Doubtful,
            condition => condition,
        };
        (condition, state.trouble.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_remembered_and_doubted_for_a_while() {
        let at = |second: u64| Timestamp::from_nanos(second * 1_000_000_000);
        let health = Health::default();
        assert_eq!(health.tell(at(0)), (Condition::Starting, None));
        health.recover();
        assert_eq!(health.tell(at(0)), (Condition::Well, None));
        health.fail("gone", at(1));
        assert_eq!(health.tell(at(100)).0, Condition::Failing);
        health.recover();
        let trouble = Some(Trouble { text: "gone".to_owned(), time: at(1) });
        assert_eq!(health.tell(at(30)), (Condition::Doubtful, trouble.clone()));
        assert_eq!(health.tell(at(31)), (Condition::Well, trouble));
    }
}
