//! What follows from samples beside load: use of resources, and what events cost.
//!
//! Like the brain a function of the samples alone, but for sizes, which are read once a minute.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::calibrate::{Calibrator, Timed};
use pss_core::load_vector::{Activity, Extent, VectorMeter};
use pss_core::resources::Resources;

use crate::catalog::{self, ShardedTable};
use crate::clock::timestamp;
use crate::error::Result;
use crate::sampler::Reading;

/// What a process knows of one table; by position in `ShardedTable::partitions`.
pub struct Gauges {
    meters: Vec<VectorMeter>,
    extents: Vec<Extent>,
    uses: Vec<Resources>,
    calibrator: Calibrator,
}

impl Gauges {
    /// A table of which nothing has been seen.
    pub fn new(partitions: usize, interval_us: i64) -> Self {
        Gauges {
            meters: vec![VectorMeter::new(interval_us); partitions],
            extents: vec![Extent::default(); partitions],
            uses: vec![Resources::UNKNOWN; partitions],
            calibrator: Calibrator::new(partitions),
        }
    }

    /// Takes in one sample.
    pub fn observe(&mut self, table: &ShardedTable, at: pg_sys::TimestampTz, readings: &[Reading]) {
        for reading in readings {
            let position = table.partitions.iter().position(|p| p.number == reading.partition);
            let Some(i) = position else { continue };
            self.extents[i] = reading.extent.unwrap_or(self.extents[i]);
            let statements = reading.statements;
            let statement_us = statements.read_us.saturating_add(statements.write_us);
            let counters = reading.counters;
            let activity = Activity { counters, blocks_hit: reading.blocks_hit, statement_us };
            self.uses[i] = self.meters[i].sample(at, &activity, &self.extents[i]);
            let timed = Timed { counters, statement_us, insert_us: statements.insert_us };
            self.calibrator.sample(i, at, &timed);
        }
    }

    /// What events cost, as far as it has been learnt.
    pub fn calibrator(&self) -> &Calibrator {
        &self.calibrator
    }

    /// Replaces what is shown of the table's use of resources.
    pub fn record(&self, table: &ShardedTable, at: pg_sys::TimestampTz) -> Result<()> {
        let column = |f: fn(&Resources) -> f64| -> Vec<Option<f64>> {
            self.uses.iter().map(f).map(|v| v.is_finite().then_some(v)).collect()
        };
        let numbers: Vec<i32> = table.numbers().map(i32::from).collect();
        catalog::as_extension_owner(|| {
            Ok(Spi::run_with_args(
                "INSERT INTO pss.load_vector
                     (relation, measured_at, partitions, cpu, read, write, bytes, memory, storage)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                 ON CONFLICT (relation) DO UPDATE SET
                     measured_at = excluded.measured_at, partitions = excluded.partitions,
                     cpu = excluded.cpu, read = excluded.read, write = excluded.write,
                     bytes = excluded.bytes, memory = excluded.memory, storage = excluded.storage",
                &[
                    table.relation.into(),
                    timestamp(at).into(),
                    numbers.into(),
                    column(|r| r.cpu).into(),
                    column(|r| r.read).into(),
                    column(|r| r.write).into(),
                    column(|r| r.bytes).into(),
                    column(|r| r.memory).into(),
                    column(|r| r.storage).into(),
                ],
            )?)
        })
    }
}
