//! `pss_rebalance_plan`, `_start`, `_stop` and `_status`: check arguments and rights, call, report.

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::survey::{Survey, survey};
use super::{duty, store};
use crate::catalog::{self, as_extension_owner, relation_name};
use crate::error::{OrRaise, PssError, Result, invalid_argument, not_preloaded};
use crate::guc;
use crate::partitions::owned;
use crate::rights::{self, require_read_write};
use crate::shmem;
use crate::worker::commit;

/// Longest time that is shown, in seconds: what takes longer never ends.
const LONGEST_S: f64 = 1e10;

type PlanRow = (
    pg_sys::Oid,
    Option<i32>,
    Option<i32>,
    Option<i32>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<Interval>,
    Option<f64>,
    Option<f64>,
    Option<Interval>,
    String,
);

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn pss_rebalance_plan(
    relation: Option<pg_sys::Oid>,
) -> TableIterator<
    'static,
    (
        name!(relation, pg_sys::Oid),
        name!(move_number, Option<i32>),
        name!(from_partition, Option<i32>),
        name!(to_partition, Option<i32>),
        name!(keys, Option<i64>),
        name!(rows, Option<i64>),
        name!(bytes, Option<i64>),
        name!(duration, Option<Interval>),
        name!(cost, Option<f64>),
        name!(gain, Option<f64>),
        name!(payback, Option<Interval>),
        name!(reason, String),
    ),
> {
    let run = || {
        let mut rows = Vec::new();
        for relation in named_or_owned(relation)? {
            match survey(relation)? {
                Ok(survey) => rows.extend(plan_rows(relation, &survey)),
                Err(reason) => rows.push(no_move(relation, reason)),
            }
        }
        Ok(rows)
    };
    TableIterator::new(run().or_raise())
}

fn plan_rows(relation: pg_sys::Oid, survey: &Survey) -> Vec<PlanRow> {
    let plan = &survey.plan;
    if plan.moves.is_empty() {
        return vec![no_move(relation, plan.reason.to_string())];
    }
    let number = |i: usize| Some(i32::from(survey.partitions[i].number));
    let row = |(m, n): (&pss_core::rebalance::Move, i32)| {
        (
            relation,
            Some(n),
            number(m.from),
            number(m.to),
            Some(m.keys as i64),
            Some(m.rows.round() as i64),
            Some(m.bytes.round() as i64),
            interval(m.seconds),
            Some(hundredths(m.cost)),
            Some(hundredths(m.gain)),
            interval(m.payback_s),
            plan.reason.to_string(),
        )
    };
    plan.moves.iter().zip(1..).map(row).collect()
}

fn no_move(relation: pg_sys::Oid, reason: String) -> PlanRow {
    (relation, None, None, None, None, None, None, None, None, None, None, reason)
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn interval(seconds: f64) -> Option<Interval> {
    let seconds = hundredths(seconds.clamp(0.0, LONGEST_S));
    Interval::new(0, 0, (seconds * 1e6) as i64).ok()
}

#[pg_extern(sql = false)]
fn pss_rebalance_start(relation: Option<pg_sys::Oid>, rate: Option<i32>) -> Option<i64> {
    start(relation, rate).or_raise()
}

fn start(relation: Option<pg_sys::Oid>, rate: Option<i32>) -> Result<Option<i64>> {
    let relation = owned(relation)?;
    if !shmem::available() {
        return Err(not_preloaded());
    }
    require_read_write(c"pss_rebalance_start()");
    if rate.is_some_and(|rate| rate <= 0) {
        return Err(invalid_argument("rate must be greater than zero")
            .detail("It is the number of rows moved in a second.")
            .hint("Leave it out to use pss.rebalance_rate."));
    }
    let name = relation_name(relation);
    if guc::REBALANCE.get() == guc::Rebalance::Off {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "rebalancing is switched off",
        )
        .detail("The worker moves no rows while pss.rebalance is off.")
        .hint("Run ALTER SYSTEM SET pss.rebalance = 'advise'; SELECT pg_reload_conf()."));
    }
    let already_running = || {
        PssError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            format!("table {name} is being rebalanced already"),
        )
        .detail("One plan a table is carried out at a time.")
        .hint(format!(
            "SELECT * FROM pss_rebalance_status('{name}') shows it; \
             SELECT pss_rebalance_stop('{name}') ends it."
        ))
    };
    if store::running()?.contains(&relation) {
        return Err(already_running());
    }
    let reason = match survey(relation)? {
        Ok(survey) if !survey.plan.moves.is_empty() => {
            let id = store::begin(&survey, rate)?.ok_or_else(already_running)?;
            let message = format!("rebalancing {id} started: {}", duty::in_words(&survey));
            catalog::log_event(Some(relation), "rebalance", &message, None)?;
            commit::nudge();
            return Ok(Some(id));
        }
        Ok(survey) => survey.plan.reason.to_string(),
        Err(reason) => reason,
    };
    notice!("nothing to move in table {name}: {reason}");
    Ok(None)
}

