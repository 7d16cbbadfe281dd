//! `make bench-balance`: static hash against pss on a real server, under foreign jobs that come and
//! go on partitions with tablespaces and locks of their own.
//!
//! Both tables get the same inserts, the same jobs at the same times, and their turns alternate, so
//! that a busy machine is busy for both. Load is what the server counted, never what pss or a
//! client believes. Must never report a run in which a row was lost.
//!
//! - `scene`: what is played: how fast, which jobs, when
//! - `tables`: the two tables, a tablespace each partition; `clients`, `jobs`: who works on them
//! - `turn`: one table's turn, watched; `figures`: what turns came to; `report`: tables and JSON

mod clients;
mod figures;
mod jobs;
mod report;
mod scene;
mod tables;
mod turn;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::runner::Session;
use crate::server::{Cluster, Options};
use figures::Figures;
use scene::{Pace, Scene};
use tables::TABLES;

/// What to measure, and where to leave the result.
#[derive(Args, Clone, Debug)]
pub struct Wishes {
    /// Repetitions, of which the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Scored seconds of each turn
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Clients that insert
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    clients: u32,
    /// Part of the inserts that goes to keys of late, 0 to 1; the others bring new keys
    #[arg(long, default_value_t = 0.3, value_parser = part)]
    known: f64,
    /// Seconds between two beginnings of the same foreign job
    #[arg(long, default_value_t = 15.0, value_parser = seconds)]
    period: f64,
    /// File to write the result to, as JSON
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Columns that tables may take.
const WIDTH: usize = 120;

/// Periods of the jobs before anything is scored.
const LEARNT_PERIODS: f64 = 4.0;

/// How long hash's speed without foreign load is measured, seconds.
const PILOT: f64 = 3.0;

fn part(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1.0)
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 1.0, 3600.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{value} is not between {least} and {most}"))
    }
}

/// Measures, prints and writes.
///
/// # Errors
/// If the server refuses a statement, a row is lost, or the file cannot be written.
pub fn run(session: &Session, wishes: &Wishes) -> Result<()> {
    let cluster = Cluster::start(&session.tree, options())?;
    println!(
        "PostgreSQL {}, {} partitions with a tablespace each, {} clients, {} runs, {} s scored after {} s \
         to learn, fsync off",
        session.pg.version,
        tables::PARTITIONS,
        wishes.clients,
        wishes.runs,
        wishes.seconds,
        wishes.period * LEARNT_PERIODS
    );
    let figures =
        measure(&cluster, wishes, (LEARNT_PERIODS, PILOT), &|done| eprintln!("{done}"))
            .map_err(|e| e.context(format!("the server's log ends:\n{}", cluster.log_tail())))?;
    println!("{}", report::text(&figures));
    match &wishes.out {
        Some(file) => report::write(file, wishes, &figures),
        None => Ok(()),
    }
}

/// A second here is what 10 s are elsewhere: sampling and deciding go with it.
pub fn options() -> Options {
    Options::default()
        .set("pss.sample_interval", "1s")
        .set("pss.refresh_interval", "1s")
        .set("shared_buffers", "1GB")
        .set("max_wal_size", "8GB")
        .set("checkpoint_timeout", "1h")
        .set("autovacuum", "off")
        .set("log_min_messages", "warning")
}

/// Measures everything in small, which takes half a minute: for the tests, so that this cannot rot.
///
/// # Errors
/// Also if a figure is missing.
pub fn rehearse(cluster: &Cluster) -> Result<()> {
    let wishes = Wishes { runs: 1, seconds: 3, clients: 2, known: 0.3, period: 2.0, out: None };
    let figures = measure(cluster, &wishes, (1.0, 0.5), &|_| {})?;
    let text = report::text(&figures);
    let wide = text.lines().find(|line| line.len() > WIDTH);
    ensure!(wide.is_none(), "a line is longer than {WIDTH}: {wide:?}");
    for pace in Pace::ALL {
        for table in TABLES {
            let of = figures.of(pace, table).next().context("a turn is missing")?;
            ensure!(of.inserts > 0 && of.seconds > 0.0, "{} stored nothing", table.name());
            ensure!(of.imbalance.is_some_and(f64::is_finite), "{} had no load", table.name());
            ensure!(of.job_rounds > 0, "no foreign job ran beside {}", table.name());
        }
    }
    ensure!(report::as_json(&wishes, &figures).as_array().is_some_and(|rows| rows.len() == 5));
    Ok(())
}

/// Measures on a fresh cluster: `learnt` periods of jobs before the scored time, and hash's speed
/// for `pilot` seconds.
fn measure(
    cluster: &Cluster,
    wishes: &Wishes,
    (learnt, pilot): (f64, f64),
    tell: &dyn Fn(&str),
) -> Result<Figures> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    tables::create_tablespaces(cluster, &mut client)?;
    let alone = Scene::alone(wishes.clients, wishes.known, pilot);
    let speed = turn::play(cluster, TABLES[0], &alone)?.per_second();
    tell(&format!("static hash without foreign load: {speed:.0} inserts/s"));
    let mut figures = Figures { speed, turns: Vec::new() };
    for run in 0..wishes.runs {
        for pace in Pace::ALL {
            let scene = Scene {
                learnt: wishes.period * learnt,
                scored: f64::from(wishes.seconds),
                ..Scene::of_run(run, pace, speed, wishes.period, &alone)
            };
            let mut tables = TABLES;
            tables.rotate_left(run as usize % TABLES.len());
            for table in tables {
                let turn = turn::play(cluster, table, &scene)
                    .with_context(|| format!("{} of {}", pace.name(), table.name()))?;
                tell(&format!("run {}, {}, {}: done", run + 1, pace.name(), table.name()));
                figures.turns.push(turn);
            }
        }
    }
    let crashes = cluster.crashes();
    ensure!(crashes.is_empty(), "the server crashed:\n{}", crashes.join("\n"));
    Ok(figures)
}
