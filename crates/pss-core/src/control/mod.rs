//! One control step: what came in the last cycle in, shares of the next new keys out.
//!
//! Load splits into foreign load (forecast from its own past), load of keys placed earlier
//! (known by their ages) and load of keys still to come (to be shared out so that all partitions
//! come to a common utilization over the control window). It must never trust a forecast that
//! has not lately beaten placing by capacity alone: without skill, or without fresh data, shares
//! are capacity-proportional, but for loads that were declared: those are known, whatever
//! forecasts are worth.

mod declared;
mod paths;
mod shadows;
mod trust;

use crate::cohort::{self, Cohorts};
use crate::forecast::{self, Forecaster};
use crate::level::{AHEAD, CLASSES, Fill};
use crate::score;
use crate::weights::{self, Damping};
use paths::Paths;
use shadows::Shadows;
use trust::Trust;

pub use declared::{Ahead, Declaration, Timetable};
pub use shadows::Scores;

/// Cycles between two points of a published level, at most.
const LONGEST_STRIDE: usize = 8;

/// What one cycle brought, by partition.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Load of keys pss placed (cost units/s), exact.
    pub own: &'a [f64],
    /// All other load (cost units/s); `None` = not measured.
    pub foreign: &'a [Option<f64>],
    /// What of the foreign load had been declared (cost units/s, mean over the time measured);
    /// empty: nothing.
    pub declared: &'a [f64],
    /// New keys placed in this cycle, by partition and size class (`level::size_class`).
    pub placed: &'a [[f64; CLASSES]],
    /// Load that the partition can carry (any unit, common to all).
    pub capacity: &'a [f64],
    /// Whether it may take new keys.
    pub in_service: &'a [bool],
}

/// How to plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Off: load is expected to stay as it was last measured.
    pub forecast: bool,
    /// Cycles by which measured foreign load is older than own load.
    pub staleness: usize,
    /// Cycles without a measured foreign load after which a partition's is unknown.
    pub time_to_live: usize,
    /// Cycles before anything but capacity decides.
    pub warm_up: usize,
    /// Relative gain over capacity shares that a policy must have shown.
    pub margin: f64,
    /// How shares may change.
    pub damping: Damping,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            forecast: true,
            staleness: 0,
            time_to_live: 6,
            warm_up: 12,
            margin: 0.02,
            damping: Damping::default(),
        }
    }
}

/// Why the shares are what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Fewer cycles than `warm_up` have been seen.
    WarmingUp,
    /// No partition's foreign load has been measured lately.
    NoFreshData,
    /// Nothing has beaten capacity shares lately.
    NoSkill,
    /// As without skill, but a load is declared: shares by capacity over what it leaves.
    Declared,
    /// Water-filling on the last measured loads.
    Reactive,
    /// Water-filling on forecasts.
    Forecast,
}

impl Reason {
    /// The reason in words, for views and the decision log.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::WarmingUp => "warming up: shares by capacity",
            Reason::NoFreshData => "no fresh data: shares by capacity",
            Reason::NoSkill => "no skill: shares by capacity",
            Reason::Declared => "no skill: shares by capacity over declared loads",
            Reason::Reactive => "filling to a level by the last measured loads",
            Reason::Forecast => "filling to a level by forecasts",
        }
    }
}

/// Expected loads of one partition, mean over the control window (cost units/s).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Foreign load; not a number when unknown.
    pub foreign: f64,
    /// Load of keys placed earlier.
    pub committed: f64,
    /// All load, with the new keys by the plan's shares.
    pub level: f64,
    /// Bounds of `level`, from the interval of the foreign forecast.
    pub lo: f64,
    /// See `lo`.
    pub hi: f64,
}

/// What to do with the next new keys, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Share of the new keys for each partition (sum 1).
    pub shares: Vec<f64>,
    /// Whether the shares differ enough from the last published ones to begin an epoch.
    pub epoch_changed: bool,
    /// By partition.
    pub outlook: Vec<Outlook>,
    /// What is expected of each partition and key, for dispatch to a level; `None` where shares
    /// by capacity are all there is to go by.
    pub fill: Option<Fill>,
    /// Part of the expected differences in foreign load that dispatch to a level counts on, 0 to
    /// 1, by how far they lately came true.
    pub trust: f64,
    /// Control window in cycles.
    pub window: usize,
    /// kappa: controllable part of the load over the control window.
    pub authority: f64,
    /// lambda - 1 expected with these shares: below it new keys alone cannot bring the table.
    pub floor: f64,
    /// Why these shares.
    pub reason: Reason,
}

