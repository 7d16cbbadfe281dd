//! Counts what the server really runs: per partition of a sharded table the
//! statements that read and wrote it, and their time.
//!
//! Four executor hooks. Their outer frames are unguarded and hold nothing with
//! a destructor, as in `doors`; a statement that touches no sharded table costs
//! a look at the list of its relations. Must never change what a statement
//! does, nor count one that failed.
//!
//! - `known`: which relations are partitions of sharded tables
//! - `open`: statements under way, and the time that is their own
//! - `touched`: which partitions a statement opened
//! - `report`: the counters as SQL functions

mod known;
mod open;
mod report;
mod touched;

use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::{guc, raw, shmem};

pub use known::invalidate;
pub use open::{at_savepoint_abort, at_savepoint_commit, at_transaction_end};

static mut PREVIOUS_START: pg_sys::ExecutorStart_hook_type = None;
static mut PREVIOUS_RUN: pg_sys::ExecutorRun_hook_type = None;
static mut PREVIOUS_FINISH: pg_sys::ExecutorFinish_hook_type = None;
static mut PREVIOUS_END: pg_sys::ExecutorEnd_hook_type = None;

/// Installs the hooks.
pub fn init() {
    // SAFETY: _PG_init runs single-threaded; every hook chains to the previous one.
    unsafe {
        PREVIOUS_START = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(start);
        PREVIOUS_RUN = pg_sys::ExecutorRun_hook;
        pg_sys::ExecutorRun_hook = Some(run);
        PREVIOUS_FINISH = pg_sys::ExecutorFinish_hook;
        pg_sys::ExecutorFinish_hook = Some(finish);
        PREVIOUS_END = pg_sys::ExecutorEnd_hook;
        pg_sys::ExecutorEnd_hook = Some(end);
    }
}

#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: arguments are passed on as they came; the helper is guarded.
    unsafe {
        before_start(query, flags);
        match PREVIOUS_START {
            Some(previous) => previous(query, flags),
            None => raw::standard_ExecutorStart(query, flags),
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    let explained = flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int != 0;
    if explained || !guc::TRACK_STATEMENTS.get() || !shmem::available() {
        return;
    }
    // SAFETY: a query about to be started; a parallel worker's share is its leader's.
    unsafe {
        if pg_sys::ParallelWorkerNumber < 0 && touched::names_sharded((*query).plannedstmt) {
            open::begin(query as usize, pg_sys::GetCurrentTransactionNestLevel());
        }
    }
}

#[cfg(not(feature = "pg18"))]
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    execute_once: bool,
) {
    // SAFETY: arguments are passed on as they came.
    unsafe {
        let timed = enter(query);
        match PREVIOUS_RUN {
            Some(previous) => previous(query, direction, count, execute_once),
            None => raw::standard_ExecutorRun(query, direction, count, execute_once),
        }
        leave(query, timed);
    }
}

#[cfg(feature = "pg18")]
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
) {
    // SAFETY: arguments are passed on as they came.
    unsafe {
        let timed = enter(query);
        match PREVIOUS_RUN {
            Some(previous) => previous(query, direction, count),
            None => raw::standard_ExecutorRun(query, direction, count),
        }
        leave(query, timed);
    }
}

/// Here AFTER triggers run; what they run of their own is taken off. A cursor that was never
/// fetched from comes here too, and has not run.
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn finish(query: *mut pg_sys::QueryDesc) {
    // SAFETY: the argument is passed on as it came.
    unsafe {
        let timed = open::has_run(query as usize) && enter(query);
        match PREVIOUS_FINISH {
            Some(previous) => previous(query),
            None => raw::standard_ExecutorFinish(query),
        }
        leave(query, timed);
    }
}

/// Starts the clock of a statement that is watched; raises nothing.
unsafe fn enter(query: *mut pg_sys::QueryDesc) -> bool {
    if !open::any() {
        return false;
    }
    // SAFETY: the raw function reads a global of the backend and raises nothing.
    #[allow(ffi_unwind_calls, reason = "raises no error")]
    let level = unsafe { raw::GetCurrentTransactionNestLevel() };
    open::enter(query as usize, level)
}

unsafe fn leave(query: *mut pg_sys::QueryDesc, timed: bool) {
    if timed {
        open::leave(query as usize);
    }
}

#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn end(query: *mut pg_sys::QueryDesc) {
    // SAFETY: the argument is passed on; the helper is guarded.
    unsafe {
        if open::any() {
            before_end(query);
        }
        match PREVIOUS_END {
            Some(previous) => previous(query),
            None => raw::standard_ExecutorEnd(query),
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_end(query: *mut pg_sys::QueryDesc) {
    if let Some(ns) = open::end(query as usize) {
        // SAFETY: a query that has run and still holds its relations.
        unsafe { touched::count(query, ns) }
    }
}
