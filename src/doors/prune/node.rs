//! Running PssAppend: one child after the other, of those that were chosen for this scan. A child is
//! started when it is first needed, and kept for later scans.
//!
//! Frames that pass rows on are unguarded and hold nothing with a destructor.

use std::ffi::c_int;
use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::choose;
use super::explain;
use super::plan::{Child, Head, Layout};
use crate::doors::node::{self, Methods};
use crate::doors::planner::entries;
use crate::homes::Reader;
use crate::raw;

static EXEC: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: c"PssAppend".as_ptr(),
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
    ExplainCustomScan: Some(explain::explain),
});

/// One of the children while the node runs.
#[repr(C)]
pub struct Branch {
    pub child: Child,
    plan: *mut pg_sys::Plan,
    /// Null: not started yet.
    pub state: *mut pg_sys::PlanState,
    /// The scan that it was last made ready for.
    scan: u64,
    pub chosen: bool,
}

#[repr(C)]
pub struct AppendState {
    pub css: pg_sys::CustomScanState,
    pub head: Head,
    /// The keys asked for, one value.
    key: *mut pg_sys::ExprState,
    pub branches: *mut Branch,
    pub n: usize,
    flags: c_int,
    /// Whether children have been chosen for the current scan, and where it is among them.
    is_chosen: bool,
    next: usize,
    current: *mut pg_sys::PlanState,
    /// Counts rescans, with all parameters that ever changed for one.
    scan: u64,
    changed: *mut pg_sys::Bitmapset,
    /// Opened at the first look-up.
    pub reader: Option<Reader>,
    /// Scans that had to search all partitions.
    pub searches: u64,
}

impl AppendState {
    /// The child that stands for all others, if rows come in an order.
    pub fn whole(&self) -> Option<&Branch> {
        self.branches().last().filter(|_| self.head.is_ordered)
    }

    /// Chooses all partitions.
    pub fn choose_all(&mut self) {
        let whole = if self.head.is_ordered { self.n - 1 } else { 0 };
        for (i, branch) in self.branches_mut().iter_mut().enumerate() {
            branch.chosen = i >= whole;
        }
        self.searches += 1;
    }

    pub fn branches(&self) -> &[Branch] {
        // SAFETY: allocated with as many in `create_state`.
        unsafe { std::slice::from_raw_parts(self.branches, self.n) }
    }

    pub fn branches_mut(&mut self) -> &mut [Branch] {
        // SAFETY: as above, and nobody else has them now.
        unsafe { std::slice::from_raw_parts_mut(self.branches, self.n) }
    }
}

/// # Safety
/// Called by the executor for a node of ours.
#[pg_guard]
pub unsafe extern "C-unwind" fn create_state(scan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: zeroed memory is a valid state, but for `reader`; the private list is ours.
    unsafe {
        let (head, children) = Layout::of(scan);
        let n = children.len();
        let branches = pg_sys::palloc0(n * size_of::<Branch>()).cast::<Branch>();
        let plans = entries::<pg_sys::Plan>((*scan).custom_plans);
        for (i, (child, plan)) in children.zip(plans).enumerate() {
            let state = null_mut();
            branches.add(i).write(Branch { child, plan, state, scan: 0, chosen: false });
        }
        let state = pg_sys::palloc0(size_of::<AppendState>()).cast::<AppendState>();
        (*state).css.ss.ps.type_ = pg_sys::NodeTag::T_CustomScanState;
        (*state).css.methods = &EXEC.0;
        (*state).head = head;
        (*state).branches = branches;
        (*state).n = n;
        (&raw mut (*state).reader).write(None);
        state.cast()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    flags: c_int,
) {
    // SAFETY: a state of ours, being initialized; rows come in the children's own slots, of any kind.
    unsafe {
        let state = &mut *node.cast::<AppendState>();
        let ss = &mut state.css.ss;
        ss.ps.scanopsfixed = false;
        pg_sys::ExecAssignScanProjectionInfoWithVarno(ss, pg_sys::INDEX_VAR as _);
        let scan = ss.ps.plan.cast::<pg_sys::CustomScan>();
        let key = (*(*(*scan).custom_exprs).elements).ptr_value;
        state.key = pg_sys::ExecInitExpr(key.cast(), &mut state.css.ss.ps);
        state.flags = flags;
        if flags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
            // A plan that is only shown is shown whole.
            let first = if state.head.is_ordered { state.n - 1 } else { 0 };
            for i in first..state.n {
                let plan = (*state.branches.add(i)).plan;
                keep(state, i, pg_sys::ExecInitNode(plan, estate, flags));
            }
        }
    }
}

