//! Rebuilding the row map from the rows, beside running writers.
//!
//! Every (key, partition) that the leaves hold goes through the router's claim
//! protocol with the partition forced, so that a rebuild and a writer that meet
//! the same key agree. No lock stronger than a writer's is taken.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::check;
use super::children::{self, Storage};
use super::distribute::copied_columns;
use super::sql::{ident, one, require_latest_snapshot, run};
use crate::catalog::{self, Mapping, ShardedTable, relation_name};
use crate::error::{PssError, Result};
use crate::router::Router;
use crate::{map, meta};

/// Keys read at a time.
const BATCH: i64 = 1000;
/// Contradictions named one by one.
const NAMED: u64 = 10;

/// Makes anew what is missing of our triggers, and the inbox. Only then a lock is taken that
/// makes writers wait.
pub fn repair(relation: pg_sys::Oid) -> Result<()> {
    let table = catalog::require_sharded_table(relation)?;
    let inbox = children::inbox_of(relation)?;
    if inbox.is_some() && check::triggers(&table, &check::existing(&table)?)?.is_empty() {
        return Ok(());
    }
    let inbox = match inbox {
        Some(inbox) => inbox,
        None => children::make(relation, "inbox", -1, &Storage::default())?,
    };
    children::drop_triggers(relation, inbox)?;
    children::make_triggers(relation, inbox, &table.distribution_column)?;
    children::make_guard(relation)?;
    children::make_adopter(relation)
}

/// Rebuilds the map of a sharded table; returns the number of keys seen, in slot mode of rows.
///
/// In slot mode homes are added and none is forgotten: writers rely on those that there are.
pub fn rebuild(relation: pg_sys::Oid) -> Result<i64> {
    require_latest_snapshot()?;
    let table = catalog::require_sharded_table(relation)?;
    let name = relation_name(relation);
    // One rebuild of a table at a time, beside its writers.
    run(&format!("LOCK TABLE ONLY {name} IN SHARE UPDATE EXCLUSIVE MODE"))?;
    wait_for_loads(&table);
    children::make_first_epoch(relation)?;
    if catalog::require_sharded_table(relation)?.map.is_none() {
        map::create(relation)?;
    }
    // Lists that a restore has brought send no message; and a map that is older lacks their homes.
    meta::invalidate(relation);
    map::spread::record(relation)?;
    route_inbox(&table, &name)?;
    let mut seen = 0;
    let mut contradictions = 0;
    for partition in &table.partitions {
        let (keys, contradicting) = adopt_leaf(&table, partition.number, partition.leaf)?;
        seen += keys;
        contradictions += contradicting;
    }
    if contradictions == 0 {
        map::set_complete(relation, true)?;
        catalog::log_event(
            Some(relation),
            "rebuild_map",
            &match table.mapping {
                Mapping::Row => format!("row map of {name} built from {seen} keys"),
                Mapping::Slot => format!("homes of the slots of {name} found in {seen} rows"),
            },
            None,
        )?;
        return Ok(seen);
    }
    map::set_complete(relation, false)?;
    let message =
        format!("row map of {name} stays incomplete: {contradictions} keys contradict it");
    catalog::log_event(Some(relation), "rebuild_map", &message, None)?;
    PssError::new(PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, message)
        .detail("A key has rows in more than one partition, or its entry names another one. Look-ups by key open all partitions: no row is missed.")
        .hint(format!("SELECT * FROM pss_check('{name}') lists them."))
        .warn();
    Ok(seen)
}

/// Waits for transactions that are writing to the leaves: one that began before the table was in
/// the catalog (a restore) passes no door of ours. Later loads into leaves wait for the rebuild.
fn wait_for_loads(table: &ShardedTable) {
    for partition in &table.partitions {
        // SAFETY: a relation's lock tag; the wait holds no lock.
        unsafe {
            let tag = pg_sys::LOCKTAG {
                locktag_field1: pg_sys::MyDatabaseId.to_u32(),
                locktag_field2: partition.leaf.to_u32(),
                locktag_type: pg_sys::LockTagType::LOCKTAG_RELATION as u8,
                locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
                ..Default::default()
            };
            pg_sys::WaitForLockers(tag, pg_sys::ShareLock as i32, false);
        }
    }
    map::lock_loads(table.relation, true);
}

/// Sends the keys of one leaf through the claim protocol: (seen, contradicting).
fn adopt_leaf(table: &ShardedTable, number: u16, leaf: pg_sys::Oid) -> Result<(i64, u64)> {
    let mut router = Router::open(table.relation)?;
    let each = match table.mapping {
        Mapping::Row => "DISTINCT ",
        // Cheaper to look at than to tell apart.
        Mapping::Slot => "",
    };
    let query = format!(
        "SELECT {each}{} FROM ONLY {}",
        ident(&table.distribution_column),
        relation_name(leaf)
    );
    let (mut seen, mut contradictions) = (0, 0);
    Spi::connect_mut(|client| {
        let mut cursor = client.try_open_cursor_mut(query.as_str(), &[])?;
        loop {
            let batch = cursor.fetch(BATCH)?;
            if batch.is_empty() {
                return Ok(());
            }
            let n = batch.len();
            let mut batch = batch.first();
            for _ in 0..n {
                if let Some(key) = batch.get_datum_by_ordinal(1)? {
                    seen += 1;
                    let home = router.adopt(key, number)?;
                    if home != number {
                        contradictions += 1;
                        if contradictions <= NAMED {
                            report(table, number, home)?;
                        }
                    }
                }
                batch.next();
            }
        }
    })
    .map_err(|e: PssError| e)?;
    Ok((seen, contradictions))
}

fn report(table: &ShardedTable, number: u16, home: u16) -> Result<()> {
    catalog::log_event(
        Some(table.relation),
        "contradiction",
        &format!("a key has rows in partition {number}, but its home is partition {home}"),
        None,
    )
}

/// Rows that stayed in the inbox (its trigger was disabled) are inserted again, through the parent.
fn route_inbox(table: &ShardedTable, name: &str) -> Result<()> {
    let Some(inbox) = children::inbox_of(table.relation)? else { return Ok(()) };
    let inbox = relation_name(inbox);
    if one::<bool>(&format!("SELECT true FROM ONLY {inbox} LIMIT 1"), &[])?.is_none() {
        return Ok(());
    }
    let columns = copied_columns(table.relation)?;
    run(&format!(
        "WITH stranded AS (DELETE FROM ONLY {inbox} RETURNING *)
         INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM stranded"
    ))
}
