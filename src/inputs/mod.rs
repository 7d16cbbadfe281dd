//! What is told about load, beside what the server counts: metrics that
//! applications record, and loads that an administrator knows are coming.
//!
//! Told loads are foreign load. They are written into the samples, so that a
//! replay of the samples sees what the worker saw; nothing here is ever read
//! again for a time that has been sampled.

mod expectations;
mod metrics;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::control::Timetable;

use crate::catalog::{self, ShardedTable};
use crate::error::{PssError, Result, null_argument};
use crate::sampler::Reading;

pub use expectations::timetable;

/// Largest value, cost and declared load: their products stay finite, whatever is recorded.
const MOST: f64 = 1e15;

/// Enters what was told of the time from `last` until `at` into this sample's readings.
pub fn measure(
    table: &ShardedTable,
    expected: &Timetable,
    last: pg_sys::TimestampTz,
    at: pg_sys::TimestampTz,
    readings: &mut [Reading],
) -> Result<()> {
    let recorded = metrics::mean_loads(table.relation, last, at)?;
    for reading in readings {
        let number = i32::from(reading.partition);
        let of_partition = recorded.iter().find(|(partition, _)| *partition == number);
        reading.metric_load = of_partition.map_or(0.0, |(_, load)| *load);
        if let Some(i) = table.partitions.iter().position(|p| p.number == reading.partition) {
            reading.declared_load = expected.mean(i, last, at);
        }
    }
    Ok(())
}

/// `partition`, or the error that the table has no such partition (22023).
fn partition_of(table: &ShardedTable, partition: i32) -> Result<i32> {
    if table.partitions.iter().any(|p| i32::from(p.number) == partition) {
        return Ok(partition);
    }
    Err(catalog::no_such_partition(table.relation, partition))
}

/// A timestamp that names a time: not infinite (22008).
fn finite(argument: &str, at: Option<TimestampWithTimeZone>) -> Result<pg_sys::TimestampTz> {
    let at = at.ok_or_else(|| null_argument(argument))?;
    if at.is_infinity() || at.is_neg_infinity() {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW,
            format!("argument \"{argument}\" must be a finite time"),
        )
        .hint("Give a date and time, such as now() + interval '1 hour'."));
    }
    Ok(pg_sys::TimestampTz::from(at))
}
