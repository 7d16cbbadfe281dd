//! Plans that are being carried out, in pss.rebalance and pss.rebalance_move, and what moves,
//! done or under way, mean for the load to come.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::control::{Timetable, Transfer};

use super::survey::Survey;
use crate::catalog::{self, ShardedTable, as_extension_owner};
use crate::clock::{self, timestamp};
use crate::error::Result;
use crate::guc;
use crate::moves::batch::Place;

/// The move that a running plan is at.
#[derive(Debug, Clone)]
pub struct Current {
    pub id: i64,
    /// Rows a second; `None`: no limit.
    pub rate: Option<f64>,
    pub waiting: Option<String>,
    /// Seconds in which no batch could go.
    pub waited_s: f64,
    /// `None`: all its moves are done.
    pub at: Option<Move>,
}

/// One move, and how far it has come.
#[derive(Debug, Clone, Copy)]
pub struct Move {
    pub number: i32,
    pub from: i32,
    pub to: i32,
    pub keys: u64,
    /// Keys of the source when it was planned.
    pub of_keys: u64,
    pub keys_done: u64,
    /// Rows of a key, on average.
    pub rows_per_key: f64,
    /// Load that stood on the source when it was planned.
    pub source_load: f64,
    pub place: Place,
}

/// Writes a plan down as running; `None`: one is.
pub fn begin(survey: &Survey, rate: Option<i32>) -> Result<Option<i64>> {
    // SAFETY: the current user's name, palloc'd.
    let user = unsafe {
        std::ffi::CStr::from_ptr(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false))
            .to_string_lossy()
            .into_owned()
    };
    as_extension_owner(|| {
        let relation = survey.table.relation;
        let id = Spi::connect_mut(|client| {
            let mut row = client.update(
                "INSERT INTO pss.rebalance (relation, reason, started_by, rate)
                 VALUES ($1, $2, $3::pg_catalog.text::pg_catalog.name, $4)
                 ON CONFLICT (relation) WHERE state OPERATOR(pg_catalog.=) 'running' DO NOTHING
                 RETURNING rebalance_id",
                Some(1),
                &[relation.into(), survey.plan.reason.to_string().into(), user.into(), rate.into()],
            )?;
            if row.next().is_some() { row.get::<i64>(1) } else { Ok(None) }
        })?;
        let Some(id) = id else { return Ok(None) };
        // Keys that are left when earlier moves have taken theirs.
        let mut left: Vec<f64> = survey.partitions.iter().map(|p| p.keys).collect();
        for (m, number) in survey.plan.moves.iter().zip(1_i32..) {
            let source = &survey.partitions[m.from];
            let of_keys = left[m.from].ceil() as i64;
            left[m.from] -= m.keys as f64;
            Spi::run_with_args(
                "INSERT INTO pss.rebalance_move (rebalance_id, move, from_partition, to_partition,
                     keys, of_keys, rows, load, source_load)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                &[
                    id.into(),
                    number.into(),
                    i32::from(source.number).into(),
                    i32::from(survey.partitions[m.to].number).into(),
                    (m.keys as i64).into(),
                    of_keys.into(),
                    (m.rows.round() as i64).into(),
                    m.gain.into(),
                    survey.plan.load[m.from].into(),
                ],
            )?;
        }
        Ok(Some(id))
    })
}

/// The tables with a plan that is being carried out.
pub fn running() -> Result<Vec<pg_sys::Oid>> {
    as_extension_owner(|| {
        catalog::tables(
            "SELECT relation::pg_catalog.oid FROM pss.rebalance
             WHERE state OPERATOR(pg_catalog.=) 'running' ORDER BY rebalance_id",
        )
    })
}

/// Where the running plan of a table is, locked until the transaction ends; `None`: there is none,
/// or somebody is changing it.
pub fn lock_current(relation: pg_sys::Oid) -> Result<Option<Current>> {
    as_extension_owner(|| {
        Spi::connect_mut(|client| {
            let mut row = client.update(CURRENT, Some(1), &[relation.into()])?;
            if row.next().is_none() {
                return Ok(None);
            }
            let count = |n| Ok::<u64, pgrx::spi::Error>(row.get::<i64>(n)?.unwrap_or(0) as u64);
            let configured = Some(guc::REBALANCE_RATE.get()).filter(|rate| *rate > 0);
            let at = match row.get::<i32>(4)? {
                None => None,
                Some(number) => Some(Move {
                    number,
                    from: row.get::<i32>(5)?.unwrap_or(-1),
                    to: row.get::<i32>(6)?.unwrap_or(-1),
                    keys: count(7)?,
                    of_keys: count(8)?,
                    keys_done: count(9)?,
                    rows_per_key: count(10)? as f64 / count(7)?.max(1) as f64,
                    source_load: row.get::<f64>(11)?.unwrap_or(f64::INFINITY),
                    place: Place {
                        next_entry: row.get::<i64>(12)?.unwrap_or(i64::MIN),
                        passed: count(13)?,
                    },
                }),
            };
            Ok(Some(Current {
                id: row.get::<i64>(1)?.unwrap_or(0),
                rate: row.get::<i32>(2)?.or(configured).map(f64::from),
                waiting: row.get::<String>(3)?,
                waited_s: row.get::<f64>(14)?.unwrap_or(0.0),
                at,
            }))
        })
    })
}

