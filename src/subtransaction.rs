//! Doing what may fail, and going on: a log holds statements that were wrong, a lock may not be
//! free in time.
//!
//! Must never swallow what is meant for the session: a cancel, a shutdown, no memory.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, PgTryBuilder};

/// Runs `f` in a subtransaction and in a memory context of its own; `None` if it failed by a fault
/// of what was tried.
pub fn attempt<R>(f: impl FnOnce() -> R) -> Option<R> {
    forgiving(f, is_fault_of_the_statement)
}

/// Likewise; `None` if it failed because something is not there (58P01).
pub fn if_there<R>(f: impl FnOnce() -> R) -> Option<R> {
    forgiving(f, |code| code == PgSqlErrorCode::ERRCODE_UNDEFINED_FILE)
}

/// Likewise; `None` if it failed because a lock was not free within lock_timeout (55P03).
pub fn if_lock_is_free<R>(f: impl FnOnce() -> R) -> Option<R> {
    forgiving(f, |code| code == PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE)
}

/// `None` if `f` failed with an error that is `forgiven`; any other goes on.
#[allow(clippy::result_large_err, reason = "the error of pgrx is as large as it is")]
fn forgiving<R>(f: impl FnOnce() -> R, forgiven: fn(PgSqlErrorCode) -> bool) -> Option<R> {
    // SAFETY: a subtransaction is begun and ended in pairs, with memory context and resource
    // owner put back, as PL/pgSQL does for an exception block. What `f` returns is Rust's.
    unsafe {
        let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        // Below the caller's context: it outlives the subtransaction, and goes with the caller.
        let mut scratch = PgMemoryContexts::new("pss subtransaction");
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        let outcome = PgTryBuilder::new(AssertUnwindSafe(|| Ok(scratch.switch_to(|_| f()))))
            .catch_others(Err)
            .execute();
        match &outcome {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        drop(scratch);
        match outcome {
            Ok(value) => Some(value),
            Err(CaughtError::PostgresError(e) | CaughtError::ErrorReport(e))
                if forgiven(e.sql_error_code()) =>
            {
                None
            }
            Err(error) => error.rethrow(),
        }
    }
}

fn is_fault_of_the_statement(code: PgSqlErrorCode) -> bool {
    // Classes of SQLSTATE: no resources, operator intervention, system errors.
    let not_ours = ["53", "57", "58"];
    let state = sqlstate(code as i32);
    !not_ours.iter().any(|class| state.starts_with(class))
}

/// The five characters of an error code, six bits each.
fn sqlstate(code: i32) -> String {
    (0..5).map(|i| char::from((((code >> (6 * i)) & 0x3f) as u8) + b'0')).collect()
}
