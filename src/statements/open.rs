//! This session's statements under way: `pss_core::own_time` on a real clock.
//!
//! Called from unguarded frames and transaction callbacks: must never raise an
//! error, nor call PostgreSQL.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use pss_core::own_time::Watch;

thread_local! {
    static WATCH: RefCell<Watch> = const { RefCell::new(Watch::new()) };
    static CLOCK: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Nanoseconds on this session's clock.
fn now_ns() -> u64 {
    let now = Instant::now();
    let start = CLOCK.get().unwrap_or_else(|| {
        CLOCK.set(Some(now));
        now
    });
    now.duration_since(start).as_nanos() as u64
}

/// Whether any statement is watched.
pub fn any() -> bool {
    WATCH.with_borrow(|w| !w.is_empty())
}

/// Watches a statement that starts at savepoint depth `depth`.
pub fn begin(query: usize, depth: i32) {
    WATCH.with_borrow_mut(|w| w.begin(query, depth));
}

/// Whether the statement is watched and has had a go.
pub fn has_run(query: usize) -> bool {
    WATCH.with_borrow(|w| w.has_run(query))
}

/// Starts the clock of a statement; false if it is not watched.
pub fn enter(query: usize, depth: i32) -> bool {
    WATCH.with_borrow_mut(|w| w.enter(query, depth, now_ns()))
}

/// Stops the clock that `enter` started.
pub fn leave(query: usize) {
    WATCH.with_borrow_mut(|w| w.leave(query, now_ns()));
}

/// Ends the watch; the statement's own nanoseconds, or `None` if it never ran or is not watched.
pub fn end(query: usize) -> Option<u64> {
    WATCH.with_borrow_mut(|w| w.end(query))
}

/// A savepoint of this depth is rolled back.
pub fn at_savepoint_abort(depth: i32) {
    at_end(|w| w.savepoint_aborted(depth));
}

/// A savepoint of this depth is released.
pub fn at_savepoint_commit(depth: i32) {
    at_end(|w| w.savepoint_released(depth));
}

/// The transaction has ended.
pub fn at_transaction_end() {
    at_end(Watch::clear);
}

/// Callbacks may come when the thread's storage is gone.
fn at_end(f: impl FnOnce(&mut Watch)) {
    let _ = WATCH.try_with(|watch| {
        if let Ok(mut watch) = watch.try_borrow_mut() {
            f(&mut watch);
        }
    });
}
