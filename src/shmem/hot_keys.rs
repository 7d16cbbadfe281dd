//! The hot keys of each table: which keys bring much of its rows lately
//! (`pss_core::heavy`). Sessions count for themselves and bring their counts here.
//!
//! Holds hashes, never keys. One lock guards all sketches, for microseconds; who
//! finds it taken comes again: nobody waits to be counted.

use std::cell::UnsafeCell;

use pgrx::pg_sys;
use pss_core::heavy::{Counter, Head, Heavy, Sketch};

use super::tables::{self, TableShared};
use super::{HOT_KEYS_LOCK, Layout, array, header, lwlock};
use crate::{clock, raw};

/// Time after which a row counts half: five minutes, in microseconds.
pub const HALF_LIFE_US: i64 = 300_000_000;

/// A cell of a sketch, used under the lock alone.
#[repr(transparent)]
pub(super) struct Guarded<T>(UnsafeCell<T>);
// SAFETY: the lock keeps processes apart, and a backend is single-threaded.
unsafe impl<T> Sync for Guarded<T> {}

pub(super) type HeadShared = Guarded<Head>;
pub(super) type CounterShared = Guarded<Counter>;

/// Adds what a session has counted, unless the lock is taken: then false.
pub fn add(table: &TableShared, counted: &Sketch<'_>) -> bool {
    let (lock, now) = (lwlock(HOT_KEYS_LOCK), clock::now());
    // SAFETY: a lock of our tranche, released below; the sketch raises nothing.
    #[allow(ffi_unwind_calls, reason = "raises no error")]
    unsafe {
        if !raw::LWLockConditionalAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE) {
            return false;
        }
        if let Some(mut sketch) = sketch_of(table) {
            sketch.merge(counted, now);
        }
        raw::LWLockRelease(lock);
    }
    true
}

/// The table's keys, those that are certain to be hottest first.
pub fn read(table: &TableShared) -> Vec<Heavy> {
    // What cannot fail is done under the lock: a copy.
    let mut copy = Vec::with_capacity(tracked());
    let mut head = Head::default();
    locked(|| {
        // SAFETY: under the lock.
        if let Some((shared, counters)) = unsafe { parts_of(table) } {
            head = *shared;
            copy.extend_from_slice(counters);
        }
    });
    Sketch::over(&mut head, &mut copy, HALF_LIFE_US).heaviest(clock::now())
}

/// Forgets what was counted: the entry is another table's from now on, or counters are reset.
pub fn clear(table: &TableShared) {
    locked(|| {
        // SAFETY: under the lock.
        if let Some(mut sketch) = unsafe { sketch_of(table) } {
            sketch.clear();
        }
    });
}

/// Keys that a sketch has room for; 0: nothing is counted.
pub fn tracked() -> usize {
    header().map_or(0, |header| header.hot_keys as usize)
}

fn locked(f: impl FnOnce()) {
    let lock = lwlock(HOT_KEYS_LOCK);
    // SAFETY: a lock of our tranche, released below; `f` touches plain memory only.
    unsafe {
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        f();
        pg_sys::LWLockRelease(lock);
    }
}

/// # Safety
/// Under the lock, until the result is used no more.
unsafe fn sketch_of(table: &TableShared) -> Option<Sketch<'static>> {
    // SAFETY: as stated.
    let (head, counters) = unsafe { parts_of(table) }?;
    Some(Sketch::over(head, counters, HALF_LIFE_US))
}

/// # Safety
/// Under the lock, until the result is used no more.
unsafe fn parts_of(table: &TableShared) -> Option<(&'static mut Head, &'static mut [Counter])> {
    let header = header()?;
    let (layout, n) = (Layout::of(header), header.hot_keys as usize);
    let at = tables::index_of(header, table);
    // SAFETY: offsets and counts of the layout's arrays; zeroed memory is an empty sketch, cells
    // have the layout of what is in them, and the lock makes this the only reference.
    unsafe {
        let heads: &[HeadShared] = array(header, layout.hot_heads, header.tables as usize);
        let counters: &[CounterShared] =
            array(header, layout.hot_counters, header.tables as usize * n);
        let first = counters.as_ptr().add(at * n).cast_mut().cast::<Counter>();
        Some((&mut *heads[at].0.get(), std::slice::from_raw_parts_mut(first, n)))
    }
}
