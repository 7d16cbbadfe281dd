//! The seam to pss-core: readings in, loads and plans out.
//!
//! One brain is what a process knows of one table. What it has learnt is a
//! function of what it is told alone (means of older times, then samples):
//! replaying restores it. It must never read a clock or a table; time comes
//! with the samples.

use std::collections::VecDeque;

use pgrx::pg_sys;
use pss_core::control::{Ahead, Controller, Observation, Plan, Scores, Settings, Timetable};
use pss_core::cost::ByEvent;
use pss_core::forecast::{self, Forecaster, Method, Prediction};
use pss_core::level::CLASSES;
use pss_core::series::{Load, Meter};
use pss_core::weights::Damping;
use pss_core::{cohort, horizons};

use super::rebalance::Carried;
use crate::catalog::{Partition, ShardedTable};
use crate::clock::unix_us;
use crate::costs;
use crate::guc;
use crate::sampler::{OwnAndForeign, Reading};

/// Missed samples that are told to the forecasters one by one; of more of them
/// only the time counts.
const LONGEST_GAP: i64 = 360;

/// Steps whose end is remembered: as many as hindsight may lag behind.
const REMEMBERED_ENDS: usize = 128;

/// Part of a step by which a sample that ends it may come early; sooner, it is a surplus one.
const EARLY: f64 = 0.5;
/// Part of a step by which it may come late; later, a step was missed.
const LATE: f64 = 0.75;

/// What a process knows of one table.
#[derive(Debug)]
pub struct Brain {
    /// By position in `ShardedTable::partitions`, as all vectors here.
    meters: Vec<Meter>,
    controller: Controller,
    keys: Vec<Option<[u64; CLASSES]>>,
    own: Vec<f64>,
    /// Foreign load of the last step; `None`: missing.
    foreign: Vec<Option<f64>>,
    /// When the newest steps ended, oldest first; a missed one when it should have.
    ended: VecDeque<pg_sys::TimestampTz>,
    /// What came since the last step.
    pending: Vec<Pending>,
    /// Loads declared to come.
    expected: Timetable,
    /// Keys that were carried, in order of time.
    carried: Vec<Carried>,
    interval_us: i64,
    /// Time of step 0.
    origin: pg_sys::TimestampTz,
    /// Number of the next step.
    next: i64,
    /// When the last step ended.
    step_at: pg_sys::TimestampTz,
    /// Time of the last sample.
    at: Option<pg_sys::TimestampTz>,
}

/// How one step was balanced.
#[derive(Debug, Clone, Copy)]
pub struct Balance {
    /// Load of the table, cost units per second.
    pub load: f64,
    /// What it came to, and what policies would have come to on the same loads.
    pub scores: Scores,
    /// An earlier step, by its end, of which the best placement is now known: what that would have
    /// come to.
    pub hindsight: Option<(pg_sys::TimestampTz, f64)>,
}

/// Work of one partition since the last step: cost units, over the seconds in
/// which it was measured.
#[derive(Debug, Clone, Copy, Default)]
struct Pending {
    own: f64,
    foreign: f64,
    /// What of the foreign work had been declared.
    declared: f64,
    seconds: f64,
    placed: [f64; CLASSES],
}

impl Brain {
    /// A table of which nothing has been seen, sampled every `interval_us` microseconds from
    /// `origin` on, whose foreign load is to be forecast by `method` (`None`: the best lately), and
    /// whose events cost `costs`.
    pub fn new(
        partitions: usize,
        interval_us: i64,
        origin: pg_sys::TimestampTz,
        method: Option<Method>,
        costs: ByEvent<f64>,
    ) -> Brain {
        let step_s = interval_us as f64 / 1e6;
        let config = forecast::Config {
            step_s,
            first_step: (unix_s(origin) / step_s).round() as i64,
            horizons: horizons::scored(step_s),
            method,
            ..Default::default()
        };
        Brain {
            meters: vec![Meter::new(costs::model(costs), interval_us); partitions],
            controller: Controller::new(partitions, config, cohort::Config::default()),
            keys: vec![None; partitions],
            own: vec![0.0; partitions],
            foreign: vec![None; partitions],
            ended: VecDeque::new(),
            pending: vec![Pending::default(); partitions],
            expected: Timetable::default(),
            carried: Vec::new(),
            interval_us,
            origin,
            next: 0,
            step_at: origin,
            at: None,
        }
    }

    /// Takes in the mean foreign load of a partition over `span_s` seconds from `start` on, which
    /// end before the origin; oldest first.
    pub fn learn(&mut self, position: usize, start: pg_sys::TimestampTz, span_s: u32, mean: f64) {
        self.controller.learn(position, unix_s(start).floor() as i64, span_s, mean);
    }

