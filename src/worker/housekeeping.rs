//! What keeps the catalog small and true: retention, sweeping what dropped
//! tables left, rebuilding incomplete maps, and the parents' statistics.
//!
//! Every task is a transaction of its own and bounded in what it does at a time.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{history, process};
use crate::catalog;
use crate::error::Result;
use crate::shmem::tables;
use crate::{capacity, guc, map, moves, partitions};

/// A task of the database.
pub struct DatabaseTask {
    pub name: &'static str,
    pub run: fn() -> Result<()>,
}

/// A task of each table.
pub struct TableTask {
    pub name: &'static str,
    pub run: fn(pg_sys::Oid) -> Result<()>,
}

pub const DATABASE_TASKS: [DatabaseTask; 3] = [
    DatabaseTask { name: "sweep", run: sweep },
    DatabaseTask { name: "retention of events", run: retain_events },
    DatabaseTask { name: "discovery of capacity", run: capacity::discover::discover },
];

pub const TABLE_TASKS: [TableTask; 4] = [
    TableTask { name: "history", run: history::fold },
    TableTask { name: "retention", run: retain },
    TableTask { name: "analyze", run: analyze },
    TableTask { name: "cleaning of the row map", run: moves::clean_if_due },
];

/// Rows deleted from one table at a time.
const BATCH: i64 = 10_000;
/// Change of the number of rows, as a fraction, after which the parent is analyzed.
const ANALYZE_AT: f64 = 0.2;
/// Fewer rows than this are not worth it.
const ANALYZE_FROM: f64 = 100.0;

/// Deletes observations of a table that are older than pss.sample_retention, or, of means over
/// longer times, pss.history_retention. What still counts stays: metrics within pss.metric_ttl, the
/// epoch in force, and epoch 0.
fn retain(relation: pg_sys::Oid) -> Result<()> {
    let minutes = guc::SAMPLE_RETENTION.get();
    let holding = guc::METRIC_TTL.get() / 60_000 + 1;
    catalog::as_extension_owner(|| {
        let others = [
            ("metric", "at"),
            ("expectation", "ends_at"),
            ("move", "moved_at"),
            ("rebalance", "ended_at"),
        ];
        for (table, column) in catalog::OBSERVATIONS.into_iter().chain(others) {
            let minutes = match table {
                "history" | "cost_change" => guc::HISTORY_RETENTION.get(),
                "metric" => minutes.max(holding),
                _ => minutes,
            };
            // Names are the constants above; values go by parameter.
            let statement = format!(
                "DELETE FROM pss.{table} WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
                     SELECT ctid FROM pss.{table}
                     WHERE relation OPERATOR(pg_catalog.=) $1
                       AND {column} OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-)
                           pg_catalog.make_interval(mins => $2))
                     LIMIT $3))"
            );
            Spi::run_with_args(&statement, &[relation.into(), minutes.into(), BATCH.into()])?;
        }
        Ok(Spi::run_with_args(
            "DELETE FROM pss.epoch e
             WHERE e.relation OPERATOR(pg_catalog.=) $1 AND e.epoch OPERATOR(pg_catalog.>) 0
               AND e.published_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-)
                   pg_catalog.make_interval(mins => $2))
               AND e.epoch OPERATOR(pg_catalog.<) (
                   SELECT pg_catalog.max(l.epoch) FROM pss.epoch l
                   WHERE l.relation OPERATOR(pg_catalog.=) $1)",
            &[relation.into(), minutes.into()],
        )?)
    })
}

fn retain_events() -> Result<()> {
    catalog::as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "DELETE FROM pss.event WHERE event_id OPERATOR(pg_catalog.=) ANY (ARRAY(
                 SELECT o.event_id FROM (
                     SELECT event_id, at FROM pss.event ORDER BY event_id LIMIT $2) AS o
                 WHERE o.at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-)
                     pg_catalog.make_interval(mins => $1))))",
            &[guc::SAMPLE_RETENTION.get().into(), BATCH.into()],
        )?)
    })
}

