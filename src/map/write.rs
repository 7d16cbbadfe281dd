//! Adding entries to an open row map, through the table and index access methods.
//!
//! A single entry takes the shortest way; a batch shares pages, and their log records, by
//! `heap_multi_insert`.

use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pss_core::key_hash::run_of;

use super::handle::range_start;
use super::{Entry, Map};
use crate::shmem::generations;

/// Entries that one insertion writes at once.
pub const BATCH: usize = 256;

/// What batches are written with, in the map's memory.
#[repr(C)]
pub(super) struct Writer {
    /// Made as they are needed.
    slots: [*mut pg_sys::TupleTableSlot; BATCH],
    /// For the tuples of one insertion.
    tuples: pg_sys::MemoryContext,
}

impl Writer {
    unsafe fn new(context: pg_sys::MemoryContext) -> *mut Self {
        // SAFETY: zeroed memory is a writer without slots.
        unsafe {
            let writer = pg_sys::MemoryContextAllocZero(context, size_of::<Self>()).cast::<Self>();
            (*writer).tuples = pg_sys::AllocSetContextCreateInternal(
                context,
                c"pss row map entries".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            writer
        }
    }

    /// Releases what it holds.
    ///
    /// # Safety
    /// `writer` is null, or of a map that is being closed in good order.
    pub(super) unsafe fn close(writer: *mut Self) {
        // SAFETY: as stated.
        unsafe {
            let Some(made) = writer.as_ref() else { return };
            for slot in made.slots.iter().filter(|slot| !slot.is_null()) {
                pg_sys::ExecDropSingleTupleTableSlot(*slot);
            }
            pg_sys::MemoryContextDelete(made.tuples);
            pg_sys::pfree(writer.cast());
        }
    }
}

impl Entry {
    /// Column `e`.
    fn e(&self) -> i64 {
        range_start(self.hash48) | i64::from(self.partition)
    }
}

impl Map {
    /// Adds entries, as part of the current transaction: at most [`BATCH`], best in
    /// the order of their hashes.
    pub fn insert(&mut self, entries: &[Entry]) {
        if entries.is_empty() {
            return;
        }
        // SAFETY: the map is open for writing.
        unsafe {
            if self.index_info.is_null() {
                let before = pg_sys::MemoryContextSwitchTo(self.context);
                self.index_info = pg_sys::BuildIndexInfo(self.index);
                pg_sys::MemoryContextSwitchTo(before);
            }
            match entries {
                [entry] => self.insert_one(entry),
                _ => self.insert_batch(&entries[..entries.len().min(BATCH)]),
            }
        }
        for run in entries.chunk_by(|a, b| run_of(a.hash48) == run_of(b.hash48)) {
            generations::count(generations::counter_of(self.relation(), run_of(run[0].hash48)));
        }
    }

    /// What serves many first makes room for a page of them; one entry is better off without.
    unsafe fn insert_one(&mut self, entry: &Entry) {
        // SAFETY: a tuple of the map's shape, freed when it has been stored.
        unsafe {
            let tuple = self.form(entry);
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::heap_insert(self.heap, tuple, command, 0, null_mut());
            self.index_entry(self.index, self.index_info, entry, &raw mut (*tuple).t_self);
            for &(index, info) in &self.others {
                self.index_entry(index, info, entry, &raw mut (*tuple).t_self);
            }
            pg_sys::heap_freetuple(tuple);
        }
    }

    unsafe fn insert_batch(&mut self, entries: &[Entry]) {
        // SAFETY: slots of the map's own shape, in its memory.
        unsafe {
            if self.writer.is_null() {
                self.writer = Writer::new(self.context);
            }
            let writer = self.writer;
            let before = pg_sys::MemoryContextSwitchTo((*writer).tuples);
            for (slot, entry) in (*writer).slots.iter_mut().zip(entries) {
                if slot.is_null() {
                    pg_sys::MemoryContextSwitchTo(self.context);
                    *slot = pg_sys::MakeSingleTupleTableSlot(
                        (*self.heap).rd_att,
                        &raw const pg_sys::TTSOpsHeapTuple,
                    );
                    pg_sys::MemoryContextSwitchTo((*writer).tuples);
                }
                pg_sys::ExecStoreHeapTuple(self.form(entry), *slot, true);
            }
            let (slots, n) = ((*writer).slots.as_mut_ptr(), entries.len());
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::heap_multi_insert(self.heap, slots, n as i32, command, 0, null_mut());
            let slots = &(&(*writer).slots)[..n];
            let first = (self.index, self.index_info);
            for &(index, info) in std::iter::once(&first).chain(&self.others) {
                for (slot, entry) in slots.iter().zip(entries) {
                    self.index_entry(index, info, entry, &raw mut (**slot).tts_tid);
                }
            }
            for slot in slots {
                crate::slot::clear(*slot);
            }
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::MemoryContextReset((*writer).tuples);
        }
    }

    /// An entry as a tuple, in the current memory context.
    unsafe fn form(&self, entry: &Entry) -> pg_sys::HeapTuple {
        let mut values = [entry.e().into(), entry.virtual_key.into()];
        // SAFETY: the map's columns are two int8, never null.
        unsafe {
            pg_sys::heap_form_tuple(
                (*self.heap).rd_att,
                values.as_mut_ptr(),
                [false; 2].as_mut_ptr(),
            )
        }
    }

    unsafe fn index_entry(
        &self,
        index: pg_sys::Relation,
        info: *mut pg_sys::IndexInfo,
        entry: &Entry,
        place: pg_sys::ItemPointer,
    ) {
        // SAFETY: the index has one plain column, `e`; the entry was stored at `place`.
        unsafe {
            pg_sys::index_insert(
                index,
                [entry.e().into()].as_mut_ptr(),
                [false].as_mut_ptr(),
                place,
                self.heap,
                pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
                false,
                info,
            );
        }
    }
}