    /// Takes in one sample; returns the load of each reading since the sample before.
    ///
    /// Steps keep to the clock: samples missed are missing steps, and a surplus one (a cycle by
    /// hand) is part of the step that the next one ends.
    pub fn observe(
        &mut self,
        table: &ShardedTable,
        at: pg_sys::TimestampTz,
        readings: &[Reading],
    ) -> Vec<Option<OwnAndForeign>> {
        self.count_old_keys(table, readings);
        let moving = self.follow_keys(at);
        let mut loads = Vec::with_capacity(readings.len());
        for reading in readings {
            let position = table.partitions.iter().position(|p| p.number == reading.partition);
            let Some(i) = position else {
                loads.push(None);
                continue;
            };
            let load = self.meters[i].sample(at, reading.counters, reading.own_rows);
            let pending = &mut self.pending[i];
            if let Some(earlier) = self.keys[i].replace(reading.own_keys) {
                for (class, placed) in pending.placed.iter_mut().enumerate() {
                    // An aborted transaction takes its keys back: less than before is none.
                    *placed += reading.own_keys[class].saturating_sub(earlier[class]) as f64;
                }
            }
            let load = load.map(|l| {
                let measured = (l.foreign - moving[i] / l.seconds).max(0.0);
                Load { foreign: measured + reading.metric_load, ..l }
            });
            if let Some(load) = load {
                pending.own += load.own * load.seconds;
                pending.foreign += load.foreign * load.seconds;
                pending.declared += reading.declared_load * load.seconds;
                pending.seconds += load.seconds;
            }
            loads.push(load.map(|l| OwnAndForeign { own: l.own, foreign: l.foreign }));
        }
        if self.keep_time(table, at) {
            self.end_step(table, at);
        } else {
            let (capacity, in_service) = self.service(table);
            self.controller.set_capacity(&capacity, &in_service);
        }
        self.at = Some(at);
        loads
    }

    /// Takes in what was carried since the last sample: keys bring their load where they are now.
    /// Cost units that carrying them caused, by position.
    fn follow_keys(&mut self, at: pg_sys::TimestampTz) -> Vec<f64> {
        let mut cost = vec![0.0; self.meters.len()];
        let Some(last) = self.at else { return cost };
        let first = self.carried.partition_point(|c| c.at <= last);
        for carried in self.carried[first..].iter().take_while(|c| c.at <= at) {
            self.controller.carry(carried.from, carried.to, carried.keys);
            cost[carried.from] += carried.cost.0;
            cost[carried.to] += carried.cost.1;
        }
        cost
    }

    /// Tells of the steps missed before the one that a sample at `at` ends. False: it ends none.
    fn keep_time(&mut self, table: &ShardedTable, at: pg_sys::TimestampTz) -> bool {
        if self.at.is_some_and(|last| at < last) {
            // The clock was set back: steps go on from there.
            self.origin = at - self.next * self.interval_us;
        }
        let due = (at - self.origin) as f64 / self.interval_us as f64;
        let ahead = due - self.next as f64;
        if ahead <= -EARLY {
            return false;
        }
        if ahead >= LATE {
            self.pass_over(table, ahead.round() as i64);
        }
        true
    }

    /// Samples that should have been taken are missing, not absent.
    fn pass_over(&mut self, table: &ShardedTable, steps: i64) {
        let n = table.partitions.len();
        let (foreign, placed) = (vec![None; n], vec![[0.0; CLASSES]; n]);
        // Before the first sample only time passes.
        let told = if self.at.is_some() { steps.min(LONGEST_GAP) } else { 0 };
        self.controller.skip((steps - told) as usize);
        for missed in steps - told..steps {
            self.tell(table, &foreign, &[], &placed);
            self.end_at(self.origin + (self.next + missed) * self.interval_us);
        }
        self.next += steps;
    }

    fn end_step(&mut self, table: &ShardedTable, at: pg_sys::TimestampTz) {
        let ended = std::mem::replace(&mut self.pending, vec![Pending::default(); self.own.len()]);
        for (own, pending) in self.own.iter_mut().zip(&ended) {
            if pending.seconds > 0.0 {
                *own = pending.own / pending.seconds;
            }
        }
        let mean = |p: &Pending, work: f64| (p.seconds > 0.0).then(|| work / p.seconds);
        self.foreign = ended.iter().map(|p| mean(p, p.foreign)).collect();
        let declared: Vec<_> = ended.iter().map(|p| mean(p, p.declared).unwrap_or(0.0)).collect();
        let placed: Vec<_> = ended.iter().map(|p| p.placed).collect();
        let foreign = self.foreign.clone();
        self.tell(table, &foreign, &declared, &placed);
        self.next += 1;
        self.step_at = at;
        self.end_at(at);
    }

