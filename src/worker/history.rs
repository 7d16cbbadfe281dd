//! The coarse past: means of the load over five minutes in pss.history, made
//! from samples and read back after a restart.
//!
//! Folding may stop anywhere and be repeated: it goes on after the newest
//! measured bucket, and only buckets that no later sample can change are made.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::calibration::Rescale;
use crate::catalog::{self, ShardedTable};
use crate::clock::timestamp;
use crate::error::Result;
use crate::guc;

/// Length of a bucket: that of imported ones, which lie beside.
const BUCKET_US: i64 = pss_querylog::BUCKET_S * 1_000_000;
/// Samples that are folded at a time, about.
const FOLD_ROWS: i64 = 500_000;

/// Most buckets that are read back: bounds the time of a restart. Of more partitions than these
/// suffice for, the history is read over less time.
const REPLAY_ROWS: i64 = 2_000_000;
/// Rows fetched at a time.
const REPLAY_BATCH: i64 = 10_000;

/// Makes the buckets that are complete since the last time, as many as go at a time.
///
/// A load counts for the whole interval that it was measured in; where that spans several buckets,
/// for each by the part that lies in it. What had been declared is left out, as it is from what
/// forecasters see. Imported buckets are replaced.
pub fn fold(relation: pg_sys::Oid) -> Result<()> {
    catalog::as_extension_owner(|| {
        let Some((from, to)) = unfolded(relation)? else { return Ok(()) };
        Ok(Spi::run_with_args(
            "INSERT INTO pss.history AS h (relation, partition, bucket, foreign_load, own_load, seconds)
             SELECT $1, w.partition, w.bucket,
                    pg_catalog.sum(w.foreign_load OPERATOR(pg_catalog.*) w.seconds)
                        OPERATOR(pg_catalog./) pg_catalog.sum(w.seconds),
                    pg_catalog.sum(w.own_load OPERATOR(pg_catalog.*) w.seconds)
                        OPERATOR(pg_catalog./) pg_catalog.sum(w.seconds),
                    LEAST(pg_catalog.sum(w.seconds), 300)
             FROM (
                 SELECT i.partition, b.bucket, i.foreign_load, i.own_load,
                        EXTRACT(epoch FROM (
                            LEAST(i.ended, b.bucket OPERATOR(pg_catalog.+) '5 min'::pg_catalog.interval)
                            OPERATOR(pg_catalog.-) GREATEST(i.began, b.bucket)))::pg_catalog.float8 AS seconds
                 FROM (
                     SELECT s.partition, s.foreign_load OPERATOR(pg_catalog.-)
                                LEAST(s.declared_load, s.foreign_load) AS foreign_load,
                            COALESCE(s.own_load, 0) AS own_load,
                            pg_catalog.lag(s.sampled_at) OVER (PARTITION BY s.partition ORDER BY s.sampled_at) AS began,
                            s.sampled_at AS ended
                     FROM pss.sample s
                     WHERE s.relation OPERATOR(pg_catalog.=) $1
                       AND s.sampled_at OPERATOR(pg_catalog.>=) COALESCE((
                               SELECT pg_catalog.max(x.sampled_at) FROM pss.sample x
                               WHERE x.relation OPERATOR(pg_catalog.=) $1
                                 AND x.sampled_at OPERATOR(pg_catalog.<=) $2), $2)
                       AND s.sampled_at OPERATOR(pg_catalog.<=) (
                               SELECT pg_catalog.min(x.sampled_at) FROM pss.sample x
                               WHERE x.relation OPERATOR(pg_catalog.=) $1
                                 AND x.sampled_at OPERATOR(pg_catalog.>=) $3)) AS i
                 CROSS JOIN LATERAL pg_catalog.generate_series(
                     GREATEST(pg_catalog.date_bin('5 min', i.began, $2), $2),
                     LEAST(i.ended, $3 OPERATOR(pg_catalog.-) '5 min'::pg_catalog.interval),
                     '5 min'::pg_catalog.interval) AS b (bucket)
                 WHERE i.began IS NOT NULL
                   AND i.foreign_load OPERATOR(pg_catalog.>=) 0
                   AND i.foreign_load OPERATOR(pg_catalog.<) 'infinity'
                   AND i.own_load OPERATOR(pg_catalog.>=) 0
                   AND i.own_load OPERATOR(pg_catalog.<) 'infinity') AS w
             WHERE w.seconds OPERATOR(pg_catalog.>) 0
             GROUP BY w.partition, w.bucket
             ORDER BY w.bucket, w.partition
             ON CONFLICT (relation, bucket, partition) DO UPDATE SET
                 foreign_load = excluded.foreign_load, own_load = excluded.own_load,
                 seconds = excluded.seconds, source = excluded.source",
            &[relation.into(), timestamp(from).into(), timestamp(to).into()],
        )?)
    })
}

