//! Test inside the server: each table of observations keeps what it is to keep, and no more.
//!
//! Rows are written with times of their own; what the worker does about them is done at once.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::housekeeping::{DATABASE_TASKS, TABLE_TASKS};
use crate::{catalog, guc};

/// A row of table `$1`, `$2` minutes old, as it is to be inserted from `at`.
const ROWS: [&str; 11] = [
    "sample (relation, partition, sampled_at, tup_inserted, tup_updated, tup_deleted, idx_tup_fetch,
             seq_tup_read, blks_read, blks_hit, own_rows, own_keys)
     SELECT $1, 0, at, 0, 0, 0, 0, 0, 0, 0, 0, 0",
    "history (relation, partition, bucket, foreign_load, seconds)
     SELECT $1, 0, date_bin('5 min', at, '2000-01-01 00:00+00'), 1, 300",
    "cost_change (relation, changed_at, history_until, partitions, factors)
     SELECT $1, at, at, '{0}', '{1}'",
    "forecast (relation, partition, made_at, horizon, model, value)
     SELECT $1, 0, at, '5 min', 'naive', 1",
    "score (relation, scored_at, load, achieved, static, fewest, reactive, forecast, planned, policy, floor, authority)
     SELECT $1, at, 1, 0, 0, 0, 0, 0, 0, 'capacity', 0, 1",
    "metric (relation, at, partition, metric, value) SELECT $1, at, 0, 'queue', 1",
    "expectation (relation, partition, load, begins_at, ends_at, declared_by)
     SELECT $1, 0, 1, at - interval '1 min', at, 'nobody'",
    "epoch (relation, epoch, published_at, reason, weights, salt, slots)
     SELECT $1, 1000000 - $2, at, '', '{1}', 0, ''",
    "move (relation, moved_at, from_partition, to_partition, keys, rows, bytes, seconds)
     SELECT $1, at, 0, 1, 1, 1, 8, 0",
    "rebalance (relation, state, reason, started_by, ended_at) SELECT $1, 'done', '', 'nobody', at",
    "event (at, kind, message) SELECT at, 'test', $1::text",
];

/// Likewise, of tables that hold nothing for a time.
const MORE_ROWS: [&str; 11] = [
    "multi_home (relation, key_hash, homes) SELECT $1, 1, '{0}'",
    "metric_cost (relation, metric, cost) SELECT $1, 'queue', 2",
    "cost (relation, event, cost) SELECT $1, 'update', 2",
    "calibration (relation) SELECT $1",
    "load_vector (relation, measured_at, partitions, cpu, read, write, bytes, memory, storage,
                  utilization, scarcest)
     SELECT $1, at, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'",
    "query_log_import (relation, imported_at, earliest, latest, entries, scale)
     SELECT $1, at, at, at, 0, 1",
    "forecast_model (relation, partition, horizon, model, since, scored_at, models, relative)
     SELECT $1, 0, '5 min', 'naive', at, at, '{}', '{}'",
    "outlook (relation, decided_at, reason, authority, floor, foreign_load, committed_load,
              level, lo, hi)
     SELECT $1, at, '', 0, 0, '{}', '{}', '{}', '{}', '{}'",
    "partition_capacity (relation, partition, cpu) SELECT $1, 0, 2",
    "learned_capacity (relation, partition, learned, found_at) SELECT $1, 0, 2, at",
    "map_cleaning (relation, cleaned_at, noted_xid) SELECT $1, at, 3",
];

/// `relation`: a sharded table.
pub fn nothing_is_kept_for_ever(relation: pg_sys::Oid) {
    let (samples, history) = (guc::SAMPLE_RETENTION.get(), guc::HISTORY_RETENTION.get());
    assert!(samples + 10 < history - 10, "one retention is told from the other");
    for row in ROWS {
        for age in [samples - 10, samples + 10, history - 10, history + 10] {
            insert(row, relation, age);
        }
    }
    for task in DATABASE_TASKS {
        (task.run)().expect(task.name);
    }
    for task in TABLE_TASKS.iter().filter(|task| task.name.starts_with("retention")) {
        (task.run)(relation).expect(task.name);
    }
    for row in ROWS {
        let table = row.split(' ').next().expect("a name");
        let of_test = match table {
            "event" => "kind = 'test' AND message = $1::text",
            "epoch" => "relation = $1 AND epoch > 1000",
            _ => "relation = $1",
        };
        let left = Spi::get_one_with_args::<i64>(
            &format!("SELECT count(*) FROM pss.{table} WHERE {of_test}"),
            &[relation.into()],
        );
        let kept = if matches!(table, "history" | "cost_change") { 3 } else { 1 };
        assert_eq!(left, Ok(Some(kept)), "rows kept in pss.{table}");
    }
}

/// `relation`: a sharded table; afterwards as one that is gone.
pub fn a_dropped_table_leaves_nothing(relation: pg_sys::Oid) {
    for row in ROWS.into_iter().chain(MORE_ROWS) {
        insert(row, relation, 20);
    }
    // Whichever tables of ours name a relation; events outlive it, its map is dropped elsewhere.
    let tables = Spi::connect(|client| {
        let rows = client.select(
            "SELECT c.relname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             WHERE c.relnamespace = 'pss'::regnamespace AND c.relkind = 'r'
               AND a.attname = 'relation' AND c.relname NOT IN ('event', 'map_state')",
            None,
            &[],
        )?;
        rows.map(|row| row.get::<String>(1)).collect::<Result<Vec<_>, _>>()
    });
    let tables: Vec<String> = tables.expect("spi").into_iter().flatten().collect();
    let rows_of = |table: &String| {
        let count = format!("SELECT count(*) FROM pss.{table} WHERE relation = $1");
        Spi::get_one_with_args::<i64>(&count, &[relation.into()]).expect("spi")
    };
    for table in &tables {
        assert_ne!(rows_of(table), Some(0), "this test puts no row into pss.{table}");
    }
    catalog::forget_table(relation).expect("forgotten");
    for table in &tables {
        assert_eq!(rows_of(table), Some(0), "rows of a table that is gone in pss.{table}");
    }
}

fn insert(row: &str, relation: pg_sys::Oid, minutes_ago: i32) {
    let statement =
        format!("INSERT INTO pss.{row} FROM (SELECT now() - make_interval(mins => $2)) AS t (at)");
    Spi::run_with_args(&statement, &[relation.into(), minutes_ago.into()]).expect("inserted");
}
