//! The frame of a running statement: how many rows the inbox has carried on in it,
//! and what its triggers keep from one row to the next (`kept`).
//!
//! Hooks open and close frames. An error skips the closing; then the transaction
//! callbacks put back the frame of the statement that goes on, and the memory and
//! relations that were kept go with the transaction's. The functions for callbacks
//! allocate nothing and raise nothing.

use std::cell::UnsafeCell;
use std::ptr::null_mut;

use pgrx::pg_sys;

use super::kept::Kept;

/// Nested savepoints whose frame is put back on rollback.
const MAX_LEVELS: usize = 32;

/// One frame. Plain data: it stands in frames of C that an error may skip.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Frame {
    /// Rows that the inbox has carried to their partitions.
    rows: u64,
    /// Whether the rows to come are the statement's own, not those of an INSERT in its WITH.
    counts: bool,
    /// What triggers keep; null: nothing yet.
    kept: *mut Kept,
    /// Owner of what the statement holds; null: nothing can be kept in this frame.
    owner: pg_sys::ResourceOwner,
}

const NONE: Frame = Frame { rows: 0, counts: true, kept: null_mut(), owner: null_mut() };

struct State {
    frame: Frame,
    at_level: [Frame; MAX_LEVELS],
}

struct StateCell(UnsafeCell<State>);
// SAFETY: a backend is single-threaded; references to the inside end with each function.
unsafe impl Sync for StateCell {}
static STATE: StateCell =
    StateCell(UnsafeCell::new(State { frame: NONE, at_level: [NONE; MAX_LEVELS] }));

#[allow(clippy::mut_from_ref, reason = "the only access, and single-threaded")]
fn state() -> &'static mut State {
    // SAFETY: single-threaded, and no caller keeps the reference across a call of another.
    unsafe { &mut *STATE.0.get() }
}

/// Opens the frame of a statement; returns that of the one around it. `keeps`: its row
/// triggers are called by itself, not by statements of its own.
pub fn open(keeps: bool) -> Frame {
    // SAFETY: a plain global of the backend.
    let owner = if keeps { unsafe { pg_sys::CurrentResourceOwner } } else { null_mut() };
    std::mem::replace(&mut state().frame, Frame { owner, ..NONE })
}

/// Closes the frame; `outer` goes on. Returns the rows that the inbox carried on, and
/// what is to be released.
pub fn close(outer: Frame) -> (u64, *mut Kept) {
    let closed = std::mem::replace(&mut state().frame, outer);
    (closed.rows, closed.kept)
}

/// Counts a row that the inbox trigger carried to its partition.
pub fn count_inbox_row() {
    let frame = &mut state().frame;
    frame.rows += u64::from(frame.counts);
}

/// Says whether the rows that go to the inbox next add to the statement's count.
pub fn let_inbox_count(counts: bool) {
    state().frame.counts = counts;
}

/// Where the running statement keeps things; `None`: a trigger that is called now has no
/// frame of its own to keep them in.
pub fn keeper() -> Option<&'static mut *mut Kept> {
    let frame = &mut state().frame;
    // SAFETY: a plain global of the backend.
    let own = !frame.owner.is_null() && frame.owner == unsafe { pg_sys::CurrentResourceOwner };
    own.then_some(&mut frame.kept)
}

/// A transaction has ended: no statement goes on.
pub fn at_transaction_end() {
    state().frame = NONE;
}

pub fn at_savepoint_start(level: usize) {
    let state = state();
    if let Some(at_level) = state.at_level.get_mut(level) {
        *at_level = state.frame;
    }
}

pub fn at_savepoint_abort(level: usize) {
    let state = state();
    if let Some(at_level) = state.at_level.get(level) {
        state.frame = *at_level;
    }
}
