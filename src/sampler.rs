//! Samples: the server's cumulative statistics of each partition, beside our
//! own exact counters from shared memory.
//!
//! Reads statistics and sizes by OID without ever waiting for a lock on a
//! user's table; writes pss.sample. What a sample means (load, or nothing at
//! all after a reset) is decided in pss-core.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::level::CLASSES;
use pss_core::load_vector::Extent;
use pss_core::series::Counters;

use crate::catalog::{self, ShardedTable};
use crate::clock::timestamp;
use crate::error::Result;
use crate::shmem::statements::Statements;
use crate::shmem::tables;

/// The counters of one partition at one time.
#[derive(Debug, Clone)]
pub struct Reading {
    pub partition: u16,
    pub counters: Counters,
    /// Blocks found in shared buffers.
    pub blocks_hit: u64,
    /// Bytes of the heap; `None`: not looked at this time.
    pub size: Option<i64>,
    /// How large the partition is; `None`: not looked at this time, or not known.
    pub extent: Option<Extent>,
    /// Rows that pss routed here, cumulative since the server started.
    pub own_rows: u64,
    /// New keys that pss placed here, likewise, by size class.
    pub own_keys: [u64; CLASSES],
    /// Foreign load since the sample before that applications recorded (cost units/s).
    pub metric_load: f64,
    /// Foreign load since then that had been declared.
    pub declared_load: f64,
    /// Statements that read or wrote it, likewise.
    pub statements: Statements,
}

/// Load of a partition since the sample before, cost units per second.
#[derive(Debug, Clone, Copy)]
pub struct OwnAndForeign {
    pub own: f64,
    pub foreign: f64,
}

/// Reads the counters of all partitions that exist, in order of their number.
pub fn read(table: &ShardedTable, with_sizes: bool) -> Result<Vec<Reading>> {
    // SAFETY: drops cached statistics, so that this cycle sees today's.
    unsafe { pg_sys::pgstat_clear_snapshot() };
    let mut readings = catalog::read(|client| {
        let rows = client.select(
            "SELECT p.partition,
                    pg_catalog.pg_stat_get_tuples_inserted(c.oid),
                    pg_catalog.pg_stat_get_tuples_updated(c.oid),
                    pg_catalog.pg_stat_get_tuples_deleted(c.oid),
                    pg_catalog.pg_stat_get_tuples_fetched(c.oid)
                        OPERATOR(pg_catalog.+) i.fetched,
                    pg_catalog.pg_stat_get_tuples_returned(c.oid),
                    pg_catalog.pg_stat_get_blocks_fetched(c.oid)
                        OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_blocks_fetched(c.reltoastrelid)
                        OPERATOR(pg_catalog.+) i.blocks,
                    pg_catalog.pg_stat_get_blocks_hit(c.oid)
                        OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_blocks_hit(c.reltoastrelid)
                        OPERATOR(pg_catalog.+) i.hit
             FROM pss.partition p
             JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.leaf
             CROSS JOIN LATERAL (
                 SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_stat_get_tuples_fetched(x.indexrelid)), 0)::pg_catalog.int8,
                        COALESCE(pg_catalog.sum(pg_catalog.pg_stat_get_blocks_fetched(x.indexrelid)), 0)::pg_catalog.int8,
                        COALESCE(pg_catalog.sum(pg_catalog.pg_stat_get_blocks_hit(x.indexrelid)), 0)::pg_catalog.int8
                 FROM pg_catalog.pg_index x
                 WHERE x.indrelid OPERATOR(pg_catalog.=) c.oid) AS i (fetched, blocks, hit)
             WHERE p.relation OPERATOR(pg_catalog.=) $1
             ORDER BY p.partition",
            None,
            &[table.relation.into()],
        )?;
        let mut readings = Vec::with_capacity(rows.len());
        for row in rows {
            let count =
                |n| Ok::<u64, pgrx::spi::Error>(row.get::<i64>(n)?.unwrap_or(0).max(0) as u64);
            let (fetched, hit) = (count(7)?, count(8)?);
            readings.push(Reading {
                partition: row.get::<i32>(1)?.unwrap_or(0) as u16,
                counters: Counters {
                    inserted: count(2)?,
                    updated: count(3)?,
                    deleted: count(4)?,
                    index_fetched: count(5)?,
                    sequentially_read: count(6)?,
                    blocks_read: fetched.saturating_sub(hit),
                    busy_us: 0,
                },
                blocks_hit: hit,
                size: None,
                extent: None,
                own_rows: 0,
                own_keys: [0; CLASSES],
                metric_load: 0.0,
                declared_load: 0.0,
                statements: Statements::default(),
            });
        }
        Ok(readings)
    })?;
    read_own_counters(table.relation, &mut readings);
    if with_sizes {
        read_sizes(table, &mut readings)?;
    }
    Ok(readings)
}

