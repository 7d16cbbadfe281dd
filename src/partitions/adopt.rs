//! Makes a table that is already partitioned by LIST (pss_partition) a sharded
//! one: after DROP EXTENSION and CREATE EXTENSION, or one made by hand.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::children::{self, Storage};
use super::describe::Description;
use super::distribute::notice;
use super::refuse;
use super::request::Request;
use super::sql::{ident, one, required, rows, run};
use crate::error::{PssError, Result};
use crate::{catalog, map};

struct Child {
    oid: pg_sys::Oid,
    name: String,
    kind: String,
    /// The only value of its LIST bound; `None`: several, or the default partition.
    bound: Option<i32>,
}

/// Adopts the partitioned table; its partitions keep their rows and numbers.
pub fn adopt(table: &Description, request: &Request) -> Result<pg_sys::Oid> {
    let parent = table.relation;
    fit_partitioning(table)?;
    let children = children(table)?;
    let leaves: Vec<(i32, pg_sys::Oid)> = children
        .iter()
        .filter_map(|c| c.bound.filter(|&bound| bound >= 0).map(|bound| (bound, c.oid)))
        .collect();
    if leaves.is_empty() {
        return Err(unfit(table, "it has no partitions").hint(format!(
            "Run CREATE TABLE ... PARTITION OF {} FOR VALUES IN (0).",
            table.table
        )));
    }
    refuse::unkeepable_keys(table, request)?;
    refuse::null_keys(table)?;
    refuse::late_triggers(table)?;
    let map_bytes = refuse::oversized(table, request.mapping)?;
    let empty = table.is_empty()?;
    run(&format!(
        "ALTER TABLE {} ALTER COLUMN pss_partition SET DEFAULT -1,
                        ALTER COLUMN pss_partition SET NOT NULL,
                        ALTER COLUMN {} SET NOT NULL",
        table.table,
        ident(&table.key.name)
    ))?;
    let inbox = match children.iter().find(|c| c.bound == Some(-1)) {
        Some(inbox) => inbox.oid,
        None => children::make(parent, "inbox", -1, &Storage::default())?,
    };
    children::register(parent, request, &leaves)?;
    map::set_complete(parent, empty)?;
    children::drop_triggers(parent, inbox)?;
    children::make_triggers(parent, inbox, &table.key.name)?;
    children::make_guard(parent)?;
    children::make_adopter(parent)?;
    let made = format!(
        "table {} adopted, distributed by \"{}\" over its {} partitions",
        table.table,
        table.key.name,
        leaves.len()
    );
    catalog::log_event(Some(parent), "distribute", &made, None)?;
    notice(made);
    if !empty {
        super::distribute::build_map(parent, table, request.mapping, map_bytes)?;
    }
    Ok(parent)
}

fn fit_partitioning(table: &Description) -> Result<()> {
    let fits = one::<bool>(PARTITIONED_BY_US, &[table.relation.into()])?;
    if fits == Some(true) {
        return Ok(());
    }
    Err(unfit(table, "it is not partitioned by LIST (pss_partition) with an int column of that name")
        .hint("Distribute an ordinary table with its rows: CREATE TABLE ... (LIKE ...), INSERT, then pss_distribute_table."))
}

fn children(table: &Description) -> Result<Vec<Child>> {
    let children = rows(CHILDREN, &[table.relation.into()], |row| {
        Ok(Child {
            oid: required(row, 1)?,
            name: required(row, 2)?,
            kind: required(row, 3)?,
            bound: row.get::<i32>(4)?,
        })
    })?;
    for child in &children {
        if child.kind != "r" {
            return Err(unfit(
                table,
                &format!("its partition {} is not an ordinary table", child.name),
            )
            .hint("Detach it: ALTER TABLE ... DETACH PARTITION."));
        }
        if !child.bound.is_some_and(|bound| (-1..i32::from(u16::MAX)).contains(&bound)) {
            return Err(unfit(
                table,
                &format!("its partition {} does not have one number", child.name),
            )
            .detail("Each partition is FOR VALUES IN (n), with one n from -1 (the inbox) to 65534.")
            .hint("Detach it: ALTER TABLE ... DETACH PARTITION."));
        }
    }
    Ok(children)
}

fn unfit(table: &Description, why: &str) -> PssError {
    PssError::new(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("partitioned table {} cannot be sharded: {why}", table.table),
    )
}

const PARTITIONED_BY_US: &str = "
    SELECT partstrat = 'l' AND partnatts = 1 AND attname = 'pss_partition'
           AND atttypid = 'int4'::regtype
    FROM pg_partitioned_table
    JOIN pg_attribute ON attrelid = partrelid AND attnum = partattrs[0]
    WHERE partrelid = $1";

const CHILDREN: &str = "
    SELECT c.oid, c.oid::regclass::text, c.relkind::text,
           substring(pg_get_expr(relpartbound, c.oid) FROM '^FOR VALUES IN \\(''?(-?[0-9]{1,9})''?\\)$')::int
    FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE inhparent = $1 ORDER BY 4, 1";
