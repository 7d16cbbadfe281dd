//! Offering PssAppend to the planner: in the place of each Append over a sharded table's partitions
//! whose rows are those of certain keys, and of each MergeAppend whose rows are those of one.
//!
//! Parallel appends stay as they are and compete by cost.

use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;

use super::clause::{Condition, Scan};
use super::identity;
use super::plan::{self, Layout};
use crate::compat;
use crate::doors::planner::{entries, is};
use crate::guc;
use crate::meta::{self, Meta};

/// Puts PssAppend paths among those of a relation.
///
/// # Safety
/// `rel` is a relation whose paths have been made, `entry` its range table entry.
pub unsafe fn offer(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: as stated.
    unsafe {
        if !guc::PRUNE.get()
            || (*entry).rtekind != pg_sys::RTEKind::RTE_RELATION
            || !(*entry).inh
            || (*entry).relkind as u8 != pg_sys::RELKIND_PARTITIONED_TABLE
            || !(*rel).lateral_relids.is_null()
        {
            return;
        }
        // A table that cannot be described is read as PostgreSQL would.
        let Ok(Some(meta)) = meta::table((*entry).relid) else { return };
        let alone = pg_sys::bms_equal((*rel).relids, (*root).all_baserels);
        if alone && must_stay_updatable(root) {
            return;
        }
        let scan = Scan { root, rel, meta: &meta };
        let wholes: Vec<_> =
            entries::<pg_sys::Path>((*rel).pathlist).filter_map(|path| Whole::of(path)).collect();
        let mut paths = Vec::new();
        for whole in wholes {
            let Some(path) = in_place_of(&scan, &whole) else { continue };
            (*rel).pathlist = pg_sys::list_delete_ptr((*rel).pathlist, whole.path.cast());
            paths.push(path);
        }
        // Not before: a path that is added may free others of the list.
        for path in paths {
            let plain = (*path).path.param_info.is_null();
            pg_sys::add_path(rel, path.cast());
            if alone && plain {
                // The planner makes the paths of a partitioned relation anew from its partitions'
                // when it computes the target list, ours not among them.
                (*rel).part_scheme = null_mut();
            }
        }
    }
}

/// UPDATE ... WHERE CURRENT OF finds the row of a cursor without FOR UPDATE by looking through
/// the nodes that PostgreSQL has itself.
unsafe fn must_stay_updatable(root: *mut pg_sys::PlannerInfo) -> bool {
    // SAFETY: the query being planned.
    unsafe { super::plans_cursor() && (*(*root).parse).rowMarks.is_null() }
}

/// A path that reads all partitions.
struct Whole {
    path: *mut pg_sys::Path,
    subpaths: *mut pg_sys::List,
    is_ordered: bool,
}

impl Whole {
    /// `None`: the path is another one, or several processes share its children.
    unsafe fn of(path: *mut pg_sys::Path) -> Option<Whole> {
        // SAFETY: a path of the type that its tag says.
        unsafe {
            if is(path, pg_sys::NodeTag::T_AppendPath) && !(*path).parallel_aware {
                let subpaths = (*path.cast::<pg_sys::AppendPath>()).subpaths;
                // An Append may keep the order of bounds; nobody asks for that of partitions.
                return Some(Whole { path, subpaths, is_ordered: false });
            }
            let subpaths = is(path, pg_sys::NodeTag::T_MergeAppendPath)
                .then(|| (*path.cast::<pg_sys::MergeAppendPath>()).subpaths)?;
            Some(Whole { path, subpaths, is_ordered: true })
        }
    }

    /// The children as they stand for the whole: each in its order.
    unsafe fn children(&self, root: *mut pg_sys::PlannerInfo) -> *mut pg_sys::List {
        if !self.is_ordered {
            return self.subpaths;
        }
        // SAFETY: paths of one query; builds a list in the planner's memory.
        unsafe {
            let order = (*self.path).pathkeys;
            let sorted = |child: *mut pg_sys::Path| {
                if pg_sys::pathkeys_contained_in(order, (*child).pathkeys) {
                    return child;
                }
                pg_sys::create_sort_path(root, (*child).parent, child, order, -1.0).cast()
            };
            let children = entries::<pg_sys::Path>(self.subpaths).map(sorted);
            children.fold(null_mut(), |list, child| pg_sys::lappend(list, child.cast()))
        }
    }
}

