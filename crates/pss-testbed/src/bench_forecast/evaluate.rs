//! Dense rolling-origin evaluation: what a model says at every origin, in the order of time.
//!
//! A model is given the values until the origin and then asked; it must never be given a value
//! before that value's own step. The tests below shuffle the future to prove it.

use pss_core::forecast::{Forecaster, Method, Prediction};

use super::series::Series;

/// Share of a series that is only for learning; the origins are the rest.
const LEARNING: f64 = 0.4;

/// What can be evaluated: takes every step in order, and forecasts at any time.
pub trait Model {
    /// Takes the next step; `None` is missing.
    fn push(&mut self, value: Option<f64>);

    /// The forecast for `h` steps after the last one pushed, if there is one.
    fn predict(&self, h: usize) -> Option<Prediction>;
}

/// The engine with one method, or with its own choice.
pub struct Engine {
    /// Set to that method, so that its intervals are those of the method.
    pub forecaster: Forecaster,
    /// `None`: its own choice.
    pub method: Option<Method>,
}

impl Engine {
    /// Whether the interval at these horizons is that of the value given with it: a forecaster
    /// that does not follow the method it is set to has the interval of another.
    pub fn has_own_intervals(&self, horizons: &[usize]) -> bool {
        self.method.is_none_or(|method| {
            let used = |h| self.forecaster.predict(h).map(|prediction| prediction.value);
            horizons.iter().all(|&h| used(h) == self.forecaster.predict_by(method, h))
        })
    }
}

impl Model for Engine {
    fn push(&mut self, value: Option<f64>) {
        self.forecaster.push(value);
    }

    fn predict(&self, h: usize) -> Option<Prediction> {
        let prediction = self.forecaster.predict(h)?;
        let Some(method) = self.method else { return Some(prediction) };
        let value = self.forecaster.predict_by(method, h)?;
        Some(Prediction { value, ..prediction })
    }
}

/// One forecast, and the last value known when it was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    /// The last step that the model had seen.
    pub origin: usize,
    /// Steps from the origin to the step that is forecast.
    pub horizon: usize,
    /// Last value known at the origin.
    pub last: f64,
    /// What the model said; last value where it said nothing.
    pub forecast: Prediction,
}

impl Record {
    /// The step that is forecast.
    pub fn target(&self) -> usize {
        self.origin + self.horizon
    }
}

/// Number of steps that are only for learning.
pub fn learning_steps(series: &Series) -> usize {
    (series.values.len() as f64 * LEARNING).ceil() as usize
}

