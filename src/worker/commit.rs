//! What happens when a session's transaction ends: epochs it wrote are
//! published, partitions go out of service or come back, the launcher is nudged,
//! suspended workers may start again.
//!
//! The callbacks run where an ERROR would bring the server down: they touch
//! shared memory and process-local state that is already there; they never
//! allocate, never raise, never panic.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use pgrx::pg_sys;

use super::process;
use crate::raw;
use crate::shmem::databases::{self, State};
use crate::shmem::{self, failures, tables};

/// What all sessions are to know of a table when this transaction commits.
struct Publication {
    relation: pg_sys::Oid,
    news: News,
    /// Nesting level of the subtransaction that wrote it.
    level: i32,
}

enum News {
    /// An epoch was written.
    Epoch { epoch: u32, valid_until: pg_sys::TimestampTz },
    /// A partition was taken out of service or back, as [`failures::heed`] has it.
    State { partition: u16, state: failures::State },
}

thread_local! {
    static PUBLICATIONS: RefCell<Vec<Publication>> = const { RefCell::new(Vec::new()) };
}

/// This transaction changed what the launcher should know about this database.
static NUDGE: AtomicBool = AtomicBool::new(false);
/// This transaction suspended workers.
static SUSPENDING: AtomicBool = AtomicBool::new(false);
/// The database's worker is to look again after this transaction; 0: none.
static DATABASE_CHANGED: AtomicI32 = AtomicI32::new(0);

/// Installs the callbacks; every backend inherits them from the postmaster.
pub fn init() {
    // SAFETY: called in the postmaster; the callbacks are static.
    unsafe {
        pg_sys::RegisterXactCallback(Some(on_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(on_subtransaction_end), std::ptr::null_mut());
    }
}

/// Publishes an epoch to all sessions when (and if) this transaction commits.
pub fn publish_at_commit(relation: pg_sys::Oid, epoch: u32, valid_until: pg_sys::TimestampTz) {
    note(relation, News::Epoch { epoch, valid_until });
}

/// Has all sessions heed the state of a partition when this transaction commits, also those that
/// see no invalidation because they hold all locks already.
pub fn set_state_at_commit(relation: pg_sys::Oid, partition: u16, state: failures::State) {
    note(relation, News::State { partition, state });
}

fn note(relation: pg_sys::Oid, news: News) {
    // SAFETY: reads the transaction state.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    PUBLICATIONS.with_borrow_mut(|p| p.push(Publication { relation, news, level }));
}

/// Has the launcher (and this database's worker) look at this database when
/// this transaction commits: the extension came or went, a table was sharded.
pub fn nudge() {
    NUDGE.store(true, Ordering::Relaxed);
    // SAFETY: a plain global of the backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    DATABASE_CHANGED.store(database.to_u32() as i32, Ordering::Relaxed);
}

/// Notes that this transaction suspended a worker: it ends with the transaction.
pub fn suspending() {
    SUSPENDING.store(true, Ordering::Relaxed);
    NUDGE.store(true, Ordering::Relaxed);
}

unsafe extern "C-unwind" fn on_end(event: pg_sys::XactEvent::Type, _arg: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::*;
    match event {
        XACT_EVENT_COMMIT => publish(),
        XACT_EVENT_ABORT | XACT_EVENT_PREPARE => {}
        _ => return,
    }
    let _ = PUBLICATIONS.try_with(|p| {
        if let Ok(mut publications) = p.try_borrow_mut() {
            publications.clear();
        }
    });
    if SUSPENDING.swap(false, Ordering::Relaxed) {
        // SAFETY: a plain global of the backend.
        let pid = unsafe { pg_sys::MyProcPid };
        for database in databases::registered() {
            database.resume(pid);
        }
    }
    let changed = DATABASE_CHANGED.swap(0, Ordering::Relaxed) as u32;
    if NUDGE.swap(false, Ordering::Relaxed) {
        wake_launcher(pg_sys::Oid::from(changed));
    }
}

fn wake_launcher(changed: pg_sys::Oid) {
    if changed != pg_sys::InvalidOid
        && let Some(database) = databases::find(changed)
    {
        if database.state() != State::Active {
            database.set_state(State::Unknown);
        }
        database.not_before.store(0, Ordering::Relaxed);
        process::wake(database.worker_pid.load(Ordering::Relaxed));
    }
    if let Some(header) = shmem::header() {
        process::wake(header.launcher_pid.load(Ordering::Relaxed));
    }
}

fn publish() {
    let _ = PUBLICATIONS.try_with(|p| {
        let Ok(publications) = p.try_borrow() else { return };
        for publication in publications.iter() {
            let Some(table) = tables::find(publication.relation) else { continue };
            match publication.news {
                News::Epoch { epoch, valid_until } => table.publish(epoch, valid_until),
                News::State { partition, state } => failures::heed(table, partition, state),
            }
        }
    });
}

unsafe extern "C-unwind" fn on_subtransaction_end(
    event: pg_sys::SubXactEvent::Type,
    _mine: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _arg: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::*;
    if event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB {
        return;
    }
    let _ = PUBLICATIONS.try_with(|p| {
        let Ok(mut publications) = p.try_borrow_mut() else { return };
        if publications.is_empty() {
            return;
        }
        // SAFETY: reads a global of the backend.
        #[allow(ffi_unwind_calls, reason = "raises no error")]
        let level = unsafe { raw::GetCurrentTransactionNestLevel() };
        if event == SUBXACT_EVENT_ABORT_SUB {
            publications.retain(|p| p.level < level);
        } else {
            for publication in publications.iter_mut().filter(|p| p.level >= level) {
                publication.level = level - 1;
            }
        }
    });
}
