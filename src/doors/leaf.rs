//! Writing rows into leaves from inside a trigger, through the executor's own functions,
//! as COPY does it: constraints, indexes, generated columns and the leaf's triggers apply.
//!
//! SQL would not do: it would check the user's rights on the leaf, and row security not
//! at all. Who calls this has checked the rights on the table.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{PssError, Result};
use crate::meta::{Meta, PARTITION_COLUMN};
use crate::slot;

/// Leaves of one table, open for writing.
pub struct Writer {
    context: pg_sys::MemoryContext,
    /// Null until the first row.
    estate: *mut pg_sys::EState,
    leaves: HashMap<u16, Leaf>,
}

struct Leaf {
    relation: pg_sys::Relation,
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    partition_attribute: i16,
    /// From the columns of a source of rows to the leaf's own; null: they are the same.
    map: (pg_sys::Oid, *mut pg_sys::TupleConversionMap),
}

impl Writer {
    /// A writer whose memory goes with `context`.
    pub fn new(context: pg_sys::MemoryContext) -> Self {
        Self { context, estate: null_mut(), leaves: HashMap::new() }
    }

    /// The executor state of all writing to the table; expressions may be prepared in it.
    ///
    /// # Safety
    /// The writer's context is alive.
    pub unsafe fn estate(&mut self) -> *mut pg_sys::EState {
        // SAFETY: as stated.
        unsafe {
            if self.estate.is_null() {
                let outer = pg_sys::MemoryContextSwitchTo(self.context);
                self.estate = pg_sys::CreateExecutorState();
                pg_sys::MemoryContextSwitchTo(outer);
            }
            self.estate
        }
    }

    /// Frees what was allocated for the row before.
    ///
    /// # Safety
    /// As for `estate`; the row before is not used any more.
    pub unsafe fn begin_row(&mut self) {
        // SAFETY: as stated.
        unsafe {
            let expressions = (*self.estate()).es_per_tuple_exprcontext;
            if !expressions.is_null() {
                pg_sys::ReScanExprContext(expressions);
            }
        }
    }

    /// Inserts a row of `source` into a leaf, with everything an INSERT does below tuple
    /// routing. Returns the row as it was stored; `None` if a BEFORE trigger kept it out.
    ///
    /// # Safety
    /// `row` holds a row of the open relation `source`, a partition or the table itself; the
    /// router has locked the leaf.
    pub unsafe fn insert(
        &mut self,
        meta: &Meta,
        partition: u16,
        source: pg_sys::Relation,
        row: *mut pg_sys::TupleTableSlot,
    ) -> Result<Option<*mut pg_sys::TupleTableSlot>> {
        // SAFETY: as stated. What the executor allocates beyond the row goes with its state,
        // as under ModifyTable.
        unsafe {
            let estate = self.estate();
            let outer = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
            let leaf = match self.leaves.entry(partition) {
                Entry::Occupied(open) => open.into_mut(),
                Entry::Vacant(place) => place.insert(Leaf::open(meta, partition)?),
            };
            leaf.fill(source, row, partition);
            (*estate).es_output_cid = pg_sys::GetCurrentCommandId(true);
            pg_sys::ExecSimpleRelationInsert(leaf.info, estate, leaf.slot);
            pg_sys::MemoryContextSwitchTo(outer);
            let stored = (*leaf.slot).tts_tid.ip_posid != pg_sys::InvalidOffsetNumber;
            Ok(stored.then_some(leaf.slot))
        }
    }

    /// Closes the leaves and frees the executor state.
    ///
    /// # Safety
    /// The transaction goes on; the writer is not used again.
    pub unsafe fn close(&mut self) {
        // SAFETY: as stated; all was opened by this writer.
        unsafe {
            for (_, leaf) in self.leaves.drain() {
                pg_sys::ExecCloseIndices(leaf.info);
                pg_sys::ExecDropSingleTupleTableSlot(leaf.slot);
                pg_sys::table_close(leaf.relation, pg_sys::NoLock as i32);
            }
            if !self.estate.is_null() {
                pg_sys::FreeExecutorState(self.estate);
                self.estate = null_mut();
            }
        }
    }
}

impl Leaf {
    /// Opens a leaf, in the memory of the writer's executor state.
    unsafe fn open(meta: &Meta, partition: u16) -> Result<Self> {
        let Some(position) = meta.position(partition) else {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("partition {partition} is gone"),
            )
            .hint("Retry the statement."));
        };
        let leaf = meta.table.partitions[position].leaf;
        // SAFETY: the leaf is locked by the router; the writer closes all this.
        unsafe {
            let relation = pg_sys::table_open(leaf, pg_sys::RowExclusiveLock as i32);
            if (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_RELATION {
                return Err(PssError::new(
                    PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                    format!(
                        "partition {partition} is a foreign table, which a trigger cannot reach"
                    ),
                )
                .detail("The row came by COPY, through a view, or with pss.routing = trigger.")
                .hint("Use INSERT into the table with pss.routing = planner."));
            }
            let info =
                pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            pg_sys::InitResultRelInfo(info, relation, 0, null_mut(), 0);
            pg_sys::ExecOpenIndices(info, false);
            Ok(Self {
                relation,
                info,
                slot: pg_sys::MakeSingleTupleTableSlot(
                    (*relation).rd_att,
                    &raw const pg_sys::TTSOpsVirtual,
                ),
                partition_attribute: pg_sys::get_attnum(leaf, PARTITION_COLUMN.as_ptr()),
                map: (pg_sys::InvalidOid, null_mut()),
            })
        }
    }

    /// Fills the leaf's slot with the row, by reference, column by name: an attached leaf may
    /// have its columns in another order.
    unsafe fn fill(
        &mut self,
        source: pg_sys::Relation,
        row: *mut pg_sys::TupleTableSlot,
        partition: u16,
    ) {
        // SAFETY: both descriptors belong to one table; the row outlives the slot's use.
        unsafe {
            if self.map.0 != (*source).rd_id {
                let map = pg_sys::convert_tuples_by_name((*source).rd_att, (*self.relation).rd_att);
                self.map = ((*source).rd_id, map);
            }
            let slot = self.slot;
            slot::clear(slot);
            let n = (*(*source).rd_att).natts as usize;
            slot::deform(row, n as i16);
            if self.map.1.is_null() {
                std::ptr::copy_nonoverlapping((*row).tts_values, (*slot).tts_values, n);
                std::ptr::copy_nonoverlapping((*row).tts_isnull, (*slot).tts_isnull, n);
                pg_sys::ExecStoreVirtualTuple(slot);
            } else {
                pg_sys::execute_attr_map_slot((*self.map.1).attrMap, row, slot);
            }
            let at = self.partition_attribute as usize - 1;
            *(*slot).tts_values.add(at) = pg_sys::Datum::from(i32::from(partition));
            *(*slot).tts_isnull.add(at) = false;
            (*slot).tts_tableOid = (*self.relation).rd_id;
        }
    }
}