/// The PssAppend path that does the work of a plain one, if its rows are those of certain keys.
///
/// In an order, it is that of the one home of one key. Where there are several, the whole does the
/// work, which is therefore its last child.
unsafe fn in_place_of(scan: &Scan<'_>, whole: &Whole) -> Option<*mut pg_sys::CustomPath> {
    // SAFETY: a path of this relation.
    unsafe {
        let info = (*whole.path).param_info;
        let (outer, joins) = match info.as_ref() {
            Some(info) => (info.ppi_req_outer, info.ppi_clauses),
            None => (null_mut(), null_mut()),
        };
        let condition = scan
            .condition((*scan.rel).baserestrictinfo, outer)
            .into_iter()
            .chain(scan.condition(joins, outer))
            .min_by_key(|c| c.is_array)
            .filter(|c| !(whole.is_ordered && c.is_array))?;
        let layout = layout(scan, whole, &condition)?;
        let partitions = layout.children.iter().filter(|c| c.partition >= 0).count();
        if partitions < 2 || !identity::can_be_named(scan.rel) {
            return None;
        }
        let path = pg_sys::palloc0(size_of::<pg_sys::CustomPath>()).cast::<pg_sys::CustomPath>();
        (*path).path = *whole.path;
        (*path).path.type_ = pg_sys::NodeTag::T_CustomPath;
        (*path).path.pathtype = pg_sys::NodeTag::T_CustomScan;
        // Children that are started later have no place in what the leader shares with workers.
        (*path).path.parallel_safe = false;
        cost(&mut (*path).path, whole, scan, &condition, partitions as f64);
        (*path).flags = pg_sys::CUSTOMPATH_SUPPORT_PROJECTION;
        (*path).custom_paths = whole.children(scan.root);
        if whole.is_ordered {
            (*path).custom_paths = pg_sys::lappend((*path).custom_paths, whole.path.cast());
        } else {
            (*path).path.pathkeys = null_mut();
        }
        plan::describe(path, &condition, &layout);
        Some(path)
    }
}

/// Cost of a scan of the homes alone: one for each key, and equal among each other.
unsafe fn cost(
    path: &mut pg_sys::Path,
    whole: &Whole,
    scan: &Scan<'_>,
    condition: &Condition,
    partitions: f64,
) {
    // SAFETY: paths of this relation; the planner's cost parameters.
    unsafe {
        let keys = if condition.is_array {
            compat::estimate_array_length(scan.root, condition.keys.cast()).max(1.0)
        } else {
            1.0
        };
        let share = keys.min(partitions) / partitions;
        // A look-up descends a small btree and fetches one row.
        let look_up = 100.0 * pg_sys::cpu_operator_cost
            + pg_sys::cpu_index_tuple_cost
            + pg_sys::cpu_tuple_cost;
        let share_of_run = share * ((*whole.path).total_cost - (*whole.path).startup_cost);
        path.startup_cost = (*whole.path).startup_cost + look_up * keys;
        path.total_cost = path.startup_cost + share_of_run;
        // Each partition expects the rows of all keys.
        path.rows = (path.rows / partitions).max(1.0);
        if path.param_info.is_null() {
            (*scan.rel).rows = path.rows;
        }
    }
}

/// The children of a path with what each holds; `None` if it is not made of partitions.
unsafe fn layout(scan: &Scan<'_>, whole: &Whole, condition: &Condition) -> Option<Layout> {
    // SAFETY: paths of this relation; arrays of the planner by range table index.
    unsafe {
        let mut children = Vec::new();
        for child in entries::<pg_sys::Path>(whole.subpaths) {
            let rel = (*child).parent;
            if (*rel).reloptkind != pg_sys::RelOptKind::RELOPT_OTHER_MEMBER_REL {
                return None;
            }
            let parent = *(*scan.root).append_rel_array.add((*rel).relid as usize);
            if parent.is_null() || (*parent).parent_relid != (*scan.rel).relid {
                return None;
            }
            let relation = (**(*scan.root).simple_rte_array.add((*rel).relid as usize)).relid;
            children.push(plan::Child { relation, partition: number_of(scan.meta, relation) });
        }
        if whole.is_ordered {
            children.push(plan::Child::WHOLE);
        }
        Some(Layout {
            head: plan::Head {
                relation: scan.meta.table.relation,
                is_array: condition.is_array,
                is_ordered: whole.is_ordered,
                other_type: condition.other_type,
            },
            children,
        })
    }
}

/// A partition's number; -1: the inbox, or a partition that is none of ours.
fn number_of(meta: &Meta, leaf: pg_sys::Oid) -> i32 {
    let found = meta.table.partitions.iter().find(|p| p.leaf == leaf);
    found.map_or(-1, |p| i32::from(p.number))
}
