//! Keys that are spread, brought together and moved while sessions write and read them at all
//! isolation levels.
//!
//! Must never take the server's word for what a session may see: each keeps its own books.

use rand::Rng;
use rand::rngs::SmallRng;

use anyhow::{Result, ensure};
use postgres::Client;

use super::check::{none, number};
use super::movers::{KEYS, PARTITIONS, beside, create};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] =
    &[ClusterTest { name: "spread", options: Options::default, run: spread }];

fn spread(cluster: &mut Cluster, context: &Context) -> Result<()> {
    create(cluster)?;
    let books = beside(
        cluster,
        context,
        &[&spread_over_all, &spread_over_some, &unspread_one, &move_one, &batch_or_clean],
    )?;
    let mut client = cluster.connect("postgres")?;
    let counted = |kind| format!("SELECT count(*) FROM pss.event WHERE kind = '{kind}'");
    let spread = number(&mut client, &counted("spread"))?;
    let unspread = number(&mut client, &counted("unspread"))?;
    println!(
        "      {spread} times a key was spread, {unspread} times its rows were moved together"
    );
    ensure!(spread > 0 && unspread > 0, "nothing was tested");
    consistent(&mut client)?;
    for book in &books {
        book.verify(&mut client)?;
    }
    // All together again: what holds of any table holds of this one.
    client.batch_execute(&format!(
        "SELECT pss_unspread_key('t', k::bigint) FROM generate_series(0, {}) AS k",
        KEYS - 1
    ))?;
    super::check::consistent(&mut client, "t")?;
    for book in &books {
        book.verify(&mut client)?;
    }
    Ok(())
}

/// Each key lies in the homes that are listed, or in one.
fn consistent(client: &mut Client) -> Result<()> {
    none(
        client,
        "a key lies in a partition that is not among its homes",
        "SELECT t.k::text FROM t
         LEFT JOIN pss.multi_home h ON h.relation = 't'::regclass AND h.key_hash = pss_key_hash('t', t.k)
         GROUP BY t.k, h.homes
         HAVING count(DISTINCT pss_partition) > 1
            AND NOT COALESCE(array_agg(pss_partition) <@ h.homes, false) LIMIT 5",
    )?;
    none(client, "pss_check() found", "SELECT c::text FROM pss_check() AS c LIMIT 5")?;
    none(
        client,
        "a look-up by key misses rows",
        "SELECT k.k::text FROM (SELECT k, count(*) AS n FROM t GROUP BY k) AS k,
                LATERAL (SELECT count(*) AS n FROM t WHERE t.k = k.k) AS seen
         WHERE seen.n <> k.n LIMIT 5",
    )
}

fn key(random: &mut SmallRng) -> i64 {
    random.random_range(0..KEYS)
}

fn ended(random: &mut SmallRng, statement: String) -> String {
    let end = if random.random_bool(0.2) { "ROLLBACK" } else { "COMMIT" };
    format!("BEGIN; {statement}; {end}")
}

fn spread_over_all(random: &mut SmallRng) -> String {
    let statement = format!("SELECT pss_spread_key('t', {}::bigint, {PARTITIONS})", key(random));
    ended(random, statement)
}

/// One that has more homes already keeps them; the error ends a subtransaction alone.
fn spread_over_some(random: &mut SmallRng) -> String {
    let (key, homes) = (key(random), random.random_range(2..PARTITIONS));
    let statement = format!(
        "DO $$ BEGIN PERFORM pss_spread_key('t', {key}::bigint, {homes});
         EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; END $$"
    );
    ended(random, statement)
}

fn unspread_one(random: &mut SmallRng) -> String {
    let statement = format!("SELECT pss_unspread_key('t', {}::bigint)", key(random));
    ended(random, statement)
}

fn move_one(random: &mut SmallRng) -> String {
    let to = random.random_range(0..PARTITIONS);
    let statement = format!("SELECT pss_move_key('t', {}::bigint, {to})", key(random));
    ended(random, statement)
}

fn batch_or_clean(random: &mut SmallRng) -> String {
    if random.random_bool(0.5) {
        return "SELECT * FROM pss_clean_map('t')".into();
    }
    let from = random.random_range(0..PARTITIONS);
    let to = (from + random.random_range(1..PARTITIONS)) % PARTITIONS;
    format!("CALL pss_move_keys('t', {from}, {to}, keys => 20, batch => 7, pause => '1 ms')")
}
