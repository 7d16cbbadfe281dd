//! Keys that move while sessions write, read and delete their rows at all isolation levels, and a
//! mover that is killed.
//!
//! Must never take the server's word for what a session may see: each keeps its own books.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use postgres::error::SqlState;
use postgres::{Client, IsolationLevel};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::check::{consistent, create_sharded, number, wait_until};
use super::crash::crash_rounds;
use super::crowd::{logging_lock_waits, run_crowd};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] = &[
    ClusterTest { name: "movers", options: Options::default, run: movers },
    ClusterTest {
        name: "moves_beside_bulk_load",
        options: logging_lock_waits,
        run: beside_bulk_load,
    },
    ClusterTest { name: "kill_mover", options: Options::default, run: kill_mover },
];

const SESSIONS: i32 = 5;
pub(super) const KEYS: i64 = 200;
pub(super) const PARTITIONS: i32 = 4;

pub(super) fn create(cluster: &Cluster) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")
}

/// Sessions work on their rows while keys are moved one by one and in batches, the map is cleaned
/// of keys that have lost their rows, and its index is rebuilt.
fn movers(cluster: &mut Cluster, context: &Context) -> Result<()> {
    create(cluster)?;
    let mut client = cluster.connect("postgres")?;
    let reindex: String = client
        .query_one("SELECT format('REINDEX TABLE CONCURRENTLY %s', map) FROM pss.map_state", &[])?
        .get(0);
    let reindex = |_: &mut SmallRng| reindex.clone();
    let books = beside(cluster, context, &[&one_key, &batch, &clean, &reindex])?;
    let moved = number(&mut client, "SELECT coalesce(sum(keys), 0)::int8 FROM pss.moves")?;
    let cleaned = number(&mut client, "SELECT orphans FROM pss.stat_map")?;
    println!("      {moved} keys moved and {cleaned} cleaned away");
    ensure!(moved > 0 && cleaned > 0, "nothing was tested");
    consistent(&mut client, "t")?;
    for book in &books {
        book.verify(&mut client)?;
    }
    Ok(())
}

/// Runs sessions beside helpers that do their work again and again.
pub(super) fn beside(
    cluster: &Cluster,
    context: &Context,
    helpers: &[&(dyn Fn(&mut SmallRng) -> String + Sync)],
) -> Result<Vec<Books>> {
    let (over, retries) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let books = std::thread::scope(|scope| -> Result<Vec<Books>> {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|writer| {
                scope.spawn(move || session(cluster, context.seed, writer, over, retries))
            })
            .collect();
        let helpers: Vec<_> = helpers
            .iter()
            .zip(context.seed..)
            .map(|(work, seed)| scope.spawn(move || repeat(cluster, seed, over, work)))
            .collect();
        std::thread::sleep(Duration::from_secs(context.seconds));
        over.store(true, Relaxed);
        let panicked = |_| anyhow!("a session panicked");
        let books = sessions.into_iter().map(|s| s.join().map_err(panicked)?).collect();
        for helper in helpers {
            helper.join().map_err(panicked)??;
        }
        books
    })?;
    let done: u64 = books.iter().map(|b| b.transactions).sum();
    println!(
        "      {done} transactions, {} again after 40001, in {} s",
        retries.load(Relaxed),
        context.seconds
    );
    ensure!(done > 0, "nothing was tested");
    Ok(books)
}

/// What a session has committed: how many rows of each key, and their sequence numbers.
pub(super) struct Books {
    writer: i32,
    rows: HashMap<i64, Vec<i32>>,
    next: i32,
    transactions: u64,
}

impl Books {
    pub(super) fn verify(&self, client: &mut Client) -> Result<()> {
        let mut found: HashMap<i64, Vec<i32>> = HashMap::new();
        for row in
            client.query("SELECT k, seq FROM t WHERE writer = $1 ORDER BY seq", &[&self.writer])?
        {
            found.entry(row.get(0)).or_default().push(row.get(1));
        }
        for (key, expected) in &self.rows {
            let found = found.remove(key).unwrap_or_default();
            ensure!(
                found == *expected,
                "writer {}, key {key}: rows {found:?} instead of {expected:?}",
                self.writer
            );
        }
        ensure!(
            found.is_empty(),
            "writer {}: rows of keys {:?} too many",
            self.writer,
            found.keys()
        );
        Ok(())
    }
}

