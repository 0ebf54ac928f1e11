//! What the flow table is made of: atomics and memory as they are, or loom's where its model checker runs the table
//! (`RUSTFLAGS="--cfg loom"`).

#[cfg(not(loom))]
pub(crate) use crate::memory::{Zeroed, prefetch};
#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence},
    thread::yield_now,
};
pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(loom))]
pub(crate) use std::{
    sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence},
    thread::yield_now,
};

/// Something that other threads write, on cache lines of its own, so that those beside it stay where they are read.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub T);

/// loom's memory is never far away.
#[cfg(loom)]
pub(crate) fn prefetch<T>(_: &T) {}

/// loom's atomics have to be made one by one.
#[cfg(loom)]
pub(crate) struct Zeroed<T>(Box<[T]>);

#[cfg(loom)]
impl<T: Default> Zeroed<T> {
    pub fn new(length: usize) -> Option<Self> {
        Some(Self((0..length).map(|_| T::default()).collect()))
    }

    pub fn populate(&self) {}
}

#[cfg(loom)]
impl<T> std::ops::Deref for Zeroed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}
