//! Making sharded tables and ordinary ones again, rebuilding row maps, checking.
//!
//! Everything here is DDL through SQL: with the rights of the table's owner for
//! the user's objects, of the extension's owner for the catalog's. The functions
//! pin search_path (sql/tables.sql), so unqualified names in queries are
//! pg_catalog's and PostgreSQL's deparsers qualify all others.

mod adopt;
mod alter;
mod check;
mod children;
mod describe;
mod distribute;
mod keys;
mod mapping;
mod portrait;
mod rebuild;
mod refuse;
mod request;
mod sql;
pub mod state;
mod triggers;
mod undistribute;

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{OrRaise, Result, null_argument};
use crate::rights::{self, require_owner};
use crate::{catalog, meta};
pub use children::equality;
pub use mapping::{UniqueScope, refuse_unique_of_spread};
use request::{Arguments, Request};
use sql::{as_table_owner, require_latest_snapshot};

/// Name of the only node, in the 64 bytes that a `name` occupies.
static LOCAL_NODE: [u8; 64] = {
    let mut name = [0; 64];
    let local = b"local";
    let mut i = 0;
    while i < local.len() {
        name[i] = local[i];
        i += 1;
    }
    name
};

#[pg_extern(sql = false)]
#[expect(clippy::too_many_arguments, reason = "they are those of the SQL function")]
fn pss_distribute_table(
    relation: Option<pg_sys::Oid>,
    distribution_column: Option<&CStr>,
    partitions: Option<i32>,
    mapping: Option<&str>,
    existing: Option<&str>,
    nodes: Option<pgrx::Array<'_, &CStr>>,
    colocate_with: Option<pg_sys::Oid>,
    unique_scope: Option<&str>,
) -> TableIterator<
    'static,
    (name!(partition, i32), name!(relation, pg_sys::Oid), name!(node, &'static CStr)),
> {
    let column = distribution_column.map(CStr::to_string_lossy);
    let nodes = nodes.map(|nodes| {
        nodes
            .iter()
            .map(|n| n.map_or_else(String::new, |n| n.to_string_lossy().into_owned()))
            .collect()
    });
    let arguments = Arguments {
        relation,
        column: column.as_deref(),
        partitions,
        mapping,
        existing,
        nodes,
        colocate_with,
        unique_scope,
    };
    TableIterator::new(distributed(arguments).or_raise())
}

fn distributed(arguments: Arguments<'_>) -> Result<Vec<(i32, pg_sys::Oid, &'static CStr)>> {
    let request = Request::new(arguments)?;
    require_owner(request.relation)?;
    require_latest_snapshot()?;
    let parent = as_table_owner(request.relation, || distribute::distribute(&request))?;
    let node = CStr::from_bytes_until_nul(&LOCAL_NODE).unwrap_or_default();
    let table = catalog::require_sharded_table(parent)?;
    Ok(table.partitions.iter().map(|p| (i32::from(p.number), p.leaf, node)).collect())
}

#[pg_extern(sql = false)]
fn pss_undistribute_table(relation: Option<pg_sys::Oid>) {
    let undone = owned(relation).and_then(|relation| {
        require_latest_snapshot()?;
        as_table_owner(relation, || undistribute::undistribute(relation))
    });
    undone.or_raise();
}

#[pg_extern(sql = false)]
fn pss_alter_table(
    relation: Option<pg_sys::Oid>,
    forecast_method: Option<&str>,
    mapping: Option<&str>,
    unique_scope: Option<&str>,
) {
    altered(relation, forecast_method, mapping, unique_scope).or_raise();
}

fn altered(
    relation: Option<pg_sys::Oid>,
    forecast_method: Option<&str>,
    mapping: Option<&str>,
    unique_scope: Option<&str>,
) -> Result<()> {
    let relation = owned(relation)?;
    if let Some(name) = forecast_method {
        alter::forecast_method(relation, name)?;
    }
    let mapping = mapping.map(mapping::parse).transpose()?;
    let scope = unique_scope.map(UniqueScope::parse).transpose()?;
    if mapping.is_none() && scope.is_none() {
        return Ok(());
    }
    require_latest_snapshot()?;
    as_table_owner(relation, || mapping::alter(relation, mapping, scope))
}

#[pg_extern(sql = false)]
fn pss_rebuild_map(relation: Option<pg_sys::Oid>) -> i64 {
    owned(relation)
        .and_then(|relation| {
            as_table_owner(relation, || {
                rebuild::repair(relation)?;
                rebuild::rebuild(relation)
            })
        })
        .or_raise()
}

/// Rebuilds the map of a table as its owner: for the worker, which has more rights.
pub fn rebuild_map(relation: pg_sys::Oid) -> Result<i64> {
    as_table_owner(relation, || rebuild::rebuild(relation))
}

#[pg_extern(sql = false)]
fn pss_check(
    relation: Option<pg_sys::Oid>,
) -> TableIterator<
    'static,
    (name!(relation, pg_sys::Oid), name!(problem, String), name!(detail, String)),
> {
    let problems = checked(relation).or_raise();
    TableIterator::new(problems.into_iter().map(|p| (p.relation, p.problem, p.detail)))
}

fn checked(relation: Option<pg_sys::Oid>) -> Result<Vec<check::Problem>> {
    if let Some(relation) = relation {
        return check::check(owned(Some(relation))?);
    }
    let mut problems = Vec::new();
    for table in catalog::sharded_tables()? {
        if require_owner(table).is_ok() {
            problems.extend(check::check(table)?);
        }
    }
    Ok(problems)
}

/// The sharded table `relation`, which the caller owns, or the error that it is no such.
pub fn owned(relation: Option<pg_sys::Oid>) -> Result<pg_sys::Oid> {
    let relation = relation.ok_or_else(|| null_argument("relation"))?;
    let relation = rights::existing(relation)?;
    catalog::sharded_table(relation)?.ok_or_else(|| meta::not_sharded(relation))?;
    require_owner(relation)?;
    Ok(relation)
}
