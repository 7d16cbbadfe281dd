//! What our plan nodes have in common: one child whose rows they pass on, changed
//! in a slot of their own. Frames that pass rows on are unguarded and hold nothing
//! with a destructor.

use std::ffi::{c_int, c_void};
use std::mem::size_of;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::raw;

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

/// Keeps a Rust value as long as a memory context: an ERROR runs no destructor of ours.
///
/// # Safety
/// `context` is alive; nobody uses the value after it.
pub unsafe fn keep<T>(context: pg_sys::MemoryContext, value: T) -> *mut T {
    unsafe extern "C-unwind" fn free<T>(value: *mut c_void) {
        // SAFETY: made by Box::into_raw below, and freed by this callback alone.
        drop(unsafe { Box::from_raw(value.cast::<T>()) });
    }
    // SAFETY: the callback is allocated in the context that it is registered with.
    unsafe {
        let value = Box::into_raw(Box::new(value));
        let callback =
            pg_sys::MemoryContextAllocZero(context, size_of::<pg_sys::MemoryContextCallback>())
                .cast::<pg_sys::MemoryContextCallback>();
        (*callback).func = Some(free::<T>);
        (*callback).arg = value.cast();
        pg_sys::MemoryContextRegisterResetCallback(context, callback);
        value
    }
}
