//! One table's turn: clients and jobs at work, the server's counters read each second.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use postgres::Client;
use pss_core::series::{CostModel, Counters};

use super::clients::{self, Log};
use super::figures::{Pss, Turn};
use super::jobs;
use super::scene::Scene;
use super::tables::{self, PARTITIONS, Table};
use crate::bench_routing::waits::{self, Looks};
use crate::demo::counters;
use crate::demo::player::Clock;
use crate::demo::twins::Leaf;
use crate::server::Cluster;

/// By this name the server knows the clients.
const APPLICATION: &str = "bench_balance";

/// Seconds of a window of load.
const WINDOW: f64 = 1.0;

/// Plays a scene on a table that is made for it.
pub fn play(cluster: &Cluster, table: Table, scene: &Scene) -> Result<Turn> {
    let mut client = cluster.connect("postgres")?;
    let leaves = tables::create(&mut client, table)?;
    client.batch_execute("CHECKPOINT")?;
    let (logs, job_rounds, (windows, waits)) = at_once(cluster, table, scene, &leaves)?;
    let pss = if table == Table::Pss { what_pss_says(&mut client)? } else { None };
    tables::verify_and_drop(&mut client, table, logs.iter().map(|log| log.rows).sum())?;
    Ok(Turn::new(table, scene, logs, job_rounds, &windows, &waits, pss))
}

type Windows = Vec<[f64; PARTITIONS]>;
type Played = (Vec<Log>, u64, (Windows, Looks));

/// Everybody works until the scene is over; what each did, and the load of each scored window.
fn at_once(cluster: &Cluster, table: Table, scene: &Scene, leaves: &[Leaf]) -> Result<Played> {
    let watcher = cluster.connect("postgres")?;
    let mut clients = Vec::new();
    for _ in 0..scene.clients {
        let mut client = cluster.connect("postgres")?;
        client.execute(&format!("SET application_name = {APPLICATION}"), &[])?;
        clients.push(client);
    }
    let mut workers = Vec::new();
    for _ in &scene.jobs {
        workers.push(cluster.connect("postgres")?);
    }
    let clock = &Clock::start();
    /// Whoever fails stops the others.
    fn or_stop<T>(clock: &Clock, done: Result<T>) -> Result<T> {
        if done.is_err() {
            clock.stop.store(true, Ordering::Relaxed);
        }
        done
    }
    std::thread::scope(|scope| {
        let mut inserting = Vec::new();
        for (client, number) in clients.into_iter().zip(0..) {
            inserting.push(scope.spawn(move || {
                or_stop(clock, clients::insert(client, table, scene, number, clock))
            }));
        }
        let mut working = Vec::new();
        for (client, job) in workers.into_iter().zip(&scene.jobs) {
            let leaf = &leaves[job.partition].name;
            working.push(
                scope.spawn(move || {
                    or_stop(clock, jobs::run(client, leaf, job, clock, scene.end()))
                }),
            );
        }
        let watched = await_time(clock, scene.learnt).and_then(|()| {
            waits::during(cluster, APPLICATION, || watch(watcher, leaves, scene, clock))
        });
        let watched = or_stop(clock, watched);
        let mut logs = Vec::new();
        for thread in inserting {
            logs.push(thread.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        let mut rounds = 0;
        for thread in working {
            rounds += thread.join().map_err(|_| anyhow!("a job panicked"))??;
        }
        Ok((logs, rounds, watched?))
    })
}

/// Load of each partition in each window of the scored time, cost units per second.
fn watch(mut client: Client, leaves: &[Leaf], scene: &Scene, clock: &Clock) -> Result<Windows> {
    let oids: Vec<u32> = leaves.iter().map(|leaf| leaf.oid).collect();
    let costs = CostModel::default();
    let mut windows = Vec::new();
    let mut last: Option<(f64, Vec<Counters>)> = None;
    let mut next = scene.learnt;
    while next <= scene.end() + WINDOW / 2.0 {
        await_time(clock, next)?;
        let (now, counted) = (clock.now(), counters::read(&mut client, &oids)?);
        if let Some((begun, before)) = &last {
            let since =
                |p: usize| counters::cost(&costs, &counted[p]) - counters::cost(&costs, &before[p]);
            windows.push(std::array::from_fn(|p| since(p) / (now - begun)));
        }
        last = Some((now, counted));
        next += WINDOW;
    }
    Ok(windows)
}

/// Waits until so many seconds since the start; an error if somebody failed meanwhile.
fn await_time(clock: &Clock, seconds: f64) -> Result<()> {
    while clock.now() < seconds {
        ensure!(!clock.stop.load(Ordering::Relaxed), "stopped, for a session failed");
        std::thread::sleep(Duration::from_secs_f64((seconds - clock.now()).clamp(0.0, 0.1)));
    }
    Ok(())
}

/// What `pss.stat_balance` has to say of the last ten minutes.
fn what_pss_says(client: &mut Client) -> Result<Option<Pss>> {
    let row = client.query_opt(
        "SELECT achieved::float8, static::float8, oracle::float8, gain::float8, floor::float8, authority::float8
         FROM pss.stat_balance WHERE relation = 'sharded'::regclass AND span = '10 min'",
        &[],
    )?;
    Ok(row.map(|row| Pss {
        achieved: row.get(0),
        r#static: row.get(1),
        oracle: row.get(2),
        gain: row.get(3),
        floor: row.get(4),
        authority: row.get(5),
    }))
}
