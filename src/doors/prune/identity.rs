//! The columns by which UPDATE, DELETE and MERGE know a row again.
//!
//! While it plans, PostgreSQL stands special variables for them, one for all partitions, and turns
//! them into each partition's own. In the list of columns that our node scans they remain; EXPLAIN
//! could not name them. So they get their names when the plan is finished.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::plan;
use crate::doors::planner::{entries, is};

/// Whether an expression is such a variable.
unsafe fn is_identity(expression: *mut pg_sys::Expr) -> bool {
    // SAFETY: a live expression.
    unsafe {
        is(expression, pg_sys::NodeTag::T_Var)
            && i64::from((*expression.cast::<pg_sys::Var>()).varno) == i64::from(pg_sys::ROWID_VAR)
    }
}

/// The column of the table that such a variable stands for; `None`: the expression is none.
///
/// # Safety
/// Live planner data, and an expression of that query.
pub unsafe fn of(
    root: *mut pg_sys::PlannerInfo,
    expression: *mut pg_sys::Expr,
) -> Option<*mut pg_sys::Var> {
    // SAFETY: as stated; the variable's number is its place in the planner's list.
    unsafe {
        if !is_identity(expression) {
            return None;
        }
        let place = (*expression.cast::<pg_sys::Var>()).varattno as usize - 1;
        let info = entries::<pg_sys::RowIdentityVarInfo>((*root).row_identity_vars).nth(place)?;
        Some(pg_sys::copyObjectImpl((*info).rowidvar.cast()).cast())
    }
}

/// Whether the planner lets such variables pass in a custom node: a server that was built to check
/// itself stops at them.
///
/// # Safety
/// A live relation of the planner.
pub unsafe fn can_be_named(rel: *mut pg_sys::RelOptInfo) -> bool {
    // SAFETY: as stated; the setting exists in every server.
    unsafe {
        let mut target = entries::<pg_sys::Expr>((*(*rel).reltarget).exprs);
        if !target.any(|expression| is_identity(expression)) {
            return true;
        }
        let checks = pg_sys::GetConfigOption(c"debug_assertions".as_ptr(), true, false);
        checks.is_null() || CStr::from_ptr(checks) != c"on"
    }
}

/// Gives the variables in our nodes their names.
///
/// # Safety
/// `statement` is a finished plan that nobody has copied yet.
pub unsafe fn name_row_identities(statement: *mut pg_sys::PlannedStmt) {
    use pg_sys::CmdType::{CMD_DELETE, CMD_MERGE, CMD_UPDATE};
    // SAFETY: walks the plan's own nodes.
    unsafe {
        if matches!((*statement).commandType, CMD_UPDATE | CMD_DELETE | CMD_MERGE) {
            walk((*statement).planTree);
        }
        if (*statement).hasModifyingCTE {
            entries::<pg_sys::Plan>((*statement).subplans).for_each(|plan| walk(plan));
        }
    }
}

unsafe fn walk(plan: *mut pg_sys::Plan) {
    use pg_sys::NodeTag::{T_Append, T_CustomScan, T_MergeAppend, T_SubqueryScan};
    if plan.is_null() {
        return;
    }
    // SAFETY: a live plan node of the type that its tag says.
    unsafe {
        if plan::is_ours(plan) {
            name(plan.cast());
        }
        walk((*plan).lefttree);
        walk((*plan).righttree);
        let children = match (*plan).type_ {
            T_Append => (*plan.cast::<pg_sys::Append>()).appendplans,
            T_MergeAppend => (*plan.cast::<pg_sys::MergeAppend>()).mergeplans,
            T_CustomScan => (*plan.cast::<pg_sys::CustomScan>()).custom_plans,
            T_SubqueryScan => return walk((*plan.cast::<pg_sys::SubqueryScan>()).subplan),
            _ => return,
        };
        entries::<pg_sys::Plan>(children).for_each(|child| walk(child));
    }
}

unsafe fn name(scan: *mut pg_sys::CustomScan) {
    // SAFETY: a node of ours; its second private list has a column for each variable, in order.
    unsafe {
        let list = (*(*(*scan).custom_private).elements.add(1)).ptr_value.cast();
        let mut identities = entries::<pg_sys::Var>(list);
        for column in entries::<pg_sys::TargetEntry>((*scan).custom_scan_tlist) {
            if !is_identity((*column).expr) {
                continue;
            }
            let Some(identity) = identities.next() else { return };
            (*identity).varno = (*scan).scan.scanrelid as _;
            (*column).expr = identity.cast();
        }
    }
}
