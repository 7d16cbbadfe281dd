//! The engine beside augurs' AutoETS (a port of statsforecast's), on the same origins.
//!
//! AutoETS is fitted anew at each origin, so only some can be afforded. It gets the same values at
//! the same time, with gaps filled by the last value, since it knows no missing ones.

use std::cell::OnceCell;

use augurs_core::prelude::*;
use augurs_ets::AutoETS;
use pss_core::forecast::Prediction;
use serde_json::{Value, json};

use super::evaluate::{self, Model};
use super::score::{self, Scores, geometric_mean, mean};
use super::series::Series;
use super::{COVERAGE, Contestant, in_parallel};

/// Every so many origins are forecast.
const STRIDE: usize = 50;

/// Latest values that AutoETS is fitted to; with 1,000 it did worse.
const WINDOW: usize = 300;

/// AutoETS without a season, fitted when it is asked.
pub struct Rival {
    seen: Vec<f64>,
    farthest: usize,
    /// Forecasts after the last step, with intervals; `None` where no model can be fitted.
    fitted: OnceCell<Option<augurs_core::Forecast>>,
}

impl Rival {
    /// One that has seen nothing, to be asked for these horizons.
    pub fn new(horizons: &[usize]) -> Self {
        let farthest = horizons.iter().copied().max().unwrap_or(1);
        Rival { seen: Vec::new(), farthest, fitted: OnceCell::new() }
    }

    fn fit(&self) -> Option<augurs_core::Forecast> {
        let window = &self.seen[self.seen.len().saturating_sub(WINDOW)..];
        let model = AutoETS::non_seasonal().fit(window).ok()?;
        model.predict(self.farthest, COVERAGE).ok()
    }
}

impl Model for Rival {
    fn push(&mut self, value: Option<f64>) {
        self.seen.extend(value.or(self.seen.last().copied()));
        self.fitted = OnceCell::new();
    }

    fn predict(&self, h: usize) -> Option<Prediction> {
        let forecast = self.fitted.get_or_init(|| self.fit()).as_ref()?;
        let intervals = forecast.intervals.as_ref()?;
        let (value, lo, hi) =
            (forecast.point[h - 1], intervals.lower[h - 1], intervals.upper[h - 1]);
        [value, lo, hi].iter().all(|v| v.is_finite()).then_some(Prediction { value, lo, hi })
    }
}

/// Compares on all series that are not for robustness; prints the table and returns the figures.
pub fn compare(all: &[Series]) -> Value {
    let counted: Vec<Series> = all.iter().filter(|s| !score::is_still(s)).cloned().collect();
    let duels = in_parallel(&counted, duel);
    let width = counted.iter().map(|series| series.name.len()).max().unwrap_or(0).max(12);
    println!("\nbeside augurs' AutoETS, every {STRIDE}th origin, fitted to {WINDOW} values");
    println!(
        "{:width$} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7}",
        "series", "rel_mae", "its", "pinball", "its", "cover80", "its"
    );
    for (series, [auto, its]) in counted.iter().zip(&duels) {
        println!("{:width$}{}", series.name, cells(auto, its));
    }
    let over = |side: usize| {
        let every = |of: fn(&Scores) -> Option<f64>| duels.iter().filter_map(move |d| of(&d[side]));
        Scores {
            rel_mae: geometric_mean(every(|s| s.rel_mae)),
            mase: geometric_mean(every(|s| s.mase)),
            pinball: geometric_mean(every(|s| s.pinball)),
            coverage: mean(every(|s| s.coverage)),
            bias: mean(every(|s| s.bias)),
        }
    };
    let (auto, its) = (over(0), over(1));
    let ratio = auto.pinball.zip(its.pinball).map(|(auto, its)| auto / its);
    println!("{:width$}{}", "overall", cells(&auto, &its));
    println!("pinball loss relative to AutoETS: {:.3}", ratio.unwrap_or(f64::NAN));
    let figures = |scores: &Scores| {
        json!({
            "rel_mae": scores.rel_mae, "mase": scores.mase, "pinball": scores.pinball,
            "coverage80": scores.coverage, "bias": scores.bias,
        })
    };
    json!({
        "stride": STRIDE, "window": WINDOW, "pinball_ratio": ratio,
        "auto": figures(&auto), "augurs_auto_ets": figures(&its),
    })
}

/// The engine's choice and AutoETS on the same pairs of a series.
fn duel(series: &Series) -> [Scores; 2] {
    let horizons = series.horizons();
    let mut auto = Contestant(None).engine(series, &horizons);
    let mut rival = Rival::new(&horizons);
    let models: [&mut dyn Model; 2] = [&mut auto, &mut rival];
    models.map(|model| {
        let records = evaluate::records(series, &horizons, STRIDE, model);
        score::scores(series, &horizons, &records)
    })
}

fn cells(auto: &Scores, its: &Scores) -> String {
    let cell = |value: Option<f64>, width| match value {
        Some(value) => format!(" {value:>width$.3}"),
        None => format!(" {:>width$}", "-"),
    };
    [
        cell(auto.rel_mae, 8),
        cell(its.rel_mae, 8),
        cell(auto.pinball, 8),
        cell(its.pinball, 8),
        cell(auto.coverage, 7),
        cell(its.coverage, 7),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AutoETS continues a line: it is asked at the right step, and with what came before it.
    #[test]
    fn the_rival_is_asked_at_the_right_step() {
        let values = (0..300).map(|t| (t % 29 != 3).then_some(100.0 + f64::from(t))).collect();
        let line = Series { name: "line".into(), step_s: 60.0, first_step: 0, values };
        let [_, its] = duel(&line);
        assert!(its.rel_mae.is_some_and(|ratio| ratio < 0.1), "{its:?}");
    }
}
