//! The plan node under an UPDATE that sets the distribution column: it fills
//! `pss_partition` with the home of the row's new key, and native row movement
//! carries the row there. The new key has been evaluated once, in the subplan.
//!
//! A row that keeps its key keeps its partition, and is no news to the router.

use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::quote_literal as literal;

use super::node::{self, Methods, RouterCell};
use super::route_plan::Rehome;
use crate::catalog::relation_name;
use crate::error::{OrRaise, PssError, Result};
use crate::meta::{self, Meta};
use crate::moves;
use crate::router::{Door, Router};

/// What the planner makes the node of.
pub static SCAN: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: c"PssRehome".as_ptr(),
    CreateCustomScanState: Some(create_state),
});

static EXEC: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: c"PssRehome".as_ptr(),
    BeginCustomScan: Some(node::begin),
    ExecCustomScan: Some(execute),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(node::rescan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(explain),
});

#[repr(C)]
struct RehomeState {
    css: pg_sys::CustomScanState,
    rehome: Rehome,
    /// Made at the first row whose key changes.
    router: RouterCell,
    /// Rows whose new key lives in another partition.
    moved: u64,
}

pub fn register() {
    // SAFETY: the table is static; registered once a process, in _PG_init.
    unsafe { pg_sys::RegisterCustomScanMethods(&SCAN.0) };
}

#[pg_guard]
unsafe extern "C-unwind" fn create_state(node: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: zeroed memory is a valid state; the private list is ours.
    unsafe {
        let state = pg_sys::palloc0(size_of::<RehomeState>()).cast::<RehomeState>();
        (*state).css.ss.ps.type_ = pg_sys::NodeTag::T_CustomScanState;
        (*state).css.methods = &EXEC.0;
        (*state).rehome = Rehome::from_list((*node).custom_private);
        state.cast()
    }
}

#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn execute(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the node's own state and child; slots belong to the executor.
    unsafe {
        let source = node::next_of((*node).ss.ps.lefttree);
        if source.is_null() {
            return null_mut();
        }
        let row = node::copy_row(source, (*node).ss.ss_ScanTupleSlot);
        rehome(node.cast(), row);
        row
    }
}

/// Fills the partition of a changed row.
#[pg_guard]
unsafe extern "C-unwind" fn rehome(state: *mut RehomeState, row: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the node's state and the row it is about to pass on.
    unsafe {
        let state = &mut *state;
        let (values, nulls) = ((*row).tts_values, (*row).tts_isnull);
        let value = |at: i16| (!*nulls.add(at as usize)).then(|| *values.add(at as usize));
        let number = |at: i16| value(at).map_or(-1, |value| value.value() as i32);
        let at = state.rehome;
        let (key, old_key) = (value(at.key_at), value(at.old_key_at));
        let (given, old) = (number(at.partition_at), number(at.old_partition_at));
        let router = state.router.get((*state.css.ss.ps.state).es_query_cxt, at.relation);
        let partition = home(router, key, old_key, given, old).or_raise();
        if partition != old {
            refuse_foreign(router.meta(), old).or_raise();
            state.moved += 1;
        }
        *values.add(at.partition_at as usize) = pg_sys::Datum::from(partition);
        *nulls.add(at.partition_at as usize) = false;
    }
}

/// Where the row belongs: `given` is what the statement sets pss_partition to, if anything
/// but what the row had.
pub fn home(
    router: &mut Router,
    key: Option<pg_sys::Datum>,
    old_key: Option<pg_sys::Datum>,
    given: i32,
    old: i32,
) -> Result<i32> {
    let same = match (key, old_key) {
        (Some(key), Some(old_key)) => router.meta().key.equal(key, old_key),
        _ => false,
    };
    if given == old || given == -1 {
        return match same {
            true => Ok(old),
            false => router.route(key, None, Door::Planner).map(i32::from),
        };
    }
    let meta = router.meta();
    if key.is_some_and(|key| same && moves::carries(meta, meta.key.hash(key), given)) {
        return Ok(given);
    }
    let home = router.route_named(key, given, Door::Planner).map(i32::from);
    let there_is = u16::try_from(given).is_ok_and(|n| router.meta().position(n).is_some());
    home.map_err(|e| match same && there_is {
        true => e.hint(format!(
            "To move all rows of the key, run SELECT pss_move_key({}, key, {given}).",
            literal(relation_name(router.meta().table.relation))
        )),
        false => e,
    })
}

/// PostgreSQL does not move rows out of foreign tables.
fn refuse_foreign(meta: &Meta, old: i32) -> Result<()> {
    let leaf = u16::try_from(old)
        .ok()
        .and_then(|number| meta.position(number))
        .map(|position| meta.table.partitions[position].leaf);
    // SAFETY: a catalog look-up of an existing relation.
    let foreign = leaf.is_some_and(|leaf| unsafe {
        pg_sys::get_rel_relkind(leaf) as u8 == pg_sys::RELKIND_FOREIGN_TABLE
    });
    if !foreign {
        return Ok(());
    }
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot move a row out of partition {old}, which is a foreign table"),
    )
    .detail("The row's new key lives in another partition.")
    .hint("Delete the row and insert it with its new key."))
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the node's state, and its child that was initialized by `node::begin`.
    unsafe {
        (*node.cast::<RehomeState>()).router.close();
        node::end(node);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn explain(
    node: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: the node's state; names are C strings that outlive the calls.
    unsafe {
        let state = &*node.cast::<RehomeState>();
        let Some(meta) = meta::table(state.rehome.relation).or_raise() else { return };
        let column = std::ffi::CString::new(meta.table.distribution_column.as_str());
        let column = column.unwrap_or_default();
        pg_sys::ExplainPropertyText(c"Distribution Column".as_ptr(), column.as_ptr(), es);
        if (*es).analyze {
            let moved = state.moved as i64;
            pg_sys::ExplainPropertyInteger(c"Rows Moved".as_ptr(), std::ptr::null(), moved, es);
        }
    }
}