/// Start of the first bucket to be made and end of the last one; `None`: none is complete.
fn unfolded(relation: pg_sys::Oid) -> Result<Option<(pg_sys::TimestampTz, pg_sys::TimestampTz)>> {
    let (begins, newest, partitions) = catalog::read(|client| {
        let row = client
            .select(
                // From the first sample on that says something (the oldest says nothing: it has
                // none before it), for a gap must not stop us for good.
                "SELECT GREATEST(f.folded, (
                            SELECT pg_catalog.max(s.sampled_at) FROM pss.sample s
                            WHERE s.relation OPERATOR(pg_catalog.=) $1
                              AND s.sampled_at OPERATOR(pg_catalog.<) n.sampled_at)),
                        (SELECT pg_catalog.max(s.sampled_at) FROM pss.sample s
                         WHERE s.relation OPERATOR(pg_catalog.=) $1),
                        (SELECT pg_catalog.count(*) FROM pss.partition p
                         WHERE p.relation OPERATOR(pg_catalog.=) $1)
                 FROM (SELECT COALESCE((
                           SELECT h.bucket OPERATOR(pg_catalog.+) '5 min'::pg_catalog.interval
                           FROM pss.history h
                           WHERE h.relation OPERATOR(pg_catalog.=) $1
                             AND h.source OPERATOR(pg_catalog.=) 'sample'
                           ORDER BY h.bucket DESC LIMIT 1), '-infinity') AS folded) AS f
                 CROSS JOIN LATERAL (
                     SELECT s.sampled_at FROM pss.sample s
                     WHERE s.relation OPERATOR(pg_catalog.=) $1
                       AND s.sampled_at OPERATOR(pg_catalog.>) GREATEST(f.folded, (
                               SELECT pg_catalog.min(o.sampled_at) FROM pss.sample o
                               WHERE o.relation OPERATOR(pg_catalog.=) $1))
                       AND s.foreign_load OPERATOR(pg_catalog.>=) 0
                       AND s.foreign_load OPERATOR(pg_catalog.<) 'infinity'
                       AND COALESCE(s.own_load, 0) OPERATOR(pg_catalog.>=) 0
                       AND COALESCE(s.own_load, 0) OPERATOR(pg_catalog.<) 'infinity'
                     ORDER BY s.sampled_at LIMIT 1) AS n",
                Some(1),
                &[relation.into()],
            )?
            .next();
        let Some(row) = row else { return Ok((None, None, 1)) };
        let time = |n| {
            let value = row.get::<TimestampWithTimeZone>(n)?;
            Ok::<_, pgrx::spi::Error>(value.map(pg_sys::TimestampTz::from))
        };
        Ok((time(1)?, time(2)?, row.get::<i64>(3)?.unwrap_or(1)))
    })?;
    let (Some(begins), Some(newest)) = (begins, newest) else { return Ok(None) };
    let per_bucket = partitions.max(1) * (300_000 / i64::from(guc::SAMPLE_INTERVAL.get())).max(1);
    let buckets = (FOLD_ROWS / per_bucket).max(1);
    let from = bucket(begins);
    let to = bucket(newest).min(from.saturating_add(buckets * BUCKET_US));
    Ok((to > from).then_some((from, to)))
}

/// Start of the bucket that a time lies in; the grid of TimestampTz is that of UTC.
fn bucket(at: pg_sys::TimestampTz) -> pg_sys::TimestampTz {
    at.div_euclid(BUCKET_US) * BUCKET_US
}

/// Gives `f` the buckets that end before `origin`, oldest first: position of the partition, start,
/// length in seconds, mean foreign load by the costs in use today.
pub fn replay(
    table: &ShardedTable,
    origin: pg_sys::TimestampTz,
    mut f: impl FnMut(usize, pg_sys::TimestampTz, u32, f64),
) -> Result<()> {
    let affordable = REPLAY_ROWS / table.partitions.len().max(1) as i64 * BUCKET_US;
    let kept = i64::from(guc::HISTORY_RETENTION.get()) * 60_000_000;
    let oldest = origin.saturating_sub(affordable.min(kept));
    let rescale = Rescale::of(table.relation)?;
    catalog::read(|client| {
        let mut cursor = client.try_open_cursor(
            "SELECT bucket, partition, foreign_load FROM pss.history
             WHERE relation OPERATOR(pg_catalog.=) $1 AND bucket OPERATOR(pg_catalog.>=) $2
               AND bucket OPERATOR(pg_catalog.<=) $3
             ORDER BY bucket, partition",
            &[
                table.relation.into(),
                timestamp(oldest).into(),
                timestamp(origin - BUCKET_US).into(),
            ],
        )?;
        loop {
            let rows = cursor.fetch(REPLAY_BATCH)?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                let start = row.get::<TimestampWithTimeZone>(1)?.map(pg_sys::TimestampTz::from);
                let number = row.get::<i32>(2)?.unwrap_or(-1);
                let position = table.partitions.binary_search_by_key(&number, |p| p.number.into());
                let mean = row.get::<f64>(3)?;
                if let (Some(start), Ok(position), Some(mean)) = (start, position, mean) {
                    let mean = mean * rescale.factor(number, start);
                    f(position, start, (BUCKET_US / 1_000_000) as u32, mean);
                }
            }
        }
    })
}
