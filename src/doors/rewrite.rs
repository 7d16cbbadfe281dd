//! What is added to a query before it is planned, so that pss_partition is filled
//! where the key is set: targets of an UPDATE, the arbiter of ON CONFLICT.
//!
//! It changes nothing that a user sees of the query: no rights are asked for the
//! added columns, and its text and identifier stay as they are.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::planner::{entries, is};
use crate::meta::{Meta, PARTITION_COLUMN};

/// Names of the columns that bring the old row's key and partition to the node under an UPDATE.
pub const OLD_KEY: &CStr = c"pss_old_key";
pub const OLD_PARTITION: &CStr = c"pss_old_partition";

/// Lets an UPDATE that sets the key set pss_partition, too: to what the row has, for the
/// node to change.
///
/// # Safety
/// `parse` is an UPDATE of the table about to be planned.
pub unsafe fn update(parse: *mut pg_sys::Query, meta: &Meta) {
    // SAFETY: as stated; new nodes are made in the planner's memory context.
    unsafe {
        let targets = || entries::<pg_sys::TargetEntry>((*parse).targetList);
        let sets = |attribute: i16| targets().any(|t| !(*t).resjunk && (*t).resno == attribute);
        let known = || targets().any(|t| (*t).resjunk && named(t, OLD_KEY));
        let (key, partition) = (meta.key_attribute, meta.partition_attribute);
        if !(sets(key) || sets(partition)) || known() {
            return;
        }
        let relation = (*parse).resultRelation;
        let mut list = std::ptr::null_mut();
        // The executor wants what is stored before what is not.
        for target in targets().filter(|t| !(**t).resjunk) {
            list = pg_sys::lappend(list, target.cast());
        }
        if !sets(partition) {
            let old = column(relation, partition, meta).cast();
            let name = PARTITION_COLUMN.as_ptr().cast_mut();
            let target = pg_sys::makeTargetEntry(old, partition, name, false);
            list = pg_sys::lappend(list, target.cast());
        }
        for target in targets().filter(|t| (**t).resjunk) {
            list = pg_sys::lappend(list, target.cast());
        }
        for (name, attribute) in [(OLD_KEY, key), (OLD_PARTITION, partition)] {
            // Numbers of junk columns only have to be beyond those of the table.
            let number = i16::MAX - 1;
            let old = column(relation, attribute, meta).cast();
            let target = pg_sys::makeTargetEntry(old, number, name.as_ptr().cast_mut(), true);
            list = pg_sys::lappend(list, target.cast());
        }
        (*parse).targetList = list;
    }
}

/// Whether a target has this name.
///
/// # Safety
/// `target` is a live target entry.
pub unsafe fn named(target: *mut pg_sys::TargetEntry, name: &CStr) -> bool {
    // SAFETY: names are C strings, or null.
    unsafe { !(*target).resname.is_null() && CStr::from_ptr((*target).resname) == name }
}

/// A reference to the key or pss_partition of the `relation`-th table of the query.
pub fn column(relation: i32, attribute: i16, meta: &Meta) -> *mut pg_sys::Var {
    let (type_oid, typmod, collation) = if attribute == meta.key_attribute {
        (meta.key.type_oid, meta.key_typmod, meta.key.collation)
    } else {
        (pg_sys::INT4OID, -1, pg_sys::InvalidOid)
    };
    // SAFETY: makes a node in the current memory context.
    unsafe { pg_sys::makeVar(relation as _, attribute, type_oid, typmod, collation, 0) }
}

/// Unique keys of a sharded table end in pss_partition. A key lives in one
/// partition, so a conflict on the rest is a conflict on the whole.
///
/// # Safety
/// `conflict` is the ON CONFLICT of an INSERT into the `relation`-th table of the query
/// about to be planned; that is `named`, the sharded table or a leaf of it.
pub unsafe fn add_partition_to_arbiter(
    conflict: *mut pg_sys::OnConflictExpr,
    relation: i32,
    named: pg_sys::Oid,
    meta: &Meta,
) {
    // SAFETY: as stated. A leaf may have its columns in another order.
    unsafe {
        let key = CString::new(meta.table.distribution_column.as_str()).unwrap_or_default();
        let key_attribute = pg_sys::get_attnum(named, key.as_ptr());
        let partition_attribute = pg_sys::get_attnum(named, PARTITION_COLUMN.as_ptr());
        let names = |attribute: i16| {
            entries::<pg_sys::InferenceElem>((*conflict).arbiterElems).any(|element| {
                let node = (*element).expr;
                is(node, pg_sys::NodeTag::T_Var)
                    && (*node.cast::<pg_sys::Var>()).varattno == attribute
            })
        };
        if !names(key_attribute) || names(partition_attribute) {
            return;
        }
        let element =
            pg_sys::palloc0(size_of::<pg_sys::InferenceElem>()).cast::<pg_sys::InferenceElem>();
        (*element).xpr.type_ = pg_sys::NodeTag::T_InferenceElem;
        (*element).expr = pg_sys::makeVar(
            relation as _,
            partition_attribute,
            pg_sys::INT4OID,
            -1,
            pg_sys::InvalidOid,
            0,
        )
        .cast();
        (*conflict).arbiterElems = pg_sys::lappend((*conflict).arbiterElems, element.cast());
    }
}
