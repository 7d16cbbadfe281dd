//! What a run came to: the table at its end, the median and worst of several, and demo.json.
//!
//! Must keep live figures (from the server's counters) and simulated ones apart.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::counters::{Window, score};
use super::simulate::{self, Scores};
use super::{Play, SCORED_FROM, picture};
use crate::paths;

/// pss may have at most this part of the hash twin's imbalance.
const RATIO_BAR: f64 = 0.55;

/// Captured gain that is asked for, and the one hoped for.
const GAIN_BAR: f64 = 0.6;
const GAIN_GOAL: f64 = 0.8;

/// One run: mean over 1 s windows of max/mean - 1, live and simulated.
pub struct Outcome {
    run: u32,
    first_day: u32,
    rows: usize,
    pss: f64,
    hash: f64,
    /// Simulated on the same rows and foreign load.
    simulated: Scores,
    delay: f64,
    check: Vec<String>,
    /// What was seen, window by window.
    pub windows: Vec<Window>,
}

impl Outcome {
    /// Scores what was seen, and plays the rivals.
    pub fn new(
        run: u32,
        play: &Play,
        windows: Vec<Window>,
        delay: f64,
        check: Vec<String>,
    ) -> Self {
        let live = |twin| score(&windows, twin, SCORED_FROM).unwrap_or(f64::NAN);
        Self {
            run,
            first_day: play.first_day,
            rows: play.stream.events.len(),
            pss: live(0),
            hash: live(1),
            simulated: simulate::of_play(play),
            delay,
            check,
            windows,
        }
    }

    /// pss's imbalance as a part of the hash twin's.
    fn ratio(&self) -> f64 {
        self.pss / self.hash
    }

    /// Part of the way from hash to the placement that knows the future.
    fn gain(&self) -> f64 {
        (self.hash - self.pss) / (self.hash - self.simulated.greedy)
    }

    /// Whether `pss_check()` found nothing wrong.
    pub fn is_sound(&self) -> bool {
        self.check.is_empty()
    }

    /// Prints the table of the run.
    pub fn print(&self) {
        println!("\nRun {}: mean of max/mean - 1 over the 1 s windows of days 3 and 4", self.run);
        println!("  by the server's own counters");
        println!("    {:<42}{:.3}", "native hash", self.hash);
        println!("    {:<42}{:.3}", "pss", self.pss);
        println!("  simulated on the same {} rows and the same foreign load", self.rows);
        for (name, score) in self.simulated.rows() {
            println!("    {name:<42}{score:.3}");
        }
        println!(
            "  pss / hash {:.2} (bar {RATIO_BAR}), captured gain {:.2} (bar {GAIN_BAR}, goal {GAIN_GOAL})",
            self.ratio(),
            self.gain()
        );
        let better = |rival: f64| if self.pss < rival { "below" } else { "not below" };
        println!(
            "  pss is {} fewest rows so far, and {} pss with forecasts off",
            better(self.simulated.fewest_rows),
            better(self.simulated.forecast_off)
        );
        println!("  both twins hold the same rows, and every flight lies in one partition");
        if self.is_sound() {
            println!("  pss_check() read rows and row map and found nothing wrong");
        }
        for line in &self.check {
            println!("  pss_check(): {line}");
        }
        println!("  rows were written {:.2} s late at most\n", self.delay);
    }

    fn json(&self) -> Value {
        let simulated: serde_json::Map<String, Value> = self
            .simulated
            .rows()
            .map(|(name, score)| (name.to_owned(), json!(score)))
            .into_iter()
            .collect();
        json!({
            "run": self.run, "first_day": self.first_day, "rows": self.rows,
            "pss": self.pss, "hash": self.hash, "ratio": self.ratio(),
            "simulated": simulated, "captured_gain": self.gain(),
            "greatest_delay_s": self.delay, "pss_check": self.check,
        })
    }
}

/// Median (the upper of two) and worst of what is better when smaller.
pub fn median_and_worst(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2), at(values.len().saturating_sub(1)))
}

/// Sums several runs up, and writes the files; the picture is of the run with the median ratio.
pub fn finish(outcomes: &[Outcome]) -> Result<()> {
    let (ratio, worst_ratio) = median_and_worst(outcomes.iter().map(Outcome::ratio).collect());
    let (loss, worst_loss) = median_and_worst(outcomes.iter().map(|o| -o.gain()).collect());
    let (gain, worst_gain) = (-loss, -worst_loss);
    if outcomes.len() > 1 {
        println!("{} runs, median and worst", outcomes.len());
        println!("  pss / hash      {ratio:.2}  {worst_ratio:.2}   (bar {RATIO_BAR})");
        println!(
            "  captured gain   {gain:.2}  {worst_gain:.2}   (bar {GAIN_BAR}, goal {GAIN_GOAL})"
        );
    }
    let build = paths::repository().join("build/demo");
    std::fs::create_dir_all(&build).with_context(|| format!("create {}", build.display()))?;
    let result = json!({
        "metric": "mean over 1 s windows of days 3-4 of max/mean - 1",
        "ratio": { "median": ratio, "worst": worst_ratio, "bar": RATIO_BAR },
        "captured_gain": { "median": gain, "worst": worst_gain, "bar": GAIN_BAR, "goal": GAIN_GOAL },
        "runs": outcomes.iter().map(Outcome::json).collect::<Vec<_>>(),
    });
    std::fs::write(build.join("demo.json"), format!("{result:#}\n"))?;
    if let Some(median) = outcomes.iter().find(|o| o.ratio() == ratio) {
        std::fs::write(build.join("demo.svg"), picture::draw(&median.windows))?;
    }
    println!("Picture and figures: {}/demo.svg, demo.json", build.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::median_and_worst;

    #[test]
    fn median_is_the_middle_and_worst_the_largest() {
        assert_eq!(median_and_worst(vec![0.5, 0.3, 0.9]), (0.5, 0.9));
        assert_eq!(median_and_worst(vec![0.3]), (0.3, 0.3));
    }
}
