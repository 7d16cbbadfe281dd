//! The trigger door: BEFORE INSERT on the inbox partition, for every path that
//! has no plan of ours (COPY, logical replication, pss.routing = trigger).
//!
//! The row is inserted into its leaf through the executor's own functions, as
//! COPY does it: constraints, indexes, generated columns and the leaf's
//! triggers apply. SQL would not do: it would check the user's rights on the
//! leaf, and row security not at all.

use std::ffi::CString;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{OrRaise, PssError, Result, not_preloaded};
use crate::guc::{self, Routing};
use crate::meta::{self, Meta, PARTITION_COLUMN};
use crate::router::{Door, Router};
use crate::{shmem, slot, xact};

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_pss_route_row() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn pss_route_row(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by the function manager; the trigger data is checked before use.
    unsafe {
        let data = (*call).context.cast::<pg_sys::TriggerData>();
        if data.is_null() || (*data.cast::<pg_sys::Node>()).type_ != pg_sys::NodeTag::T_TriggerData
        {
            misuse("it is not a trigger call").raise();
        }
        let before_row_insert =
            pg_sys::TRIGGER_EVENT_INSERT | pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_BEFORE;
        if (*data).tg_event != before_row_insert {
            misuse("it is not a BEFORE INSERT row trigger").raise();
        }
        if carry((*data).tg_relation, (*data).tg_trigslot).or_raise() {
            xact::count_inbox_row();
        }
        // NULL: nothing is left for the inbox to store.
        (*call).isnull = false;
        pg_sys::Datum::from(0_usize)
    }
}

fn misuse(why: &str) -> PssError {
    PssError::new(
        PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
        "pss_route_row can only be the trigger of an inbox partition",
    )
    .detail(format!("As called, {why}."))
    .hint("pss_distribute_table creates the trigger where it belongs.")
}

/// Takes the row to its partition; false if a trigger there kept it out.
unsafe fn carry(inbox: pg_sys::Relation, row: *mut pg_sys::TupleTableSlot) -> Result<bool> {
    if !shmem::available() {
        return Err(not_preloaded());
    }
    // SAFETY: the relation the trigger fired on, open for its duration.
    let inbox_oid = unsafe { (*inbox).rd_id };
    let Some((meta, -1)) = meta::table_of_leaf(inbox_oid)? else {
        return Err(misuse("its table is not the inbox of a sharded table"));
    };
    check_routing(&meta)?;
    check_transition_tables(&meta)?;
    // SAFETY: the row has the inbox's columns.
    unsafe {
        let key = key_of(&meta, inbox_oid, row);
        let partition = Router::of(meta.clone())?.route(key, None, Door::Trigger)?;
        let Some(position) = meta.position(partition) else {
            return Err(misuse("its table has changed under it"));
        };
        insert(meta.table.partitions[position].leaf, inbox, row, partition)
    }
}

fn check_routing(meta: &Meta) -> Result<()> {
    let name = || crate::catalog::relation_name(meta.table.relation);
    if guc::ROUTING.get() == Routing::Off {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("a row for \"{}\" names no partition", name()),
        )
        .detail("pss.routing is off.")
        .hint("SET pss.routing = planner, or give pss_partition."));
    }
    // SAFETY: a catalog look-up for the current user; the table exists.
    let security =
        unsafe { pg_sys::check_enable_rls(meta.table.relation, pg_sys::InvalidOid, true) };
    if security == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32 {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "row security applies to \"{}\", and its policies cannot be checked here",
                name()
            ),
        )
        .detail("The row came by the inbox: by its name, by COPY, or with pss.routing = trigger.")
        .hint(format!("INSERT INTO {} with pss.routing = planner.", name())));
    }
    Ok(())
}

/// The rows of a transition table are collected where the statement inserts them:
/// rows that this trigger carries on would be missing from it.
fn check_transition_tables(meta: &Meta) -> Result<()> {
    // SAFETY: the trigger list stays as long as our reference to the parent.
    let collects = unsafe {
        let parent = pg_sys::RelationIdGetRelation(meta.table.relation);
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
            crate::catalog::relation_name(meta.table.relation)
        ),
    )
    .detail("The row came by COPY, or with pss.routing = trigger.")
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

unsafe fn key_of(
    meta: &Meta,
    inbox: pg_sys::Oid,
    row: *mut pg_sys::TupleTableSlot,
) -> Option<pg_sys::Datum> {
    let column = CString::new(meta.table.distribution_column.as_str()).unwrap_or_default();
    // SAFETY: the column exists in every partition of the table.
    unsafe {
        let attribute = pg_sys::get_attnum(inbox, column.as_ptr());
        slot::column(row, attribute)
    }
}

/// Inserts the row into a leaf, with everything an INSERT does below tuple routing;
/// false if a BEFORE trigger of the leaf kept it out.
unsafe fn insert(
    leaf: pg_sys::Oid,
    inbox: pg_sys::Relation,
    row: *mut pg_sys::TupleTableSlot,
    partition: u16,
) -> Result<bool> {
    // SAFETY: the leaf is locked by the router; all that is made here is released here.
    unsafe {
        let relation = pg_sys::table_open(leaf, pg_sys::RowExclusiveLock as i32);
        if (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_RELATION {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("partition {partition} is a foreign table, which the inbox cannot reach"),
            )
            .detail("The row came by COPY, or with pss.routing = trigger.")
            .hint("Use INSERT with pss.routing = planner."));
        }
        let attribute = pg_sys::get_attnum(leaf, PARTITION_COLUMN.as_ptr());
        let slot =
            pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual);
        copy_columns(inbox, row, relation, slot);
        *(*slot).tts_values.add(attribute as usize - 1) = pg_sys::Datum::from(i32::from(partition));
        *(*slot).tts_isnull.add(attribute as usize - 1) = false;
        (*slot).tts_tableOid = leaf;

        let estate = pg_sys::CreateExecutorState();
        (*estate).es_output_cid = pg_sys::GetCurrentCommandId(true);
        let info =
            pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
        pg_sys::InitResultRelInfo(info, relation, 0, null_mut(), 0);
        pg_sys::ExecOpenIndices(info, false);
        pg_sys::ExecSimpleRelationInsert(info, estate, slot);
        pg_sys::ExecCloseIndices(info);
        let stored = (*slot).tts_tid.ip_posid != pg_sys::InvalidOffsetNumber;
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::FreeExecutorState(estate);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        Ok(stored)
    }
}

/// Copies the row by reference, column by name: an attached leaf may have its
/// columns in another order.
unsafe fn copy_columns(
    inbox: pg_sys::Relation,
    row: *mut pg_sys::TupleTableSlot,
    leaf: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
) {
    // SAFETY: both descriptors belong to partitions of one table; the row outlives the slot's use.
    unsafe {
        let map = pg_sys::convert_tuples_by_name((*inbox).rd_att, (*leaf).rd_att);
        let n = (*(*inbox).rd_att).natts;
        slot::deform(row, n as i16);
        if map.is_null() {
            std::ptr::copy_nonoverlapping((*row).tts_values, (*slot).tts_values, n as usize);
            std::ptr::copy_nonoverlapping((*row).tts_isnull, (*slot).tts_isnull, n as usize);
            pg_sys::ExecStoreVirtualTuple(slot);
        } else {
            pg_sys::execute_attr_map_slot((*map).attrMap, row, slot);
            pg_sys::free_conversion_map(map);
        }
    }
}
