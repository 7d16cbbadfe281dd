//! Dump and restore: no row lost, none re-routed, wherever its schema sorts (I6).

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use postgres::Client;

use super::check::{consistent, create_sharded, digest, none, number, wait_until};
use super::{ClusterTest, Context};
use crate::account::run;
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] = &[
    ClusterTest { name: "dump_plain", options: Options::default, run: dump_plain },
    ClusterTest { name: "dump_parallel", options: Options::default, run: dump_parallel },
];

/// Schemas that sort before, beside and after `pss`, and one that must be quoted.
const TABLES: [&str; 4] = ["aaa.t", "public.t", "zzz.t", "\"We\"\"ird\".t"];

/// One that is mapped by slot.
const BY_SLOT: &str = "public.by_slot";

/// One with a key that is spread.
const SPREAD: &str = "public.spread";

fn dump_plain(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("dump.sql");
    let before = fill(cluster)?;
    run(cluster.client_program("pg_dump").arg("-f").arg(&file).arg("postgres"))?;
    cluster.create_database("restored")?;
    let mut psql = cluster.client_program("psql");
    run(psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", "-f"]).arg(&file))?;
    restored(cluster, &before)
}

fn dump_parallel(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let dump = directory.path().join("dump");
    let before = fill(cluster)?;
    let arguments = |command: &mut Command| {
        command.args(["-Fd", "-j4"]);
    };
    let mut pg_dump = cluster.client_program("pg_dump");
    arguments(&mut pg_dump);
    run(pg_dump.arg("-f").arg(&dump).arg("postgres"))?;
    cluster.create_database("restored")?;
    let mut pg_restore = cluster.client_program("pg_restore");
    arguments(&mut pg_restore);
    run(pg_restore.args(["--exit-on-error", "-d", "restored"]).arg(&dump))?;
    restored(cluster, &before)
}

/// Fills the tables and returns a digest of each.
fn fill(cluster: &Cluster) -> Result<Vec<String>> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("CREATE EXTENSION pss")?;
    let mut digests = Vec::new();
    for table in TABLES {
        let schema = table.trim_end_matches(".t");
        client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))?;
        create_sharded(&mut client, table)?;
        client.batch_execute(&format!(
            "INSERT INTO {table} SELECT g % 700, 1, g FROM generate_series(1, 2000) g"
        ))?;
        client.batch_execute(&format!(
            "SELECT pss_expect('{table}', 1, 5, now() + interval '1 h', now() + interval '2 h');
             SELECT pss_set_metric_cost('{table}', 'queue', 3);
             SELECT pss_set_cost('{table}', 'update', 7)"
        ))?;
        digests.push(digest(&mut client, table)?);
    }
    client.batch_execute(&format!(
        "CREATE TABLE {BY_SLOT} (k bigint NOT NULL, writer int, seq int, note text);
         CREATE INDEX ON {BY_SLOT} (k);
         SELECT pss_distribute_table('{BY_SLOT}', 'k', 4, mapping => 'slot');
         INSERT INTO {BY_SLOT} SELECT g % 700, 1, g FROM generate_series(1, 2000) g;
         INSERT INTO {BY_SLOT} (k, writer, seq, pss_partition) SELECT g % 7, 1, -g, g % 4 FROM generate_series(1, 28) g"
    ))?;
    digests.push(digest(&mut client, BY_SLOT)?);
    create_sharded(&mut client, SPREAD)?;
    client.batch_execute(&format!(
        "SELECT pss_spread_key('{SPREAD}', 1::bigint, 3);
         INSERT INTO {SPREAD} SELECT g % 10, 1, g FROM generate_series(1, 2000) g"
    ))?;
    digests.push(digest(&mut client, SPREAD)?);
    Ok(digests)
}

