//! The planner door: finds INSERTs into sharded tables (or into their leaves), and
//! UPDATEs of their key, in finished plans and puts our nodes under them; before
//! planning, prepares them for it and refuses what no door can do right.

use std::ffi::c_int;

use pgrx::pg_sys;

use super::route_plan::{self, Rehome, Target};
use super::{merge, rehome_node, rewrite, route_node, volatility};
use crate::error::{OrRaise, Result};
use crate::meta::{self, Meta};

/// The members of a pointer list.
pub fn entries<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: callers pass live lists of pointers to T.
    let cells = unsafe {
        if list.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts((*list).elements, (*list).length as usize)
        }
    };
    // SAFETY: as above: the cells hold pointers.
    cells.iter().map(|cell| unsafe { cell.ptr_value.cast::<T>() })
}

/// Whether a node is of this kind; null is of none.
///
/// # Safety
/// `node` is null or a live node.
pub unsafe fn is<T>(node: *mut T, tag: pg_sys::NodeTag) -> bool {
    // SAFETY: as stated; every node begins with its tag.
    unsafe { !node.is_null() && (*node.cast::<pg_sys::Node>()).type_ == tag }
}

/// Puts a route node under every INSERT into a sharded table. `read_ahead`: what [`check`] said of
/// the statement.
///
/// # Safety
/// `statement` is a finished plan that nobody has copied yet.
pub unsafe fn insert_route_nodes(statement: *mut pg_sys::PlannedStmt, read_ahead: bool) {
    // SAFETY: walks the plan's own nodes.
    unsafe {
        if (*statement).commandType == pg_sys::CmdType::CMD_UTILITY {
            return;
        }
        // Node numbers after the plan's own; instrumentation needs them distinct.
        let mut next_id = 1_000_000;
        let mut visit = |plan: *mut pg_sys::Plan| {
            if is(plan, pg_sys::NodeTag::T_ModifyTable) {
                route_modify_table(plan.cast(), (*statement).rtable, read_ahead, &mut next_id);
            }
        };
        visit((*statement).planTree);
        for plan in entries::<pg_sys::Plan>((*statement).subplans) {
            visit(plan);
        }
    }
}

unsafe fn route_modify_table(
    modify: *mut pg_sys::ModifyTable,
    rtable: *mut pg_sys::List,
    read_ahead: bool,
    next_id: &mut c_int,
) {
    // SAFETY: as in `insert_route_nodes`.
    unsafe {
        if (*modify).operation == pg_sys::CmdType::CMD_UPDATE {
            return rehome_modify_table(modify, rtable, next_id);
        }
        if (*modify).operation != pg_sys::CmdType::CMD_INSERT {
            return;
        }
        let index = (*(*(*modify).resultRelations).elements).int_value as usize;
        let Some(rte) = entries::<pg_sys::RangeTblEntry>(rtable).nth(index - 1) else { return };
        let Some(mut target) = target_of((*rte).relid).or_raise() else { return };
        target.returning = !(*modify).returningLists.is_null();
        target.on_conflict =
            (*modify).onConflictAction != pg_sys::OnConflictAction::ONCONFLICT_NONE;
        target.checked = !(*modify).withCheckOptionLists.is_null();
        target.counts = (*modify).canSetTag;
        let sub = (*modify).plan.lefttree;
        let one_row = route_plan::computes_one_row(sub);
        target.read_ahead = read_ahead && !one_row;
        // ExecCheckPlanOutput wants literal NULLs for generated and dropped columns.
        let is_literal = |entry: &pg_sys::TargetEntry| {
            let null = is(entry.expr, pg_sys::NodeTag::T_Const)
                && (*entry.expr.cast::<pg_sys::Const>()).constisnull;
            null && entry.resno != target.partition_attribute
        };
        let (scan, private) = (&route_node::SCAN.0, target.to_list());
        (*modify).plan.lefttree = if one_row {
            route_plan::replace(sub, scan, private, *next_id)
        } else {
            route_plan::wrap(sub, scan, private, is_literal, *next_id)
        };
        *next_id += 1;
    }
}

