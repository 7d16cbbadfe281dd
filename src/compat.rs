//! Differences between PostgreSQL majors, each behind a name. The only file
//! that asks which version it is built for, besides the raw declarations.

use pgrx::pg_sys;

/// Identifier of a plan's query, 0 if none was computed.
///
/// # Safety
/// `statement` is a plan.
pub unsafe fn query_id(statement: *mut pg_sys::PlannedStmt) -> u64 {
    // SAFETY: a plain field; signed since 18.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return (*statement).queryId;
        #[cfg(feature = "pg18")]
        (*statement).queryId.cast_unsigned()
    }
}

/// `index_beginscan` of a plain scan.
///
/// # Safety
/// As for `index_beginscan`: open relations, a snapshot that outlives the scan.
pub unsafe fn index_beginscan(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: passed on.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(heap, index, snapshot, keys, 0);
        #[cfg(feature = "pg18")]
        pg_sys::index_beginscan(heap, index, snapshot, std::ptr::null_mut(), keys, 0)
    }
}
