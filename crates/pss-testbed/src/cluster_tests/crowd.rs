//! Many sessions with the same new keys at once: agreement without waiting (I2).
//!
//! Must never take PostgreSQL's own moment of growing a file (lock type `extend`) for a wait
//! that pss causes.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::check::{consistent, create_sharded};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] = &[
    ClusterTest { name: "crowd", options: logging_lock_waits, run: crowd },
    ClusterTest {
        name: "crowd_beside_bulk_load",
        options: logging_lock_waits,
        run: beside_bulk_load,
    },
];

const SESSIONS: u64 = 8;

/// The server itself tells of each wait for a lock that lasts a millisecond.
pub(super) fn logging_lock_waits() -> Options {
    Options::default().set("log_lock_waits", "on").set("deadlock_timeout", "1ms")
}

/// Sessions insert overlapping new keys, in any order within their transactions.
fn crowd(cluster: &mut Cluster, context: &Context) -> Result<()> {
    create(cluster)?;
    let end = Instant::now() + Duration::from_secs(context.seconds);
    let rows = run_crowd(cluster, context.seed, Duration::from_millis(3), |_| {
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    })?;
    println!("      {rows} rows by {SESSIONS} sessions in {} s", context.seconds);
    consistent(&mut cluster.connect("postgres")?, "t")
}

/// The same beside one transaction that loads a million new keys, which the others meet.
fn beside_bulk_load(cluster: &mut Cluster, context: &Context) -> Result<()> {
    create(cluster)?;
    let mut took = Duration::ZERO;
    // Unhurried, or the sessions would leave the load no processor.
    let rows = run_crowd(cluster, context.seed, Duration::from_millis(50), |position| {
        let mut client = cluster.connect("postgres")?;
        let start = Instant::now();
        let mut load = client.transaction()?;
        // In steps, so that the crowd can be sent to keys that are loaded and not committed.
        for step in 0..20 {
            let first = step * 50_000;
            position.store(first, Relaxed);
            load.batch_execute(&format!(
                "INSERT INTO t SELECT g, -1, g FROM generate_series({first}, {first} + 49999) g"
            ))?;
        }
        load.commit()?;
        took = start.elapsed();
        Ok(())
    })?;
    println!(
        "      {rows} rows beside 1,000,000 in one transaction of {:.1} s",
        took.as_secs_f64()
    );
    consistent(&mut cluster.connect("postgres")?, "t")
}

fn create(cluster: &Cluster) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")
}

/// Runs the sessions while `meanwhile` runs, and then looks for waits; returns the rows inserted.
/// `pause` is the longest time a session keeps a transaction open. `meanwhile` may set the key
/// from which the sessions insert; they move on from there together.
pub(super) fn run_crowd(
    cluster: &Cluster,
    seed: u64,
    pause: Duration,
    meanwhile: impl FnOnce(&AtomicI64) -> Result<()>,
) -> Result<i64> {
    let (position, rows, over) = (AtomicI64::new(0), AtomicI64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|number| {
                let (position, rows, over) = (&position, &rows, &over);
                scope.spawn(move || session(cluster, seed + number, pause, position, rows, over))
            })
            .collect();
        let outcome = meanwhile(&position);
        over.store(true, Relaxed);
        let panicked = |_| anyhow!("a session panicked");
        for session in sessions {
            session.join().map_err(panicked)??;
        }
        outcome
    })?;
    no_lock_waits(cluster)?;
    let rows = rows.into_inner();
    ensure!(rows > 0, "the sessions wrote nothing: nothing was tested");
    Ok(rows)
}

fn session(
    cluster: &Cluster,
    seed: u64,
    pause: Duration,
    position: &AtomicI64,
    rows: &AtomicI64,
    over: &AtomicBool,
) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut client = cluster.connect("postgres")?;
    let writer = seed as i32;
    while !over.load(Relaxed) {
        let mut transaction = client.transaction()?;
        for _ in 0..random.random_range(1..5) {
            let first = position.fetch_add(1, Relaxed);
            let keys: Vec<String> = (0..random.random_range(1..5))
                .map(|_| format!("({}, {writer}, 0)", first + random.random_range(0..200)))
                .collect();
            transaction.batch_execute(&format!("INSERT INTO t VALUES {}", keys.join(", ")))?;
            rows.fetch_add(keys.len() as i64, Relaxed);
        }
        // Longer transactions make more keys in flight at once.
        std::thread::sleep(pause.mul_f64(random.random()));
        if random.random_bool(0.1) { transaction.rollback()? } else { transaction.commit()? }
    }
    Ok(())
}

/// Succeeds if nobody had to wait for a lock, by the server's log.
fn no_lock_waits(cluster: &Cluster) -> Result<()> {
    let log = cluster.log();
    let waits: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("still waiting for") || line.contains("deadlock detected"))
        .filter(|line| !line.contains("on extension of relation"))
        .collect();
    ensure!(waits.is_empty(), "{} waits for locks, first:\n{}", waits.len(), waits[0]);
    Ok(())
}
