//! Forecasts of one load series, a few steps ahead, with an interval.
//!
//! A pool of cheap models runs beside last value; each is scored on what then really came, and used
//! only while it beats last value. A [`Forecaster`] must never look ahead: its answers at a step
//! depend on the values pushed until then and on nothing else, so replaying the same values
//! restores the same state.
//!
//! - `method`: names and values that users see; `models`: the pool
//! - `history`: the recent past by step; `calendar`: the coarse past by time of day and week
//! - `smoothing`, `ets`, `regression` on `features`, `seasonal`: the models; `period`, `search`: the
//!   season's length; `say`: what they all say
//! - `horizon`: what was said and what came, one horizon ahead; `selection`: scores and choice;
//!   `interval`: quantiles of past errors

mod calendar;
pub mod ets;
mod features;
mod history;
mod horizon;
mod interval;
mod method;
mod models;
mod period;
mod regression;
mod say;
mod search;
mod seasonal;
mod selection;
mod smoothing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use method::{Config, Method, Prediction, Score};

use calendar::Calendar;
use ets::Ets;
use history::History;
use horizon::{Horizon, Said};
use models::{DAY, MODELS, Model, NAIVE};
use period::PeriodFinder;
use search::Rejected;
use seasonal::Season;
use smoothing::Smoothers;

/// Models see loads cut here, far above any real one, so that squares stay finite.
const LARGEST: f64 = 1e15;
/// The farthest horizon that can be configured.
const LONGEST_HORIZON: usize = 1024;
/// Absolute numbers of steps are cut here, so that they can be reckoned with.
const FARTHEST_STEP: i64 = 1 << 40;
/// The usual step is a mean over about so many; one step counts as so many usual ones at most.
const SCALE_MEMORY: f64 = 100.0;
const SCALE_CUT: f64 = 8.0;

/// Forecasts one series. Give it every step, in order, and ask at any time.
#[derive(Debug, Clone)]
pub struct Forecaster {
    config: Config,
    /// The last known value, in the precision it came in.
    last: Option<f64>,
    /// Absolute number of the step it came at.
    last_step: i64,
    /// Times that a known value differed from the one before.
    moved: usize,
    /// The usual step: mean absolute difference of neighbouring known values.
    scale: f64,
    history: History,
    calendar: Calendar,
    smoothers: Smoothers,
    ets: Ets,
    finder: PeriodFinder,
    /// The models of the cycle, once a period is found.
    season: Option<Season>,
    /// Whether the last scan of the whole history found none; the next one must confirm it.
    doubted: bool,
    rejected: Rejected,
    /// Scored horizons, nearest first.
    horizons: Vec<Horizon>,
}

impl Forecaster {
    /// A forecaster that has seen nothing.
    pub fn new(config: Config) -> Self {
        let Config { mut horizons, .. } = config.clone();
        horizons.retain(|h| (1..=LONGEST_HORIZON).contains(h));
        horizons.sort_unstable();
        horizons.dedup();
        if horizons.is_empty() {
            horizons.push(1);
        }
        let step_s = if config.step_s > 0.0 { config.step_s } else { 1.0 };
        let first_step = config.first_step.clamp(-FARTHEST_STEP, FARTHEST_STEP);
        let coverage = config.coverage.clamp(0.5, 0.95);
        Forecaster {
            last: None,
            last_step: 0,
            moved: 0,
            scale: 0.0,
            history: History::new(),
            calendar: Calendar::new(step_s, horizons[horizons.len() - 1]),
            smoothers: Smoothers::new(),
            ets: Ets::new(),
            finder: PeriodFinder::new(),
            season: None,
            doubted: false,
            rejected: Rejected::default(),
            horizons: horizons.iter().map(|&steps| Horizon::new(steps)).collect(),
            config: Config { step_s, first_step, horizons, coverage, ..config },
        }
    }

    /// A forecaster in the state it has after these steps, oldest first.
    pub fn replay(config: Config, steps: impl IntoIterator<Item = Option<f64>>) -> Self {
        let mut forecaster = Forecaster::new(config);
        steps.into_iter().for_each(|step| forecaster.push(step));
        forecaster
    }

    /// Takes the mean load of `span_s` seconds from `start_s` on (unix time): what is known of the
    /// time before the first step. Times must not go backwards.
    pub fn learn(&mut self, start_s: i64, span_s: u32, mean: f64) {
        let Some(mean) = as_load(mean).map(|mean| mean.min(LARGEST)) else { return };
        if self.history.end() == 0 {
            self.judge_day(start_s as f64, mean as f32);
        }
        self.calendar.learn(start_s as f64, f64::from(span_s), mean);
    }

