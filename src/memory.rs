//! What is done about memory being far away: arrays in huge pages, and reading ahead.
//!
//! A flow table is read at random places. With small pages nearly every packet would also miss the processor's cache of
//! page addresses.
#![expect(unsafe_code, reason = "there is no safe way to map memory, to advise huge pages, or to prefetch")]

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;
use zerocopy::FromZeros;

/// Tells the processor that this will soon be read, so that it is there by then.
#[inline]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, which accesses nothing as far as a program can tell.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Octets of a huge page: begins at a multiple of that, on x86-64 and mostly elsewhere.
const HUGE_PAGE: usize = 2 << 20;

/// An array that is zeroed when it is made and never moves.
pub struct Zeroed<T> {
    /// The mapping, of `mapped` octets.
    mapping: NonNull<c_void>,
    mapped: usize,
    /// The first huge page in it. From there on, whole huge pages hold all elements.
    start: NonNull<T>,
    length: usize,
}

// SAFETY: it owns its elements as a `Box<[T]>` does.
unsafe impl<T: Send> Send for Zeroed<T> {}
// SAFETY: as for `Send`; it gives nothing but shared references.
unsafe impl<T: Sync> Sync for Zeroed<T> {}

impl<T: FromZeros> Zeroed<T> {
    /// An array of `length` elements, at least one; `None` where there is no memory for it.
    pub fn new(length: usize) -> Option<Self> {
        const { assert!(align_of::<T>() <= HUGE_PAGE, "the elements begin at a huge page") };
        let octets = NonZeroUsize::new(length.checked_mul(size_of::<T>())?)?;
        let mapped = octets.get().checked_next_multiple_of(HUGE_PAGE)?.checked_add(HUGE_PAGE)?;
        let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: a new mapping, at a place that the kernel chooses, changes nothing that is there.
        let mapping = unsafe { mmap_anonymous(None, NonZeroUsize::new(mapped)?, protection, flags) }.ok()?;
        // SAFETY: the range is this mapping, and this advice leaves its content as it is. Without huge pages it works too.
        let _ = unsafe { madvise(mapping, mapped, MmapAdvise::MADV_HUGEPAGE) };
        // SAFETY: less than a huge page further it is still within the mapping, which is a huge page longer than needed.
        let start = unsafe { mapping.byte_add(mapping.align_offset(HUGE_PAGE)) };
        Some(Self { mapping, mapped, start: start.cast(), length })
    }
}

impl<T> Zeroed<T> {
    /// Has all of it mapped now, as far as the kernel can (since Linux 5.14), rather than at each first touch.
    pub fn populate(&self) {
        let octets = (self.length * size_of::<T>()).next_multiple_of(HUGE_PAGE);
        // SAFETY: the range is within this mapping, and this advice leaves its content as it is.
        let _ = unsafe { madvise(self.start.cast(), octets, MmapAdvise::MADV_POPULATE_WRITE) };
    }
}

impl<T> Deref for Zeroed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `start` is in the mapping made in `new`, aligned for T and with room for `length` of them. Its zeroes are
        // valid as T (`FromZeros`), and it stays until the drop, as nobody else knows of it.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T> Drop for Zeroed<T> {
    fn drop(&mut self) {
        const { assert!(!std::mem::needs_drop::<T>(), "the elements are not dropped") };
        // SAFETY: the mapping made in `new`; the borrows of its elements have ended. Unmapping a whole mapping cannot fail.
        let _ = unsafe { munmap(self.mapping, self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn it_is_zeroed_and_keeps_what_is_written() {
        let array = Zeroed::<AtomicU64>::new(1 << 20).unwrap();
        assert_eq!(array.len(), 1 << 20);
        assert!(array.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        array[1 << 19].store(7, Ordering::Relaxed);
        assert_eq!(array[1 << 19].load(Ordering::Relaxed), 7);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Zeroed::<u64>::new(usize::MAX).is_none());
        assert!(Zeroed::<u64>::new(usize::MAX / 16).is_none());
        assert!(Zeroed::<u64>::new(0).is_none());
    }
}
