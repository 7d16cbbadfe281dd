//! The worker registry: one entry a database, by which the launcher knows
//! where work is and sessions can nudge or suspend a database's worker.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64};

use super::{Layout, array, header};

/// Databases the registry has room for; others are served in turns.
pub const MAX_DATABASES: usize = 256;

/// One database. All zero: free.
#[repr(C)]
pub struct DatabaseShared {
    pub database: AtomicU32,
    /// A `State` of the worker module.
    pub state: AtomicU32,
    /// The leased worker's process; 0: none.
    pub worker_pid: AtomicI32,
    /// DDL on the database is under way in this many sessions: no worker may start.
    pub suspended: AtomicU32,
    /// TimestampTz of the last finished cycle.
    pub last_cycle: AtomicI64,
    pub cycles: AtomicU64,
    pub errors: AtomicU64,
    /// Failures in a row, for backing off.
    pub failing: AtomicU32,
    _reserved: AtomicU32,
}

pub fn all() -> &'static [DatabaseShared] {
    let Some(header) = header() else { return &[] };
    // SAFETY: offset and count of the layout's database array.
    unsafe { array(header, Layout::of(header).databases, MAX_DATABASES) }
}
