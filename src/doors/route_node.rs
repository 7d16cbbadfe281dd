//! The plan node under ModifyTable that fills `pss_partition` before native
//! tuple routing, so that everything above it behaves as on any partitioned
//! table: RETURNING, ON CONFLICT, row counts, batching.
//!
//! It copies each row of its child into a slot of its own and asks the router
//! for the partition. Frames that pass rows on are unguarded and hold nothing
//! with a destructor.

use std::ffi::{c_int, c_void};
use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{OrRaise, PssError, Result};
use crate::guc::{self, Routing};
use crate::meta;
use crate::raw;
use crate::router::{Door, Router};
use crate::xact;

struct Methods<T>(T);
// SAFETY: constant tables of function pointers and a name.
unsafe impl<T> Sync for Methods<T> {}

static SCAN: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: c"PssRoute".as_ptr(),
    CreateCustomScanState: Some(create_state),
});

static EXEC: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: c"PssRoute".as_ptr(),
    BeginCustomScan: Some(begin),
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

/// What the planner tells the node, as its custom_private list.
#[derive(Clone, Copy)]
pub struct Target {
    /// The sharded table.
    pub relation: pg_sys::Oid,
    pub key_attribute: i16,
    pub partition_attribute: i16,
    /// The partition a direct INSERT into a leaf names; -1: none, the router chooses.
    pub named: i32,
    /// The INSERT names the inbox: rows are left to its trigger.
    pub inbox: bool,
    /// The INSERT returns its rows, which those that the inbox passes on would not be among.
    pub returning: bool,
    /// The INSERT has ON CONFLICT, of which the inbox's trigger knows nothing.
    pub on_conflict: bool,
    /// A view's WITH CHECK OPTION or a policy is checked when the row has been inserted.
    pub checked: bool,
    /// Its rows are the statement's row count.
    pub counts: bool,
}

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

/// Puts the node between `ModifyTable` and its subplan.
///
/// # Safety
/// `sub` is the subplan of an INSERT into `target`; `id` is not used by another node.
pub unsafe fn wrap(sub: *mut pg_sys::Plan, target: Target, id: c_int) -> *mut pg_sys::Plan {
    // SAFETY: builds plan nodes in the planner's memory context.
    unsafe {
        let node = pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast::<pg_sys::CustomScan>();
        let plan = &mut (*node).scan.plan;
        plan.type_ = pg_sys::NodeTag::T_CustomScan;
        plan.startup_cost = (*sub).startup_cost;
        plan.total_cost = (*sub).total_cost;
        plan.plan_rows = (*sub).plan_rows;
        plan.plan_width = (*sub).plan_width;
        plan.parallel_safe = false;
        plan.plan_node_id = id;
        plan.extParam = pg_sys::bms_copy((*sub).extParam);
        plan.allParam = pg_sys::bms_copy((*sub).allParam);
        plan.lefttree = sub;
        let (mut target_list, mut scan_list) = (null_mut(), null_mut());
        for entry in super::planner::entries::<pg_sys::TargetEntry>((*sub).targetlist) {
            let expression = (*entry).expr.cast::<pg_sys::Node>();
            let var = |varno| {
                pg_sys::makeVar(
                    varno,
                    (*entry).resno,
                    pg_sys::exprType(expression),
                    pg_sys::exprTypmod(expression),
                    pg_sys::exprCollation(expression),
                    0,
                )
            };
            // ExecCheckPlanOutput wants literal NULLs for generated and dropped columns.
            let is_null = (*expression).type_ == pg_sys::NodeTag::T_Const
                && (*expression.cast::<pg_sys::Const>()).constisnull
                && (*entry).resno != target.partition_attribute;
            let out: *mut pg_sys::Expr = if is_null {
                pg_sys::copyObjectImpl(expression.cast()).cast()
            } else {
                var(pg_sys::INDEX_VAR).cast()
            };
            let make =
                |e| pg_sys::makeTargetEntry(e, (*entry).resno, (*entry).resname, (*entry).resjunk);
            target_list = pg_sys::lappend(target_list, make(out).cast());
            scan_list = pg_sys::lappend(scan_list, make(var(pg_sys::OUTER_VAR).cast()).cast());
        }
        plan.targetlist = target_list;
        (*node).custom_scan_tlist = scan_list;
        (*node).custom_private = target.to_list();
        (*node).methods = &SCAN.0;
        node.cast()
    }
}

