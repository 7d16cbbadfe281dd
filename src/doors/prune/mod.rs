//! Reads by key: a plan node, PssAppend, in the place of the Append over a sharded table's
//! partitions. At each (re)scan it looks up the homes of the keys asked for, and opens those alone.
//!
//! - [`clause`]: conditions on the distribution column that name keys
//! - [`path`], [`plan`]: offering the node to the planner, and building it
//! - [`identity`]: the columns by which UPDATE and DELETE know a row again
//! - [`node`], [`choose`]: running it
//! - [`explain`]: what EXPLAIN shows of it
//!
//! Must never change a result: what is not known for sure is looked for in all partitions.

mod choose;
mod clause;
mod explain;
mod identity;
mod node;
mod path;
mod plan;

use std::cell::Cell;
use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::prelude::*;

pub use identity::name_row_identities;

static mut PREVIOUS_PATHS: pg_sys::set_rel_pathlist_hook_type = None;

thread_local! {
    /// Options of the statement being planned.
    static OPTIONS: Cell<c_int> = const { Cell::new(0) };
}

/// Installs the hook and registers the node.
pub fn init() {
    plan::register();
    // SAFETY: _PG_init runs single-threaded; the hook chains to the previous one.
    unsafe {
        PREVIOUS_PATHS = pg_sys::set_rel_pathlist_hook;
        pg_sys::set_rel_pathlist_hook = Some(add_paths);
    }
}

/// Notes the options of the statement about to be planned; returns those of the one around it.
pub fn begin_planning(options: c_int) -> c_int {
    OPTIONS.replace(options)
}

/// The statement is planned; the one around it goes on.
pub fn end_planning(outer: c_int) {
    OPTIONS.set(outer);
}

/// Whether the statement being planned is a cursor's.
fn plans_cursor() -> bool {
    OPTIONS.get() as u32 & pg_sys::CURSOR_OPT_FAST_PLAN != 0
}

#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn add_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    index: pg_sys::Index,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: arguments are passed on as they came; the helper is guarded.
    unsafe {
        if let Some(previous) = PREVIOUS_PATHS {
            previous(root, rel, index, entry);
        }
        consider(root, rel, entry);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn consider(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: a relation whose paths have just been made.
    unsafe { path::offer(root, rel, entry) }
}
