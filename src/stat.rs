//! Functions over shared memory for the views: routing counters, the epochs in
//! force, the state of the workers.
//!
//! Reading never takes a lock and never fails: without shared memory there are
//! no rows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::catalog;
use crate::clock::{self, timestamp};
use crate::error::{OrRaise, Result};
use crate::shmem::databases::{self, State};
use crate::shmem::{self, tables};

fn count(counter: &AtomicU64) -> i64 {
    counter.load(Relaxed) as i64
}

/// A time of shared memory; 0 stands for never.
fn time(at: pg_sys::TimestampTz) -> Option<TimestampWithTimeZone> {
    (at != 0).then(|| timestamp(at))
}

/// Counters of the router, by sharded table that the caller may read.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn pss_stat_routing() -> TableIterator<
    'static,
    (
        name!(relation, pg_sys::Oid),
        name!(epoch, i32),
        name!(valid_until, Option<TimestampWithTimeZone>),
        name!(planner_rows, i64),
        name!(copy_rows, i64),
        name!(trigger_rows, i64),
        name!(call_rows, i64),
        name!(named_rows, i64),
        name!(new_keys, i64),
        name!(cache_hits, i64),
        name!(map_hits, i64),
        name!(redraws, i64),
        name!(fallbacks, i64),
        name!(stats_reset, Option<TimestampWithTimeZone>),
    ),
> {
    let readable = readable_tables().or_raise();
    TableIterator::new(readable.into_iter().filter_map(|relation| {
        let t = tables::find(relation)?;
        Some((
            relation,
            t.epoch.load(Relaxed) as i32,
            time(t.valid_until.load(Relaxed)),
            count(&t.planner_rows),
            count(&t.copy_rows),
            count(&t.trigger_rows),
            count(&t.call_rows),
            count(&t.named_rows),
            count(&t.new_keys),
            count(&t.cache_hits),
            count(&t.map_hits),
            count(&t.redraws),
            count(&t.fallbacks),
            time(t.stats_reset.load(Relaxed)),
        ))
    }))
}

/// Sharded tables that the caller may read.
pub fn readable_tables() -> Result<Vec<pg_sys::Oid>> {
    catalog::tables(
        "SELECT t.relation::pg_catalog.oid FROM pss.sharded_table t
         WHERE pg_catalog.has_table_privilege(t.relation, 'SELECT') ORDER BY 1",
    )
}

/// The launcher, and this database's worker.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn pss_stat_worker() -> TableIterator<
    'static,
    (
        name!(process, &'static str),
        name!(state, &'static str),
        name!(pid, Option<i32>),
        name!(cycles, Option<i64>),
        name!(errors, Option<i64>),
        name!(last_cycle, Option<TimestampWithTimeZone>),
    ),
> {
    let mut rows = Vec::new();
    if let Some(header) = shmem::header() {
        let pid = header.launcher_pid.load(Relaxed);
        let state = if pid == 0 { "not running" } else { "running" };
        rows.push(("launcher", state, (pid != 0).then_some(pid), None, None, None));
        // SAFETY: a plain global of the backend.
        if let Some(d) = databases::find(unsafe { pg_sys::MyDatabaseId }) {
            let pid = d.worker_pid.load(Relaxed);
            let state = match d.state() {
                _ if d.suspended() => "suspended",
                State::Active if pid != 0 => "working",
                State::Active => "waiting for a turn",
                other => other.name(),
            };
            rows.push((
                "worker",
                state,
                (pid != 0).then_some(pid),
                Some(count(&d.cycles)),
                Some(count(&d.errors)),
                time(d.last_cycle.load(Relaxed)),
            ));
        }
    }
    TableIterator::new(rows)
}

/// Sets the counters of this database's tables and worker to zero.
#[pg_extern(sql = false)]
fn pss_stat_reset() {
    let now = clock::now();
    for relation in catalog::sharded_tables().or_raise() {
        if let Some(table) = tables::find(relation) {
            table.reset(now);
            crate::shmem::hot_keys::clear(table);
        }
    }
    // SAFETY: a plain global of the backend.
    if let Some(database) = databases::find(unsafe { pg_sys::MyDatabaseId }) {
        database.cycles.store(0, Relaxed);
        database.errors.store(0, Relaxed);
    }
}