    /// Takes the load of the next step. `None` means missing: time passes and nothing is learnt.
    /// What is not a load (negative, not a number, infinite) is missing too.
    pub fn push(&mut self, load: Option<f64>) {
        let load = load.and_then(as_load);
        let step = self.history.end();
        let y = load.map_or(f32::NAN, |load| load.min(LARGEST) as f32);
        self.horizons.iter_mut().for_each(|horizon| horizon.settle(step, y));
        self.history.push(y);
        match load {
            Some(load) => self.observe(step, load, y),
            None => self.smoothers.skip(),
        }
        self.ets.observe(&self.history);
        if let Some(season) = &mut self.season {
            season.observe(&self.history, step);
        }
        if let Some(found) = self.finder.advance(self.history.values()) {
            self.consider(found);
        }
        self.choose(step);
        self.note(step);
    }

    /// Passes over steps whose loads are missing.
    pub fn skip(&mut self, steps: usize) {
        let felt = steps.min(history::CAPACITY);
        (0..felt).for_each(|_| self.push(None));
        if steps > felt {
            self.history.pass(steps - felt);
        }
    }

    /// The farthest horizon, in steps.
    pub fn farthest(&self) -> usize {
        self.horizons[self.horizons.len() - 1].steps
    }

    /// The forecast for `h` steps after the last one pushed; `None` before the first known value
    /// and for an `h` of 0 or beyond the farthest horizon.
    pub fn predict(&self, h: usize) -> Option<Prediction> {
        if h == 0 || h > self.farthest() {
            return None;
        }
        self.predict_within(h, |at| self.quantiles(at))
    }

    /// What one method says for `h` steps ahead; `None` where [`Forecaster::predict`] gives none.
    /// Of its parameter sets the one that lately did best speaks; a method that knows nothing yet
    /// (no period found) says the last value.
    pub fn predict_by(&self, method: Method, h: usize) -> Option<f64> {
        if h == 0 || h > self.farthest() {
            return None;
        }
        self.value_at(h, |at| self.best_of(method, at))
    }

    /// Forecasts for 1, 2, ... `h_max` steps ahead, as [`Forecaster::predict`] gives them; empty
    /// before the first known value. `h_max` is cut to the farthest horizon.
    pub fn path(&self, h_max: usize) -> Vec<Prediction> {
        let h_max = h_max.min(self.farthest());
        let quantiles: Vec<_> = (0..=self.scored(h_max)).map(|at| self.quantiles(at)).collect();
        (1..=h_max).map_while(|h| self.predict_within(h, |at| quantiles[at])).collect()
    }

    /// The method in use for the next step.
    pub fn method(&self) -> Method {
        self.method_at(1)
    }

    /// The method in use for `h` steps ahead; that of the farthest horizon for any beyond.
    pub fn method_at(&self, h: usize) -> Method {
        MODELS[self.in_use(self.scored(h))].method()
    }

    /// The season's length in steps, if one is found.
    pub fn period(&self) -> Option<f64> {
        self.season.as_ref().map(|season| season.period)
    }

    /// Recent errors relative to last value, per method and scored horizon; what has too little
    /// evidence is left out.
    pub fn scores(&self) -> Vec<Score> {
        let mut scores = Vec::new();
        for (at, horizon) in self.horizons.iter().enumerate() {
            scores.extend(Method::ALL.into_iter().filter_map(|method| {
                let ratio = horizon.records.ratio(self.best_of(method, at))?;
                Some(Score { method, horizon: horizon.steps, relative_error: ratio.into() })
            }));
        }
        scores
    }

    /// Bytes of memory it takes: itself and what it owns.
    pub fn bytes(&self) -> usize {
        size_of_val(self)
            + size_of::<usize>() * self.config.horizons.capacity()
            + size_of::<Horizon>() * self.horizons.capacity()
            + self.horizons.iter().map(Horizon::bytes).sum::<usize>()
            + self.history.bytes()
            + self.calendar.bytes()
            + self.finder.bytes()
    }

    /// Takes a known load into all that learns from it at once; `y` is what models see of it.
    fn observe(&mut self, step: usize, load: f64, y: f32) {
        // A load that stands still says nothing about how far it goes when it moves.
        if let Some(last) = self.last.filter(|&last| last != load) {
            let difference = (load - last).abs().min(LARGEST);
            let cut = if self.moved < 10 { difference } else { SCALE_CUT * self.scale };
            self.moved += 1;
            let share = (1.0 / self.moved as f64).max(1.0 / SCALE_MEMORY);
            self.scale += share * (difference.min(cut) - self.scale);
        }
        self.smoothers.observe(y);
        self.last_step = self.absolute(step);
        self.calendar.observe(self.last_step, y);
        self.last = Some(load);
    }

