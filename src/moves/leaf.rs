//! Getting at a leaf beside its writers: waiting for those who were at work,
//! locking it for moments, reading its keys.
//!
//! Must never queue behind a bulk load: who waits in the queue of a lock makes
//! all who come later wait, too.

use std::ffi::CString;
use std::time::{Duration, Instant};

use pgrx::PgMemoryContexts;
use pgrx::pg_sys;
use rand::Rng;

use crate::error::Result;
use crate::meta::Meta;
use crate::router::{hash48, wait};
use crate::slot;
use crate::subtransaction;

/// How long a mover waits for writers and for the leaf's lock, each, before it gives way.
const PATIENCE: Duration = Duration::from_millis(50);
/// Rows whose hashes are computed before their memory is freed.
const ROWS_PER_RESET: u32 = 1000;

/// Waits for the transactions that hold a writer's lock on `leaf` now, and for no others; false if
/// one of them goes on for longer than a moment. Takes no lock, so nobody waits for us.
pub fn wait_for_writers(leaf: pg_sys::Oid) -> bool {
    let give_up = Instant::now() + PATIENCE;
    // SAFETY: a relation's lock tag; the list is palloc'd and has `n` members.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: leaf.to_u32(),
            locktag_type: pg_sys::LockTagType::LOCKTAG_RELATION as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
            ..Default::default()
        };
        let mut n = 0;
        let writers = pg_sys::GetLockConflicts(&tag, pg_sys::ShareLock as i32, &mut n);
        for i in 0..n as usize {
            while !pg_sys::VirtualXactLock(*writers.add(i), false) {
                if Instant::now() > give_up {
                    pg_sys::pfree(writers.cast());
                    return false;
                }
                wait::nap(1);
            }
        }
        pg_sys::pfree(writers.cast());
    }
    true
}

/// Locks `to` as an insert will and `from` against writers (readers go on), until the transaction
/// ends; false, and none is locked, if one of them would take longer than a moment.
pub fn lock(from: &[pg_sys::Oid], to: pg_sys::Oid) -> bool {
    struct Restore(i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: a plain global of the backend, put back as it was.
            unsafe { pg_sys::LockTimeout = self.0 };
        }
    }
    // Two movers, or a mover and a writer, that met once must not go on meeting.
    let jitter = rand::rng().random_range(PATIENCE / 2..PATIENCE);
    // SAFETY: the variable behind lock_timeout, for the two locks below; ordinary relation locks.
    unsafe {
        let _restore = Restore(pg_sys::LockTimeout);
        pg_sys::LockTimeout = jitter.as_millis() as i32;
        subtransaction::if_lock_is_free(|| {
            pg_sys::LockRelationOid(to, pg_sys::RowExclusiveLock as i32);
            for &from in from {
                pg_sys::LockRelationOid(from, pg_sys::ExclusiveLock as i32);
            }
        })
        .is_some()
    }
}

/// Pauses before another try, each time anew of random length.
pub fn back_off() {
    wait::nap(rand::rng().random_range(5..100));
}

/// Calls `visit` with hash (48 bits) and value of the key of every row of `leaf` that is committed
/// now, in no order. The value lives until `visit` returns.
pub fn each_key(
    meta: &Meta,
    leaf: pg_sys::Oid,
    mut visit: impl FnMut(u64, pg_sys::Datum),
) -> Result<()> {
    let column = CString::new(meta.table.distribution_column.as_str()).unwrap_or_default();
    let mut scratch = PgMemoryContexts::new("pss keys of a leaf");
    // SAFETY: the leaf is opened, scanned with a registered snapshot and closed here. Values are
    // read from the slot, which the scan keeps pinned.
    unsafe {
        let heap = pg_sys::table_open(leaf, pg_sys::AccessShareLock as i32);
        let attribute = pg_sys::get_attnum(leaf, column.as_ptr());
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
        let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
            | pg_sys::ScanOptions::SO_ALLOW_STRAT
            | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
        let null = std::ptr::null_mut();
        let scan = pg_sys::heap_beginscan(heap, snapshot, 0, null, null.cast(), flags);
        let mut rows = 0;
        while pg_sys::heap_getnextslot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot) {
            if let Some(key) = slot::column(slot, attribute) {
                let hash = scratch.switch_to(|_| meta.key.hash(key));
                visit(hash48(hash), key);
            }
            rows += 1;
            if rows % ROWS_PER_RESET == 0 {
                scratch.reset();
            }
        }
        pg_sys::heap_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::table_close(heap, pg_sys::NoLock as i32);
    }
    Ok(())
}
