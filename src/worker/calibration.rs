//! When a table's costs change, and what becomes of what was measured before.
//!
//! Load that was measured with other costs is in another unit, and two units must never meet in
//! one series. So costs in use change seldom (`pss_core::calibrate::adopt`, or because somebody
//! set them), and each change is an event. A memory learns anew from the counters in pss.sample,
//! which know no costs; the loads beside them are computed again. pss.history, of which the counters
//! are gone, is read with the factor by which the change raised each partition's recent load.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::calibrate::{self, Calibrator, Fit};
use pss_core::cost::{ByEvent, EVENTS, Event};
use pss_core::series::Meter;
use serde_json::json;

use crate::catalog::{self, ShardedTable};
use crate::clock::{self, timestamp};
use crate::costs::{self, Costs};
use crate::error::Result;
use crate::{guc, sampler};

/// Brings the costs in use that are set or calibrated now.
pub fn settle(table: &ShardedTable) -> Result<()> {
    let costs = Costs::of(table.relation)?;
    let wanted = costs.wanted();
    if wanted == costs.in_use {
        return Ok(());
    }
    let Recount { factors, at, partitions, loads } = recount(table, costs.in_use, wanted)?;
    let relation = table.relation;
    let numbers: Vec<i32> = table.numbers().map(i32::from).collect();
    let now = timestamp(clock::now());
    catalog::as_extension_owner(|| {
        Spi::run_with_args(
            "UPDATE pss.sample s SET foreign_load = u.load
             FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.timestamptz[]),
                             pg_catalog.unnest($3::pg_catalog.int4[]),
                             pg_catalog.unnest($4::pg_catalog.float8[])) AS u (at, partition, load)
             WHERE s.relation OPERATOR(pg_catalog.=) $1
               AND s.sampled_at OPERATOR(pg_catalog.=) u.at
               AND s.partition OPERATOR(pg_catalog.=) u.partition",
            &[relation.into(), at.into(), partitions.into(), loads.into()],
        )?;
        Spi::run_with_args(
            "INSERT INTO pss.calibration (relation, in_use) VALUES ($1, $2)
             ON CONFLICT (relation) DO UPDATE SET in_use = excluded.in_use",
            &[relation.into(), wanted.to_vec().into()],
        )?;
        Spi::run_with_args(
            "INSERT INTO pss.cost_change (relation, changed_at, history_until, partitions, factors)
             VALUES ($1, $2, COALESCE((
                 SELECT pg_catalog.max(h.bucket) OPERATOR(pg_catalog.+) '5 min'::pg_catalog.interval
                 FROM pss.history h WHERE h.relation OPERATOR(pg_catalog.=) $1
                   AND h.source OPERATOR(pg_catalog.=) 'sample'), (
                 SELECT pg_catalog.date_bin('5 min', pg_catalog.min(s.sampled_at), '2000-01-01 00:00+00')
                 FROM pss.sample s WHERE s.relation OPERATOR(pg_catalog.=) $1), $2), $3, $4)",
            &[relation.into(), now.into(), numbers.into(), factors.clone().into()],
        )?;
        // What they forecast would be compared with loads in the new unit.
        Spi::run_with_args(
            "DELETE FROM pss.forecast
             WHERE relation OPERATOR(pg_catalog.=) $1 AND actual IS NULL",
            &[relation.into()],
        )
    })?;
    let message = format!("costs changed: {}", changes(&costs, &wanted).join(", "));
    let detail = json!({ "before": by_name(&costs.in_use), "costs": by_name(&wanted),
                         "factors": factors });
    catalog::log_event(Some(relation), "costs", &message, Some(pgrx::JsonB(detail)))?;
    if guc::LOG_DECISIONS.get() {
        pgrx::log!("pss: table \"{}\": {message}", catalog::relation_name(relation));
    }
    Ok(())
}

/// What changes, and why: "update 1.5 -> 4.2 (calibrated)".
fn changes(costs: &Costs, wanted: &ByEvent<f64>) -> Vec<String> {
    let changed = (0..EVENTS).filter(|&k| costs.in_use[k] != wanted[k]);
    changed
        .map(|k| {
            let why = match costs.set[k] {
                Some(_) => "set",
                None if wanted[k] == costs::defaults()[k] => "default",
                None => "calibrated",
            };
            let name = Event::ALL[k].name();
            format!("{name} {} -> {} ({why})", short(costs.in_use[k]), short(wanted[k]))
        })
        .collect()
}

/// A cost to three significant digits.
fn short(cost: f64) -> String {
    let digits = if cost > 0.0 { (2 - cost.log10().floor() as i32).clamp(0, 9) } else { 0 };
    let fixed = format!("{cost:.*}", digits as usize);
    if fixed.contains('.') {
        fixed.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        fixed
    }
}

fn by_name(costs: &ByEvent<f64>) -> serde_json::Value {
    Event::ALL.iter().zip(costs).map(|(event, cost)| (event.name(), json!(cost))).collect()
}

