//! The result as a table and as JSON.
//!
//! Overall figures are geometric means over the series of what is relative (rel_mae, MASE,
//! pinball), plain means of the rest; series for robustness are shown and left out of them.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::score::{geometric_mean, mean};
use super::{Entry, Outcome};

/// Figures of one model, of one series or overall.
struct Figures {
    rel_mae: Option<f64>,
    mase: Option<f64>,
    pinball: Option<f64>,
    coverage: Option<f64>,
    bias: Option<f64>,
    us_per_update: Option<f64>,
    bytes: Option<f64>,
}

impl Figures {
    fn of(entry: &Entry) -> Figures {
        let (scores, cost) = (&entry.scores, &entry.cost);
        Figures {
            rel_mae: scores.rel_mae,
            mase: scores.mase,
            pinball: scores.pinball,
            coverage: scores.coverage,
            bias: scores.bias,
            us_per_update: Some(cost.us_per_update),
            bytes: Some(cost.bytes as f64),
        }
    }

    /// Over all series that are not for robustness.
    fn overall(outcomes: &[Outcome], model: &str) -> Figures {
        let of_series: Vec<Figures> = outcomes
            .iter()
            .filter(|outcome| !outcome.robustness)
            .filter_map(|outcome| outcome.entries.iter().find(|e| e.contestant.name() == model))
            .map(Figures::of)
            .collect();
        let every = |of: fn(&Figures) -> Option<f64>| of_series.iter().filter_map(of);
        // Intervals of some series only would be compared with those of all.
        let complete = of_series.iter().all(|f| f.coverage.is_some() || f.rel_mae.is_none());
        Figures {
            rel_mae: geometric_mean(every(|f| f.rel_mae)),
            mase: geometric_mean(every(|f| f.mase)),
            pinball: geometric_mean(every(|f| f.pinball)).filter(|_| complete),
            coverage: mean(every(|f| f.coverage)).filter(|_| complete),
            bias: mean(every(|f| f.bias)),
            us_per_update: mean(every(|f| f.us_per_update)),
            bytes: every(|f| f.bytes).reduce(f64::max),
        }
    }

    fn cells(&self) -> String {
        let cell = |value: Option<f64>, width, places| match value {
            Some(value) => format!(" {value:>width$.places$}"),
            None => format!(" {:>width$}", "-"),
        };
        [
            cell(self.rel_mae, 8, 3),
            cell(self.mase, 7, 3),
            cell(self.pinball, 8, 3),
            cell(self.coverage, 7, 3),
            cell(self.bias, 8, 3),
            cell(self.us_per_update, 7, 2),
            cell(self.bytes, 7, 0),
        ]
        .concat()
    }

    fn json(&self) -> Map<String, Value> {
        let fields = [
            ("rel_mae", self.rel_mae),
            ("mase", self.mase),
            ("pinball", self.pinball),
            ("coverage80", self.coverage),
            ("bias", self.bias),
            ("us_per_update", self.us_per_update),
            ("bytes_per_series", self.bytes),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }
}

/// Names of the models, in the order of evaluation.
fn models(outcomes: &[Outcome]) -> Vec<&'static str> {
    let first = outcomes.first();
    first.map(|o| o.entries.iter().map(|e| e.contestant.name()).collect()).unwrap_or_default()
}