/// Foreign load as it was last measured.
#[derive(Debug, Clone, Copy)]
struct Measured {
    load: f64,
    /// What of it had been declared.
    declared: f64,
    /// Cycles since.
    age: usize,
}

/// What is expected of the cycles ahead, by partition.
struct View {
    /// Foreign load as last measured, but for what was declared.
    last: Vec<f64>,
    /// Control windows in cycles.
    windows: [usize; shadows::WINDOWS.len()],
    stride: usize,
    forecast: Paths,
    steady: Paths,
    /// By cycle.
    declared: Vec<Vec<f64>>,
    /// Foreign load over each window.
    means: [Vec<[f64; 3]>; shadows::WINDOWS.len()],
}

/// The control loop of one sharded table.
#[derive(Debug, Clone)]
pub struct Controller {
    cohorts: Cohorts,
    forecasters: Vec<Forecaster>,
    last_foreign: Vec<Option<Measured>>,
    own: Vec<f64>,
    /// Zero where out of service.
    capacity: Vec<f64>,
    published: Vec<f64>,
    shadows: Shadows,
    trust: Trust,
}

impl Controller {
    /// A table of `partitions` partitions of which nothing is known yet.
    pub fn new(partitions: usize, forecast: forecast::Config, cohort: cohort::Config) -> Self {
        Controller {
            cohorts: Cohorts::new(partitions, cohort),
            forecasters: vec![Forecaster::new(forecast); partitions],
            last_foreign: vec![None; partitions],
            own: vec![0.0; partitions],
            capacity: vec![1.0; partitions],
            published: Vec::new(),
            shadows: Shadows::new(partitions),
            trust: Trust::default(),
        }
    }

    /// Tells a partition's mean foreign load over `span_s` seconds from `start_s` (unix time), a
    /// time before the first cycle; oldest first.
    pub fn learn(&mut self, partition: usize, start_s: i64, span_s: u32, mean: f64) {
        if let Some(forecaster) = self.forecasters.get_mut(partition) {
            forecaster.learn(start_s, span_s, mean);
        }
    }

    /// Passes over cycles that are known to be missing and of which nothing else is to be
    /// noticed; time goes on for the forecasters.
    pub fn skip(&mut self, cycles: usize) {
        self.forecasters.iter_mut().for_each(|forecaster| forecaster.skip(cycles));
    }

    /// Adds keys older than all that are counted by age: what a restart finds in the row map.
    pub fn add_old(&mut self, keys: &[f64]) {
        self.cohorts.add_old(keys);
    }

    /// What is known of the keys by age.
    pub fn cohorts(&self) -> &Cohorts {
        &self.cohorts
    }

    /// The forecasters of foreign load, by partition.
    pub fn forecasters(&self) -> &[Forecaster] {
        &self.forecasters
    }

    /// The weights in force, from which the next shares are damped: known from the catalog after
    /// a restart, or when somebody else published.
    pub fn set_published(&mut self, weights: &[f64]) {
        self.published.clear();
        self.published.extend_from_slice(weights);
    }

    /// How the policies have done lately; `None` before the first score.
    pub fn scores(&self) -> Option<Scores> {
        self.shadows.scores()
    }

    /// What each policy came to in the cycle scored last; `None` before the first score.
    pub fn latest_scores(&self) -> Option<Scores> {
        self.shadows.latest()
    }

    /// Takes in one cycle.
    pub fn observe(&mut self, seen: &Observation<'_>, settings: &Settings) {
        for (i, forecaster) in self.forecasters.iter_mut().enumerate() {
            let foreign = seen.foreign.get(i).copied().flatten().filter(|load| load.is_finite());
            let declared = seen.declared.get(i).copied().unwrap_or(0.0);
            forecaster.push(foreign.map(|load| declared::without(load, declared)));
            self.last_foreign[i] = match (foreign, self.last_foreign[i]) {
                (Some(load), _) => Some(Measured { load, declared, age: 0 }),
                (None, last) => last.map(|m| Measured { age: m.age + 1, ..m }),
            };
            self.own[i] = seen.own.get(i).copied().unwrap_or(0.0);
        }
        self.set_capacity(seen.capacity, seen.in_service);
        self.cohorts.observe(seen.placed, seen.own);
        self.trust.measure(&self.last_undeclared(1), &self.capacity);
        let load = |last: &Option<Measured>| last.map_or(0.0, |m| m.load);
        let foreign: Vec<f64> = self.last_foreign.iter().map(load).collect();
        self.shadows.score(
            seen.placed.as_flattened().iter().sum(),
            self.own.iter().sum(),
            &self.cohorts.profile(),
            &foreign,
            &self.capacity,
            settings.staleness,
        );
    }

