//! Which cycle to reckon with: periods that a scan has found are tried on the recent past before
//! they are used.
//!
//! A trial goes through the past step by step and sees at each only what was known then.

use super::Forecaster;
use super::models::FIRST_CYCLE;
use super::period::Finding;
use super::seasonal::{SHAPE_COUNT, Season};

/// Steps of the past, at least, on which a period is tried.
const TRIAL_STEPS: usize = 40;
/// A new period takes over if its models' error is below this share of that in use.
const BETTER_PERIOD: f32 = 0.8;
/// Periods that differ by less than this part of a step are one.
const SAME_PERIOD: f64 = 0.1;
/// Those that differ by less than this share are of one cycle, whose records stand.
const SAME_CYCLE: f64 = 0.03;
/// Part of what a trial promises that is not believed: of many periods the best is a lucky one.
const CAUTION: f32 = 0.3;

/// Findings of a rejected period that are passed over before it is tried again.
const TRY_AGAIN: u8 = 4;

/// The last period that was tried in vain: a trial costs as much as many steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Rejected {
    period: f64,
    skip: u8,
}

impl Rejected {
    /// Whether this period is to be passed over once more.
    fn again(&mut self, period: f64) -> bool {
        let same = self.skip > 0 && (period - self.period).abs() < SAME_CYCLE * period;
        self.skip -= u8::from(same);
        same
    }
}

/// What came out of trying a period on the recent past.
struct Trial {
    season: Season,
    /// Errors of the models relative to last value's, by scored horizon.
    ratios: Vec<[f32; SHAPE_COUNT]>,
    /// The better one's, summed over horizons.
    error: f32,
}

impl Forecaster {
    /// Weighs what a scan for the period found against what is in use.
    pub(super) fn consider(&mut self, found: Finding) {
        match (found.period, self.period()) {
            (Some(period), Some(current)) if (period - current).abs() < SAME_PERIOD => {
                if let (Some(season), false) = (&mut self.season, found.recent) {
                    season.period = period;
                }
            }
            (Some(period), _) if self.rejected.again(period) => return,
            (Some(period), current) => {
                // A scan is precise to a part of a step; most jobs run at whole ones.
                let mut candidates = vec![period.floor(), period, period.ceil()];
                candidates.dedup();
                let tried = candidates.into_iter().map(|period| self.try_season(period));
                let best = tried.min_by(|a, b| a.error.total_cmp(&b.error));
                // Without a period in use, last value's error, which is 1 at each horizon.
                let last_value = self.horizons.len() as f32;
                let in_use = current.map_or(last_value, |current| self.try_season(current).error);
                match best.filter(|best| best.error < BETTER_PERIOD * in_use) {
                    Some(best) => self.adopt(best),
                    None => self.rejected = Rejected { period, skip: TRY_AGAIN },
                }
            }
            (None, Some(_)) if !found.recent => {
                if std::mem::replace(&mut self.doubted, true) {
                    self.season = None;
                    self.forget_season();
                }
                return;
            }
            (None, _) => return,
        }
        self.doubted = false;
    }

    /// How a period does on the recent past: its models go through it step by step, as if it had
    /// been known before.
    fn try_season(&self, period: f64) -> Trial {
        let mut season = Season::new(period);
        let end = self.history.end();
        let begin = end.saturating_sub(TRIAL_STEPS.max(period.ceil() as usize));
        let mut errors = vec![[0.0f32; 1 + SHAPE_COUNT]; self.horizons.len()];
        for origin in begin.saturating_sub(self.farthest()).max(self.history.first())..end {
            season.observe(&self.history, origin);
            let last = self.history.known_until(origin);
            for (horizon, errors) in self.horizons.iter().zip(&mut errors) {
                let target = origin + horizon.steps;
                let y = self.history.at(target);
                if target < begin || y.is_nan() || last.is_nan() {
                    continue;
                }
                let said: [f32; SHAPE_COUNT] = std::array::from_fn(|shape| {
                    season.forecast(&self.history, shape, origin, horizon.steps)
                });
                if said.iter().any(|said| said.is_nan()) {
                    continue;
                }
                errors[0] += (y - last).abs();
                for (error, said) in errors[1..].iter_mut().zip(said) {
                    *error += (y - said.max(0.0)).abs();
                }
            }
        }
        // A horizon too far to be tried is taken to be like the one before it.
        let mut ratio = [1.0; SHAPE_COUNT];
        let ratios: Vec<_> = errors
            .iter()
            .map(|[naive, said @ ..]| {
                if *naive > 0.0 {
                    ratio = said.map(|said| said / naive);
                }
                ratio
            })
            .collect();
        let error = ratios.iter().map(|ratio| ratio.iter().copied().fold(f32::MAX, f32::min)).sum();
        Trial { season, ratios, error }
    }

    /// Goes on with a period that was tried; if it is of another cycle, with new records.
    fn adopt(&mut self, trial: Trial) {
        let period = trial.season.period;
        let same = |current: f64| (period - current).abs() < SAME_CYCLE * period;
        if !self.period().is_some_and(same) {
            for (horizon, ratios) in self.horizons.iter_mut().zip(trial.ratios) {
                for (shape, ratio) in ratios.into_iter().enumerate() {
                    let ratio = ratio + CAUTION * (1.0 - ratio);
                    horizon.records.assume(FIRST_CYCLE + shape, ratio);
                }
            }
        }
        self.season = Some(trial.season);
    }

    /// What has no period any more stands no better than last value.
    fn forget_season(&mut self) {
        for horizon in &mut self.horizons {
            (0..SHAPE_COUNT).for_each(|shape| horizon.records.assume(FIRST_CYCLE + shape, 1.0));
        }
    }
}
