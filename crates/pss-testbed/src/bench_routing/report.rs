//! The result as tables of at most 120 columns, and as JSON.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::cases::{Case, Keys};
use super::figures::{Figures, Quantity};
use super::variants::NATIVE;

/// Kinds of wait that are printed for a variant, most frequent first.
const WAITS_SHOWN: usize = 5;

/// Prints everything.
pub fn print(figures: &Figures) {
    let time = |f: &Figures, case, variant: &str| f.per_row(case, variant, Quantity::Time);
    let processor =
        |f: &Figures, case, variant: &str| f.per_row(case, variant, Quantity::Processor);
    let throughput = |f: &Figures, case, variant: &str| f.ratio(case, variant, Quantity::Time);
    let thrift = |f: &Figures, case, variant: &str| f.ratio(case, variant, Quantity::Processor);
    table(figures, "throughput relative to native_hash (above 1 is faster)", 2, throughput);
    table(figures, "microseconds a row, by the clock", 2, time);
    table(figures, "rows per processor time of the sessions, relative to native_hash", 2, thrift);
    table(figures, "microseconds a row, of the sessions' processor time", 2, processor);
    table(figures, "bytes of write-ahead log a row", 0, |f, case, variant| {
        f.per_row(case, variant, Quantity::Log)
    });
    print_sizes(figures);
    print_touched(figures);
    print_waits(figures);
    for note in &figures.notes {
        println!("{note}");
    }
}

/// Prints a line for each case that has a cell, a column for each variant.
fn table(
    figures: &Figures,
    title: &str,
    places: usize,
    cell: impl Fn(&Figures, Case, &str) -> Option<f64>,
) {
    let width = |variant: &str| variant.len().max(6);
    print!("\n{title}\n{:24}", "");
    figures.variants.iter().for_each(|v| print!(" {v:>0$}", width(v)));
    println!();
    for &case in &figures.cases {
        let cells: Vec<_> = figures.variants.iter().map(|v| (v, cell(figures, case, v))).collect();
        if cells.iter().all(|(_, value)| value.is_none()) {
            continue;
        }
        print!("{:24}", case.name());
        for (variant, value) in cells {
            let text = value.map_or("-".to_owned(), |value| format!("{value:.places$}"));
            print!(" {text:>0$}", width(variant));
        }
        println!();
    }
}

fn print_sizes(figures: &Figures) {
    if !figures.map_sizes.is_empty() {
        println!("\nrow map, bytes a key (heap and index), after one load / after REINDEX");
    }
    for size in &figures.map_sizes {
        println!("  {:8}{:>7.1}{:>8.1}", size.key_type, size.bytes_per_key, size.reindexed);
    }
    let Some(native) = figures.after_checkpoint.iter().find(|l| l.variant == NATIVE) else {
        return;
    };
    println!("\nwrite-ahead log a row right after a checkpoint, keys in no order: known / new");
    for logged in &figures.after_checkpoint {
        println!("  {:12}{:>7.0}{:>8.0}", logged.variant, logged.known, logged.new);
    }
    for logged in figures.after_checkpoint.iter().filter(|l| l.variant != NATIVE) {
        println!(
            "  {} beyond {NATIVE}: {:.0} and {:.0}",
            logged.variant,
            logged.known - native.known,
            logged.new - native.new
        );
    }
}

fn print_touched(figures: &Figures) {
    if !figures.touched.is_empty() {
        println!("\npartitions that a prepared look-up by key scans / locks");
    }
    for touched in &figures.touched {
        println!("  {:16}{:>3}{:>4}", touched.variant, touched.scanned, touched.locked);
    }
}

fn print_waits(figures: &Figures) {
    if !figures.waits.is_empty() {
        println!("\nwhat active sessions of pgbench were seen at, in percent");
    }
    for ((case, variant), seen) in &figures.waits {
        let all: u64 = seen.values().sum();
        let mut events: Vec<_> = seen.iter().collect();
        events.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        let percent = |times: u64| 100.0 * times as f64 / all as f64;
        let shown: Vec<String> = events
            .into_iter()
            .take(WAITS_SHOWN)
            .map(|(event, &times)| format!("{event} {:.0}", percent(times)))
            .collect();
        if [NATIVE, "planner", "slot"].contains(variant) {
            println!("  {case:16}{variant:12} {}", shown.join(", "));
        }
    }
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
