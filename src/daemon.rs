//! `nfweir run`: open, drop privileges, start, wait for signals, drain.

use crate::config::RunConfig;
use crate::latch::Latch;
use crate::metrics::Metrics;
use crate::privileges::{self, PrivilegeError};
use crate::probe::{OpenError, Probe, RunningProbe};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::AsFd;

/// Why the probe could not start, or ended with an error; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A group could not be bound, or the table not be allocated.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Privileges could not be dropped.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// A system call failed that nothing can be done without.
    #[error("{0} failed: {1}")]
    System(&'static str, io::Error),
    /// A second signal came while the flows were being exported.
    #[error("ended by a second signal: the flows that were still in the table are lost")]
    Interrupted,
}

/// Runs until a signal ends it and every flow is exported.
pub fn run(config: RunConfig) -> Result<(), RunError> {
    // blocked before there is any thread, so that all inherit it
    let mut signals = Signals::block().map_err(|error| RunError::System("blocking signals", error))?;
    let probe = Probe::open(&config.capture, config.export)?;
    privileges::drop_all_but_net_admin(config.user.as_deref())?;
    let probe = probe.start().map_err(|error| RunError::System("starting threads", error))?;
    log::info!("receiving NFLOG group {}", list(&config.capture.groups));
    let ended = wait(&probe, &mut signals);
    account(probe.metrics());
    ended?;
    probe.join().map_err(|error| RunError::System("receiving packets", error))
}

/// Until the probe is done: the first signal to end lets it finish, the second does not.
fn wait(probe: &RunningProbe, signals: &mut Signals) -> Result<(), RunError> {
    let mut stopping = false;
    loop {
        match signals.next(probe.done()).map_err(|error| RunError::System("waiting for signals", error))? {
            None => return Ok(()),
            Some(Signal::SIGUSR1) => account(probe.metrics()),
            Some(_) if stopping => return Err(RunError::Interrupted),
            Some(signal) => {
                log::info!("{signal}: capture ends, exporting every flow");
                probe.stop();
                stopping = true;
            }
        }
    }
}

fn account(metrics: &Metrics) {
    metrics.to_string().lines().for_each(|line| log::info!("{line}"));
}

fn list(groups: &[u16]) -> String {
    groups.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// The signals that mean something, to be read instead of handled.
struct Signals(SignalFd);

impl Signals {
    fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next signal, or `None` if `done` was raised before one came.
    fn next(&mut self, done: &Latch) -> io::Result<Option<Signal>> {
        loop {
            if let Some(signal) = self.0.read_signal()? {
                // the kernel's numbers are all known to nix
                return Ok(Signal::try_from(signal.ssi_signo as i32).ok());
            }
            if done.is_raised() {
                return Ok(None);
            }
            let mut awaited =
                [PollFd::new(self.0.as_fd(), PollFlags::POLLIN), PollFd::new(done.as_fd(), PollFlags::POLLIN)];
            match poll(&mut awaited, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
