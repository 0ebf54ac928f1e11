//! A flag that threads see at work, and that wakes those which wait in `poll`.

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Raised once, and for ever. Its descriptor is readable from then on, as nobody reads it.
#[derive(Debug)]
pub struct Latch {
    raised: AtomicBool,
    event: EventFd,
}

impl Latch {
    /// Not raised.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { raised: AtomicBool::new(false), event })
    }

    /// Raises it.
    pub fn raise(&self) {
        // Relaxed: no other memory is read by its order
        self.raised.store(true, Ordering::Relaxed);
        // fails only if the count is about to overflow, and then the descriptor is readable
        let _ = self.event.write(1);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }
}

impl AsFd for Latch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
