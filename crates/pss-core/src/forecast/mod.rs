//! Forecasts of one load series, a few steps ahead, with an interval.
//!
//! A small pool of cheap models runs beside last value; each is scored on what then really came
//! and used only while it beats last value. A [`Forecaster`] must never look ahead: its answers
//! at a step depend on the values pushed until then and on nothing else, so replaying the same
//! values restores the same state.
//!
//! - `history`: the bounded past, by step number
//! - `smoothing`, `seasonal`: the models; `period`: the season's length
//! - `selection`: scores and choice; `interval`: quantiles of past errors

mod history;
mod interval;
mod period;
mod seasonal;
mod selection;
mod smoothing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use history::History;
use interval::Errors;
use period::PeriodFinder;
use seasonal::Season;
use selection::Records;
use smoothing::{Levels, Smoother, Smoothers};

/// A model with its parameters; each is scored by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Smoother(Smoother),
    /// The seasonal model, by index of its parameters.
    Seasonal(usize),
}

const MODELS: [Model; 9] = [
    Model::Smoother(Smoother::Naive),
    Model::Smoother(Smoother::Median),
    Model::Smoother(Smoother::Ses(0)),
    Model::Smoother(Smoother::Ses(1)),
    Model::Smoother(Smoother::Ses(2)),
    Model::Smoother(Smoother::Holt(0)),
    Model::Smoother(Smoother::Holt(1)),
    Model::Seasonal(0),
    Model::Seasonal(1),
];
/// The first of the seasonal models, which are last.
const FIRST_SEASONAL: usize = MODELS.len() - seasonal::SHAPE_COUNT;

/// Loads are cut here, far above any real one, so that squares stay finite.
const LARGEST: f64 = 1e15;
/// The farthest horizon that can be configured.
const LONGEST_HORIZON: usize = 192;
/// Steps of the past on which a season found just now is judged.
const TRIAL_STEPS: usize = 40;
/// Two scans whose periods differ by less than this share agree.
const SAME_PERIOD: f64 = 0.03;

/// A forecasting method, by the name that users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// The last value.
    Naive,
    /// The median of the last five values.
    Median,
    /// Simple exponential smoothing.
    Ses,
    /// Holt's linear trend, damped.
    Holt,
    /// Past cycles plus the recent offset from them.
    Seasonal,
}

impl Method {
    /// All methods, the simplest first.
    pub const ALL: [Method; 5] =
        [Method::Naive, Method::Median, Method::Ses, Method::Holt, Method::Seasonal];

    /// The method of this name; `None` if there is none.
    pub fn from_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    /// The name as it stands in views: naive, median, ses, holt, seasonal.
    pub fn name(self) -> &'static str {
        match self {
            Method::Naive => "naive",
            Method::Median => "median",
            Method::Ses => "ses",
            Method::Holt => "holt",
            Method::Seasonal => "seasonal",
        }
    }
}

impl Model {
    fn method(self) -> Method {
        match self {
            Model::Smoother(Smoother::Naive) => Method::Naive,
            Model::Smoother(Smoother::Median) => Method::Median,
            Model::Smoother(Smoother::Ses(_)) => Method::Ses,
            Model::Smoother(Smoother::Holt(_)) => Method::Holt,
            Model::Seasonal(_) => Method::Seasonal,
        }
    }
}

/// Settings of a [`Forecaster`].
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Seconds between two steps.
    pub step_s: f64,
    /// Absolute number of the first step that will be pushed: its unix time / `step_s`. It gives
    /// each step its time of day.
    pub first_step: i64,
    /// Horizons at which models are scored and chosen, in steps, ascending, each in 1..=192; those
    /// in between follow from them. The last is the farthest that can be asked for.
    pub horizons: Vec<usize>,
    /// Share of coming values that an interval should hold; cut to 0.5..=0.95.
    pub coverage: f64,
    /// The one method to use; `None`: at each horizon the one that lately was best.
    pub method: Option<Method>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            step_s: 10.0,
            first_step: 0,
            horizons: vec![1, 2, 3, 6, 12, 24, 48, 90],
            coverage: 0.8,
            method: None,
        }
    }
}

/// A forecast for one step. All three are finite, not negative, and `lo <= value <= hi`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// The load expected.
    pub value: f64,
    /// Lower end of the interval.
    pub lo: f64,
    /// Upper end of the interval.
    pub hi: f64,
}