    /// Takes in what partitions can carry and whether they serve, between two cycles.
    pub fn set_capacity(&mut self, capacity: &[f64], in_service: &[bool]) {
        for (i, own) in self.capacity.iter_mut().enumerate() {
            let serves = in_service.get(i).copied().unwrap_or(true);
            let capacity = capacity.get(i).copied().unwrap_or(1.0);
            *own = if serves { capacity } else { 0.0 };
        }
    }

    /// Shares for the new keys to come, with what is expected of them; `ahead`: what has been
    /// declared of the cycles after the last one observed.
    pub fn plan(&mut self, ahead: &Ahead<'_>, settings: &Settings) -> Plan {
        let View { last, windows, stride, forecast, steady, declared, means } =
            self.look_ahead(ahead, settings);
        let paths = if settings.forecast { &forecast } else { &steady };
        let (reason, choice) = self.judge(&last, &declared, settings);
        let window = windows[choice];
        let (foreign, committed) = match reason {
            Reason::Forecast => (means[choice].clone(), self.cohorts.committed_over(window)),
            _ => (steady.means(&declared, window), self.own.clone()),
        };
        let volume = self.cohorts.controllable_over(window);
        let shares = match reason {
            Reason::Forecast | Reason::Reactive => {
                let base: Vec<f64> =
                    foreign.iter().zip(&committed).map(|([f, ..], c)| f + c).collect();
                self.towards(&base, volume, settings)
            }
            Reason::Declared => {
                self.towards(&paths::mean_declared(&declared, window), volume, settings)
            }
            _ => weights::capacity_shares(&self.capacity),
        };
        let outlook: Vec<Outlook> = (0..shares.len())
            .map(|i| {
                let own = committed[i] + shares[i] * volume;
                let [foreign, lo, hi] = foreign[i];
                let (level, lo, hi) = (foreign + own, lo + own, hi + own);
                Outlook { foreign, committed: committed[i], level, lo, hi }
            })
            .collect();
        let levels: Vec<f64> = outlook.iter().map(|o| o.level).collect();
        let own = volume + committed.iter().sum::<f64>();
        let dead_band = settings.damping.dead_band;
        let epoch_changed = weights::leaves_dead_band(&self.published, &shares, dead_band);
        if epoch_changed {
            self.published = shares;
        }
        Plan {
            shares: self.published.clone(),
            epoch_changed,
            outlook,
            fill: self.fill(reason, paths, &declared, stride),
            trust: self.trust.part(),
            window,
            authority: if own > 0.0 { (volume / own).clamp(0.0, 1.0) } else { 0.0 },
            floor: score::imbalance(&levels, &self.capacity),
            reason,
        }
    }

    /// Expects what [`Controller::plan`] would, for the scores to come, without a plan: what a
    /// replay of past cycles does after each.
    pub fn rehearse(&mut self, ahead: &Ahead<'_>, settings: &Settings) {
        self.look_ahead(ahead, settings);
    }

    /// What is expected, also by the policies that run in the shadow of the real one.
    fn look_ahead(&mut self, ahead: &Ahead<'_>, settings: &Settings) -> View {
        let last = self.last_undeclared(settings.time_to_live);
        let windows = shadows::window_lengths(&self.cohorts.profile());
        let stride = self.stride();
        let longest = windows.iter().copied().max().unwrap_or(1).max(stride * AHEAD);
        let forecast = Paths::forecast(&self.forecasters, &last, longest, settings.staleness);
        let steady = Paths::steady(&last, longest);
        let declared = paths::declared(ahead, last.len(), longest);
        let means = windows.map(|window| forecast.means(&declared, window));
        let next = steady.values(&declared, 1);
        self.shadows.plan(&self.cohorts, &next, &means, &self.capacity);
        let paths = if settings.forecast { &forecast } else { &steady };
        let life = (self.cohorts.profile().life().round() as usize).clamp(1, longest);
        self.trust.expect(life + settings.staleness, &paths.undeclared(life), &self.capacity);
        View { last, windows, stride, forecast, steady, declared, means }
    }

