//! The two tables: native hash partitioning, and a sharded table; each partition of both in a
//! tablespace of its own.
//!
//! A turn begins with tables that nobody has used: what one learnt is not the next one's.

use anyhow::{Context, Result, ensure};
use postgres::Client;

use crate::bench_routing::variants::{self, Created, NATIVE};
use crate::demo::twins::Leaf;
use crate::server::Cluster;

/// Partitions of each table.
pub const PARTITIONS: usize = variants::PARTITIONS as usize;

/// Rows that are there before a turn begins, for the jobs to read.
const ROWS_BEFORE: i64 = 40_000;

/// One of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Native hash partitioning: keys go where their hash says.
    Hash,
    /// Sharded by pss.
    Pss,
}

/// Both.
pub const TABLES: [Table; 2] = [Table::Hash, Table::Pss];

impl Table {
    /// As users and the JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Table::Hash => "hash",
            Table::Pss => "pss",
        }
    }

    /// Name of the table.
    pub fn sql(self) -> &'static str {
        match self {
            Table::Hash => NATIVE,
            Table::Pss => "sharded",
        }
    }
}

/// A tablespace for each partition, in directories of the cluster's.
pub fn create_tablespaces(cluster: &Cluster, client: &mut Client) -> Result<()> {
    for i in 0..PARTITIONS {
        let directory = cluster.make_directory(&format!("disk_{i}"))?;
        let directory = directory.display();
        client.batch_execute(&format!("CREATE TABLESPACE disk_{i} LOCATION '{directory}'"))?;
    }
    Ok(())
}

/// Makes the table anew, with some rows; returns its leaves.
pub fn create(client: &mut Client, table: Table) -> Result<Vec<Leaf>> {
    let name = table.sql();
    client.batch_execute(&format!("DROP TABLE IF EXISTS {name}"))?;
    let known = variants::ALL.iter().find(|variant| variant.table == name);
    let variant = known.context("bench-routing has no such table")?;
    if let Created::Lacking(why) = variants::create(client, variant)? {
        anyhow::bail!("{name} cannot be made: {why}");
    }
    let rows = client.query(
        "SELECT i.inhrelid::oid, i.inhrelid::regclass::text
         FROM pg_inherits i
         LEFT JOIN pss.partition p ON p.leaf = i.inhrelid
         WHERE i.inhparent = $1::text::regclass AND (p.leaf IS NOT NULL OR $2)
         ORDER BY p.partition, i.inhrelid",
        &[&name, &(table == Table::Hash)],
    )?;
    ensure!(rows.len() == PARTITIONS, "{name} has {} partitions", rows.len());
    let leaves: Vec<Leaf> =
        rows.iter().map(|row| Leaf { oid: row.get(0), name: row.get(1) }).collect();
    for (i, leaf) in leaves.iter().enumerate() {
        client.batch_execute(&format!("ALTER TABLE {} SET TABLESPACE disk_{i}", leaf.name))?;
        let indexes = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = $1";
        for row in client.query(indexes, &[&leaf.oid])? {
            let index: String = row.get(0);
            client.batch_execute(&format!("ALTER INDEX {index} SET TABLESPACE disk_{i}"))?;
        }
    }
    variants::fill(client, name, ROWS_BEFORE.unsigned_abs())?;
    Ok(leaves)
}

/// Fails unless every row that was stored is there, where it belongs; removes the table.
pub fn verify_and_drop(client: &mut Client, table: Table, inserted: u64) -> Result<()> {
    let name = table.sql();
    variants::verify(client, name, ROWS_BEFORE.unsigned_abs() + inserted)?;
    if table == Table::Pss {
        let problems = "SELECT concat_ws(': ', problem, detail) FROM pss_check('sharded') LIMIT 3";
        let problems: Vec<String> =
            client.query(problems, &[])?.iter().map(|row| row.get(0)).collect();
        ensure!(problems.is_empty(), "pss_check() found {problems:?}");
    }
    client.batch_execute(&format!("DROP TABLE {name}"))?;
    Ok(())
}