/// Recent error of a method at a horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The method; of its parameter sets, the best.
    pub method: Method,
    /// Steps ahead.
    pub horizon: usize,
    /// Discounted mean absolute error, divided by last value's over the same steps.
    pub relative_error: f64,
}

/// Forecasts one series. Give it every step, in order, and ask at any time.
#[derive(Debug, Clone)]
pub struct Forecaster {
    config: Config,
    /// Horizons at which models are scored and chosen: 1, 2, 3, then doubling, then the last.
    horizons: Vec<usize>,
    /// The last known value, in the precision it came in.
    last: Option<f64>,
    history: History,
    smoothers: Smoothers,
    /// Levels after each of the last steps: what was known at origin `o` is at `o % len`.
    origins: Vec<Levels>,
    finder: PeriodFinder,
    /// The seasonal models, once a period is found.
    season: Option<Season>,
    /// A different period that one scan has proposed and the next one must confirm.
    proposed: Option<f64>,
    records: Records<{ MODELS.len() }>,
    /// Model in use, by scored horizon.
    chosen: Vec<usize>,
    /// Forecasts issued and not yet due, by scored horizon `h`: the one for step `s` is at
    /// `s % h`, which is also where the one for `s + h` goes when `s` has come.
    issued: Vec<Vec<f32>>,
    /// Errors of issued forecasts, by scored horizon.
    errors: Vec<Errors>,
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
        let farthest = horizons[horizons.len() - 1];
        let coverage = config.coverage.clamp(0.5, 0.95);
        let config = Config { horizons: horizons.clone(), coverage, ..config };
        Forecaster {
            last: None,
            history: History::new(),
            smoothers: Smoothers::new(),
            origins: vec![Levels::UNKNOWN; farthest + 1],
            finder: PeriodFinder::new(),
            season: None,
            proposed: None,
            records: Records::new(&horizons),
            chosen: vec![0; horizons.len()],
            issued: horizons.iter().map(|&h| vec![f32::NAN; h]).collect(),
            errors: vec![Errors::new(); horizons.len()],
            horizons,
            config,
        }
    }

    /// A forecaster in the state it has after these steps, oldest first.
    pub fn replay(config: Config, steps: impl IntoIterator<Item = Option<f64>>) -> Self {
        let mut forecaster = Forecaster::new(config);
        steps.into_iter().for_each(|step| forecaster.push(step));
        forecaster
    }

    /// Takes the load of the next step. `None` means missing: time passes and nothing is learnt.
    /// What is not a load (negative, not a number, infinite) is missing too.
    pub fn push(&mut self, load: Option<f64>) {
        let load = load.filter(|y| y.is_finite() && *y >= 0.0).map(|y| y.min(LARGEST));
        let step = self.history.end();
        if let Some(load) = load {
            self.score(step, load as f32);
            self.history.push(load as f32);
            self.smoothers.observe(load as f32);
            self.last = Some(load);
        } else {
            self.history.push(f32::NAN);
            self.smoothers.skip();
        }
        let len = self.origins.len();
        self.origins[step % len] = self.smoothers.levels();
        if let Some(season) = &mut self.season {
            season.observe(&self.history, step);
        }
        if let Some(found) = self.finder.advance(self.history.values()) {
            self.consider(found);
        }
        self.choose();
        self.issue(step);
    }

    /// Passes over steps whose loads are missing.
    pub fn skip(&mut self, steps: usize) {
        (0..steps.min(history::CAPACITY)).for_each(|_| self.push(None));
    }

    /// The farthest horizon, in steps.
    pub fn farthest(&self) -> usize {
        self.horizons[self.horizons.len() - 1]
    }

    /// What one method says for `h` steps ahead; `None` where [`Forecaster::predict`] gives none.
    /// A method that knows nothing yet (no period found) says the last value.
    pub fn predict_by(&self, method: Method, h: usize) -> Option<f64> {
        if h == 0 || h > self.farthest() {
            return None;
        }
        let of = |model: &usize| MODELS[*model].method() == method;
        let ratio = |model: usize| self.records.ratio(self.scored(h), model).unwrap_or(f32::MAX);
        let best = (0..MODELS.len()).filter(of).min_by(|&a, &b| ratio(a).total_cmp(&ratio(b)));
        self.value_of(best.unwrap_or(0), h)
    }

    /// The forecast for `h` steps after the last one pushed; `None` before the first known value
    /// and for an `h` of 0 or beyond the farthest horizon.
    pub fn predict(&self, h: usize) -> Option<Prediction> {
        if h == 0 || h > self.farthest() {
            return None;
        }
        self.predict_within(h, |at| self.quantiles(at))
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
        MODELS[self.chosen[0]].method()
    }

    /// The method in use for `h` steps ahead; that of the farthest horizon for any beyond.
    pub fn method_at(&self, h: usize) -> Method {
        MODELS[self.chosen[self.scored(h)]].method()
    }

    /// The season's length in steps, if one is found.
    pub fn period(&self) -> Option<f64> {
        self.season.as_ref().map(|season| season.period)
    }

    /// Recent errors relative to last value, per method and scored horizon; what has too little
    /// evidence is left out.
    pub fn scores(&self) -> Vec<Score> {
        let mut scores: Vec<Score> = Vec::new();
        for (at, &horizon) in self.horizons.iter().enumerate() {
            for (index, model) in MODELS.iter().enumerate() {
                let Some(ratio) = self.records.ratio(at, index) else { continue };
                let (method, relative_error) = (model.method(), f64::from(ratio));
                match scores.iter_mut().find(|s| s.method == method && s.horizon == horizon) {
                    Some(score) => score.relative_error = score.relative_error.min(relative_error),
                    None => scores.push(Score { method, horizon, relative_error }),
                }
            }
        }
        scores
    }

    /// Bytes of memory it takes: itself and what it owns.
    pub fn bytes(&self) -> usize {
        let ring = |ring: &Vec<f32>| size_of_val(ring) + size_of::<f32>() * ring.capacity();
        size_of_val(self)
            + size_of::<usize>() * (3 * self.horizons.capacity())
            + size_of::<Levels>() * self.origins.capacity()
            + size_of::<Errors>() * self.errors.capacity()
            + self.history.bytes()
            + self.finder.bytes()
            + self.records.bytes()
            + self.season.as_ref().map_or(0, Season::bytes)
            + self.issued.iter().map(ring).sum::<usize>()
    }

    /// Scores every forecast that was made for `step`, whose value is now known.
    fn score(&mut self, step: usize, y: f32) {
        for (at, &h) in self.horizons.iter().enumerate() {
            let Some(origin) = step.checked_sub(h) else { break };
            let levels = &self.origins[origin % self.origins.len()];
            let naive = (y - levels.forecast(Smoother::Naive, h)).abs();
            if naive.is_nan() {
                continue;
            }
            let issued = self.issued[at][step % h];
            if !issued.is_nan() && step.is_multiple_of(error_stride(h)) {
                self.errors[at].push(y - issued);
            }
            for (index, model) in MODELS.iter().enumerate() {
                let forecast = match *model {
                    Model::Smoother(smoother) => levels.forecast(smoother, h),
                    Model::Seasonal(shape) => self.seasonal(shape, origin, h),
                };
                if !forecast.is_nan() {
                    self.records.add(at, index, (y - forecast.max(0.0)).abs(), naive);
                }
            }
        }
    }

    /// Weighs what a scan for the period found against what is in use.
    fn consider(&mut self, found: Option<f64>) {
        let agrees = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= (SAME_PERIOD * b).max(0.5),
            (None, None) => true,
            _ => false,
        };
        let current = self.period();
        if agrees(found, current) {
            if let (Some(season), Some(period)) = (&mut self.season, found) {
                season.period = period;
            }
        } else if current.is_none() || agrees(found, self.proposed) {
            let origins = self.origins.len();
            self.season = found.map(|period| Season::new(period, &self.history, origins));
            self.try_season();
        }
        self.proposed = found;
    }

    /// Scores the seasonal models on the recent past, as if the period had been known then.
    fn try_season(&mut self) {
        (FIRST_SEASONAL..MODELS.len()).for_each(|model| self.records.forget(model));
        let end = self.history.end();
        let oldest = end.saturating_sub(self.origins.len());
        for step in end.saturating_sub(TRIAL_STEPS)..end {
            let y = self.history.at(step);
            for (at, &h) in self.horizons.iter().enumerate() {
                let Some(origin) = step.checked_sub(h).filter(|&o| o >= oldest) else { break };
                let naive = (y - self.history.known_until(origin)).abs();
                for (index, model) in MODELS.iter().enumerate() {
                    let Model::Seasonal(shape) = *model else { continue };
                    let forecast = self.seasonal(shape, origin, h);
                    if !(forecast.is_nan() || naive.is_nan()) {
                        self.records.add(at, index, (y - forecast.max(0.0)).abs(), naive);
                    }
                }
            }
        }
    }

    /// Chooses the model for each scored horizon. One that is not scored yet follows the next
    /// shorter one.
    fn choose(&mut self) {
        for at in 0..self.horizons.len() {
            let shorter = self.chosen[at.saturating_sub(1)];
            self.chosen[at] = self.records.choose(at, self.chosen[at]).unwrap_or(shorter);
        }
    }

    /// Keeps what is forecast at `step`, to learn its errors when the time comes.
    fn issue(&mut self, step: usize) {
        for at in 0..self.horizons.len() {
            let h = self.horizons[at];
            let value = self.value(h).map_or(f32::NAN, |value| value as f32);
            self.issued[at][step % h] = value;
        }
    }

    /// The forecast of the model in use.
    fn value(&self, h: usize) -> Option<f64> {
        self.value_of(self.chosen[self.scored(h)], h)
    }

    /// The forecast of one model; last value where that model has no answer.
    fn value_of(&self, model: usize, h: usize) -> Option<f64> {
        let last = self.last?;
        let origin = self.history.end() - 1;
        let forecast = match MODELS[model] {
            Model::Smoother(Smoother::Naive) => last,
            Model::Smoother(smoother) => f64::from(self.smoothers.levels().forecast(smoother, h)),
            Model::Seasonal(shape) => f64::from(self.seasonal(shape, origin, h)),
        };
        Some(if forecast.is_finite() { forecast.max(0.0) } else { last })
    }

    /// What the seasonal model says at `origin`; NaN without a period.
    fn seasonal(&self, shape: usize, origin: usize, h: usize) -> f32 {
        match &self.season {
            Some(season) => season.forecast(&self.history, shape, origin, h),
            None => f32::NAN,
        }
    }

    /// Index of the scored horizon that stands for `h`: the first not shorter.
    fn scored(&self, h: usize) -> usize {
        self.horizons.partition_point(|&scored| scored < h).min(self.horizons.len() - 1)
    }

    /// The prediction for `h`, its interval taken from the quantiles of the errors at the scored
    /// horizons around it.
    fn predict_within(
        &self,
        h: usize,
        quantiles: impl Fn(usize) -> Option<(f64, f64)>,
    ) -> Option<Prediction> {
        let value = self.value(h)?;
        let at = self.scored(h);
        let right = quantiles(at);
        let (lo, hi) = match (right, self.horizons[at] == h) {
            // Nothing is known of the errors yet: as much as the value itself.
            (None, _) => (-value, value),
            (Some(right), true) => right,
            (Some(right), false) => {
                let (near, far) = (self.horizons[at - 1], self.horizons[at]);
                let part = (h - near) as f64 / (far - near) as f64;
                let left = quantiles(at - 1).unwrap_or(right);
                (left.0 + part * (right.0 - left.0), left.1 + part * (right.1 - left.1))
            }
        };
        let (lo, hi) = ((value + lo).clamp(0.0, value), (value + hi).max(value));
        Some(Prediction { value, lo, hi })
    }

    /// Error quantiles at a scored horizon. Where too few errors are known, those of a shorter
    /// horizon, widened as a random walk's.
    fn quantiles(&self, at: usize) -> Option<(f64, f64)> {
        (0..=at).rev().find_map(|shorter| {
            let (lo, hi) = self.errors[shorter].interval(self.config.coverage)?;
            let widen = (self.horizons[at] as f64 / self.horizons[shorter] as f64).sqrt();
            Some((lo * widen, hi * widen))
        })
    }
}

/// Steps between the errors that are kept at horizon `h`. Errors a few steps apart at a far
/// horizon are nearly the same error; spread out, as many of them tell more.
fn error_stride(h: usize) -> usize {
    h.div_ceil(8)
}
