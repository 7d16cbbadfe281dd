//! Looking a key up in the partitions themselves: what the router does while
//! the row map is incomplete (after a restore, a load into a leaf, an attach).
//!
//! The router scans dirty: a row that another session is inserting counts, so
//! that two sessions cannot send one key to two partitions. Look-ups scan with
//! their statement's snapshot.

use std::ffi::CString;

use pgrx::pg_sys;

use crate::compat;
use crate::meta::Meta;
use crate::slot;

/// The partition that holds a row of the key, committed or not.
pub fn find_dirty(meta: &Meta, key: pg_sys::Datum) -> Option<u16> {
    let mut dirty = pg_sys::SnapshotData {
        snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
        ..Default::default()
    };
    // SAFETY: the snapshot lives until the scans have ended.
    unsafe { find(meta, key, &raw mut dirty) }
}

/// The partition that holds a row of the key which `snapshot` sees.
///
/// # Safety
/// `snapshot` is a live snapshot.
pub unsafe fn find(meta: &Meta, key: pg_sys::Datum, snapshot: pg_sys::Snapshot) -> Option<u16> {
    let column = CString::new(meta.table.distribution_column.as_str()).ok()?;
    let holds = |leaf| holds(meta, leaf, &column, key, snapshot);
    meta.table.partitions.iter().find(|p| holds(p.leaf)).map(|p| p.number)
}

/// The partitions among those that `may_hold` rows of the key which do, as `snapshot` sees them.
///
/// # Safety
/// `snapshot` is a live snapshot.
pub unsafe fn holders(
    meta: &Meta,
    key: pg_sys::Datum,
    snapshot: pg_sys::Snapshot,
    may_hold: impl Fn(u16) -> bool,
) -> Vec<u16> {
    let Ok(column) = CString::new(meta.table.distribution_column.as_str()) else {
        return Vec::new();
    };
    let partitions = meta.table.partitions.iter().filter(|p| may_hold(p.number));
    let holders = partitions.filter(|p| holds(meta, p.leaf, &column, key, snapshot));
    holders.map(|p| p.number).collect()
}

/// Calls `visit` with the key of each row in the last `pages` pages of a partition that `snapshot`
/// sees, until it returns false: mostly rows that came lately. Of a foreign partition nothing.
///
/// # Safety
/// `leaf` is a partition of the table; `snapshot` is a live MVCC snapshot.
pub unsafe fn each_recent_key(
    meta: &Meta,
    leaf: pg_sys::Oid,
    pages: u32,
    snapshot: pg_sys::Snapshot,
    mut visit: impl FnMut(pg_sys::Datum) -> bool,
) {
    let (attribute, _) = meta.attributes_in(leaf);
    // SAFETY: the leaf is locked, scanned and closed here; a scan that may be limited to a range of
    // pages does not begin where another one is.
    unsafe {
        if pg_sys::get_rel_relkind(leaf) as u8 != pg_sys::RELKIND_RELATION {
            return;
        }
        let heap = pg_sys::table_open(leaf, pg_sys::AccessShareLock as i32);
        let all = pg_sys::RelationGetNumberOfBlocksInFork(heap, pg_sys::ForkNumber::MAIN_FORKNUM);
        let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
        let null = std::ptr::null_mut();
        let scan = pg_sys::heap_beginscan(heap, snapshot, 0, null, null.cast(), flags);
        pg_sys::heap_setscanlimits(scan, all.saturating_sub(pages), all.min(pages));
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        let mut more = true;
        while more && pg_sys::heap_getnextslot(scan, forward, slot) {
            more = slot::column(slot, attribute).is_none_or(&mut visit);
        }
        pg_sys::heap_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::table_close(heap, pg_sys::NoLock as i32);
    }
}

fn holds(
    meta: &Meta,
    leaf: pg_sys::Oid,
    column: &CString,
    key: pg_sys::Datum,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: the leaf is a partition of the table; it is locked, scanned and closed here.
    unsafe {
        let heap = pg_sys::table_open(leaf, pg_sys::AccessShareLock as i32);
        let attribute = pg_sys::get_attnum(leaf, column.as_ptr());
        let found = match key_index(heap, attribute) {
            Some(index) => scan_index(meta, heap, index, key, snapshot),
            None => scan_heap(meta, heap, attribute, key, snapshot),
        };
        pg_sys::table_close(heap, pg_sys::NoLock as i32);
        found
    }
}

/// A btree over all rows that leads with the key.
unsafe fn key_index(heap: pg_sys::Relation, attribute: i16) -> Option<pg_sys::Relation> {
    // SAFETY: indexes of an open relation, opened and closed in pairs.
    unsafe {
        let indexes = pg_sys::RelationGetIndexList(heap);
        let n = if indexes.is_null() { 0 } else { (*indexes).length as usize };
        for i in 0..n {
            let index = pg_sys::index_open(
                (*(*indexes).elements.add(i)).oid_value,
                pg_sys::AccessShareLock as i32,
            );
            let form = (*index).rd_index;
            let usable = (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
                && (*form).indisvalid
                && *(*form).indkey.values.as_ptr() == attribute
                && pg_sys::RelationGetIndexPredicate(index).is_null();
            if usable {
                return Some(index);
            }
            pg_sys::index_close(index, pg_sys::NoLock as i32);
        }
        None
    }
}

unsafe fn scan_index(
    meta: &Meta,
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    key: pg_sys::Datum,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: as in `holds`; the equality operator is the index's own.
    unsafe {
        let family = *(*index).rd_opfamily;
        let class_type = *(*index).rd_opcintype;
        let strategy = pg_sys::BTEqualStrategyNumber as u16;
        let operator = pg_sys::get_opfamily_member(family, class_type, class_type, strategy as i16);
        let mut scan_key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyEntryInitialize(
            &mut scan_key,
            0,
            1,
            strategy,
            class_type,
            *(*index).rd_indcollation,
            pg_sys::get_opcode(operator),
            key,
        );
        let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
        let scan = compat::index_beginscan(heap, index, snapshot, 1);
        pg_sys::index_rescan(scan, &mut scan_key, 1, std::ptr::null_mut(), 0);
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        let mut found = false;
        while !found && pg_sys::index_getnext_slot(scan, forward, slot) {
            // Equal by the index's collation may be wider than equal as a key.
            let attribute = *(*(*index).rd_index).indkey.values.as_ptr();
            found = equals(meta, slot, attribute, key);
        }
        pg_sys::index_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::index_close(index, pg_sys::NoLock as i32);
        found
    }
}

unsafe fn scan_heap(
    meta: &Meta,
    heap: pg_sys::Relation,
    attribute: i16,
    key: pg_sys::Datum,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: as in `holds`; a plain heap scan without page-at-a-time mode,
    // which dirty snapshots do not support.
    unsafe {
        let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN | pg_sys::ScanOptions::SO_ALLOW_STRAT;
        let scan = pg_sys::heap_beginscan(
            heap,
            snapshot,
            0,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            flags,
        );
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        let mut found = false;
        while !found && pg_sys::heap_getnextslot(scan, forward, slot) {
            found = equals(meta, slot, attribute, key);
        }
        pg_sys::heap_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        found
    }
}

unsafe fn equals(
    meta: &Meta,
    row: *mut pg_sys::TupleTableSlot,
    attribute: i16,
    key: pg_sys::Datum,
) -> bool {
    // SAFETY: the slot holds a row of the leaf.
    unsafe { slot::column(row, attribute) }.is_some_and(|value| meta.key.equal(value, key))
}
