//! Tests of what only whole clusters show: crashes, restarts, dumps, standbys, crowds.
//!
//! Each test gets a cluster of its own. Must never pass over a crash it did not cause: after each
//! test the server's log is searched for one.

mod bench;
mod capacity;
mod check;
mod crash;
mod crowd;
mod disks;
mod driver;
mod dump;
mod history;
mod migration;
mod movers;
mod query_log;
mod rebalance;
mod slots;
mod spread;
mod standby;
mod worker;
mod writer;

use anyhow::{Result, ensure};

use crate::runner::{Session, Tally, asked_for};
use crate::server::{Cluster, Options};

/// A test: its name, how its cluster is set up, what it does.
struct ClusterTest {
    name: &'static str,
    options: fn() -> Options,
    run: fn(&mut Cluster, &Context) -> Result<()>,
}

/// How hard to try.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Context {
    /// Seconds that crowds of sessions insert
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Crashes per crash test
    #[arg(long, default_value_t = 5)]
    rounds: i32,
    /// Seed of the random choices, to repeat a run
    #[arg(long, default_value_t = rand::random::<u32>().into())]
    seed: u64,
}

impl Default for Context {
    fn default() -> Self {
        Self { seconds: 10, rounds: 5, seed: rand::random::<u32>().into() }
    }
}

const TESTS: &[&[ClusterTest]] = &[
    bench::TESTS,
    capacity::TESTS,
    crash::TESTS,
    disks::TESTS,
    driver::TESTS,
    dump::TESTS,
    history::TESTS,
    crowd::TESTS,
    movers::TESTS,
    migration::TESTS,
    rebalance::TESTS,
    slots::TESTS,
    spread::TESTS,
    standby::TESTS,
    worker::TESTS,
    query_log::TESTS,
];

/// Runs the cluster tests whose name matches.
pub fn cluster_tests(session: &Session, context: &Context, filters: &[String]) -> Result<Tally> {
    let mut tally = Tally::default();
    for test in TESTS.iter().copied().flatten() {
        let name = format!("cluster/{}", test.name);
        if !asked_for(&name, filters) {
            continue;
        }
        let mut cluster = Cluster::start(&session.tree, (test.options)())?;
        let before = tally.failed;
        tally.test(&name, || {
            (test.run)(&mut cluster, context)?;
            let crashes = cluster.crashes();
            ensure!(crashes.is_empty(), "the server crashed:\n{}", crashes.join("\n"));
            Ok(())
        });
        if tally.failed > before {
            println!("end of the server's log:\n{}", cluster.log_tail());
        }
    }
    Ok(tally)
}
