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

use crate::doors::frame;
use crate::error::PssError;
use crate::shmem::claims;
use crate::shmem::tables::PartitionShared;
use crate::shmem::written;

/// Partitions whose counts a transaction can take back exactly; what goes to
/// more of them ages out with the epoch.
const MAX_PENDING: usize = 64;

#[derive(Clone, Copy)]
struct Pending {
    partition: &'static PartitionShared,
    keys: [u32; CLASSES],
    units: u64,
}

struct State {
    pending: [Option<Pending>; MAX_PENDING],
}

struct StateCell(UnsafeCell<State>);
// SAFETY: a backend is single-threaded; references to the inside end with each function.
unsafe impl Sync for StateCell {}
static STATE: StateCell = StateCell(UnsafeCell::new(State { pending: [None; MAX_PENDING] }));

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
    claims::unpin_down_to(0);
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
    frame::at_transaction_end();
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
    match event {
        SUBXACT_EVENT_START_SUB => {
            frame::at_savepoint_start(level);
            claims::at_savepoint(level);
            written::at_savepoint(level);
        }
        SUBXACT_EVENT_ABORT_SUB => {
            frame::at_savepoint_abort(level);
            claims::at_savepoint_abort(level);
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