fn session(
    cluster: &Cluster,
    seed: u64,
    writer: i32,
    over: &AtomicBool,
    retries: &AtomicU64,
) -> Result<Books> {
    let mut random = SmallRng::seed_from_u64(seed + writer as u64);
    let mut client = cluster.connect("postgres")?;
    let mut books = Books { writer, rows: HashMap::new(), next: 0, transactions: 0 };
    while !over.load(Relaxed) {
        match transaction(&mut client, &mut books, &mut random) {
            Ok(()) => books.transactions += 1,
            Err(e) if serialization_failure(&e) => {
                retries.fetch_add(1, Relaxed);
            }
            Err(e) => return Err(e.context(format!("writer {writer}"))),
        }
    }
    Ok(books)
}

fn serialization_failure(e: &anyhow::Error) -> bool {
    e.downcast_ref::<postgres::Error>().and_then(postgres::Error::code)
        == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
}

/// A few statements at any isolation level; the books follow only what was committed.
fn transaction(client: &mut Client, books: &mut Books, random: &mut SmallRng) -> Result<()> {
    let level = match random.random_range(0..4) {
        0 => IsolationLevel::RepeatableRead,
        1 => IsolationLevel::Serializable,
        _ => IsolationLevel::ReadCommitted,
    };
    let writer = books.writer;
    let mut changed: HashMap<i64, Vec<i32>> = HashMap::new();
    let mut next = books.next;
    let mut transaction = client.build_transaction().isolation_level(level).start()?;
    for _ in 0..random.random_range(1..5) {
        let key = random.random_range(0..KEYS);
        let rows =
            changed.entry(key).or_insert_with(|| books.rows.get(&key).cloned().unwrap_or_default());
        match random.random_range(0..6) {
            0 | 1 => {
                transaction
                    .execute("INSERT INTO t VALUES ($1, $2, $3, 'new')", &[&key, &writer, &next])?;
                rows.push(next);
                next += 1;
            }
            2 => {
                let n = transaction.execute(
                    "UPDATE t SET note = note || 'x' WHERE k = $1 AND writer = $2",
                    &[&key, &writer],
                )?;
                ensure!(
                    n == rows.len() as u64,
                    "{level:?}: {n} rows updated of {rows:?}, key {key}"
                );
            }
            3 => {
                let n = transaction
                    .execute("DELETE FROM t WHERE k = $1 AND writer = $2", &[&key, &writer])?;
                ensure!(
                    n == rows.len() as u64,
                    "{level:?}: {n} rows deleted of {rows:?}, key {key}"
                );
                rows.clear();
            }
            _ => {
                let n: i64 = transaction
                    .query_one(
                        "SELECT count(*) FROM t WHERE k = $1 AND writer = $2",
                        &[&key, &writer],
                    )?
                    .get(0);
                ensure!(n == rows.len() as i64, "{level:?}: {n} rows seen of {rows:?}, key {key}");
            }
        }
    }
    if random.random_bool(0.1) {
        transaction.rollback()?;
        return Ok(());
    }
    transaction.commit()?;
    books.next = next;
    books.rows.extend(changed);
    Ok(())
}

/// Does `work` again and again. That others are in the way (55P03) is no failure.
fn repeat(
    cluster: &Cluster,
    seed: u64,
    over: &AtomicBool,
    work: impl Fn(&mut SmallRng) -> String,
) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(seed ^ 0x6d6f_7665);
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("SET pss.reservation_ttl = 0")?;
    while !over.load(Relaxed) {
        match client.batch_execute(&work(&mut random)) {
            Err(e) if e.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) => return Err(e.into()),
            _ => std::thread::sleep(Duration::from_millis(random.random_range(0..20))),
        }
    }
    Ok(())
}

fn one_key(random: &mut SmallRng) -> String {
    let (key, to) = (random.random_range(0..KEYS), random.random_range(0..PARTITIONS));
    let end = if random.random_bool(0.2) { "ROLLBACK" } else { "COMMIT" };
    format!("BEGIN; SELECT pss_move_key('t', {key}::bigint, {to}); {end}")
}

