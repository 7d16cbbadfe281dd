//! The seam to pss-core: readings in, loads and plans out.
//!
//! One brain is what a process knows of one table. It is a function of the
//! samples alone: replaying them restores it. It must never read a clock or a
//! table; time comes with the samples.

use pgrx::pg_sys;
use pss_core::control::{Controller, Observation, Plan, Scores, Settings};
use pss_core::forecast::{self, Forecaster};
use pss_core::level::CLASSES;
use pss_core::series::{CostModel, Meter};
use pss_core::weights::Damping;
use pss_core::{cohort, weights};

use crate::catalog::ShardedTable;
use crate::guc;
use crate::sampler::{OwnAndForeign, Reading};

/// Horizons of published forecasts, in samples: at the default interval of
/// 10 s the next sample, 5, 10 and 15 minutes.
pub const HORIZONS: [usize; 4] = [1, 30, 60, 90];

/// Missed samples that are told to the forecasters one by one; more of them
/// change nothing any more.
const LONGEST_GAP: i64 = 360;

/// What a process knows of one table.
pub struct Brain {
    /// By position in `ShardedTable::partitions`, as all vectors here.
    meters: Vec<Meter>,
    controller: Controller,
    keys: Vec<Option<[u64; CLASSES]>>,
    own: Vec<f64>,
    /// Foreign load of the last sample; `None`: missing.
    foreign: Vec<Option<f64>>,
    interval_us: i64,
    at: Option<pg_sys::TimestampTz>,
}

impl Brain {
    /// A table of which nothing has been seen, sampled every `interval_us` microseconds.
    pub fn new(partitions: usize, interval_us: i64) -> Brain {
        let config = forecast::Config { step_s: interval_us as f64 / 1e6, ..Default::default() };
        Brain {
            meters: vec![Meter::new(CostModel::default(), interval_us); partitions],
            controller: Controller::new(partitions, config, cohort::Config::default()),
            keys: vec![None; partitions],
            own: vec![0.0; partitions],
            foreign: vec![None; partitions],
            interval_us,
            at: None,
        }
    }

    /// Takes in one sample; returns the load of each reading since the sample before.
    pub fn observe(
        &mut self,
        table: &ShardedTable,
        at: pg_sys::TimestampTz,
        readings: &[Reading],
    ) -> Vec<Option<OwnAndForeign>> {
        self.tell_gap(table, at);
        let n = table.partitions.len();
        let mut foreign = vec![None; n];
        let mut placed = vec![[0.0; CLASSES]; n];
        let mut loads = Vec::with_capacity(readings.len());
        self.count_old_keys(table, readings);
        for reading in readings {
            let position = table.partitions.iter().position(|p| p.number == reading.partition);
            let Some(i) = position else {
                loads.push(None);
                continue;
            };
            let load = self.meters[i].sample(at, reading.counters, reading.own_rows);
            let earlier = self.keys[i].replace(reading.own_keys);
            if let Some(earlier) = earlier {
                // An aborted transaction takes its keys back: less than before is none.
                placed[i] = std::array::from_fn(|class| {
                    reading.own_keys[class].saturating_sub(earlier[class]) as f64
                });
            }
            if let Some(load) = load {
                self.own[i] = load.own;
                foreign[i] = Some(load.foreign);
            }
            loads.push(load.map(|l| OwnAndForeign { own: l.own, foreign: l.foreign }));
        }
        self.tell(table, &foreign, &placed);
        self.foreign = foreign;
        self.at = Some(at);
        loads
    }

    /// Keys that were there before the first sample are of unknown, great age.
    fn count_old_keys(&mut self, table: &ShardedTable, readings: &[Reading]) {
        if self.at.is_some() {
            return;
        }
        let keys_of = |number| {
            let reading = readings.iter().find(|r| r.partition == number);
            reading.map_or(0.0, |r| r.own_keys.iter().sum::<u64>() as f64)
        };
        let old: Vec<f64> = table.partitions.iter().map(|p| keys_of(p.number)).collect();
        self.controller.add_old(&old);
    }

    /// Samples that should have been taken since the last one are missing, not absent.
    fn tell_gap(&mut self, table: &ShardedTable, at: pg_sys::TimestampTz) {
        let Some(last) = self.at else { return };
        let steps = (at - last + self.interval_us / 2) / self.interval_us;
        let n = table.partitions.len();
        for _ in 1..steps.min(LONGEST_GAP) {
            self.tell(table, &vec![None; n], &vec![[0.0; CLASSES]; n]);
        }
    }

    fn tell(&mut self, table: &ShardedTable, foreign: &[Option<f64>], placed: &[[f64; CLASSES]]) {
        let capacity: Vec<f64> = table.partitions.iter().map(|p| p.capacity).collect();
        let in_service: Vec<bool> = table.partitions.iter().map(|p| p.active).collect();
        let seen = Observation {
            own: &self.own,
            foreign,
            placed,
            capacity: &capacity,
            in_service: &in_service,
        };
        self.controller.observe(&seen, &settings());
    }

    /// Shares for the new keys to come; `published` are the weights now in force.
    pub fn plan(&mut self, published: &[f64]) -> Plan {
        self.controller.set_published(published);
        self.controller.plan(&settings())
    }

    /// How the policies have done lately.
    pub fn scores(&self) -> Option<Scores> {
        self.controller.scores()
    }

    /// Foreign load of the last sample, by position; `None`: missing.
    pub fn last_foreign(&self) -> &[Option<f64>] {
        &self.foreign
    }

    /// The forecasters of foreign load, by position.
    pub fn forecasters(&self) -> &[Forecaster] {
        self.controller.forecasters()
    }
}

/// Whether `shares` differ enough from the weights in force to be published.
pub fn worth_an_epoch(published: &[f64], shares: &[f64]) -> bool {
    weights::leaves_dead_band(published, shares, guc::DEAD_BAND.get())
}

fn settings() -> Settings {
    let damping =
        Damping { gain: guc::GAIN.get(), dead_band: guc::DEAD_BAND.get(), ..Damping::default() };
    Settings { damping, ..Settings::default() }
}