fn read_own_counters(relation: pg_sys::Oid, readings: &mut [Reading]) {
    use std::sync::atomic::Ordering::Relaxed;
    let Some(shared) = tables::find(relation) else { return };
    for reading in readings {
        if let Some(own) = shared.partition(reading.partition) {
            reading.own_rows = own.rows.load(Relaxed);
            reading.own_keys = own.keys_by_class();
            reading.statements = own.statements.read();
            reading.counters.busy_us = reading.statements.foreign_us();
        }
    }
}

/// Blocks from which on a heap says how long its rows are; before, the table's mean does.
const TELLING_BYTES: i64 = 8 * pg_sys::BLCKSZ as i64;

/// Sizes of those partitions that nobody has locked exclusively. Indexes and TOAST count as of
/// their last VACUUM or ANALYZE: to look at them now could mean to wait for a lock on an index.
fn read_sizes(table: &ShardedTable, readings: &mut [Reading]) -> Result<()> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let free: Vec<pg_sys::Oid> = table
        .partitions
        .iter()
        .map(|p| p.leaf)
        // SAFETY: takes the lock or does not; released when the transaction ends.
        .filter(|&leaf| unsafe { pg_sys::ConditionalLockRelationOid(leaf, lock) })
        .collect();
    let usual_row = catalog::mean_row_bytes(table)?;
    catalog::read(|client| {
        let rows = client.select(
            "SELECT p.partition,
                    CASE WHEN c.relkind OPERATOR(pg_catalog.<>) 'f' THEN pg_catalog.pg_relation_size(p.leaf) END,
                    x.blocks, x.indexes,
                    pg_catalog.pg_stat_get_live_tuples(p.leaf)
                        OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_dead_tuples(p.leaf)
             FROM pss.partition p
             JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.leaf
             CROSS JOIN LATERAL (
                 SELECT COALESCE(pg_catalog.sum(r.relpages), 0)::pg_catalog.int8,
                        pg_catalog.count(*) FILTER (WHERE r.relkind OPERATOR(pg_catalog.=) 'i')
                 FROM (SELECT i.indexrelid FROM pg_catalog.pg_index i
                       WHERE i.indrelid OPERATOR(pg_catalog.=) p.leaf
                       UNION ALL SELECT c.reltoastrelid) AS beside (oid)
                 JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) beside.oid)
                 AS x (blocks, indexes)
             WHERE p.relation OPERATOR(pg_catalog.=) $1
               AND p.leaf OPERATOR(pg_catalog.=) ANY ($2)",
            None,
            &[table.relation.into(), free.into()],
        )?;
        for row in rows {
            let partition = row.get::<i32>(1)?.unwrap_or(-1);
            let size = row.get::<i64>(2)?;
            let Some(r) = readings.iter_mut().find(|r| i32::from(r.partition) == partition) else {
                continue;
            };
            r.size = size;
            let indexes = row.get::<i64>(4)?.unwrap_or(0) as u32;
            let rows = row.get::<i64>(5)?.unwrap_or(0);
            let beside = row.get::<i64>(3)?.unwrap_or(0) * i64::from(pg_sys::BLCKSZ);
            r.extent = size.map(|heap| Extent {
                stored_bytes: heap.saturating_add(beside) as f64,
                row_bytes: if heap >= TELLING_BYTES && rows > 0 {
                    heap as f64 / rows as f64
                } else {
                    usual_row
                },
                indexes,
            });
        }
        Ok(())
    })
}

