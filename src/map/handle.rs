//! An open row map. Written and probed through the table and index access
//! methods, not SQL: as part of the user's insert, whatever the user's rights.

use std::mem::size_of;

use pgrx::pg_sys;

use crate::compat;

/// What a probe found for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    pub partition: u16,
    pub virtual_key: i64,
    /// Whether the entry's transaction is over, or is our own.
    pub settled: bool,
    /// Whether our own transaction wrote it.
    pub own: bool,
}

/// An open row map; closed when dropped, its lock kept until the transaction ends.
pub struct Map {
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: both were opened by `open`.
        unsafe {
            pg_sys::index_close(self.index, pg_sys::NoLock as i32);
            pg_sys::table_close(self.heap, pg_sys::NoLock as i32);
        }
    }
}

/// Column `e`: the first partition number of a key's range.
fn range_start(hash48: u64) -> i64 {
    (hash48 << 16) as i64
}

impl Map {
    /// Opens a map for writing or, with an access share lock, for reading.
    pub fn open(map: pg_sys::Oid, writing: bool) -> Self {
        let lock = if writing { pg_sys::RowExclusiveLock } else { pg_sys::AccessShareLock } as i32;
        // SAFETY: the relation is one of our maps; it has exactly one index, on `e`.
        unsafe {
            let heap = pg_sys::table_open(map, lock);
            let indexes = pg_sys::RelationGetIndexList(heap);
            let index = (*(*indexes).elements).oid_value;
            pg_sys::list_free(indexes);
            Self { heap, index: pg_sys::index_open(index, lock) }
        }
    }

    /// An entry of a key in any state but aborted, whoever wrote it. Never waits.
    ///
    /// All entries of a key agree; a settled one is preferred, and with `prefer_own`
    /// one of our own, because relying on it spares writing one more.
    pub fn probe_dirty(&self, hash48: u64, prefer_own: bool) -> Option<Hit> {
        let mut dirty = pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        };
        let dirty_ptr = &raw mut dirty;
        let mut best: Option<Hit> = None;
        let preferred = self.scan(hash48, dirty_ptr, |slot, entry| {
            // SAFETY: a dirty scan reports in-progress transactions in the snapshot itself.
            let (xmin, xmax) = unsafe { ((*dirty_ptr).xmin, (*dirty_ptr).xmax) };
            let settled =
                xmin == pg_sys::InvalidTransactionId && xmax == pg_sys::InvalidTransactionId;
            let hit = Hit { settled, own: settled && written_by_us(slot), ..entry };
            if best.is_none_or(|known| hit.settled && !known.settled) {
                best = Some(hit);
            }
            (hit.own || settled && !prefer_own).then_some(hit)
        });
        preferred.or(best)
    }

    /// The first entry of a key that `snapshot` sees and `accept` takes. Scans
    /// regardless of visibility and applies it afterwards, so that look-ups of
    /// different keys never conflict under SERIALIZABLE.
    pub fn probe_visible(
        &self,
        hash48: u64,
        snapshot: pg_sys::Snapshot,
        mut accept: impl FnMut(u16) -> bool,
    ) -> Option<Hit> {
        self.scan(hash48, &raw mut pg_sys::SnapshotAnyData, |slot, entry| {
            // SAFETY: the slot holds a tuple of this heap, pinned by the scan.
            let visible = unsafe {
                let satisfies = (*(*self.heap).rd_tableam).tuple_satisfies_snapshot;
                #[allow(ffi_unwind_calls, reason = "guarded by pg_guard_ffi_boundary")]
                satisfies.is_some_and(|f| {
                    pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| f(self.heap, slot, snapshot))
                })
            };
            (visible && accept(entry.partition)).then_some(entry)
        })
    }

    fn scan(
        &self,
        hash48: u64,
        snapshot: pg_sys::Snapshot,
        mut take: impl FnMut(*mut pg_sys::TupleTableSlot, Hit) -> Option<Hit>,
    ) -> Option<Hit> {
        let first = range_start(hash48);
        let bounds = [
            (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::Oid::from(pg_sys::F_INT8GE), first),
            (
                pg_sys::BTLessEqualStrategyNumber,
                pg_sys::Oid::from(pg_sys::F_INT8LE),
                first | 0xFFFF,
            ),
        ];
        // SAFETY: keys, slot and scan live to the end of the block; the map's
        // columns are two int8, never null.
        unsafe {
            let mut keys: [pg_sys::ScanKeyData; 2] = Default::default();
            for (key, (strategy, function, value)) in keys.iter_mut().zip(bounds) {
                pg_sys::ScanKeyInit(key, 1, strategy as u16, function, value.into());
            }
            let slot = pg_sys::table_slot_create(self.heap, std::ptr::null_mut());
            let scan = compat::index_beginscan(self.heap, self.index, snapshot, 2);
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), 2, std::ptr::null_mut(), 0);
            let mut found = None;
            while found.is_none()
                && pg_sys::index_getnext_slot(
                    scan,
                    pg_sys::ScanDirection::ForwardScanDirection,
                    slot,
                )
            {
                crate::slot::deform(slot, 2);
                let values = (*slot).tts_values;
                let entry = Hit {
                    partition: (*values).value() as u16,
                    virtual_key: (*values.add(1)).value() as i64,
                    settled: true,
                    own: false,
                };
                found = take(slot, entry);
            }
            pg_sys::index_endscan(scan);
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            found
        }
    }

    /// Adds an entry, as part of the current transaction.
    pub fn insert(&self, hash48: u64, partition: u16, virtual_key: i64) {
        let e = range_start(hash48) | i64::from(partition);
        let mut values = [pg_sys::Datum::from(e), pg_sys::Datum::from(virtual_key)];
        let mut nulls = [false; 2];
        // SAFETY: a tuple of the map's own shape; the index has one plain column.
        unsafe {
            let tuple = pg_sys::heap_form_tuple(
                (*self.heap).rd_att,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            pg_sys::simple_heap_insert(self.heap, tuple);
            let info = pg_sys::BuildIndexInfo(self.index);
            pg_sys::index_insert(
                self.index,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
                &raw mut (*tuple).t_self,
                self.heap,
                pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
                false,
                info,
            );
            pg_sys::pfree(info.cast());
            pg_sys::heap_freetuple(tuple);
        }
    }
}

/// Whether the current transaction inserted the slot's tuple.
fn written_by_us(slot: *mut pg_sys::TupleTableSlot) -> bool {
    let mut null = false;
    // SAFETY: the slot holds a heap tuple, whose system columns exist.
    unsafe {
        let get = (*(*slot).tts_ops).getsysattr;
        let attribute = pg_sys::MinTransactionIdAttributeNumber;
        #[allow(ffi_unwind_calls, reason = "guarded by pg_guard_ffi_boundary")]
        let xmin = get.map_or(pg_sys::Datum::from(0), |f| {
            pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| f(slot, attribute, &mut null))
        });
        pg_sys::TransactionIdIsCurrentTransactionId((xmin.value() as u32).into())
    }
}

const _: () = assert!(size_of::<pg_sys::Datum>() == 8, "entries are passed by value");
