//! What must happen when a transaction or savepoint ends: claims released,
//! counts of an aborted transaction taken back.
//!
//! An ERROR raised in these callbacks at commit would take the server down.
//! They are raw, allocate nothing, raise nothing and work on state laid out in
//! advance.

use std::cell::UnsafeCell;
use std::ffi::c_void;

use pgrx::prelude::*;
use pss_core::level::CLASSES;

use crate::error::PssError;
use crate::shmem::claims;
use crate::shmem::tables::PartitionShared;
use crate::shmem::written;

/// Partitions whose counts a transaction can take back exactly; what goes to
/// more of them ages out with the epoch.
const MAX_PENDING: usize = 64;

/// Nested savepoints whose inbox count is put back on rollback.
const MAX_LEVELS: usize = 32;

#[derive(Clone, Copy)]
struct Pending {
    partition: &'static PartitionShared,
    keys: [u32; CLASSES],
    units: u64,
}

struct State {
    pending: [Option<Pending>; MAX_PENDING],
    inbox: InboxCount,
    inbox_at: [InboxCount; MAX_LEVELS],
}

/// Rows that the inbox trigger has carried on in the running statement.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct InboxCount {
    rows: u64,
    /// Whether the rows to come are the statement's own, not those of an INSERT in its WITH.
    counts: bool,
}

const NONE: InboxCount = InboxCount { rows: 0, counts: true };

struct StateCell(UnsafeCell<State>);
// SAFETY: a backend is single-threaded; references to the inside end with each function.
unsafe impl Sync for StateCell {}
static STATE: StateCell = StateCell(UnsafeCell::new(State {
    pending: [None; MAX_PENDING],
    inbox: NONE,
    inbox_at: [NONE; MAX_LEVELS],
}));

#[allow(clippy::mut_from_ref, reason = "the only access, and single-threaded")]
fn state() -> &'static mut State {
    // SAFETY: single-threaded, and no caller keeps the reference across a call of another.
    unsafe { &mut *STATE.0.get() }
}

/// Registers the callbacks for this process (inherited over fork from the postmaster).
pub fn init() {
    // SAFETY: both functions have the callbacks' signatures and live as long as the library.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction), std::ptr::null_mut());
        pg_sys::CacheRegisterRelcacheCallback(Some(at_invalidation), pg_sys::Datum::from(0));
    }
}

/// Counts a new key and its units of quota, to be taken back if the transaction aborts.
pub fn count_new_key(partition: &'static PartitionShared, class: usize, units: u64) {
    partition.count_key(class, units);
    for entry in &mut state().pending {
        let pending = entry.get_or_insert(Pending { partition, keys: [0; CLASSES], units: 0 });
        if std::ptr::eq(pending.partition, partition) {
            pending.keys[class] = pending.keys[class].saturating_add(1);
            pending.units += units;
            return;
        }
    }
}

/// Counts a row that the inbox trigger carried to its partition.
pub fn count_inbox_row() {
    let inbox = &mut state().inbox;
    inbox.rows += u64::from(inbox.counts);
}

/// Says whether the rows that go to the inbox next add to the statement's count.
pub fn let_inbox_count(counts: bool) {
    state().inbox.counts = counts;
}

/// Begins the count of a statement; returns that of the one around it.
pub fn begin_inbox_count() -> InboxCount {
    std::mem::replace(&mut state().inbox, NONE)
}

/// Ends the count of a statement and returns it; `outer` goes on.
pub fn end_inbox_count(outer: InboxCount) -> u64 {
    std::mem::replace(&mut state().inbox, outer).rows
}

unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::*;
    match event {
        XACT_EVENT_ABORT | XACT_EVENT_PARALLEL_ABORT => finish(true),
        XACT_EVENT_COMMIT => {
            written::at_commit();
            finish(false);
        }
        XACT_EVENT_PARALLEL_COMMIT | XACT_EVENT_PREPARE => finish(false),
        XACT_EVENT_PRE_PREPARE => refuse_marks(),
        _ => {}
    }
}

/// Marks live in shared memory: after a crash a prepared move would stand without them. Raises
/// the error before anything is prepared, in a guarded frame of its own.
#[pg_guard]
extern "C-unwind" fn refuse_marks() {
    if claims::marks() > 0 {
        PssError::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot PREPARE a transaction that has moved data keys",
        )
        .hint("COMMIT the move, then PREPARE what else there is.")
        .raise();
    }
}

/// At commit the transaction is visible to all already: who waited for a mark finds what it left.
fn finish(aborted: bool) {
    claims::unpin_all();
    written::forget();
    claims::unmark_down_to(0);
    crate::router::none_in_use();
    let state = state();
    for entry in &mut state.pending {
        let Some(p) = entry.take() else { break };
        if aborted {
            p.partition.take_back(&p.keys, p.units);
        }
    }
    state.inbox = NONE;
    crate::statements::at_transaction_end();
}

unsafe extern "C-unwind" fn at_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _: pg_sys::SubTransactionId,
    _: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    use pg_sys::SubXactEvent::*;
    // SAFETY: reads the nesting level of the current transaction; raises nothing.
    let level = unsafe { raw_nest_level() } as usize;
    let state = state();
    match event {
        SUBXACT_EVENT_START_SUB => {
            if level < MAX_LEVELS {
                state.inbox_at[level] = state.inbox;
            }
            written::at_savepoint(level);
        }
        SUBXACT_EVENT_ABORT_SUB => {
            if level < MAX_LEVELS {
                state.inbox = state.inbox_at[level];
            }
            // Claims are held only within one call of the router, which the error has ended.
            claims::unpin_all();
            written::at_savepoint_abort(level);
            crate::statements::at_savepoint_abort(level as i32);
        }
        SUBXACT_EVENT_COMMIT_SUB => crate::statements::at_savepoint_commit(level as i32),
        _ => {}
    }
}

unsafe fn raw_nest_level() -> i32 {
    // SAFETY: the raw function reads a global of the backend and raises nothing.
    #[allow(ffi_unwind_calls, reason = "raises no error")]
    unsafe {
        crate::raw::GetCurrentTransactionNestLevel()
    }
}

unsafe extern "C-unwind" fn at_invalidation(_: pg_sys::Datum, relation: pg_sys::Oid) {
    crate::meta::invalidate(relation);
    crate::statements::invalidate(relation);
}