/// $1 the table.
const CURRENT: &str = "
    SELECT r.rebalance_id, r.rate, r.waiting, m.move, m.from_partition, m.to_partition, m.keys,
           m.of_keys, m.keys_done, m.rows, m.source_load, m.next_entry, m.keys_passed,
           EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) r.waiting_since)::pg_catalog.float8
    FROM pss.rebalance r
    LEFT JOIN LATERAL (
        SELECT * FROM pss.rebalance_move m
        WHERE m.rebalance_id OPERATOR(pg_catalog.=) r.rebalance_id AND m.ended_at IS NULL
        ORDER BY m.move LIMIT 1) AS m ON true
    WHERE r.relation OPERATOR(pg_catalog.=) $1 AND r.state OPERATOR(pg_catalog.=) 'running'
    FOR UPDATE OF r SKIP LOCKED";

/// Writes down how far a move has come: what a batch did, and where the next one begins.
pub fn advance(id: i64, m: &Move, done: (u64, i64, i64), place: Place, ended: bool) -> Result<()> {
    let (keys, rows, bytes) = done;
    as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "UPDATE pss.rebalance_move
             SET keys_done = keys_done OPERATOR(pg_catalog.+) $3,
                 rows_done = rows_done OPERATOR(pg_catalog.+) $4,
                 bytes_done = bytes_done OPERATOR(pg_catalog.+) $5,
                 next_entry = $6, keys_passed = $7,
                 ended_at = CASE WHEN $8 THEN pg_catalog.clock_timestamp() END
             WHERE rebalance_id OPERATOR(pg_catalog.=) $1 AND move OPERATOR(pg_catalog.=) $2",
            &[
                id.into(),
                m.number.into(),
                (keys as i64).into(),
                rows.into(),
                bytes.into(),
                place.next_entry.into(),
                (place.passed as i64).into(),
                ended.into(),
            ],
        )?)
    })
}

/// Writes down what the next batch waits for; a batch that goes forgets past failures.
pub fn note_waiting(id: i64, waiting: Option<&str>) -> Result<()> {
    as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "UPDATE pss.rebalance
             SET waiting = $2, failures = 0,
                 waiting_since = CASE WHEN $2 IS NOT NULL
                     THEN COALESCE(waiting_since, pg_catalog.clock_timestamp()) END
             WHERE rebalance_id OPERATOR(pg_catalog.=) $1
               AND (waiting IS DISTINCT FROM $2 OR failures OPERATOR(pg_catalog.>) 0)",
            &[id.into(), waiting.into()],
        )?)
    })
}

/// Ends the running plan of a table; its number, and what was moved, in words.
pub fn end(relation: pg_sys::Oid, state: &str) -> Result<Option<(i64, String)>> {
    let ended = as_extension_owner(|| {
        Spi::connect_mut(|client| {
            let mut row = client.update(
                "UPDATE pss.rebalance r
                 SET state = $2, waiting = NULL, ended_at = pg_catalog.clock_timestamp()
                 FROM (SELECT x.rebalance_id,
                              (SELECT pg_catalog.format('%s of %s keys, %s rows moved',
                                          pg_catalog.sum(m.keys_done), pg_catalog.sum(m.keys), pg_catalog.sum(m.rows_done))
                               FROM pss.rebalance_move m
                               WHERE m.rebalance_id OPERATOR(pg_catalog.=) x.rebalance_id) AS moved
                       FROM pss.rebalance x
                       WHERE x.relation OPERATOR(pg_catalog.=) $1 AND x.state OPERATOR(pg_catalog.=) 'running'
                       FOR UPDATE) AS o
                 WHERE r.rebalance_id OPERATOR(pg_catalog.=) o.rebalance_id
                 RETURNING r.rebalance_id, o.moved",
                Some(1),
                &[relation.into(), state.into()],
            )?;
            let found = row.next().is_some();
            Ok::<_, crate::error::PssError>(if found {
                row.get::<i64>(1)?.zip(Some(row.get::<String>(2)?.unwrap_or_default()))
            } else {
                None
            })
        })
    })?;
    if let Some((id, moved)) = &ended {
        let message = format!("rebalancing {id} {state}: {moved}");
        catalog::log_event(Some(relation), "rebalance", &message, None)?;
    }
    Ok(ended)
}

