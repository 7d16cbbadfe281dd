//! The two tables of the demo: the same rows, placed by pss and by native hash partitioning.
//!
//! Must never give one twin what the other has not: same columns, same index, same partitions.

use anyhow::{Context, Result, ensure};
use postgres::Client;

use super::PARTITIONS;

/// One of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twin {
    /// `flights_pss`.
    Pss,
    /// `flights_hash`.
    Hash,
}

/// Both, in the order of every array of twins.
pub const TWINS: [Twin; 2] = [Twin::Pss, Twin::Hash];

impl Twin {
    /// Name of the table.
    pub fn table(self) -> &'static str {
        match self {
            Twin::Pss => "flights_pss",
            Twin::Hash => "flights_hash",
        }
    }
}

/// A partition of a twin.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub oid: u32,
    /// As SQL names it, quoted where need be.
    pub name: String,
}

/// Leaves by twin and partition number.
pub type Leaves = [Vec<Leaf>; 2];

/// Creates both tables.
pub fn create(client: &mut Client) -> Result<Leaves> {
    for twin in TWINS {
        let partitioning = match twin {
            Twin::Pss => "",
            Twin::Hash => "PARTITION BY HASH (flight)",
        };
        let table = twin.table();
        client.batch_execute(&format!(
            "CREATE TABLE {table} (
                 flight text NOT NULL,
                 report text NOT NULL,
                 miles int NOT NULL,
                 at timestamptz NOT NULL DEFAULT clock_timestamp()
             ) {partitioning};
             CREATE INDEX ON {table} (flight);"
        ))?;
    }
    for i in 0..PARTITIONS {
        client.batch_execute(&format!(
            "CREATE TABLE flights_hash_{i} PARTITION OF flights_hash
                 FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {i})"
        ))?;
    }
    client.batch_execute("CREATE EXTENSION pss")?;
    client
        .query(
            "SELECT * FROM pss_distribute_table('flights_pss', 'flight', partitions => $1)",
            &[&(PARTITIONS as i32)],
        )
        .context("distribute flights_pss")?;
    let leaves = [
        leaves(
            client,
            "SELECT leaf::oid, leaf::text FROM pss.partition
             WHERE relation = 'flights_pss'::regclass ORDER BY partition",
        )?,
        leaves(
            client,
            "SELECT inhrelid::regclass::oid, inhrelid::regclass::text FROM pg_inherits
             WHERE inhparent = 'flights_hash'::regclass ORDER BY pg_inherits.inhrelid",
        )?,
    ];
    Ok(leaves)
}

fn leaves(client: &mut Client, query: &str) -> Result<Vec<Leaf>> {
    let rows = client.query(query, &[])?;
    ensure!(rows.len() == PARTITIONS, "{} partitions instead of {PARTITIONS}", rows.len());
    Ok(rows.iter().map(|row| Leaf { oid: row.get(0), name: row.get(1) }).collect())
}

/// What the worker expects of a partition of `flights_pss`, and what it wants to send there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outlook {
    /// Expected load over the control window, cost units per second.
    pub forecast: Option<f64>,
    /// Share of new keys.
    pub weight: Option<f64>,
}

/// The outlook by partition, and the middle of the time that the forecast is for, in seconds
/// from now.
pub fn outlook(client: &mut Client) -> Result<([Outlook; PARTITIONS], f64)> {
    let mut outlook = [Outlook::default(); PARTITIONS];
    let mut middle = 0.0;
    let rows = client.query(
        "SELECT p.partition, p.forecast::float8, p.weight::float8,
                extract(epoch FROM o.decided_at + o.control_window / 2 - clock_timestamp())::float8
         FROM pss.partitions p JOIN pss.outlook o USING (relation)
         WHERE relation = 'flights_pss'::regclass",
        &[],
    )?;
    for row in &rows {
        let partition: i32 = row.get(0);
        if let Some(o) = usize::try_from(partition).ok().and_then(|p| outlook.get_mut(p)) {
            *o = Outlook { forecast: row.get(1), weight: row.get(2) };
            middle = row.get::<_, Option<f64>>(3).unwrap_or(middle);
        }
    }
    Ok((outlook, middle))
}

/// Fails unless both twins have the same rows, every row of `flights_pss` lies in the partition
/// its `pss_partition` says, and every flight in one partition.
pub fn verify(client: &mut Client) -> Result<()> {
    let rows = |client: &mut Client, table: &str| -> Result<i64> {
        Ok(client.query_one(&format!("SELECT count(*) FROM {table}"), &[])?.get(0))
    };
    let (pss, hash) = (rows(client, "flights_pss")?, rows(client, "flights_hash")?);
    ensure!(pss == hash, "flights_pss has {pss} rows and flights_hash {hash}");
    let torn: i64 = client
        .query_one(
            "SELECT count(*) FROM (SELECT flight FROM flights_pss GROUP BY flight
                                   HAVING count(DISTINCT tableoid) > 1) AS torn",
            &[],
        )?
        .get(0);
    ensure!(torn == 0, "{torn} flights lie in more than one partition");
    let strays: i64 = client
        .query_one(
            "SELECT count(*) FROM flights_pss f LEFT JOIN pss.partition p
                 ON p.leaf = f.tableoid AND p.relation = 'flights_pss'::regclass
                    AND p.partition = f.pss_partition
             WHERE p.leaf IS NULL",
            &[],
        )?
        .get(0);
    ensure!(strays == 0, "{strays} rows are not where their pss_partition says");
    Ok(())
}

/// What `pss_check()` finds wrong, a line each.
pub fn check(client: &mut Client) -> Result<Vec<String>> {
    let rows = client
        .query("SELECT concat_ws(': ', problem, detail) FROM pss_check('flights_pss')", &[])
        .context("pss_check")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
