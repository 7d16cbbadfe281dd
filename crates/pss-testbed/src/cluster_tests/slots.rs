//! Slot mode under way: rows come while epochs change several times a second, and whoever sees a
//! row finds it by its key.
//!
//! Must never compare what two snapshots saw: each comparison is one statement.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use postgres::Client;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::check::{none, number};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] =
    &[ClusterTest { name: "slots_beside_epochs", options: Options::default, run: beside_epochs }];

const PARTITIONS: i64 = 5;
const KEYS: i64 = 1000;

/// Rows of a range of keys that a look-up by key misses, or that lie outside their slot's homes.
const MISSED: &str = "
    SELECT format('key %s: %s rows, %s found, %s outside', k, n, found, outside)
    FROM (SELECT k, count(*) AS n,
                 count(*) FILTER (WHERE pss_partition::text <> ALL (string_to_array(
                     (SELECT value FROM pss_explain_route('t', k) WHERE item = 'homes'), ', '))) AS outside
          FROM t WHERE k + 0 BETWEEN <from> AND <from> + 20 GROUP BY k OFFSET 0) AS key,
         LATERAL (SELECT count(*) AS found FROM t WHERE t.k = key.k) AS looked_up
    WHERE n <> found OR outside > 0";

fn beside_epochs(cluster: &mut Cluster, context: &Context) -> Result<()> {
    cluster.connect("postgres")?.batch_execute(&format!(
        "CREATE EXTENSION pss;
         CREATE TABLE t (k bigint NOT NULL, writer int, n int);
         CREATE INDEX ON t (k);
         SELECT pss_distribute_table('t', 'k', {PARTITIONS}, mapping => 'slot')"
    ))?;
    let (rows, over) = (AtomicI64::new(0), AtomicBool::new(false));
    let end = Instant::now() + Duration::from_secs(context.seconds);
    let random = |session: u64| SmallRng::seed_from_u64(context.seed.wrapping_add(session));
    let (shared, rows_shared) = (&*cluster, &rows);
    std::thread::scope(|scope| {
        let over = &over;
        let mut sessions: Vec<_> = (0..4)
            .map(|n| scope.spawn(move || write(shared, random(n), n, rows_shared, over)))
            .collect();
        sessions.extend((4..6).map(|n| scope.spawn(move || read(shared, random(n), over))));
        let outcome = publish(shared, random(6), end);
        over.store(true, Relaxed);
        for session in sessions {
            session.join().map_err(|_| anyhow!("a session panicked"))??;
        }
        outcome
    })?;
    let mut client = cluster.connect("postgres")?;
    let epochs = number(&mut client, "SELECT count(*) FROM pss.epoch")?;
    let split = number(
        &mut client,
        "SELECT count(*) FROM (SELECT FROM t GROUP BY k HAVING count(DISTINCT pss_partition) > 1) AS s",
    )?;
    println!(
        "      {} rows, {epochs} epochs, {split} keys in several partitions",
        rows.into_inner()
    );
    ensure!(epochs > 5 && split > 0, "no epoch took effect: nothing was tested");
    for from in (0..KEYS).step_by(20) {
        none(&mut client, "rows are missed", &MISSED.replace("<from>", &from.to_string()))?;
    }
    none(&mut client, "not consistent", "SELECT problem FROM pss_check('t')")
}

/// Takes a random partition out of service again and again, which makes an epoch each time.
fn publish(cluster: &Cluster, mut random: SmallRng, end: Instant) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    while Instant::now() < end {
        let out = random.random_range(0..PARTITIONS);
        client.batch_execute(&format!(
            "UPDATE pss.partition
             SET state = CASE WHEN partition = {out} THEN 'disabled' ELSE 'active' END;
             SELECT pss_refresh()"
        ))?;
        std::thread::sleep(Duration::from_millis(random.random_range(10..200)));
    }
    Ok(())
}

/// Inserts in transactions of both kinds, some rolled back, some rows with a partition of their own
/// choice, and looks for its own rows.
fn write(
    cluster: &Cluster,
    mut random: SmallRng,
    writer: u64,
    rows: &AtomicI64,
    over: &AtomicBool,
) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    while !over.load(Relaxed) {
        let level = if random.random_bool(0.5) { "READ COMMITTED" } else { "REPEATABLE READ" };
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT FROM t LIMIT 1"))?;
        let mut inserted = 0;
        for _ in 0..random.random_range(1..4) {
            let (from, n) = (random.random_range(0..KEYS), random.random_range(1..30));
            let named = match random.random_bool(0.1) {
                true => random.random_range(0..PARTITIONS),
                false => -1,
            };
            inserted += n;
            client.batch_execute(&format!(
                "INSERT INTO t (k, writer, n, pss_partition)
                 SELECT (g * 7 + {from}) % {KEYS}, {writer}, 1, {named} FROM generate_series(1, {n}) AS g"
            ))?;
            look(&mut client, &mut random)?;
        }
        if random.random_bool(0.2) {
            client.batch_execute("ROLLBACK")?;
        } else {
            client.batch_execute("COMMIT")?;
            rows.fetch_add(inserted, Relaxed);
        }
    }
    Ok(())
}

fn read(cluster: &Cluster, mut random: SmallRng, over: &AtomicBool) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    while !over.load(Relaxed) {
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t LIMIT 1")?;
        for _ in 0..random.random_range(1..5) {
            look(&mut client, &mut random)?;
            std::thread::sleep(Duration::from_millis(random.random_range(0..50)));
        }
        client.batch_execute("COMMIT")?;
    }
    Ok(())
}

fn look(client: &mut Client, random: &mut SmallRng) -> Result<()> {
    let from = random.random_range(0..KEYS);
    none(client, "rows are missed", &MISSED.replace("<from>", &from.to_string()))
}
