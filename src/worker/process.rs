//! What both background processes share: signals, waiting on the latch,
//! transactions that survive errors.
//!
//! SIGTERM sets a flag and cancels the running statement, so that a process
//! leaves within a second by its own path, not by FATAL. Waits are on the
//! latch, never sleeps.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;

use crate::error::{PssError, Result};

/// Raw declarations: a signal handler or a transaction callback must not go
/// through the guards of `pg_sys`. None of these raises an error.
mod raw {
    unsafe extern "C" {
        pub fn SetLatch(latch: *mut pgrx::pg_sys::Latch);
        pub fn kill(pid: i32, signal: i32) -> i32;
    }
}

static SHUTDOWN: AtomicBool = AtomicBool::new(false);

/// Whether the process was asked to go.
pub fn shutdown_requested() -> bool {
    SHUTDOWN.load(Ordering::Relaxed)
}

unsafe extern "C-unwind" fn on_sigterm(_signal: i32) {
    SHUTDOWN.store(true, Ordering::Relaxed);
    // SAFETY: sig_atomic_t flags and the process's own latch, as in
    // PostgreSQL's StatementCancelHandler.
    unsafe {
        (&raw mut pg_sys::QueryCancelPending).write_volatile(1);
        (&raw mut pg_sys::InterruptPending).write_volatile(1);
        raw::SetLatch(pg_sys::MyLatch);
    }
}

unsafe extern "C-unwind" fn on_sighup(_signal: i32) {
    // SAFETY: as above.
    unsafe {
        (&raw mut pg_sys::ConfigReloadPending).write_volatile(1);
        raw::SetLatch(pg_sys::MyLatch);
    }
}

/// Installs the handlers and lets signals in.
pub fn attach_signals() {
    #[cfg(not(feature = "pg18"))]
    use pg_sys::pqsignal;
    #[cfg(feature = "pg18")]
    use pg_sys::pqsignal_be as pqsignal;
    // SAFETY: called first thing in a background worker's main function.
    unsafe {
        pqsignal(pg_sys::SIGTERM as i32, Some(on_sigterm));
        pqsignal(pg_sys::SIGHUP as i32, Some(on_sighup));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Wakes a process of the server: SIGUSR1 sets its latch. Safe in callbacks.
pub fn wake(pid: i32) {
    signal(pid, pg_sys::SIGUSR1 as i32);
}

/// Asks a background process of ours to go. Safe in callbacks.
pub fn terminate(pid: i32) {
    signal(pid, pg_sys::SIGTERM as i32);
}

fn signal(pid: i32, signal: i32) {
    if pid > 0 {
        // SAFETY: `pid` comes from shared memory, where processes enter
        // themselves and take themselves out before they exit.
        unsafe { raw::kill(pid, signal) };
    }
}

/// Waits for the latch or the time-out; reloads the configuration if asked to.
pub fn wait(timeout: Duration) {
    let flags = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the process's own latch.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            flags as i32,
            timeout.as_millis() as std::ffi::c_long,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    if shutdown_requested() {
        return;
    }
    pgrx::check_for_interrupts!();
    // SAFETY: a flag of this process, and what PostgreSQL's own processes do about it.
    unsafe {
        if (&raw const pg_sys::ConfigReloadPending).read_volatile() != 0 {
            (&raw mut pg_sys::ConfigReloadPending).write_volatile(0);
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// What a failed transaction left to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: PgSqlErrorCode,
    pub message: String,
}

impl From<PssError> for Failure {
    fn from(e: PssError) -> Self {
        Failure { code: e.code(), message: e.to_string() }
    }
}

impl From<Failure> for PssError {
    fn from(failure: Failure) -> Self {
        PssError::new(failure.code, failure.message)
    }
}

impl Failure {
    /// The SQLSTATE, five characters.
    pub fn sqlstate(&self) -> String {
        // SAFETY: unpacks into a static buffer of six bytes.
        unsafe {
            let text = pg_sys::unpack_sql_state(self.code as i32);
            std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

/// Runs `f` in a transaction of its own: committed if it returns `Ok`, rolled
/// back on `Err`, on an ERROR and on a panic, none of which go further.
pub fn transaction<R>(f: impl FnOnce() -> Result<R>) -> std::result::Result<R, Failure> {
    // SAFETY: a background process outside a transaction; every path below
    // ends the transaction.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let body = AssertUnwindSafe(|| {
        let value = f()?;
        // SAFETY: the snapshot and the transaction from above. A commit can
        // fail too, and must be caught like the rest.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(value)
    });
    let outcome = PgTryBuilder::new(body).catch_others(|e| Err(caught(e))).execute();
    if outcome.is_err() {
        // SAFETY: ends the failed transaction and releases all it held.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    // SAFETY: sends what this process counted (it has no client loop to do it).
    unsafe { pg_sys::pgstat_report_stat(false) };
    outcome.map_err(Failure::from)
}

pub fn caught(error: CaughtError) -> PssError {
    let report = match &error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => report,
        CaughtError::RustPanic { ereport, .. } => ereport,
    };
    PssError::new(report.sql_error_code(), report.message())
}

/// What pg_stat_activity shows: `Some` while at work, `None` while waiting.
pub fn report_activity(activity: Option<&std::ffi::CStr>) {
    // SAFETY: the text is copied.
    unsafe {
        match activity {
            Some(text) => {
                pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr())
            }
            None => {
                pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null())
            }
        }
    }
}
