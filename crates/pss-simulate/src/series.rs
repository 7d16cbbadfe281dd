//! Load series on an even grid of time, and how they are read from CSV files.
//!
//! A file has the columns `t_seconds,value`, with or without that header, in the order of time.
//! An empty value is missing, and so is a step without a row; what is no load (negative, not a
//! number, infinite) is missing too, as it is for the forecaster. Nothing is ever filled in.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Steps that a file may span, so that one wild time cannot take all memory.
const MOST_STEPS: f64 = 1e7;

/// How far a row may be off the grid, in steps.
const OFF_GRID: f64 = 0.25;

/// A series, one value a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Name of its file, without the ending.
    pub name: String,
    /// Seconds between two steps.
    pub step_s: f64,
    /// Number of the first step: its time over `step_s`.
    pub first_step: i64,
    /// Load of each step; `None` is missing.
    pub values: Vec<Option<f64>>,
}

impl Series {
    /// Steps ahead to forecast: 1, 2, 3 for steps of five minutes or more, else as many as make
    /// 5, 10 and 15 minutes. Always three, ascending.
    pub fn horizons(&self) -> Vec<usize> {
        if self.step_s >= 300.0 {
            return vec![1, 2, 3];
        }
        let steps = |minutes: f64| (minutes * 60.0 / self.step_s).round() as usize;
        vec![steps(5.0), steps(10.0), steps(15.0)]
    }
}

/// Reads every `*.csv` of a folder, in the order of their names.
///
/// # Errors
/// If there is none, or one cannot be read: the message names file and line.
pub fn read_folder(folder: &Path) -> Result<Vec<Series>> {
    let context = || format!("cannot read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "there is no *.csv in {}", folder.display());
    files.iter().map(|file| read_file(file)).collect()
}

fn read_file(file: &Path) -> Result<Series> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    parse(&name, &text).with_context(|| format!("cannot use {}", file.display()))
}

/// A row: its line in the file, its time, its load.
type Row = (usize, f64, Option<f64>);

fn parse(name: &str, text: &str) -> Result<Series> {
    let rows = rows(text)?;
    let [first, .., last] = rows.as_slice() else {
        bail!("a series needs two rows to tell its interval, this one has {}", rows.len());
    };
    for pair in rows.windows(2) {
        let ((_, before, _), (line, time, _)) = (pair[0], pair[1]);
        ensure!(time != before, "line {line}: time {time} a second time");
        ensure!(time > before, "line {line}: time {time} comes after {before}");
    }
    let step_s = commonest_step(&rows);
    let start = first.1;
    let steps = (last.1 - start) / step_s;
    ensure!(steps < MOST_STEPS, "line {}: {steps:.0} steps of {step_s} s are too many", last.0);
    let mut values = vec![None; steps.round() as usize + 1];
    let mut taken = None;
    for &(line, time, value) in &rows {
        let place = (time - start) / step_s;
        let step = place.round();
        ensure!(
            (place - step).abs() <= OFF_GRID && taken != Some(step as usize),
            "line {line}: time {time} is not a multiple of {step_s} s after the first, {start}"
        );
        taken = Some(step as usize);
        values[step as usize] = value;
    }
    let first_step = (start / step_s).round() as i64;
    Ok(Series { name: name.to_owned(), step_s, first_step, values })
}

fn rows(text: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (line, text) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line + 1;
        if text.trim().is_empty() {
            continue;
        }
        let mut fields = text.split(',').map(|field| field.trim().trim_matches('"'));
        let (Some(time), Some(value), None) = (fields.next(), fields.next(), fields.next()) else {
            bail!("line {line}: not t_seconds,value: {text:?}");
        };
        let Some(seconds) = time.parse::<f64>().ok().filter(|t| t.is_finite()) else {
            ensure!(rows.is_empty() && line == 1, "line {line}: {time:?} is not a time in seconds");
            continue;
        };
        let value = match value {
            "" => None,
            number => Some(number.parse::<f64>().ok().with_context(|| {
                format!("line {line}: {number:?} is neither a number nor empty")
            })?),
        };
        rows.push((line, seconds, value.filter(|y| y.is_finite() && *y >= 0.0)));
    }
    Ok(rows)
}

/// The most common difference of time; of equally common ones the least.
fn commonest_step(rows: &[Row]) -> f64 {
    let mut seen: HashMap<u64, usize> = HashMap::new();
    for pair in rows.windows(2) {
        // To the microsecond: differences of decimal fractions are not equal to the last bit.
        let step = ((pair[1].1 - pair[0].1) * 1e6).round().max(1.0);
        *seen.entry(step as u64).or_default() += 1;
    }
    let commonest = seen.into_iter().max_by_key(|&(step, count)| (count, std::cmp::Reverse(step)));
    commonest.map_or(1.0, |(step, _)| step as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_and_missing_rows_are_missing_steps() {
        let text = "t_seconds,value\n600,1\n660,\n720,3.5\n900,nan\n960,-1\n1020,7\n";
        let series = parse("a", text).expect("a series");
        assert_eq!((series.step_s, series.first_step), (60.0, 10));
        let known = [Some(1.0), None, Some(3.5), None, None, None, None, Some(7.0)];
        assert_eq!(series.values, known);
        assert_eq!(parse("a", &text[16..]).expect("no header"), series);
    }

    #[test]
    fn horizons_are_steps_or_minutes() {
        let of = |step_s| {
            Series { name: String::new(), step_s, first_step: 0, values: vec![] }.horizons()
        };
        assert_eq!(of(3600.0), [1, 2, 3]);
        assert_eq!(of(300.0), [1, 2, 3]);
        assert_eq!(of(299.0), [1, 2, 3]);
        assert_eq!(of(60.0), [5, 10, 15]);
        assert_eq!(of(10.0), [30, 60, 90]);
    }

    #[test]
    fn errors_name_the_line() {
        let error = |text| format!("{:#}", parse("a", text).expect_err(text));
        assert!(error("0,1\n60,2\n60,3\n").starts_with("line 3: time 60 a second time"));
        assert!(error("0,1\n60,2\n50,3\n").starts_with("line 3: time 50 comes after 60"));
        assert!(error("0,1\n60,2\n120,3\n150,4\n").starts_with("line 4: time 150 is not a"));
        assert!(error("0,1\n60,x\n").starts_with("line 2: \"x\" is neither"));
        assert!(error("t,v\nx,1\n").starts_with("line 2: \"x\" is not a time"));
        assert!(error("0,1\n60,2,3\n").starts_with("line 2: not t_seconds,value"));
        assert!(error("0,1\n1,2\n2,2\n1e12,2\n").starts_with("line 4: "));
        assert!(error("0,1\n").contains("needs two rows"));
    }

    #[test]
    fn a_folder_is_read_in_order_and_a_bad_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        assert!(read_folder(folder.path()).is_err());
        write("b.csv", "0,1\n300,2\n").expect("written");
        write("a.csv", "t_seconds,value\r\n0,1\r\n300,2\r\n").expect("written");
        write("notes.txt", "no series").expect("written");
        let series = read_folder(folder.path()).expect("two series");
        assert_eq!(series.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        write("c.csv", "0,1\n300,oops\n").expect("written");
        let error = format!("{:#}", read_folder(folder.path()).expect_err("c is bad"));
        assert!(error.contains("c.csv") && error.contains("line 2"), "{error}");
    }
}
