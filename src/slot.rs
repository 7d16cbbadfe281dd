//! Reading tuple slots.

use pgrx::pg_sys;

/// Makes the slot's first `n` columns readable in `tts_values` and `tts_isnull`.
/// Virtual slots have them from the start.
///
/// # Safety
/// The slot holds a row of at least `n` columns.
pub unsafe fn deform(slot: *mut pg_sys::TupleTableSlot, n: i16) {
    // SAFETY: as stated.
    unsafe {
        if (*slot).tts_nvalid < n {
            pg_sys::slot_getsomeattrs_int(slot, i32::from(n));
        }
    }
}

/// Column `attribute` (from 1), or `None` if it is NULL.
///
/// # Safety
/// The slot holds a row of at least `attribute` columns.
pub unsafe fn column(slot: *mut pg_sys::TupleTableSlot, attribute: i16) -> Option<pg_sys::Datum> {
    // SAFETY: as stated.
    unsafe {
        deform(slot, attribute);
        let at = attribute as usize - 1;
        (!*(*slot).tts_isnull.add(at)).then(|| *(*slot).tts_values.add(at))
    }
}

/// Empties the slot, which lets go of what it pins.
///
/// # Safety
/// The slot is live. The frame is raw: an error flies over it.
#[allow(ffi_unwind_calls, reason = "clearing a slot raises no error")]
pub unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: every kind of slot can be cleared.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            clear(slot);
        }
    }
}