/// Puts the node under an UPDATE that `rewrite::update` has prepared for it.
unsafe fn rehome_modify_table(
    modify: *mut pg_sys::ModifyTable,
    rtable: *mut pg_sys::List,
    next_id: &mut c_int,
) {
    // SAFETY: as in `insert_route_nodes`.
    unsafe {
        let sub = (*modify).plan.lefttree;
        let junk = |name| {
            entries::<pg_sys::TargetEntry>((*sub).targetlist)
                .find(|t| (**t).resjunk && rewrite::named(*t, name))
                .map(|t| (*t).resno - 1)
        };
        let (Some(old_key_at), Some(old_partition_at)) =
            (junk(rewrite::OLD_KEY), junk(rewrite::OLD_PARTITION))
        else {
            return;
        };
        // The columns that are set, as the first leaf numbers them.
        let index = (*(*(*modify).resultRelations).elements).int_value as usize;
        let Some(rte) = entries::<pg_sys::RangeTblEntry>(rtable).nth(index - 1) else { return };
        let Some(target) = target_of((*rte).relid).or_raise() else { return };
        let columns = (*(*(*modify).updateColnosLists).elements).ptr_value.cast::<pg_sys::List>();
        let at = |attribute: i16| {
            let n = (*columns).length as usize;
            let columns = std::slice::from_raw_parts((*columns).elements, n);
            columns.iter().position(|c| c.int_value == i32::from(attribute))
        };
        let Some(partition_at) = at(target.partition_attribute) else { return };
        let rehome = Rehome {
            relation: target.relation,
            key_at: at(target.key_attribute).map_or(old_key_at, |at| at as i16),
            partition_at: partition_at as i16,
            old_key_at,
            old_partition_at,
        };
        let (scan, private) = (&rehome_node::SCAN.0, rehome.to_list());
        (*modify).plan.lefttree = route_plan::wrap(sub, scan, private, |_| false, *next_id);
        *next_id += 1;
    }
}

/// What an INSERT into `relation` needs: nothing, if it is neither a sharded
/// table nor a leaf of one.
fn target_of(relation: pg_sys::Oid) -> Result<Option<Target>> {
    let parent = |meta: &Meta| Target {
        relation: meta.table.relation,
        key_attribute: meta.key_attribute,
        partition_attribute: meta.partition_attribute,
        named: -1,
        inbox: false,
        returning: false,
        on_conflict: false,
        checked: false,
        counts: true,
        read_ahead: false,
    };
    if let Some(meta) = meta::table(relation)? {
        return Ok(Some(parent(&meta)));
    }
    let Some((meta, named)) = meta::table_of_leaf(relation)? else { return Ok(None) };
    let (key_attribute, partition_attribute) = meta.attributes_in(relation);
    let inbox = named < 0;
    Ok(Some(Target { named, inbox, key_attribute, partition_attribute, ..parent(&meta) }))
}

/// Refuses statements that would silently do the wrong thing, and completes
/// ON CONFLICT (key) with the partition column that unique keys end in. Returns whether rows
/// that it inserts may be read ahead.
///
/// # Safety
/// `parse` is the query about to be planned.
pub unsafe fn check(parse: *mut pg_sys::Query) -> bool {
    // SAFETY: reads the query tree; amends only its arbiter list.
    unsafe {
        let read_ahead = (*parse).resultRelation > 0 && check_query(parse).or_raise();
        for cte in entries::<pg_sys::CommonTableExpr>((*parse).cteList) {
            if is((*cte).ctequery, pg_sys::NodeTag::T_Query) {
                check((*cte).ctequery.cast());
            }
        }
        read_ahead
    }
}

unsafe fn check_query(parse: *mut pg_sys::Query) -> Result<bool> {
    // SAFETY: as in `check`.
    unsafe {
        use pg_sys::CmdType::{CMD_INSERT, CMD_MERGE, CMD_UPDATE};
        let command = (*parse).commandType;
        if ![CMD_INSERT, CMD_MERGE, CMD_UPDATE].contains(&command) {
            return Ok(false);
        }
        let index = (*parse).resultRelation as usize;
        let Some(rte) = entries::<pg_sys::RangeTblEntry>((*parse).rtable).nth(index - 1) else {
            return Ok(false);
        };
        if command == CMD_MERGE {
            return merge::rewrite(parse, (*rte).relid).map(|()| false);
        }
        let relation = (*rte).relid;
        let conflict = (*parse).onConflict;
        let has_arbiter = !conflict.is_null() && !(*conflict).arbiterElems.is_null();
        let Some(meta) = meta::table(relation)? else {
            if has_arbiter && let Some((meta, _)) = meta::table_of_leaf(relation)? {
                let index = (*parse).resultRelation;
                rewrite::add_partition_to_arbiter(conflict, index, relation, &meta);
            }
            return Ok(false);
        };
        if command == CMD_UPDATE {
            rewrite::update(parse, &meta);
            return Ok(false);
        }
        if has_arbiter {
            rewrite::add_partition_to_arbiter(conflict, (*parse).resultRelation, relation, &meta);
        }
        Ok(volatility::may_read_ahead(parse, has_row_triggers((*rte).relid)))
    }
}

/// Whether triggers of the table run before each row is inserted.
fn has_row_triggers(relation: pg_sys::Oid) -> bool {
    // SAFETY: the table is locked by the query; our reference to it ends here.
    unsafe {
        let table = pg_sys::RelationIdGetRelation(relation);
        let triggers = (*table).trigdesc;
        let found = !triggers.is_null() && (*triggers).trig_insert_before_row;
        pg_sys::RelationClose(table);
        found
    }
}
