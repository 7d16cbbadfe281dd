//! What the row map takes: bytes on disk a key, and write-ahead log a row beside native hash.

use anyhow::{Context, Result};
use postgres::Client;

use super::figures::{Figures, LogAfterCheckpoint, MapSize};
use super::variants::{NATIVE, PARTITIONS, Variant};
use super::{Bench, bulk};

/// Key types by name, and the key of row `g`.
const KEY_TYPES: [(&str, &str); 3] =
    [("bigint", "g"), ("uuid", "md5(g::text)::uuid"), ("text", "'customer number ' || g")];

/// Of the keys, this part is inserted again after a checkpoint.
const PART_AFTER_CHECKPOINT: u32 = 50;

/// Measures maps, and the log after a checkpoint.
pub fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let mut client = bench.cluster.connect("postgres")?;
    for (key_type, key) in KEY_TYPES {
        let size = map_size(&mut client, key_type, key, bench.wishes.rows)
            .with_context(|| format!("map of {key_type} keys"))?;
        figures.map_sizes.push(size);
    }
    for variant in bench.variants.iter().filter(|v| ["planner", "slot", NATIVE].contains(&v.name)) {
        let logged = log_after_checkpoint(&mut client, variant, bench.wishes.rows)
            .with_context(|| variant.name)?;
        figures.after_checkpoint.push(logged);
    }
    Ok(())
}

/// Loads so many keys of a type in one statement and weighs the map.
fn map_size(client: &mut Client, key_type: &'static str, key: &str, keys: u32) -> Result<MapSize> {
    let table = format!("keys_{key_type}");
    client.batch_execute(&format!(
        "CREATE TABLE {table} (id {key_type} NOT NULL);
         SELECT count(*) FROM pss_distribute_table('{table}', 'id', partitions => {PARTITIONS});
         INSERT INTO {table} SELECT {key} FROM generate_series(1, {keys}) AS g;"
    ))?;
    let map: String = client
        .query_one(
            "SELECT map::text FROM pss.map_state WHERE relation = $1::text::regclass",
            &[&table],
        )?
        .get(0);
    let bytes_per_key = weigh(client, &map)? / f64::from(keys);
    client.batch_execute(&format!("REINDEX TABLE {map}"))?;
    let reindexed = weigh(client, &map)? / f64::from(keys);
    client.batch_execute(&format!("DROP TABLE {table}"))?;
    Ok(MapSize { key_type, bytes_per_key, reindexed })
}

/// Bytes of a table and its indexes.
fn weigh(client: &mut Client, table: &str) -> Result<f64> {
    let bytes: i64 =
        client.query_one("SELECT pg_total_relation_size($1::text::regclass)", &[&table])?.get(0);
    Ok(bytes as f64)
}

/// Bytes of log a row for known and new keys in no order, each right after a checkpoint, when the
/// first change of a page logs the whole page.
fn log_after_checkpoint(
    client: &mut Client,
    variant: &'static Variant,
    keys: u32,
) -> Result<LogAfterCheckpoint> {
    let rows = (keys / PART_AFTER_CHECKPOINT).max(1);
    let mut logged = |id: &str| -> Result<f64> {
        client.batch_execute("CHECKPOINT")?;
        let before = bulk::log_position(client)?;
        client.batch_execute(&format!(
            "INSERT INTO {} (id, v, note)
             SELECT {id}, 1, 'note of a row' FROM generate_series(1::bigint, {rows}) AS g",
            variant.target
        ))?;
        Ok((bulk::log_position(client)? - before) as f64 / f64::from(rows))
    };
    // A prime step scatters the known keys; a hash scatters the new ones over all 63 bits.
    let known = logged(&format!("1 + g * 7919 % {keys}"))?;
    let new = logged("hashint8extended(g, 1) & 9223372036854775807")?;
    Ok(LogAfterCheckpoint { variant: variant.name, known, new })
}
