//! Whether a map is complete, as a snapshot sees it.
//!
//! A session's own description of a table follows the catalog by invalidation messages, which come
//! after the commit that they tell of. Row mode does not mind: a miss means all partitions. In slot
//! mode a map that lacks a home looks like any other, so its state is read with the very snapshot
//! that rows are read with.

use pgrx::pg_sys;

/// Whether `snapshot` sees `map` as the complete map of a table.
///
/// # Safety
/// `snapshot` is a live MVCC snapshot.
pub unsafe fn complete_in(
    relation: pg_sys::Oid,
    map: pg_sys::Oid,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: a table of the catalog and its primary key, opened and closed in pairs; the columns
    // are those of sql/catalog.sql.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"pss".as_ptr(), false);
        let index = pg_sys::get_relname_relid(c"map_state_pkey".as_ptr(), schema);
        let heap = pg_sys::table_open(
            pg_sys::get_relname_relid(c"map_state".as_ptr(), schema),
            pg_sys::AccessShareLock as i32,
        );
        let mut key = pg_sys::ScanKeyData::default();
        let (equal, operator) = (pg_sys::BTEqualStrategyNumber as u16, pg_sys::F_OIDEQ.into());
        pg_sys::ScanKeyInit(&mut key, 1, equal, operator, relation.into());
        let scan = pg_sys::systable_beginscan(heap, index, true, snapshot, 1, &mut key);
        let row = pg_sys::systable_getnext(scan);
        let column = |attribute: i32| {
            let mut null = false;
            pg_sys::heap_getattr(row, attribute, (*heap).rd_att, &mut null)
        };
        let complete =
            !row.is_null() && column(2) == pg_sys::Datum::from(map) && column(3).value() as u8 != 0;
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(heap, pg_sys::AccessShareLock as i32);
        complete
    }
}