/// In slot mode rows of a key may be in any home of its slot: all of them are found again.
fn restored_by_slot(client: &mut Client, before: &str) -> Result<()> {
    ensure!(digest(client, BY_SLOT)? == before, "the rows of {BY_SLOT} differ");
    client.batch_execute(&format!(
        "INSERT INTO {BY_SLOT} SELECT g, 2, g FROM generate_series(0, 899) g"
    ))?;
    let missed = format!(
        "SELECT k::text FROM (SELECT k, count(*) AS n FROM {BY_SLOT} GROUP BY k OFFSET 0) AS key
         WHERE n <> (SELECT count(*) FROM {BY_SLOT} t WHERE t.k = key.k) LIMIT 5"
    );
    none(client, "a look-up missed rows before the homes were known", &missed)?;
    client.execute("SELECT pss_rebuild_map($1::text::regclass)", &[&BY_SLOT])?;
    none(client, "a look-up missed rows", &missed)?;
    none(client, "not consistent", &format!("SELECT problem FROM pss_check('{BY_SLOT}')"))
}

/// A spread key keeps its homes, and takes no other, before its map is made and after.
fn restored_spread(client: &mut Client, before: &str) -> Result<()> {
    ensure!(digest(client, SPREAD)? == before, "the rows of {SPREAD} differ");
    let insert = format!("INSERT INTO {SPREAD} SELECT g % 12, 2, g FROM generate_series(1, 600) g");
    let checks = [
        (
            "a look-up missed rows",
            format!(
            "SELECT k::text FROM (SELECT k, count(*) AS n FROM {SPREAD} GROUP BY k OFFSET 0) AS key
             WHERE n <> (SELECT count(*) FROM {SPREAD} t WHERE t.k = key.k) LIMIT 5"
        ),
        ),
        (
            "a key got one more home",
            format!(
                "SELECT k::text FROM {SPREAD} GROUP BY k
             HAVING count(DISTINCT pss_partition) > CASE k WHEN 1 THEN 3 ELSE 1 END"
            ),
        ),
    ];
    client.batch_execute(&insert)?;
    for (problem, query) in &checks {
        none(client, problem, query)?;
    }
    client.execute("SELECT pss_rebuild_map($1::text::regclass)", &[&SPREAD])?;
    client.batch_execute(&insert)?;
    for (problem, query) in &checks {
        none(client, problem, query)?;
    }
    none(client, "not consistent", &format!("SELECT c::text FROM pss_check('{SPREAD}') AS c"))
}

/// What an administrator told of each table is configuration; and numbers go on.
fn declarations_came_along(client: &mut Client) -> Result<()> {
    let count = "SELECT count(*) FROM pss.expectation e JOIN pss.metric_cost c USING (relation)
                 JOIN pss.cost s USING (relation)
                 WHERE e.load = 5 AND c.cost = 3 AND s.event = 'update' AND s.cost = 7";
    ensure!(number(client, count)? == TABLES.len() as i64, "what was told of the tables is lost");
    let next = format!("SELECT pss_expect('{}', 0, 1, now(), now() + interval '1 h')", TABLES[0]);
    ensure!(number(client, &next)? == TABLES.len() as i64 + 1, "a number is given twice");
    Ok(())
}

fn restored(cluster: &Cluster, before: &[String]) -> Result<()> {
    let mut client = cluster.connect("restored")?;
    for (table, before) in TABLES.iter().zip(before) {
        ensure!(digest(&mut client, table)? == *before, "the rows of {table} differ");
        // At once, whether or not the map is rebuilt yet: known keys join their rows.
        client.batch_execute(&format!(
            "INSERT INTO {table} SELECT g, 2, g FROM generate_series(0, 899) g"
        ))?;
        none(
            &mut client,
            "a key got a second home before the map was rebuilt",
            &format!(
                "SELECT k::text FROM {table} GROUP BY k HAVING count(DISTINCT pss_partition) > 1 LIMIT 5"
            ),
        )?;
    }
    restored_by_slot(&mut client, &before[TABLES.len()])?;
    restored_spread(&mut client, &before[TABLES.len() + 1])?;
    declarations_came_along(&mut client)?;
    for table in TABLES {
        client.execute("SELECT pss_rebuild_map($1::text::regclass)", &[&table])?;
        wait_until(
            &mut client,
            Duration::from_secs(30),
            &format!("SELECT complete FROM pss.map_state WHERE relation = '{table}'::regclass"),
        )?;
        consistent(&mut client, table)?;
    }
    Ok(())
}