    /// A damped step from the published shares to those that level `base`.
    fn towards(&self, base: &[f64], volume: f64, settings: &Settings) -> Vec<f64> {
        let target = weights::water_fill(base, &self.capacity, volume);
        weights::damp(&self.published, &target, settings.damping.gain)
    }

    /// How far to trust forecasts, and the window in which they have done best.
    fn judge(&self, last: &[f64], declared: &[Vec<f64>], settings: &Settings) -> (Reason, usize) {
        if self.cohorts.cycles() < settings.warm_up {
            return (Reason::WarmingUp, 0);
        }
        if !last.iter().any(|load| load.is_finite()) {
            return (Reason::NoFreshData, 0);
        }
        let best = self.shadows.best_window(settings.margin).filter(|_| settings.forecast);
        match best {
            Some(window) => (Reason::Forecast, window),
            None if self.shadows.reacting_helps(settings.margin) => (Reason::Reactive, 0),
            // A key brings its load over its life: what is declared for that time concerns it.
            None if paths::any(declared) => (Reason::Declared, shadows::ONE_LIFE),
            None => (Reason::NoSkill, 0),
        }
    }

    /// Last measured foreign loads, less what was declared of them; not a number where too old.
    fn last_undeclared(&self, time_to_live: usize) -> Vec<f64> {
        let fresh = |last: &Option<Measured>| {
            let fresh = last.filter(|m| m.age < time_to_live);
            fresh.map_or(f64::NAN, |m| declared::without(m.load, m.declared))
        };
        self.last_foreign.iter().map(fresh).collect()
    }

    /// Cycles between two points of the published levels, which together span the time in which
    /// a key brings its load.
    fn stride(&self) -> usize {
        let span = 4.0 * self.cohorts.profile().life() / AHEAD as f64;
        (span.ceil() as usize).clamp(1, LONGEST_STRIDE)
    }

    /// What dispatch to a level needs. Foreign load counts as far as it can be trusted, and as
    /// level beyond; a partition's own keys, and what was declared, are known all the same.
    fn fill(
        &self,
        reason: Reason,
        paths: &Paths,
        declared: &[Vec<f64>],
        stride: usize,
    ) -> Option<Fill> {
        if matches!(reason, Reason::WarmingUp | Reason::NoFreshData) {
            return None;
        }
        let room: f64 = self.capacity.iter().sum();
        let mut fill = Fill {
            levels: vec![[0.0; AHEAD]; self.capacity.len()],
            keys: [[0.0; AHEAD]; CLASSES],
            capacity: self.capacity.iter().map(|&c| c as f32).collect(),
            scale: [1.0; AHEAD],
        };
        for point in 0..AHEAD {
            let ahead = 1 + point * stride;
            let foreign = paths.undeclared(ahead);
            let level = mean_utilization(&foreign, &self.capacity);
            let mut base = self.cohorts.committed(ahead);
            for (i, base) in base.iter_mut().enumerate() {
                let level = level * self.capacity[i];
                *base += level + self.trust.part() * (foreign[i] - level) + declared[i][ahead - 1];
            }
            let mean = mean_utilization(&base, &self.capacity);
            let to_come = self.cohorts.controllable(ahead) / room;
            for ((levels, &base), &capacity) in
                fill.levels.iter_mut().zip(&base).zip(&self.capacity)
            {
                let base = if base.is_finite() { base } else { mean * capacity };
                levels[point] = (base + to_come * capacity) as f32;
            }
            for (keys, profile) in fill.keys.iter_mut().zip(self.cohorts.profiles()) {
                keys[point] = profile.at(ahead - 1) as f32;
            }
            if mean + to_come > 0.0 {
                fill.scale[point] = (1.0 / (mean + to_come)) as f32;
            }
        }
        Some(fill)
    }
}

/// Load over capacity of the partitions in service whose load is known; 0 if there is none.
fn mean_utilization(load: &[f64], capacity: &[f64]) -> f64 {
    let known = load.iter().zip(capacity).filter(|(load, c)| load.is_finite() && **c > 0.0);
    let (load, room) = known.fold((0.0, 0.0), |(l, r), (load, c)| (l + load, r + c));
    if room > 0.0 { load / room } else { 0.0 }
}
