//! The result as tables of at most 120 columns, and as JSON.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::cases::{Case, Keys};
use super::figures::{Figures, Quantity};
use super::variants::NATIVE;

/// Kinds of wait that are printed for a variant, most frequent first.
const WAITS_SHOWN: usize = 4;

/// Everything, to be printed.
pub fn text(figures: &Figures) -> String {
    let per_row = |quantity| move |case, variant: &str| figures.per_row(case, variant, quantity);
    let ratio = |quantity| move |case, variant: &str| figures.ratio(case, variant, quantity);
    let mut parts = vec![
        table(
            figures,
            "throughput relative to native_hash (above 1 is faster)",
            2,
            ratio(Quantity::Time),
        ),
        table(figures, "microseconds a row, by the clock", 2, per_row(Quantity::Time)),
        table(
            figures,
            "rows per processor time of the sessions, relative to native_hash",
            2,
            ratio(Quantity::Processor),
        ),
        table(
            figures,
            "microseconds a row, of the sessions' processor time",
            2,
            per_row(Quantity::Processor),
        ),
        table(figures, "bytes of write-ahead log a row", 0, per_row(Quantity::Log)),
        sizes(figures),
        log_after_checkpoint(figures),
        touched(figures),
        waits(figures),
        section("left out", figures.notes.iter().cloned()),
    ];
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// A title and its lines; nothing without lines.
fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { String::new() } else { format!("{title}\n{}\n", lines.join("\n")) }
}

/// A line for each case that has a cell, a column for each variant.
fn table(
    figures: &Figures,
    title: &str,
    places: usize,
    cell: impl Fn(Case, &str) -> Option<f64>,
) -> String {
    let row = |name: &str, cell: &dyn Fn(&str) -> String| {
        let cells = figures.variants.iter().map(|v| format!(" {:>1$}", cell(v), v.len().max(5)));
        format!("{name:24}{}", cells.collect::<String>())
    };
    let lines = figures.cases.iter().filter_map(|&case| {
        figures.variants.iter().find_map(|variant| cell(case, variant))?;
        Some(row(&case.name(), &|variant| match cell(case, variant) {
            // Six characters hold what they can.
            Some(value) if value >= 1000.0 => format!("{value:.0}"),
            Some(value) if value >= 100.0 => format!("{value:.0$}", places.min(1)),
            Some(value) => format!("{value:.places$}"),
            None => "-".to_owned(),
        }))
    });
    let heading = format!("{title}\n{}", row("", &str::to_owned));
    section(&heading, lines)
}

fn sizes(figures: &Figures) -> String {
    let lines = figures.map_sizes.iter().map(|size| {
        format!("{:24} {:6.1} {:6.1}", size.key_type, size.bytes_per_key, size.reindexed)
    });
    section("row map, bytes a key (heap and index) after one load, and after REINDEX", lines)
}

fn log_after_checkpoint(figures: &Figures) -> String {
    let native = figures.after_checkpoint.iter().find(|logged| logged.variant == NATIVE);
    let lines = figures.after_checkpoint.iter().filter_map(|logged| {
        let (known, new) = (logged.known, logged.new);
        let beyond = native.map(|n| format!("{:+6.0} {:+6.0}", known - n.known, new - n.new))?;
        Some(format!("{:24} {known:6.0} {new:6.0}   beyond {NATIVE}: {beyond}", logged.variant))
    });
    let title =
        "bytes of write-ahead log a row right after a checkpoint, keys in no order: known, new";
    section(title, lines)
}

fn touched(figures: &Figures) -> String {
    let lines = figures.touched.iter().map(|touched| {
        format!("{:24} {:6} {:6}", touched.variant, touched.scanned, touched.locked)
    });
    section("partitions that a prepared look-up by key scans, and that it locks", lines)
}

fn waits(figures: &Figures) -> String {
    let shown = |(_, variant): &&(String, &str)| [NATIVE, "planner", "slot"].contains(variant);
    let lines = figures.waits.keys().filter(shown).map(|of| {
        let seen = &figures.waits[of];
        let all: u64 = seen.values().sum();
        let mut events: Vec<_> = seen.iter().collect();
        events.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        let percent = |times: u64| 100.0 * times as f64 / all as f64;
        let most = events.iter().take(WAITS_SHOWN);
        let most: Vec<_> =
            most.map(|(event, times)| format!("{event} {:.0}", percent(**times))).collect();
        format!("{:16} {:11} {}", of.0, of.1, most.join(", "))
    });
    section("what active sessions of pgbench were seen at, percent of looks", lines)
}

/// Writes everything as JSON: an object for each case and variant, and one for the rest.
///
/// # Errors
/// If the file cannot be written.
pub fn write(file: &Path, figures: &Figures) -> Result<()> {
    let text = serde_json::to_string_pretty(&as_json(figures))?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

fn as_json(figures: &Figures) -> Value {
    let mut all = Vec::new();
    for &case in &figures.cases {
        for variant in &figures.variants {
            all.extend(entry(figures, case, variant));
        }
    }
    all.push(rest(figures));
    all.into()
}

fn entry(figures: &Figures, case: Case, variant: &str) -> Option<Value> {
    let per_row = |quantity| figures.per_row(case, variant, quantity);
    Some(json!({
        "case": case.name(),
        "variant": variant,
        "ratio": figures.ratio(case, variant, Quantity::Time)?,
        "us_per_row": per_row(Quantity::Time)?,
        "cpu_ratio": figures.ratio(case, variant, Quantity::Processor),
        "cpu_us_per_row": per_row(Quantity::Processor),
        "wal_bytes_per_row": per_row(Quantity::Log),
        "rows": figures.rows(case, variant),
    }))
}

fn rest(figures: &Figures) -> Value {
    let mut maps = Map::new();
    let mut reindexed = Map::new();
    for size in &figures.map_sizes {
        maps.insert(size.key_type.to_owned(), json!(size.bytes_per_key));
        reindexed.insert(size.key_type.to_owned(), json!(size.reindexed));
    }
    let after_checkpoint = figures.after_checkpoint.iter().map(|logged| {
        (logged.variant.to_owned(), json!({ "known": logged.known, "new": logged.new }))
    });
    let touched = figures.touched.iter().map(|touched| {
        let counts = json!({ "scanned": touched.scanned, "locked": touched.locked });
        (touched.variant.to_owned(), counts)
    });
    let waits = figures
        .waits
        .iter()
        .map(|((case, variant), seen)| json!({ "case": case, "variant": variant, "seen": seen }));
    json!({
        "map_bytes_per_key": maps,
        "map_bytes_per_key_reindexed": reindexed,
        "extra_wal_bytes_per_row": {
            "known": figures.extra_log(Case::InsertSelect(Keys::Known), "planner"),
            "new": figures.extra_log(Case::InsertSelect(Keys::New), "planner"),
        },
        "wal_bytes_per_row_after_checkpoint": after_checkpoint.collect::<Map<_, _>>(),
        "partitions_touched": touched.collect::<Map<_, _>>(),
        "wait_events": waits.collect::<Vec<_>>(),
        "notes": figures.notes,
    })
}
