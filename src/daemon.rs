//! `nfweir run`: open, drop privileges, start, wait for signals, drain.

use crate::check;
use crate::config::{RunConfig, RunOptions};
use crate::control::{self, SocketError};
use crate::flow::expiry::Timeouts;
use crate::latch::Latch;
use crate::metrics::Metrics;
use crate::privileges::{self, PrivilegeError};
use crate::probe::{OpenError, Probe, StartError};
use crate::prometheus::{ListenError, Server};
use crate::reload::Reloader;
use crate::rules::own_rules::{OwnRules, OwnRulesError};
use crate::rules::own_traffic;
use crate::rules::plan::Plan;
use crate::service::{self, Watchdog};
use crate::signals::{Signals, Wish};
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

/// Why the probe could not start, or ended with an error; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A group could not be bound, or the table not be allocated.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A collector cannot be spoken to, or no thread be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The probe's own rules could not be loaded.
    #[error(transparent)]
    Rules(#[from] OwnRulesError),
    /// Privileges could not be dropped.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// Nobody could ask for the counters.
    #[error(transparent)]
    Metrics(#[from] ListenError),
    /// The control socket that was asked for could not be made.
    #[error(transparent)]
    Control(#[from] SocketError),
    /// A system call failed that nothing can be done without.
    #[error("{0} failed: {1}")]
    System(&'static str, io::Error),
    /// A second signal came while the flows were being exported.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Why flows were not exported; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// The operator would not wait.
    #[error("ended by a second signal: the flows that were still in the table are lost")]
    Again,
    /// Nobody can say what the operator wants.
    #[error("waiting for signals failed: {0}")]
    Signals(#[from] io::Error),
}

/// Runs until a signal ends it and every flow is exported. `options` are what `config` was made of, for when the file has
/// changed.
pub fn run(options: &RunOptions, config: RunConfig) -> Result<(), RunError> {
    let signals = Signals::block().map_err(|error| RunError::System("blocking signals", error))?;
    // before packets come, which would wait, and while rules may be read
    check::warn(&config);
    let plan = config.rules.clone().map(|plan| Plan { exports: own_traffic::of(&config.export.destinations), ..plan });
    let probe = Probe::open(&config.capture, config.export.clone())?;
    let rules = plan.as_ref().map(OwnRules::load).transpose()?;
    control::socket::prepare(&config.control, privileges::successor(config.user.as_deref())?.as_ref());
    privileges::drop_all_but_net_admin(config.user.as_deref())?;
    let socket = control::socket::open(&config.control)?;
    let server = config.metrics.map(Server::bind).transpose()?;
    let probe = probe.start()?;
    if let Some(server) = server {
        log::info!("Prometheus finds the counters at http://{}/metrics", server.address());
        server.start(probe.metrics())?;
    }
    let serve = |socket| control::serve(socket, probe.overseer().clone());
    let control = socket.map(serve).transpose().map_err(|error| RunError::System("starting a thread", error))?;
    announce(&config);
    let mut watchdog = Watchdog::new(probe.watch().clone());
    let mut reloader = Reloader::new(options, config, rules.as_ref().zip(plan));
    let ended = wait(signals.reload_on_hangup(), probe.done(), probe.metrics(), &mut watchdog, |order| match order {
        Order::Stop => probe.stop(),
        Order::Reload if probe.overseer().is_stopping() => {
            // the export thread would not come to it any more
            log::error!("SIGHUP: nothing is changed: the probe comes to its end");
        }
        Order::Reload => {
            service::reloading();
            reloader.reload(&probe);
            service::ready(&status(reloader.config()));
        }
    });
    account(probe.metrics());
    drop(rules);
    ended?;
    let joined = probe.join();
    // who asked for the end is told that all is over
    drop(control);
    joined.map_err(|error| RunError::System("receiving packets", error))
}

/// Says that the probe is at work, and where flows go where no collector is given.
fn announce(config: &RunConfig) {
    let Timeouts { inactive, active, .. } = config.export.timeouts;
    log::info!("receiving NFLOG group {}", list(&config.capture.groups));
    if goes_nowhere(config) {
        log::warn!(
            "no collector is given: flows are captured, but go nowhere until `export` names one in the configuration"
        );
    } else if config.export.destinations.is_empty() {
        log::info!(
            "no collector is given: flows are printed, {inactive:?} after their last packet or every {active:?}"
        );
    }
    service::ready(&status(config));
}

/// What the service manager shows.
fn status(config: &RunConfig) -> String {
    let nowhere = if goes_nowhere(config) { "; no collector is given" } else { "" };
    format!("receiving NFLOG group {}{nowhere}", list(&config.capture.groups))
}

/// A service has no standard output that anybody would look for flows in.
fn goes_nowhere(config: &RunConfig) -> bool {
    config.export.destinations.is_empty() && service::is_one()
}

/// What a signal has others do.
pub enum Order {
    /// Come to an end.
    Stop,
    /// Read files again.
    Reload,
}

/// Until all is done: the first signal to end lets it come to an end, the second does not.
pub fn wait(
    mut signals: Signals,
    done: &Latch,
    metrics: &Metrics,
    watchdog: &mut Watchdog,
    mut obey: impl FnMut(Order),
) -> Result<(), Interrupted> {
    while let Some(wish) = signals.next(done.as_fd(), watchdog.period())? {
        watchdog.look(Instant::now());
        match wish {
            Wish::Look => {}
            Wish::Account => account(metrics),
            Wish::End(signal) => {
                log::info!("{signal}: capture ends, exporting every flow");
                watchdog.end();
                obey(Order::Stop);
            }
            Wish::Reload => obey(Order::Reload),
            Wish::EndAtOnce => return Err(Interrupted::Again),
        }
    }
    Ok(())
}

/// Logs the account.
pub fn account(metrics: &Metrics) {
    metrics.to_string().lines().for_each(|line| log::info!("{line}"));
}

fn list(groups: &[u16]) -> String {
    groups.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
