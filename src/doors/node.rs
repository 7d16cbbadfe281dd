//! What our plan nodes have in common: one child whose rows they pass on, changed
//! in a slot of their own. Frames that pass rows on are unguarded and hold nothing
//! with a destructor.

use std::ffi::{c_int, c_void};
use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::OrRaise;
use crate::router::Router;
use crate::{compat, raw, slot};

/// A constant table of function pointers and a name.
pub struct Methods<T>(pub T);
// SAFETY: constant tables of function pointers and a name.
unsafe impl<T> Sync for Methods<T> {}

/// Begins the node's only child.
///
/// # Safety
/// A callback of the executor's.
#[pg_guard]
pub unsafe extern "C-unwind" fn begin(
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

/// The next row of a child; null: there is none.
///
/// # Safety
/// An initialized plan state.
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
pub unsafe fn next_of(child: *mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: as stated.
    unsafe {
        if !(*child).chgParam.is_null() {
            raw::ExecReScan(child);
        }
        let Some(next) = (*child).ExecProcNode else { return null_mut() };
        let row = next(child);
        if row.is_null() || u32::from((*row).tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0 {
            return null_mut();
        }
        row
    }
}

/// The columns of a node's own, computed from a child's row (null: they need none): what
/// ExecProject does.
///
/// # Safety
/// The projection was built for rows like this one, into a slot of its own.
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
pub unsafe fn project(
    projection: *mut pg_sys::ProjectionInfo,
    row: *mut pg_sys::TupleTableSlot,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: as stated.
    unsafe {
        let econtext = (*projection).pi_exprContext;
        raw::MemoryContextReset((*econtext).ecxt_per_tuple_memory);
        (*econtext).ecxt_scantuple = row;
        let program = &raw mut (*projection).pi_state;
        let result = (*program).resultslot;
        let (Some(clear), Some(evaluate)) = ((*(*result).tts_ops).clear, (*program).evalfunc)
        else {
            return null_mut();
        };
        clear(result);
        let outer = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*econtext).ecxt_per_tuple_memory;
        let mut null = false;
        evaluate(program, econtext, compat::null_of_projection(&mut null));
        pg_sys::CurrentMemoryContext = outer;
        (*result).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
        (*result).tts_nvalid = (*(*result).tts_tupleDescriptor).natts as i16;
        result
    }
}

/// Copies a row by reference into the node's own (virtual) slot.
///
/// # Safety
/// Both slots have the same number of columns; the source outlives the row's use.
#[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
pub unsafe fn copy_row(
    source: *mut pg_sys::TupleTableSlot,
    row: *mut pg_sys::TupleTableSlot,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: as stated.
    unsafe {
        let n = (*(*row).tts_tupleDescriptor).natts;
        if i32::from((*source).tts_nvalid) < n {
            raw::slot_getsomeattrs_int(source, n);
        }
        slot::clear(row);
        std::ptr::copy_nonoverlapping((*source).tts_values, (*row).tts_values, n as usize);
        std::ptr::copy_nonoverlapping((*source).tts_isnull, (*row).tts_isnull, n as usize);
        (*row).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
        (*row).tts_nvalid = n as i16;
        row
    }
}

/// Ends the child.
///
/// # Safety
/// A callback of the executor's.
#[pg_guard]
pub unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the child was initialized in `begin`.
    unsafe { pg_sys::ExecEndNode((*node).ss.ps.lefttree) }
}

/// Passes a rescan to the child.
///
/// # Safety
/// A callback of the executor's.
#[pg_guard]
pub unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::CustomScanState) {
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

/// A node's router, made with the first row that needs it: EXPLAIN and statements without rows
/// need none. Part of a node's state; zeroed memory is an empty cell.
#[repr(C)]
pub struct RouterCell(*mut Router);

impl RouterCell {
    /// The router of the sharded table `relation`.
    ///
    /// # Safety
    /// The cell lives in `context`, the statement's memory, and is closed when the statement ends.
    pub unsafe fn get(
        &mut self,
        context: pg_sys::MemoryContext,
        relation: pg_sys::Oid,
    ) -> &mut Router {
        // SAFETY: the callback runs before the context's memory, and with it the cell, goes.
        unsafe {
            if self.0.is_null() {
                let before = pg_sys::MemoryContextSwitchTo(context);
                let router = Router::open(relation).or_raise();
                let callback = pg_sys::palloc0(size_of::<pg_sys::MemoryContextCallback>())
                    .cast::<pg_sys::MemoryContextCallback>();
                pg_sys::MemoryContextSwitchTo(before);
                self.0 = Box::into_raw(Box::new(router));
                (*callback).func = Some(Self::abandon);
                (*callback).arg = std::ptr::from_mut(self).cast();
                pg_sys::MemoryContextRegisterResetCallback(context, callback);
            }
            &mut *self.0
        }
    }

    /// The router, if there is one.
    pub fn opened(&mut self) -> Option<&mut Router> {
        // SAFETY: made by `get`, and not closed since.
        unsafe { self.0.as_mut() }
    }

    /// Closes the router, if there is one.
    pub fn close(&mut self) {
        drop(self.take());
    }

    fn take(&mut self) -> Option<Box<Router>> {
        let router = std::mem::replace(&mut self.0, null_mut());
        // SAFETY: made by Box::into_raw in `get`, and taken once.
        (!router.is_null()).then(|| unsafe { Box::from_raw(router) })
    }

    /// An ERROR runs no destructor of ours: what is left with the query's memory was not closed.
    unsafe extern "C-unwind" fn abandon(cell: *mut c_void) {
        // SAFETY: the cell that `get` registered.
        if let Some(router) = unsafe { (*cell.cast::<Self>()).take() } {
            router.abandon();
        }
    }
}
