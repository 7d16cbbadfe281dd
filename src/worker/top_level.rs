//! Utility commands that end transactions of their own (REINDEX ... CONCURRENTLY), run by a
//! background process as a client's would be.
//!
//! Must never be called inside a transaction.

use std::ffi::CString;
use std::panic::AssertUnwindSafe;
use std::ptr::null_mut;

use pgrx::prelude::*;

use super::process::{Failure, caught};

/// Runs one command. A failure goes no further; what the command did before it may stand.
pub fn run(command: &str) -> Result<(), Failure> {
    let text = CString::new(command).unwrap_or_default();
    // SAFETY: the context is ours, and outlives the command's own transactions.
    let context = unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pss utility command".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    };
    let body = AssertUnwindSafe(|| {
        // SAFETY: outside a transaction, as this function demands; `context` as above.
        unsafe { execute(&text, context) };
        Ok(())
    });
    let outcome = PgTryBuilder::new(body).catch_others(|e| Err(caught(e))).execute();
    // SAFETY: ends the failed transaction; then nothing uses the context any more.
    unsafe {
        if outcome.is_err() {
            pg_sys::AbortCurrentTransaction();
        }
        pg_sys::PortalContext = null_mut();
        pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        pg_sys::MemoryContextDelete(context);
        pg_sys::pgstat_report_stat(false);
    }
    outcome.map_err(Failure::from)
}

/// # Safety
/// Outside a transaction; `context` outlives the command.
unsafe fn execute(text: &CString, context: pg_sys::MemoryContext) {
    // SAFETY: the command's tree lives in `context`; the parser returns a list of one statement.
    unsafe {
        // Concurrent commands keep their notes there.
        pg_sys::PortalContext = context;
        pg_sys::StartTransactionCommand();
        pg_sys::MemoryContextSwitchTo(context);
        let parsed = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let raw = (*(*parsed).elements).ptr_value.cast::<pg_sys::RawStmt>();
        let size = size_of::<pg_sys::PlannedStmt>();
        let statement = pg_sys::palloc0(size).cast::<pg_sys::PlannedStmt>();
        (*statement).type_ = pg_sys::NodeTag::T_PlannedStmt;
        (*statement).commandType = pg_sys::CmdType::CMD_UTILITY;
        (*statement).canSetTag = true;
        (*statement).utilityStmt = (*raw).stmt;
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        pg_sys::ProcessUtility(
            statement,
            text.as_ptr(),
            false,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL,
            null_mut(),
            null_mut(),
            pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
            null_mut(),
        );
        if pg_sys::ActiveSnapshotSet() {
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommitTransactionCommand();
    }
}
