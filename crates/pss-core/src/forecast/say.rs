//! What the models of a forecaster say: each by itself, combined, at scored horizons and between.
//!
//! Only asks; nothing here changes what a forecaster knows.

use super::Forecaster;
use super::features::{Features, Origin};
use super::models::{ByModel, COMBINED, MODELS, Model};
use super::smoothing::Smoother;

/// Power of a model's error by which its weight in the combination falls.
const COMBINE: i32 = 12;

impl Forecaster {
    /// What all models say at a scored horizon, not negative; NaN where one has no answer.
    pub(super) fn all_say(&self, at: usize, regressed: f32) -> ByModel {
        let h = self.horizons[at].steps;
        let mut said = MODELS.map(|model| match model {
            Model::Ar => regressed,
            Model::Combined => f32::NAN,
            model => self.plain(model, h),
        });
        // Not `max`, which makes a number of NaN.
        said.iter_mut().filter(|said| **said < 0.0).for_each(|said| *said = 0.0);
        said[COMBINED] = self.combined(at, &said[..COMBINED]);
        said
    }

    /// The weighted mean of what models say.
    fn combined(&self, at: usize, said: &[f32]) -> f32 {
        let records = &self.horizons[at].records;
        let errors = || (0..said.len()).map(|model| records.error(model));
        let least = errors().fold(f32::INFINITY, f32::min).max(f32::MIN_POSITIVE);
        let (mut sum, mut weights) = (0.0, 0.0);
        for (said, error) in said.iter().zip(errors()).filter(|(said, _)| !said.is_nan()) {
            let weight = (least / error.max(least)).powi(COMBINE);
            sum += weight * said;
            weights += weight;
        }
        sum / weights
    }

    /// What a model that needs no scored horizon says; NaN where it has no answer.
    pub(super) fn plain(&self, model: Model, h: usize) -> f32 {
        let Some(origin) = self.history.end().checked_sub(1) else { return f32::NAN };
        match model {
            Model::Smoother(smoother) => self.smoothers.levels().forecast(smoother, h),
            Model::Ets => self.ets.forecast(h),
            Model::Cycle(shape) => match &self.season {
                Some(season) => season.forecast(&self.history, shape, origin, h),
                None => f32::NAN,
            },
            Model::Day => {
                let moves = self.calendar.moves(self.last_step, self.absolute(origin + h));
                let day = if moves.day.is_nan() { moves.yesterday } else { moves.day };
                let levels = self.smoothers.levels();
                let level = |smoother| levels.forecast(smoother, h);
                0.5 * (level(Smoother::Naive) + level(Smoother::Ses(1))) + day
            }
            Model::Ar | Model::Combined => f32::NAN,
        }
    }

    /// What a regression says.
    pub(super) fn regressed(&self, at: usize, features: &Features) -> f32 {
        let last = self.smoothers.levels().forecast(Smoother::Naive, 0);
        last + self.usual_step() * self.horizons[at].regression.predict(features)
    }

    /// The absolute number of a step.
    pub(super) fn absolute(&self, step: usize) -> i64 {
        self.config.first_step.saturating_add(step as i64)
    }

    /// The usual step, above zero.
    pub(super) fn usual_step(&self) -> f32 {
        (self.scale as f32).max(f32::MIN_POSITIVE)
    }

    pub(super) fn origin(&self) -> Origin<'_> {
        Origin {
            history: &self.history,
            calendar: &self.calendar,
            levels: self.smoothers.levels(),
            period: self.period(),
            step_s: self.config.step_s,
            last_step: self.last_step,
            step: self.absolute(self.history.end() - 1),
            scale: self.usual_step(),
        }
    }

    /// The forecast for `h`, where `model` gives a model for each scored horizon: between two, from
    /// what the nearer one's says to what the farther one's says.
    pub(super) fn value_at(&self, h: usize, model: impl Fn(usize) -> usize) -> Option<f64> {
        let at = self.scored(h);
        let far = self.horizons[at].steps;
        let right = self.value(model(at), h)?;
        let Some(before) = at.checked_sub(1).filter(|_| h < far) else { return Some(right) };
        let near = self.horizons[before].steps;
        let part = (h - near) as f64 / (far - near) as f64;
        let left = self.value(model(before), h)?;
        Some(left + part * (right - left))
    }

    /// The forecast of one model; last value where that model has no answer.
    pub(super) fn value(&self, model: usize, h: usize) -> Option<f64> {
        let last = self.last?;
        let forecast = match MODELS[model] {
            Model::Smoother(Smoother::Naive) => last,
            Model::Ar | Model::Combined => self.between_horizons(model, h, last),
            model => self.plain(model, h).into(),
        };
        Some(if forecast.is_finite() { forecast.max(0.0) } else { last })
    }

    /// What a model that lives at scored horizons says for `h`: between them, as far from the cycle
    /// as lies on the line from one to the other.
    fn between_horizons(&self, model: usize, h: usize, last: f64) -> f64 {
        let at = self.scored(h);
        let far = self.horizons[at].steps;
        let right = self.at_horizon(model, at);
        if far == h {
            return right;
        }
        let (near, left) = match at.checked_sub(1) {
            Some(before) => (self.horizons[before].steps, self.at_horizon(model, before)),
            None => (0, last),
        };
        let part = (h - near) as f64 / (far - near) as f64;
        let cycle = |h: usize| if h == 0 { Some(last) } else { self.cycle(h) };
        let (from, now, to) = match (cycle(near), cycle(h), cycle(far)) {
            (Some(from), Some(now), Some(to)) => (from, now, to),
            _ => (0.0, 0.0, 0.0),
        };
        now + (left - from) + part * ((right - to) - (left - from))
    }

    /// What a model that lives at scored horizons says for one of them.
    fn at_horizon(&self, model: usize, at: usize) -> f64 {
        let regressed = self.regressed(at, &self.origin().features(self.horizons[at].steps));
        let said = match MODELS[model] {
            Model::Ar => regressed.max(0.0),
            _ => self.all_say(at, regressed)[model],
        };
        said.into()
    }

    /// The cycle known best: the one found in the data, else the day, else none at all.
    fn cycle(&self, h: usize) -> Option<f64> {
        let known = [Model::Cycle(0), Model::Day].map(|model| self.plain(model, h));
        known.into_iter().find(|said| said.is_finite()).map(f64::from)
    }
}
