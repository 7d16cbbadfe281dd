//! The plan node under ModifyTable that fills `pss_partition` before native
//! tuple routing, so that everything above it behaves as on any partitioned
//! table: RETURNING, ON CONFLICT, row counts, batching.
//!
//! It copies each row of its child into a slot of its own and asks the router
//! for the partition. Frames that pass rows on are unguarded and hold nothing
//! with a destructor.

use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::node::{self, Methods};
use super::route_plan::Target;
use crate::error::{OrRaise, PssError, Result};
use crate::guc::{self, Routing};
use crate::meta;
use crate::raw;
use crate::router::{Door, Router};
use crate::xact;

/// What the planner makes the node of.
pub static SCAN: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: c"PssRoute".as_ptr(),
    CreateCustomScanState: Some(create_state),
});

static EXEC: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: c"PssRoute".as_ptr(),
    BeginCustomScan: Some(node::begin),
    ExecCustomScan: Some(execute),
    EndCustomScan: Some(node::end),
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
struct RouteState {
    css: pg_sys::CustomScanState,
    target: Target,
    /// Made at the first row: EXPLAIN and statements without rows need none.
    router: *mut Router,
    rows: u64,
}

pub fn register() {
    // SAFETY: the table is static; registered once a process, in _PG_init.
    unsafe { pg_sys::RegisterCustomScanMethods(&SCAN.0) };
}

#[pg_guard]
unsafe extern "C-unwind" fn create_state(node: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: zeroed memory is a valid state; the private list is ours.
    unsafe {
        let state = pg_sys::palloc0(size_of::<RouteState>()).cast::<RouteState>();
        (*state).css.ss.ps.type_ = pg_sys::NodeTag::T_CustomScanState;
        (*state).css.methods = &EXEC.0;
        (*state).target = Target::from_list((*node).custom_private);
        state.cast()
    }
}

#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn execute(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the node's own state and child; slots belong to the executor.
    unsafe {
        let child = (*node).ss.ps.lefttree;
        if !(*child).chgParam.is_null() {
            raw::ExecReScan(child);
        }
        let Some(next) = (*child).ExecProcNode else { return null_mut() };
        let source = next(child);
        if source.is_null() || u32::from((*source).tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0 {
            return null_mut();
        }
        let row = node::copy_row(source, (*node).ss.ss_ScanTupleSlot);
        route_row(node.cast(), row);
        row
    }
}

/// Fills the row's partition.
#[pg_guard]
unsafe extern "C-unwind" fn route_row(state: *mut RouteState, row: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the node's state and the row it is about to pass on.
    unsafe {
        let state = &mut *state;
        let at = |attribute: i16| attribute as usize - 1;
        let (values, nulls) = ((*row).tts_values, (*row).tts_isnull);
        let (key_at, partition_at) =
            (at(state.target.key_attribute), at(state.target.partition_attribute));
        let key = (!*nulls.add(key_at)).then(|| *values.add(key_at));
        let given =
            if *nulls.add(partition_at) { -1 } else { (*values.add(partition_at)).value() as i32 };
        let named = if given == -1 { state.target.named } else { given };
        let routing = guc::ROUTING.get();
        let partition = if named == -1 && (state.target.inbox || routing != Routing::Planner) {
            // The inbox takes it: to its trigger, or to the error that routing is off.
            if routing != Routing::Off {
                check_inbox_suffices(&state.target).or_raise();
            }
            xact::let_inbox_count(state.target.counts);
            -1
        } else if named == -1 {
            i32::from(router_of(state).route(key, None, Door::Planner).or_raise())
        } else {
            i32::from(router_of(state).route_named(key, named, Door::Planner).or_raise())
        };
        *values.add(partition_at) = pg_sys::Datum::from(partition);
        *nulls.add(partition_at) = false;
        state.rows += 1;
    }
}

/// Refuses what goes wrong when the inbox's trigger carries the row on. Checked for
/// each row: a plan may be older than the session's pss.routing.
fn check_inbox_suffices(target: &Target) -> Result<()> {
    let what = match target {
        Target { on_conflict: true, .. } => "ON CONFLICT",
        Target { returning: true, .. } => "RETURNING",
        Target { checked: true, .. } => "row security or WITH CHECK OPTION",
        _ => return Ok(()),
    };
    let table = crate::catalog::relation_name(target.relation);
    let error = PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("{what} is not supported on the inbox of \"{table}\""),
    )
    .detail("The inbox's trigger takes the row to its partition behind the statement's back.");
    Err(match target.inbox {
        true => error.hint(format!("INSERT INTO {table} instead of its inbox.")),
        false => error.hint("SET pss.routing = planner."),
    })
}

/// The node's router. It lives on Rust's heap and is freed with the executor's
/// memory: an ERROR runs no destructor of ours.
unsafe fn router_of(state: &mut RouteState) -> &mut Router {
    // SAFETY: the router lives as long as the query's memory, of which the node is a part.
    unsafe {
        if state.router.is_null() {
            let router = Router::open(state.target.relation).or_raise();
            state.router = node::keep((*state.css.ss.ps.state).es_query_cxt, router);
        }
        &mut *state.router
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn explain(
    node: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: the node's state; names are passed as C strings that outlive the calls.
    unsafe {
        let state = &*node.cast::<RouteState>();
        let Some(meta) = meta::table(state.target.relation).or_raise() else { return };
        let (epoch, fallback) = meta.epoch();
        let text = |label: &std::ffi::CStr, value: String| {
            let value = std::ffi::CString::new(value).unwrap_or_default();
            pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), es);
        };
        text(c"Distribution Column", meta.table.distribution_column.clone());
        if state.target.named >= 0 {
            text(c"Partition", state.target.named.to_string());
        } else if (*es).verbose {
            let weights =
                if fallback { "by capacity".into() } else { format!("epoch {}", epoch.number) };
            text(c"Weights", weights);
        }
        if (*es).analyze {
            pg_sys::ExplainPropertyInteger(
                c"Rows Routed".as_ptr(),
                std::ptr::null(),
                state.rows as i64,
                es,
            );
        }
    }
}
