//! What follows from samples beside load: use of resources, and what events cost.
//!
//! Like the brain a function of the samples alone, but for sizes, which are read once a minute.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::calibrate::{Calibrator, Timed};
use pss_core::capacity;
use pss_core::load_vector::{Activity, Extent, VectorMeter};
use pss_core::resources::{Resource, Resources};

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
        let rooms = rooms(table)?;
        let scarcest = self.uses.iter().zip(&rooms).map(|(used, room)| used.utilization(room));
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

/// What each partition can have of each resource, by position: the least of what it, its node and
/// its tablespace can carry, each as configured, else as found.
fn rooms(table: &ShardedTable) -> Result<Vec<Resources>> {
    let least = |r: Resource| {
        let r = r.name();
        format!("LEAST(c.{r}, COALESCE(n.{r}, fn.{r}), COALESCE(s.{r}, fs.{r}))")
    };
    let found = |r: Resource| {
        let r = r.name();
        format!(
            "pg_catalog.max(COALESCE(f.discovered, f.learned))
                 FILTER (WHERE f.resource OPERATOR(pg_catalog.=) '{r}') AS {r}"
        )
    };
    // Names are those of the resources.
    let statement = format!(
        "WITH found AS (SELECT f.kind, f.name, {} FROM pss.found_capacity f GROUP BY f.kind, f.name)
         SELECT p.partition, ARRAY[{}]
         FROM pss.partition p
         JOIN pg_catalog.pg_class l ON l.oid OPERATOR(pg_catalog.=) p.leaf
         JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
         LEFT JOIN pg_catalog.pg_tablespace t ON l.relkind OPERATOR(pg_catalog.<>) 'f'
              AND t.oid OPERATOR(pg_catalog.=) COALESCE(NULLIF(l.reltablespace, 0::pg_catalog.oid), d.dattablespace)
         LEFT JOIN pss.partition_capacity c ON c.relation OPERATOR(pg_catalog.=) p.relation
              AND c.partition OPERATOR(pg_catalog.=) p.partition
         LEFT JOIN pss.node_capacity n ON n.node OPERATOR(pg_catalog.=) p.node
         LEFT JOIN found fn ON fn.kind OPERATOR(pg_catalog.=) 'node' AND fn.name OPERATOR(pg_catalog.=) p.node
         LEFT JOIN pss.tablespace s ON s.tablespace OPERATOR(pg_catalog.=) t.spcname
         LEFT JOIN found fs ON fs.kind OPERATOR(pg_catalog.=) 'tablespace' AND fs.name OPERATOR(pg_catalog.=) t.spcname
         WHERE p.relation OPERATOR(pg_catalog.=) $1",
        Resource::ALL.map(found).join(", "),
        Resource::ALL.map(least).join(", "),
    );
    let mut rooms = vec![Resources::UNKNOWN; table.partitions.len()];
    catalog::read(|client| {
        for row in client.select(&statement, None, &[table.relation.into()])? {
            let number = row.get::<i32>(1)?.unwrap_or(-1);
            let position = table.partitions.binary_search_by_key(&number, |p| i32::from(p.number));
            let amounts = row.get::<Vec<Option<f64>>>(2)?.unwrap_or_default();
            if let (Ok(i), Ok(amounts)) = (position, <[Option<f64>; 6]>::try_from(amounts)) {
                let room = Resources::from_array(amounts.map(|a| a.unwrap_or(f64::NAN)));
                // Processors, as administrators count them.
                rooms[i] = Resources { cpu: room.cpu * 1e6, ..room };
            }
        }
        Ok(rooms)
    })
}
