//! The contract with a migration tool that is not ours: it asks where keys go, and writes there by
//! itself, while a mover moves the very keys.
//!
//! Must never retry what was not refused: a row that was accepted has to be where it was said.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use postgres::Client;
use postgres::error::SqlState;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::check::{consistent, create_sharded, number};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] =
    &[ClusterTest { name: "migration_contract", options: Options::default, run: contract }];

const TOOLS: i64 = 3;
const PARTITIONS: i32 = 4;
/// Keys that a tool asks for at a time.
const KEYS: i64 = 20;

/// What became of a tool's rows.
#[derive(Default)]
struct Tally {
    stored: i64,
    refused: i64,
}

fn contract(cluster: &mut Cluster, context: &Context) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")?;
    let leaves: Vec<String> = client
        .query("SELECT leaf::text FROM pss.partition ORDER BY partition", &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let (over, running, leaves) = (AtomicBool::new(false), &*cluster, &leaves);
    let tallies = std::thread::scope(|scope| -> Result<Vec<Tally>> {
        let tools: Vec<_> = (0..TOOLS)
            .map(|tool| {
                let over = &over;
                scope.spawn(move || migrate(running, context.seed, tool, leaves, over))
            })
            .collect();
        let mover = scope.spawn(|| shuffle(running, context.seed, &over));
        std::thread::sleep(Duration::from_secs(context.seconds));
        over.store(true, Relaxed);
        let panicked = |_| anyhow!("a session panicked");
        let tallies = tools.into_iter().map(|t| t.join().map_err(panicked)?).collect();
        mover.join().map_err(panicked)??;
        tallies
    })?;
    let stored: i64 = tallies.iter().map(|t| t.stored).sum();
    let refused: i64 = tallies.iter().map(|t| t.refused).sum();
    println!("      {stored} rows stored where it was said, {refused} refused and asked for again");
    ensure!(stored > 0 && refused > 0, "no row met a move: nothing was tested");
    let rows = number(&mut client, "SELECT count(*) FROM t")?;
    ensure!(rows == stored, "{rows} rows of {stored} that were acknowledged");
    consistent(&mut client, "t")
}

/// A tool: asks for a few new keys, then writes three rows of each.
fn migrate(
    cluster: &Cluster,
    seed: u64,
    tool: i64,
    leaves: &[String],
    over: &AtomicBool,
) -> Result<Tally> {
    let mut random = SmallRng::seed_from_u64(seed + tool as u64);
    let mut client = cluster.connect("postgres")?;
    let mut tally = Tally::default();
    let mut next = tool * 1_000_000_000;
    while !over.load(Relaxed) {
        let keys: Vec<i64> = (next..next + KEYS).collect();
        next += KEYS;
        let mut homes = ask(&mut client, &keys)?;
        for seq in 0..3 {
            for (&key, home) in keys.iter().zip(&mut homes) {
                // Refused: ask again, and write there. A mover may be faster more than once.
                while !write(&mut client, (key, tool, seq), *home, leaves, &mut random)? {
                    tally.refused += 1;
                    *home = ask(&mut client, &[key])?[0];
                }
                tally.stored += 1;
            }
        }
    }
    Ok(tally)
}

fn ask(client: &mut Client, keys: &[i64]) -> Result<Vec<i32>> {
    let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
    Ok(client.query_one("SELECT pss_get_partitions('t', $1)", &[&keys])?.get(0))
}

/// Writes a row into the partition it was told, in one of the ways there are; false: refused.
fn write(
    client: &mut Client,
    (key, tool, seq): (i64, i64, i32),
    home: i32,
    leaves: &[String],
    random: &mut SmallRng,
) -> Result<bool> {
    let leaf = &leaves[home as usize];
    let note = format!("{key} {seq}");
    let written = match random.random_range(0..4) {
        0 => client
            .query_one(
                &format!(
                    "INSERT INTO {leaf} (k, writer, seq, note) VALUES ({key}, {tool}, {seq}, '{note}')
                     RETURNING pss_partition"
                ),
                &[],
            )
            .map(|row| row.get(0)),
        1 => client
            .query_one(
                &format!(
                    "INSERT INTO t (k, writer, seq, note, pss_partition)
                     VALUES ({key}, {tool}, {seq}, '{note}', {home}) RETURNING pss_partition"
                ),
                &[],
            )
            .map(|row| row.get(0)),
        2 => copy(client, leaf, &format!("{key}\t{tool}\t{seq}\t{note}\n")).map(|()| home),
        // Naming no partition it goes where the key lives, wherever that is by now.
        _ => client
            .execute(&format!("INSERT INTO t VALUES ({key}, {tool}, {seq}, '{note}')"), &[])
            .map(|_| home),
    };
    match written {
        Ok(stored) if stored == home => Ok(true),
        Ok(stored) => bail!("row {note} was to be in partition {home} and is in {stored}"),
        Err(e) if e.code() == Some(&SqlState::CHECK_VIOLATION) => {
            let hinted = e.as_db_error().is_some_and(|e| e.hint().is_some());
            ensure!(hinted, "a refusal without a hint: {e}");
            Ok(false)
        }
        Err(e) => Err(e.into()),
    }
}

fn copy(client: &mut Client, leaf: &str, line: &str) -> Result<(), postgres::Error> {
    use std::io::Write as _;
    let mut rows = client.copy_in(&format!("COPY {leaf} (k, writer, seq, note) FROM STDIN"))?;
    // What cannot be sent is reported by `finish`.
    let _ = rows.write_all(line.as_bytes());
    rows.finish().map(drop)
}

/// Moves keys to and fro, batch by batch. That others are in the way (55P03) is no failure.
fn shuffle(cluster: &Cluster, seed: u64, over: &AtomicBool) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(seed ^ 0x6d6f_7665);
    let mut client = cluster.connect("postgres")?;
    while !over.load(Relaxed) {
        let from = random.random_range(0..PARTITIONS);
        let to = (from + random.random_range(1..PARTITIONS)) % PARTITIONS;
        let call = format!("CALL pss_move_keys('t', {from}, {to}, batch => 50, pause => '1 ms')");
        match client.batch_execute(&call) {
            Err(e) if e.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) => return Err(e.into()),
            _ => std::thread::sleep(Duration::from_millis(random.random_range(0..20))),
        }
    }
    Ok(())
}
