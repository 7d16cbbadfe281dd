//! Waiting for a mover that has marked the key a row is for. Nothing of shared
//! memory is held meanwhile: the caller has no claim, and claims again afterwards.

use pgrx::pg_sys;

use crate::shmem::claims::{self, ClaimKey, Mover};

/// Pauses between two looks at a mark that may go at any time, milliseconds.
const FIRST_PAUSE: i64 = 1;
const LONGEST_PAUSE: i64 = 10;

/// Waits until the key is marked no more, or the mover's transaction has ended.
///
/// While the mover tries it waits for nobody longer than moments and gives way, so that looking
/// again and again cannot be a deadlock: it may be waiting for a lock of ours. Once it moves, the
/// wait is for its transaction, which the deadlock detector sees and lock_timeout ends.
pub fn for_mover(claim: &ClaimKey) {
    let mut pause = FIRST_PAUSE;
    loop {
        match claims::mover(claim) {
            None => return,
            Some(Mover { xid, held: true }) => {
                // SAFETY: waits for a transaction's end; no LWLock of ours is held.
                unsafe {
                    pg_sys::XactLockTableWait(
                        xid.into(),
                        std::ptr::null_mut(),
                        std::ptr::null_mut(),
                        pg_sys::XLTW_Oper::XLTW_None,
                    );
                }
                return;
            }
            Some(Mover { held: false, .. }) => nap(pause),
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Sleeps for some milliseconds; a cancel ends it with its error.
pub fn nap(milliseconds: i64) {
    let flags = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the process's own latch.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            flags as i32,
            milliseconds as std::ffi::c_long,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}
