//! How many partitions a look-up by key touches, once its plan is generic.
//!
//! Counted by the server's own statistics of the transaction (scans begun) and its locks, so it
//! holds for whatever node does the pruning.

use anyhow::{Context, Result};
use postgres::Client;

use super::Bench;
use super::figures::Figures;
use super::variants::Variant;

/// Partitions that one look-up touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    pub variant: &'static str,
    /// In which a scan began.
    pub scanned: i64,
    /// Which were locked, whether for planning or for a scan.
    pub locked: i64,
}

/// Counts for each variant that reads.
pub fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    for variant in bench.variants.iter().filter(|variant| variant.reads) {
        let mut client = bench.cluster.connect("postgres")?;
        figures.touched.push(touched(&mut client, variant).with_context(|| variant.name)?);
    }
    Ok(())
}

fn touched(client: &mut Client, variant: &Variant) -> Result<Touched> {
    let look_up = client.prepare(&format!("SELECT * FROM {} WHERE id = $1", variant.target))?;
    // The plan cache looks at five custom plans before it may choose a generic one.
    for key in 1..=10_i64 {
        client.query(&look_up, &[&key])?;
    }
    // Else the statistics of this transaction begin with what was not yet reported.
    client.batch_execute("SELECT pg_stat_force_next_flush()")?;
    let mut transaction = client.transaction()?;
    transaction.query(&look_up, &[&11_i64])?;
    let row = transaction.query_one(
        "WITH tables AS (
             SELECT $1::text::regclass::oid AS oid
             UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = $1::text::regclass)
         SELECT (SELECT count(*) FROM pg_stat_xact_user_tables s JOIN tables ON oid = s.relid
                 WHERE coalesce(s.idx_scan, 0) + s.seq_scan > 0),
                (SELECT count(*) FROM pg_locks l JOIN tables ON oid = l.relation
                 JOIN pg_class c USING (oid)
                 WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND c.relkind = 'r')",
        &[&variant.table],
    )?;
    Ok(Touched { variant: variant.name, scanned: row.get(0), locked: row.get(1) })
}