#[pg_extern(sql = false)]
fn pss_rebalance_stop(relation: Option<pg_sys::Oid>) -> i64 {
    let run = || {
        let relation = owned(relation)?;
        require_read_write(c"pss_rebalance_stop()");
        store::end(relation, "stopped")?.map(|(id, _)| id).ok_or_else(|| {
            let name = relation_name(relation);
            PssError::new(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("table {name} is not being rebalanced"),
            )
            .detail("No plan of it is being carried out.")
            .hint(format!(
                "SELECT * FROM pss_rebalance_plan('{name}') shows what could be moved; \
                 SELECT pss_rebalance_start('{name}') begins."
            ))
        })
    };
    run().or_raise()
}

type StatusRow = (
    Option<i64>,
    Option<pg_sys::Oid>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<f64>,
    Option<Interval>,
    Option<String>,
    Option<String>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
);

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn pss_rebalance_status(
    relation: Option<pg_sys::Oid>,
) -> TableIterator<
    'static,
    (
        name!(id, Option<i64>),
        name!(relation, Option<pg_sys::Oid>),
        name!(state, Option<String>),
        name!(keys_done, Option<i64>),
        name!(keys, Option<i64>),
        name!(rows_done, Option<i64>),
        name!(rows, Option<i64>),
        name!(rows_per_s, Option<f64>),
        name!(eta, Option<Interval>),
        name!(waiting, Option<String>),
        name!(last_error, Option<String>),
        name!(started_at, Option<TimestampWithTimeZone>),
        name!(ended_at, Option<TimestampWithTimeZone>),
    ),
> {
    TableIterator::new(status(relation).or_raise())
}

fn status(relation: Option<pg_sys::Oid>) -> Result<Vec<StatusRow>> {
    let tables = named_or_owned(relation)?;
    as_extension_owner(|| {
        catalog::read(|client| {
            let mut status = Vec::new();
            for row in client.select(STATUS, None, &[tables.into()])? {
                let eta = row.get::<f64>(9)?.and_then(interval);
                status.push((
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                    row.get(6)?,
                    row.get(7)?,
                    row.get::<f64>(8)?.map(hundredths),
                    eta,
                    row.get(10)?,
                    row.get(11)?,
                    row.get(12)?,
                    row.get(13)?,
                ));
            }
            Ok(status)
        })
    })
}

/// $1 the tables. Rows a second over the time since it began; what is left takes as long as that says.
const STATUS: &str = "
    SELECT r.rebalance_id, r.relation::pg_catalog.oid, r.state,
           m.keys_done, m.keys, m.rows_done, m.rows, s.rows_per_s,
           CASE WHEN r.state OPERATOR(pg_catalog.=) 'running'
                THEN m.rows_left OPERATOR(pg_catalog./) NULLIF(s.rows_per_s, 0) END,
           r.waiting, r.last_error, r.started_at, r.ended_at
    FROM pss.rebalance r
    CROSS JOIN LATERAL (
        SELECT pg_catalog.sum(x.keys_done)::pg_catalog.int8 AS keys_done,
               pg_catalog.sum(x.keys)::pg_catalog.int8 AS keys,
               pg_catalog.sum(x.rows_done)::pg_catalog.int8 AS rows_done,
               pg_catalog.sum(x.rows)::pg_catalog.int8 AS rows,
               pg_catalog.sum(CASE WHEN x.ended_at IS NULL
                   THEN GREATEST(x.rows OPERATOR(pg_catalog.-) x.rows_done, 0) END)::pg_catalog.float8 AS rows_left
        FROM pss.rebalance_move x
        WHERE x.rebalance_id OPERATOR(pg_catalog.=) r.rebalance_id) AS m
    CROSS JOIN LATERAL (
        SELECT m.rows_done::pg_catalog.float8 OPERATOR(pg_catalog./) GREATEST(
                   EXTRACT(epoch FROM COALESCE(r.ended_at, pg_catalog.clock_timestamp())
                       OPERATOR(pg_catalog.-) r.started_at)::pg_catalog.float8, 0.001) AS rows_per_s) AS s
    WHERE r.relation::pg_catalog.oid OPERATOR(pg_catalog.=) ANY ($1)
    ORDER BY r.rebalance_id DESC";

/// The table named, which the caller must own; else all that the caller owns.
fn named_or_owned(relation: Option<pg_sys::Oid>) -> Result<Vec<pg_sys::Oid>> {
    if relation.is_some() {
        return Ok(vec![owned(relation)?]);
    }
    let mut tables = catalog::sharded_tables()?;
    tables.retain(|table| rights::require_owner(*table).is_ok());
    Ok(tables)
}
