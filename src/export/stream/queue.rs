//! Between the export thread and the thread of one collector: records that wait to be sent, at most so many.

use crate::export::encoder::Sums;
use crate::export::facts::Facts;
use crate::flow::FlowRecord;
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A flow, the other direction of it if that is known, and when it was exported.
pub type Exported = (FlowRecord, Option<Box<FlowRecord>>, Timestamp);

/// The records that wait, in order.
pub struct Queue {
    state: Mutex<State>,
    /// Told of every change of the state.
    changed: Condvar,
    /// Most records that wait.
    limit: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Exported>,
    /// There is a connection that takes them.
    connected: bool,
    /// No more will come.
    ended: bool,
    /// What is to be told of from now on, if that has changed.
    news: Option<Arc<Facts>>,
}

impl Queue {
    /// For at most `limit` records.
    pub fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), limit }
    }

    /// Most records that wait.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Records that wait.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Appends records. Where there is no room, waits for it for at most `patience`, as long as there is a connection; then
    /// the oldest have to go. Says what those come to, and whether it waited in vain.
    pub fn put(&self, records: &mut Vec<Exported>, patience: Duration) -> (Sums, bool) {
        let (mut state, mut in_vain) = (self.lock(), false);
        let mut rest = records.drain(..);
        loop {
            let room = self.limit.saturating_sub(state.waiting.len());
            state.waiting.extend(rest.by_ref().take(room));
            if rest.len() == 0 {
                break;
            }
            self.changed.notify_all();
            let no_room = |state: &mut State| state.connected && state.waiting.len() >= self.limit;
            (state, in_vain) = self.wait(state, patience, no_room);
            if in_vain || !state.connected {
                state.waiting.extend(rest);
                break;
            }
        }
        let lost = state.shorten(self.limit);
        self.changed.notify_all();
        (lost, in_vain)
    }

    /// Puts back what was taken, in front. Says what those come to for which there is no room any more.
    pub fn put_back(&self, records: Vec<Exported>) -> Sums {
        let mut state = self.lock();
        records.into_iter().rev().for_each(|record| state.waiting.push_front(record));
        state.shorten(self.limit)
    }

    /// Takes at most `most` records into `taken`, and waits for any for at most `patience`. Says whether no more will come
    /// than those that are there.
    pub fn take(&self, most: usize, patience: Duration, taken: &mut Vec<Exported>) -> bool {
        let state = self.lock();
        let (mut state, _) = self.wait(state, patience, |state| state.waiting.is_empty() && !state.ended);
        let count = most.min(state.waiting.len());
        taken.extend(state.waiting.drain(..count));
        self.changed.notify_all();
        state.ended
    }

    /// Waits for at most `patience`, unless no more records come.
    pub fn rest(&self, patience: Duration) {
        drop(self.wait(self.lock(), patience, |state| !state.ended));
    }

    /// Has records encoded by these facts from now on.
    pub fn tell(&self, facts: Arc<Facts>) {
        self.lock().news = Some(facts);
    }

    /// The facts that were told since the last time.
    pub fn news(&self) -> Option<Arc<Facts>> {
        self.lock().news.take()
    }

    /// Says whether there is a connection from now on.
    pub fn set_connected(&self, connected: bool) {
        self.lock().connected = connected;
        self.changed.notify_all();
    }

    /// Waits for a connection for at most `patience`, and says whether there is one.
    pub fn await_connected(&self, patience: Duration) -> bool {
        let state = self.lock();
        self.wait(state, patience, |state| !state.connected).0.connected
    }

    /// Lets no more records come.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Whether there is a connection.
    pub fn connected(&self) -> bool {
        self.lock().connected
    }

    /// Whether no more records come.
    pub fn ended(&self) -> bool {
        self.lock().ended
    }

    /// Whether none are left, and no more come.
    pub fn finished(&self) -> bool {
        let state = self.lock();
        state.ended && state.waiting.is_empty()
    }

    /// What all that wait come to, which are gone then.
    pub fn lose(&self) -> Sums {
        self.lock().shorten(0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While it is so, but for at most `patience`; and whether it still is.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        patience: Duration,
        so: impl Fn(&mut State) -> bool,
    ) -> (MutexGuard<'a, State>, bool) {
        let result = self.changed.wait_timeout_while(state, patience, |state| so(state));
        let (state, timeout) = result.unwrap_or_else(PoisonError::into_inner);
        (state, timeout.timed_out())
    }
}

impl State {
    /// Removes the oldest, down to so many.
    fn shorten(&mut self, limit: usize) -> Sums {
        let mut lost = Sums::default();
        let too_many = self.waiting.len().saturating_sub(limit);
        for (flow, reverse, _) in self.waiting.drain(..too_many) {
            lost.add_all(&Sums::of_one([&flow].into_iter().chain(reverse.as_deref())));
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;

    fn records(packets: impl IntoIterator<Item = u64>) -> Vec<Exported> {
        packets.into_iter().map(|packets| (FlowRecord { packets, ..record() }, None, Timestamp::default())).collect()
    }

    fn packets(records: &[Exported]) -> Vec<u64> {
        records.iter().map(|(flow, ..)| flow.packets).collect()
    }

    fn take(queue: &Queue, most: usize) -> Vec<u64> {
        let mut taken = Vec::new();
        queue.take(most, Duration::ZERO, &mut taken);
        packets(&taken)
    }

    #[test]
    fn without_a_connection_the_oldest_have_to_go() {
        let queue = Queue::new(3);
        let nothing = (Sums::default(), false);
        assert_eq!(queue.put(&mut records([1, 2]), Duration::MAX), nothing);
        let (lost, waited) = queue.put(&mut records([3, 4]), Duration::MAX);
        assert_eq!((lost.records, lost.packets, waited), (1, 1, false));
        assert_eq!(take(&queue, 2), [2, 3]);
        assert_eq!(take(&queue, 2), [4]);
    }

    #[test]
    fn with_one_it_is_waited_for_room() {
        let queue = Queue::new(2);
        queue.set_connected(true);
        queue.put(&mut records([1, 2]), Duration::ZERO);
        let (lost, waited) = queue.put(&mut records([3]), Duration::ZERO);
        assert_eq!((lost.packets, waited), (1, true));
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(queue.put(&mut records([4]), Duration::MAX).0, Sums::default()));
            let mut taken = Vec::new();
            while taken.len() < 3 {
                queue.take(1, Duration::MAX, &mut taken);
            }
            assert_eq!(packets(&taken), [2, 3, 4]);
        });
    }

    #[test]
    fn more_than_it_holds_goes_through_piece_by_piece() {
        let queue = Queue::new(2);
        queue.set_connected(true);
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(queue.put(&mut records(0..9), Duration::MAX).0, Sums::default()));
            let mut taken = Vec::new();
            while taken.len() < 9 {
                queue.take(1, Duration::MAX, &mut taken);
            }
            assert_eq!(packets(&taken), (0..9).collect::<Vec<_>>());
        });
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let queue = Queue::new(4);
        queue.put(&mut records([3, 4]), Duration::ZERO);
        let lost = queue.put_back(records([0, 1, 2]));
        assert_eq!((lost.records, lost.packets), (1, 0));
        assert_eq!(take(&queue, 9), [1, 2, 3, 4]);
    }

    #[test]
    fn an_end_wakes_who_waits() {
        let queue = Queue::new(1);
        queue.end();
        queue.rest(Duration::MAX);
        assert!(queue.take(1, Duration::MAX, &mut Vec::new()) && queue.finished());
    }
}
