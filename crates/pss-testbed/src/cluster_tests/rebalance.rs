//! Rebalancing beside sessions that write and read, with the worker and the server killed on the
//! way.
//!
//! Must never take the plan's word for the balance: keys are counted where they lie.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use postgres::Client;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::check::{consistent, create_sharded, number, wait_until};
use super::writer::Record;
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options, Shutdown};

pub(super) const TESTS: &[ClusterTest] = &[
    ClusterTest { name: "rebalance", options, run: rebalance },
    ClusterTest { name: "rebalance_by_itself", options, run: by_itself },
];

/// Keys that stand in one partition at first, each with `ROWS` rows.
const KEYS: i64 = 2000;
const ROWS: i64 = 2;
const READERS: u64 = 2;
const WRITERS: i32 = 2;
/// A cycle found in the readers' noise makes the worker look at more time before it judges.
const PATIENCE: Duration = Duration::from_secs(300);

fn options() -> Options {
    Options::default()
        .set("pss.sample_interval", "500ms")
        .set("pss.refresh_interval", "500ms")
        .set("pss.rebalance_patience", "30s")
}

/// Carried out over two crashes.
fn rebalance(cluster: &mut Cluster, context: &Context) -> Result<()> {
    beside_readers(cluster, context, carry_out)
}

/// Advised by default, begun by the worker with `auto`; `off` makes it wait.
fn by_itself(cluster: &mut Cluster, context: &Context) -> Result<()> {
    beside_readers(cluster, context, |cluster, _| {
        let mut client = cluster.connect("postgres")?;
        wait_until(
            &mut client,
            PATIENCE,
            "SELECT EXISTS (SELECT FROM pss.events WHERE kind = 'rebalance'
                            AND message LIKE '%pss_rebalance_start() would do it%')",
        )?;
        let moved = "SELECT EXISTS (SELECT FROM pss.rebalance)";
        ensure!(!client.query_one(moved, &[])?.get::<_, bool>(0), "advice was taken unasked");
        set(&mut client, "pss.rebalance_rate", "200")?;
        set(&mut client, "pss.rebalance", "auto")?;
        wait_until(&mut client, PATIENCE, &format!("SELECT coalesce(({DONE}), 0) > 0"))?;
        set(&mut client, "pss.rebalance", "off")?;
        wait_until(
            &mut client,
            PATIENCE,
            "SELECT coalesce(waiting, '') = 'pss.rebalance is off' FROM pss_rebalance_status('t')",
        )?;
        set(&mut client, "pss.rebalance", "advise")?;
        wait_until(&mut client, PATIENCE, "SELECT state = 'done' FROM pss_rebalance_status('t')")
    })
}

fn set(client: &mut Client, setting: &str, value: &str) -> Result<()> {
    client.batch_execute(&format!("ALTER SYSTEM SET {setting} = {value}"))?;
    client.batch_execute("SELECT pg_reload_conf()")?;
    Ok(())
}

/// A table with all keys in one partition, readers on them, `work`, and a better balance.
fn beside_readers(
    cluster: &mut Cluster,
    context: &Context,
    work: fn(&mut Cluster, &Context) -> Result<()>,
) -> Result<()> {
    println!("      seed {}", context.seed);
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")?;
    client.batch_execute(&format!(
        "INSERT INTO t SELECT -k, -1, r FROM generate_series(1, {KEYS}) AS k, generate_series(1, {ROWS}) AS r"
    ))?;
    for from in 1..4 {
        client.batch_execute(&format!("CALL pss_move_keys('t', {from}, 0, pause => '0')"))?;
    }
    let over = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    // The readers outlive crashes, and the cluster is restarted beside them: they have its address.
    let address = &cluster.address();
    let outcome = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|n| {
                let (over, reads) = (&over, &reads);
                scope.spawn(move || read_on(address, context.seed + n, over, reads))
            })
            .collect();
        let outcome = work(cluster, context);
        over.store(true, Relaxed);
        for reader in readers {
            reader.join().map_err(|_| anyhow!("a reader panicked"))??;
        }
        outcome
    });
    outcome?;
    let mut client = cluster.connect("postgres")?;
    let stayed = standing_keys(&mut client, "AND pss_partition = 0")?;
    println!(
        "      {stayed} of {KEYS} keys stayed where all had been, beside {} reads",
        reads.load(Relaxed)
    );
    // How far it goes depends on what else the machine does: the plan levels load, not keys.
    ensure!(stayed < KEYS * 4 / 5, "the balance is hardly better: {stayed} keys stayed");
    ensure!(standing_keys(&mut client, "")? == KEYS, "keys are lost");
    consistent(&mut client, "t")
}

fn standing_keys(client: &mut Client, condition: &str) -> Result<i64> {
    number(client, &format!("SELECT count(DISTINCT k) FROM t WHERE writer = -1 {condition}"))
}

