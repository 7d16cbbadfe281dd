//! Workloads of files: `t_seconds,partition,capacity,foreign,own`, one line for each partition at
//! each time, in the order of time.
//!
//! docs/benchmarks.md describes the format. What a line says holds until the next time. Nothing
//! is filled in: a file that leaves something open is refused with the line.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::workload::{Grid, STEP_S, Workload};

const HEADER: &str = "t_seconds,partition,capacity,foreign,own";

/// Steps that a file may span, so that one wild time cannot take all memory.
const MOST_CELLS: f64 = 5e7;

/// Reads a workload.
///
/// # Errors
/// If the file cannot be read or is not one: the message names the line.
pub fn read(path: &Path) -> Result<Workload> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("cannot use {}", path.display()))
}

/// The workload as a file: [`read`] gives it back but for what a file cannot say (sizes of keys,
/// noise of measuring). All volume stands with partition 0.
pub fn write(workload: &Workload) -> String {
    let mut text = format!("{HEADER}\n");
    for step in 0..workload.steps() {
        let (foreign, capacity) = (workload.foreign.row(step), workload.capacity.row(step));
        for (p, (foreign, capacity)) in foreign.iter().zip(capacity).enumerate() {
            let own = if p == 0 { workload.volume[step] } else { 0.0 };
            let at = step as f64 * STEP_S;
            writeln!(text, "{at},{p},{capacity},{foreign},{own}").ok();
        }
    }
    text
}

/// What holds from a time on: capacity and foreign load by partition, and volume.
struct Block {
    at_s: f64,
    line: usize,
    capacity: Vec<f64>,
    foreign: Vec<f64>,
    volume: f64,
}

fn parse(text: &str) -> Result<Workload> {
    let blocks = blocks(text)?;
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
        anyhow::bail!("there is no line but the header, {HEADER}");
    };
    ensure!(blocks.len() > 1, "all lines have one time: there is nothing to play");
    let n = first.capacity.len();
    for block in &blocks {
        let complete = block.capacity.len() == n && block.foreign.iter().all(|f| f.is_finite());
        ensure!(complete, "line {}: not all {n} partitions at {} s", block.line, block.at_s);
    }
    // The last block holds as long as the one before it.
    let end_s = 2.0 * last.at_s - blocks[blocks.len() - 2].at_s - first.at_s;
    let steps = (end_s / STEP_S).ceil();
    ensure!(steps * n as f64 <= MOST_CELLS, "{end_s} s of {n} partitions are too many");
    let now: Vec<&Block> = (0..steps as usize)
        .map(|step| {
            let at_s = first.at_s + (step as f64 + 0.5) * STEP_S;
            &blocks[blocks.partition_point(|block| block.at_s <= at_s).saturating_sub(1)]
        })
        .collect();
    Ok(Workload {
        capacity: Grid::new(n, now.len(), |p, step| now[step].capacity[p]),
        volume: now.iter().map(|block| block.volume).collect(),
        ..Workload::steady(Grid::new(n, now.len(), |p, step| now[step].foreign[p]), 0.0)
    })
}

fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    for (line, text) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line + 1;
        let text = text.trim();
        if text.is_empty() || (line == 1 && text == HEADER) {
            continue;
        }
        let fields: Vec<Option<f64>> =
            text.split(',').map(|field| field.trim().parse().ok()).collect();
        let [Some(at_s), Some(partition), Some(capacity), Some(foreign), Some(own)] = fields[..]
        else {
            anyhow::bail!("line {line}: not {HEADER}: {text:?}");
        };
        let loads = [capacity, foreign, own];
        ensure!(
            loads.iter().all(|x| x.is_finite() && *x >= 0.0) && at_s.is_finite(),
            "line {line}: a time, a capacity and loads are finite and not negative"
        );
        let p = partition as usize;
        ensure!(p as f64 == partition && p < 65_536, "line {line}: no partition {partition}");
        if blocks.last().is_none_or(|block| block.at_s != at_s) {
            let before = blocks.last().map_or(f64::NEG_INFINITY, |block| block.at_s);
            ensure!(at_s > before, "line {line}: time {at_s} comes after {before}");
            blocks.push(Block { at_s, line, capacity: vec![], foreign: vec![], volume: 0.0 });
        }
        let Some(block) = blocks.last_mut() else { continue };
        if block.foreign.len() <= p {
            block.foreign.resize(p + 1, f64::NAN);
            block.capacity.resize(p + 1, 0.0);
        }
        ensure!(block.foreign[p].is_nan(), "line {line}: partition {p} a second time at {at_s} s");
        block.capacity[p] = capacity;
        block.foreign[p] = foreign;
        block.volume += own;
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::{Shape, all};

    #[test]
    fn workloads_go_through_files() {
        let shape = Shape { partitions: 5, steps: 300, scored_from_s: 200.0, interval_s: 10.0 };
        for recipe in all() {
            let made = recipe.make(&shape, 7);
            let told = Workload { size_spread: 0.0, noise: 0.0, jumps: vec![], ..made };
            assert_eq!(parse(&write(&told)).expect(recipe.name), told, "{}", recipe.name);
        }
    }

    #[test]
    fn a_line_holds_until_the_next_time() {
        let text = "100,1,2,0.5,1\n100,0,1,0.25,2\n\n110,0,1,0.75,0\n110,1,2,1,0\n";
        let workload = parse(text).expect("a workload");
        assert_eq!((workload.partitions(), workload.steps()), (2, 10));
        assert_eq!(workload.foreign.row(4), [0.25, 0.5]);
        assert_eq!(workload.foreign.row(5), [0.75, 1.0]);
        assert_eq!(workload.capacity.row(9), [1.0, 2.0]);
        assert_eq!((workload.volume[4], workload.volume[5]), (3.0, 0.0));
    }

    #[test]
    fn errors_name_the_line() {
        let error = |text| format!("{:#}", parse(text).expect_err(text));
        assert!(error("t_seconds,partition,capacity,foreign,own\n").contains("no line"));
        assert!(error("0,0,1,0,1\n").contains("one time"));
        assert!(error("0,0,1,0,1\n0,0,1,0,1\n").starts_with("line 2: partition 0 a second time"));
        assert!(error("0,0,1,0,1\n0,1,1,0,1\n5,0,1,0,1\n").starts_with("line 3: not all 2"));
        assert!(error("5,0,1,0,1\n0,0,1,0,1\n").starts_with("line 2: time 0 comes after 5"));
        assert!(error("0,0,1,0\n").starts_with("line 1: not t_seconds"));
        assert!(error("0,x,1,0,1\n").starts_with("line 1: not t_seconds"));
        assert!(error("0,0.5,1,0,1\n").starts_with("line 1: no partition 0.5"));
        assert!(error("0,0,1,nan,1\n").starts_with("line 1: a time"));
        assert!(error("0,0,1,-1,1\n").starts_with("line 1: a time"));
        assert!(error("0,0,1,0,1\n1e15,0,1,0,1\n").contains("too many"));
    }
}
