//! `pss-testbed`: everything that needs a real server around pss: find or install one, build and
//! install the extension, run the tests on throwaway clusters.
//!
//! Must never touch a cluster or a server installation it did not make, except `install`, which
//! is asked to.

mod account;
mod bench_balance;
mod bench_forecast;
mod bench_routing;
mod cluster_tests;
mod demo;
mod extension;
mod installcheck;
mod libclang;
mod matrix;
mod paths;
mod runner;
mod server;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use runner::{Session, Tally};
use server::Wanted;

#[derive(Parser)]
#[command(about = "Throwaway PostgreSQL clusters for pss: build, install, test")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Server {
    /// Major of PostgreSQL: 15, 16, 17, 18, or any
    #[arg(long, default_value = "any")]
    pg: Wanted,
}

#[derive(Args)]
struct Selection {
    #[command(flatten)]
    server: Server,
    /// Run only the tests whose name contains one of these
    filters: Vec<String>,
}

#[derive(Args)]
struct Files {
    #[command(flatten)]
    selection: Selection,
    /// Write what was printed into the expected files
    #[arg(long)]
    accept: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Print the path of a pg_config with server headers, installing a server if there is none
    PgConfig(Server),
    /// Build the extension
    Build(Server),
    /// Build the extension and install it into that server
    Install(Server),
    /// Run the tests that are compiled into the extension, inside a server
    InServer(Server),
    /// Run the regression files, tests/pg_regress
    Regress(Files),
    /// Run the isolation specs, tests/isolation
    Isolation(Files),
    /// Run every form of statement by every door, tests/matrix, and compare docs/statements.md
    Matrix(Files),
    /// Run PostgreSQL's own regression suite with pss preloaded, created, and without it; compare
    Installcheck {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        wishes: installcheck::Wishes,
    },
    /// Run the tests on whole clusters: crash, restart, dump, standby, crowds
    Cluster {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        context: cluster_tests::Context,
    },
    /// Play real flights into twin tables, one placed by pss and one by native hash
    Demo {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        wishes: demo::Wishes,
    },
    /// Run the SQL of the README
    Readme(Server),
    /// Play the demo's rows and foreign load without a server, by pss and every rival
    SimulateDemo {
        /// How many plays, each with other days and another foreign load
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// Score the forecasts on series, every origin, without a server
    BenchForecast(bench_forecast::Wishes),
    /// Time inserts and look-ups by every door beside native hash partitioning
    BenchRouting {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        wishes: bench_routing::Wishes,
    },
    /// Insert beside foreign jobs that come and go: static hash against pss
    BenchBalance {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        wishes: bench_balance::Wishes,
    },
    /// Run all of them, and the tests that need no server
    Test(Server),
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(tally)) => {
            // The line that CI reads; nothing may follow it.
            println!("{} passed, {} failed", tally.passed, tally.failed);
            if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Carries a command out; one that tests returns its tally.
fn execute(command: Command) -> Result<Option<Tally>> {
    server::stop_servers_on_interrupt()?;
    match command {
        Command::PgConfig(server) => {
            println!("{}", server::obtain(server.pg)?.pg_config.display());
            Ok(None)
        }
        Command::Build(server) => {
            extension::Package::build(&server::obtain(server.pg)?)?;
            Ok(None)
        }
        Command::Install(server) => {
            let pg = server::obtain(server.pg)?;
            extension::Package::build(&pg)?
                .install(&pg.pkglibdir, &pg.sharedir.join("extension"))
                .context("may you write there? Try as the owner of the server, e.g. with sudo")?;
            println!("installed into PostgreSQL {} of {}", pg.version, pg.bindir.display());
            Ok(None)
        }
        Command::InServer(server) => runner::in_server(&Session::open(server.pg)?).map(Some),
        Command::Regress(Files { selection, accept }) => {
            let session = Session::open(selection.server.pg)?;
            runner::regress(&session, &selection.filters, accept).map(Some)
        }
        Command::Isolation(Files { selection, accept }) => {
            let session = Session::open(selection.server.pg)?;
            runner::isolation(&session, &selection.filters, accept).map(Some)
        }
        Command::Matrix(Files { selection, accept }) => {
            let session = Session::open(selection.server.pg)?;
            matrix::matrix(&session, &selection.filters, accept).map(Some)
        }
        Command::Installcheck { server, wishes } => {
            installcheck::installcheck(&Session::open(server.pg)?, &wishes).map(Some)
        }
        Command::Cluster { selection, context } => {
            let session = Session::open(selection.server.pg)?;
            cluster_tests::cluster_tests(&session, &context, &selection.filters).map(Some)
        }
        Command::Demo { server, wishes } => {
            demo::demo(&Session::open(server.pg)?, &wishes)?;
            Ok(None)
        }
        Command::Readme(server) => runner::readme(&Session::open(server.pg)?).map(Some),
        Command::SimulateDemo { runs } => {
            demo::simulate::run(runs)?;
            Ok(None)
        }
        Command::BenchForecast(wishes) => {
            bench_forecast::run(&wishes)?;
            Ok(None)
        }
        Command::BenchRouting { server, wishes } => {
            bench_routing::run(&Session::open(server.pg)?, &wishes)?;
            Ok(None)
        }
        Command::BenchBalance { server, wishes } => {
            bench_balance::run(&Session::open(server.pg)?, &wishes)?;
            Ok(None)
        }
        Command::Test(server) => all(server.pg).map(Some),
    }
}

/// The whole ladder, the quick rungs first. A rung that cannot run at all counts as a failure, and
/// the others run.
fn all(wanted: Wanted) -> Result<Tally> {
    let mut tally = Tally::default();
    tally.rung("core", runner::core_tests);
    let session = Session::open(wanted)?;
    println!("on PostgreSQL {}", session.pg.version);
    let context = cluster_tests::Context::default();
    tally.rung("in_server", || runner::in_server(&session));
    tally.rung("regress", || runner::regress(&session, &[], false));
    tally.rung("matrix", || matrix::matrix(&session, &[], false));
    tally.rung("isolation", || runner::isolation(&session, &[], false));
    tally.rung("cluster", || cluster_tests::cluster_tests(&session, &context, &[]));
    tally.rung("readme", || runner::readme(&session));
    Ok(tally)
}
