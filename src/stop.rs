//! One order for all threads: stop.

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Raised once, seen by a thread that works and by one that waits in `poll`.
#[derive(Debug)]
pub struct Stop {
    raised: AtomicBool,
    /// Becomes readable for ever, as nobody reads it.
    event: EventFd,
}

impl Stop {
    /// Not raised.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { raised: AtomicBool::new(false), event })
    }

    /// Raises it.
    pub fn raise(&self) {
        // Relaxed: it stands for itself
        self.raised.store(true, Ordering::Relaxed);
        // writing 1 to a new eventfd cannot fail
        let _ = self.event.write(1);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
