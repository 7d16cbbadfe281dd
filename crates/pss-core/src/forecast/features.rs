//! What a regression sees at an origin: a few numbers, relative to the last value, in usual steps.
//!
//! A usual step is the mean absolute difference of neighbouring values. Only what is known at the
//! origin may be asked here.

use super::calendar::Calendar;
use super::history::History;
use super::regression;
use super::smoothing::{Levels, Smoother};

/// Number of features.
pub(super) const COUNT: usize = 11;
pub(super) type Features = [f32; COUNT];

/// Seconds of the shortest cycle that is assumed without being found: jobs run by the hour.
const HOUR_S: f64 = 3600.0;

/// Everything known at an origin that features are made of.
pub(super) struct Origin<'a> {
    pub history: &'a History,
    pub calendar: &'a Calendar,
    pub levels: &'a Levels,
    /// Length of the season found, in steps.
    pub period: Option<f64>,
    /// Seconds of a step.
    pub step_s: f64,
    /// Absolute numbers of the origin and of the step at which the last value came.
    pub step: i64,
    pub last_step: i64,
    /// The usual step.
    pub scale: f32,
}

impl Origin<'_> {
    /// The features for a forecast `h` steps ahead.
    pub fn features(&self, h: usize) -> Features {
        let origin = self.history.end() - 1;
        let last = self.levels.forecast(Smoother::Naive, h);
        let level = |smoother| self.levels.forecast(smoother, h) - last;
        let lag = |steps: usize| match origin.checked_sub(steps) {
            Some(step) => self.history.known_until(step) - last,
            None => 0.0,
        };
        let moves = self.calendar.moves(self.last_step, self.step + h as i64);
        let hour = (HOUR_S / self.step_s).round();
        let day = if moves.day.is_nan() { moves.yesterday } else { moves.day };
        let features: Features = [
            lag(1),
            lag(2),
            lag(3),
            level(Smoother::Median(1)),
            level(Smoother::Ses(1)),
            level(Smoother::Ses(0)),
            moves.yesterday,
            day,
            moves.week,
            self.move_before(hour, h),
            self.period.map_or(0.0, |period| self.move_before(period, h)),
        ];
        let largest = regression::LARGEST;
        // What is unknown says nothing.
        features.map(|x| if x.is_nan() { 0.0 } else { (x / self.scale).clamp(-largest, largest) })
    }

    /// How the load moved over `h` steps `back` steps ago; NaN if that reaches beyond now or what
    /// is kept.
    fn move_before(&self, back: f64, h: usize) -> f32 {
        let origin = (self.history.end() - 1) as f64;
        let ahead = h as f64;
        if back <= 0.0 || back > origin {
            return f32::NAN;
        }
        // The latest cycle before whose end is known by now.
        let back = back * (ahead / back).ceil().max(1.0);
        let from = origin - back;
        if from < 0.0 {
            return f32::NAN;
        }
        self.history.at((from + ahead).round() as usize) - self.history.at(from.round() as usize)
    }
}
