//! MERGE: its rows are made inside ModifyTable, above any node of ours. So its actions are
//! rewritten before planning: pss_partition becomes a call of a function of ours on the
//! expression of the key.
//!
//! The expression is then evaluated twice: one that might not give the same value again is
//! refused. The functions take arguments of type `internal`, so nobody can call them by
//! hand; that the user may insert or update is checked by PostgreSQL for the MERGE itself.

use std::ffi::CStr;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::planner::entries;
use super::rewrite::column;
use super::{kept, rehome_node, trigger};
use crate::catalog::relation_name;
use crate::error::{OrRaise, PssError, Result};
use crate::guc::{self, Routing};
use crate::meta::{self, Meta, PARTITION_COLUMN};
use crate::router::Door;

/// What a MERGE names: a sharded table, or a leaf of one.
struct Target {
    /// The sharded table.
    table: pg_sys::Oid,
    key_attribute: i16,
    partition_attribute: i16,
    /// The leaf's number; -1: the table itself.
    named: i32,
}

/// Lets every action that inserts a row, or sets its key, fill pss_partition.
///
/// # Safety
/// `parse` is a MERGE into `relation`, about to be planned.
pub unsafe fn rewrite(parse: *mut pg_sys::Query, relation: pg_sys::Oid) -> Result<()> {
    if let Some(meta) = meta::table(relation)? {
        let target = Target {
            table: relation,
            key_attribute: meta.key_attribute,
            partition_attribute: meta.partition_attribute,
            named: -1,
        };
        // SAFETY: as stated.
        return unsafe { actions(parse, &meta, &target) };
    }
    let Some((meta, named)) = meta::table_of_leaf(relation)? else { return Ok(()) };
    // SAFETY: as stated.
    let inserts = unsafe {
        entries::<pg_sys::MergeAction>((*parse).mergeActionList)
            .any(|action| (*action).commandType == pg_sys::CmdType::CMD_INSERT)
    };
    if named < 0 && inserts {
        let table = relation_name(meta.table.relation);
        return Err(not_on_inbox(&table).hint(format!("MERGE INTO {table} instead of its inbox.")));
    }
    let (key_attribute, partition_attribute) = meta.attributes_in(relation);
    let target = Target { table: meta.table.relation, key_attribute, partition_attribute, named };
    // SAFETY: as stated.
    unsafe { actions(parse, &meta, &target) }
}

