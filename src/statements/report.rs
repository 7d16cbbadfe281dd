//! The counters as SQL functions; the views over them are in sql/patterns.sql.
//!
//! Reading never takes a lock and never fails for want of shared memory: then
//! there are no rows. Must never show a query's id to those from whom
//! pg_stat_statements would hide it.

use std::collections::BTreeMap;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::doors::call::meta_for_select;
use crate::error::OrRaise;
use crate::shmem::tables;
use crate::stat::readable_tables;

/// Statements by partition of the sharded tables that the caller may read.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn pss_stat_patterns() -> TableIterator<
    'static,
    (
        name!(relation, pg_sys::Oid),
        name!(partition, i32),
        name!(reads, i64),
        name!(writes, i64),
        name!(read_us, i64),
        name!(write_us, i64),
        name!(insert_us, i64),
    ),
> {
    let mut rows = Vec::new();
    for relation in readable_tables().or_raise() {
        let Some(table) = tables::find(relation) else { continue };
        for (number, partition) in table.partitions().iter().enumerate() {
            let s = partition.statements.read();
            rows.push((
                relation,
                number as i32,
                s.reads as i64,
                s.writes as i64,
                s.read_us as i64,
                s.write_us as i64,
                s.insert_us as i64,
            ));
        }
    }
    TableIterator::new(rows)
}

/// Queries that took most of the time of a table that the caller may read: all
/// of them for those who may see everybody's, else those among `shown`.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn pss_stat_queries(
    relation: pg_sys::Oid,
    shown: Option<pgrx::Array<i64>>,
) -> TableIterator<'static, (name!(queryid, i64), name!(calls, i64), name!(time_us, i64))> {
    let shown: Vec<i64> = shown.map(|ids| ids.iter().flatten().collect()).unwrap_or_default();
    // SAFETY: looks at the roles of the caller.
    let all = unsafe {
        pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::Oid::from(READ_ALL_STATS))
    };
    let mut sums: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let relation = meta_for_select(Some(relation)).or_raise().table.relation;
    if let Some(table) = tables::find(relation) {
        for query in table.queries.read() {
            let id = query.id as i64;
            if all || shown.contains(&id) {
                let sum = sums.entry(id).or_default();
                sum.0 += query.calls as i64;
                sum.1 += query.time_us as i64;
            }
        }
    }
    TableIterator::new(sums.into_iter().map(|(id, (calls, us))| (id, calls, us)))
}

/// The role pg_read_all_stats, the same OID in all versions.
const READ_ALL_STATS: u32 = 3375;