/// What the samples that a replay reads come to by other costs.
#[derive(Default)]
struct Recount {
    /// By position: their foreign load as a multiple of what it was. A partition without any has
    /// the whole table's factor.
    factors: Vec<f64>,
    /// Of each sample with a load: its time, partition number and foreign load, now.
    at: Vec<TimestampWithTimeZone>,
    partitions: Vec<i32>,
    loads: Vec<f64>,
}

fn recount(table: &ShardedTable, old: ByEvent<f64>, new: ByEvent<f64>) -> Result<Recount> {
    let interval_us = i64::from(guc::SAMPLE_INTERVAL.get()) * 1000;
    let n = table.partitions.len();
    let meters = |costs| vec![Meter::new(costs::model(costs), interval_us); n];
    let (mut before, mut after) = (meters(old), meters(new));
    let mut work = vec![[0.0; 2]; n];
    let mut recount = Recount::default();
    sampler::replay(table, None, |at, readings| {
        for reading in readings {
            let position = table.partitions.binary_search_by_key(&reading.partition, |p| p.number);
            let Ok(i) = position else { continue };
            let sample = |m: &mut Meter| m.sample(at, reading.counters, reading.own_rows);
            if let (Some(b), Some(a)) = (sample(&mut before[i]), sample(&mut after[i])) {
                let load = a.foreign + reading.metric_load;
                work[i][0] += (b.foreign + reading.metric_load) * b.seconds;
                work[i][1] += load * a.seconds;
                recount.at.push(timestamp(at));
                recount.partitions.push(i32::from(reading.partition));
                recount.loads.push(load);
            }
        }
        Ok(())
    })?;
    let ratio = |[before, after]: [f64; 2], otherwise: f64| {
        let ratio = after / before;
        if before > 0.0 && ratio.is_finite() { ratio } else { otherwise }
    };
    let whole = ratio([0, 1].map(|side| work.iter().map(|w| w[side]).sum()), 1.0);
    recount.factors = work.into_iter().map(|w| ratio(w, whole)).collect();
    Ok(recount)
}

/// Writes what has been learnt, and adopts it if that pays and is wanted; the next cycle settles.
pub fn learn(table: &ShardedTable, calibrator: &Calibrator) -> Result<()> {
    let Some(fit) = calibrator.fit() else { return Ok(()) };
    let adopted = if guc::CALIBRATE_COSTS.get() { to_adopt(table, &fit)? } else { None };
    catalog::as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "INSERT INTO pss.calibration AS c
                 (relation, fitted, errors, observations, explained, error_left, adopted, adopted_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7,
                     CASE WHEN $7 IS NOT NULL THEN pg_catalog.clock_timestamp() END)
             ON CONFLICT (relation) DO UPDATE SET
                 fitted = excluded.fitted, errors = excluded.errors,
                 observations = excluded.observations, explained = excluded.explained,
                 error_left = excluded.error_left,
                 adopted = COALESCE(excluded.adopted, c.adopted),
                 adopted_at = COALESCE(excluded.adopted_at, c.adopted_at)",
            &[
                table.relation.into(),
                fit.costs.to_vec().into(),
                fit.errors.to_vec().into(),
                fit.observations.into(),
                fit.explained.into(),
                fit.left.into(),
                adopted.map(Vec::from).into(),
            ],
        )?)
    })
}

fn to_adopt(table: &ShardedTable, fit: &Fit) -> Result<Option<ByEvent<f64>>> {
    let costs = Costs::of(table.relation)?;
    let in_force = costs.adopted.as_ref().zip(costs.adopted_at);
    let now = clock::now();
    let in_force = in_force.map(|(c, at)| (c, now.saturating_sub(at) as f64 / 1e6));
    Ok(calibrate::adopt(in_force, fit))
}

/// Factors that bring loads which were measured with earlier costs into today's unit.
pub struct Rescale {
    /// Until when history is in the earlier unit; partition numbers, ascending; their factors.
    changes: Vec<(pg_sys::TimestampTz, Vec<i32>, Vec<f64>)>,
}

impl Rescale {
    /// Those of a table.
    pub fn of(relation: pg_sys::Oid) -> Result<Rescale> {
        catalog::read(|client| {
            let rows = client.select(
                "SELECT history_until, partitions, factors FROM pss.cost_change
                 WHERE relation OPERATOR(pg_catalog.=) $1 ORDER BY changed_at DESC",
                None,
                &[relation.into()],
            )?;
            let mut changes = Vec::new();
            for row in rows {
                let at = row.get::<TimestampWithTimeZone>(1)?.map(pg_sys::TimestampTz::from);
                if let (Some(at), Some(numbers), Some(factors)) = (at, row.get(2)?, row.get(3)?) {
                    changes.push((at, numbers, factors));
                }
            }
            Ok(Rescale { changes })
        })
    }

    /// What a load of partition `number` that was measured from `start` on is multiplied by.
    pub fn factor(&self, number: i32, start: pg_sys::TimestampTz) -> f64 {
        let later = self.changes.iter().filter(|(until, ..)| *until > start);
        let factor = later.map(|(_, numbers, factors)| {
            let position = numbers.binary_search(&number).ok();
            position.and_then(|i| factors.get(i)).copied().unwrap_or(1.0)
        });
        factor.product()
    }
}
