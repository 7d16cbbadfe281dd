//! The trigger door: BEFORE INSERT on the inbox partition, for every path that
//! has no plan of ours (COPY, logical replication, pss.routing = trigger).
//!
//! The row is inserted into its leaf through the executor's own functions (`leaf`).

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::frame;
use super::kept::{self, Kept};
use super::trigger_call::{BEFORE_INSERT, Call};
use crate::catalog::relation_name;
use crate::error::{OrRaise, PssError, Result};
use crate::guc::{self, Routing};
use crate::router::Door;
use crate::slot;

const MADE_BY: &str = "pss_distribute_table creates the trigger where it belongs.";

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_pss_route_row() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// BEFORE INSERT of an inbox: takes the row to its partition.
///
/// # Safety
/// Called by the function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn pss_route_row(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: as stated; the call is checked before use.
    let call = unsafe { Call::of(call, "pss_route_row", BEFORE_INSERT, MADE_BY) }.or_raise();
    if kept::using(|kept| carry(kept, &call)).or_raise() {
        frame::count_inbox_row();
    }
    // NULL: nothing is left for the inbox to store.
    pg_sys::Datum::from(0_usize)
}

fn misuse(why: &str) -> PssError {
    PssError::new(
        PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
        "pss_route_row can only be the trigger of an inbox partition",
    )
    .detail(format!("As called, {why}."))
    .hint(MADE_BY)
}

/// Takes the row to its partition; false if a trigger there kept it out.
fn carry(kept: &mut Kept, call: &Call) -> Result<bool> {
    let inbox = kept.partition(call.relation_oid())?.filter(|p| p.number < 0);
    let Some(inbox) = inbox else {
        return Err(misuse("its table is not the inbox of a sharded table"));
    };
    check_routing(inbox.table)?;
    if !inbox.may_carry {
        check_row_security(
            inbox.table,
            "The row came by the inbox: by its name, by COPY, or with pss.routing = trigger.",
        )?;
        check_transition_tables(
            inbox.table,
            "The row came by COPY, or with pss.routing = trigger.",
        )?;
        kept.let_carry(call.relation_oid());
    }
    let table = kept.table(inbox.table)?;
    // SAFETY: the row has the inbox's columns, and outlives the call.
    unsafe {
        let key = slot::column(call.row(), inbox.key_attribute);
        let partition = table.router.route(key, None, Door::Trigger)?;
        let meta = table.router.meta().clone();
        table.writer.begin_row();
        let stored = table.writer.insert(&meta, partition, call.relation(), call.row())?;
        Ok(stored.is_some())
    }
}

/// An error if the session wants no routing.
pub fn check_routing(table: pg_sys::Oid) -> Result<()> {
    if guc::ROUTING.get() != Routing::Off {
        return Ok(());
    }
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("a row for \"{}\" names no partition", relation_name(table)),
    )
    .detail("pss.routing is off.")
    .hint("SET pss.routing = planner, or give pss_partition."))
}

/// An error if policies would have to be checked, which a trigger cannot do. `came`: how the
/// row came to it.
pub fn check_row_security(table: pg_sys::Oid, came: &str) -> Result<()> {
    // SAFETY: a catalog look-up for the current user; the table exists.
    let security = unsafe { pg_sys::check_enable_rls(table, pg_sys::InvalidOid, true) };
    if security == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32 {
        let name = relation_name(table);
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("row security applies to \"{name}\", and its policies cannot be checked here"),
        )
        .detail(came)
        .hint(format!("INSERT INTO {name} with pss.routing = planner.")));
    }
    Ok(())
}

/// The rows of a transition table are collected where the statement inserts them:
/// rows that this trigger carries on would be missing from it.
pub fn check_transition_tables(table: pg_sys::Oid, came: &str) -> Result<()> {
    // SAFETY: the trigger list stays as long as our reference to the parent.
    let collects = unsafe {
        let parent = pg_sys::RelationIdGetRelation(table);
        let triggers = (*parent).trigdesc;
        let collects = !triggers.is_null()
            && (*triggers).trig_insert_new_table
            && std::slice::from_raw_parts((*triggers).triggers, (*triggers).numtriggers as usize)
                .iter()
                .any(|trigger| !trigger.tgnewtable.is_null() && fires(trigger));
        pg_sys::RelationClose(parent);
        collects
    };
    if !collects {
        return Ok(());
    }
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!(
            "a trigger of \"{}\" has a transition table, which would miss rows that come by the inbox",
            relation_name(table)
        ),
    )
    .detail(came)
    .hint("Use INSERT with pss.routing = planner; COPY into another table first."))
}

/// Whether the trigger is enabled for this session.
fn fires(trigger: &pg_sys::Trigger) -> bool {
    // SAFETY: a plain global of the backend.
    let replica = unsafe { pg_sys::SessionReplicationRole }
        == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as i32;
    match trigger.tgenabled as u8 {
        b'A' => true,
        b'R' => replica,
        b'O' => !replica,
        _ => false,
    }
}
