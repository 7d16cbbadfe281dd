//! What the planner is told of a table: loads over the time it needs, what placed keys will bring,
//! what there is to move, and how past moves went.
//!
//! Reads only.

use std::collections::HashMap;

use pgrx::pg_sys;
use pss_core::rebalance::{self, Cost, Partition, Past, Plan, Speed, TWO_DAYS};
use pss_core::series::CostModel;

use crate::catalog::{self, Mapping, ShardedTable, relation_name};
use crate::error::Result;
use crate::guc;
use crate::hot_keys;
use crate::moves;
use crate::worker::memory;

/// Spans into which the time looked at is cut.
const SPANS: i32 = 48;
/// Larger maps are not counted: keys are estimated from rows.
const COUNTED_ENTRIES: f64 = 2e6;
/// Past batches that are read.
const PAST: i64 = 200;
const DAY_S: f64 = 86_400.0;
/// Loads over longer times are read from the means over five minutes.
const LONG_S: f64 = 21_600.0;

/// A table with its plan.
pub struct Survey {
    pub table: ShardedTable,
    pub partitions: Vec<Partition>,
    pub plan: Plan,
}

/// What to move in a table. `Err`: why its keys cannot be moved at all, in words.
pub fn survey(relation: pg_sys::Oid) -> Result<std::result::Result<Survey, String>> {
    let table = catalog::require_sharded_table(relation)?;
    let name = || relation_name(relation);
    if table.mapping == Mapping::Slot {
        return Ok(Err(format!("table {} is mapped by slot: its keys have no place", name())));
    }
    let Some(map) = table.map.filter(|_| table.map_complete) else {
        return Ok(Err(format!("the row map of table {} is not complete yet", name())));
    };
    catalog::as_extension_owner(|| {
        let outlook = look_ahead(&table)?;
        let step_s = f64::from(guc::SAMPLE_INTERVAL.get()) / 1000.0;
        let period_s = if daily(&table)? { Some(DAY_S) } else { outlook.period_s };
        let needed_s = rebalance::needed_s(outlook.life_s, period_s, step_s);
        let mut partitions = there_is(&table, map, &outlook)?;
        let moved = partitions.iter().map(|p| p.keys).sum::<f64>() / 100.0;
        let observed_s = fill_in_loads(&table, needed_s, moved, step_s, &mut partitions)?;
        // Hot keys stay where they are: what they bring goes with no other.
        let own = outlook.committed.iter().sum::<f64>() + outlook.controllable;
        for hot in hot_keys::known(relation)? {
            if let Some(home) = partitions.iter_mut().find(|p| Some(p.number) == hot.home) {
                home.fixed += hot.share * own.max(0.0);
            }
        }
        let rows: f64 = partitions.iter().map(|p| p.rows).sum();
        let rows_die_s = rows / deleted_per_s(relation, needed_s)?;
        let speed = Speed::learn(&past(relation)?);
        let patience_s = f64::from(guc::REBALANCE_PATIENCE.get());
        let costs = CostModel::default();
        let rate = f64::from(guc::REBALANCE_RATE.get());
        let rows_per_s = if rate > 0.0 { rate } else { f64::INFINITY };
        let plan = rebalance::plan(&rebalance::Table {
            partitions: &partitions,
            controllable: outlook.controllable,
            observed_s,
            needed_s,
            period_s,
            patience_s,
            life_s: rebalance::remaining_life_s(outlook.left, patience_s, rows_die_s),
            cost: Cost {
                // Found by key twice, once to be counted and once to be moved.
                row: costs.insert + costs.delete + 2.0 * costs.index_fetch,
                scanned_row: costs.sequential_read,
                batch_rows: rebalance::batch_keys(rows_per_s, 1.0, 0.0) as f64,
                rows_per_s,
            },
            speed: &speed,
        });
        Ok(Ok(Survey { table, partitions, plan }))
    })
}

/// What is expected of placed keys, by position; loads in cost units/s.
struct Outlook {
    committed: Vec<f64>,
    committed_later: Vec<f64>,
    controllable: f64,
    /// Of all placed keys, after patience and after twice that.
    left: (f64, f64),
    life_s: f64,
    period_s: Option<f64>,
}