/// From the first plan to its end, over two crashes.
fn carry_out(cluster: &mut Cluster, context: &Context) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    wait_until(
        &mut client,
        PATIENCE,
        "SELECT EXISTS (SELECT FROM pss_rebalance_plan('t') WHERE move IS NOT NULL)",
    )?;
    // What was moved to begin with is no part of the books.
    client.batch_execute("DELETE FROM pss.move")?;
    client.query_one("SELECT pss_rebalance_start('t', rate => 200)", &[])?;
    drop(client);
    let kill_worker = |cluster: &Cluster| -> Result<()> {
        let worker = cluster.connect("postgres")?.query_one(
            "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pss worker%'",
            &[],
        )?;
        cluster.kill_process(worker.get(0))
    };
    crash(cluster, context, 0, kill_worker, Cluster::wait_until_ready)?;
    crash(cluster, context, 1, Cluster::kill_postmaster, |c| c.restart(Shutdown::Kill))?;
    let mut client = cluster.connect("postgres")?;
    wait_until(&mut client, PATIENCE, "SELECT state <> 'running' FROM pss_rebalance_status('t')")?;
    let status = "SELECT state, keys_done, keys, last_error FROM pss_rebalance_status('t')";
    let row = client.query_one(status, &[])?;
    let (state, done, keys): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
    println!("      {done} of {keys} keys moved, in {} batches", batches(&mut client)?);
    let error: Option<String> = row.get(3);
    ensure!(state == "done", "the plan ended as {state}: {error:?}");
    agree(&mut client)
}

/// Writers at work, some batches, a crash in the middle, and what holds afterwards.
fn crash(
    cluster: &mut Cluster,
    context: &Context,
    round: i32,
    kill: impl FnOnce(&Cluster) -> Result<()>,
    recover: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    let running: &Cluster = cluster;
    let before = number(&mut running.connect("postgres")?, DONE)?;
    let records = std::thread::scope(|scope| -> Result<Vec<Record>> {
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                let (writer, first_key) = (round * WRITERS + n, i64::from(round) * 1_000_000);
                let seed = context.seed.wrapping_add(writer as u64);
                scope.spawn(move || Record::write_until_broken(running, writer, seed, first_key))
            })
            .collect();
        let killed = running.connect("postgres").and_then(|mut client| {
            let some = format!("SELECT ({DONE}) >= {before} + 250");
            wait_until(&mut client, PATIENCE, &some)?;
            kill(running)
        });
        if killed.is_err() {
            // The writers end only with their connections.
            running.kill_postmaster()?;
        }
        let panicked = |_| anyhow!("a writer panicked");
        let records = writers.into_iter().map(|w| w.join().map_err(panicked)).collect();
        killed.and(records)
    })?;
    recover(cluster)?;
    let mut client = cluster.connect("postgres")?;
    for record in &records {
        record.verify(&mut client)?;
    }
    let (state, done) = {
        let row =
            client.query_one("SELECT state, keys_done FROM pss_rebalance_status('t')", &[])?;
        (row.get::<_, String>(0), row.get::<_, i64>(1))
    };
    ensure!(state == "running" && done > 0, "after a crash it is {state}, with {done} keys done");
    agree(&mut client)?;
    consistent(&mut client, "t")
}

/// Keys done, as the plan has it.
const DONE: &str = "SELECT keys_done FROM pss_rebalance_status('t')";

/// Progress, the log of moves and the rows say the same: a batch is whole or was not.
fn agree(client: &mut Client) -> Result<()> {
    // One snapshot: the worker goes on.
    let row = client.query_one(
        "SELECT (SELECT sum(keys_done) FROM pss.rebalance_move)::int8,
                (SELECT coalesce(sum(keys), 0) FROM pss.move)::int8,
                (SELECT sum(rows_done) FROM pss.rebalance_move)::int8,
                (SELECT count(*) FROM t WHERE writer = -1 AND pss_partition <> 0)",
        &[],
    )?;
    let [keys, moved_keys, rows, standing_rows] = [0, 1, 2, 3].map(|n| row.get::<_, i64>(n));
    ensure!(keys == moved_keys, "{keys} keys done by the plan, {moved_keys} in the log of moves");
    // Keys of writers are moved, too.
    ensure!(rows >= standing_rows, "{standing_rows} rows elsewhere, {rows} moved");
    Ok(())
}

fn batches(client: &mut Client) -> Result<i64> {
    number(client, "SELECT count(*) FROM pss.moves")
}

/// Reads keys that stand, over crashes: all rows of a key must be there, each time.
fn read_on(
    address: &postgres::Config,
    seed: u64,
    over: &AtomicBool,
    reads: &AtomicU64,
) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(seed);
    while !over.load(Relaxed) {
        let Ok(mut client) = address.connect(postgres::NoTls) else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        while !over.load(Relaxed) {
            let key = -random.random_range(1..=KEYS);
            let row = match client.query_one("SELECT count(*) FROM t WHERE k = $1", &[&key]) {
                Ok(row) => row,
                Err(e) if broken(&e) => break,
                Err(e) => return Err(e).with_context(|| format!("read key {key}")),
            };
            let rows: i64 = row.get(0);
            ensure!(rows == ROWS, "{rows} rows of key {key}");
            reads.fetch_add(1, Relaxed);
        }
    }
    Ok(())
}

/// Whether the connection broke with the server: it said so (class 57), or nothing at all.
fn broken(e: &postgres::Error) -> bool {
    e.code().is_none_or(|code| code.code().starts_with("57"))
}
