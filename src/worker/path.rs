//! `pss_forecast`: the path of foreign load ahead, from what a session makes of
//! the samples itself.
//!
//! Reads only: it neither samples nor decides, and needs no worker.

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::horizons;

use super::memory;
use crate::catalog;
use crate::clock::timestamp;
use crate::doors::call::meta_for_select;
use crate::error::{OrRaise, Result, invalid_argument, null_argument};
use crate::guc;

/// Partition, time, value, lower and upper end of the 80 % interval, model.
type Point = (i32, TimestampWithTimeZone, f64, f64, f64, String);

/// Horizons up to here are always accepted; at short sampling intervals forecasts end before.
const PROMISED_US: i128 = 900_000_000;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn pss_forecast(
    relation: Option<pg_sys::Oid>,
    horizon: Option<Interval>,
) -> TableIterator<
    'static,
    (
        name!(partition, i32),
        name!(at, TimestampWithTimeZone),
        name!(value, f64),
        name!(lo, f64),
        name!(hi, f64),
        name!(model, String),
    ),
> {
    TableIterator::new(path(relation, horizon).or_raise())
}

fn path(relation: Option<pg_sys::Oid>, horizon: Option<Interval>) -> Result<Vec<Point>> {
    let relation = meta_for_select(relation)?.table.relation;
    let steps = steps(horizon)?;
    // As the catalog has it now: a session's description does not follow the method.
    let table = &catalog::require_sharded_table(relation)?;
    catalog::as_extension_owner(|| {
        let memory = memory::recall(table)?;
        let mut points = Vec::new();
        if let Some(from) = memory.brain.stepped_at() {
            for (position, forecaster) in memory.brain.forecasters().iter().enumerate() {
                let number = i32::from(table.partitions[position].number);
                for (i, p) in memory.brain.path(position, steps).into_iter().enumerate() {
                    let at = from + (i as i64 + 1) * memory.brain.interval_us();
                    let model = forecaster.method_at(i + 1).name().to_string();
                    points.push((number, timestamp(at), p.value, p.lo, p.hi, model));
                }
            }
        }
        memory::keep(table.relation, memory);
        Ok(points)
    })
}

/// A horizon in steps, at the configured sampling interval.
fn steps(horizon: Option<Interval>) -> Result<usize> {
    let horizon = horizon
        .ok_or_else(|| null_argument("horizon").hint("Leave it out for 15 minutes."))?
        .as_micros();
    let interval_us = i64::from(guc::SAMPLE_INTERVAL.get()) * 1000;
    let step_s = interval_us as f64 / 1e6;
    let farthest = horizons::scored(step_s).last().copied().unwrap_or(1);
    let farthest_us = (farthest as i128 * i128::from(interval_us)).max(PROMISED_US);
    if horizon <= 0 {
        return Err(invalid_argument("horizon must be greater than zero")
            .hint("For the next quarter of an hour, give '15 min'."));
    }
    if horizon > farthest_us + i128::from(interval_us) / 2 {
        let farthest_s = farthest_us as f64 / 1e6;
        return Err(invalid_argument("horizon is beyond the farthest forecast")
            .detail(format!("Samples are {step_s} s apart: forecasts reach {farthest_s} s ahead."))
            .hint(format!("Give at most '{farthest_s} s'.")));
    }
    Ok(horizons::steps(horizon as f64 / 1e6, step_s))
}
