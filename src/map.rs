//! The row map of a sharded table: one relation of two int8 columns,
//! `e = key hash (48 bit) << 16 | partition` with a btree, and `virtual_key`.
//!
//! An index over what the rows say of themselves, never the truth: it can be
//! dropped and rebuilt. Written and probed through the table and index access
//! methods, not SQL: as part of the user's insert, whatever the user's rights.

use std::mem::size_of;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::catalog::as_extension_owner;
use crate::compat;
use crate::error::Result;
use crate::latest;

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

/// Makes the empty row map of a table and its (incomplete) state; returns the
/// map. A member of the extension without a dependency on the user's table, so
/// that DROP TABLE needs no CASCADE.
pub fn create(relation: pg_sys::Oid) -> Result<pg_sys::Oid> {
    as_extension_owner(|| {
        let name = format!("pss.map_{}", relation.to_u32());
        Spi::run(&format!(
            "CREATE TABLE {name} (e pg_catalog.int8 NOT NULL, virtual_key pg_catalog.int8 NOT NULL) WITH (autovacuum_analyze_scale_factor = 0.5)"
        ))?;
        Spi::run(&format!("CREATE INDEX ON {name} (e)"))?;
        // A publication FOR ALL TABLES would otherwise refuse deletes.
        Spi::run(&format!("ALTER TABLE {name} REPLICA IDENTITY FULL"))?;
        Spi::run(&format!(
            "COMMENT ON TABLE {name} IS 'row map of a sharded table: key hash and partition, virtual key'"
        ))?;
        let map = Spi::get_one::<pg_sys::Oid>(&format!(
            "SELECT '{name}'::pg_catalog.regclass::pg_catalog.oid"
        ))?
        .unwrap_or(pg_sys::InvalidOid);
        belong_to_extension(map);
        Spi::run_with_args(
            "INSERT INTO pss.map_state (relation, map) VALUES ($1, $2)
             ON CONFLICT (relation) DO UPDATE SET map = EXCLUDED.map, complete = false",
            &[relation.into(), map.into()],
        )?;
        forget_cached(relation);
        // A table came, or lost its map: the worker has something to do.
        crate::worker::nudge();
        Ok(map)
    })
}

/// Drops the row map of a table and its state. Nothing happens if there is none.
pub fn drop_map(relation: pg_sys::Oid) -> Result<()> {
    let Some(map) = map_of(relation)? else { return Ok(()) };
    as_extension_owner(|| {
        Spi::run_with_args(
            "DELETE FROM pss.map_state WHERE relation OPERATOR(pg_catalog.=) $1",
            &[relation.into()],
        )?;
        // SAFETY: deletes the object like DROP TABLE does, past the extension's membership.
        unsafe {
            if pg_sys::get_rel_relkind(map) != 0 {
                let address = table_address(map);
                pg_sys::performDeletion(
                    &address,
                    pg_sys::DropBehavior::DROP_RESTRICT,
                    (pg_sys::PERFORM_DELETION_INTERNAL | pg_sys::PERFORM_DELETION_SKIP_EXTENSIONS)
                        as i32,
                );
            }
        }
        forget_cached(relation);
        Ok(())
    })
}

/// Keeps loads into leaves (shared) and rebuilds of the map (exclusive) apart until the
/// transaction ends: a rebuild must not call complete a map that lacks what a load is bringing.
pub fn lock_loads(relation: pg_sys::Oid, exclusive: bool) {
    let mode = if exclusive { pg_sys::ExclusiveLock } else { pg_sys::ShareLock } as i32;
    // SAFETY: a lock on the table as an object, which nothing else takes: not on the relation.
    unsafe { pg_sys::LockDatabaseObject(pg_sys::RelationRelationId, relation, 0, mode) };
}

/// Says whether every key with rows is in the map. All sessions notice at once.
pub fn set_complete(relation: pg_sys::Oid, complete: bool) -> Result<()> {
    as_extension_owner(|| {
        Spi::run_with_args(
            "UPDATE pss.map_state SET complete = $2,
                    rebuilt_at = CASE WHEN $2 THEN pg_catalog.clock_timestamp() ELSE rebuilt_at END
             WHERE relation OPERATOR(pg_catalog.=) $1",
            &[relation.into(), complete.into()],
        )?;
        forget_cached(relation);
        if !complete {
            crate::worker::nudge();
        }
        Ok(())
    })
}

/// Empties the map with the table.
pub fn truncate(relation: pg_sys::Oid) -> Result<()> {
    let Some(map) = map_of(relation)? else { return Ok(()) };
    as_extension_owner(|| {
        let name = crate::catalog::relation_name(map);
        Spi::run(&format!("TRUNCATE {name}"))?;
        crate::shmem::tables::invalidate_cache(relation);
        forget_cached(relation);
        Ok(())
    })
}

fn map_of(relation: pg_sys::Oid) -> Result<Option<pg_sys::Oid>> {
    const MAP: &std::ffi::CStr = c"SELECT map::pg_catalog.oid FROM pss.map_state
          WHERE relation OPERATOR(pg_catalog.=) $1";
    Ok(latest::select(MAP, relation, |rows| rows.get(0, 1)))
}

/// Makes all sessions read the table's description again, from this transaction's commit on.
pub fn forget_cached(relation: pg_sys::Oid) {
    // SAFETY: queues an invalidation message; harmless if the table is being dropped.
    unsafe {
        let exists = pg_sys::SearchSysCacheExists(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            relation.into(),
            0.into(),
            0.into(),
            0.into(),
        );
        if exists {
            pg_sys::CacheInvalidateRelcacheByRelid(relation);
        }
    }
}

fn table_address(table: pg_sys::Oid) -> pg_sys::ObjectAddress {
    pg_sys::ObjectAddress { classId: pg_sys::RelationRelationId, objectId: table, objectSubId: 0 }
}

fn belong_to_extension(table: pg_sys::Oid) {
    // SAFETY: records a pg_depend row between two existing objects.
    unsafe {
        let extension = pg_sys::ObjectAddress {
            classId: pg_sys::ExtensionRelationId,
            objectId: pg_sys::get_extension_oid(c"pss".as_ptr(), false),
            objectSubId: 0,
        };
        pg_sys::recordDependencyOn(
            &table_address(table),
            &extension,
            pg_sys::DependencyType::DEPENDENCY_EXTENSION,
        );
    }
}

/// Bytes that a map takes per key, heap and index, as measured on bulk loads (docs/design.md).
pub const BYTES_PER_KEY: f64 = 75.5;

const _: () = assert!(size_of::<pg_sys::Datum>() == 8, "entries are passed by value");
