//! Standbys: they read and never assign; what they read by key is what the primary has made visible.

use anyhow::{Result, ensure};
use postgres::IsolationLevel;

use super::check::{consistent, number, wait_until};
use super::worker::{PATIENCE, has_worker, prepare, quick};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] = &[
    ClusterTest { name: "standby", options: quick, run: standby },
    ClusterTest { name: "standby_reads", options: with_feedback, run: standby_reads },
];

/// A standby reads and never assigns; promoted, it goes on where the primary ended.
fn standby(cluster: &mut Cluster, _: &Context) -> Result<()> {
    prepare(cluster, "postgres")?;
    let standby = cluster.standby()?;
    let mut reader = standby.connect("postgres")?;
    wait_until(&mut reader, PATIENCE, "SELECT count(*) = 1000 FROM t")?;
    let located =
        number(&mut reader, "SELECT count(*) FROM t WHERE pss_locate('t', k) = pss_partition")?;
    ensure!(located == 1000, "the standby located {located} of 1000 keys");
    for writer in [
        "pss_get_partition('t', 123456789::bigint)",
        "pss_refresh()",
        "pss_record_metric('t', 0, 'queue', 1)",
        "pss_set_metric_cost('t', 'queue', 1)",
        "pss_expect('t', 0, 1, now(), now() + interval '1 h')",
        "pss_alter_table('t', 'naive')",
        "pss_import_query_log('t')",
    ] {
        let refused = reader.execute(&format!("SELECT {writer}"), &[]);
        let code = refused.err().and_then(|e| e.code().map(|code| code.code().to_owned()));
        ensure!(code.as_deref() == Some("25006"), "a standby must refuse {writer}: {code:?}");
    }
    for reading in ["pss_forecast('t')", "pss.query_patterns", "pss.stat_forecast", "pss.metrics"] {
        reader.execute(&format!("SELECT * FROM {reading}"), &[])?;
    }
    ensure!(
        !reader.query_one(&has_worker("postgres"), &[])?.get::<_, bool>(0),
        "a worker runs on the standby"
    );
    standby.promote()?;
    wait_until(&mut reader, 2 * PATIENCE, &has_worker("postgres"))?;
    reader.batch_execute("INSERT INTO t SELECT g, 1, g FROM generate_series(1, 2000) g")?;
    consistent(&mut reader, "t")
}

/// The primary knows of snapshots on the standby and keeps what they see.
fn with_feedback() -> Options {
    quick().set("hot_standby_feedback", "on").set("wal_receiver_status_interval", "1s")
}

/// Look-ups by key on a standby open the key's partition alone and find its row: after keys came
/// and moved on the primary, and in a transaction that began before.
fn standby_reads(cluster: &mut Cluster, _: &Context) -> Result<()> {
    prepare(cluster, "postgres")?;
    let mut primary = cluster.connect("postgres")?;
    let standby = cluster.standby()?;
    let mut reader = standby.connect("postgres")?;
    let mut old = standby.connect("postgres")?;
    wait_until(&mut reader, PATIENCE, "SELECT count(*) = 1000 FROM t")?;
    let mut old =
        old.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start()?;
    // The snapshot is taken by the first statement.
    ensure!(old.query_one("SELECT count(*) FROM t", &[])?.get::<_, i64>(0) == 1000);

    let oldest = old.query_one("SELECT pg_snapshot_xmin(pg_current_snapshot())::text", &[])?;
    let oldest: String = oldest.get(0);
    wait_until(
        &mut primary,
        PATIENCE,
        &format!(
            "SELECT EXISTS (SELECT FROM pg_stat_replication
                            WHERE backend_xmin::text::bigint <= {oldest})"
        ),
    )?;

    primary.batch_execute("INSERT INTO t SELECT g, 0, g FROM generate_series(1001, 1100) g")?;
    for key in (1i64..=1000).step_by(20) {
        primary.execute(
            "SELECT pss_move_key('t', key, (pss_locate('t', key) + 1) % 4)
             FROM (SELECT $1::bigint AS key) AS one",
            &[&key],
        )?;
    }
    let replayed = primary.query_one("SELECT pg_current_wal_lsn()::text", &[])?;
    let replayed: String = replayed.get(0);
    wait_until(&mut reader, PATIENCE, &format!("SELECT pg_last_wal_replay_lsn() >= '{replayed}'"))?;

    for key in (1i64..=1100).step_by(5) {
        let row = reader.query("SELECT seq FROM t WHERE k = $1", &[&key])?;
        ensure!(row.len() == 1, "the standby finds {} rows of key {key}", row.len());
        let row = old.query("SELECT seq FROM t WHERE k = $1", &[&key])?;
        let there = usize::from(key <= 1000);
        ensure!(row.len() == there, "an old snapshot finds {} rows of key {key}", row.len());
    }
    let plan: String = reader
        .query("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM t WHERE k = 21", &[])?
        .iter()
        .map(|row| row.get::<_, String>(0) + "\n")
        .collect();
    ensure!(plan.contains("Partitions Opened: 1 of 4"), "not pruned on the standby:\n{plan}");
    Ok(())
}
