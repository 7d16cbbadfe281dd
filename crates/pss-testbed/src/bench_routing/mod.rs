//! `make bench-routing`: what it costs to route a row, or to find one, beside native hash
//! partitioning of the same server.
//!
//! Every variant gets the same rows, the same index and the same settings, and in every repetition
//! they take turns, so that a busy machine is busy for all of them. Must never report a variant that
//! did not store every row it was given.
//!
//! - `variants`: tables and how rows get into them; `rivals`: the PL/pgSQL ones
//! - `cases`: what is measured; `bulk`, `crowd`, `lookups`, `sizes`: how
//! - `processor`, `waits`: what the server's processes used and waited for
//! - `figures`: readings in, medians and ratios out; `report`: tables and JSON

mod bulk;
mod cases;
mod crowd;
pub mod figures;
mod lookups;
mod processor;
mod report;
mod rivals;
mod sizes;
pub mod variants;
pub mod waits;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::runner::Session;
use crate::server::{Cluster, Options};
use cases::Case;
use figures::{Figures, Quantity};
use variants::Variant;

/// What to measure, and where to leave the result.
#[derive(Args, Clone, Debug)]
pub struct Wishes {
    /// Repetitions, of which the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Rows of a bulk statement, which is also the number of keys that have a home
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..))]
    rows: u32,
    /// Seconds of each run of pgbench
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Measure only cases whose name contains one of these: insert_select, copy_new, pgbench4, ...
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Measure only these variants, and native_hash: planner, trigger, ...
    #[arg(long, value_delimiter = ',')]
    variants: Vec<String>,
    /// File to write the result to, as JSON
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Columns that tables may take.
const WIDTH: usize = 124;

/// How long pgbench runs.
#[derive(Clone, Copy, Debug)]
enum Burst {
    Seconds(u32),
    /// So many transactions of each client.
    Transactions(u32),
}

/// What all measuring needs to know.
struct Bench<'a> {
    cluster: &'a Cluster,
    wishes: &'a Wishes,
    burst: Burst,
    cases: Vec<Case>,
    variants: Vec<&'static Variant>,
}

impl Bench<'_> {
    /// Tells whoever waits that something is done.
    fn tell(&self, done: &str) {
        if matches!(self.burst, Burst::Seconds(_)) {
            eprintln!("{done}");
        }
    }

    fn wants(&self, case: Case) -> bool {
        self.cases.contains(&case)
    }

    /// The variants in the order of a repetition: each begins with another one.
    fn in_turn(&self, repetition: u32) -> Vec<&'static Variant> {
        let mut variants = self.variants.clone();
        variants.rotate_left(repetition as usize % self.variants.len());
        variants
    }
}

/// Measures, prints and writes.
///
/// # Errors
/// If the server refuses a statement, a row is lost, or the file cannot be written.
pub fn run(session: &Session, wishes: &Wishes) -> Result<()> {
    let cluster = Cluster::start(&session.tree, options())?;
    println!(
        "PostgreSQL {}, {} rows a bulk statement, {} partitions, {} repetitions, fsync off",
        session.pg.version,
        wishes.rows,
        variants::PARTITIONS,
        wishes.runs
    );
    let figures = measure(&cluster, wishes, Burst::Seconds(wishes.seconds))
        .map_err(|e| e.context(format!("the server's log ends:\n{}", cluster.log_tail())))?;
    println!("{}", report::text(&figures));
    match &wishes.out {
        Some(file) => report::write(file, &figures),
        None => Ok(()),
    }
}

/// A server of which as little as can be is noise: no checkpoint and no vacuum of its own accord
/// falls into a measurement, and all tables fit into memory.
fn options() -> Options {
    Options::default()
        .set("shared_buffers", "2GB")
        .set("max_wal_size", "24GB")
        .set("min_wal_size", "2GB")
        .set("checkpoint_timeout", "1h")
        .set("autovacuum", "off")
        .set("max_connections", "50")
        .set("log_min_messages", "warning")
}

/// Measures everything in small, which takes seconds: for the tests, so that this cannot rot.
///
/// # Errors
/// Also if a case has no figure for a variant that takes part in it.
pub fn rehearse(cluster: &Cluster) -> Result<()> {
    let wishes = Wishes {
        runs: 1,
        rows: 2000,
        seconds: 1,
        cases: Vec::new(),
        variants: Vec::new(),
        out: None,
    };
    let figures = measure(cluster, &wishes, Burst::Transactions(20))?;
    let wide = report::text(&figures).lines().find(|line| line.len() > WIDTH).map(str::to_owned);
    ensure!(wide.is_none(), "a line is longer than {WIDTH}: {wide:?}");
    let has_pgbench = cluster.has_client_program("pgbench");
    for case in cases::ALL.into_iter().filter(|case| case.is_bulk() || has_pgbench) {
        for variant in figures.variants.iter().filter_map(|name| variants::by_name(name)) {
            let figure = figures.ratio(case, variant.name, Quantity::Time);
            let takes_part = case != Case::KeyedSelect || variant.reads;
            ensure!(
                figure.is_some() == takes_part,
                "{} of {}: {figure:?}",
                case.name(),
                variant.name
            );
        }
    }
    ensure!(figures.map_sizes.iter().all(|size| size.bytes_per_key > 0.0), "a map weighs nothing");
    Ok(())
}

/// Measures on a fresh cluster.
fn measure(cluster: &Cluster, wishes: &Wishes, burst: Burst) -> Result<Figures> {
    let cases = cases::chosen(&wishes.cases)?;
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    let mut figures = Figures::default();
    let mut usable = Vec::new();
    for variant in variants::chosen(&wishes.variants)? {
        match variants::create(&mut client, variant).with_context(|| variant.name)? {
            variants::Created::Ready => usable.push(variant),
            variants::Created::Lacking(why) => {
                figures.notes.push(format!("{} left out: {why}", variant.name));
            }
        }
    }
    let bench = Bench { cluster, wishes, burst, cases, variants: usable };
    figures.describe(&bench);
    bulk::measure(&bench, &mut figures)?;
    crowd::measure(&bench, &mut figures)?;
    if bench.wants(Case::KeyedSelect) {
        lookups::measure(&bench, &mut figures)?;
    }
    if wishes.cases.is_empty() {
        sizes::measure(&bench, &mut figures)?;
    }
    let crashes = cluster.crashes();
    ensure!(crashes.is_empty(), "the server crashed:\n{}", crashes.join("\n"));
    Ok(figures)
}
