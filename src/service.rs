//! What the service manager is told (sd_notify(3)): that the probe is ready, that it ends, and that its threads get on.
//! Nothing is said where nobody listens.

use crate::watch::Watch;
use sd_notify::NotifyState;
use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often something is said of the end, which may take as long as it gets on.
const WHILE_ENDING: Duration = Duration::from_secs(10);
/// How long the manager is to wait for the next word.
const EXTENSION: Duration = Duration::from_secs(30);
/// A turn may take this long at least: paced export sleeps for up to eight messages.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(5);

/// Whether this is a service whose manager listens (`Type=notify`).
pub fn is_one() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// Everything is open, and privileges are dropped. `status` is a line for the operator.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Configuration or files are being read again; [`ready`] follows.
pub fn reloading() {
    // what systemd wants to know since version 253
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The end has begun; flows are still being exported.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("exporting every flow")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told how it goes ({error}): see that NOTIFY_SOCKET names its socket");
    }
}

/// Feeds the manager's watchdog as long as all threads get on.
pub struct Watchdog {
    threads: Arc<Watch>,
    /// How often it is to be fed; `None` where nobody listens.
    period: Option<Duration>,
    patience: Duration,
    ending: bool,
    /// Whether it was said that threads hang.
    complained: bool,
}

impl Watchdog {
    /// By the manager's `WATCHDOG_USEC`.
    pub fn new(threads: Arc<Watch>) -> Self {
        let period = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        let patience = period.unwrap_or_default().max(SHORTEST_PATIENCE);
        let period = period.or(is_one().then_some(WHILE_ENDING));
        Self { threads, period, patience, ending: false, complained: false }
    }

    /// How long may be waited until the next look.
    pub fn period(&self) -> Option<Duration> {
        self.period
    }

    /// From now on, the end may take as long as anything gets on.
    pub fn end(&mut self) {
        self.ending = true;
        self.period = self.period.map(|period| period.min(WHILE_ENDING));
        stopping();
    }

    /// Looks at the threads at `now`, and says that they get on if they do.
    pub fn look(&mut self, now: Instant) {
        if self.period.is_none() {
            return;
        }
        let health = self.threads.look(now, self.patience);
        if self.ending {
            if health.any_progress {
                tell(&[NotifyState::ExtendTimeoutUsec(EXTENSION.as_micros() as u32)]);
            }
        } else if health.hung.is_empty() {
            self.complained = false;
            tell(&[NotifyState::Watchdog]);
        } else if !std::mem::replace(&mut self.complained, true) {
            let (threads, seconds) = (health.hung.join(", "), self.patience.as_secs());
            log::error!(
                "thread {threads} has not got on for {seconds} s: the service manager's watchdog is fed no more"
            );
        }
    }
}
