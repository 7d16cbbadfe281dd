//! Forecasts against what came: error relative to last value, MASE, pinball loss, coverage, bias.
//!
//! Every model is scored on the same pairs: all records whose target is known. Errors of
//! different horizons are never pooled before they are relative, or the farthest would count most.

use super::evaluate::{Record, learning_steps};
use super::series::Series;

/// With more than this share of values equal to the one before, last value cannot be beaten.
const STILL: f64 = 0.99;

/// The quantiles that an interval of 80 % ends at.
const QUANTILES: [f64; 2] = [0.1, 0.9];

/// How well one model did on one series. What has no meaning there is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scores {
    /// Mean absolute error over last value's: per horizon, then the geometric mean over horizons.
    pub rel_mae: Option<f64>,
    /// Mean absolute error over the scale: the mean absolute difference of neighbouring values in
    /// the learning part (Hyndman and Koehler 2006); mean over horizons.
    pub mase: Option<f64>,
    /// Pinball loss at the quantiles 0.1 and 0.9, their mean, over the same scale; mean over
    /// horizons.
    pub pinball: Option<f64>,
    /// Share of values inside the interval; mean over horizons.
    pub coverage: Option<f64>,
    /// Mean of forecast - value over the same scale; mean over horizons.
    pub bias: Option<f64>,
}

/// Sums over the pairs of one horizon.
#[derive(Default)]
struct Sums {
    pairs: f64,
    error: f64,
    naive: f64,
    pinball: f64,
    inside: f64,
    bias: f64,
}

impl Sums {
    fn add(&mut self, record: &Record, actual: f64) {
        let forecast = record.forecast;
        self.pairs += 1.0;
        self.error += (actual - forecast.value).abs();
        self.naive += (actual - record.last).abs();
        let losses = [forecast.lo, forecast.hi].into_iter().zip(QUANTILES);
        self.pinball += losses.map(|(at, q)| pinball(actual - at, q)).sum::<f64>() / 2.0;
        self.inside += f64::from((forecast.lo..=forecast.hi).contains(&actual));
        self.bias += forecast.value - actual;
    }

    fn relative_error(&self) -> Option<f64> {
        match (self.error > 0.0, self.naive > 0.0) {
            (_, true) => Some(self.error / self.naive),
            (false, false) => Some(1.0),
            (true, false) => None,
        }
    }
}

/// Loss of a quantile forecast that the value exceeds by `excess` (Koenker and Bassett 1978).
fn pinball(excess: f64, quantile: f64) -> f64 {
    (quantile * excess).max((quantile - 1.0) * excess)
}

/// Scores the records of one model on one series.
pub fn scores(series: &Series, horizons: &[usize], records: &[Record]) -> Scores {
    let sums: Vec<Sums> = horizons
        .iter()
        .map(|&horizon| {
            let mut sums = Sums::default();
            for record in records.iter().filter(|record| record.horizon == horizon) {
                if let Some(actual) = series.values[record.target()] {
                    sums.add(record, actual);
                }
            }
            sums
        })
        .filter(|sums| sums.pairs > 0.0)
        .collect();
    let mean = |of: fn(&Sums) -> f64| mean(sums.iter().map(|sums| of(sums) / sums.pairs));
    let scale = scale(series);
    let scaled = |of: fn(&Sums) -> f64| Some(mean(of)? / scale?);
    let ratios: Option<Vec<f64>> = sums.iter().map(Sums::relative_error).collect();
    Scores {
        rel_mae: ratios.and_then(geometric_mean),
        mase: scaled(|sums| sums.error),
        pinball: scaled(|sums| sums.pinball),
        coverage: mean(|sums| sums.inside),
        bias: scaled(|sums| sums.bias),
    }
}

/// Mean absolute difference of neighbouring known values in the learning part; `None` if nothing
/// moves there.
fn scale(series: &Series) -> Option<f64> {
    let learning = &series.values[..learning_steps(series)];
    let moves = learning.windows(2).filter_map(|pair| Some((pair[1]? - pair[0]?).abs()));
    mean(moves).filter(|scale| *scale > 0.0)
}

/// Whether last value is nearly always right, or nothing is known at all.
pub fn is_still(series: &Series) -> bool {
    let known: Vec<f64> = series.values.iter().flatten().copied().collect();
    let equal = known.windows(2).map(|pair| f64::from(pair[0] == pair[1]));
    mean(equal).is_none_or(|share| share > STILL)
}

/// Arithmetic mean; `None` of nothing.
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.into_iter().fold((0.0, 0.0), |(sum, n), v| (sum + v, n + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// Geometric mean of what is not negative; `None` of nothing. One perfect forecast must not make
/// the mean 0, so no value counts for less than a thousandth.
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    mean(values.into_iter().map(|value| value.max(1e-3).ln())).map(f64::exp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pss_core::forecast::Prediction;

    fn near(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-12)
    }

    /// Ten values of which four are for learning; two forecasts by hand.
    #[test]
    fn scores_by_hand() {
        let values = [1.0, 3.0, 2.0, 4.0, 4.0, 6.0, 5.0, 9.0, 0.0, 0.0].map(Some).to_vec();
        let mut series = Series { name: "hand".into(), step_s: 300.0, first_step: 0, values };
        let record = |origin, horizon, last, value, lo, hi| Record {
            origin,
            horizon,
            last,
            forecast: Prediction { value, lo, hi },
        };
        // Step 5 holds 6: wrong by 1, last value by 2. Step 7 holds 9: wrong by 4, last value by 3.
        let records = [
            record(4, 1, 4.0, 5.0, 4.0, 7.0),
            record(5, 2, 6.0, 5.0, 3.0, 8.0),
            record(6, 2, 5.0, 5.0, 3.0, 8.0),
        ];
        series.values[8] = None;
        let scores = scores(&series, &[1, 2], &records);
        assert!(near(scores.rel_mae, (0.5f64 * 4.0 / 3.0).sqrt()), "{scores:?}");
        // Moves of 2, 1, 2 in the learning part.
        let scale = 5.0 / 3.0;
        assert!(near(scores.mase, 2.5 / scale), "{scores:?}");
        assert!(near(scores.bias, -2.5 / scale), "{scores:?}");
        assert!(near(scores.coverage, 0.5), "{scores:?}");
        // 0.1 * 2 and 0.1 * 1; then 0.1 * 6 and 0.9 * 1.
        assert!(near(scores.pinball, (0.15 + 0.75) / 2.0 / scale), "{scores:?}");
    }

    #[test]
    fn a_perfect_forecast_does_not_hide_the_others() {
        assert!(near(geometric_mean([0.5, 2.0]), 1.0));
        assert!(near(geometric_mean([0.0, 10.0]), 0.1));
        assert_eq!(geometric_mean([]), None);
    }

    #[test]
    fn a_still_series_is_one_for_robustness() {
        let with = |moves: usize| {
            let values = (0..1000).map(|t| Some(if t < moves { t as f64 } else { 5e9 })).collect();
            is_still(&Series { name: "still".into(), step_s: 60.0, first_step: 0, values })
        };
        assert!(with(0) && with(5));
        assert!(!with(20));
    }
}
