//! SQL helpers of this module: commands, rows, and whose rights they run with.
//!
//! Identifiers reach command text only through format('%I'), regclass output or
//! `quote_identifier`; values only as parameters or quoted literals.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::SpiHeapTupleData;

use crate::error::{PssError, Result};
use crate::rights::no_such_relation;

pub use pgrx::spi::{quote_identifier as ident, quote_literal as literal};

/// Runs one command.
pub fn run(command: &str) -> Result<()> {
    Ok(Spi::run(command)?)
}

/// Runs commands in order.
pub fn run_all(commands: &[String]) -> Result<()> {
    commands.iter().try_for_each(|command| run(command))
}

/// Rows of a query with the latest snapshot, also of what this transaction changed.
pub fn rows<R>(
    query: &str,
    args: &[DatumWithOid<'_>],
    mut row: impl FnMut(&SpiHeapTupleData<'_>) -> Result<R>,
) -> Result<Vec<R>> {
    Spi::connect_mut(|client| {
        let table = client.update(query, None, args)?;
        let mut result = Vec::with_capacity(table.len());
        for tuple in table {
            result.push(row(&tuple)?);
        }
        Ok(result)
    })
}

/// The first column of a query, text, without NULLs.
pub fn texts(query: &str, args: &[DatumWithOid<'_>]) -> Result<Vec<String>> {
    Ok(rows(query, args, |row| Ok(row.get::<String>(1)?))?.into_iter().flatten().collect())
}

/// The first column of the first row, if there is one and it is not NULL.
pub fn one<T: FromDatum + IntoDatum>(query: &str, args: &[DatumWithOid<'_>]) -> Result<Option<T>> {
    Ok(rows(query, args, |row| Ok(row.get::<T>(1)?))?.into_iter().next().flatten())
}

/// The column of a row that the query guarantees not to be NULL.
pub fn required<T: FromDatum + IntoDatum>(row: &SpiHeapTupleData<'_>, column: usize) -> Result<T> {
    row.get::<T>(column)?.ok_or_else(|| {
        PssError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "unexpected null in a catalog query")
    })
}

/// A name for a relation in the schema of `like`: `base_label`, cut to 63 bytes and made unique.
pub fn free_name(base: &str, label: &str, like: pg_sys::Oid) -> String {
    let c = |s: &str| std::ffi::CString::new(s).unwrap_or_default();
    let (base, label) = (c(base), c(label));
    // SAFETY: NUL-terminated names; returns a palloc'd one.
    unsafe {
        let schema = pg_sys::get_rel_namespace(like);
        let name = pg_sys::ChooseRelationName(
            base.as_ptr(),
            std::ptr::null(),
            label.as_ptr(),
            schema,
            false,
        );
        std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// The name of a relation without its schema.
pub fn bare_name(relation: pg_sys::Oid) -> Result<String> {
    let query = "SELECT relname::text FROM pg_class WHERE oid = $1";
    one::<String>(query, &[relation.into()])?.ok_or_else(|| no_such_relation(relation))
}

/// `name` in the schema of `like`, quoted.
pub fn sibling(like: pg_sys::Oid, name: &str) -> Result<String> {
    let schema = one::<String>(
        "SELECT quote_ident(nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE c.oid = $1",
        &[like.into()],
    )?
    .ok_or_else(|| no_such_relation(like))?;
    Ok(format!("{schema}.{}", ident(name)))
}

/// The schema of the extension's functions, quoted.
pub fn extension_schema() -> Result<String> {
    let query = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pss'";
    Ok(one::<String>(query, &[])?.unwrap_or_default())
}

/// Waits for others who are sharding a table. The row map becomes a member of the extension, which
/// locks that in common with others; then triggers depend on it, which locks it against all others:
/// two sessions that did so at once would wait for each other.
pub fn lock_extension() {
    // SAFETY: looks the extension up and locks it up to the end of the transaction.
    unsafe {
        let extension = pg_sys::get_extension_oid(c"pss".as_ptr(), false);
        let exclusive = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
        pg_sys::LockDatabaseObject(pg_sys::ExtensionRelationId, extension, 0, exclusive);
    }
}

/// The error that the transaction keeps one snapshot (25001): it would not see all rows that are
/// there once the locks are held.
pub fn require_latest_snapshot() -> Result<()> {
    if !crate::router::own_snapshot() {
        return Ok(());
    }
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
        "cannot reorganize a sharded table in a REPEATABLE READ or SERIALIZABLE transaction",
    )
    .detail("Rows that were committed after its snapshot would be missed.")
    .hint("Run it in a READ COMMITTED transaction."))
}

/// Runs `f` as the owner of `relation`, as REINDEX and the like do: nothing that the table
/// carries (expressions, functions) runs with more rights than its owner's.
pub fn as_table_owner<R>(relation: pg_sys::Oid, f: impl FnOnce() -> Result<R>) -> Result<R> {
    struct Restore(pg_sys::Oid, i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: restores what GetUserIdAndSecContext returned.
            unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
        }
    }
    let owner =
        one::<pg_sys::Oid>("SELECT relowner FROM pg_class WHERE oid = $1", &[relation.into()])?
            .ok_or_else(|| no_such_relation(relation))?;
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: plain getters and setters of the backend's user; restored on every way out, by
    // Drop when unwinding, and by transaction abort.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let _restore = Restore(user, context);
        let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
        pg_sys::SetUserIdAndSecContext(owner, context | flags as i32);
        f()
    }
}
