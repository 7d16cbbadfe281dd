//! Whether a COPY's new keys may be recorded together: not if something that runs between two of
//! its rows could look at the row map, and see what a COPY row by row would not show. (Triggers of
//! partitions the router sees for itself.)

use pgrx::pg_sys;

use super::statement::Copy;
use crate::compat;

/// Whether nothing runs between the rows of a COPY into `relation` that could look at tables: a
/// condition of the user's, a volatile default, a domain's check, or, after the last row, a
/// statement's trigger.
pub fn may_defer(copy: &Copy, relation: pg_sys::Oid) -> bool {
    // SAFETY: the relation is locked by the COPY; our reference to it ends here.
    unsafe {
        let table = pg_sys::RelationIdGetRelation(relation);
        let triggered = (*table).trigdesc.as_ref().is_some_and(|d| d.trig_insert_after_statement);
        let columns = (0..(*(*table).rd_att).natts as usize).map(|at| {
            let column = compat::attribute((*table).rd_att, at);
            (at as i32 + 1, (*column).attisdropped, (*column).atttypid)
        });
        let quiet = |(number, dropped, of_type): (i32, bool, pg_sys::Oid)| {
            dropped
                || !pg_sys::DomainHasConstraints(of_type)
                    && !pg_sys::contain_volatile_functions_not_nextval(
                        pg_sys::build_column_default(table, number),
                    )
        };
        let defers = !copy.has_condition() && !triggered && columns.into_iter().all(quiet);
        pg_sys::RelationClose(table);
        defers
    }
}
