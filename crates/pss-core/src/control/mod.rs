//! One control step: what came in the last cycle in, shares of the next new keys out.
//!
//! Load splits into foreign load (forecast from its own past), load of keys placed earlier
//! (known by their ages) and load of keys still to come (to be shared out so that all partitions
//! come to a common utilization over the control window). It must never trust a forecast that
//! has not lately beaten placing by capacity alone: without skill, or without fresh data, shares
//! are capacity-proportional, but for loads that were declared: those are known, whatever
//! forecasts are worth.

mod adjust;
mod declared;
mod hindsight;
mod levels;
mod paths;
mod schedule;
mod shadows;
mod trust;
mod tune;
mod values;

use crate::cohort::{self, Cohorts};
use crate::forecast::{self, Forecaster};
use crate::level::AHEAD;
use crate::score;
use crate::weights;
use levels::Sight;
use paths::Paths;
use schedule::{Blocks, Problem, Schedule};
use shadows::{Choice, Shadows};
use trust::Trust;
use tune::Tuner;

pub use adjust::{Adjustment, Cause, Coefficient};
pub use declared::{Ahead, Declaration, Timetable, Transfer};
pub use shadows::Scores;
pub use values::{Observation, Outlook, Plan, Reason, Settings};

/// New keys a partition and cycle from which on shares alone place them evenly.
const ENOUGH_KEYS: f64 = 8.0;

/// Foreign load as it was last measured.
#[derive(Debug, Clone, Copy)]
struct Measured {
    load: f64,
    /// What of it had been declared.
    declared: f64,
    /// Cycles since.
    age: usize,
}

/// What is expected of the cycles ahead, by partition, and what to make of it.
struct View {
    reason: Reason,
    /// Position of the control window.
    choice: usize,
    /// The control window, in cycles.
    window: usize,
    /// Foreign load over the control window: value, lower and upper end of the interval.
    foreign: Vec<[f64; 3]>,
    adjustments: Vec<Adjustment>,
    stride: usize,
    /// The time that is planned, and the foreign load by cycle then; empty: nothing is planned.
    blocks: Blocks,
    trusted: Vec<Vec<f64>>,
    forecast: Paths,
    steady: Paths,
    /// By cycle.
    declared: Vec<Vec<f64>>,
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
    /// Position and length in cycles of the control window of the last plan on forecasts.
    window: Option<(usize, usize)>,
    hottest: f64,
    schedule: Schedule,
    tuner: Tuner,
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
            window: None,
            schedule: Schedule::default(),
            tuner: Tuner::new(partitions),
            hottest: 0.0,
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

    /// The part of the own load, 0 to 1, that the hottest key brings to one partition: of the plans
    /// to come the floor depends on it.
    pub fn set_hottest(&mut self, share: f64) {
        self.hottest = share.clamp(0.0, 1.0);
    }

    /// How the policies have done lately; `None` before the first score.
    pub fn scores(&self) -> Option<Scores> {
        self.shadows.scores()
    }

    /// What each policy came to in the cycle scored last; `None` before the first score.
    pub fn latest_scores(&self) -> Option<Scores> {
        self.shadows.latest()
    }

    /// What the best placement in hindsight came to in the cycle it could judge last, and how many
    /// cycles before the last one observed that was (0: this one).
    pub fn latest_hindsight(&self) -> Option<(usize, f64)> {
        self.shadows.latest_hindsight()
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
        let arrivals = seen.placed.as_flattened().iter().sum();
        let (profile, staleness) = (self.cohorts.profile(), settings.staleness);
        let (own, capacity) = (&self.own, &self.capacity);
        self.shadows.score(arrivals, own, &profile, &foreign, capacity, staleness);
        let cycle = (arrivals, own.iter().sum());
        self.tuner.score(cycle, &profile, &foreign, capacity, staleness);
    }

    /// Takes in what partitions can carry and whether they serve, between two cycles.
    pub fn set_capacity(&mut self, capacity: &[f64], in_service: &[bool]) {
        for (i, own) in self.capacity.iter_mut().enumerate() {
            let serves = in_service.get(i).copied().unwrap_or(true);
            let capacity = capacity.get(i).copied().unwrap_or(1.0);
            *own = if serves { capacity } else { 0.0 };
        }
    }

    /// Takes in that `keys` keys placed earlier have moved from one partition to another: what they
    /// will bring goes with them.
    pub fn carry(&mut self, from: usize, to: usize, keys: f64) {
        self.cohorts.carry(from, to, keys);
    }

