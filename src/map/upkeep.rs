//! What movers and cleaners do to a row map: replace and delete entries, and
//! walk over all of them. Whoever deletes holds ShareUpdateExclusive on the
//! table and, unless another entry says the same, the key's mark.

use pgrx::pg_sys;
use pss_core::virtual_key::VirtualKey;

use super::handle::{range_keys, set_range};
use super::{Entry, Map};
use crate::compat;

/// An entry as a walk sees it.
#[derive(Clone, Copy)]
pub struct Stored {
    /// Column `e`: key hash << 16 | partition.
    pub e: i64,
    pub place: pg_sys::ItemPointerData,
    /// The transaction that wrote it; the frozen one: long ago.
    pub xmin: pg_sys::TransactionId,
}

impl Stored {
    pub fn hash48(&self) -> u64 {
        (self.e as u64) >> 16
    }

    pub fn partition(&self) -> u16 {
        self.e as u16
    }
}

impl Map {
    /// Makes `partition` the key's only home.
    pub fn replace(&mut self, hash48: u64, partition: u16, virtual_key: VirtualKey) {
        self.delete_key(hash48);
        self.insert(&[Entry { hash48, partition, virtual_key: virtual_key.to_i64() }]);
    }

    /// Deletes all entries of a key.
    fn delete_key(&self, hash48: u64) {
        let mut dirty = pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        };
        let mut keys = range_keys();
        set_range(&mut keys, hash48);
        let mut places = Vec::new();
        // SAFETY: snapshot, keys and scan live to the end of the block.
        unsafe {
            let scan = compat::index_beginscan(self.heap, self.index, &raw mut dirty, 2);
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), 2, std::ptr::null_mut(), 0);
            let slot = pg_sys::table_slot_create(self.heap, std::ptr::null_mut());
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            while pg_sys::index_getnext_slot(scan, forward, slot) {
                places.push((*slot).tts_tid);
            }
            pg_sys::index_endscan(scan);
            pg_sys::ExecDropSingleTupleTableSlot(slot);
        }
        places.into_iter().for_each(|place| self.delete(place));
    }

    /// Deletes the entry at `place`.
    pub fn delete(&self, mut place: pg_sys::ItemPointerData) {
        // SAFETY: an open relation; only who holds the table's lock deletes entries.
        unsafe { pg_sys::simple_heap_delete(self.heap, &mut place) };
    }

    /// Calls `visit` for the entries that are committed now, from `start` on in the order of `e`,
    /// until it returns false.
    pub fn walk(&self, start: i64, mut visit: impl FnMut(Stored) -> bool) {
        // SAFETY: scan key, snapshot, slot and scan live to the end of the block; the map's first
        // column is int8, never null.
        unsafe {
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
            let mut key = pg_sys::ScanKeyData::default();
            let strategy = pg_sys::BTGreaterEqualStrategyNumber as u16;
            pg_sys::ScanKeyInit(&mut key, 1, strategy, pg_sys::F_INT8GE.into(), start.into());
            let slot = pg_sys::table_slot_create(self.heap, std::ptr::null_mut());
            let scan = compat::index_beginscan(self.heap, self.index, snapshot, 1);
            pg_sys::index_rescan(scan, &mut key, 1, std::ptr::null_mut(), 0);
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            let mut more = true;
            while more && pg_sys::index_getnext_slot(scan, forward, slot) {
                pgrx::check_for_interrupts!();
                crate::slot::deform(slot, 1);
                more = visit(Stored {
                    e: (*(*slot).tts_values).value() as i64,
                    place: (*slot).tts_tid,
                    xmin: xmin(slot),
                });
            }
            pg_sys::index_endscan(scan);
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::UnregisterSnapshot(snapshot);
        }
    }
}

/// Opens the valid index of a map, and those that are being built and have to be kept up.
///
/// # Safety
/// `heap` is an open map.
pub(super) unsafe fn open_indexes(
    heap: pg_sys::Relation,
    lock: i32,
) -> (pg_sys::Relation, Vec<(pg_sys::Relation, *mut pg_sys::IndexInfo)>) {
    let mut valid: pg_sys::Relation = std::ptr::null_mut();
    let mut others = Vec::new();
    // SAFETY: the relation's own list of indexes.
    unsafe {
        let indexes = pg_sys::RelationGetIndexList(heap);
        for i in 0..(*indexes).length as usize {
            let index = pg_sys::index_open((*(*indexes).elements.add(i)).oid_value, lock);
            let form = (*index).rd_index;
            if (*form).indisvalid && valid.is_null() {
                valid = index;
            } else if (*form).indisready {
                others.push((index, pg_sys::BuildIndexInfo(index)));
            } else {
                pg_sys::index_close(index, pg_sys::NoLock as i32);
            }
        }
        pg_sys::list_free(indexes);
    }
    (valid, others)
}

/// Who inserted the slot's tuple; frozen ones as such.
unsafe fn xmin(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::TransactionId {
    let mut owned = false;
    // SAFETY: the slot holds a heap tuple, pinned by the scan: its header is read in place.
    unsafe {
        let tuple = pg_sys::ExecFetchSlotHeapTuple(slot, false, &mut owned);
        let header = (*tuple).t_data;
        let frozen = (pg_sys::HEAP_XMIN_COMMITTED | pg_sys::HEAP_XMIN_INVALID) as u16;
        let xmin = if (*header).t_infomask & frozen == frozen {
            pg_sys::FrozenTransactionId
        } else {
            (*header).t_choice.t_heap.t_xmin
        };
        if owned {
            pg_sys::heap_freetuple(tuple);
        }
        xmin
    }
}