    /// Notes when a step ended.
    fn end_at(&mut self, at: pg_sys::TimestampTz) {
        self.ended.push_back(at);
        if self.ended.len() > REMEMBERED_ENDS {
            self.ended.pop_front();
        }
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

    /// What each partition can carry, that of its node and tablespace taken into account with the
    /// load there is, and who takes new keys.
    fn service(&self, table: &ShardedTable) -> (Vec<f64>, Vec<bool>) {
        let serving = |p: &Partition| if p.active { p.configured } else { 0.0 };
        let capacity: Vec<f64> = table.partitions.iter().map(serving).collect();
        let foreign: Vec<f64> = self.foreign.iter().map(|load| load.unwrap_or(f64::NAN)).collect();
        let volume = self.own.iter().sum();
        let capacity = table.topology.effective(&foreign, &capacity, volume);
        (capacity, table.partitions.iter().map(|p| p.active).collect())
    }

    fn tell(
        &mut self,
        table: &ShardedTable,
        foreign: &[Option<f64>],
        declared: &[f64],
        placed: &[[f64; CLASSES]],
    ) {
        let (capacity, in_service) = self.service(table);
        let seen = Observation {
            own: &self.own,
            foreign,
            declared,
            placed,
            capacity: &capacity,
            in_service: &in_service,
        };
        self.controller.observe(&seen, &settings());
    }

    /// Part of the own load that the hottest key brings to one partition.
    pub fn set_hottest(&mut self, share: f64) {
        self.controller.set_hottest(share);
    }

    /// Shares for the new keys to come; `published` are the weights now in force.
    pub fn plan(&mut self, published: &[f64]) -> Plan {
        self.controller.set_published(published);
        let ahead = self.expected.ahead(self.step_at, self.interval_us);
        self.controller.plan(&ahead, &settings())
    }

    /// Expects what a plan would, now, without making one: so that replaying samples restores
    /// how policies have done.
    pub fn rehearse(&mut self) {
        let ahead = self.expected.ahead(self.step_at, self.interval_us);
        self.controller.rehearse(&ahead, &settings());
    }

    /// Replaces the loads declared to come.
    pub fn expect(&mut self, expected: Timetable) {
        self.expected = expected;
    }

    /// Replaces what is known of keys that were carried: since before the next sample, in order of
    /// time.
    pub fn carry(&mut self, carried: Vec<Carried>) {
        self.carried = carried;
    }

    /// The loads declared to come.
    pub fn expected(&self) -> &Timetable {
        &self.expected
    }

    fn ahead(&self) -> Ahead<'_> {
        self.expected.ahead(self.step_at, self.interval_us)
    }

    /// Foreign load of the partition at `position` in the step that is `steps` away (1: the
    /// next), declared loads included; `None` before the first one.
    pub fn predict(&self, position: usize, steps: usize) -> Option<Prediction> {
        let forecast = self.controller.forecasters()[position].predict(steps)?;
        Some(raised(forecast, self.ahead().load(position, steps)))
    }

    /// Foreign load of the partition at `position` in each of the next `steps` steps, declared
    /// loads included.
    pub fn path(&self, position: usize, steps: usize) -> Vec<Prediction> {
        let ahead = self.ahead();
        let path = self.controller.forecasters()[position].path(steps).into_iter();
        path.zip(1..).map(|(p, step)| raised(p, ahead.load(position, step))).collect()
    }

    /// How the policies have done lately.
    pub fn scores(&self) -> Option<Scores> {
        self.controller.scores()
    }

    /// How the step that ended at `at` was balanced; `None`: none ended then, or there was
    /// nothing to balance.
    pub fn balance_at(&self, at: pg_sys::TimestampTz) -> Option<Balance> {
        let foreign = self.foreign.iter().flatten().sum::<f64>();
        let load = self.own.iter().sum::<f64>() + foreign;
        let scores =
            self.controller.latest_scores().filter(|_| self.step_at == at && load > 0.0)?;
        let hindsight = self.controller.latest_hindsight().and_then(|(ago, oracle)| {
            let newest = self.ended.len().checked_sub(1 + ago)?;
            Some((self.ended[newest], oracle))
        });
        Some(Balance { load, scores, hindsight })
    }

    /// Foreign load of the last step, by position; `None`: missing.
    pub fn last_foreign(&self) -> &[Option<f64>] {
        &self.foreign
    }

    /// The time after which forecasts count: that of the last step; `None` before the first.
    pub fn stepped_at(&self) -> Option<pg_sys::TimestampTz> {
        self.at.map(|_| self.step_at)
    }

    /// Time between two steps, in microseconds.
    pub fn interval_us(&self) -> i64 {
        self.interval_us
    }

    /// Horizons of published forecasts, in steps.
    pub fn horizons(&self) -> Vec<usize> {
        horizons::published(self.interval_us as f64 / 1e6)
    }

    /// What is known of the keys by age.
    pub fn cohorts(&self) -> &cohort::Cohorts {
        self.controller.cohorts()
    }

    /// The forecasters of foreign load, by position.
    pub fn forecasters(&self) -> &[Forecaster] {
        self.controller.forecasters()
    }
}

/// A forecast with a declared load on top, or without what moves will have taken away.
fn raised(forecast: Prediction, declared: f64) -> Prediction {
    let [value, lo, hi] =
        [forecast.value, forecast.lo, forecast.hi].map(|v| (v + declared).max(0.0));
    Prediction { value, lo, hi }
}

/// Seconds since 1970, UTC.
fn unix_s(at: pg_sys::TimestampTz) -> f64 {
    unix_us(at) as f64 / 1e6
}

fn settings() -> Settings {
    let damping =
        Damping { gain: guc::GAIN.get(), dead_band: guc::DEAD_BAND.get(), ..Damping::default() };
    Settings { damping, ..Settings::default() }
}
