//! The query log of a real server, imported: what was run is what is learnt.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postgres::Client;

use super::check::{create_sharded, none, number};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options};

pub(super) const TESTS: &[ClusterTest] =
    &[ClusterTest { name: "query_log", options: logging, run: query_log }];

/// The server's collector writes what it is sent a little later.
const PATIENCE: Duration = Duration::from_secs(30);

/// Both formats, each statement with its duration. IST, the zone's abbreviation, is Israel's
/// time to a server that is not asked about India.
fn logging() -> Options {
    Options::default()
        .set("logging_collector", "on")
        .set("log_destination", "csvlog,jsonlog")
        .set("log_min_duration_statement", "0")
        .set("log_timezone", "Asia/Kolkata")
        .set("lc_messages", "C")
        .set("pss.sample_interval", "1h")
}

/// Runs statements of each kind, by both protocols, and finds them again by both formats.
fn query_log(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    client.batch_execute("SET log_min_duration_statement = -1; CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")?;
    client.batch_execute("INSERT INTO t (k) SELECT generate_series(1, 1000)")?;
    let key = number(&mut client, "SELECT min(k) FROM t WHERE pss_partition = 2")?;
    client.batch_execute("RESET log_min_duration_statement")?;

    for _ in 0..40 {
        client.batch_execute(&format!("SELECT * FROM t\nWHERE k = {key} AND note <> 'a,\"b\"'"))?;
    }
    let by_key = client.prepare("UPDATE t SET note = $1 WHERE k = $2")?;
    for _ in 0..30 {
        client.execute(&by_key, &[&"it's", &key])?;
    }
    client.batch_execute("SELECT count(*) FROM t")?;
    client.batch_execute(&format!("INSERT INTO t (k) VALUES ({key})"))?;
    let wrong = client.batch_execute(&format!("SELECT no_such_column FROM t WHERE k = {key}"));
    ensure!(wrong.is_err(), "a wrong statement ran");
    client.batch_execute("SELECT 'this is the last of t'")?;
    client.batch_execute("SET log_min_duration_statement = -1")?;

    let statements = 40 + 30 + 1 + 1;
    for format in ["csvlog", "jsonlog"] {
        let used = imported(&mut client, &format!("'t', format => '{format}'"), statements)?;
        ensure!(used == statements, "{format}: {used} of {statements} statements were found");
        loads_are_right(&mut client, format)?;
    }
    // Both logs hold the same statements: one is read.
    let used = imported(&mut client, "'t'", statements)?;
    ensure!(used == statements, "both: {used} instead of {statements} statements were found");
    Ok(())
}

/// Statements that an import finds; the log may be written a little late.
fn imported(client: &mut Client, arguments: &str, expected: i64) -> Result<i64> {
    let call = format!("SELECT used FROM pss_import_query_log({arguments}, cost_per_ms => 1)");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let used = client.query_one(&call, &[]).map(|row| row.get(0));
        match used {
            Ok(used) if used >= expected => return Ok(used),
            _ if Instant::now() > deadline => return Ok(used?),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// All work by key is on partition 2, the scan is everyone's, the inserted row is own load.
fn loads_are_right(client: &mut Client, format: &str) -> Result<()> {
    none(
        client,
        &format!("{format}: load is where no statement fell"),
        // What is everyone's is the same for all others, however long the server took for it.
        "WITH p AS (SELECT partition, sum(foreign_load * seconds) AS cost,
                           sum(own_load * seconds) AS own
                    FROM pss.history GROUP BY partition),
              least AS (SELECT min(cost) AS cost FROM p)
         SELECT p.partition::text FROM p, least
         WHERE CASE p.partition WHEN 2 THEN p.cost <= least.cost OR p.own <= 0
               ELSE p.own > 0 OR least.cost <= 0 OR p.cost > least.cost * 1.000001 END",
    )?;
    none(
        client,
        &format!("{format}: times are not those of the statements"),
        "SELECT bucket::text FROM pss.history
         WHERE bucket NOT BETWEEN now() - interval '20 min' AND now() OR source <> 'log'",
    )
}
