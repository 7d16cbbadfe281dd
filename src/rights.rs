//! Whether the caller may do what a function is asked to do: privileges and ownership.
//!
//! Only looks and refuses; it never changes whose rights anything runs with.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::catalog;
use crate::error::{PssError, Result};

/// `relation`, or the error that there is none (42P01): a regclass may be any number.
pub fn existing(relation: pg_sys::Oid) -> Result<pg_sys::Oid> {
    // SAFETY: a catalog look-up.
    let kind = unsafe { pg_sys::get_rel_relkind(relation) };
    if kind == 0 {
        return Err(no_such_relation(relation)
            .hint("SELECT relation FROM pss.tables lists the sharded tables."));
    }
    Ok(relation)
}

/// There is no such relation (42P01).
pub fn no_such_relation(relation: pg_sys::Oid) -> PssError {
    PssError::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
        format!("relation with OID {} does not exist", relation.to_u32()),
    )
}

/// The right on the table, or on any of its columns (42501 otherwise).
pub fn require_privilege(relation: pg_sys::Oid, mode: pg_sys::AclMode) -> Result<()> {
    // SAFETY: privilege look-ups for the current user on an existing relation.
    let allowed = unsafe {
        let user = pg_sys::GetUserId();
        pg_sys::pg_class_aclcheck(relation, user, mode) == pg_sys::AclResult::ACLCHECK_OK
            || pg_sys::pg_attribute_aclcheck_all(
                relation,
                user,
                mode,
                pg_sys::AclMaskHow::ACLMASK_ANY,
            ) == pg_sys::AclResult::ACLCHECK_OK
    };
    if allowed {
        return Ok(());
    }
    let right = if mode == pg_sys::ACL_INSERT as pg_sys::AclMode { "INSERT" } else { "SELECT" };
    let name = catalog::relation_name(relation);
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied for table {name}"),
    )
    .detail(format!("This function needs the {right} privilege on the table."))
    .hint(format!("GRANT {right} ON {name} TO the role.")))
}

/// The error that the caller does not own `relation` (42501), if so.
pub fn require_owner(relation: pg_sys::Oid) -> Result<()> {
    let owner = catalog::read(|client| {
        let mut row = client.select(
            "SELECT pg_catalog.pg_has_role(current_user, relowner, 'USAGE')
             FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $1",
            Some(1),
            &[relation.into()],
        )?;
        Ok(if row.next().is_some() { row.get::<bool>(1)? } else { None })
    })?
    .ok_or_else(|| no_such_relation(relation))?;
    if owner {
        return Ok(());
    }
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("must be owner of table {}", catalog::relation_name(relation)),
    )
    .hint("Ask its owner, or become a member of the owner's role."))
}

/// Raises 25006 in a read-only transaction, such as all of a standby's: better before `function`
/// has worked than when it writes.
pub fn require_read_write(function: &CStr) {
    // SAFETY: looks at the transaction; the text is copied.
    unsafe { pg_sys::PreventCommandIfReadOnly(function.as_ptr()) };
}
