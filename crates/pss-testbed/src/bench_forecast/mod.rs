//! `make bench-forecast`: how good, how honest and how cheap the forecasts of pss-core are.
//!
//! Every origin after the learning part of every series is forecast as it would have been then,
//! by the engine's own choice (`auto`) and by each of its methods. It must never show a model a
//! value before its time, and it needs no PostgreSQL.
//!
//! - `series`: series from CSV files; `own`: those made here, for everybody
//! - `evaluate`: values in, forecasts out, in the order of time
//! - `score`: forecasts against what came; `cost`: time and memory
//! - `report`: the table and the JSON
//! - `rival`: an AutoETS that is not ours, fitted at some of the origins (feature `rival`)

mod cost;
mod evaluate;
mod own;
mod report;
#[cfg(feature = "rival")]
mod rival;
mod score;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Result, ensure};
use clap::Args;
use pss_core::forecast::{Config, Forecaster, Method};
use pss_simulate::series::{self, Series};
use serde_json::Value;

use cost::Cost;
use evaluate::Engine;
use score::Scores;

/// Share of coming values that intervals should hold.
const COVERAGE: f64 = 0.8;

/// What to evaluate, and where to leave the result.
#[derive(Args)]
pub struct Wishes {
    /// Folder of CSV files with the columns t_seconds,value; without it, the project's own series
    #[arg(long)]
    series: Option<PathBuf>,
    /// File to write the result to, as JSON
    #[arg(long)]
    out: Option<PathBuf>,
    /// Evaluate only these, by name: auto, naive, ...
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Compare with augurs' AutoETS at some of the origins, too
    #[cfg(feature = "rival")]
    #[arg(long)]
    rival: bool,
}

/// A contestant: a method, or the engine's own choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Contestant(Option<Method>);

impl Contestant {
    /// `auto` and every method.
    fn all() -> impl Iterator<Item = Contestant> {
        std::iter::once(None).chain(Method::ALL.into_iter().map(Some)).map(Contestant)
    }

    fn name(self) -> &'static str {
        self.0.map_or("auto", Method::name)
    }

    /// A forecaster for `series` that has seen nothing of it.
    fn forecaster(self, series: &Series, horizons: &[usize]) -> Forecaster {
        Forecaster::new(Config {
            step_s: series.step_s,
            first_step: series.first_step,
            horizons: horizons.to_vec(),
            coverage: COVERAGE,
            method: self.0,
        })
    }

    /// The same, to be evaluated.
    fn engine(self, series: &Series, horizons: &[usize]) -> Engine {
        Engine { forecaster: self.forecaster(series, horizons), method: self.0 }
    }
}

/// How one contestant did on one series.
struct Entry {
    contestant: Contestant,
    scores: Scores,
    cost: Cost,
}

/// How all of them did on one series.
struct Outcome {
    name: String,
    step_s: f64,
    /// Steps ahead.
    horizons: Vec<usize>,
    /// Last value is nearly always right: there is nothing to forecast, only to survive.
    robustness: bool,
    entries: Vec<Entry>,
}

/// Evaluates, prints and writes.
///
/// # Errors
/// If a series cannot be read, a name is unknown, or the file cannot be written.
pub fn run(wishes: &Wishes) -> Result<()> {
    let contestants = chosen(&wishes.only)?;
    let all = match &wishes.series {
        Some(folder) => series::read_folder(folder)?,
        None => own::series()?,
    };
    let mut outcomes = in_parallel(&all, |series| evaluate_series(series, &contestants));
    // One at a time, so that they do not take each other's caches.
    for (series, outcome) in all.iter().zip(&mut outcomes) {
        for entry in &mut outcome.entries {
            entry.cost = cost::of(series, &outcome.horizons, entry.contestant)?;
        }
    }
    let refresh_ms = cost::refresh_ms(&all)?;
    report::print(&outcomes, refresh_ms);
    let rival = beside_rival(wishes, &all);
    match &wishes.out {
        Some(file) => report::write(file, &outcomes, refresh_ms, rival),
        None => Ok(()),
    }
}

/// The comparison with the rival, printed, if it is wished for.
#[cfg(feature = "rival")]
fn beside_rival(wishes: &Wishes, all: &[Series]) -> Option<Value> {
    wishes.rival.then(|| rival::compare(all))
}

/// This build has no rival.
#[cfg(not(feature = "rival"))]
fn beside_rival(_: &Wishes, _: &[Series]) -> Option<Value> {
    None
}

fn chosen(only: &[String]) -> Result<Vec<Contestant>> {
    let known: Vec<&str> = Contestant::all().map(Contestant::name).collect();
    let unknown = only.iter().find(|name| !known.contains(&name.as_str()));
    ensure!(
        unknown.is_none(),
        "there is no model {:?}; there are {}",
        unknown.map_or("", String::as_str),
        known.join(", ")
    );
    let wanted = |c: &Contestant| only.is_empty() || only.iter().any(|name| name == c.name());
    Ok(Contestant::all().filter(wanted).collect())
}

fn evaluate_series(series: &Series, contestants: &[Contestant]) -> Outcome {
    let horizons = series.horizons();
    let entries = contestants.iter().map(|&contestant| {
        let mut model = contestant.engine(series, &horizons);
        let records = evaluate::records(series, &horizons, 1, &mut model);
        let mut scores = score::scores(series, &horizons, &records);
        if !model.has_own_intervals(&horizons) {
            scores = Scores { pinball: None, coverage: None, ..scores };
        }
        Entry { contestant, scores, cost: Cost::default() }
    });
    Outcome {
        name: series.name.clone(),
        step_s: series.step_s,
        entries: entries.collect(),
        robustness: score::is_still(series),
        horizons,
    }
}

/// Applies `job` to every series on all processors; results in the order of the series.
fn in_parallel<T: Send>(all: &[Series], job: impl Fn(&Series) -> T + Sync) -> Vec<T> {
    let next = Mutex::new(all.iter().enumerate());
    let take = || next.lock().ok().and_then(|mut left| left.next());
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let work = || std::iter::from_fn(take).map(|(i, series)| (i, job(series))).collect();
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Vec<(usize, T)>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}
