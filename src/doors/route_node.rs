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

use super::frame;
use super::node::{self, Methods, RouterCell};
use super::read_ahead::ReadAhead;
use super::route_plan::Target;
use crate::error::{OrRaise, PssError, Result};
use crate::guc::{self, Routing};
use crate::meta;
use crate::router::{Door, Router};

/// What the planner makes the node of.
pub static SCAN: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: c"PssRoute".as_ptr(),
    CreateCustomScanState: Some(create_state),
});

static EXEC: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: c"PssRoute".as_ptr(),
    BeginCustomScan: Some(node::begin),
    ExecCustomScan: Some(execute),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(rescan),
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
    router: RouterCell,
    /// Rows read ahead; null until some are.
    ahead: *mut ReadAhead,
    rows: u64,
    /// A node without a child computes one row: that has been done.
    is_done: bool,
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
        let state = node.cast::<RouteState>();
        let row = (*node).ss.ss_ScanTupleSlot;
        if !(*state).ahead.is_null() {
            if ReadAhead::pop((*state).ahead, row) {
                return row;
            }
            if (*(*state).ahead).exhausted {
                return null_mut();
            }
        }
        let child = (*node).ss.ps.lefttree;
        if child.is_null() {
            return execute_once(state);
        }
        let source = node::next_of(child);
        if source.is_null() {
            return null_mut();
        }
        node::copy_row(source, row);
        if route_row(state, row) {
            return row;
        }
        // Its key has to be looked up: together with those of the rows that follow.
        let ahead = (*state).ahead;
        ReadAhead::push(ahead, row);
        while !ReadAhead::is_full(ahead) {
            let source = node::next_of(child);
            if source.is_null() {
                (*ahead).exhausted = true;
                break;
            }
            ReadAhead::push(ahead, source);
        }
        route_ahead(state);
        ReadAhead::pop(ahead, row);
        row
    }
}

/// The only row of a node without a child, which it computes itself.
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe fn execute_once(state: *mut RouteState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the node's own state and projection, which refers to no row.
    unsafe {
        if (*state).is_done {
            return null_mut();
        }
        (*state).is_done = true;
        let row = node::project((*state).css.ss.ps.ps_ProjInfo, null_mut());
        route_row(state, row);
        row
    }
}

/// What a row says of where it belongs.
struct Place {
    key: Option<pg_sys::Datum>,
    /// The partition it names, itself or by the statement's target; -1: none.
    named: i32,
}

impl Place {
    unsafe fn of(target: &Target, values: *const pg_sys::Datum, nulls: *const bool) -> Self {
        let column = |attribute: i16| {
            let at = attribute as usize - 1;
            // SAFETY: the arrays have a place for each column of the table.
            unsafe { (!*nulls.add(at)).then(|| *values.add(at)) }
        };
        let given = column(target.partition_attribute).map_or(-1, |named| named.value() as i32);
        let named = if given == -1 { target.named } else { given };
        Self { key: column(target.key_attribute), named }
    }

    /// Whether the inbox takes the row: to its trigger, or to the error that routing is off.
    fn is_inbox(&self, target: &Target, routing: Routing) -> bool {
        self.named == -1 && (target.inbox || routing != Routing::Planner)
    }
}

/// Fills the row's partition; false, with the row as it was, if rows may be read ahead and the
/// home of its key is not at hand.
#[pg_guard]
unsafe extern "C-unwind" fn route_row(
    state: *mut RouteState,
    row: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: the node's state and the row it is about to pass on.
    unsafe {
        let state = &mut *state;
        let (values, nulls) = ((*row).tts_values, (*row).tts_isnull);
        let place = Place::of(&state.target, values, nulls);
        let routing = guc::ROUTING.get();
        let partition = if place.is_inbox(&state.target, routing) {
            if routing != Routing::Off {
                check_inbox_suffices(&state.target).or_raise();
            }
            frame::let_inbox_count(state.target.counts);
            -1
        } else if place.named != -1 {
            let named = place.named;
            i32::from(router_of(state).route_named(place.key, named, Door::Planner).or_raise())
        } else if state.target.read_ahead {
            let Some(home) = router_of(state).route_known(place.key, Door::Planner).or_raise()
            else {
                if state.ahead.is_null() {
                    let estate = state.css.ss.ps.state;
                    state.ahead = ReadAhead::new((*estate).es_query_cxt, row);
                }
                return false;
            };
            i32::from(home)
        } else {
            i32::from(router_of(state).route(place.key, None, Door::Planner).or_raise())
        };
        fill(&state.target, values, nulls, partition);
        state.rows += 1;
        true
    }
}

/// Fills the partitions of the rows read ahead.
#[pg_guard]
unsafe extern "C-unwind" fn route_ahead(state: *mut RouteState) {
    // SAFETY: the node's state; the rows are copies of its own.
    unsafe {
        let state = &mut *state;
        let target = state.target;
        let rows = (*state.ahead).rows();
        let places = rows.iter().map(|row| Place::of(&target, row.values, row.nulls));
        let places: Vec<Place> = places.collect();
        let routing = guc::ROUTING.get();
        let router = router_of(state);
        let mut homes = Vec::with_capacity(rows.len());
        if places.iter().any(|place| place.named != -1) || routing != Routing::Planner {
            // What a row names may be what a later one must follow: in their order.
            for place in &places {
                homes.push(match place.named {
                    -1 => router.route(place.key, None, Door::Planner).or_raise(),
                    named => router.route_named(place.key, named, Door::Planner).or_raise(),
                });
            }
        } else {
            let keys: Vec<_> = places.iter().map(|place| place.key).collect();
            router.route_batch(&keys, Door::Planner, &mut homes).or_raise();
        }
        for (row, home) in rows.iter().zip(&homes) {
            fill(&target, row.values, row.nulls, i32::from(*home));
        }
        state.rows += rows.len() as u64;
    }
}

unsafe fn fill(target: &Target, values: *mut pg_sys::Datum, nulls: *mut bool, partition: i32) {
    let at = target.partition_attribute as usize - 1;
    // SAFETY: the arrays have a place for each column of the table.
    unsafe {
        *values.add(at) = pg_sys::Datum::from(partition);
        *nulls.add(at) = false;
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

unsafe fn router_of(state: &mut RouteState) -> &mut Router {
    // SAFETY: the state is in the query's memory context; `end` closes the cell.
    unsafe { state.router.get((*state.css.ss.ps.state).es_query_cxt, state.target.relation) }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the node's state, and its child that was initialized by `node::begin`.
    unsafe {
        (*node.cast::<RouteState>()).router.close();
        node::end(node);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the node's state; its child begins anew.
    unsafe {
        let state = node.cast::<RouteState>();
        if !(*state).ahead.is_null() {
            ReadAhead::restart((*state).ahead);
        }
        (*state).is_done = false;
        if !(*node).ss.ps.lefttree.is_null() {
            node::rescan(node);
        }
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
