//! Rebuilding the row map from the rows, beside running writers.
//!
//! Every (key, partition) that the leaves hold goes through the router's claim
//! protocol with the partition forced, so that a rebuild and a writer that meet
//! the same key agree. No lock stronger than a writer's is taken.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::children;
use super::distribute::copied_columns;
use super::sql::{ident, one, run};
use crate::catalog::{self, ShardedTable, relation_name};
use crate::error::{PssError, Result};
use crate::map;
use crate::router::{self, Router};

/// Keys read at a time.
const BATCH: i64 = 1000;
/// Contradictions named one by one.
const NAMED: u64 = 10;

/// Whether a rebuild of this map ended with contradictions within the last ten minutes.
pub fn failed_of_late(relation: pg_sys::Oid) -> Result<bool> {
    let failed = catalog::as_extension_owner(|| {
        one::<bool>(
            "SELECT true FROM pss.event
             WHERE relation = $1 AND kind = 'contradiction' AND at > now() - interval '10 minutes'
             LIMIT 1",
            &[relation.into()],
        )
    })?;
    Ok(failed.is_some())
}

/// Rebuilds the map of a sharded table; returns the number of keys seen.
pub fn rebuild(relation: pg_sys::Oid) -> Result<i64> {
    if router::own_snapshot() {
        return Err(needs_fresh_snapshots());
    }
    let table = catalog::require_sharded_table(relation)?;
    let name = relation_name(relation);
    // One rebuild of a table at a time, beside its writers.
    run(&format!("LOCK TABLE ONLY {name} IN SHARE UPDATE EXCLUSIVE MODE"))?;
    if table.map.is_none() {
        map::create(relation)?;
    }
    let loads = leaf_loads(relation);
    wait_for_writers(&table);
    route_inbox(&table, &name)?;
    let mut seen = 0;
    let mut contradictions = 0;
    for partition in &table.partitions {
        let (keys, contradicting) = adopt_leaf(&table, partition.number, partition.leaf)?;
        seen += keys;
        contradictions += contradicting;
    }
    if contradictions == 0 && leaf_loads(relation) != loads {
        map::set_complete(relation, false)?;
        let message = format!(
            "row map of {name} stays incomplete: rows were copied into a partition meanwhile"
        );
        catalog::log_event(Some(relation), "rebuild_map", &message, None)?;
        return Ok(seen);
    }
    if contradictions == 0 {
        map::set_complete(relation, true)?;
        catalog::log_event(
            Some(relation),
            "rebuild_map",
            &format!("row map of {name} built from {seen} keys"),
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

fn needs_fresh_snapshots() -> PssError {
    PssError::new(
        PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_STATE,
        "the row map cannot be rebuilt in this transaction",
    )
    .detail("Its snapshot was taken once and for all, and may miss rows committed since.")
    .hint("BEGIN ISOLATION LEVEL READ COMMITTED, and call pss_rebuild_map there.")
}

/// COPYs into leaves begun so far.
fn leaf_loads(relation: pg_sys::Oid) -> u64 {
    let shared = crate::shmem::tables::find(relation);
    shared.map_or(0, |shared| shared.leaf_loads.load(std::sync::atomic::Ordering::SeqCst))
}

/// Waits for the transactions that are writing to a leaf: some may have begun
/// before the table was ours, by a path that noted nothing (a restore). Rows of
/// later ones come by a door, or are counted by `leaf_loads`.
fn wait_for_writers(table: &ShardedTable) {
    for partition in &table.partitions {
        // SAFETY: a complete relation lock tag; the wait can be interrupted.
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
}

/// Sends the keys of one leaf through the claim protocol: (seen, contradicting).
fn adopt_leaf(table: &ShardedTable, number: u16, leaf: pg_sys::Oid) -> Result<(i64, u64)> {
    let mut router = Router::open(table.relation)?;
    let query = format!(
        "SELECT DISTINCT {} FROM ONLY {}",
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
