//! The benchmark of routing in small: every case of every variant, so that it cannot rot.
//!
//! Must never judge a figure: so few rows say nothing of speed.

use anyhow::Result;

use super::check::none;
use super::{ClusterTest, Context};
use crate::bench_routing;
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] =
    &[ClusterTest { name: "bench_routing", options: Options::default, run: rehearse }];

/// Runs it, and looks whether all that it stored is where it belongs.
fn rehearse(cluster: &mut Cluster, _: &Context) -> Result<()> {
    bench_routing::rehearse(cluster)?;
    let check = "SELECT c::text FROM pss_check() AS c LIMIT 5";
    none(&mut cluster.connect("postgres")?, "pss_check() found", check)
}
