//! The background workers are there when needed, and never in the way of anything else.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::check::{consistent, create_sharded, none, number, wait_until};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] = &[
    ClusterTest { name: "databases_beside_worker", options: quick, run: databases_beside_worker },
    ClusterTest {
        name: "terminated_worker_returns",
        options: quick,
        run: terminated_worker_returns,
    },
    ClusterTest { name: "drop_extension", options: quick, run: drop_extension },
    ClusterTest { name: "not_preloaded", options: bare, run: not_preloaded },
];

/// Time in which a worker is expected after there is work for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Worker cycles of a second instead of ten.
pub(super) fn quick() -> Options {
    Options::default().set("pss.sample_interval", "1s").set("pss.refresh_interval", "1s")
}

pub(super) fn has_worker(database: &str) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity
                        WHERE backend_type LIKE 'pss worker%' AND datname = '{database}')"
    )
}

/// A database with a filled sharded table `t`.
pub(super) fn prepare(cluster: &Cluster, database: &str) -> Result<()> {
    if database != "postgres" {
        cluster.create_database(database)?;
    }
    let mut client = cluster.connect(database)?;
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")?;
    client.batch_execute("INSERT INTO t SELECT g, 0, g FROM generate_series(1, 1000) g")?;
    Ok(())
}

/// CREATE, RENAME and DROP DATABASE succeed for a database that a worker serves.
fn databases_beside_worker(cluster: &mut Cluster, _: &Context) -> Result<()> {
    prepare(cluster, "served")?;
    let mut client = cluster.connect("postgres")?;
    wait_until(&mut client, PATIENCE, &has_worker("served"))?;
    for round in 0..5 {
        client.batch_execute(&format!("CREATE DATABASE plain{round}"))?;
        client.batch_execute(&format!("CREATE DATABASE copy{round} TEMPLATE served"))?;
        client.batch_execute(&format!("DROP DATABASE plain{round}"))?;
        let mut copy = cluster.connect(&format!("copy{round}"))?;
        ensure!(number(&mut copy, "SELECT count(*) FROM t")? == 1000, "the copy lacks rows");
        drop(copy);
        std::thread::sleep(Duration::from_millis(400));
        client.batch_execute(&format!("DROP DATABASE copy{round}"))?;
    }
    client.batch_execute("ALTER DATABASE served RENAME TO renamed")?;
    wait_until(&mut client, PATIENCE, &has_worker("renamed"))?;
    consistent(&mut cluster.connect("renamed")?, "t")?;
    client.batch_execute("DROP DATABASE renamed")?;
    Ok(())
}

/// A worker obeys pg_terminate_backend within a second, and a later one takes its place.
fn terminated_worker_returns(cluster: &mut Cluster, _: &Context) -> Result<()> {
    prepare(cluster, "postgres")?;
    let mut client = cluster.connect("postgres")?;
    wait_until(&mut client, PATIENCE, &has_worker("postgres"))?;
    let pid: i32 = client
        .query_one("SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pss worker%'", &[])?
        .get(0);
    client.execute("SELECT pg_terminate_backend($1)", &[&pid])?;
    let gone = format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})");
    wait_until(&mut client, Duration::from_secs(1), &gone)?;
    wait_until(&mut client, 2 * PATIENCE, &has_worker("postgres"))
}

/// Nothing of pss stays: no worker, no trigger; the table is an ordinary partitioned one.
fn drop_extension(cluster: &mut Cluster, _: &Context) -> Result<()> {
    prepare(cluster, "postgres")?;
    let mut client = cluster.connect("postgres")?;
    wait_until(&mut client, PATIENCE, &has_worker("postgres"))?;
    client.batch_execute("SET lock_timeout = '10s'; DROP EXTENSION pss")?;
    let gone = format!("SELECT NOT ({})", has_worker("postgres"));
    wait_until(&mut client, Duration::from_secs(10), &gone)?;
    ensure!(number(&mut client, "SELECT count(*) FROM t")? == 1000, "rows were lost");
    none(
        &mut client,
        "a trigger is left",
        "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal",
    )?;
    client.batch_execute(
        "INSERT INTO t (k, pss_partition) VALUES (5, 0);
         UPDATE t SET note = 'y' WHERE k = 6; DELETE FROM t WHERE k = 7; ALTER TABLE t ADD COLUMN more int",
    )?;
    // And it comes back into a database that had it.
    client.batch_execute("CREATE EXTENSION pss")?;
    Ok(())
}

fn bare() -> Options {
    Options { preload: false, ..Options::default() }
}

/// Without shared_preload_libraries the extension can be created, used as configured, and read;
/// what needs shared memory says what to do, and the session lives on.
fn not_preloaded(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    for reading in ["pss.tables", "pss.stat_worker", "pss.query_patterns", "pss.metrics"] {
        client.execute(&format!("SELECT * FROM {reading}"), &[])?;
    }
    let refused = client.execute("SELECT * FROM pss_refresh()", &[]).err();
    let error = refused.as_ref().and_then(|e| e.as_db_error());
    let hint = error.and_then(|e| e.hint()).unwrap_or_default();
    ensure!(
        error.is_some_and(|e| e.code().code() == "55000")
            && hint.contains("shared_preload_libraries"),
        "pss_refresh() must say that pss is not loaded: {refused:?}"
    );
    ensure!(number(&mut client, "SELECT 1::bigint")? == 1, "the session is gone");
    Ok(())
}
