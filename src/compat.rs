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

/// Column `at` (from 0) of a row's description.
///
/// # Safety
/// The description has that column.
pub unsafe fn attribute(
    descriptor: pg_sys::TupleDesc,
    at: usize,
) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: since 18 the attributes follow an array of compact ones of the same length.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return (*descriptor).attrs.as_ptr().add(at);
        #[cfg(feature = "pg18")]
        {
            let n = (*descriptor).natts as usize;
            let compact = (*descriptor).compact_attrs.as_ptr();
            compact.add(n).cast::<pg_sys::FormData_pg_attribute>().add(at)
        }
    }
}

/// How many elements the planner expects an array expression to have.
///
/// # Safety
/// Live planner data.
pub unsafe fn estimate_array_length(
    root: *mut pg_sys::PlannerInfo,
    expression: *mut pg_sys::Node,
) -> f64 {
    // SAFETY: passed on; the planner's data is asked for since 17.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        {
            let _ = root;
            f64::from(pg_sys::estimate_array_length(expression))
        }
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        pg_sys::estimate_array_length(root, expression)
    }
}

/// Where the program of a projection, which has no value of its own, is to say that its value is
/// NULL: since 18 there must be no such place.
pub fn null_of_projection(place: &mut bool) -> *mut bool {
    if cfg!(feature = "pg18") { std::ptr::null_mut() } else { place }
}
