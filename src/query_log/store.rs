//! Imported load into pss.history, beside what was measured.

use std::ffi::CStr;
use std::ops::RangeInclusive;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_querylog::{BUCKET_S, Row};

use super::Count;
use crate::catalog::{self, ShardedTable, as_extension_owner};
use crate::clock::{self, timestamp};
use crate::error::Result;
use crate::guc;
use crate::latest;

/// Rows written at a time.
const BATCH: usize = 5_000;
/// A log's clock may be ahead of ours.
const AHEAD_US: i64 = 60_000_000;

/// Times that history reaches, now.
pub fn reach() -> RangeInclusive<pg_sys::TimestampTz> {
    let now = clock::now();
    now - i64::from(guc::HISTORY_RETENTION.get()) * 60_000_000..=now + AHEAD_US
}

/// Foreign load of a whole table as it was measured: start of each bucket in seconds since 1970,
/// and cost units per second.
pub fn measured(relation: pg_sys::Oid) -> Result<Vec<(i64, f64)>> {
    as_extension_owner(|| {
        catalog::read(|client| {
            let rows = client.select(
                "SELECT pg_catalog.date_part('epoch', bucket)::pg_catalog.int8, pg_catalog.sum(load)
                 FROM (SELECT bucket, partition, foreign_load AS load
                       FROM pss.history
                       WHERE relation OPERATOR(pg_catalog.=) $1
                         AND source OPERATOR(pg_catalog.=) 'sample'
                       UNION
                       SELECT pg_catalog.date_bin('5 min', sampled_at, '2000-01-01 00:00+00') AS b,
                              partition, pg_catalog.avg(foreign_load)
                       FROM pss.sample
                       WHERE relation OPERATOR(pg_catalog.=) $1 AND foreign_load IS NOT NULL
                         AND NOT EXISTS (
                             SELECT FROM pss.history h
                             WHERE h.relation OPERATOR(pg_catalog.=) $1
                               AND h.source OPERATOR(pg_catalog.=) 'sample'
                               AND h.bucket OPERATOR(pg_catalog.=) pg_catalog.date_bin(
                                   '5 min', sampled_at, '2000-01-01 00:00+00'))
                       GROUP BY b, partition) AS measured
                 GROUP BY bucket",
                None,
                &[relation.into()],
            )?;
            let mut measured = Vec::with_capacity(rows.len());
            for row in rows {
                if let (Some(start), Some(load)) = (row.get::<i64>(1)?, row.get::<f64>(2)?) {
                    measured.push((start, load));
                }
            }
            Ok(measured)
        })
    })
}

/// Writes rows where nothing was measured, and no earlier import saw more of the bucket; returns
/// how many.
pub fn write(table: &ShardedTable, mut rows: impl Iterator<Item = Row>) -> Result<i64> {
    let mut written = 0;
    loop {
        let batch: Vec<Row> = rows.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return Ok(written);
        }
        pgrx::check_for_interrupts!();
        let numbers: Vec<i32> =
            batch.iter().map(|r| i32::from(table.partitions[r.partition].number)).collect();
        let column = |f: fn(&Row) -> f64| batch.iter().map(f).collect::<Vec<f64>>();
        let counted = as_extension_owner(|| {
            Spi::get_one_with_args::<i64>(
                WRITE,
                &[
                    table.relation.into(),
                    numbers.into(),
                    column(|r| r.start_s as f64).into(),
                    column(|r| r.foreign).into(),
                    column(|r| r.own).into(),
                    column(|r| r.seconds.min(BUCKET_S as f64)).into(),
                ],
            )
        })?;
        written += counted.unwrap_or(0);
    }
}

const WRITE: &str = "
    WITH written AS (
        INSERT INTO pss.history AS h
            (relation, partition, bucket, foreign_load, own_load, seconds, source)
        SELECT $1, p, pg_catalog.to_timestamp(b), f, o, s, 'log'
        FROM ROWS FROM (
            pg_catalog.unnest($2::pg_catalog.int4[]), pg_catalog.unnest($3::pg_catalog.float8[]),
            pg_catalog.unnest($4::pg_catalog.float8[]), pg_catalog.unnest($5::pg_catalog.float8[]),
            pg_catalog.unnest($6::pg_catalog.float8[])) AS u (p, b, f, o, s)
        ON CONFLICT (relation, bucket, partition) DO UPDATE
        SET foreign_load = excluded.foreign_load, own_load = excluded.own_load,
            seconds = excluded.seconds
        WHERE h.source OPERATOR(pg_catalog.=) 'log'
          AND h.seconds OPERATOR(pg_catalog.<=) excluded.seconds
        RETURNING 1)
    SELECT pg_catalog.count(*) FROM written";

/// Leaves word of an import: in the decision log, and for the processes that remember the table,
/// which then learn from history anew.
pub fn note(relation: pg_sys::Oid, count: &Count, scale: f64) -> Result<()> {
    as_extension_owner(|| {
        Spi::run_with_args(
            "INSERT INTO pss.query_log_import
                 (relation, imported_at, earliest, latest, entries, scale)
             VALUES ($1, pg_catalog.clock_timestamp(), $2, $3, $4, $5)
             ON CONFLICT (relation) DO UPDATE
             SET imported_at = excluded.imported_at, earliest = excluded.earliest,
                 latest = excluded.latest, entries = excluded.entries, scale = excluded.scale",
            &[
                relation.into(),
                timestamp(count.earliest).into(),
                timestamp(count.latest).into(),
                count.used.into(),
                scale.into(),
            ],
        )
    })?;
    let message = format!(
        "load learnt from {} logged statements: {} means over five minutes",
        count.used, count.buckets
    );
    catalog::log_event(Some(relation), "import_query_log", &message, None)
}

/// When load of a table was last imported; `None`: never.
pub fn imported_at(relation: pg_sys::Oid) -> Option<pg_sys::TimestampTz> {
    const IMPORTED: &CStr = c"SELECT imported_at FROM pss.query_log_import
          WHERE relation OPERATOR(pg_catalog.=) $1";
    latest::select(IMPORTED, relation, |rows| rows.get::<TimestampWithTimeZone>(0, 1))
        .map(pg_sys::TimestampTz::from)
}
