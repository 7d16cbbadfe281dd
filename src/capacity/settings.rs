//! Configuring capacity: `pss_set_capacity` for partitions, `pss_set_node_capacity`,
//! `pss_set_tablespace_capacity`.
//!
//! NULL: unchanged; 0: no longer set. Sessions heed it when they have seen the invalidation of a
//! table's relcache entry, the worker with its next decision.

use std::ffi::CStr;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::resources::Resource;

use crate::catalog::{self, as_extension_owner};
use crate::error::{OrRaise, PssError, Result, invalid_argument, null_argument};
use crate::{partitions, rights};

/// Largest capacity that can be set: sums stay finite.
const MOST: f64 = 1e18;

/// What can be set: the relative capacity, then one figure for each resource.
struct Figures {
    capacity: Option<f64>,
    /// In the order of `Resource::ALL`.
    resources: [Option<f64>; 6],
}

impl Figures {
    /// The figures, if one is given and all can be.
    fn checked(capacity: Option<f64>, resources: [Option<f64>; 6]) -> Result<Figures> {
        let figures = Figures { capacity, resources };
        if figures.named().all(|(_, figure)| figure.is_none()) {
            return Err(invalid_argument("no capacity is given").hint(format!(
                "Name at least one of {}.",
                figures.named().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
            )));
        }
        for (name, figure) in figures.named() {
            let Some(figure) = figure else { continue };
            if !(0.0..=MOST).contains(&figure) {
                return Err(invalid_argument(format!("{name} {figure} is out of range")).detail(
                    format!("A capacity is above 0 and at most {MOST:e}; 0: no longer set."),
                )
                .hint("Give cpu in processors, read and write in blocks and bytes in bytes a second, memory and storage in bytes."));
            }
        }
        Ok(figures)
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, Option<f64>)> {
        let resources = Resource::ALL.into_iter().map(Resource::name).zip(self.resources);
        std::iter::once(("capacity", self.capacity)).chain(resources)
    }

    /// In words, for the decision log.
    fn describe(&self) -> String {
        let given = self.named().filter_map(|(name, figure)| Some((name, figure?)));
        let one = |(name, figure): (&str, f64)| {
            if figure > 0.0 { format!("{name} {figure}") } else { format!("{name} not set") }
        };
        given.map(one).collect::<Vec<_>>().join(", ")
    }
}

#[pg_extern(sql = false)]
#[expect(clippy::too_many_arguments, reason = "they are those of the SQL function")]
fn pss_set_capacity(
    relation: Option<pg_sys::Oid>,
    partition: Option<i32>,
    capacity: Option<f64>,
    cpu: Option<f64>,
    read: Option<f64>,
    write: Option<f64>,
    bytes: Option<f64>,
    memory: Option<f64>,
    storage: Option<f64>,
) {
    let run = || {
        let figures = Figures::checked(capacity, [cpu, read, write, bytes, memory, storage]);
        of_partition(relation, partition, &figures?)
    };
    run().or_raise();
}

fn of_partition(
    relation: Option<pg_sys::Oid>,
    partition: Option<i32>,
    figures: &Figures,
) -> Result<()> {
    let relation = partitions::owned(relation)?;
    let partition = partition.ok_or_else(|| null_argument("partition"))?;
    let table = catalog::require_sharded_table(relation)?;
    if !table.numbers().any(|number| i32::from(number) == partition) {
        return Err(catalog::no_such_partition(relation, partition));
    }
    rights::require_read_write(c"pss_set_capacity()");
    if let Some(capacity) = figures.capacity {
        as_extension_owner(|| {
            Spi::run_with_args(
                "UPDATE pss.partition SET capacity = COALESCE(NULLIF($3, 0), 1)
                 WHERE relation OPERATOR(pg_catalog.=) $1 AND partition OPERATOR(pg_catalog.=) $2",
                &[relation.into(), partition.into(), capacity.into()],
            )
        })?;
    }
    if figures.resources.iter().any(Option::is_some) {
        let mut values: Vec<DatumWithOid<'_>> = vec![relation.into(), partition.into()];
        values.extend(figures.resources.map(Into::into));
        as_extension_owner(|| {
            Spi::run_with_args(
                "INSERT INTO pss.partition_capacity AS c (relation, partition, cpu, read, write, bytes, memory, storage)
                 VALUES ($1, $2, NULLIF($3, 0), NULLIF($4, 0), NULLIF($5, 0), NULLIF($6, 0), NULLIF($7, 0), NULLIF($8, 0))
                 ON CONFLICT (relation, partition) DO UPDATE SET
                     cpu = NULLIF(COALESCE($3, c.cpu), 0), read = NULLIF(COALESCE($4, c.read), 0),
                     write = NULLIF(COALESCE($5, c.write), 0), bytes = NULLIF(COALESCE($6, c.bytes), 0),
                     memory = NULLIF(COALESCE($7, c.memory), 0), storage = NULLIF(COALESCE($8, c.storage), 0),
                     set_at = pg_catalog.now()",
                &values,
            )
        })?;
    }
    invalidate(relation);
    let message = format!("capacity of partition {partition} set: {}", figures.describe());
    catalog::log_event(Some(relation), "capacity", &message, None)
}