fn batch(random: &mut SmallRng) -> String {
    let from = random.random_range(0..PARTITIONS);
    let to = (from + random.random_range(1..PARTITIONS)) % PARTITIONS;
    format!("CALL pss_move_keys('t', {from}, {to}, keys => 20, batch => 7, pause => '1 ms')")
}

fn clean(_: &mut SmallRng) -> String {
    "SELECT * FROM pss_clean_map('t')".into()
}

/// A mover that finds a bulk load in each partition gives way, and nobody waits for either.
fn beside_bulk_load(cluster: &mut Cluster, context: &Context) -> Result<()> {
    create(cluster)?;
    cluster
        .connect("postgres")?
        .batch_execute("INSERT INTO t SELECT -g, -1, 0 FROM generate_series(1, 100) AS g")?;
    let tries = AtomicU64::new(0);
    let pause = Duration::from_millis(50);
    let rows = run_crowd(cluster, context.seed, pause, |position| {
        let mut client = cluster.connect("postgres")?;
        let mut load = client.transaction()?;
        let step = |load: &mut postgres::Transaction<'_>, step: i64| {
            let first = step * 50_000;
            position.store(first, Relaxed);
            load.batch_execute(&format!(
                "INSERT INTO t SELECT g, -1, g FROM generate_series({first}, {first} + 49999) g"
            ))
        };
        step(&mut load, 0)?;
        let over = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mover = scope.spawn(|| try_in_vain(cluster, over, &tries));
            let outcome = (1..10).try_for_each(|n| step(&mut load, n));
            over.store(true, Relaxed);
            mover.join().map_err(|_| anyhow!("the mover panicked"))??;
            outcome.context("the load")
        })?;
        Ok(load.commit()?)
    })?;
    let tries = tries.into_inner();
    println!("      {rows} rows beside 500,000 in one transaction, {tries} moves tried in vain");
    ensure!(tries > 0, "no move was tried: nothing was tested");
    let mut client = cluster.connect("postgres")?;
    // Once the load has ended it goes through.
    number(
        &mut client,
        "SELECT sum(pss_move_key('t', -g, g % 4))::int8 FROM generate_series(1, 10) AS g",
    )?;
    consistent(&mut client, "t")
}

fn try_in_vain(cluster: &Cluster, over: &AtomicBool, tries: &AtomicU64) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("SET lock_timeout = '200ms'")?;
    while !over.load(Relaxed) {
        for to in 0..PARTITIONS {
            let moved = client.query_one("SELECT pss_move_key('t', -1::bigint, $1)", &[&to]);
            match moved {
                // It is there already.
                Ok(row) if row.get::<_, i64>(0) == 0 => {}
                Ok(_) => anyhow::bail!("a key moved out of a partition that is being loaded"),
                Err(e) if e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                    tries.fetch_add(1, Relaxed);
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

/// SIGKILL to a session that moves keys, beside writers.
fn kill_mover(cluster: &mut Cluster, context: &Context) -> Result<()> {
    let seed = context.seed;
    let kill = |cluster: &Cluster| {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Ends with its connection.
                repeat(cluster, seed, &over, |random| {
                    let from = random.random_range(0..PARTITIONS);
                    let to = (from + 1) % PARTITIONS;
                    format!("CALL pss_move_keys('t', {from}, {to}, batch => 20, pause => '1 ms')")
                })
            });
            let mut client = cluster.connect("postgres")?;
            let mover =
                "FROM pg_stat_activity WHERE query LIKE 'CALL pss_move_keys%' AND state = 'active'";
            let outcome = wait_until(
                &mut client,
                Duration::from_secs(30),
                &format!("SELECT EXISTS (SELECT {mover})"),
            )
            .and_then(|()| {
                std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..200)));
                let pid = client.query_one(
                    "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL pss_move_keys%' LIMIT 1",
                    &[],
                )?;
                cluster.kill_process(pid.get(0))
            });
            over.store(true, Relaxed);
            outcome
        })
    };
    let began = Instant::now();
    crash_rounds(cluster, context, kill, |cluster| cluster.wait_until_ready())?;
    let moved = "SELECT count(*) FROM pss.moves";
    let batches = number(&mut cluster.connect("postgres")?, moved)?;
    println!("      {batches} batches moved in {:.0} s", began.elapsed().as_secs_f64());
    ensure!(batches > 0, "nothing was moved: nothing was tested");
    Ok(())
}
