//! A server that can do so much is found out when it is asked for more.
//!
//! Its statements take a lock and hold it for a few milliseconds, so that what it can do is known
//! whatever the machine can: a client counts it. Must never compare times, only counts of the same
//! stretch.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::check::{create_sharded, none, wait_until};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] =
    &[ClusterTest { name: "capacity_learned", options: quick, run: capacity_learned }];

const PATIENCE: Duration = Duration::from_secs(60);
const CLIENTS: i64 = 8;

fn quick() -> Options {
    Options::default().set("pss.sample_interval", "1s").set("pss.refresh_interval", "1s")
}

fn capacity_learned(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute(
        "CREATE EXTENSION pss;
         CREATE FUNCTION one_at_a_time() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_advisory_lock(1), pg_sleep(0.004);
             PERFORM pg_advisory_unlock(1);
             RETURN 0;
         END $$",
    )?;
    create_sharded(&mut client, "t")?;
    let insert = "INSERT INTO t VALUES ($1, one_at_a_time(), 0, '')";
    // One client waits for nobody.
    let calm = Instant::now();
    let mut key = 0i64;
    while calm.elapsed() < Duration::from_secs(6) {
        key += 1;
        client.execute(insert, &[&key])?;
    }
    none(
        &mut client,
        "learned without a queue",
        "SELECT format('%s %s: %s', kind, name, learned) FROM pss.capacity WHERE learned IS NOT NULL",
    )?;

    // Eight wait for each other.
    let (stop, done) = (AtomicBool::new(false), AtomicI64::new(0));
    let running: &Cluster = cluster;
    let carried = std::thread::scope(|scope| {
        let crowd: Vec<_> = (1..=CLIENTS)
            .map(|n| {
                let (stop, done) = (&stop, &done);
                scope.spawn(move || -> Result<()> {
                    let mut client = running.connect("postgres")?;
                    let mut key = n * 1_000_000;
                    while !stop.load(Ordering::Relaxed) {
                        key += 1;
                        client.execute(insert, &[&key])?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let busy = Instant::now();
        let learned = "SELECT count(*) = 1 FROM pss.capacity
                       WHERE kind = 'node' AND name = 'local' AND resource = 'load' AND learned > 0";
        let outcome = wait_until(&mut client, PATIENCE, learned);
        let carried = done.load(Ordering::Relaxed) as f64 / busy.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        for session in crowd {
            session.join().unwrap_or_else(|_| anyhow::bail!("a session panicked"))?;
        }
        outcome.map(|()| carried)
    })?;
    let query =
        "SELECT learned::float8 FROM pss.capacity WHERE kind = 'node' AND resource = 'load'";
    let learned: f64 = client.query_one(query, &[])?.get(0);
    println!("      carried {carried:.0} rows a second, learned {learned:.0}");
    ensure!(
        learned > carried / 2.0 && learned < carried * 2.0,
        "learned {learned}, carried {carried}"
    );
    // Of its partitions and their tablespace, too, in the end.
    wait_until(
        &mut client,
        PATIENCE,
        "SELECT count(*) > 0 FROM pss.capacity WHERE kind = 'tablespace' AND learned > 0",
    )
}
