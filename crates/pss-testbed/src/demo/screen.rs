//! The live view: a table that is drawn over itself on a terminal, a line now and then elsewhere.
//!
//! Must leave the terminal as it was at any moment, since Ctrl-C may come at any moment: it moves
//! the cursor up and writes over lines, and changes no mode.

use std::io::{IsTerminal, Write};

use super::counters::{Window, imbalance, score};
use super::{DAYS, PARTITIONS, SCORED_FROM, SECONDS_A_DAY};

/// Without a terminal, every so many windows are told of.
const LINE_EVERY: usize = 5;

/// Characters of the longest bar.
const BAR: f64 = 22.0;

/// The view of one run.
pub struct Screen {
    title: String,
    first_day: u32,
    terminal: bool,
    lines: usize,
    /// Load that fills a bar.
    full: f64,
}

impl Screen {
    /// The view of run `run` of `runs`.
    pub fn new(run: u32, runs: u32, first_day: u32) -> Self {
        let title = if runs > 1 { format!("run {run} of {runs}   ") } else { String::new() };
        let terminal = std::io::stdout().is_terminal();
        Self { title, first_day, terminal, lines: 0, full: 1.0 }
    }

    /// Shows the newest window.
    pub fn show(&mut self, windows: &[Window], delay: f64) {
        let Some(window) = windows.last() else { return };
        let head = self.head(windows, window);
        if !self.terminal {
            if windows.len().is_multiple_of(LINE_EVERY) {
                println!("{head}");
            }
            return;
        }
        let largest = window.load.iter().flatten().copied().fold(0.0, f64::max);
        self.full = self.full.max(largest);
        let mut text = vec![head, String::new()];
        text.push(format!(
            "{:9}{:<57}{}",
            "", "by pss (flights_pss)", "by native hash (flights_hash)"
        ));
        text.push(format!(
            "partition {:>6} {:>9} {:>7} {:>7} {:23} {:>6} {:>7}",
            "load", "forecast", "weight", "rows", "", "load", "rows"
        ));
        text.extend((0..PARTITIONS).map(|p| self.partition(window, p)));
        let peak = |twin: usize| {
            imbalance(&window.load[twin]).map_or("-".to_owned(), |i| format!("{:.2}", i + 1.0))
        };
        text.push(format!("max/mean  {:>6} {:>55}", peak(0), peak(1)));
        text.push(format!(
            "rows are written {delay:.2} s late at most; Ctrl-C stops and cleans up"
        ));
        let mut out = std::io::stdout().lock();
        if self.lines > 0 {
            write!(out, "\x1b[{}A", self.lines).ok();
        }
        for line in &text {
            writeln!(out, "{line}\x1b[K").ok();
        }
        out.flush().ok();
        self.lines = text.len();
    }

    fn head(&self, windows: &[Window], window: &Window) -> String {
        let day = (window.end / SECONDS_A_DAY).min(f64::from(DAYS) - 1e-3);
        let minutes = (day.fract() * 1440.0) as u32;
        let number = day as u32 + 1;
        let rows: u64 = window.rows[0].iter().sum();
        let (pss, hash) = (score(windows, 0, SCORED_FROM), score(windows, 1, SCORED_FROM));
        let scores = match (pss, hash) {
            (Some(pss), Some(hash)) => {
                format!("mean max/mean - 1: pss {pss:.3}, hash {hash:.3}, ratio {:.2}", pss / hash)
            }
            _ => "learning".to_owned(),
        };
        format!(
            "{}day {number} of {DAYS} ({}) {:02}:{:02}   {rows} rows   {scores}",
            self.title,
            super::flights::date_of(self.first_day + number - 1),
            minutes / 60,
            minutes % 60
        )
    }

    fn partition(&self, window: &Window, p: usize) -> String {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |v| format!("{v:.digits$}"))
        };
        let bar = |twin: usize| {
            let length = (window.load[twin][p] / self.full * BAR).round().clamp(0.0, BAR);
            "#".repeat(length as usize)
        };
        let outlook = &window.outlook[p];
        format!(
            "{p:>9} {:>6.1} {:>9} {:>7} {:>7} {:23} {:>6.1} {:>7} {}",
            window.load[0][p],
            number(outlook.forecast, 1),
            number(outlook.weight, 3),
            window.rows[0][p],
            bar(0),
            window.load[1][p],
            window.rows[1][p],
            bar(1)
        )
    }
}