/// Writes one sample of all partitions; `loads` beside `readings`.
pub fn record(
    relation: pg_sys::Oid,
    at: pg_sys::TimestampTz,
    readings: &[Reading],
    loads: &[Option<OwnAndForeign>],
) -> Result<()> {
    let column = |f: fn(&Reading) -> u64| readings.iter().map(|r| f(r) as i64).collect::<Vec<_>>();
    let partitions: Vec<i32> = readings.iter().map(|r| i32::from(r.partition)).collect();
    let sizes: Vec<Option<i64>> = readings.iter().map(|r| r.size).collect();
    let told = |f: fn(&Reading) -> f64| readings.iter().map(f).collect::<Vec<f64>>();
    let own: Vec<Option<f64>> = loads.iter().map(|l| l.map(|l| l.own)).collect();
    let foreign: Vec<Option<f64>> = loads.iter().map(|l| l.map(|l| l.foreign)).collect();
    // An array of arrays would be unnested whole: each goes in its text form.
    let by_size: Vec<String> = readings.iter().map(|r| array_literal(&r.own_keys)).collect();
    catalog::as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "INSERT INTO pss.sample (relation, sampled_at, partition,
                 tup_inserted, tup_updated, tup_deleted, idx_tup_fetch, seq_tup_read,
                 blks_read, blks_hit, size_bytes, own_rows, own_keys, own_load, foreign_load,
                 own_keys_by_size, metric_load, declared_load,
                 reads, writes, read_us, write_us, insert_us)
             SELECT $1, $2, a, b, c, d, e, f, g, h, i, j, k, l, m, n::pg_catalog.int8[], o, p, q, r, s, t, u
             FROM ROWS FROM (
                 pg_catalog.unnest($3::pg_catalog.int4[]),
                 pg_catalog.unnest($4::pg_catalog.int8[]), pg_catalog.unnest($5::pg_catalog.int8[]),
                 pg_catalog.unnest($6::pg_catalog.int8[]), pg_catalog.unnest($7::pg_catalog.int8[]),
                 pg_catalog.unnest($8::pg_catalog.int8[]), pg_catalog.unnest($9::pg_catalog.int8[]),
                 pg_catalog.unnest($10::pg_catalog.int8[]), pg_catalog.unnest($11::pg_catalog.int8[]),
                 pg_catalog.unnest($12::pg_catalog.int8[]), pg_catalog.unnest($13::pg_catalog.int8[]),
                 pg_catalog.unnest($14::pg_catalog.float8[]),
                 pg_catalog.unnest($15::pg_catalog.float8[]),
                 pg_catalog.unnest($16::pg_catalog.text[]),
                 pg_catalog.unnest($17::pg_catalog.float8[]),
                 pg_catalog.unnest($18::pg_catalog.float8[]),
                 pg_catalog.unnest($19::pg_catalog.int8[]), pg_catalog.unnest($20::pg_catalog.int8[]),
                 pg_catalog.unnest($21::pg_catalog.int8[]), pg_catalog.unnest($22::pg_catalog.int8[]),
                 pg_catalog.unnest($23::pg_catalog.int8[]))
                 AS v (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u)",
            &[
                relation.into(),
                timestamp(at).into(),
                partitions.into(),
                column(|r| r.counters.inserted).into(),
                column(|r| r.counters.updated).into(),
                column(|r| r.counters.deleted).into(),
                column(|r| r.counters.index_fetched).into(),
                column(|r| r.counters.sequentially_read).into(),
                column(|r| r.counters.blocks_read).into(),
                column(|r| r.blocks_hit).into(),
                sizes.into(),
                column(|r| r.own_rows).into(),
                column(|r| r.own_keys.iter().sum()).into(),
                own.into(),
                foreign.into(),
                by_size.into(),
                told(|r| r.metric_load).into(),
                told(|r| r.declared_load).into(),
                column(|r| r.statements.reads).into(),
                column(|r| r.statements.writes).into(),
                column(|r| r.statements.read_us).into(),
                column(|r| r.statements.write_us).into(),
                column(|r| r.statements.insert_us).into(),
            ],
        )?)
    })
}

fn array_literal(counts: &[u64; CLASSES]) -> String {
    let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
    format!("{{{}}}", counts.join(","))
}

/// When the newest sample of a table was taken.
pub fn newest(relation: pg_sys::Oid) -> Result<Option<pg_sys::TimestampTz>> {
    catalog::read(|client| {
        let row = client.select(
            "SELECT pg_catalog.max(sampled_at) FROM pss.sample
             WHERE relation OPERATOR(pg_catalog.=) $1",
            Some(1),
            &[relation.into()],
        )?;
        Ok(row.first().get::<TimestampWithTimeZone>(1)?.map(pg_sys::TimestampTz::from))
    })
}

