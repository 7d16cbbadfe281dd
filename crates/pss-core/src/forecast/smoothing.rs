//! The models without a season: last value, rolling median, exponential smoothing, damped Holt.
//!
//! What they forecast follows from a few levels, so the state after each step can be kept and
//! asked later what it said: that is how they are scored. They must never see a step before it
//! is pushed. Formulas: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, ch. 8.

/// Smoothing factors of the simple exponential models.
const SES_ALPHAS: [f32; 2] = [0.03, 0.25];
/// Level and trend factors and damping of the Holt model.
const HOLT: (f32, f32, f32) = (0.5, 0.1, 0.9);
/// Values in the rolling medians, the longest last.
const MEDIANS_OF: [usize; 2] = [5, 15];
const LONGEST_MEDIAN: usize = MEDIANS_OF[1];

/// One model with its parameters fixed, among those of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Smoother {
    /// The last known value.
    Naive,
    /// Median of the last few known values, by index of their number.
    Median(usize),
    /// Simple exponential smoothing, by index of its factor.
    Ses(usize),
    /// Holt's linear trend, damped.
    Holt,
}

/// What the models know after a step. NaN before the first known value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Levels {
    last: f32,
    medians: [f32; MEDIANS_OF.len()],
    ses: [f32; SES_ALPHAS.len()],
    /// Level and trend.
    holt: (f32, f32),
}

impl Levels {
    /// The levels of a series of which nothing is known.
    pub const UNKNOWN: Levels = Levels {
        last: f32::NAN,
        medians: [f32::NAN; MEDIANS_OF.len()],
        ses: [f32::NAN; SES_ALPHAS.len()],
        holt: (f32::NAN, 0.0),
    };

    /// What `model` says at these levels for `h` steps later; NaN if nothing is known.
    pub fn forecast(&self, model: Smoother, h: usize) -> f32 {
        match model {
            Smoother::Naive => self.last,
            Smoother::Median(i) => self.medians[i],
            Smoother::Ses(i) => self.ses[i],
            Smoother::Holt => {
                let (level, trend) = self.holt;
                let phi = HOLT.2;
                // phi + phi^2 + ... + phi^h
                level + trend * phi * (1.0 - phi.powi(h as i32)) / (1.0 - phi)
            }
        }
    }
}

/// The running state of all models of this file.
#[derive(Debug, Clone)]
pub(super) struct Smoothers {
    levels: Levels,
    recent: [f32; LONGEST_MEDIAN],
    /// Known values so far.
    known: usize,
}

impl Smoothers {
    pub fn new() -> Self {
        Smoothers { levels: Levels::UNKNOWN, recent: [0.0; LONGEST_MEDIAN], known: 0 }
    }

    /// The levels after the last step.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Takes a step whose value is known.
    pub fn observe(&mut self, y: f32) {
        self.recent[self.known % LONGEST_MEDIAN] = y;
        self.known += 1;
        for (median, of) in self.levels.medians.iter_mut().zip(MEDIANS_OF) {
            let mut latest = [0.0; LONGEST_MEDIAN];
            let latest = &mut latest[..of.min(self.known)];
            for (back, value) in latest.iter_mut().enumerate() {
                *value = self.recent[(self.known - 1 - back) % LONGEST_MEDIAN];
            }
            latest.sort_unstable_by(f32::total_cmp);
            *median = latest[latest.len() / 2];
        }
        let levels = &mut self.levels;
        levels.last = y;
        if self.known == 1 {
            levels.ses = [y; SES_ALPHAS.len()];
            levels.holt = (y, 0.0);
            return;
        }
        // Until 1 / alpha values are seen, their plain mean is the better level.
        let floor = 1.0 / self.known as f32;
        for (level, alpha) in levels.ses.iter_mut().zip(SES_ALPHAS) {
            *level += alpha.max(floor) * (y - *level);
        }
        let ((level, trend), (alpha, beta, phi)) = (&mut levels.holt, HOLT);
        let expected = *level + phi * *trend;
        *level = expected + alpha * (y - expected);
        *trend = phi * *trend + beta * (*level - expected);
    }

    /// Takes a step whose value is missing: time passes, nothing is learnt.
    pub fn skip(&mut self) {
        let (level, trend) = &mut self.levels.holt;
        *trend *= HOLT.2;
        *level += *trend;
    }
}
