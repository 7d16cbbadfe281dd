//! What must hold of a sharded table after anything: asked of pss, and of plain SQL as well.
//!
//! Must never trust pss_check() alone: a checker that is wrong reports nothing either.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postgres::Client;

/// Creates `table` (key column `k`, then `writer`, `seq`, `note`) and hands it to pss.
pub fn create_sharded(client: &mut Client, table: &str) -> Result<()> {
    client
        .batch_execute(&format!(
            "CREATE TABLE {table} (k bigint NOT NULL, writer int, seq int, note text);
             CREATE INDEX ON {table} (k);
             SELECT pss_distribute_table('{table}', 'k', partitions => 4);"
        ))
        .with_context(|| format!("distribute {table}"))
}

/// Succeeds if each row is where it says, each key in one place, and the map complete and right.
pub fn consistent(client: &mut Client, table: &str) -> Result<()> {
    none(
        client,
        "a row lies in another leaf than its pss_partition says, or still in the inbox",
        &format!(
            "SELECT t.k::text FROM {table} t
             LEFT JOIN pss.partition p ON p.leaf = t.tableoid::regclass
             WHERE p.partition IS DISTINCT FROM t.pss_partition LIMIT 5"
        ),
    )?;
    none(
        client,
        "a key lies in more than one partition",
        &format!(
            "SELECT k::text FROM {table} GROUP BY k HAVING count(DISTINCT pss_partition) > 1 LIMIT 5"
        ),
    )?;
    none(
        client,
        "the map disagrees with the rows",
        &format!(
            "SELECT format('%s: row %s, map %s', k, p, pss_locate('{table}', k))
             FROM (SELECT DISTINCT k, pss_partition AS p FROM {table}) AS keys
             WHERE pss_locate('{table}', k) IS DISTINCT FROM p LIMIT 5"
        ),
    )?;
    none(client, "pss_check() found", "SELECT c::text FROM pss_check() AS c LIMIT 5")
}

/// Succeeds if `query` returns no row; the error lists its first column, after `problem`.
pub fn none(client: &mut Client, problem: &str, query: &str) -> Result<()> {
    let rows = client.query(query, &[]).with_context(|| query.to_owned())?;
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    ensure!(found.is_empty(), "{problem}: {}", found.join("; "));
    Ok(())
}

/// A digest of all rows, their places included.
pub fn digest(client: &mut Client, table: &str) -> Result<String> {
    let query = format!(
        "SELECT coalesce(md5(string_agg(concat_ws('|', k, writer, seq, note, pss_partition), ','
                ORDER BY k, writer, seq)), 'empty') FROM {table}"
    );
    Ok(client.query_one(&query, &[])?.get(0))
}

/// Number that a query returns.
pub fn number(client: &mut Client, query: &str) -> Result<i64> {
    Ok(client.query_one(query, &[]).with_context(|| query.to_owned())?.get(0))
}

/// Waits until `query`, which returns one boolean, says true.
pub fn wait_until(client: &mut Client, patience: Duration, query: &str) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        if client.query_one(query, &[]).with_context(|| query.to_owned())?.get(0) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("not true within {patience:?}: {query}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
