//! Building the plan nodes that route: what they are told, and how they are put
//! between a ModifyTable and its subplan. It decides nothing about rows.

use std::ffi::c_int;
use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;

use super::planner::is;

/// What the planner tells the node under an INSERT, as its custom_private list.
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
    /// Rows may be read before those ahead of them have been inserted.
    pub read_ahead: bool,
}

impl Target {
    /// As a custom_private list. The relation as an OID list would not survive beside integers: it goes as an integer.
    pub fn to_list(self) -> *mut pg_sys::List {
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
            self.read_ahead.into(),
        ];
        integers(&items)
    }

    /// # Safety
    /// `list` was made by `to_list`.
    pub unsafe fn from_list(list: *mut pg_sys::List) -> Self {
        // SAFETY: as stated.
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
            read_ahead: item(9) != 0,
        }
    }
}

/// What the planner tells the node under an UPDATE of the key, as its custom_private
/// list. Places are those of the subplan's columns, from 0.
#[derive(Clone, Copy)]
pub struct Rehome {
    /// The sharded table.
    pub relation: pg_sys::Oid,
    /// The new key; where only pss_partition is set, the old one.
    pub key_at: i16,
    pub partition_at: i16,
    pub old_key_at: i16,
    pub old_partition_at: i16,
}

impl Rehome {
    /// As a custom_private list.
    pub fn to_list(self) -> *mut pg_sys::List {
        integers(&[
            self.relation.to_u32() as i32,
            i32::from(self.key_at),
            i32::from(self.partition_at),
            i32::from(self.old_key_at),
            i32::from(self.old_partition_at),
        ])
    }

    /// # Safety
    /// `list` was made by `to_list`.
    pub unsafe fn from_list(list: *mut pg_sys::List) -> Self {
        // SAFETY: as stated.
        let item = |i: usize| unsafe { (*(*list).elements.add(i)).int_value };
        Self {
            relation: (item(0) as u32).into(),
            key_at: item(1) as i16,
            partition_at: item(2) as i16,
            old_key_at: item(3) as i16,
            old_partition_at: item(4) as i16,
        }
    }
}

fn integers(items: &[i32]) -> *mut pg_sys::List {
    // SAFETY: builds an integer list in the current memory context.
    unsafe { items.iter().fold(null_mut(), |list, item| pg_sys::lappend_int(list, *item)) }
}

/// A node like its subplan `sub`, with neither columns nor children yet.
///
/// # Safety
/// `sub` is a finished plan; `id` is not used by another node.
unsafe fn node_over(
    sub: *mut pg_sys::Plan,
    methods: &'static pg_sys::CustomScanMethods,
    private: *mut pg_sys::List,
    id: c_int,
) -> *mut pg_sys::CustomScan {
    // SAFETY: builds a plan node in the planner's memory context.
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
        (*node).custom_private = private;
        (*node).methods = methods;
        node
    }
}

/// Whether the plan does nothing but compute one row, as that of a single row of VALUES.
///
/// # Safety
/// `plan` is a finished plan.
pub unsafe fn computes_one_row(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: as stated.
    unsafe {
        is(plan, pg_sys::NodeTag::T_Result)
            && (*plan).lefttree.is_null()
            && (*plan).initPlan.is_null()
            && (*plan).qual.is_null()
            && (*plan.cast::<pg_sys::Result>()).resconstantqual.is_null()
    }
}

/// A node in the place of a plan that [`computes_one_row`]: it computes the row itself, which
/// saves a statement of one row the start of a second node.
///
/// # Safety
/// As for [`wrap`].
pub unsafe fn replace(
    sub: *mut pg_sys::Plan,
    methods: &'static pg_sys::CustomScanMethods,
    private: *mut pg_sys::List,
    id: c_int,
) -> *mut pg_sys::Plan {
    // SAFETY: as stated; the target list refers to no other node.
    unsafe {
        let node = node_over(sub, methods, private, id);
        (*node).scan.plan.targetlist = (*sub).targetlist;
        node.cast()
    }
}

/// Puts a node between a ModifyTable and its subplan `sub`. It passes the subplan's
/// columns on, except those that it is to show as the literals they are.
///
/// # Safety
/// `sub` is a finished subplan; `id` is not used by another node.
pub unsafe fn wrap(
    sub: *mut pg_sys::Plan,
    methods: &'static pg_sys::CustomScanMethods,
    private: *mut pg_sys::List,
    is_literal: impl Fn(&pg_sys::TargetEntry) -> bool,
    id: c_int,
) -> *mut pg_sys::Plan {
    // SAFETY: builds plan nodes in the planner's memory context.
    unsafe {
        let node = node_over(sub, methods, private, id);
        let plan = &mut (*node).scan.plan;
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
            let out: *mut pg_sys::Expr = if is_literal(&*entry) {
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
        node.cast()
    }
}
