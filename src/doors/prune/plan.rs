//! Building the plan node: what it is told, and its target lists.

use std::mem::size_of;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::clause::Condition;
use super::identity;
use super::node;
use crate::doors::node::Methods;
use crate::doors::planner::{entries, is};

static PATH: Methods<pg_sys::CustomPathMethods> = Methods(pg_sys::CustomPathMethods {
    CustomName: c"PssAppend".as_ptr(),
    PlanCustomPath: Some(make),
    ReparameterizeCustomPathByChild: None,
});

static SCAN: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: c"PssAppend".as_ptr(),
    CreateCustomScanState: Some(node::create_state),
});

/// Whether a plan node is ours.
///
/// # Safety
/// A live plan node.
pub unsafe fn is_ours(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: as stated.
    unsafe {
        is(plan, pg_sys::NodeTag::T_CustomScan)
            && std::ptr::eq((*plan.cast::<pg_sys::CustomScan>()).methods, &SCAN.0)
    }
}

pub fn register() {
    // SAFETY: the table is static; registered once a process, in _PG_init.
    unsafe { pg_sys::RegisterCustomScanMethods(&SCAN.0) };
}

/// What the node is told about itself.
pub struct Layout {
    pub head: Head,
    pub children: Vec<Child>,
}

/// The node but for its children.
#[derive(Clone, Copy)]
pub struct Head {
    /// The sharded table.
    pub relation: pg_sys::Oid,
    pub is_array: bool,
    /// Rows come in an order, and the last child is [`Child::WHOLE`].
    pub is_ordered: bool,
    /// Type of the keys asked for; invalid: the column's own.
    pub other_type: pg_sys::Oid,
}

/// A child of the node, in the order of its plans.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Child {
    pub relation: pg_sys::Oid,
    /// Negative: no partition of ours.
    pub partition: i32,
}

impl Child {
    /// All partitions, merged in order.
    pub const WHOLE: Child = Child { relation: pg_sys::InvalidOid, partition: -1 };

    /// Whether it is the inbox, or a partition that pss does not know.
    pub fn is_inbox(&self) -> bool {
        self.partition < 0 && self.relation != pg_sys::InvalidOid
    }
}

impl Layout {
    const HEAD: usize = 4;

    fn to_list(&self) -> *mut pg_sys::List {
        let Head { relation, is_array, is_ordered, other_type } = self.head;
        let oid = |oid: pg_sys::Oid| oid.to_u32() as i32;
        let head = [oid(relation), is_array.into(), is_ordered.into(), oid(other_type)];
        let children = self.children.iter().flat_map(|c| [oid(c.relation), c.partition]);
        // SAFETY: builds an integer list in the planner's memory context.
        head.into_iter()
            .chain(children)
            .fold(null_mut(), |list, item| unsafe { pg_sys::lappend_int(list, item) })
    }

    /// What the executor needs of a node's layout.
    ///
    /// # Safety
    /// `scan` is a node of ours.
    pub unsafe fn of(
        scan: *mut pg_sys::CustomScan,
    ) -> (Head, impl ExactSizeIterator<Item = Child>) {
        // SAFETY: the first of its private lists was made by `to_list`.
        let items: &[pg_sys::ListCell] = unsafe {
            let list = (*(*(*scan).custom_private).elements).ptr_value.cast::<pg_sys::List>();
            std::slice::from_raw_parts((*list).elements, (*list).length as usize)
        };
        // SAFETY: an integer list.
        let item = move |i: usize| unsafe { items[i].int_value };
        let oid = move |i: usize| pg_sys::Oid::from(item(i) as u32);
        let head = Head {
            relation: oid(0),
            is_array: item(1) != 0,
            is_ordered: item(2) != 0,
            other_type: oid(3),
        };
        let children = (0..(items.len() - Self::HEAD) / 2).map(move |i| Child {
            relation: oid(Self::HEAD + 2 * i),
            partition: item(Self::HEAD + 2 * i + 1),
        });
        (head, children)
    }
}

/// Tells a path what its node will be told.
///
/// # Safety
/// `path` is a path of ours whose target is that of its children.
pub unsafe fn describe(path: *mut pg_sys::CustomPath, condition: &Condition, layout: &Layout) {
    // SAFETY: builds lists in the planner's memory context.
    unsafe {
        // The planner may give the path another target later; the children keep theirs.
        let target = (*(*path).path.pathtarget).exprs;
        let parts = [layout.to_list().cast(), condition.keys.cast(), target.cast()];
        (*path).custom_private =
            parts.into_iter().fold(null_mut(), |list, part| pg_sys::lappend(list, part));
        (*path).methods = &PATH.0;
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn make(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::CustomPath,
    target_list: *mut pg_sys::List,
    _clauses: *mut pg_sys::List,
    plans: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: builds plan nodes in the planner's memory context; the private list is ours.
    unsafe {
        let part = |i: usize| (*(*(*path).custom_private).elements.add(i)).ptr_value;
        let scan = pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast::<pg_sys::CustomScan>();
        (*scan).scan.plan.type_ = pg_sys::NodeTag::T_CustomScan;
        (*scan).scan.plan.targetlist = target_list;
        // The relation it stands for; it is opened, but not scanned itself.
        (*scan).scan.scanrelid = (*rel).relid;
        (*scan).flags = (*path).flags;
        (*scan).custom_plans = plans;
        (*scan).custom_exprs = pg_sys::lappend(null_mut(), part(1));
        let mut identities = null_mut();
        let mut scan_list = null_mut();
        for (i, expression) in entries::<pg_sys::Expr>(part(2).cast()).enumerate() {
            let copy = pg_sys::copyObjectImpl(expression.cast()).cast();
            let column = pg_sys::makeTargetEntry(copy, i as i16 + 1, null_mut(), false);
            scan_list = pg_sys::lappend(scan_list, column.cast());
            if let Some(identity) = identity::of(root, expression) {
                identities = pg_sys::lappend(identities, identity.cast());
            }
        }
        (*scan).custom_scan_tlist = scan_list;
        (*scan).custom_private = pg_sys::lappend(null_mut(), part(0));
        (*scan).custom_private = pg_sys::lappend((*scan).custom_private, identities.cast());
        (*scan).methods = &SCAN.0;
        scan.cast()
    }
}
