//! What a decision leaves behind for people: the outlook, forecasts and what
//! became of them, scores of the balance, epochs.
//!
//! Only writes; nothing here is read back by a decision.

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::control::Plan;
use serde_json::json;

use super::adjust::{self, InForce};
use super::brain::{Balance, Brain};
use crate::catalog::{self, Epoch, ShardedTable};
use crate::clock::timestamp;
use crate::error::Result;
use crate::guc;
use crate::sampler::{OwnAndForeign, Reading};

/// Forecasts are written at every so many decisions: each minute by default.
pub const EVERY: u32 = 6;

/// A horizon in time, at the configured sampling interval.
pub fn horizon(steps: usize) -> Option<Interval> {
    let us = steps as i64 * i64::from(guc::SAMPLE_INTERVAL.get()) * 1000;
    Interval::new(0, 0, us).ok()
}

/// Replaces the table's outlook: the plan in force, and why.
pub fn outlook(table: &ShardedTable, plan: &Plan, adjusted: &InForce) -> Result<()> {
    let finite = |f: fn(&pss_core::control::Outlook) -> f64| -> Vec<Option<f64>> {
        plan.outlook.iter().map(f).map(|v| v.is_finite().then_some(v)).collect()
    };
    catalog::as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "INSERT INTO pss.outlook (relation, decided_at, reason, authority, floor, control_window,
                                      foreign_load, committed_load, level, lo, hi, policy, adjusted)
             VALUES ($1, pg_catalog.clock_timestamp(), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (relation) DO UPDATE SET
                 decided_at = excluded.decided_at, reason = excluded.reason,
                 policy = excluded.policy, adjusted = excluded.adjusted,
                 authority = excluded.authority, floor = excluded.floor,
                 control_window = excluded.control_window,
                 foreign_load = excluded.foreign_load, committed_load = excluded.committed_load,
                 level = excluded.level, lo = excluded.lo, hi = excluded.hi",
            &[
                table.relation.into(),
                plan.reason.as_str().into(),
                plan.authority.into(),
                plan.floor.into(),
                horizon(plan.window).into(),
                finite(|o| o.foreign).into(),
                finite(|o| o.committed).into(),
                finite(|o| o.level).into(),
                finite(|o| o.lo).into(),
                finite(|o| o.hi).into(),
                plan.reason.policy().into(),
                adjusted.to_json().into(),
            ],
        )?)
    })
}

/// The plan as it is kept with its epoch.
pub fn as_json(table: &ShardedTable, plan: &Plan) -> pgrx::JsonB {
    let partitions: Vec<_> = table
        .partitions
        .iter()
        .zip(&plan.outlook)
        .map(|(p, o)| {
            json!({ "partition": p.number, "foreign": o.foreign, "committed": o.committed,
                    "level": o.level, "lo": o.lo, "hi": o.hi })
        })
        .collect();
    let window_ms = plan.window as i64 * i64::from(guc::SAMPLE_INTERVAL.get());
    pgrx::JsonB(json!({ "reason": plan.reason.as_str(), "authority": plan.authority,
        "floor": plan.floor, "window_ms": window_ms, "partitions": partitions }))
}

/// Logs the change of weights.
pub fn epoch_event(table: &ShardedTable, last: &Epoch, epoch: &Epoch, reason: &str) -> Result<()> {
    let moved = last.slots.moved(&epoch.slots);
    let message = format!(
        "epoch {} published, {moved} of {} slots moved: {reason}",
        epoch.number,
        epoch.slots.len()
    );
    let detail = json!({ "epoch": epoch.number, "weights": epoch.weights, "before": last.weights });
    catalog::log_event(Some(table.relation), "epoch", &message, Some(pgrx::JsonB(detail)))?;
    if guc::LOG_DECISIONS.get() {
        pgrx::log!("pss: table \"{}\": {message}", catalog::relation_name(table.relation));
    }
    Ok(())
}