#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe extern "C-unwind" fn execute(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the node's own state and children; slots belong to the executor.
    unsafe {
        let state = node.cast::<AppendState>();
        if !(*state).is_chosen {
            choose_branches(state);
        }
        loop {
            if (*state).current.is_null() {
                (*state).current = next_child(state);
            }
            let child = (*state).current;
            if child.is_null() {
                return null_mut();
            }
            if !(*child).chgParam.is_null() {
                raw::ExecReScan(child);
            }
            let Some(next) = (*child).ExecProcNode else { return null_mut() };
            let row = next(child);
            if !row.is_null() && u32::from((*row).tts_flags) & pg_sys::TTS_FLAG_EMPTY == 0 {
                let projection = (*node).ss.ps.ps_ProjInfo;
                return if projection.is_null() { row } else { node::project(projection, row) };
            }
            (*state).current = null_mut();
        }
    }
}

/// Computes the keys asked for and chooses the children that can hold their rows.
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe fn choose_branches(state: *mut AppendState) {
    // SAFETY: the node's own expression, evaluated in its per-tuple memory.
    unsafe {
        let econtext = (*state).css.ss.ps.ps_ExprContext;
        raw::MemoryContextReset((*econtext).ecxt_per_tuple_memory);
        let outer = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*econtext).ecxt_per_tuple_memory;
        let mut null = false;
        if let Some(evaluate) = (*(*state).key).evalfunc {
            let value = evaluate((*state).key, econtext, &mut null);
            choose::choose(state, value, null);
        }
        pg_sys::CurrentMemoryContext = outer;
        (*state).is_chosen = true;
        (*state).next = 0;
    }
}

/// The next child that was chosen, ready to be run; null: there are no more.
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
unsafe fn next_child(state: *mut AppendState) -> *mut pg_sys::PlanState {
    // SAFETY: the node's own branches; a child is started in the executor's memory.
    unsafe {
        while (*state).next < (*state).n {
            let i = (*state).next;
            let branch = (*state).branches.add(i);
            (*state).next += 1;
            if !(*branch).chosen {
                continue;
            }
            if (*branch).state.is_null() {
                let estate = (*state).css.ss.ps.state;
                let outer = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = (*estate).es_query_cxt;
                let child = raw::ExecInitNode((*branch).plan, estate, (*state).flags);
                pg_sys::CurrentMemoryContext = outer;
                keep(state, i, child);
            } else if (*branch).scan != (*state).scan {
                make_ready(state, i);
                if (*(*branch).state).chgParam.is_null() {
                    raw::ExecReScan((*branch).state);
                }
            }
            return (*branch).state;
        }
        null_mut()
    }
}

/// Takes a child that was just started into the node's state.
#[pg_guard]
unsafe extern "C-unwind" fn keep(state: *mut AppendState, i: usize, child: *mut pg_sys::PlanState) {
    // SAFETY: the node's own state; the list lives as long as the executor's state.
    unsafe {
        let branch = (*state).branches.add(i);
        (*branch).state = child;
        (*branch).scan = (*state).scan;
        let context = (*(*state).css.ss.ps.state).es_query_cxt;
        let outer = pg_sys::MemoryContextSwitchTo(context);
        (*state).css.custom_ps = pg_sys::lappend((*state).css.custom_ps, child.cast());
        pg_sys::MemoryContextSwitchTo(outer);
    }
}

/// Tells a child of an earlier scan which parameters have changed since. Some may have changed
/// before its last scan only: one more rescan is never wrong.
#[pg_guard]
unsafe extern "C-unwind" fn make_ready(state: *mut AppendState, i: usize) {
    // SAFETY: the node's own state.
    unsafe {
        let branch = (*state).branches.add(i);
        (*branch).scan = (*state).scan;
        pg_sys::UpdateChangedParamSet((*branch).state, (*state).changed);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the node's own state; the set lives as long as the executor's state.
    unsafe {
        let state = &mut *node.cast::<AppendState>();
        let changed = state.css.ss.ps.chgParam;
        if !changed.is_null() {
            let context = (*state.css.ss.ps.state).es_query_cxt;
            let outer = pg_sys::MemoryContextSwitchTo(context);
            state.changed = pg_sys::bms_add_members(state.changed, changed);
            pg_sys::MemoryContextSwitchTo(outer);
            state.is_chosen = false;
        }
        state.scan += 1;
        state.next = 0;
        state.current = null_mut();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: ends the children that were started.
    unsafe {
        let state = &mut *node.cast::<AppendState>();
        state.reader = None;
        for branch in state.branches_mut() {
            if !branch.state.is_null() {
                pg_sys::ExecEndNode(branch.state);
            }
        }
    }
}
