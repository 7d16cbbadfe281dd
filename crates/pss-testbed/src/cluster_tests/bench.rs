//! The benchmarks of routing and of balance in small, so that they cannot rot.
//!
//! Must never judge a figure: so few rows say nothing of speed.

use anyhow::Result;

use super::check::none;
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options};
use crate::{bench_balance, bench_routing};

pub(super) const TESTS: &[ClusterTest] = &[
    ClusterTest { name: "bench_routing", options: Options::default, run: rehearse },
    ClusterTest { name: "bench_balance", options: bench_balance::options, run: rehearse_balance },
];

/// It looks after every turn whether all that it stored is where it belongs.
fn rehearse_balance(cluster: &mut Cluster, _: &Context) -> Result<()> {
    bench_balance::rehearse(cluster)
}

/// Runs it, and looks whether all that it stored is where it belongs.
fn rehearse(cluster: &mut Cluster, _: &Context) -> Result<()> {
    bench_routing::rehearse(cluster)?;
    let check = "SELECT c::text FROM pss_check() AS c LIMIT 5";
    none(&mut cluster.connect("postgres")?, "pss_check() found", check)
}
