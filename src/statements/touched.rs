//! Which partitions a statement opened, and counting it there.
//!
//! What the planner or the executor's start pruned was not opened and does not
//! count. Partitions that share a statement share its time evenly.

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::known::{self, Known};
use crate::doors::planner::entries;
use crate::shmem::statements::Access;
use crate::shmem::tables::TableShared;
use crate::{compat, raw};

/// Whether a plan names a sharded table or a partition of one.
///
/// # Safety
/// `statement` is a finished plan.
pub unsafe fn names_sharded(statement: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: the plan's range table. (Its relationOids would name the constants of type regclass, too.)
    unsafe {
        entries::<pg_sys::RangeTblEntry>((*statement).rtable).any(|entry| {
            (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                && !matches!(known::look_up((*entry).relid), Known::Other)
        })
    }
}

/// A partition, and what the statement did with it.
struct Touched {
    table: &'static TableShared,
    partition: u16,
    access: Access,
}

impl Touched {
    fn key(&self) -> (usize, u16, Access) {
        (std::ptr::from_ref(self.table) as usize, self.partition, self.access)
    }
}

/// Counts a statement that has run, with `ns` nanoseconds of its own.
///
/// # Safety
/// `query` has run and not ended: its relations are open.
pub unsafe fn count(query: *mut pg_sys::QueryDesc, ns: u64) {
    // SAFETY: as above.
    let touched = unsafe { touched(query) };
    if touched.is_empty() {
        return;
    }
    let each = ns / touched.len() as u64;
    for t in &touched {
        if let Some(partition) = t.table.partition(t.partition) {
            partition.statements.count(t.access, each);
        }
    }
    // SAFETY: the plan of the query.
    let id = unsafe { compat::query_id((*query).plannedstmt) };
    if id != 0 {
        for of_table in touched.chunk_by(|a, b| std::ptr::eq(a.table, b.table)) {
            of_table[0].table.queries.count(id, each * of_table.len() as u64);
        }
    }
}

/// The partitions that a statement opened, each access once, those of a table together.
unsafe fn touched(query: *mut pg_sys::QueryDesc) -> Vec<Touched> {
    let mut touched = Vec::new();
    let mut add = |relation: pg_sys::Relation, access| {
        // SAFETY: an open relation.
        let oid = unsafe { (*relation).rd_id };
        if let Known::Leaf(table, partition) = known::look_up(oid) {
            touched.push(Touched { table, partition, access });
        }
    };
    // SAFETY: arrays of the executor's state by range table index, and its list of the
    // partitions that rows were routed to.
    unsafe {
        let state = (*query).estate;
        let results = (*state).es_result_relations;
        let result = |i: usize| {
            if results.is_null() { None } else { (*results.add(i)).as_ref() }
        };
        let n = (*state).es_range_table_size as usize;
        let mut scanned = Scanned(Vec::new());
        // An INSERT scans none of its results, unless it has an UPDATE in its WITH.
        let inserts = (*query).operation == pg_sys::CmdType::CMD_INSERT
            && !(*(*query).plannedstmt).hasModifyingCTE;
        if !inserts && (0..n).any(|i| result(i).is_some()) {
            scanned.walk((*query).planstate);
        }
        for i in 0..n {
            let relation = *(*state).es_relations.add(i);
            if relation.is_null() {
                continue;
            }
            match result(i) {
                None => add(relation, Access::Read),
                Some(_) if scanned.0.contains(&(i + 1)) => add(relation, Access::Change),
                // The executor opens all results of an UPDATE, also those that it then prunes.
                Some(r) if !r.ri_RootResultRelInfo.is_null() => {}
                Some(_) => add(relation, Access::Insert),
            }
        }
        for result in entries::<pg_sys::ResultRelInfo>((*state).es_tuple_routing_result_relations) {
            add((*result).ri_RelationDesc, Access::Insert);
        }
    }
    touched.sort_unstable_by_key(Touched::key);
    touched.dedup_by_key(|t| t.key());
    touched
}

/// Range table indexes that a plan scans, as the executor set it up.
struct Scanned(Vec<usize>);

impl Scanned {
    unsafe fn walk(&mut self, plan: *mut pg_sys::PlanState) {
        // SAFETY: a live plan state; `self` outlives the walk.
        unsafe {
            visit(plan, std::ptr::from_mut(self).cast());
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn visit(state: *mut pg_sys::PlanState, scanned: *mut c_void) -> bool {
    // SAFETY: the walker passes live nodes, and what `walk` gave it.
    unsafe {
        if state.is_null() {
            return false;
        }
        use pg_sys::NodeTag::*;
        let plan = (*state).plan;
        if matches!(
            (*plan).type_,
            T_SeqScan
                | T_SampleScan
                | T_IndexScan
                | T_IndexOnlyScan
                | T_BitmapHeapScan
                | T_TidScan
                | T_TidRangeScan
                | T_ForeignScan
                | T_CustomScan
        ) {
            let index = (*plan.cast::<pg_sys::Scan>()).scanrelid as usize;
            (*scanned.cast::<Scanned>()).0.push(index);
        }
        pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| {
            #[allow(ffi_unwind_calls, reason = "guarded by pg_guard_ffi_boundary")]
            raw::planstate_tree_walker(state, visit, scanned)
        })
    }
}
