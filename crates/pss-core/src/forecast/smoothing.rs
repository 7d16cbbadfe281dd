//! The models without a season: last value, rolling median, exponential smoothing, damped Holt.
//!
//! What they forecast follows from a few levels, so the state after each step can be kept and
//! asked later what it said: that is how they are scored. They must never see a step before it
//! is pushed. Formulas: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, ch. 8.

/// Smoothing factors of the simple exponential models.
const SES_ALPHAS: [f32; 3] = [0.1, 0.3, 0.6];
/// Level and trend factors and damping of the Holt models.
const HOLT: [(f32, f32, f32); 2] = [(0.5, 0.1, 0.9), (0.8, 0.3, 0.8)];
/// Values in the rolling median.
const MEDIAN_OF: usize = 5;

/// One model with its parameters fixed, among those of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Smoother {
    /// The last known value.
    Naive,
    /// Median of the last five known values.
    Median,
    /// Simple exponential smoothing, by index of its factor.
    Ses(usize),
    /// Holt's linear trend, damped, by index of its parameters.
    Holt(usize),
}

/// What the models know after a step. NaN before the first known value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Levels {
    last: f32,
    median: f32,
    ses: [f32; SES_ALPHAS.len()],
    /// Level and trend.
    holt: [(f32, f32); HOLT.len()],
}

impl Levels {
    /// The levels of a series of which nothing is known.
    pub const UNKNOWN: Levels = Levels {
        last: f32::NAN,
        median: f32::NAN,
        ses: [f32::NAN; SES_ALPHAS.len()],
        holt: [(f32::NAN, 0.0); HOLT.len()],
    };

    /// What `model` says at these levels for `h` steps later; NaN if nothing is known.
    pub fn forecast(&self, model: Smoother, h: usize) -> f32 {
        match model {
            Smoother::Naive => self.last,
            Smoother::Median => self.median,
            Smoother::Ses(i) => self.ses[i],
            Smoother::Holt(i) => {
                let (level, trend) = self.holt[i];
                let phi = HOLT[i].2;
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
    recent: [f32; MEDIAN_OF],
    /// Known values so far.
    known: usize,
}

impl Smoothers {
    pub fn new() -> Self {
        Smoothers { levels: Levels::UNKNOWN, recent: [0.0; MEDIAN_OF], known: 0 }
    }

    /// The levels after the last step.
    pub fn levels(&self) -> Levels {
        self.levels
    }

    /// Takes a step whose value is known.
    pub fn observe(&mut self, y: f32) {
        self.recent[self.known % MEDIAN_OF] = y;
        self.known += 1;
        let levels = &mut self.levels;
        levels.last = y;
        let mut sorted = self.recent;
        let sorted = &mut sorted[..self.known.min(MEDIAN_OF)];
        sorted.sort_unstable_by(f32::total_cmp);
        levels.median = sorted[sorted.len() / 2];
        if self.known == 1 {
            levels.ses = [y; SES_ALPHAS.len()];
            levels.holt = [(y, 0.0); HOLT.len()];
            return;
        }
        // Until 1 / alpha values are seen, their plain mean is the better level.
        let floor = 1.0 / self.known as f32;
        for (level, alpha) in levels.ses.iter_mut().zip(SES_ALPHAS) {
            *level += alpha.max(floor) * (y - *level);
        }
        for ((level, trend), (alpha, beta, phi)) in levels.holt.iter_mut().zip(HOLT) {
            let before = *level;
            let expected = before + phi * *trend;
            *level = expected + alpha * (y - expected);
            *trend = phi * *trend + beta * (*level - expected);
        }
    }

    /// Takes a step whose value is missing: time passes, nothing is learnt.
    pub fn skip(&mut self) {
        for ((level, trend), (_, _, phi)) in self.levels.holt.iter_mut().zip(HOLT) {
            *trend *= phi;
            *level += *trend;
        }
    }
}
