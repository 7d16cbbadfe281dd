//! Names and values that users of forecasts see: methods, settings, predictions, scores.

/// A forecasting method, by the name that users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// The last value.
    Naive,
    /// The median of the last few values.
    Median,
    /// Simple exponential smoothing with a fixed factor.
    Ses,
    /// Holt's linear trend, damped, with fixed factors.
    Holt,
    /// Exponential smoothing, with or without a damped trend, fitted to the series.
    Ets,
    /// Autoregression on recent values and on moves of earlier cycles.
    Ar,
    /// Past cycles plus the recent offset from them.
    Seasonal,
    /// The mean of all others, weighted by how well they lately did.
    Combined,
}

impl Method {
    /// All methods, the simplest first.
    pub const ALL: [Method; 8] = [
        Method::Naive,
        Method::Median,
        Method::Ses,
        Method::Holt,
        Method::Ets,
        Method::Ar,
        Method::Seasonal,
        Method::Combined,
    ];

    /// The name as it stands in settings and views.
    pub fn name(self) -> &'static str {
        match self {
            Method::Naive => "naive",
            Method::Median => "median",
            Method::Ses => "ses",
            Method::Holt => "holt",
            Method::Ets => "ets",
            Method::Ar => "ar",
            Method::Seasonal => "seasonal",
            Method::Combined => "combined",
        }
    }

    /// The method of this name; `None` if there is none.
    pub fn from_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// Settings of a [`Forecaster`](super::Forecaster).
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Seconds between two steps.
    pub step_s: f64,
    /// Absolute number of the first step that will be pushed: its unix time / `step_s`. It gives
    /// each step its time of day.
    pub first_step: i64,
    /// Horizons at which models are scored and chosen, in steps, ascending, each in 1..=1024; those
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
            horizons: vec![1, 6, 24, 90],
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