/// Samplings that a replay reads: more than forecasters and cohorts remember.
const REPLAY_STEPS: i64 = 1_500;
/// Most rows that a replay reads: bounds its time after a restart.
const REPLAY_ROWS: i64 = 500_000;
/// Rows fetched at a time.
const REPLAY_BATCH: i64 = 2_000;

/// Whether a sample of a table was taken at this very time.
pub fn taken_at(relation: pg_sys::Oid, at: pg_sys::TimestampTz) -> Result<bool> {
    catalog::read(|client| {
        let row = client.select(
            "SELECT EXISTS (SELECT FROM pss.sample WHERE relation OPERATOR(pg_catalog.=) $1
                            AND sampled_at OPERATOR(pg_catalog.=) $2)",
            Some(1),
            &[relation.into(), timestamp(at).into()],
        )?;
        Ok(row.first().get::<bool>(1)?.unwrap_or(false))
    })
}

/// Gives `f` the newest samples of a table, those after `after` if given, oldest first: time and
/// readings.
pub fn replay(
    table: &ShardedTable,
    after: Option<pg_sys::TimestampTz>,
    mut f: impl FnMut(pg_sys::TimestampTz, &[Reading]) -> Result<()>,
) -> Result<()> {
    let rows = (table.partitions.len() as i64 * REPLAY_STEPS).min(REPLAY_ROWS);
    catalog::read(|client| {
        let mut cursor = client.try_open_cursor(
            "SELECT * FROM (
                 SELECT sampled_at, partition, tup_inserted, tup_updated, tup_deleted,
                        idx_tup_fetch, seq_tup_read, blks_read, blks_hit, own_rows, own_keys_by_size,
                        metric_load, declared_load,
                        reads, writes, read_us, write_us, insert_us
                 FROM pss.sample WHERE relation OPERATOR(pg_catalog.=) $1
                   AND sampled_at OPERATOR(pg_catalog.>) COALESCE($3, '-infinity')
                 ORDER BY sampled_at DESC, partition DESC LIMIT $2) AS newest
             ORDER BY sampled_at, partition",
            &[table.relation.into(), rows.into(), after.map(timestamp).into()],
        )?;
        let mut at = 0;
        let mut readings: Vec<Reading> = Vec::new();
        loop {
            let rows = cursor.fetch(REPLAY_BATCH)?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let count = |n| Ok::<u64, pgrx::spi::Error>(row.get::<i64>(n)?.unwrap_or(0) as u64);
                let taken: pg_sys::TimestampTz =
                    row.get::<TimestampWithTimeZone>(1)?.map_or(0, pg_sys::TimestampTz::from);
                if taken != at && !readings.is_empty() {
                    f(at, &readings)?;
                    readings.clear();
                }
                at = taken;
                let statements = Statements {
                    reads: count(14)?,
                    writes: count(15)?,
                    read_us: count(16)?,
                    write_us: count(17)?,
                    insert_us: count(18)?,
                };
                readings.push(Reading {
                    partition: row.get::<i32>(2)?.unwrap_or(0) as u16,
                    counters: Counters {
                        inserted: count(3)?,
                        updated: count(4)?,
                        deleted: count(5)?,
                        index_fetched: count(6)?,
                        sequentially_read: count(7)?,
                        blocks_read: count(8)?,
                        busy_us: statements.foreign_us(),
                    },
                    blocks_hit: count(9)?,
                    size: None,
                    extent: None,
                    own_rows: count(10)?,
                    own_keys: by_class(&row.get::<Vec<i64>>(11)?.unwrap_or_default()),
                    metric_load: row.get::<f64>(12)?.unwrap_or(0.0),
                    declared_load: row.get::<f64>(13)?.unwrap_or(0.0),
                    statements,
                });
            }
        }
        if !readings.is_empty() {
            f(at, &readings)?;
        }
        Ok(())
    })
}

/// Counts by size class; a sample of another version may have fewer classes.
fn by_class(counts: &[i64]) -> [u64; CLASSES] {
    std::array::from_fn(|class| counts.get(class).map_or(0, |&n| n.max(0) as u64))
}