    /// Scores the mean day on a coarse mean, as far as one tells of a horizon: what is known of
    /// the past makes it trusted from the first step on. Of other models nothing is known.
    fn judge_day(&mut self, start_s: f64, mean: f32) {
        let to = (start_s / self.config.step_s) as i64;
        for horizon in &mut self.horizons {
            let from = to.saturating_sub(horizon.steps as i64);
            let Some(last) = self.calendar.mean_at(from, to) else { continue };
            let day = (last + self.calendar.moves(from, to).day).max(0.0);
            let mut errors = [(mean - last).abs(); MODELS.len()];
            errors[DAY] = (mean - day).abs();
            horizon.records.add(&errors);
        }
    }

    /// Chooses the model for each scored horizon. One that is not scored yet follows the next
    /// shorter one.
    fn choose(&mut self, step: usize) {
        for at in 0..self.horizons.len() {
            let chosen = match self.config.method {
                Some(method) => self.best_of(method, at),
                None => {
                    let shorter = self.horizons[at.saturating_sub(1)].chosen;
                    let horizon = &self.horizons[at];
                    horizon.records.choose(horizon.chosen).unwrap_or(shorter)
                }
            };
            self.horizons[at].chosen = chosen;
            self.horizons[at].refit(step);
        }
    }

    /// The model in use at a scored horizon. One method asked for is used in any case.
    fn in_use(&self, at: usize) -> usize {
        let horizon = &self.horizons[at];
        if self.config.method.is_some() { horizon.chosen } else { horizon.in_use() }
    }

    /// Of the models of a method, the one that lately did best at a scored horizon.
    fn best_of(&self, method: Method, at: usize) -> usize {
        let Horizon { records, steps, .. } = &self.horizons[at];
        let answers = |model: &usize| match MODELS[*model] {
            model @ (Model::Cycle(_) | Model::Day) => !self.plain(model, *steps).is_nan(),
            _ => true,
        };
        let of = || (0..MODELS.len()).filter(|model| MODELS[*model].method() == method);
        let best =
            of().filter(answers).min_by(|&a, &b| records.error(a).total_cmp(&records.error(b)));
        best.or_else(|| of().next()).unwrap_or(NAIVE)
    }

    /// Writes down what is said at `step` at each horizon whose turn it is.
    fn note(&mut self, step: usize) {
        if self.last.is_none() {
            return;
        }
        for at in 0..self.horizons.len() {
            if !self.horizons[at].is_origin(step) {
                continue;
            }
            let h = self.horizons[at].steps;
            let features = self.origin().features(h);
            let models = self.all_say(at, self.regressed(at, &features));
            let (scale, in_use) = (self.usual_step(), self.in_use(at));
            let horizon = &mut self.horizons[at];
            let of = |model: usize| {
                if models[model].is_nan() { models[NAIVE] } else { models[model] }
            };
            let (chosen, issued) = (of(horizon.chosen), of(in_use));
            horizon.note(step, Said { scale, features, models, chosen, issued });
        }
    }

    /// Index of the scored horizon that stands for `h`: the first not shorter.
    fn scored(&self, h: usize) -> usize {
        self.horizons.partition_point(|scored| scored.steps < h).min(self.horizons.len() - 1)
    }

    /// The prediction for `h`, its interval taken from the quantiles of the errors at the scored
    /// horizons around it.
    fn predict_within(
        &self,
        h: usize,
        quantiles: impl Fn(usize) -> Option<(f64, f64)>,
    ) -> Option<Prediction> {
        let at = self.scored(h);
        let far = self.horizons[at].steps;
        let value = self.value_at(h, |at| self.in_use(at))?;
        let right = quantiles(at);
        let (lo, hi) = match (right, far == h || at == 0) {
            // Nothing is known of the errors yet: as much as the value itself.
            (None, _) => (-value, value),
            (Some(right), true) => right,
            (Some(right), false) => {
                let near = self.horizons[at - 1].steps;
                let part = (h - near) as f64 / (far - near) as f64;
                let left = quantiles(at - 1).unwrap_or(right);
                (left.0 + part * (right.0 - left.0), left.1 + part * (right.1 - left.1))
            }
        };
        let (lo, hi) = ((value + lo).clamp(0.0, value), (value + hi).clamp(value, f64::MAX));
        Some(Prediction { value, lo, hi })
    }

    /// Error quantiles at a scored horizon. Where too few errors are known, those of a shorter
    /// horizon, widened as a random walk's.
    fn quantiles(&self, at: usize) -> Option<(f64, f64)> {
        (0..=at).rev().find_map(|shorter| {
            let (lo, hi) = self.horizons[shorter].errors.interval(self.config.coverage)?;
            let steps = |at: usize| self.horizons[at].steps as f64;
            let widen = (steps(at) / steps(shorter)).sqrt();
            Some((lo * widen, hi * widen))
        })
    }
}

/// A number as a load; `None` if it is none.
fn as_load(y: f64) -> Option<f64> {
    (y.is_finite() && y >= 0.0).then_some(y)
}