fn look_ahead(table: &ShardedTable) -> Result<Outlook> {
    let memory = memory::recall(table)?;
    let brain = &memory.brain;
    let step_s = brain.interval_us() as f64 / 1e6;
    let patience = (f64::from(guc::REBALANCE_PATIENCE.get()) / step_s).ceil().max(1.0) as usize;
    let cohorts = brain.cohorts();
    let committed_later = cohorts.committed(patience);
    let periods = brain.forecasters().iter().filter_map(|forecaster| forecaster.period());
    let outlook = Outlook {
        committed: cohorts.committed(1),
        controllable: cohorts.controllable(patience),
        left: (committed_later.iter().sum(), cohorts.committed(2 * patience).iter().sum()),
        committed_later,
        life_s: cohorts.profile().life() * step_s,
        period_s: periods.max_by(f64::total_cmp).map(|steps| steps * step_s),
    };
    memory::keep(table.relation, memory);
    Ok(outlook)
}

/// Keys, rows and bytes of each partition, in the table's order.
fn there_is(table: &ShardedTable, map: pg_sys::Oid, outlook: &Outlook) -> Result<Vec<Partition>> {
    let mut sizes = HashMap::new();
    catalog::read(|client| {
        for row in client.select(SIZES, None, &[table.relation.into()])? {
            let size = (row.get::<f64>(2)?.unwrap_or(0.0), row.get::<f64>(3)?.unwrap_or(0.0));
            sizes.insert(row.get::<i32>(1)?.unwrap_or(-1), size);
        }
        Ok(())
    })?;
    let rows: f64 = sizes.values().map(|(rows, _)| rows).sum();
    let keys = keys(map)?;
    let mut partitions = Vec::with_capacity(table.partitions.len());
    for (i, p) in table.partitions.iter().enumerate() {
        let number = i32::from(p.number);
        let (counted_rows, bytes) = sizes.get(&number).copied().unwrap_or_default();
        let keys = match &keys {
            Keys::Counted(by_partition) => by_partition.get(&number).copied().unwrap_or(0.0),
            Keys::Estimated(all) if rows > 0.0 => all * counted_rows / rows,
            Keys::Estimated(_) => 0.0,
        };
        let at = |loads: &[f64]| loads.get(i).copied().unwrap_or(0.0).max(0.0);
        partitions.push(Partition {
            number: p.number,
            capacity: if p.active { p.capacity } else { 0.0 },
            local: moves::is_local(p.leaf),
            foreign: vec![f64::NAN; SPANS as usize],
            committed: at(&outlook.committed),
            committed_later: at(&outlook.committed_later),
            fixed: 0.0,
            keys,
            // After a crash the server has counted no rows yet; a key has one at least, mostly.
            rows: counted_rows.max(keys),
            bytes,
        });
    }
    Ok(partitions)
}

/// $1 the table: number, rows, bytes of each partition.
const SIZES: &str = "
    SELECT p.partition,
           GREATEST(pg_catalog.pg_stat_get_live_tuples(c.oid)::pg_catalog.float8, c.reltuples::pg_catalog.float8),
           COALESCE(s.size_bytes::pg_catalog.float8,
                    c.relpages::pg_catalog.float8 OPERATOR(pg_catalog.*)
                        pg_catalog.current_setting('block_size')::pg_catalog.float8)
    FROM pss.partition p
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.leaf
    LEFT JOIN LATERAL (
        SELECT s.size_bytes FROM pss.sample s
        WHERE s.relation OPERATOR(pg_catalog.=) p.relation
          AND s.partition OPERATOR(pg_catalog.=) p.partition AND s.size_bytes IS NOT NULL
        ORDER BY s.sampled_at DESC LIMIT 1) AS s ON true
    WHERE p.relation OPERATOR(pg_catalog.=) $1";

/// Keys, by partition or all together.
enum Keys {
    Counted(HashMap<i32, f64>),
    Estimated(f64),
}

fn keys(map: pg_sys::Oid) -> Result<Keys> {
    catalog::read(|client| {
        let row = client.select(
            "SELECT GREATEST(pg_catalog.pg_stat_get_live_tuples(oid)::pg_catalog.float8, reltuples::pg_catalog.float8)
             FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $1",
            Some(1),
            &[map.into()],
        )?;
        let all = row.first().get::<f64>(1)?.unwrap_or(0.0);
        if all > COUNTED_ENTRIES {
            return Ok(Keys::Estimated(all));
        }
        let mut counted = HashMap::new();
        let count = format!(
            "SELECT (e OPERATOR(pg_catalog.&) 65535)::pg_catalog.int4, pg_catalog.count(*)::pg_catalog.float8
             FROM {} GROUP BY 1",
            relation_name(map)
        );
        for row in client.select(count.as_str(), None, &[])? {
            counted.insert(row.get::<i32>(1)?.unwrap_or(-1), row.get::<f64>(2)?.unwrap_or(0.0));
        }
        Ok(Keys::Counted(counted))
    })
}