unsafe fn actions(parse: *mut pg_sys::Query, meta: &Meta, target: &Target) -> Result<()> {
    // SAFETY: as in `rewrite`; new nodes are made in the planner's memory context.
    unsafe {
        for action in entries::<pg_sys::MergeAction>((*parse).mergeActionList) {
            match (*action).commandType {
                pg_sys::CmdType::CMD_INSERT => insert(action, meta, target)?,
                // A row cannot leave a leaf that is named: the guard sees to that.
                pg_sys::CmdType::CMD_UPDATE if target.named == -1 => {
                    update(action, (*parse).resultRelation, meta, target)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

unsafe fn insert(action: *mut pg_sys::MergeAction, meta: &Meta, target: &Target) -> Result<()> {
    // SAFETY: as in `rewrite`.
    unsafe {
        let list = (*action).targetList;
        let key = match set(list, target.key_attribute) {
            Some(key) => argument(key, "WHEN NOT MATCHED THEN INSERT", target)?,
            None => {
                pg_sys::makeNullConst(meta.key.type_oid, meta.key_typmod, meta.key.collation).cast()
            }
        };
        let partition = set(list, target.partition_attribute);
        let given = match partition {
            Some(entry) => (*entry).expr,
            None => number(-1).cast(),
        };
        let arguments = [oid(target.table).cast(), key, given.cast(), number(target.named).cast()];
        let types = [pg_sys::OIDOID, pg_sys::INTERNALOID, pg_sys::INT4OID, pg_sys::INT4OID];
        let home = call(c"merge_insert_home", &arguments, &types).cast();
        (*action).targetList = with(list, partition, home, target.partition_attribute);
        Ok(())
    }
}

unsafe fn update(
    action: *mut pg_sys::MergeAction,
    relation: i32,
    meta: &Meta,
    target: &Target,
) -> Result<()> {
    // SAFETY: as in `rewrite`.
    unsafe {
        let list = (*action).targetList;
        let (key, partition) =
            (set(list, target.key_attribute), set(list, target.partition_attribute));
        if key.is_none() && partition.is_none() {
            return Ok(());
        }
        let old_key: *mut pg_sys::Node = column(relation, target.key_attribute, meta).cast();
        let old: *mut pg_sys::Node = column(relation, target.partition_attribute, meta).cast();
        let key = match key {
            Some(key) => argument(key, "THEN UPDATE", target)?,
            None => pg_sys::copyObjectImpl(old_key.cast()).cast(),
        };
        let given = match partition {
            Some(entry) => (*entry).expr.cast(),
            None => pg_sys::copyObjectImpl(old.cast()).cast(),
        };
        let arguments = [oid(target.table).cast(), key, old_key, given, old];
        let (internal, int) = (pg_sys::INTERNALOID, pg_sys::INT4OID);
        let types = [pg_sys::OIDOID, internal, internal, int, int];
        let home = call(c"merge_update_home", &arguments, &types).cast();
        (*action).targetList = with(list, partition, home, target.partition_attribute);
        Ok(())
    }
}

/// The target that sets a column.
unsafe fn set(list: *mut pg_sys::List, attribute: i16) -> Option<*mut pg_sys::TargetEntry> {
    // SAFETY: a list of live target entries.
    entries::<pg_sys::TargetEntry>(list)
        .find(|t| unsafe { !(**t).resjunk && (**t).resno == attribute })
}

/// The list with an expression for pss_partition: in its target, or in a new one at its place.
unsafe fn with(
    list: *mut pg_sys::List,
    target: Option<*mut pg_sys::TargetEntry>,
    home: *mut pg_sys::Expr,
    attribute: i16,
) -> *mut pg_sys::List {
    // SAFETY: as in `rewrite`.
    unsafe {
        if let Some(target) = target {
            (*target).expr = home;
            return list;
        }
        let name = PARTITION_COLUMN.as_ptr().cast_mut();
        let new = pg_sys::makeTargetEntry(home, attribute, name, false);
        let before = |t: &*mut pg_sys::TargetEntry| !(**t).resjunk && (**t).resno < attribute;
        let mut ordered = null_mut();
        for entry in entries::<pg_sys::TargetEntry>(list).filter(before) {
            ordered = pg_sys::lappend(ordered, entry.cast());
        }
        ordered = pg_sys::lappend(ordered, new.cast());
        for entry in entries::<pg_sys::TargetEntry>(list).filter(|t| !before(t)) {
            ordered = pg_sys::lappend(ordered, entry.cast());
        }
        ordered
    }
}

fn not_on_inbox(table: &str) -> PssError {
    PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("MERGE ... INSERT is not supported on the inbox of \"{table}\""),
    )
    .detail("The inbox's trigger takes the row to its partition behind the statement's back.")
}

/// A copy of the key's expression, or the error (0A000) that it cannot be evaluated twice.
unsafe fn argument(
    key: *mut pg_sys::TargetEntry,
    action: &str,
    target: &Target,
) -> Result<*mut pg_sys::Node> {
    // SAFETY: as in `rewrite`.
    unsafe {
        let expression = (*key).expr.cast::<pg_sys::Node>();
        if !pg_sys::contain_volatile_functions(expression) {
            return Ok(pg_sys::copyObjectImpl(expression.cast()).cast());
        }
    }
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!(
            "MERGE ... {action} cannot compute the distribution column with a volatile function"
        ),
    )
    .detail(format!(
        "The key of a row for {} is evaluated twice: for the row, and to find its partition.",
        relation_name(target.table)
    ))
    .hint("Compute the key in a sub-query after USING, or use INSERT."))
}

fn oid(relation: pg_sys::Oid) -> *mut pg_sys::Const {
    // SAFETY: makes a node in the current memory context.
    unsafe {
        let value = pg_sys::Datum::from(relation);
        pg_sys::makeConst(pg_sys::OIDOID, -1, pg_sys::InvalidOid, 4, value, false, true)
    }
}

fn number(value: i32) -> *mut pg_sys::Const {
    // SAFETY: makes a node in the current memory context.
    unsafe {
        let value = pg_sys::Datum::from(value);
        pg_sys::makeConst(pg_sys::INT4OID, -1, pg_sys::InvalidOid, 4, value, false, true)
    }
}

/// A call of a function in schema pss. What is declared `internal` takes any value.
unsafe fn call(
    name: &CStr,
    arguments: &[*mut pg_sys::Node],
    types: &[pg_sys::Oid],
) -> *mut pg_sys::FuncExpr {
    // SAFETY: makes nodes of live ones; the function is part of the extension.
    unsafe {
        let word = |word: &CStr| pg_sys::makeString(pg_sys::pstrdup(word.as_ptr())).cast();
        let qualified = pg_sys::lappend(pg_sys::lappend(null_mut(), word(c"pss")), word(name));
        let function = pg_sys::LookupFuncName(qualified, types.len() as i32, types.as_ptr(), false);
        let list = arguments.iter().fold(null_mut(), |list, a| pg_sys::lappend(list, a.cast()));
        pg_sys::makeFuncExpr(
            function,
            pg_sys::INT4OID,
            list,
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        )
    }
}

/// The partition of a row that MERGE inserts: pss.merge_insert_home(table, key, pss_partition, leaf).
#[pg_extern(sql = false)]
fn merge_insert_home(
    table: pg_sys::Oid,
    key: Option<pgrx::Internal>,
    given: Option<i32>,
    leaf: i32,
) -> i32 {
    let run = || {
        let named = given.filter(|given| *given != -1).unwrap_or(leaf);
        if named == -1 && guc::ROUTING.get() != Routing::Planner {
            trigger::check_routing(table)?;
            return Err(not_on_inbox(&relation_name(table)).hint("SET pss.routing = planner."));
        }
        let key = datum(key);
        kept::using(|kept| {
            let router = &mut kept.table(table)?.router;
            match named {
                -1 => router.route(key, None, Door::Planner),
                named => router.route_named(key, named, Door::Planner),
            }
            .map(i32::from)
        })
    };
    run().or_raise()
}

/// The partition of a row whose key MERGE sets:
/// pss.merge_update_home(table, key, old key, pss_partition, old pss_partition).
#[pg_extern(sql = false)]
fn merge_update_home(
    table: pg_sys::Oid,
    key: Option<pgrx::Internal>,
    old_key: Option<pgrx::Internal>,
    given: Option<i32>,
    old: i32,
) -> i32 {
    kept::using(|kept| {
        let router = &mut kept.table(table)?.router;
        rehome_node::home(router, datum(key), datum(old_key), given.unwrap_or(-1), old)
    })
    .or_raise()
}

fn datum(value: Option<pgrx::Internal>) -> Option<pg_sys::Datum> {
    value.and_then(|value| value.into_datum())
}
