//! `pss-simulate`: plays workloads against pss and its rivals without a server, and prints how
//! level each kept the load. It only reads arguments and files and prints; the library does all.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use pss_simulate::cases::{self, Filter};
use pss_simulate::policies::Kind;
use pss_simulate::{run, summary, table, workloads};

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
    /// Print why each policy did what it did
    #[arg(long)]
    why: bool,
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
    let recipes = workloads::all();
    let cases = cases::select(&recipes, &filter);
    ensure!(!cases.is_empty(), "no such workload");
    let records = run::run(&recipes, &cases, &filter.policies(), |done, of| {
        eprint!("\r{done} of {of} plays");
    });
    eprintln!();
    let summaries = summary::summarize(&records);
    print!("{}", table::draw(&recipes, &cases, &summaries, wishes.why));
    Ok(())
}
