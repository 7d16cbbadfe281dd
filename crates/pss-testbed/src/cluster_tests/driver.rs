//! COPY as a driver speaks it, text and binary, both ways, beside other extensions' hooks.

use std::io::{Read, Write};

use anyhow::{Result, ensure};
use postgres::Client;
use postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutIter};
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::Type;

use super::check::{consistent, create_sharded, number};
use super::{ClusterTest, Context};
use crate::server::{Cluster, Options, Shutdown};

pub(super) const TESTS: &[ClusterTest] =
    &[ClusterTest { name: "driver_copy", options, run: driver_copy }];

fn options() -> Options {
    Options::default().set("auto_explain.log_min_duration", "0")
}

const ROWS: i64 = 5000;
const KEYS: i64 = 1700;

fn driver_copy(cluster: &mut Cluster, _: &Context) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    // Not every server comes with contrib.
    let with_contrib = number(
        &mut client,
        "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'",
    )? > 0;
    if with_contrib {
        client.batch_execute(
            "ALTER SYSTEM SET shared_preload_libraries = auto_explain, pg_stat_statements, pss",
        )?;
        drop(client);
        cluster.restart(Shutdown::Fast)?;
        client = cluster.connect("postgres")?;
        client.batch_execute("CREATE EXTENSION pg_stat_statements")?;
    }
    client.batch_execute("CREATE EXTENSION pss")?;
    create_sharded(&mut client, "t")?;

    copy_text(&mut client)?;
    copy_binary(&mut client)?;
    ensure!(number(&mut client, "SELECT count(*) FROM t")? == 2 * ROWS, "rows are missing");
    ensure!(number(&mut client, "SELECT count(DISTINCT k) FROM t")? == KEYS, "keys are missing");
    copy_out(&mut client)?;
    interrupted(cluster)?;
    consistent(&mut client, "t")?;
    if with_contrib {
        let rows = number(
            &mut client,
            "SELECT sum(rows)::bigint FROM pg_stat_statements WHERE query ILIKE 'COPY t % FROM STDIN%'",
        )?;
        ensure!(rows == 2 * ROWS, "pg_stat_statements has counted {rows} rows");
    }
    Ok(())
}

fn copy_text(client: &mut Client) -> Result<()> {
    let mut rows = client.copy_in("COPY t (k, writer, seq, note) FROM STDIN")?;
    for seq in 0..ROWS {
        writeln!(rows, "{}\t1\t{seq}\t\\N", seq % KEYS)?;
    }
    let copied = rows.finish()?;
    ensure!(copied == ROWS as u64, "COPY of {ROWS} rows says {copied}");
    Ok(())
}

fn copy_binary(client: &mut Client) -> Result<()> {
    let rows = client.copy_in("COPY t (k, writer, seq, note) FROM STDIN (FORMAT binary)")?;
    let mut rows = BinaryCopyInWriter::new(rows, &[Type::INT8, Type::INT4, Type::INT4, Type::TEXT]);
    for seq in 0..ROWS {
        rows.write(&[&(seq % KEYS), &2_i32, &(seq as i32), &Some("by driver")])?;
    }
    let copied = rows.finish()?;
    ensure!(copied == ROWS as u64, "binary COPY of {ROWS} rows says {copied}");
    Ok(())
}

fn copy_out(client: &mut Client) -> Result<()> {
    let mut text = String::new();
    client.copy_out("COPY t TO STDOUT")?.read_to_string(&mut text)?;
    ensure!(text.lines().count() as i64 == 2 * ROWS, "COPY TO leaves rows out");
    ensure!(
        text.lines().all(|line| line.split('\t').count() == 4),
        "COPY TO shows more than the columns of the table as it was made"
    );
    let rows = client.copy_out("COPY t (k, seq) TO STDOUT (FORMAT binary)")?;
    let copied = BinaryCopyOutIter::new(rows, &[Type::INT8, Type::INT4]).count()?;
    ensure!(copied as i64 == 2 * ROWS, "binary COPY TO leaves rows out");
    Ok(())
}

/// A client that goes away in the middle leaves no row and no key.
fn interrupted(cluster: &Cluster) -> Result<()> {
    let mut client = cluster.connect("postgres")?;
    let mut rows = client.copy_in("COPY t (k, writer, seq, note) FROM STDIN")?;
    for seq in 0..ROWS {
        writeln!(rows, "{}\t3\t{seq}\t\\N", KEYS + seq)?;
    }
    rows.flush()?;
    drop(rows);
    let left = number(&mut client, "SELECT count(*) FROM t WHERE writer = 3")?;
    ensure!(left == 0, "{left} rows are left of a COPY that was not finished");
    let found = format!(
        "SELECT count(pss_locate('t', k)) FROM generate_series({KEYS}, {}) AS k",
        KEYS + ROWS
    );
    ensure!(number(&mut client, &found)? == 0, "keys are left of a COPY that was not finished");
    Ok(())
}
