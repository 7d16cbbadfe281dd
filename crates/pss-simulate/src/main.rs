//! `pss-simulate`: plays workloads against pss and its rivals without a server, and prints how
//! level each kept the load. It only reads arguments and files and prints; the library does all.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use pss_simulate::cases::{self, Filter};
use pss_simulate::policies::Kind;
use pss_simulate::workloads::{self, NOMINAL_PERIOD_S, file};
use pss_simulate::{json, plots, run, series, summary, table, throughput};

#[derive(Parser)]
#[command(about = "Workloads against pss and its rivals, without a server")]
struct Wishes {
    /// Workloads: W2, or a part of a title, "volume 1.5"
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// per_row, sticky, growing, or lives over periods: 0.2
    #[arg(long, value_delimiter = ',')]
    keys: Vec<String>,
    /// Numbers of partitions
    #[arg(long, value_delimiter = ',')]
    partitions: Vec<usize>,
    /// Seconds by which statistics are late
    #[arg(long, value_delimiter = ',')]
    delay: Vec<f64>,
    /// Seconds between two decisions
    #[arg(long, value_delimiter = ',')]
    interval: Vec<f64>,
    /// Policies beside static and oracle
    #[arg(long, value_delimiter = ',', value_parser = policy)]
    policy: Vec<Kind>,
    /// Number of seeds
    #[arg(long)]
    seeds: Option<u64>,
    /// All that can be combined: hours
    #[arg(long)]
    full: bool,
    /// Folder of recorded loads, CSV files with the columns t_seconds,value, for W10
    #[arg(long)]
    series: Option<PathBuf>,
    /// A workload of one's own, a CSV file: docs/benchmarks.md
    #[arg(long)]
    workload: Option<PathBuf>,
    /// Seconds to which lives of keys are related in that workload
    #[arg(long, default_value_t = NOMINAL_PERIOD_S)]
    period: f64,
    /// File to write the first workload to, in that format, instead of playing
    #[arg(long)]
    export: Option<PathBuf>,
    /// File to write the figures to, as JSON
    #[arg(long)]
    out: Option<PathBuf>,
    /// File to write the plots to, as SVG
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Print why each policy did what it did
    #[arg(long)]
    why: bool,
    /// Do not time placement
    #[arg(long)]
    untimed: bool,
}

fn policy(name: &str) -> Result<Kind, String> {
    let names = Kind::ALL.map(Kind::name).join(", ");
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.ok_or_else(|| format!("the policies are {names}"))
}

fn main() -> ExitCode {
    match execute(&Wishes::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(wishes: &Wishes) -> Result<()> {
    let filter = Filter {
        workloads: wishes.cases.clone(),
        partitions: wishes.partitions.clone(),
        delays_s: wishes.delay.clone(),
        keys: wishes.keys.clone(),
        policies: wishes.policy.clone(),
        seeds: wishes.seeds,
        intervals_s: wishes.interval.clone(),
    };
    let recipes = recipes(wishes)?;
    let cases = cases::select(&recipes, &filter, wishes.full);
    ensure!(!cases.is_empty(), "there is no such case");
    if let Some(path) = &wishes.export {
        let recipe = &recipes[cases[0].recipe];
        return write(path, &file::write(&recipe.make(&cases[0].shape(recipe), 0)));
    }
    let records = run::run(&recipes, &cases, &filter.policies(), |done, of| {
        eprint!("\r{done} of {of} workloads played");
    });
    eprintln!();
    let summaries = summary::summarize(&records);
    print!("{}", table::draw(&recipes, &cases, &summaries, wishes.why));
    let throughput = if wishes.untimed { None } else { throughput::measure() };
    if let Some(throughput) = &throughput {
        print!("{}", table::throughput(throughput));
    }
    if let Some(path) = &wishes.out {
        let rows = json::rows(&recipes, &cases, &summaries, throughput.as_deref());
        write(path, &format!("{rows:#}\n"))?;
    }
    if let Some(path) = &wishes.plots {
        write(path, &plots::draw(&recipes, &cases, &summaries))?;
    }
    Ok(())
}

fn recipes(wishes: &Wishes) -> Result<Vec<workloads::Recipe>> {
    if let Some(path) = &wishes.workload {
        ensure!(wishes.period > 0.0 && wishes.period.is_finite(), "a period is above zero");
        return Ok(vec![workloads::given(file::read(path)?, wishes.period)]);
    }
    let mut recipes = workloads::all();
    if let Some(folder) = &wishes.series {
        let traces = workloads::recorded(series::read_folder(folder)?);
        recipes.insert(recipes.len() - 1, traces);
    }
    Ok(recipes)
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(context)?;
    }
    std::fs::write(path, text).with_context(context)
}