impl Target {
    /// The relation as an OID list would not survive beside integers: it goes as an integer.
    unsafe fn to_list(self) -> *mut pg_sys::List {
        let items = [
            self.relation.to_u32() as i32,
            i32::from(self.key_attribute),
            i32::from(self.partition_attribute),
            self.named,
            self.inbox.into(),
            self.returning.into(),
            self.on_conflict.into(),
            self.checked.into(),
            self.counts.into(),
        ];
        // SAFETY: builds an integer list in the current memory context.
        unsafe { items.iter().fold(null_mut(), |list, item| pg_sys::lappend_int(list, *item)) }
    }

    unsafe fn from_list(list: *mut pg_sys::List) -> Self {
        // SAFETY: a list made by `to_list`.
        let item = |i: usize| unsafe { (*(*list).elements.add(i)).int_value };
        Self {
            relation: (item(0) as u32).into(),
            key_attribute: item(1) as i16,
            partition_attribute: item(2) as i16,
            named: item(3),
            inbox: item(4) != 0,
            returning: item(5) != 0,
            on_conflict: item(6) != 0,
            checked: item(7) != 0,
            counts: item(8) != 0,
        }
    }
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

#[pg_guard]
unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    flags: c_int,
) {
    // SAFETY: the child is initialized in the same executor state.
    unsafe {
        let plan = (*node).ss.ps.plan;
        (*node).ss.ps.lefttree = pg_sys::ExecInitNode((*plan).lefttree, estate, flags);
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
        let row = copy_row(source, (*node).ss.ss_ScanTupleSlot);
        route_row(node.cast(), row);
        row
    }
}

/// Copies a row by reference into the node's own (virtual) slot.
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe fn copy_row(
    source: *mut pg_sys::TupleTableSlot,
    row: *mut pg_sys::TupleTableSlot,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: both slots have the same number of columns; the source outlives this row's use.
    unsafe {
        let n = (*(*row).tts_tupleDescriptor).natts;
        if i32::from((*source).tts_nvalid) < n {
            raw::slot_getsomeattrs_int(source, n);
        }
        if let Some(clear) = (*(*row).tts_ops).clear {
            clear(row);
        }
        std::ptr::copy_nonoverlapping((*source).tts_values, (*row).tts_values, n as usize);
        std::ptr::copy_nonoverlapping((*source).tts_isnull, (*row).tts_isnull, n as usize);
        (*row).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
        (*row).tts_nvalid = n as i16;
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
    // SAFETY: the callback frees the router exactly once, when the query's context goes.
    unsafe {
        if state.router.is_null() {
            let router = Box::into_raw(Box::new(Router::open(state.target.relation).or_raise()));
            let context = (*state.css.ss.ps.state).es_query_cxt;
            let callback =
                pg_sys::MemoryContextAllocZero(context, size_of::<pg_sys::MemoryContextCallback>())
                    .cast::<pg_sys::MemoryContextCallback>();
            (*callback).func = Some(free_router);
            (*callback).arg = router.cast();
            pg_sys::MemoryContextRegisterResetCallback(context, callback);
            state.router = router;
        }
        &mut *state.router
    }
}

unsafe extern "C-unwind" fn free_router(router: *mut c_void) {
    // SAFETY: made by Box::into_raw in `router_of`; nobody uses it after its context is gone.
    drop(unsafe { Box::from_raw(router.cast::<Router>()) });
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the child was initialized in `begin`.
    unsafe { pg_sys::ExecEndNode((*node).ss.ps.lefttree) }
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: as every node passes a rescan to its child.
    unsafe {
        let child = (*node).ss.ps.lefttree;
        if !(*node).ss.ps.chgParam.is_null() {
            pg_sys::UpdateChangedParamSet(child, (*node).ss.ps.chgParam);
        }
        if (*child).chgParam.is_null() {
            pg_sys::ExecReScan(child);
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
