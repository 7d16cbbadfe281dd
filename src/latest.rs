//! Reading the catalog as it is now, whatever snapshot the transaction keeps.
//!
//! Ordinary SPI takes the transaction's snapshot as soon as it has written
//! something: under REPEATABLE READ the router would then see yesterday's
//! partitions, and remember them. Here queries run read-only under the latest
//! snapshot, our own changes included.

use std::ffi::CStr;

use pgrx::{FromDatum, pg_sys};

/// The rows of a query, alive until the closure that was given them returns.
pub struct Rows {
    table: *mut pg_sys::SPITupleTable,
    n: usize,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.n
    }

    /// Column `column` (from 1) of row `row` (from 0); `None`: NULL, or no such row.
    pub fn get<T: FromDatum>(&self, row: usize, column: i32) -> Option<T> {
        if row >= self.n {
            return None;
        }
        let mut null = false;
        // SAFETY: the row exists; the value is of the type that the query's text gives it.
        unsafe {
            let tuple = *(*self.table).vals.add(row);
            let value = pg_sys::SPI_getbinval(tuple, (*self.table).tupdesc, column, &mut null);
            T::from_datum(value, null)
        }
    }
}

/// Runs a query of ours with one argument, the OID of a table.
pub fn select<R>(sql: &CStr, relation: pg_sys::Oid, f: impl FnOnce(&Rows) -> R) -> R {
    select_with(sql, &[(pg_sys::OIDOID, relation.into())], f)
}

/// Runs a query of ours with arguments (type, value).
pub fn select_with<R>(
    sql: &CStr,
    arguments: &[(pg_sys::Oid, pg_sys::Datum)],
    f: impl FnOnce(&Rows) -> R,
) -> R {
    let (mut types, mut values): (Vec<_>, Vec<_>) = arguments.iter().copied().unzip();
    // SAFETY: snapshot and SPI connection are opened and closed in pairs (by the
    // abort, if an ERROR comes between); the rows are used before SPI_finish.
    unsafe {
        let snapshot = if pg_sys::IsInParallelMode() {
            pg_sys::GetTransactionSnapshot()
        } else {
            pg_sys::CommandCounterIncrement();
            pg_sys::GetLatestSnapshot()
        };
        pg_sys::PushActiveSnapshot(snapshot);
        pg_sys::SPI_connect();
        let status = pg_sys::SPI_execute_with_args(
            sql.as_ptr(),
            arguments.len() as i32,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            std::ptr::null(),
            true,
            0,
        );
        let n = if status == pg_sys::SPI_OK_SELECT as i32 { pg_sys::SPI_processed } else { 0 };
        let result = f(&Rows { table: pg_sys::SPI_tuptable, n: n as usize });
        pg_sys::SPI_finish();
        pg_sys::PopActiveSnapshot();
        result
    }
}
