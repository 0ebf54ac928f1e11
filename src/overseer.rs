//! What another thread sees of a running probe, and can have it do; nobody that counts packets notices.

use crate::export::Exporter;
use crate::latch::Latch;
use crate::metrics::Metrics;
use crate::watch::Progress;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Thread};
use std::time::Instant;

/// Tasks that may wait for the export thread.
const WAITING_TASKS: usize = 64;

/// Something that the export thread does between two looks at the flows, so it should be short.
pub type Task = Box<dyn FnOnce(&mut Exporter) + Send>;

/// A handle to a running probe.
#[derive(Clone)]
pub struct Overseer {
    /// The counters.
    pub metrics: Arc<Metrics>,
    stop: Arc<Latch>,
    tasks: SyncSender<Task>,
    exporter: Thread,
}

/// The export thread does not take the task: it has too many, or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Room for tasks, and where the export thread finds them.
pub fn tasks() -> (SyncSender<Task>, Tasks) {
    let (sender, receiver) = sync_channel(WAITING_TASKS);
    (sender, Tasks(receiver))
}

impl Overseer {
    /// Of the probe with this export thread, which does these tasks and ends some time after this stop.
    pub fn new(metrics: Arc<Metrics>, stop: Arc<Latch>, tasks: SyncSender<Task>, exporter: Thread) -> Self {
        Self { metrics, stop, tasks, exporter }
    }

    /// Has the export thread do something.
    pub fn order(&self, task: Task) -> Result<(), Refused> {
        self.tasks.try_send(task).map_err(|_| Refused)?;
        self.exporter.unpark();
        Ok(())
    }

    /// The same, but waits until it takes the task; refused only where it has ended.
    pub fn insist(&self, task: Task) -> Result<(), Refused> {
        self.tasks.send(task).map_err(|_| Refused)?;
        self.exporter.unpark();
        Ok(())
    }

    /// Tells the capture threads to end; the export thread ends after the last of them, when every flow is exported.
    pub fn stop(&self) {
        self.stop.raise();
    }

    /// Whether they were told.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_raised()
    }
}

/// The export thread's side.
pub struct Tasks(Receiver<Task>);

impl Tasks {
    /// Does what waits, each a turn of the thread; whether there was anything.
    pub fn work(&self, exporter: &mut Exporter, progress: &Progress) -> bool {
        let work = |task: Task| {
            task(exporter);
            progress.turn();
        };
        let any = self.0.try_iter().take(WAITING_TASKS).map(work).count() > 0;
        if any {
            exporter.note_fill();
        }
        any
    }

    /// Does what comes until it is time for the `next` look at the flows, or until the thread is woken for another reason.
    pub fn work_until(&self, next: Instant, exporter: &mut Exporter, progress: &Progress) {
        loop {
            thread::park_timeout(next.saturating_duration_since(Instant::now()));
            let woken_for_tasks =
                self.work(exporter, progress) && !exporter.harvester.crowded() && !exporter.harvester.abandoned();
            if !woken_for_tasks || Instant::now() >= next {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::expiry::Timeouts;
    use crate::flow::table;
    use crate::watch::Watch;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// However long all of them take.
    #[test]
    fn each_task_is_progress() {
        let timeouts = Timeouts { inactive: Duration::ZERO, active: Duration::ZERO, by_connection: false };
        let mut exporter = Exporter::new(table::new(16, 1).unwrap().1, timeouts, Vec::new(), Arc::default());
        let (watch, progress, patience) = (Watch::default(), Arc::<Progress>::default(), Duration::from_secs(5));
        watch.add("export", progress.clone(), || 0);
        let begun = Instant::now();
        watch.look(begun, patience);
        let ((orders, tasks), (seen, health)) = (tasks(), channel());
        orders.send(Box::new(|_| {})).unwrap();
        orders.send(Box::new(move |_| seen.send(watch.look(begun + 2 * patience, patience)).unwrap())).unwrap();
        assert!(tasks.work(&mut exporter, &progress));
        assert!(health.recv().unwrap().hung.is_empty());
    }
}
