//! COPY: its rows go by the inbox trigger. Here the column list is completed
//! and the count corrected; a COPY straight into a leaf, or whose rows name their
//! partition, makes the row map incomplete until it is rebuilt.

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;

use pgrx::pg_sys;

use crate::error::{OrRaise, Result};
use crate::map;
use crate::meta::{self, Meta};

/// The COPY ... FROM in `statement`, if it is one with a table.
unsafe fn copy_from(statement: *mut pg_sys::PlannedStmt) -> Option<*mut pg_sys::CopyStmt> {
    // SAFETY: a utility statement's node begins with its tag.
    unsafe {
        let utility = (*statement).utilityStmt;
        if utility.is_null() || (*utility).type_ != pg_sys::NodeTag::T_CopyStmt {
            return None;
        }
        let copy = utility.cast::<pg_sys::CopyStmt>();
        ((*copy).is_from && !(*copy).relation.is_null()).then_some(copy)
    }
}

/// The statement to run instead of `statement`: the same, or a COPY that leaves
/// pss_partition out of its implicit column list.
///
/// # Safety
/// `statement` is about to be run by ProcessUtility.
pub unsafe fn prepare(statement: *mut pg_sys::PlannedStmt) -> *mut pg_sys::PlannedStmt {
    // SAFETY: the statement's own nodes; a changed one is a copy.
    unsafe {
        let Some(copy) = copy_from(statement) else { return statement };
        let relation = relation_of(copy, pg_sys::NoLock);
        if relation == pg_sys::InvalidOid {
            return statement;
        }
        let table = meta::table(relation).or_raise();
        if let Some(meta) = &table
            && (*copy).attlist.is_null()
        {
            return with_columns(statement, copy, meta);
        }
        let unrouted = match table {
            Some(_) => names_partition(copy),
            None => pg_sys::get_rel_relispartition(relation),
        };
        if unrouted && may_insert(relation) {
            // Locked before asking whether it is a leaf of ours: a rebuild of the
            // map waits for those who hold the lock, and sees the note of the rest.
            note_load(relation_of(copy, pg_sys::RowExclusiveLock)).or_raise();
        }
        statement
    }
}

/// Whether the rows say which partition they belong to.
unsafe fn names_partition(copy: *mut pg_sys::CopyStmt) -> bool {
    // SAFETY: a column list of strings.
    unsafe {
        super::planner::entries::<pg_sys::Node>((*copy).attlist)
            .any(|name| CStr::from_ptr(column_name(name)) == meta::PARTITION_COLUMN)
    }
}

unsafe fn column_name(node: *mut pg_sys::Node) -> *const c_char {
    // SAFETY: the node is a string of the parser's.
    unsafe { (*node.cast::<pg_sys::String>()).sval }
}

unsafe fn relation_of(copy: *mut pg_sys::CopyStmt, lock: u32) -> pg_sys::Oid {
    // SAFETY: the range variable of a parsed COPY.
    unsafe {
        pg_sys::RangeVarGetRelidExtended(
            (*copy).relation,
            lock as i32,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            null_mut(),
        )
    }
}

fn may_insert(relation: pg_sys::Oid) -> bool {
    // SAFETY: a privilege look-up for the current user.
    unsafe {
        let mode = pg_sys::ACL_INSERT as pg_sys::AclMode;
        let (user, any) = (pg_sys::GetUserId(), pg_sys::AclMaskHow::ACLMASK_ANY);
        pg_sys::pg_class_aclcheck(relation, user, mode) == pg_sys::AclResult::ACLCHECK_OK
            || pg_sys::pg_attribute_aclcheck_all(relation, user, mode, any)
                == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Rows copied into a leaf, or that name their partition themselves, pass no door of ours.
fn note_load(relation: pg_sys::Oid) -> Result<()> {
    let meta = match (meta::table(relation)?, meta::table_of_leaf(relation)?) {
        (Some(meta), _) | (None, Some((meta, 0..))) => meta,
        _ => return Ok(()),
    };
    map::lock_loads(meta.table.relation, false);
    // A rebuild may have ended while the lock was waited for.
    match meta::table(meta.table.relation)? {
        Some(meta) if meta.table.map_complete => map::set_complete(meta.table.relation, false),
        _ => Ok(()),
    }
}

unsafe fn with_columns(
    statement: *mut pg_sys::PlannedStmt,
    copy: *mut pg_sys::CopyStmt,
    meta: &Meta,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: copies the nodes before changing them; reads the table's columns.
    unsafe {
        let relation = pg_sys::table_open(meta.table.relation, pg_sys::AccessShareLock as i32);
        let descriptor = (*relation).rd_att;
        let mut columns = null_mut();
        for attribute in 1..=(*descriptor).natts as i16 {
            let name = pg_sys::get_attname(meta.table.relation, attribute, true);
            let form = pg_sys::SearchSysCache2(
                pg_sys::SysCacheIdentifier::ATTNUM as i32,
                meta.table.relation.into(),
                attribute.into(),
            );
            if form.is_null() {
                continue;
            }
            let column = pg_sys::GETSTRUCT(form).cast::<pg_sys::FormData_pg_attribute>();
            let wanted = !(*column).attisdropped
                && (*column).attgenerated == 0
                && attribute != meta.partition_attribute;
            pg_sys::ReleaseSysCache(form);
            if wanted && !name.is_null() {
                columns = pg_sys::lappend(columns, pg_sys::makeString(name).cast());
            }
        }
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        let statement = pg_sys::copyObjectImpl(statement.cast()).cast::<pg_sys::PlannedStmt>();
        debug_assert!(!copy.is_null());
        (*(*statement).utilityStmt.cast::<pg_sys::CopyStmt>()).attlist = columns;
        statement
    }
}

/// Adds the rows that the inbox carried on to the count the client sees.
///
/// # Safety
/// `statement` has just been run, and `completion` is its own or null.
pub unsafe fn complete(
    statement: *mut pg_sys::PlannedStmt,
    completion: *mut pg_sys::QueryCompletion,
    carried: u64,
) {
    // SAFETY: as stated.
    unsafe {
        if !completion.is_null() && copy_from(statement).is_some() {
            (*completion).nprocessed += carried;
        }
    }
}
