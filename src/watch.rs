//! Whether threads get on: each counts its turns, and the main thread looks whether the counts grow.

use crate::metrics::Counter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a thread says of itself.
#[derive(Debug, Default)]
pub struct Progress {
    turns: Counter,
    /// It waits for others, as long as they take, or has ended.
    resting: AtomicBool,
}

impl Progress {
    /// Counts a turn: once a loop, not once a packet.
    pub fn turn(&self) {
        self.turns.add(1);
    }

    /// Does what others may make last as long as they like, such as asking a resolver.
    pub fn rest<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        self.resting.store(true, Ordering::Relaxed);
        let result = meanwhile();
        self.resting.store(false, Ordering::Relaxed);
        result
    }

    /// No more turns come.
    pub fn end(&self) {
        self.resting.store(true, Ordering::Relaxed);
    }
}

/// A thread that is looked at.
struct Watched {
    name: String,
    progress: Arc<Progress>,
    /// What it counts beside its turns, for loops that last.
    counted: Box<dyn Fn() -> u64 + Send>,
    /// Its counts when they had last grown, and when that was seen.
    latest: Option<(u64, Instant)>,
}

impl Watched {
    /// Since when its counts have been the same, as seen at `now`.
    fn still_since(&mut self, now: Instant) -> Instant {
        let count = self.progress.turns.get() + (self.counted)();
        match self.latest {
            Some((before, since)) if before == count => since,
            _ => {
                self.latest = Some((count, now));
                now
            }
        }
    }
}

/// The threads that are looked at.
#[derive(Default)]
pub struct Watch(Mutex<Vec<Watched>>);

/// How they do.
#[derive(Debug, PartialEq, Eq)]
pub struct Health {
    /// Those that have not got on for too long, though nobody keeps them waiting.
    pub hung: Vec<String>,
    /// At least one has got on.
    pub any_progress: bool,
}

impl Watch {
    /// Looks at another thread, which also gets on when what it has `counted` grows.
    pub fn add(&self, name: &str, progress: Arc<Progress>, counted: impl Fn() -> u64 + Send + 'static) {
        let watched = Watched { name: name.to_owned(), progress, counted: Box::new(counted), latest: None };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
    }

    /// How they do at `now`, where turns may take as long as `patience`.
    pub fn look(&self, now: Instant, patience: Duration) -> Health {
        let mut health = Health { hung: Vec::new(), any_progress: false };
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // where only this is left of a thread, it has ended
        threads.retain(|watched| Arc::strong_count(&watched.progress) > 1);
        for watched in threads.iter_mut() {
            let still = now.duration_since(watched.still_since(now));
            health.any_progress |= still.is_zero();
            if still > patience && !watched.progress.resting.load(Ordering::Relaxed) {
                health.hung.push(watched.name.clone());
            }
        }
        health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn watch() -> (Watch, [Arc<Progress>; 2], Arc<Counter>) {
        let (watch, threads, counter) = (Watch::default(), <[Arc<Progress>; 2]>::default(), Arc::<Counter>::default());
        let flows = counter.clone();
        watch.add("first", threads[0].clone(), || 0);
        watch.add("second", threads[1].clone(), move || flows.get());
        (watch, threads, counter)
    }

    #[test]
    fn one_hung_thread_is_told_until_it_gets_on() {
        let (watch, [first, second], _) = watch();
        let start = Instant::now();
        let mut hung = Vec::new();
        for second_of in 0..10 {
            first.turn();
            if second_of == 8 {
                second.turn();
            }
            let health = watch.look(start + Duration::from_secs(second_of), PATIENCE);
            assert!(health.any_progress);
            hung.push(health.hung.len());
        }
        assert_eq!(hung, [0, 0, 0, 0, 0, 0, 1, 1, 0, 0]);
    }

    #[test]
    fn flows_are_progress_and_who_rests_is_not_hung() {
        let (watch, [first, second], flows) = watch();
        let start = Instant::now();
        watch.look(start, PATIENCE);
        flows.add(1);
        let late = start + 2 * PATIENCE;
        let health = first.rest(|| watch.look(late, PATIENCE));
        assert_eq!(health, Health { hung: vec![], any_progress: true });
        assert_eq!(watch.look(late, PATIENCE).hung, ["first"]);
        first.end();
        let later = late + 2 * PATIENCE;
        assert_eq!(watch.look(later, PATIENCE), Health { hung: vec!["second".into()], any_progress: false });
        drop((first, second));
        assert_eq!(watch.look(later, PATIENCE).hung, [""; 0]);
        assert!(watch.0.lock().unwrap().is_empty(), "a probe that is reloaded often does not grow");
    }
}
