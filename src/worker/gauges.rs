//! What follows from samples beside load: use of resources, and what events cost.
//!
//! Like the brain a function of the samples alone, but for sizes, which are read once a minute.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::calibrate::{Calibrator, Timed};
use pss_core::capacity;
use pss_core::load_vector::{Activity, Extent, VectorMeter};
use pss_core::resources::Resources;

use crate::catalog::{self, Partition, ShardedTable};
use crate::clock::timestamp;
use crate::error::Result;
use crate::sampler::Reading;

/// What a process knows of one table; by position in `ShardedTable::partitions`.
pub struct Gauges {
    meters: Vec<VectorMeter>,
    extents: Vec<Extent>,
    uses: Vec<Resources>,
    /// What the table uses lately, older use fading.
    mix: Resources,
    calibrator: Calibrator,
}

/// Part of the mix of resources that the newest sample makes up.
const NEWEST: f64 = 0.1;

impl Gauges {
    /// A table of which nothing has been seen.
    pub fn new(partitions: usize, interval_us: i64) -> Self {
        Gauges {
            meters: vec![VectorMeter::new(interval_us); partitions],
            extents: vec![Extent::default(); partitions],
            uses: vec![Resources::UNKNOWN; partitions],
            mix: Resources::UNKNOWN,
            calibrator: Calibrator::new(partitions),
        }
    }

    /// Takes in one sample.
    pub fn observe(&mut self, table: &ShardedTable, at: pg_sys::TimestampTz, readings: &[Reading]) {
        for reading in readings {
            let position = table.partitions.binary_search_by_key(&reading.partition, |p| p.number);
            let Ok(i) = position else { continue };
            self.extents[i] = reading.extent.unwrap_or(self.extents[i]);
            let statements = reading.statements;
            let statement_us = statements.read_us.saturating_add(statements.write_us);
            let counters = reading.counters;
            let activity = Activity { counters, blocks_hit: reading.blocks_hit, statement_us };
            self.uses[i] = self.meters[i].sample(at, &activity, &self.extents[i]);
            let timed = Timed { counters, statement_us, insert_us: statements.insert_us };
            self.calibrator.sample(i, at, &timed);
        }
        let all = self.uses.iter().fold(Resources::UNKNOWN, |all, used| all.plus(used));
        self.mix = self.mix.towards(&all, NEWEST);
    }

    /// What each partition can carry by the resources that are configured of it, in the unit of
    /// the relative capacities; `None` unless that is known of all that are in service.
    pub fn capacities(&self, table: &ShardedTable) -> Option<Vec<f64>> {
        let serving: Vec<_> = table.partitions.iter().filter(|p| p.active).collect();
        let resources: Vec<Resources> = serving.iter().map(|p| p.resources).collect();
        let room = serving.iter().map(|p| p.configured).sum();
        let by_resources = capacity::by_resources(&resources, &self.mix);
        let mut carried = capacity::relative(&by_resources, room)?.into_iter();
        let mut own = |p: &Partition| if p.active { carried.next() } else { None };
        Some(table.partitions.iter().map(|p| own(p).unwrap_or(p.configured)).collect())
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
        let room = room();
        // What is not stored here (its size is not known) does not use what is here.
        let here = self.uses.iter().map(|used| (!used.storage.is_nan()).then_some(used));
        let scarcest = here.zip(&table.partitions).map(|(used, partition)| {
            used.and_then(|used| used.utilization(&partition.resources.or(&room)))
        });
        let (utilization, scarcest): (Vec<_>, Vec<_>) =
            scarcest.map(|scarcest| (scarcest.map(|s| s.0), scarcest.map(|s| s.1.name()))).unzip();
        catalog::as_extension_owner(|| {
            Ok(Spi::run_with_args(
                "INSERT INTO pss.load_vector
                     (relation, measured_at, partitions, cpu, read, write, bytes, memory, storage,
                      utilization, scarcest)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                 ON CONFLICT (relation) DO UPDATE SET
                     measured_at = excluded.measured_at, partitions = excluded.partitions,
                     cpu = excluded.cpu, read = excluded.read, write = excluded.write,
                     bytes = excluded.bytes, memory = excluded.memory, storage = excluded.storage,
                     utilization = excluded.utilization, scarcest = excluded.scarcest",
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
                    utilization.into(),
                    scarcest.into(),
                ],
            )?)
        })
    }
}

/// What partitions have of each resource where nothing is configured of them: what this server has, as far as it says so: its processors, and the memory
/// that it keeps blocks in. How fast its disks are, and how large, it does not say.
fn room() -> Resources {
    let cpus = std::thread::available_parallelism().map_or(f64::NAN, |n| n.get() as f64);
    // SAFETY: a setting, fixed since the server's start.
    let buffers = f64::from(unsafe { pg_sys::NBuffers });
    Resources { cpu: cpus * 1e6, memory: buffers * f64::from(pg_sys::BLCKSZ), ..Resources::UNKNOWN }
}