#[pg_extern(sql = false)]
#[expect(clippy::too_many_arguments, reason = "they are those of the SQL function")]
fn pss_set_node_capacity(
    node: Option<&CStr>,
    capacity: Option<f64>,
    cpu: Option<f64>,
    read: Option<f64>,
    write: Option<f64>,
    bytes: Option<f64>,
    memory: Option<f64>,
    storage: Option<f64>,
) {
    let run = || {
        let node = node.ok_or_else(|| null_argument("node"))?.to_string_lossy();
        let figures = Figures::checked(capacity, [cpu, read, write, bytes, memory, storage])?;
        of_group(&NODE, &node, &figures)
    };
    run().or_raise();
}

#[pg_extern(sql = false)]
#[expect(clippy::too_many_arguments, reason = "they are those of the SQL function")]
fn pss_set_tablespace_capacity(
    tablespace: Option<&CStr>,
    capacity: Option<f64>,
    cpu: Option<f64>,
    read: Option<f64>,
    write: Option<f64>,
    bytes: Option<f64>,
    memory: Option<f64>,
    storage: Option<f64>,
) {
    let run = || {
        let tablespace = tablespace.ok_or_else(|| null_argument("tablespace"))?.to_string_lossy();
        let figures = Figures::checked(capacity, [cpu, read, write, bytes, memory, storage])?;
        of_group(&TABLESPACE, &tablespace, &figures)
    };
    run().or_raise();
}

/// A kind of thing that partitions share.
struct Kind {
    name: &'static str,
    function: &'static CStr,
    /// Table and column of what is configured.
    table: &'static str,
    column: &'static str,
    /// Whether there is one of the name $1.
    exists: &'static str,
    list: &'static str,
}

const NODE: Kind = Kind {
    name: "node",
    function: c"pss_set_node_capacity()",
    table: "node_capacity",
    column: "node",
    exists: "SELECT EXISTS (SELECT FROM pss.node WHERE node::pg_catalog.text OPERATOR(pg_catalog.=) $1)",
    list: "SELECT node FROM pss.nodes lists the nodes.",
};

const TABLESPACE: Kind = Kind {
    name: "tablespace",
    function: c"pss_set_tablespace_capacity()",
    table: "tablespace",
    column: "tablespace",
    exists: "SELECT EXISTS (SELECT FROM pg_catalog.pg_tablespace
                            WHERE spcname::pg_catalog.text OPERATOR(pg_catalog.=) $1)",
    list: "SELECT spcname FROM pg_tablespace lists the tablespaces.",
};

/// Partitions of many owners share it: only the extension's owner says what it can carry.
fn of_group(kind: &Kind, name: &str, figures: &Figures) -> Result<()> {
    let Kind { table, column, .. } = kind;
    require_extension_owner()?;
    let exists = catalog::read(|client| {
        let row = client.select(kind.exists, Some(1), &[name.into()])?;
        Ok(row.first().get::<bool>(1)?.unwrap_or(false))
    })?;
    if !exists {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("{} \"{name}\" does not exist", kind.name),
        )
        .hint(kind.list));
    }
    rights::require_read_write(kind.function);
    let mut values: Vec<DatumWithOid<'_>> = vec![name.into(), figures.capacity.into()];
    values.extend(figures.resources.map(Into::into));
    // Names are the constants above; values go by parameter.
    let statement = format!(
        "INSERT INTO pss.{table} AS c ({column}, capacity, cpu, read, write, bytes, memory, storage)
         VALUES ($1::pg_catalog.name, NULLIF($2, 0), NULLIF($3, 0), NULLIF($4, 0), NULLIF($5, 0), NULLIF($6, 0), NULLIF($7, 0), NULLIF($8, 0))
         ON CONFLICT ({column}) DO UPDATE SET
             capacity = NULLIF(COALESCE($2, c.capacity), 0),
             cpu = NULLIF(COALESCE($3, c.cpu), 0), read = NULLIF(COALESCE($4, c.read), 0),
             write = NULLIF(COALESCE($5, c.write), 0), bytes = NULLIF(COALESCE($6, c.bytes), 0),
             memory = NULLIF(COALESCE($7, c.memory), 0), storage = NULLIF(COALESCE($8, c.storage), 0),
             set_at = pg_catalog.now()"
    );
    as_extension_owner(|| Spi::run_with_args(&statement, &values))?;
    for relation in catalog::sharded_tables()? {
        invalidate(relation);
    }
    let message = format!("capacity of {} {name} set: {}", kind.name, figures.describe());
    catalog::log_event(None, "capacity", &message, None)
}

fn require_extension_owner() -> Result<()> {
    let owner = catalog::read(|client| {
        let row = client.select(
            "SELECT pg_catalog.pg_has_role(current_user, extowner, 'USAGE')
             FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'pss'",
            Some(1),
            &[],
        )?;
        Ok(row.first().get::<bool>(1)?.unwrap_or(false))
    })?;
    if owner {
        return Ok(());
    }
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        "must be owner of extension pss",
    )
    .detail("Partitions of all tables share nodes and tablespaces.")
    .hint("Ask the owner of the extension; pss_set_capacity() is for partitions of one's own."))
}

/// What sessions keep of the table is out of date.
fn invalidate(relation: pg_sys::Oid) {
    // SAFETY: queues an invalidation of the table's relcache entry.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
}