/// Whether the table's loads have a daily cycle, by the means of the last two days.
fn daily(table: &ShardedTable) -> Result<bool> {
    let mut hours = vec![[f64::NAN; TWO_DAYS]; table.partitions.len()];
    catalog::read(|client| {
        for row in client.select(HOURS, None, &[table.relation.into()])? {
            let place = place(table, row.get(1)?).zip(row.get::<i32>(2)?);
            let Some((i, hour)) = place else { continue };
            if let Some(load) = usize::try_from(hour).ok().and_then(|hour| hours[i].get_mut(hour)) {
                *load = row.get::<f64>(3)?.unwrap_or(f64::NAN) / table.partitions[i].capacity;
            }
        }
        Ok(rebalance::is_daily(&hours))
    })
}

/// $1 the table: number, hour of the two days that end with the last whole hour, mean foreign load.
const HOURS: &str = "
    SELECT h.partition,
           pg_catalog.floor(EXTRACT(epoch FROM h.bucket OPERATOR(pg_catalog.-) n.since)
               OPERATOR(pg_catalog./) 3600)::pg_catalog.int4,
           pg_catalog.avg(h.foreign_load)
    FROM pss.history h
    CROSS JOIN (SELECT pg_catalog.date_trunc('hour', pg_catalog.now())
                       OPERATOR(pg_catalog.-) '48 hours'::pg_catalog.interval AS since) AS n
    WHERE h.relation OPERATOR(pg_catalog.=) $1 AND h.bucket OPERATOR(pg_catalog.>=) n.since
      AND h.bucket OPERATOR(pg_catalog.<) pg_catalog.date_trunc('hour', pg_catalog.now())
    GROUP BY 1, 2";

fn place(table: &ShardedTable, number: Option<i32>) -> Option<usize> {
    table.partitions.iter().position(|p| Some(i32::from(p.number)) == number)
}

/// Fills in foreign loads, and what of them no key brings; how long they have been observed, in
/// seconds. What was seen before more than `moved` keys were moved tells nothing of today.
fn fill_in_loads(
    table: &ShardedTable,
    needed_s: f64,
    moved: f64,
    step_s: f64,
    partitions: &mut [Partition],
) -> Result<f64> {
    let source = if needed_s > LONG_S { MEANS } else { SAMPLES };
    catalog::read(|client| {
        let arguments = [table.relation.into(), needed_s.into(), SPANS.into(), moved.into()];
        let mut observed_s = 0.0_f64;
        let loads = LOADS.replace("{source}", source);
        for row in client.select(loads.as_str(), None, &arguments)? {
            let span = row.get::<i32>(2)?.and_then(|span| usize::try_from(span).ok());
            observed_s = observed_s.max(row.get::<f64>(4)?.unwrap_or(0.0) + step_s);
            let Some((i, span)) = place(table, row.get(1)?).zip(span) else { continue };
            if let Some(load) = partitions[i].foreign.get_mut(span) {
                *load = row.get::<f64>(3)?.unwrap_or(f64::NAN);
            }
        }
        for row in client.select(METRICS, None, &[table.relation.into()])? {
            if let Some(i) = place(table, row.get(1)?) {
                partitions[i].fixed = row.get::<f64>(2)?.unwrap_or(0.0);
            }
        }
        Ok(observed_s)
    })
}

/// Where loads are read from: partition, the time they were measured at, foreign load without what
/// was declared.
const SAMPLES: &str = "
    SELECT partition, sampled_at AS at, GREATEST(foreign_load OPERATOR(pg_catalog.-) declared_load, 0) AS load
    FROM pss.sample WHERE relation OPERATOR(pg_catalog.=) $1 AND foreign_load IS NOT NULL";
const MEANS: &str = "
    SELECT partition, bucket OPERATOR(pg_catalog.+) '5 min'::pg_catalog.interval AS at, foreign_load AS load
    FROM pss.history WHERE relation OPERATOR(pg_catalog.=) $1";

