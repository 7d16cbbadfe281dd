//! Disks that fill up and tablespaces that are lost: new keys go elsewhere after one failed statement
//! of a session, and come back when the disk is well.
//!
//! Must never touch a disk but those it makes: a directory below the cluster's, or a file system
//! in memory that is mounted there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use postgres::Client;

use super::check::{consistent, create_sharded, none, number, wait_until};
use super::{ClusterTest, Context};
use crate::account::run;
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] = &[
    ClusterTest { name: "tablespace_lost", options: quick, run: tablespace_lost },
    ClusterTest { name: "disk_full", options: quick, run: disk_full },
];

/// Time in which the worker is expected to have probed a disk.
const PATIENCE: Duration = Duration::from_secs(30);
const SESSIONS: i64 = 4;

fn quick() -> Options {
    Options::default()
        .set("pss.sample_interval", "500ms")
        .set("pss.refresh_interval", "500ms")
        .set("pss.probe_interval", "500ms")
        .set("autovacuum", "off")
}

/// A sharded table `t` with partitions 1 and 2 in a tablespace of their own.
fn prepare(cluster: &Cluster, directory: &Path) -> Result<Client> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")?;
    client.batch_execute(&format!("CREATE TABLESPACE extra LOCATION '{}'", directory.display()))?;
    client.batch_execute(
        "ALTER TABLE t_p1 SET TABLESPACE extra; ALTER TABLE t_p2 SET TABLESPACE extra",
    )?;
    client.execute("SELECT count(*) FROM pss_refresh()", &[])?;
    Ok(client)
}

/// Statements that fail of those that insert one new key each, `keys` from `first` on; they fail for
/// no other reason than `code`.
fn insert_one_by_one(client: &mut Client, first: i64, keys: i64, code: &str) -> Result<i64> {
    let mut failed = 0;
    for key in first..first + keys {
        if let Err(e) = client.execute("INSERT INTO t VALUES ($1, 0, 0, 'new')", &[&key]) {
            let found = e.code().map(|c| c.code().to_owned());
            ensure!(found.as_deref() == Some(code), "an insert failed otherwise: {e:?}");
            failed += 1;
        }
    }
    Ok(failed)
}

fn states(states: &str) -> String {
    format!("SELECT string_agg(state, ' ' ORDER BY partition) = '{states}' FROM pss.partitions")
}

/// The directory of a tablespace goes away under several sessions, and comes back.
fn tablespace_lost(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let directory = cluster.make_directory("space")?;
    let mut client = prepare(cluster, &directory)?;
    client.batch_execute(
        "INSERT INTO t SELECT g, 0, g, 'old' FROM generate_series(1, 2000) g; CHECKPOINT",
    )?;
    let lost = directory.with_file_name("lost");
    std::fs::rename(&directory, &lost).context("take the tablespace away")?;

    // Files stay open in sessions that had them: only new ones notice.
    let running: &Cluster = cluster;
    let failed: Vec<i64> = std::thread::scope(|scope| {
        let session =
            |n: i64| insert_one_by_one(&mut running.connect("postgres")?, n * 10_000, 300, "58P01");
        let sessions: Vec<_> = (1..=SESSIONS).map(|n| scope.spawn(move || session(n))).collect();
        sessions
            .into_iter()
            .map(|s| s.join().unwrap_or_else(|_| anyhow::bail!("a session panicked")))
            .collect::<Result<_>>()
    })?;
    ensure!(failed.iter().all(|&n| n <= 1), "failed statements by session: {failed:?}");
    ensure!(failed.iter().sum::<i64>() >= 1, "no session noticed: the test tests nothing");

    wait_until(&mut client, PATIENCE, &states("active failed failed active"))?;
    none(
        &mut client,
        "the reason is missing in pss.event",
        "SELECT partition::text FROM (VALUES (1), (2)) AS lost (partition)
         WHERE NOT EXISTS (SELECT FROM pss.event
             WHERE kind = 'state' AND detail->>'sqlstate' = '58P01'
               AND detail->>'partition' = partition::text
               AND message LIKE '%is failed: files of it are missing%')",
    )?;
    // All that comes later finds a place, by each door.
    let mut fresh = cluster.connect("postgres")?;
    fresh.batch_execute(
        "INSERT INTO t SELECT g, 1, g, 'planner' FROM generate_series(100001, 101000) g;
         COPY t (k, writer) FROM PROGRAM 'seq -f \"%.0f\t2\" 110001 111000';
         SET pss.routing = trigger;
         INSERT INTO t SELECT g, 3, g, 'trigger' FROM generate_series(120001, 121000) g;
         SELECT count(pss_get_partition('t', g)) FROM generate_series(130001, 131000) g",
    )?;
    // What lives there does not.
    let known = "SELECT k FROM t WHERE tableoid = 't_p1'::regclass LIMIT 1";
    let known: i64 = client.query_one(known, &[])?.get(0);
    let refused = fresh.execute("INSERT INTO t VALUES ($1, 4, 0, 'known')", &[&known]);
    let code = refused.err().and_then(|e| e.code().map(|c| c.code().to_owned()));
    ensure!(code.as_deref() == Some("58P01"), "a known key did not go home: {code:?}");

    std::fs::rename(&lost, &directory).context("bring the tablespace back")?;
    wait_until(&mut client, PATIENCE, &states("active active active active"))?;
    back_in_use(cluster, &mut client)
}