/// Writes what is forecast now, at each horizon.
pub fn forecasts(table: &ShardedTable, brain: &Brain, at: pg_sys::TimestampTz) -> Result<()> {
    let (mut partitions, mut horizons, mut models) = (Vec::new(), Vec::new(), Vec::new());
    let (mut values, mut los, mut his, mut lasts) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let series = brain.forecasters().iter().zip(brain.last_foreign());
    let published = brain.horizons();
    for (position, (forecaster, last)) in series.enumerate() {
        for (i, &steps) in published.iter().enumerate() {
            let Some(prediction) = brain.predict(position, steps) else { continue };
            partitions.push(i32::from(table.partitions[position].number));
            horizons.push(i as i32 + 1);
            models.push(forecaster.method_at(steps).name());
            values.push(prediction.value);
            los.push(prediction.lo);
            his.push(prediction.hi);
            lasts.push(*last);
        }
    }
    catalog::as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "INSERT INTO pss.forecast (relation, made_at, partition, horizon, model, value, lo, hi, last_value)
             SELECT $1, $2, u.partition, ($4::pg_catalog.interval[])[u.h], u.model, u.value, u.lo, u.hi, u.last
             FROM ROWS FROM (
                 pg_catalog.unnest($3::pg_catalog.int4[]), pg_catalog.unnest($5::pg_catalog.int4[]),
                 pg_catalog.unnest($6::pg_catalog.text[]), pg_catalog.unnest($7::pg_catalog.float8[]),
                 pg_catalog.unnest($8::pg_catalog.float8[]), pg_catalog.unnest($9::pg_catalog.float8[]),
                 pg_catalog.unnest($10::pg_catalog.float8[]))
                 AS u (partition, h, model, value, lo, hi, last)
             ON CONFLICT DO NOTHING",
            &[
                table.relation.into(),
                timestamp(at).into(),
                partitions.into(),
                times(&published).into(),
                horizons.into(),
                models.into(),
                values.into(),
                los.into(),
                his.into(),
                lasts.into(),
            ],
        )?)
    })
}

/// Notes the model in use at each horizon, since when, and how all models do.
pub fn models(table: &ShardedTable, brain: &Brain, at: pg_sys::TimestampTz) -> Result<()> {
    let published = brain.horizons();
    let (mut partitions, mut horizons, mut in_use) = (Vec::new(), Vec::new(), Vec::new());
    let (mut models, mut errors) = (Vec::new(), Vec::new());
    for (partition, forecaster) in table.partitions.iter().zip(brain.forecasters()) {
        let scores = forecaster.scores();
        for (i, &steps) in published.iter().enumerate() {
            let scored: Vec<_> = scores.iter().filter(|s| s.horizon == steps).collect();
            let names: Vec<_> = scored.iter().map(|s| s.method.name()).collect();
            let relative: Vec<_> = scored.iter().map(|s| s.relative_error.to_string()).collect();
            partitions.push(i32::from(partition.number));
            horizons.push(i as i32 + 1);
            in_use.push(forecaster.method_at(steps).name());
            // An array of arrays would be unnested whole: each goes in its text form.
            models.push(format!("{{{}}}", names.join(",")));
            errors.push(format!("{{{}}}", relative.join(",")));
        }
    }
    adjust::models(table, brain)?;
    catalog::as_extension_owner(|| {
        Spi::run_with_args(
            "INSERT INTO pss.forecast_model AS m
                 (relation, partition, horizon, model, since, scored_at, models, relative)
             SELECT $1, u.partition, ($4::pg_catalog.interval[])[u.h], u.model, $2, $2,
                    u.models::pg_catalog.text[], u.relative::pg_catalog.float8[]
             FROM ROWS FROM (
                 pg_catalog.unnest($3::pg_catalog.int4[]), pg_catalog.unnest($5::pg_catalog.int4[]),
                 pg_catalog.unnest($6::pg_catalog.text[]), pg_catalog.unnest($7::pg_catalog.text[]),
                 pg_catalog.unnest($8::pg_catalog.text[])) AS u (partition, h, model, models, relative)
             ON CONFLICT (relation, partition, horizon) DO UPDATE SET
                 since = CASE WHEN m.model OPERATOR(pg_catalog.=) excluded.model THEN m.since
                              ELSE excluded.since END,
                 model = excluded.model, scored_at = excluded.scored_at,
                 models = excluded.models, relative = excluded.relative",
            &[
                table.relation.into(),
                timestamp(at).into(),
                partitions.into(),
                times(&published).into(),
                horizons.into(),
                in_use.into(),
                models.into(),
                errors.into(),
            ],
        )?;
        // Of another sampling interval, or of a partition that is gone.
        Ok(Spi::run_with_args(
            "DELETE FROM pss.forecast_model WHERE relation OPERATOR(pg_catalog.=) $1
               AND scored_at OPERATOR(pg_catalog.<>) $2",
            &[table.relation.into(), timestamp(at).into()],
        )?)
    })
}

