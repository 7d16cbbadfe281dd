//! The server starts, restarts and recovers with pss loaded (I3).

use anyhow::{Result, ensure};

use super::ClusterTest;
use crate::server::{Cluster, Options, Shutdown};

pub(super) const TESTS: &[ClusterTest] = &[ClusterTest {
    name: "restart_keeps_rows",
    options: Options::default,
    run: restart_keeps_rows,
}];

/// A table written before each kind of stop is whole after the start.
fn restart_keeps_rows(cluster: &mut Cluster) -> Result<()> {
    cluster.connect("postgres")?.batch_execute(
        "CREATE EXTENSION pss; CREATE TABLE t (k int); INSERT INTO t SELECT generate_series(1, 1000)",
    )?;
    for how in [Shutdown::Fast, Shutdown::Immediate, Shutdown::Kill] {
        cluster.restart(how)?;
        let row = cluster.connect("postgres")?.query_one("SELECT count(*) FROM t", &[])?;
        ensure!(row.get::<_, i64>(0) == 1000, "rows were lost after {how:?}");
    }
    Ok(())
}