/// A full disk, until it has room again.
fn disk_full(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let directory = cluster.make_directory("small")?;
    let Some(_disk) = Disk::mount(&directory, "3m")? else {
        println!("      skipped: mounting a small file system needs root");
        return Ok(());
    };
    cluster.give(&directory)?;
    let mut client = prepare(cluster, &directory)?;
    let mut failed = 0;
    for statement in 0..300 {
        let insert = format!(
            "INSERT INTO t SELECT g, 0, g, repeat('x', 1000)
             FROM generate_series({statement} * 100 + 1, {statement} * 100 + 100) g"
        );
        if let Err(e) = client.batch_execute(&insert) {
            let code = e.code().map(|c| c.code().to_owned());
            ensure!(code.as_deref() == Some("53100"), "an insert failed otherwise: {e:?}");
            failed += 1;
        }
    }
    ensure!(failed == 1, "{failed} statements of one session failed");
    wait_until(&mut client, PATIENCE, &states("active failed failed active"))?;
    let rows = number(&mut client, "SELECT count(*) FROM t")?;
    ensure!(rows == 29_900, "{rows} rows came of 299 statements of 100");
    let failed = insert_one_by_one(&mut cluster.connect("postgres")?, 1_000_000, 300, "53100")?;
    ensure!(failed == 0, "{failed} statements failed after the disk was known to be full");
    consistent(&mut client, "t")?;

    // Set active by hand while it is full: it fails again, at the cost of one statement.
    client.batch_execute(
        "SELECT pss_set_partition_state('t', p, 'active') FROM (VALUES (1), (2)) v (p)",
    )?;
    wait_until(
        &mut client,
        PATIENCE,
        "SELECT min(w) > 0 FROM pss.epoch, unnest(weights) w
        WHERE epoch = (SELECT max(epoch) FROM pss.epoch)",
    )?;
    let again =
        "INSERT INTO t SELECT g, 0, g, repeat('x', 1000) FROM generate_series(2000001, 2000400) g";
    let refused = client.batch_execute(again).err().and_then(|e| e.code().cloned());
    ensure!(refused.is_some_and(|c| c.code() == "53100"), "the disk is not full: tests nothing");
    client.batch_execute(again).context("the statement after the failed one")?;

    run(Command::new("mount").args(["-o", "remount,size=64m"]).arg(&directory))?;
    wait_until(&mut client, PATIENCE, &states("active active active active"))?;
    back_in_use(cluster, &mut client)
}

/// New keys come to the partitions again, and all is well.
fn back_in_use(cluster: &Cluster, client: &mut Client) -> Result<()> {
    let mut fresh = cluster.connect("postgres")?;
    wait_until(
        &mut fresh,
        PATIENCE,
        "WITH new AS (INSERT INTO t SELECT g, 9, g, 'again'
                      FROM generate_series((SELECT max(k) + 1 FROM t), (SELECT max(k) + 100 FROM t)) g
                      RETURNING pss_partition)
         SELECT count(*) FILTER (WHERE pss_partition = 1) > 0
            AND count(*) FILTER (WHERE pss_partition = 2) > 0 FROM new",
    )?;
    consistent(client, "t")
}

/// A file system in memory; dropping it takes it away.
struct Disk(PathBuf);

impl Disk {
    /// `None`: only root may.
    fn mount(directory: &Path, size: &str) -> Result<Option<Self>> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        let options = format!("size={size}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory))?;
        Ok(Some(Self(directory.to_owned())))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server still has files open there.
        if let Err(e) = run(Command::new("umount").arg("--lazy").arg(&self.0)) {
            eprintln!("{e:#}");
        }
    }
}