/// Prints a line for every series and model, then overall.
pub fn print(outcomes: &[Outcome], refresh_ms: f64) {
    let width = outcomes.iter().map(|outcome| outcome.name.len()).max().unwrap_or(0).max(12);
    println!(
        "{:width$} {:>6} {:8} {:>8} {:>7} {:>8} {:>7} {:>8} {:>7} {:>7}",
        "series", "step_s", "model", "rel_mae", "MASE", "pinball", "cover80", "bias", "us", "bytes"
    );
    for outcome in outcomes {
        let (mut name, mut step) = (outcome.name.as_str(), outcome.step_s.to_string());
        for entry in &outcome.entries {
            let mark = if outcome.robustness { "  robustness only" } else { "" };
            let (model, cells) = (entry.contestant.name(), Figures::of(entry).cells());
            println!("{name:width$} {step:>6} {model:8}{cells}{mark}");
            (name, step) = ("", String::new());
        }
    }
    let counted = outcomes.iter().filter(|outcome| !outcome.robustness).count();
    println!("\noverall, {counted} series");
    for model in models(outcomes) {
        println!("{:width$} {:>6} {model:8}{}", "", "", Figures::overall(outcomes, model).cells());
    }
    let worst = outcomes.iter().filter(|o| !o.robustness).filter_map(|outcome| {
        let auto = outcome.entries.iter().find(|entry| entry.contestant.0.is_none())?;
        Some((auto.scores.rel_mae?, outcome.name.as_str()))
    });
    if let Some((rel_mae, name)) = worst.max_by(|a, b| a.0.total_cmp(&b.0)) {
        println!("worst series of auto: {name}, {rel_mae:.3}");
    }
    println!("refresh of 1000 partitions x 3 metrics: {refresh_ms:.1} ms of one core");
}

/// Writes everything as JSON.
///
/// # Errors
/// If the file cannot be written.
pub fn write(
    file: &Path,
    outcomes: &[Outcome],
    refresh_ms: f64,
    rival: Option<Value>,
) -> Result<()> {
    let mut overall: Map<String, Value> = models(outcomes)
        .into_iter()
        .map(|model| (model.to_owned(), Figures::overall(outcomes, model).json().into()))
        .collect();
    overall.insert("refresh_3000_ms".into(), json!(refresh_ms));
    let series: Vec<Value> = outcomes.iter().map(of_series).collect();
    let mut all = json!({ "overall": overall, "series": series });
    if let Some(rival) = rival {
        all["rival"] = rival;
    }
    let text = serde_json::to_string_pretty(&all)?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

fn of_series(outcome: &Outcome) -> Value {
    let mut fields = Map::new();
    fields.insert("name".into(), json!(outcome.name));
    fields.insert("step_s".into(), json!(outcome.step_s));
    fields.insert("horizons".into(), json!(outcome.horizons));
    fields.insert("robustness".into(), json!(outcome.robustness));
    for entry in &outcome.entries {
        fields.insert(entry.contestant.name().into(), Figures::of(entry).json().into());
    }
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::super::series::Series;
    use super::super::{Contestant, evaluate_series};
    use super::*;

    fn outcome(name: &str, of: impl Fn(usize) -> f64) -> Outcome {
        let values = (0..200).map(|t| Some(of(t))).collect();
        let series = Series { name: name.into(), step_s: 300.0, first_step: 0, values };
        evaluate_series(&series, &Contestant::all().collect::<Vec<_>>())
    }

    /// The form that others read.
    #[test]
    fn the_file_holds_overall_and_series() {
        let outcomes = [
            outcome("saw", |t| (t % 7) as f64),
            outcome("still", |_| 5.0),
            outcome("steps", |t| (t / 3 % 2) as f64),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("out.json");
        write(&file, &outcomes, 12.5, None).expect("written");
        let text = std::fs::read_to_string(&file).expect("read");
        let all: Value = serde_json::from_str(&text).expect("JSON");
        let names: Vec<_> = (0..3).map(|i| all["series"][i]["name"].as_str()).collect();
        assert_eq!(names, [Some("saw"), Some("still"), Some("steps")]);
        assert_eq!(all["series"][0]["step_s"], 300.0);
        assert_eq!(all["series"][1]["robustness"], true);
        assert_eq!(all["series"][1]["auto"]["rel_mae"], 1.0);
        let of = |value: &Value| value["auto"]["rel_mae"].as_f64().expect("a number");
        let product = of(&all["series"][0]) * of(&all["series"][2]);
        assert!((of(&all["overall"]) - product.sqrt()).abs() < 1e-12, "{text}");
        for field in ["rel_mae", "mase", "pinball", "coverage80", "us_per_update"] {
            assert!(all["overall"]["auto"][field].is_number(), "{field} in {text}");
        }
        assert!(all["overall"]["auto"]["bytes_per_series"].is_number());
        assert_eq!(all["overall"]["naive"]["rel_mae"], 1.0);
        assert_eq!(all["overall"]["refresh_3000_ms"], 12.5);
    }
}