/// $1 the table, $2 seconds, $3 spans, $4 keys: number, span, load, and the time between the first
/// and the last load that count.
const LOADS: &str = "
    WITH since AS (
        SELECT COALESCE(pg_catalog.max(m.moved_at), '-infinity') AS moved_at
        FROM (SELECT moved_at, pg_catalog.sum(keys) OVER (ORDER BY moved_at DESC, move_id DESC) AS keys
              FROM pss.move WHERE relation OPERATOR(pg_catalog.=) $1) AS m
        WHERE m.keys::pg_catalog.float8 OPERATOR(pg_catalog.>) $4),
    seen AS (
        SELECT s.partition, s.at, s.load FROM ({source}) AS s, since
        WHERE s.at OPERATOR(pg_catalog.>) since.moved_at),
    ends AS (SELECT pg_catalog.min(at) AS oldest, pg_catalog.max(at) AS newest FROM seen)
    SELECT s.partition,
           LEAST(pg_catalog.width_bucket(
               EXTRACT(epoch FROM s.at OPERATOR(pg_catalog.-) ends.newest)::pg_catalog.float8
                   OPERATOR(pg_catalog.+) $2, 0, $2, $3), $3) OPERATOR(pg_catalog.-) 1,
           pg_catalog.avg(s.load),
           LEAST($2, EXTRACT(epoch FROM ends.newest OPERATOR(pg_catalog.-) ends.oldest)::pg_catalog.float8)
    FROM seen s, ends
    WHERE s.at OPERATOR(pg_catalog.>) (ends.newest OPERATOR(pg_catalog.-)
              pg_catalog.make_interval(secs => $2))
    GROUP BY 1, 2, 4";

/// $1 the table: number, and what applications have recorded of the last ten minutes' load.
const METRICS: &str = "
    SELECT s.partition, pg_catalog.avg(s.metric_load) FROM pss.sample s
    WHERE s.relation OPERATOR(pg_catalog.=) $1 AND s.sampled_at OPERATOR(pg_catalog.>) ((
        SELECT pg_catalog.max(n.sampled_at) FROM pss.sample n
        WHERE n.relation OPERATOR(pg_catalog.=) $1) OPERATOR(pg_catalog.-) '10 min'::pg_catalog.interval)
    GROUP BY 1";

/// Rows deleted a second over the last `window_s` seconds, but for those that moves took away.
fn deleted_per_s(relation: pg_sys::Oid, window_s: f64) -> Result<f64> {
    catalog::read(|client| {
        let row = client.select(
            "SELECT GREATEST(pg_catalog.sum(s.last OPERATOR(pg_catalog.-) s.first)::pg_catalog.float8
                        OPERATOR(pg_catalog.-) COALESCE((
                            SELECT pg_catalog.sum(m.rows)::pg_catalog.float8 FROM pss.move m
                            WHERE m.relation OPERATOR(pg_catalog.=) $1
                              AND m.moved_at OPERATOR(pg_catalog.>) pg_catalog.min(s.since)), 0), 0)
                    OPERATOR(pg_catalog./) NULLIF(pg_catalog.max(s.seconds), 0)
             FROM (SELECT x.partition, pg_catalog.min(x.sampled_at) AS since,
                          pg_catalog.max(x.tup_deleted) AS last, pg_catalog.min(x.tup_deleted) AS first,
                          EXTRACT(epoch FROM pg_catalog.max(x.sampled_at) OPERATOR(pg_catalog.-)
                              pg_catalog.min(x.sampled_at))::pg_catalog.float8 AS seconds
                   FROM pss.sample x
                   WHERE x.relation OPERATOR(pg_catalog.=) $1
                     AND x.sampled_at OPERATOR(pg_catalog.>) ((
                         SELECT pg_catalog.max(n.sampled_at) FROM pss.sample n
                         WHERE n.relation OPERATOR(pg_catalog.=) $1)
                         OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $2))
                   GROUP BY 1) AS s",
            Some(1),
            &[relation.into(), window_s.into()],
        )?;
        Ok(row.first().get::<f64>(1)?.unwrap_or(0.0))
    })
}

/// The last batches that were moved, newest first.
fn past(relation: pg_sys::Oid) -> Result<Vec<Past>> {
    catalog::read(|client| {
        let rows = client.select(
            "SELECT from_partition, to_partition, rows::pg_catalog.float8, bytes::pg_catalog.float8, seconds,
                    from_cost OPERATOR(pg_catalog.+) to_cost
             FROM pss.move WHERE relation OPERATOR(pg_catalog.=) $1
             ORDER BY move_id DESC LIMIT $2",
            None,
            &[relation.into(), PAST.into()],
        )?;
        let mut past = Vec::with_capacity(rows.len());
        for row in rows {
            past.push(Past {
                from: row.get::<i32>(1)?.unwrap_or(0) as u16,
                to: row.get::<i32>(2)?.unwrap_or(0) as u16,
                rows: row.get::<f64>(3)?.unwrap_or(0.0),
                bytes: row.get::<f64>(4)?.unwrap_or(0.0),
                seconds: row.get::<f64>(5)?.unwrap_or(0.0),
                cost: row.get::<f64>(6)?,
            });
        }
        Ok(past)
    })
}
