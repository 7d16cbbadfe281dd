//! Exponential smoothing whose parameters are fitted to the series: ETS(A,N,N) and ETS(A,Ad,N).
//!
//! Formulas: Hyndman, Koehler, Ord, Snyder, Forecasting with Exponential Smoothing (2008), the
//! damped trend in its error-correction form. The parameters are those of a grid with the least
//! squared one-step error over the recent past, which for Gaussian errors is maximum likelihood.
//! One candidate is tried at each step, so no single step is slow.

use super::history::History;

const ALPHAS: [f32; 9] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0];
/// Smoothing factors of level and trend, and the trend's damping; a factor of zero is no trend.
const BETAS: [f32; 4] = [0.0, 0.05, 0.15, 0.4];
const PHIS: [f32; 3] = [0.8, 0.9, 0.98];
const CANDIDATES: usize = ALPHAS.len() * (1 + (BETAS.len() - 1) * PHIS.len());
/// Steps on which candidates are compared.
const WINDOW: usize = 256;

/// Smoothing parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Share of a one-step error that the level takes up.
    pub alpha: f32,
    /// Share of it that the trend takes up; 0: there is no trend.
    pub beta: f32,
    /// Share of the trend that is left a step later.
    pub phi: f32,
}

impl Parameters {
    fn candidate(index: usize) -> Self {
        let (alpha, trend) = (ALPHAS[index % ALPHAS.len()], index / ALPHAS.len());
        if trend == 0 {
            return Parameters { alpha, beta: 0.0, phi: 0.0 };
        }
        let (beta, phi) = ((trend - 1) / PHIS.len() + 1, (trend - 1) % PHIS.len());
        Parameters { alpha, beta: alpha * BETAS[beta], phi: PHIS[phi] }
    }
}

/// Level and trend after a step.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// The level; NaN before the first value.
    pub level: f32,
    /// Its change per step, to be damped.
    pub trend: f32,
}

impl State {
    /// The state of a series of which nothing is known.
    pub const UNKNOWN: State = State { level: f32::NAN, trend: 0.0 };

    /// The state a step later; a missing value (NaN) lets time pass. Returns the one-step error.
    pub fn advance(&mut self, parameters: &Parameters, y: f32) -> f32 {
        if self.level.is_nan() {
            self.level = y;
            return 0.0;
        }
        let damped = parameters.phi * self.trend;
        let expected = self.level + damped;
        let error = if y.is_nan() { 0.0 } else { y - expected };
        self.level = expected + parameters.alpha * error;
        self.trend = damped + parameters.beta * error;
        error
    }

    /// The forecast `h` steps ahead: level + (phi + phi^2 + ... + phi^h) trend.
    pub fn forecast(&self, parameters: &Parameters, h: usize) -> f32 {
        let phi = parameters.phi;
        self.level + self.trend * phi * (1.0 - phi.powi(h as i32)) / (1.0 - phi)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Ets {
    parameters: Parameters,
    state: State,
    /// The candidate to try next, and the best of this round with its squared error.
    next: usize,
    best: (usize, f32),
}

impl Ets {
    pub fn new() -> Self {
        Ets {
            parameters: Parameters { alpha: 0.4, beta: 0.0, phi: 0.0 },
            state: State::UNKNOWN,
            next: 0,
            best: (0, f32::INFINITY),
        }
    }

    /// Takes the step that was just added to the history.
    pub fn observe(&mut self, history: &History) {
        let values = history.values();
        self.state.advance(&self.parameters, values[values.len() - 1]);
        let recent = &values[values.len().saturating_sub(WINDOW)..];
        let mut state = State::UNKNOWN;
        let parameters = Parameters::candidate(self.next);
        let squares = recent.iter().map(|&y| state.advance(&parameters, y).powi(2)).sum();
        if squares < self.best.1 {
            self.best = (self.next, squares);
        }
        self.next += 1;
        if self.next == CANDIDATES {
            self.adopt(recent);
        }
    }

    /// Goes on with the best candidate of the round that has ended.
    fn adopt(&mut self, recent: &[f32]) {
        self.parameters = Parameters::candidate(self.best.0);
        self.state = State::UNKNOWN;
        for &y in recent {
            self.state.advance(&self.parameters, y);
        }
        (self.next, self.best) = (0, (0, f32::INFINITY));
    }

    /// The forecast `h` steps ahead; NaN before the first value.
    pub fn forecast(&self, h: usize) -> f32 {
        self.state.forecast(&self.parameters, h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::testing::Noise;

    fn fitted(values: impl IntoIterator<Item = f64>) -> Ets {
        let (mut history, mut ets) = (History::new(), Ets::new());
        for y in values {
            history.push(y as f32);
            ets.observe(&history);
        }
        ets
    }

    #[test]
    fn noise_around_a_level_is_smoothed_and_a_walk_is_not() {
        let mut noise = Noise::new(1);
        let still = fitted((0..500).map(|_| 100.0 + noise.normal()));
        assert!(still.parameters.alpha <= 0.2, "{:?}", still.parameters);
        assert!((still.forecast(5) - 100.0).abs() < 1.0);
        let mut y = 100.0;
        let walk = fitted((0..500).map(|_| {
            y += noise.normal();
            y
        }));
        assert!(walk.parameters.alpha >= 0.7, "{:?}", walk.parameters);
    }

    #[test]
    fn a_trend_is_found_and_damped() {
        let mut noise = Noise::new(2);
        let ets = fitted((0..500).map(|t| t as f64 + 0.5 * noise.normal()));
        assert!(ets.parameters.beta > 0.0, "{:?}", ets.parameters);
        let (near, far) = (ets.forecast(1), ets.forecast(10));
        assert!((near - 500.0).abs() < 1.5 && far > 503.0 && far < 511.0, "{near} {far}");
    }

    #[test]
    fn candidates_differ() {
        let all: Vec<_> = (0..CANDIDATES).map(Parameters::candidate).collect();
        assert!((1..all.len()).all(|i| !all[..i].contains(&all[i])));
        assert_eq!(all.iter().filter(|p| p.beta == 0.0).count(), ALPHAS.len());
    }
}