/// Forecasts at every `stride`-th origin after the learning part and at every horizon that stays
/// within the series. An origin before the first known value has none; one whose own value is
/// missing has.
pub fn records(
    series: &Series,
    horizons: &[usize],
    stride: usize,
    model: &mut dyn Model,
) -> Vec<Record> {
    let first_origin = learning_steps(series);
    let is_origin = |step: usize| {
        step.checked_sub(first_origin).is_some_and(|after| after.is_multiple_of(stride))
    };
    let mut records = Vec::new();
    let mut last = None;
    for (origin, &value) in series.values.iter().enumerate() {
        model.push(value);
        last = value.or(last);
        let Some(last) = last.filter(|_| is_origin(origin)) else { continue };
        for &horizon in horizons.iter().filter(|&&h| origin + h < series.values.len()) {
            let nothing = Prediction { value: last, lo: last, hi: last };
            let forecast = model.predict(horizon).unwrap_or(nothing);
            records.push(Record { origin, horizon, last, forecast });
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::super::{Contestant, own, score};
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use rand::seq::SliceRandom;

    /// The series with all that comes after `origin` in another order.
    fn with_other_future(series: &Series, origin: usize) -> Series {
        let mut other = series.clone();
        other.values[origin + 1..].shuffle(&mut SmallRng::seed_from_u64(origin as u64));
        assert_ne!(other.values[origin + 1..], series.values[origin + 1..]);
        other
    }

    /// What was said until `origin`, to the last bit.
    fn said_until(
        series: &Series,
        origin: usize,
        make: impl Fn(&Series) -> Box<dyn Model>,
    ) -> Vec<(usize, usize, [u64; 3])> {
        let mut model = make(series);
        records(series, &series.horizons(), 1, model.as_mut())
            .into_iter()
            .take_while(|record| record.origin <= origin)
            .map(|Record { origin, horizon, forecast: f, .. }| {
                (origin, horizon, [f.value, f.lo, f.hi].map(f64::to_bits))
            })
            .collect()
    }

    /// Whether another future changes what is said before it.
    pub fn looks_ahead(
        series: &Series,
        origin: usize,
        make: impl Fn(&Series) -> Box<dyn Model>,
    ) -> bool {
        let said = said_until(series, origin, &make);
        assert!(said.iter().any(|(at, ..)| *at == origin), "the origin itself is evaluated");
        said != said_until(&with_other_future(series, origin), origin, make)
    }

    #[test]
    fn nothing_looks_ahead() {
        for mut series in own::generated() {
            series.values.truncate(600);
            for origin in [learning_steps(&series), 450] {
                for contestant in Contestant::all() {
                    let make = |series: &Series| -> Box<dyn Model> {
                        Box::new(contestant.engine(series, &series.horizons()))
                    };
                    let (name, model) = (&series.name, contestant.name());
                    assert!(!looks_ahead(&series, origin, make), "{name} {model} {origin}");
                }
            }
        }
    }

    /// Says what it sees `ahead` steps after the last one pushed.
    struct Seer {
        values: Vec<Option<f64>>,
        pushed: usize,
        ahead: usize,
    }

    impl Model for Seer {
        fn push(&mut self, _: Option<f64>) {
            self.pushed += 1;
        }

        fn predict(&self, _: usize) -> Option<Prediction> {
            let value = self.values[self.pushed - 1 + self.ahead]?;
            Some(Prediction { value, lo: value, hi: value })
        }
    }

    #[test]
    fn a_model_that_sees_one_step_ahead_is_found_out() {
        let mut series = own::generated().remove(0);
        series.values.truncate(1500);
        let seer = |ahead| {
            move |series: &Series| -> Box<dyn Model> {
                Box::new(Seer { values: series.values.clone(), pushed: 0, ahead })
            }
        };
        let found = |ahead| (700..900).any(|origin| looks_ahead(&series, origin, seer(ahead)));
        assert!(!found(0));
        assert!(found(1));
    }

    /// On a line of slope 1, last value is wrong by exactly the horizon, and a forecast made one
    /// step early or late shows.
    #[test]
    fn forecasts_meet_the_step_they_were_made_for() {
        let values: Vec<_> = (0..500).map(|t| Some(f64::from(t))).collect();
        let line = Series { name: "line".into(), step_s: 60.0, first_step: 0, values };
        let horizons = line.horizons();
        let mut naive = Contestant(Some(Method::Naive));
        for record in records(&line, &horizons, 1, &mut naive.engine(&line, &horizons)) {
            let actual = line.values[record.target()].expect("known");
            assert_eq!(actual - record.forecast.value, record.horizon as f64);
            assert_eq!(actual - record.last, record.horizon as f64);
        }
        naive = Contestant(None);
        let said = records(&line, &horizons, 1, &mut naive.engine(&line, &horizons));
        assert_eq!(said.len(), 3 * 300 - (5 + 10 + 15));
        assert!(score::scores(&line, &horizons, &said).rel_mae.expect("some") < 1.0);
    }

    #[test]
    fn an_origin_without_a_value_counts_from_the_last_known() {
        let mut values: Vec<_> = (0..20).map(|t| Some(f64::from(t))).collect();
        values[10] = None;
        let series = Series { name: "gap".into(), step_s: 300.0, first_step: 0, values };
        let mut model = Contestant(None).engine(&series, &[1]);
        let said = records(&series, &[1], 1, &mut model);
        let at = |origin| said.iter().find(|r| r.origin == origin).expect("an origin").last;
        assert_eq!((at(9), at(10), at(11)), (9.0, 9.0, 11.0));
        assert_eq!(said.first().map(|r| r.origin), Some(8));
        assert_eq!(said.last().map(|r| r.target()), Some(19));
    }
}
