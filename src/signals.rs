//! What the operator says by signals: read when there is time for it, instead of handled at any moment.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Another signal within this time says the same once more: `timeout` and a closing terminal send two.
const ECHO: Duration = Duration::from_millis(500);

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGUSR1: log the account.
    Account,
    /// SIGHUP where there is no terminal: read files again.
    Reload,
    /// SIGTERM, SIGINT, or SIGHUP of a terminal that closes: come to an end.
    End(Signal),
    /// Any of them again: end at once.
    EndAtOnce,
    /// No signal came: look around.
    Look,
}

/// The signals that mean something, kept from doing what they otherwise do.
pub struct Signals {
    signals: SignalFd,
    /// Whether SIGHUP is a wish to read files again.
    reloads: bool,
    /// When the end was asked for.
    ending: Option<Instant>,
}

impl Signals {
    /// Must come before there is any thread, so that all inherit it. SIGHUP is left alone where it is ignored (`nohup`).
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1]);
        if !is_ignored(Signal::SIGHUP) {
            set.add(Signal::SIGHUP);
        }
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { signals, reloads: false, ending: None })
    }

    /// Takes SIGHUP for a wish to read files again, as daemons do, unless it can only come from a terminal that closes.
    pub fn reload_on_hangup(self) -> Self {
        Self { reloads: File::open("/dev/tty").is_err(), ..self }
    }

    /// Waits for the next wish, but not longer than `patience`; `None` if `other` can be read from before there is one.
    pub fn next(&mut self, other: BorrowedFd<'_>, patience: Option<Duration>) -> io::Result<Option<Wish>> {
        // a pause too long for the kernel's milliseconds may as well be none
        let timeout = patience.map_or(PollTimeout::NONE, |it| it.try_into().unwrap_or(PollTimeout::MAX));
        loop {
            while let Some(signal) = self.signals.read_signal()? {
                // the kernel's numbers are all known to nix
                let wish = Signal::try_from(signal.ssi_signo as i32).ok().and_then(|it| self.wish(it, Instant::now()));
                if wish.is_some() {
                    return Ok(wish);
                }
            }
            let mut awaited = [self.signals.as_fd(), other].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut awaited, timeout) {
                Ok(0) => return Ok(Some(Wish::Look)),
                Ok(_) if awaited[0].any() == Some(true) => {}
                Ok(_) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn wish(&mut self, signal: Signal, now: Instant) -> Option<Wish> {
        match (signal, self.ending) {
            (Signal::SIGUSR1, _) => Some(Wish::Account),
            (Signal::SIGHUP, _) if self.reloads => Some(Wish::Reload),
            (_, None) => {
                self.ending = Some(now);
                Some(Wish::End(signal))
            }
            (_, Some(asked)) if now.duration_since(asked) < ECHO => None,
            _ => Some(Wish::EndAtOnce),
        }
    }
}

/// By the mask in proc_pid_status(5), whose lowest bit is signal 1.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.unwrap_or_default() >> (signal as u32 - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(reloads: bool) -> Signals {
        Signals { signals: SignalFd::new(&SigSet::empty()).unwrap(), reloads, ending: None }
    }

    #[test]
    fn a_hangup_ends_only_what_has_a_terminal() {
        let wish = |reloads| silent(reloads).wish(Signal::SIGHUP, Instant::now());
        assert_eq!([wish(false), wish(true)], [Some(Wish::End(Signal::SIGHUP)), Some(Wish::Reload)]);
    }

    #[test]
    fn an_echo_is_no_second_signal() {
        let mut signals = silent(false);
        let now = Instant::now();
        let mut after = |milliseconds, signal| signals.wish(signal, now + Duration::from_millis(milliseconds));
        assert_eq!(after(0, Signal::SIGUSR1), Some(Wish::Account));
        assert_eq!(after(1000, Signal::SIGTERM), Some(Wish::End(Signal::SIGTERM)));
        assert_eq!(after(1001, Signal::SIGTERM), None);
        assert_eq!(after(1499, Signal::SIGHUP), None);
        assert_eq!(after(1500, Signal::SIGINT), Some(Wish::EndAtOnce));
    }
}