/// Removes what tables that no longer exist left behind, and takes partitions
/// out of service whose leaf was dropped.
fn sweep() -> Result<()> {
    for relation in dropped_tables()? {
        map::drop_map(relation)?;
        catalog::forget_table(relation)?;
        tables::forget(relation);
        let message = format!("removed what dropped table {} left", relation.to_u32());
        catalog::log_event(None, "sweep", &message, None)?;
    }
    disable_dropped_leaves()
}

fn dropped_tables() -> Result<Vec<pg_sys::Oid>> {
    catalog::tables(
        "SELECT k.relation::pg_catalog.oid
         FROM (SELECT relation FROM pss.sharded_table UNION SELECT relation FROM pss.map_state
               UNION SELECT relation FROM pss.outlook) AS k
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                           WHERE c.oid OPERATOR(pg_catalog.=) k.relation)",
    )
}

fn qualified_name(relation: pg_sys::Oid) -> Result<String> {
    catalog::read(|client| {
        let row = client.select(
            "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
             WHERE c.oid OPERATOR(pg_catalog.=) $1",
            Some(1),
            &[relation.into()],
        )?;
        Ok(row.first().get::<String>(1)?.unwrap_or_default())
    })
}

fn disable_dropped_leaves() -> Result<()> {
    let disabled = catalog::as_extension_owner(|| {
        Spi::get_one::<i64>(
            "WITH gone AS (
                 UPDATE pss.partition p SET state = 'disabled'
                 WHERE p.state OPERATOR(pg_catalog.=) 'active'
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                                   WHERE c.oid OPERATOR(pg_catalog.=) p.leaf)
                 RETURNING 1)
             SELECT pg_catalog.count(*) FROM gone",
        )
    })?;
    match disabled {
        Some(n) if n > 0 => {
            let message = format!("{n} partitions taken out of service: their tables were dropped");
            catalog::log_event(None, "sweep", &message, None)
        }
        _ => Ok(()),
    }
}

/// Rebuilds the row map of a table if it is incomplete; says whether it tried.
/// One transaction, beside running writers; samples of the database wait for it.
pub fn rebuild_incomplete_map(relation: pg_sys::Oid) -> Result<bool> {
    let incomplete = catalog::sharded_table(relation)?.is_some_and(|table| !table.map_complete);
    if incomplete {
        process::report_activity(Some(c"pss map rebuild"));
        partitions::rebuild_map(relation)?;
    }
    Ok(incomplete)
}

/// Analyzes the parent when its number of rows has changed much: autovacuum
/// never does it for partitioned tables. As the table's owner.
fn analyze(relation: pg_sys::Oid) -> Result<()> {
    let (rows, analyzed, owner) = catalog::read(|client| {
        let row = client
            .select(
                "SELECT (SELECT pg_catalog.sum(pg_catalog.pg_stat_get_live_tuples(p.leaf))::pg_catalog.float8
                         FROM pss.partition p WHERE p.relation OPERATOR(pg_catalog.=) c.oid),
                        c.reltuples::pg_catalog.float8, c.relowner
                 FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1",
                Some(1),
                &[relation.into()],
            )?
            .first();
        Ok((row.get::<f64>(1)?, row.get::<f64>(2)?, row.get::<pg_sys::Oid>(3)?))
    })?;
    let (Some(rows), Some(analyzed), Some(owner)) = (rows, analyzed, owner) else {
        return Ok(());
    };
    let changed = (rows - analyzed.max(0.0)).abs();
    if rows < ANALYZE_FROM || changed <= ANALYZE_AT * analyzed.max(0.0) {
        return Ok(());
    }
    let name = qualified_name(relation)?;
    catalog::as_role(owner, pg_sys::SECURITY_RESTRICTED_OPERATION, || {
        Ok(Spi::run(&format!("ANALYZE (SKIP_LOCKED) {name}"))?)
    })
}
