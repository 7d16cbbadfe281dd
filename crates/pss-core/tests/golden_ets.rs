//! The smoothing methods beside an implementation that is not ours: augurs-ets, a port of
//! statsforecast's ETS.
//!
//! Series are drawn from the very processes for which each method is the best forecast (Hyndman
//! et al. 2008, ch. 3), so augurs, which fits its parameters anew each time, and pss, which carries
//! a few sets of them along or takes the best of a grid, must come to nearly the same forecasts. (Augurs takes
//! given parameters for a start only, so the fits cannot be pinned to ours.)

use augurs_core::prelude::*;
use augurs_ets::AutoETS;
use augurs_ets::model::{ErrorComponent, ModelType, SeasonalComponent, TrendComponent, Unfit};
use pss_core::forecast::{Config, Forecaster, Method};

/// Deviation of the processes' noise.
const SIGMA: f64 = 10.0;
const STEPS: usize = 600;
/// Augurs is fitted anew at every so many steps of the last third.
const STRIDE: usize = 20;

/// Smoothing parameters of an ETS(A,Ad,N) process; without `beta` it is ETS(A,N,N).
#[derive(Debug, Clone, Copy)]
struct Process {
    alpha: f64,
    beta: f64,
    phi: f64,
}

impl Process {
    /// Every step with the best forecast that could be made of it one step before.
    fn draw(self, seed: u64) -> Vec<(f64, f64)> {
        let mut state = seed;
        // splitmix64 (Steele et al. 2014); a normal as the sum of twelve uniforms.
        let mut uniform = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        let (mut level, mut trend) = (5000.0, 0.0);
        let mut step = || {
            let noise = SIGMA * ((0..12).map(|_| uniform()).sum::<f64>() - 6.0);
            let expected = level + self.phi * trend;
            level = expected + self.alpha * noise;
            trend = self.phi * trend + self.beta * noise;
            (expected + noise, expected)
        };
        (0..STEPS).map(|_| step()).collect()
    }
}

/// Two forecasters on the same series, one step ahead; in deviations of the noise.
#[derive(Debug)]
struct Comparison {
    /// Mean absolute difference of their forecasts.
    apart: f64,
    /// Mean absolute difference of pss's from the best forecast.
    ours: f64,
    /// Of augurs' from the best.
    theirs: f64,
}

impl Comparison {
    /// Both say the same, and it is what should be said.
    fn agree(&self) -> bool {
        [self.apart, self.ours, self.theirs].iter().all(|difference| *difference < NEAR)
    }
}

/// Forecasts may be so far apart: parameters found from some hundred values are uncertain.
const NEAR: f64 = 0.25;

/// What augurs is to fit.
#[derive(Debug, Clone, Copy)]
enum Rival {
    /// ETS(A,N,N): simple exponential smoothing.
    Ses,
    /// ETS(A,Ad,N): damped Holt.
    Holt,
    /// The best of all without a season, by AICc.
    Auto,
}

impl Rival {
    /// One step after the series.
    fn forecast(self, series: &[f64]) -> f64 {
        let fixed = |trend, damped| {
            let (error, season) = (ErrorComponent::Additive, SeasonalComponent::None);
            Unfit::new(ModelType { error, trend, season }).damped(damped).fit(series)
        };
        let fitted = match self {
            Rival::Ses => fixed(TrendComponent::None, false),
            Rival::Holt => fixed(TrendComponent::Additive, true),
            Rival::Auto => AutoETS::non_seasonal().fit(series).map(|auto| auto.model().clone()),
        };
        fitted.and_then(|model| model.predict(1, None)).expect("a fit").point[0]
    }
}

/// Compares `method` (`None`: the engine's choice) with augurs over the last third of the series.
fn compare(series: &[(f64, f64)], method: Option<Method>, rival: Rival) -> Comparison {
    let config = Config { step_s: 300.0, horizons: vec![1], ..Config::default() };
    let mut forecaster = Forecaster::new(config);
    let mut seen = Vec::new();
    let mut sums = [0.0; 3];
    let mut count = 0.0;
    for step in 0..STEPS - 1 {
        forecaster.push(Some(series[step].0));
        seen.push(series[step].0);
        if step < STEPS * 2 / 3 || !step.is_multiple_of(STRIDE) {
            continue;
        }
        let our = match method {
            Some(method) => forecaster.predict_by(method, 1),
            None => forecaster.predict(1).map(|prediction| prediction.value),
        };
        let (our, their, best) =
            (our.expect("a forecast"), rival.forecast(&seen), series[step + 1].1);
        for (sum, difference) in sums.iter_mut().zip([our - their, our - best, their - best]) {
            *sum += difference.abs() / SIGMA;
        }
        count += 1.0;
    }
    let [apart, ours, theirs] = sums.map(|sum| sum / count);
    Comparison { apart, ours, theirs }
}

#[test]
fn ses_and_holt_say_what_is_fitted_where_their_parameters_are_right() {
    let series = Process { alpha: 0.25, beta: 0.0, phi: 0.0 }.draw(1);
    let found = compare(&series, Some(Method::Ses), Rival::Ses);
    assert!(found.agree(), "{found:?}");
    let series = Process { alpha: 0.5, beta: 0.05, phi: 0.9 }.draw(5);
    let found = compare(&series, Some(Method::Holt), Rival::Holt);
    assert!(found.agree(), "{found:?}");
}

#[test]
fn ets_says_what_a_fitted_ets_says() {
    // In the error-correction form beta is the product of the level's and the trend's factor.
    for (seed, alpha, beta, phi, rival) in [
        (1, 0.1, 0.0, 0.0, Rival::Ses),
        (2, 0.3, 0.0, 0.0, Rival::Ses),
        (3, 0.6, 0.0, 0.0, Rival::Ses),
        (4, 0.45, 0.0, 0.0, Rival::Ses),
        (5, 0.5, 0.05, 0.9, Rival::Holt),
        (6, 0.8, 0.24, 0.8, Rival::Holt),
    ] {
        let series = Process { alpha, beta, phi }.draw(seed);
        let found = compare(&series, Some(Method::Ets), rival);
        assert!(found.agree(), "alpha {alpha}: {found:?}");
    }
}

#[test]
fn the_choice_is_no_worse_than_auto_ets_on_its_own_ground() {
    for (seed, alpha, beta, phi) in [(7, 0.2, 0.0, 0.0), (8, 0.5, 0.05, 0.9), (9, 0.95, 0.0, 0.0)] {
        let series = Process { alpha, beta, phi }.draw(seed);
        let found = compare(&series, None, Rival::Auto);
        assert!(found.agree(), "alpha {alpha}: {found:?}");
    }
}

/// Or the tests above would say nothing.
#[test]
fn another_method_is_told_apart() {
    let ses = Process { alpha: 0.1, beta: 0.0, phi: 0.0 }.draw(1);
    let holt = Process { alpha: 0.8, beta: 0.24, phi: 0.8 }.draw(6);
    for (series, method, rival) in [
        (&ses, Method::Naive, Rival::Ses),
        (&ses, Method::Holt, Rival::Ses),
        (&holt, Method::Ses, Rival::Holt),
    ] {
        let found = compare(series, Some(method), rival);
        assert!(!found.agree(), "{method:?}: {found:?}");
    }
}
