//! Restart and crash at any point: what was committed stands, the rest is gone, each key keeps
//! its home (I3).

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::check::{consistent, create_sharded, digest, number};
use super::writer::Record;
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options, Shutdown};

pub(super) const TESTS: &[ClusterTest] = &[
    ClusterTest { name: "restart_keeps_rows", options: Options::default, run: restart_keeps_rows },
    ClusterTest {
        name: "restart_keeps_homes",
        options: Options::default,
        run: restart_keeps_homes,
    },
    ClusterTest { name: "kill_postmaster", options: Options::default, run: kill_postmaster },
    ClusterTest { name: "kill_backend", options: Options::default, run: kill_backend },
    ClusterTest { name: "prepared_survives", options: Options::default, run: prepared_survives },
];

const WRITERS: i32 = 4;

/// A table of no concern to pss is whole after each kind of stop with pss loaded.
fn restart_keeps_rows(cluster: &mut Cluster, _: &Context) -> Result<()> {
    cluster.connect("postgres")?.batch_execute(
        "CREATE EXTENSION pss; CREATE TABLE t (k int); INSERT INTO t SELECT generate_series(1, 1000)",
    )?;
    for how in [Shutdown::Fast, Shutdown::Immediate, Shutdown::Kill] {
        cluster.restart(how)?;
        let rows = number(&mut cluster.connect("postgres")?, "SELECT count(*) FROM t")?;
        ensure!(rows == 1000, "{rows} rows after {how:?}");
    }
    Ok(())
}

/// More rows of known keys join the first ones after each kind of stop.
fn restart_keeps_homes(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")?;
    client.batch_execute("INSERT INTO t SELECT g, 0, g FROM generate_series(1, 1000) g")?;
    for (round, how) in
        [Shutdown::Fast, Shutdown::Immediate, Shutdown::Kill].into_iter().enumerate()
    {
        let before = digest(&mut client, "t")?;
        drop(client);
        cluster.restart(how)?;
        client = cluster.connect("postgres")?;
        ensure!(digest(&mut client, "t")? == before, "the rows differ after {how:?}");
        // Known keys, and as many new ones again.
        client.batch_execute(&format!(
            "INSERT INTO t SELECT g, {round} + 1, g FROM generate_series(1, 1000 * ({round} + 2)) g"
        ))?;
        consistent(&mut client, "t")?;
    }
    Ok(())
}

/// SIGKILL to the whole server at random points under concurrent inserts.
fn kill_postmaster(cluster: &mut Cluster, context: &Context) -> Result<()> {
    let recover = |cluster: &mut Cluster| cluster.restart(Shutdown::Kill);
    crash_rounds(cluster, context, |cluster| cluster.kill_postmaster(), recover)
}

/// SIGKILL to one session: the server restarts its shared memory by itself.
fn kill_backend(cluster: &mut Cluster, context: &Context) -> Result<()> {
    let kill = |cluster: &Cluster| {
        let mut client = cluster.connect("postgres")?;
        let victim = client.query_one(
            "SELECT pid FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
             ORDER BY random() LIMIT 1",
            &[],
        )?;
        cluster.kill_process(victim.get(0))
    };
    crash_rounds(cluster, context, kill, |cluster| cluster.wait_until_ready())
}

pub(super) fn crash_rounds(
    cluster: &mut Cluster,
    context: &Context,
    kill: impl Fn(&Cluster) -> Result<()>,
    recover: impl Fn(&mut Cluster) -> Result<()>,
) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")?;
    drop(client);

    println!("      seed {}", context.seed);
    let mut random = SmallRng::seed_from_u64(context.seed);
    let mut acknowledged = 0;
    for round in 0..context.rounds {
        let pause = Duration::from_millis(random.random_range(50..600));
        let seed = random.random::<u64>() >> 8;
        let running: &Cluster = cluster;
        let records: Vec<Record> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|w| {
                    let (writer, first_key) = (round * WRITERS + w, i64::from(round) * 1_000_000);
                    scope.spawn(move || {
                        Record::write_until_broken(running, writer, seed + w as u64, first_key)
                    })
                })
                .collect();
            std::thread::sleep(pause);
            let killed = kill(running);
            if killed.is_err() {
                // The writers end only with their connections.
                running.kill_postmaster()?;
            }
            let records = writers.into_iter().map(|w| w.join()).collect::<Result<Vec<_>, _>>();
            killed?;
            records.map_err(|_| anyhow::anyhow!("a writer panicked"))
        })?;
        recover(cluster)?;
        let mut client = cluster.connect("postgres")?;
        for record in &records {
            record.verify(&mut client)?;
            acknowledged += record.acknowledged();
        }
        consistent(&mut client, "t")?;
    }
    ensure!(acknowledged > 0, "the writers wrote nothing: nothing was tested");
    println!("      {} crashes, {acknowledged} acknowledged rows", context.rounds);
    Ok(())
}

/// A prepared transaction's key keeps its home over a crash, for sessions that meet it meanwhile.
fn prepared_survives(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")?;
    // Enough keys that agreement by accident is out of the question (4 partitions).
    client.batch_execute(
        "BEGIN; INSERT INTO t SELECT g, 1, g FROM generate_series(1, 50) g; PREPARE TRANSACTION 'p';
         BEGIN; INSERT INTO t SELECT g, 1, g FROM generate_series(51, 60) g; PREPARE TRANSACTION 'q'",
    )?;
    drop(client);
    cluster.restart(Shutdown::Kill)?;
    let mut client = cluster.connect("postgres")?;
    // Waiting for the prepared transaction would be for ever: fail instead.
    client.batch_execute(
        "SET statement_timeout = '10s'; INSERT INTO t SELECT g, 2, g FROM generate_series(1, 60) g",
    )?;
    drop(client);
    cluster.restart(Shutdown::Kill)?;
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("COMMIT PREPARED 'p'")?;
    client.batch_execute("ROLLBACK PREPARED 'q'")?;
    let rows = number(&mut client, "SELECT count(*) FROM t")?;
    ensure!(rows == 110, "{rows} rows instead of 110");
    consistent(&mut client, "t")
}