    /// Shares for the new keys to come, with what is expected of them; `ahead`: what has been
    /// declared of the cycles after the last one observed.
    pub fn plan(&mut self, ahead: &Ahead<'_>, settings: &Settings) -> Plan {
        let mut view = self.look_ahead(ahead, settings);
        let mut adjustments = std::mem::take(&mut view.adjustments);
        let View { reason, choice, window, stride, forecast, steady, declared, foreign, .. } =
            &view;
        let (reason, choice, window) = (*reason, *choice, *window);
        let paths = if settings.forecast { forecast } else { steady };
        let tuning = self.tuner.tuning(&settings.damping);
        let committed = self.cohorts.committed_over(window);
        let volume = self.cohorts.controllable_over(window);
        let shares = match reason {
            // The plan may have been best until keys lived less than a cycle: then none is made.
            Reason::Planned if !view.trusted.is_empty() => self.planned(&view),
            Reason::Planned | Reason::Forecast | Reason::Reactive => {
                let foreign = foreign.iter().map(|foreign| tuning.cautious(foreign));
                let base: Vec<f64> = foreign.zip(&committed).map(|(f, c)| f + c).collect();
                self.towards(&base, volume, tuning.gain, settings)
            }
            Reason::Declared => {
                // What a move takes away counts only where loads are known.
                let base: Vec<f64> = paths::mean_declared(declared, window)
                    .iter()
                    .map(|load| load.max(0.0))
                    .collect();
                self.towards(&base, volume, settings.damping.gain, settings)
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
        let tuned = matches!(reason, Reason::Forecast | Reason::Reactive);
        let dead_band = if tuned { tuning.dead_band } else { settings.damping.dead_band };
        let epoch_changed = weights::leaves_dead_band(&self.published, &shares, dead_band);
        if epoch_changed {
            self.published = shares;
        }
        let known = !matches!(reason, Reason::WarmingUp | Reason::NoFreshData);
        let by_shares = matches!(reason, Reason::Planned | Reason::Forecast | Reason::Reactive);
        let by_quota = self.is_per_row() || by_shares && self.are_alike();
        let sight = Sight {
            paths,
            declared,
            trust: self.trust.part(),
            cohorts: &self.cohorts,
            capacity: &self.capacity,
        };
        let fill = (known && !by_quota).then(|| levels::levels(&sight, *stride));
        if reason == Reason::Forecast {
            adjustments.extend(self.window_adjusted(choice, window));
        }
        Plan {
            shares: self.published.clone(),
            epoch_changed,
            outlook,
            fill,
            trust: self.trust.part(),
            window,
            authority: if own > 0.0 { (volume / own).clamp(0.0, 1.0) } else { 0.0 },
            floor: score::floor(&levels, &self.capacity, self.hottest * own),
            reason,
            adjustments,
        }
    }

    /// Whether keys bring their load in the very cycle in which they come: then shares level it,
    /// and filling to a level would send the first keys of each cycle all to one partition.
    fn is_per_row(&self) -> bool {
        self.cohorts.profile().life() < 1.0
    }

    /// Whether one key is as good as another, and there are enough of them for shares to be exact:
    /// then shares spread them evenly over the cycle, too. Sizes and single keys are better seen
    /// by dispatch to a level.
    fn are_alike(&self) -> bool {
        let enough = ENOUGH_KEYS * self.capacity.len() as f64;
        !self.cohorts.sized() && self.cohorts.arrivals() >= enough
    }

    /// The shares of the next cycle in a plan over the time that keys live.
    fn planned(&mut self, view: &View) -> Vec<f64> {
        let ahead = shadows::Ahead { blocks: &view.blocks, foreign: &view.trusted };
        let profile = self.cohorts.profile();
        let own = |cycle| self.cohorts.committed(cycle);
        self.schedule.plan(&Problem {
            blocks: &view.blocks,
            base: &shadows::base(&ahead, &self.capacity, own),
            profile: &profile,
            arrivals: self.cohorts.arrivals(),
            capacity: &self.capacity,
        })
    }

    /// The change of the control window since the last plan on forecasts, if there is one.
    fn window_adjusted(&mut self, choice: usize, window: usize) -> Option<Adjustment> {
        let (before, from) = self.window.replace((choice, window))?;
        if from == window {
            return None;
        }
        let cause = if before == choice {
            Cause::KeyLife { life: self.cohorts.profile().life() }
        } else {
            self.shadows.why_window(before, choice)?
        };
        let (from, to) = (from as f64, window as f64);
        Some(Adjustment { coefficient: Coefficient::Window, from, to, cause })
    }

    /// Expects what [`Controller::plan`] would, for the scores to come, without a plan: what a
    /// replay of past cycles does after each.
    pub fn rehearse(&mut self, ahead: &Ahead<'_>, settings: &Settings) {
        self.look_ahead(ahead, settings);
    }

    /// What is expected, also by the policies that run in the shadow of the real one.
    fn look_ahead(&mut self, ahead: &Ahead<'_>, settings: &Settings) -> View {
        let last = self.last_undeclared(settings.time_to_live);
        let profile = self.cohorts.profile();
        let windows = shadows::window_lengths(&profile);
        let stride = levels::stride(&self.cohorts);
        let farthest = self.forecasters.first().map_or(1, Forecaster::farthest);
        let foreseen = farthest.saturating_sub(settings.staleness);
        let blocks = Blocks::new(&profile, last.len(), foreseen);
        let longest = windows.iter().copied().max().unwrap_or(1);
        let longest = longest.max(stride * AHEAD).max(blocks.cycles());
        let forecast = Paths::forecast(&self.forecasters, &last, longest, settings.staleness);
        let steady = Paths::steady(&last, longest);
        let declared = paths::declared(ahead, last.len(), longest);
        let means = windows.map(|window| forecast.means(&declared, window));
        let next = steady.values(&declared, 1);
        let trust = self.trust.part();
        let trusted = |ahead| levels::trusted(&forecast, &declared, trust, &self.capacity, ahead);
        let planning = settings.planning && settings.forecast && !self.is_per_row();
        let cycles = if planning { blocks.cycles() } else { 0 };
        let trusted: Vec<Vec<f64>> = (1..=cycles).map(trusted).collect();
        let seen = shadows::Ahead { blocks: &blocks, foreign: &trusted };
        let seen = planning.then_some(&seen);
        self.shadows.plan(&self.cohorts, &next, &means, seen, &self.capacity);
        let paths = if settings.forecast { &forecast } else { &steady };
        let life = (profile.life().round() as usize).clamp(1, longest);
        self.trust.expect(life + settings.staleness, &paths.undeclared(life), &self.capacity);
        let (reason, choice) = self.judge(&last, &declared, settings);
        let window = windows[choice];
        let foreign = match reason {
            Reason::Forecast | Reason::Planned => means[choice].clone(),
            _ => steady.means(&declared, window),
        };
        let volume = self.cohorts.controllable_over(window);
        let (later, damping) = (profile.over(window), &settings.damping);
        self.tuner.plan(&foreign, &later, volume, &self.capacity, damping);
        let tuned = matches!(reason, Reason::Forecast | Reason::Reactive);
        let adjusted = if tuned { self.tuner.adjust(damping) } else { None };
        let adjustments = adjusted.into_iter().collect();
        View {
            reason,
            choice,
            window,
            foreign,
            adjustments,
            stride,
            blocks,
            trusted,
            forecast,
            steady,
            declared,
        }
    }

    /// A step of the way from the published shares to those that level `base`, within what
    /// partitions can carry.
    fn towards(&self, base: &[f64], volume: f64, gain: f64, settings: &Settings) -> Vec<f64> {
        let target = weights::water_fill(base, &self.capacity, volume);
        let utilization =
            mean_utilization(base, &self.capacity) + volume / self.capacity.iter().sum::<f64>();
        // A table that is used by more than it can carry is overloaded, or its capacity has
        // another unit than its load: then it limits nothing.
        let limited = if utilization < 1.0 {
            weights::clamp(&target, &self.capacity, utilization, settings.damping.clamp)
        } else {
            target
        };
        weights::damp(&self.published, &limited, gain)
    }

    /// How far to trust forecasts, and the window in which they have done best.
    fn judge(&self, last: &[f64], declared: &[Vec<f64>], settings: &Settings) -> (Reason, usize) {
        if self.cohorts.cycles() < settings.warm_up {
            return (Reason::WarmingUp, 0);
        }
        if !last.iter().any(|load| load.is_finite()) {
            return (Reason::NoFreshData, 0);
        }
        let best = self.shadows.best(settings.margin).filter(|_| settings.forecast);
        match best {
            Some(Choice::Window(window)) => (Reason::Forecast, window),
            Some(Choice::Planned) => (Reason::Planned, shadows::ONE_LIFE),
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
}

/// Load over capacity of the partitions in service whose load is known; 0 if there is none.
fn mean_utilization(load: &[f64], capacity: &[f64]) -> f64 {
    let known = load.iter().zip(capacity).filter(|(load, c)| load.is_finite() && **c > 0.0);
    let (load, room) = known.fold((0.0, 0.0), |(l, r), (load, c)| (l + load, r + c));
    if room > 0.0 { load / room } else { 0.0 }
}
