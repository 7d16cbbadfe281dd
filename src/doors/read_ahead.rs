//! Rows that the route node reads ahead, so that their keys are looked up
//! together. Copies, in memory of their own: the child reuses its rows.
//!
//! Only where it makes no difference to the statement (`volatility.rs`). Every function
//! here is raw: errors fly over its frames, which hold nothing with a destructor.

use std::mem::size_of;

use pgrx::pg_sys;

use crate::router::BATCH;
use crate::{compat, raw, slot};

/// Bytes of values after which no more rows are read.
const MAX_BYTES: usize = 1 << 20;

/// One row: a value and a null flag for each column.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Row {
    pub values: *mut pg_sys::Datum,
    pub nulls: *mut bool,
}

#[repr(C)]
pub struct ReadAhead {
    rows: [Row; BATCH],
    len: usize,
    next: usize,
    bytes: usize,
    /// The child has no more rows.
    pub exhausted: bool,
    columns: usize,
    /// Of each column `attlen`, 0 if it is passed by value.
    lengths: *mut i16,
    /// Where values that are passed by reference are copied.
    values: pg_sys::MemoryContext,
}

impl ReadAhead {
    /// Room for a batch of rows like `row`, in `context`.
    pub unsafe fn new(
        context: pg_sys::MemoryContext,
        row: *mut pg_sys::TupleTableSlot,
    ) -> *mut Self {
        // SAFETY: zeroed memory is an empty batch; the arrays follow at once.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(context);
            let ahead = pg_sys::palloc0(size_of::<Self>()).cast::<Self>();
            let descriptor = (*row).tts_tupleDescriptor;
            let n = (*descriptor).natts as usize;
            (*ahead).columns = n;
            (*ahead).lengths = pg_sys::palloc(n * size_of::<i16>()).cast();
            for at in 0..n {
                let column = compat::attribute(descriptor, at);
                let length = if (*column).attbyval { 0 } else { (*column).attlen };
                *(*ahead).lengths.add(at) = length;
            }
            let values = pg_sys::palloc(BATCH * n * size_of::<pg_sys::Datum>());
            let nulls = pg_sys::palloc(BATCH * n);
            for (i, row) in (*ahead).rows.iter_mut().enumerate() {
                row.values = values.cast::<pg_sys::Datum>().add(i * n);
                row.nulls = nulls.cast::<bool>().add(i * n);
            }
            (*ahead).values = pg_sys::AllocSetContextCreateInternal(
                context,
                c"pss rows read ahead".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            pg_sys::MemoryContextSwitchTo(before);
            ahead
        }
    }

    /// Forgets all rows: the child begins anew.
    pub unsafe fn restart(ahead: *mut Self) {
        // SAFETY: a batch made by `new`.
        unsafe {
            ((*ahead).len, (*ahead).next, (*ahead).exhausted) = (0, 0, false);
        }
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows[..self.len]
    }

    pub unsafe fn is_full(ahead: *mut Self) -> bool {
        // SAFETY: a batch made by `new`.
        unsafe { (*ahead).len == BATCH || (*ahead).bytes >= MAX_BYTES }
    }

    /// Copies a row; the first one after the last was taken begins a new batch.
    #[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
    pub unsafe fn push(ahead: *mut Self, source: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the batch is not full; the row is like the one it was made for.
        unsafe {
            if (*ahead).next == (*ahead).len {
                raw::MemoryContextReset((*ahead).values);
                ((*ahead).len, (*ahead).next, (*ahead).bytes) = (0, 0, 0);
            }
            let row = (*ahead).rows[(*ahead).len];
            let n = (*ahead).columns;
            if ((*source).tts_nvalid as usize) < n {
                raw::slot_getsomeattrs_int(source, n as i32);
            }
            std::ptr::copy_nonoverlapping((*source).tts_isnull, row.nulls, n);
            let before = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = (*ahead).values;
            for at in 0..n {
                let value = *(*source).tts_values.add(at);
                let length = i32::from(*(*ahead).lengths.add(at));
                let copied = if length == 0 || *row.nulls.add(at) {
                    value
                } else {
                    (*ahead).bytes += raw::datumGetSize(value, false, length);
                    raw::datumCopy(value, false, length)
                };
                *row.values.add(at) = copied;
            }
            pg_sys::CurrentMemoryContext = before;
            (*ahead).len += 1;
        }
    }

    /// Hands the next row out in `slot`; false if there is none.
    #[allow(ffi_unwind_calls, reason = "an error passes through a frame without destructors")]
    pub unsafe fn pop(ahead: *mut Self, into: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: the slot is the node's own, virtual, with the columns of the batch.
        unsafe {
            if (*ahead).next == (*ahead).len {
                return false;
            }
            let row = (*ahead).rows[(*ahead).next];
            (*ahead).next += 1;
            let n = (*ahead).columns;
            slot::clear(into);
            std::ptr::copy_nonoverlapping(row.values, (*into).tts_values, n);
            std::ptr::copy_nonoverlapping(row.nulls, (*into).tts_isnull, n);
            (*into).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
            (*into).tts_nvalid = n as i16;
            true
        }
    }
}