/// Writes down that a batch failed; how many have, in a row.
pub fn note_failure(relation: pg_sys::Oid, error: &str) -> Result<i32> {
    let failures = as_extension_owner(|| {
        Spi::connect_mut(|client| {
            let mut row = client.update(
                "UPDATE pss.rebalance SET failures = failures OPERATOR(pg_catalog.+) 1, last_error = $2
                 WHERE relation OPERATOR(pg_catalog.=) $1 AND state OPERATOR(pg_catalog.=) 'running'
                 RETURNING failures",
                Some(1),
                &[relation.into(), error.into()],
            )?;
            if row.next().is_some() { row.get::<i32>(1) } else { Ok(None) }
        })
    })?;
    Ok(failures.unwrap_or(0))
}

/// Keys that were carried: what they bring went with them, and carrying them cost something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Carried {
    pub at: pg_sys::TimestampTz,
    /// Positions.
    pub from: usize,
    pub to: usize,
    pub keys: f64,
    /// Cost units caused on the source and on the destination.
    pub cost: (f64, f64),
}

/// What was carried after `since`, in order of time.
pub fn carried_since(
    table: &ShardedTable,
    since: Option<pg_sys::TimestampTz>,
) -> Result<Vec<Carried>> {
    let since = since.map_or_else(TimestampWithTimeZone::negative_infinity, timestamp);
    catalog::read(|client| {
        let rows = client.select(
            "SELECT moved_at, from_partition, to_partition, keys::pg_catalog.float8, from_cost, to_cost
             FROM pss.move
             WHERE relation OPERATOR(pg_catalog.=) $1 AND moved_at OPERATOR(pg_catalog.>) $2
             ORDER BY moved_at",
            None,
            &[table.relation.into(), since.into()],
        )?;
        let mut carried = Vec::with_capacity(rows.len());
        for row in rows {
            let at = row.get::<TimestampWithTimeZone>(1)?.map_or(0, pg_sys::TimestampTz::from);
            let ends = (position(table, row.get(2)?), position(table, row.get(3)?));
            if let (Some(from), Some(to)) = ends {
                let cost = |n| Ok::<f64, pgrx::spi::Error>(row.get::<f64>(n)?.unwrap_or(0.0));
                let keys = row.get::<f64>(4)?.unwrap_or(0.0);
                carried.push(Carried { at, from, to, keys, cost: (cost(5)?, cost(6)?) });
            }
        }
        Ok(carried)
    })
}

/// The timetable, with what moves under way will bring: the load of the keys that are still to
/// move, in the time that they take at the rate set.
pub fn with_moves(table: &ShardedTable, timetable: Timetable) -> Result<Timetable> {
    let now = clock::now();
    let transfers = catalog::read(|client| {
        let rows = client.select(
            "SELECT m.from_partition, m.to_partition, m.load OPERATOR(pg_catalog.*) part.left_,
                    m.rows::pg_catalog.float8 OPERATOR(pg_catalog.*) part.left_
                        OPERATOR(pg_catalog./) NULLIF(COALESCE(r.rate, $2), 0)::pg_catalog.float8
             FROM pss.rebalance r
             JOIN pss.rebalance_move m ON m.rebalance_id OPERATOR(pg_catalog.=) r.rebalance_id
             CROSS JOIN LATERAL (SELECT GREATEST(1 OPERATOR(pg_catalog.-)
                 (m.keys_done::pg_catalog.float8 OPERATOR(pg_catalog./) GREATEST(m.keys, 1)::pg_catalog.float8), 0) AS left_) AS part
             WHERE r.relation OPERATOR(pg_catalog.=) $1 AND r.state OPERATOR(pg_catalog.=) 'running'
               AND m.ended_at IS NULL
             ORDER BY m.move",
            None,
            &[table.relation.into(), guc::REBALANCE_RATE.get().into()],
        )?;
        // One after the other.
        let mut begins_us = now;
        let mut transfers = Vec::with_capacity(rows.len());
        for row in rows {
            let seconds = row.get::<f64>(4)?.unwrap_or(1.0).clamp(1.0, 1e9);
            let until_us = begins_us.saturating_add((seconds * 1e6) as i64);
            let ends = (position(table, row.get(1)?), position(table, row.get(2)?));
            if let (Some(from), Some(to)) = ends {
                let load = row.get::<f64>(3)?.unwrap_or(0.0);
                transfers.push(Transfer { from, to, load, from_us: begins_us, until_us });
            }
            begins_us = until_us;
        }
        Ok(transfers)
    })?;
    Ok(timetable.moving(transfers))
}

fn position(table: &ShardedTable, number: Option<i32>) -> Option<usize> {
    table.partitions.iter().position(|p| Some(i32::from(p.number)) == number)
}
