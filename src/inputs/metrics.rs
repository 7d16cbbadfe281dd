//! Application metrics: gauges that an application records for a partition.
//!
//! A value holds from its time on until the next value of the same metric, or
//! for pss.metric_ttl. What holds in a sampling interval, times the metric's
//! cost, is foreign load of that interval. A value that comes too late for its
//! interval counts from the last sample on: no sample is ever changed.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{MOST, finite, partition_of};
use crate::clock::{self, timestamp};
use crate::error::{OrRaise, Result, invalid_argument, null_argument};
use crate::{catalog, guc, meta, rights};

/// How far ahead of the server's clock an application's may be, in microseconds.
const CLOCK_SKEW_US: i64 = 60_000_000;
/// What a value is.
const GAUGE: &str = "A metric is a gauge of load, such as requests in flight or jobs a second.";
/// Longest name of a metric, in bytes.
const LONGEST_NAME: usize = 128;

#[pg_extern(sql = false)]
fn pss_record_metric(
    relation: Option<pg_sys::Oid>,
    partition: Option<i32>,
    metric: Option<&str>,
    value: Option<f64>,
    at: Option<TimestampWithTimeZone>,
) {
    record(relation, partition, metric, value, at).or_raise();
}

fn record(
    relation: Option<pg_sys::Oid>,
    partition: Option<i32>,
    metric: Option<&str>,
    value: Option<f64>,
    at: Option<TimestampWithTimeZone>,
) -> Result<()> {
    let relation = rights::existing(relation.ok_or_else(|| null_argument("relation"))?)?;
    let meta = meta::table(relation)?.ok_or_else(|| meta::not_sharded(relation))?;
    rights::require_privilege(relation, pg_sys::ACL_INSERT as pg_sys::AclMode)?;
    let partition =
        partition_of(&meta.table, partition.ok_or_else(|| null_argument("partition"))?)?;
    let metric = checked_name(metric)?;
    let value = checked_amount("value", value.ok_or_else(|| null_argument("value"))?, GAUGE)?;
    let at = finite("at", at)?;
    rights::require_read_write(c"pss_record_metric()");
    let now = clock::now();
    if at > now.saturating_add(CLOCK_SKEW_US) {
        return Err(invalid_argument("a metric cannot be recorded for a time to come")
            .detail("Its time is more than a minute ahead of the server's clock.")
            .hint("Leave out \"at\"; to announce a load, use pss_expect()."));
    }
    catalog::as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "INSERT INTO pss.metric (relation, at, partition, metric, value)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (relation, at, partition, metric) DO UPDATE SET value = excluded.value",
            &[relation.into(), timestamp(at).into(), partition.into(), metric.into(), value.into()],
        )?)
    })
}

#[pg_extern(sql = false)]
fn pss_set_metric_cost(relation: Option<pg_sys::Oid>, metric: Option<&str>, cost: Option<f64>) {
    set_cost(relation, metric, cost).or_raise();
}

fn set_cost(relation: Option<pg_sys::Oid>, metric: Option<&str>, cost: Option<f64>) -> Result<()> {
    let relation = rights::existing(relation.ok_or_else(|| null_argument("relation"))?)?;
    meta::table(relation)?.ok_or_else(|| meta::not_sharded(relation))?;
    rights::require_owner(relation)?;
    let metric = checked_name(metric)?;
    let cost = cost
        .map(|cost| {
            checked_amount(
                "cost",
                cost,
                "0 is for a metric that is no load, NULL for the default, 1.",
            )
        })
        .transpose()?;
    rights::require_read_write(c"pss_set_metric_cost()");
    catalog::as_extension_owner(|| {
        Ok(match cost {
            Some(cost) => Spi::run_with_args(
                "INSERT INTO pss.metric_cost (relation, metric, cost) VALUES ($1, $2, $3)
                 ON CONFLICT (relation, metric) DO UPDATE SET cost = excluded.cost",
                &[relation.into(), metric.into(), cost.into()],
            ),
            None => Spi::run_with_args(
                "DELETE FROM pss.metric_cost WHERE relation OPERATOR(pg_catalog.=) $1
                    AND metric OPERATOR(pg_catalog.=) $2",
                &[relation.into(), metric.into()],
            ),
        }?)
    })
}

/// Load that was recorded for each partition (number, cost units/s): mean over the time from
/// `last` until `at`.
pub(super) fn mean_loads(
    relation: pg_sys::Oid,
    last: pg_sys::TimestampTz,
    at: pg_sys::TimestampTz,
) -> Result<Vec<(i32, f64)>> {
    let seconds = at.saturating_sub(last) as f64 / 1e6;
    if seconds <= 0.0 {
        return Ok(Vec::new());
    }
    let ttl = f64::from(guc::METRIC_TTL.get()) / 1e3;
    catalog::read(|client| {
        let rows = client.select(
            MEAN_LOADS,
            None,
            &[relation.into(), timestamp(last).into(), timestamp(at).into(), ttl.into()],
        )?;
        let mut loads = Vec::with_capacity(rows.len());
        for row in rows {
            if let (Some(partition), Some(work)) = (row.get::<i32>(1)?, row.get::<f64>(2)?) {
                loads.push((partition, work / seconds));
            }
        }
        Ok(loads)
    })
}

/// Work by partition, from $2 until $3; values hold for $4 seconds at most.
const MEAN_LOADS: &str = "
    SELECT held.partition,
           pg_catalog.sum(held.value OPERATOR(pg_catalog.*) COALESCE(c.cost, 1)
               OPERATOR(pg_catalog.*) EXTRACT(epoch FROM
                   held.until OPERATOR(pg_catalog.-) held.since)::pg_catalog.float8)
    FROM (SELECT m.partition, m.metric, m.value,
                 GREATEST(m.at, $2) AS since,
                 LEAST(pg_catalog.lead(m.at) OVER (PARTITION BY m.partition, m.metric ORDER BY m.at),
                       m.at OPERATOR(pg_catalog.+) t.ttl, $3) AS until
          FROM (SELECT pg_catalog.make_interval(secs => $4)) AS t (ttl), pss.metric m
          WHERE m.relation OPERATOR(pg_catalog.=) $1
            AND m.at OPERATOR(pg_catalog.>) ($2 OPERATOR(pg_catalog.-) t.ttl)
            AND m.at OPERATOR(pg_catalog.<) $3) AS held
    LEFT JOIN pss.metric_cost c ON c.relation OPERATOR(pg_catalog.=) $1
                               AND c.metric OPERATOR(pg_catalog.=) held.metric
    WHERE held.until OPERATOR(pg_catalog.>) held.since
    GROUP BY held.partition";

fn checked_name(metric: Option<&str>) -> Result<&str> {
    let metric = metric.ok_or_else(|| null_argument("metric"))?;
    if metric.is_empty() || metric.len() > LONGEST_NAME {
        return Err(invalid_argument("a metric needs a name")
            .detail(format!("It has 1 to {LONGEST_NAME} bytes.")));
    }
    Ok(metric)
}

/// A value or a cost: from zero to [`MOST`].
fn checked_amount(argument: &str, amount: f64, hint: &str) -> Result<f64> {
    if (0.0..=MOST).contains(&amount) {
        return Ok(amount);
    }
    Err(invalid_argument(format!("{argument} {amount} is out of range"))
        .detail(format!("It is at least 0 and at most {MOST:e}."))
        .hint(hint))
}