/// Horizons in time.
pub fn times(steps: &[usize]) -> Vec<Option<Interval>> {
    steps.iter().copied().map(horizon).collect()
}

/// Enters what came into the forecasts whose time is nearest to this sample's.
pub fn match_forecasts(
    relation: pg_sys::Oid,
    brain: &Brain,
    at: pg_sys::TimestampTz,
    readings: &[Reading],
    loads: &[Option<OwnAndForeign>],
) -> Result<()> {
    let half = Interval::new(0, 0, i64::from(guc::SAMPLE_INTERVAL.get()) * 500).ok();
    let partitions: Vec<i32> = readings.iter().map(|r| i32::from(r.partition)).collect();
    let foreign: Vec<Option<f64>> = loads.iter().map(|l| l.map(|l| l.foreign)).collect();
    catalog::as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "UPDATE pss.forecast f SET actual = u.actual
             FROM pg_catalog.unnest($3::pg_catalog.interval[]) AS h (horizon),
                  ROWS FROM (pg_catalog.unnest($5::pg_catalog.int4[]),
                             pg_catalog.unnest($6::pg_catalog.float8[])) AS u (partition, actual)
             WHERE f.relation OPERATOR(pg_catalog.=) $1
               AND f.made_at OPERATOR(pg_catalog.>) ($2 OPERATOR(pg_catalog.-) h.horizon OPERATOR(pg_catalog.-) $4)
               AND f.made_at OPERATOR(pg_catalog.<=) ($2 OPERATOR(pg_catalog.-) h.horizon OPERATOR(pg_catalog.+) $4)
               AND f.horizon OPERATOR(pg_catalog.=) h.horizon
               AND f.partition OPERATOR(pg_catalog.=) u.partition",
            &[
                relation.into(),
                timestamp(at).into(),
                times(&brain.horizons()).into(),
                half.into(),
                partitions.into(),
                foreign.into(),
            ],
        )?)
    })
}

/// Writes how the step that ended at `at` was balanced, under the decision that was in force; and
/// of an earlier one, what hindsight now says.
pub fn score(relation: pg_sys::Oid, at: pg_sys::TimestampTz, balance: &Balance) -> Result<()> {
    let Balance { load, scores, hindsight } = balance;
    let policies = [
        scores.achieved,
        scores.capacity,
        scores.fewest,
        scores.reactive,
        scores.forecast,
        scores.planned,
    ];
    if !load.is_finite() || policies.iter().any(|score| !score.is_finite()) {
        return Ok(());
    }
    let [achieved, capacity, fewest, reactive, forecast, planned] = policies;
    catalog::as_extension_owner(|| {
        Spi::run_with_args(
            "INSERT INTO pss.score (relation, scored_at, load, achieved, static, fewest, reactive, forecast,
                                    planned, policy, floor, authority)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, COALESCE(o.policy, 'capacity'),
                    COALESCE(o.floor, 0), COALESCE(o.authority, 0)
             FROM (SELECT) AS one
             LEFT JOIN pss.outlook o ON o.relation OPERATOR(pg_catalog.=) $1
             ON CONFLICT DO NOTHING",
            &[
                relation.into(),
                timestamp(at).into(),
                (*load).into(),
                achieved.into(),
                capacity.into(),
                fewest.into(),
                reactive.into(),
                forecast.into(),
                planned.into(),
            ],
        )?;
        let Some((of, oracle)) = hindsight.filter(|(_, oracle)| oracle.is_finite()) else {
            return Ok(());
        };
        Ok(Spi::run_with_args(
            "UPDATE pss.score SET oracle = $3
             WHERE relation OPERATOR(pg_catalog.=) $1 AND scored_at OPERATOR(pg_catalog.=) $2",
            &[relation.into(), timestamp(of).into(), oracle.into()],
        )?)
    })
}
