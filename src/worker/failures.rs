//! Partitions that errors of their disk took out of service: confirmed, written down, probed, and
//! put back when they are well.
//!
//! Sessions have left a sign in shared memory (`shmem::failures`) and place no new keys there since.
//! A first sign is checked at once: a file that the error named may have been of another table in
//! the same tablespace. A partition that fails again soon after it was found to be well waits longer
//! each time. Must never keep rows from their homes: only new keys stay away.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{commit, probe};
use crate::catalog::{self, Partition, ShardedTable, relation_name};
use crate::error::{PssError, Result};
use crate::partitions::state;
use crate::shmem::failures::{self, FailureShared, State};
use crate::shmem::tables;
use crate::{clock, guc};

/// Doublings of the time between two probes.
const MOST_DOUBLINGS: u32 = 6;

/// Looks after a table's partitions; says whether the catalog was changed.
pub fn look_after(table: &ShardedTable) -> Result<bool> {
    let shared = tables::find(table.relation);
    if let Some(shared) = shared {
        // Rewritten tables have new files.
        failures::note_places(shared, table);
    }
    let mut changed = false;
    for partition in &table.partitions {
        let sign = shared.and_then(|s| s.partition(partition.number)).map(|p| &p.failure);
        let set = sign.is_some_and(FailureShared::is_set);
        changed |= match sign {
            Some(sign) if partition.active && set => confirm(table, partition, sign)?,
            _ if partition.failed && is_due(sign) => heal(table, partition, sign)?,
            // After a restart.
            _ if !partition.active && !set => tell(table, partition, State::Out),
            _ => false,
        };
    }
    Ok(changed)
}

/// Whether a failed partition is to be probed again.
fn is_due(sign: Option<&FailureShared>) -> bool {
    let pause = |sign: &FailureShared| {
        guc::PROBE_INTERVAL.get().saturating_mul(1 << sign.relapses().min(MOST_DOUBLINGS))
    };
    sign.is_none_or(|sign| clock::now() >= clock::later(sign.at(), pause(sign)))
}

/// Writes down that a partition has failed, or puts it back if nothing is wrong with it.
fn confirm(table: &ShardedTable, partition: &Partition, sign: &FailureShared) -> Result<bool> {
    let complaint = probe::probe(partition)?.err();
    let written = state::lock_state(table.relation, partition.number)?;
    // It may just have been set active by hand.
    if written.as_deref() != Some("active") || !sign.is_set() {
        return Ok(false);
    }
    let number = partition.number;
    // Without an error it is in service again, by a transaction that is about to say so itself.
    let code = sign.error().filter(|_| complaint.is_some() || sign.relapses() > 0);
    let Some(code) = code else {
        if sign.error().is_some() {
            let message = format!("partition {number} had an error of its disk and is well again");
            catalog::log_event(Some(table.relation), "state", &message, None)?;
        }
        return Ok(tell(table, partition, State::Well(clock::now())));
    };
    state::write_down(table.relation, i32::from(number), "failed")?;
    let (why, error) = (reason(code), sqlstate(code));
    let message = format!("partition {number} is failed: {why} ({error})");
    let found = complaint.unwrap_or_else(|| "it failed again soon after it was well".into());
    let detail = serde_json::json!({
        "partition": number,
        "tablespace": partition.tablespace.to_u32(),
        "sqlstate": error,
        "probe": found,
    });
    catalog::log_event(Some(table.relation), "state", &message, Some(pgrx::JsonB(detail)))?;
    let name = relation_name(table.relation);
    PssError::new(
        PgSqlErrorCode::from(code as isize),
        format!("partition {number} of table {name} takes no new keys: {why}"),
    )
    .detail(format!("Probing it: {found}."))
    .hint(format!(
        "It is probed again every now and then; or run SELECT pss_set_partition_state('{name}', {number}, 'active')."
    ))
    .warn();
    Ok(true)
}

/// Probes a failed partition, and puts it back if it is well.
fn heal(table: &ShardedTable, partition: &Partition, sign: Option<&FailureShared>) -> Result<bool> {
    if probe::probe(partition)?.is_err() {
        if let Some(sign) = sign {
            sign.probed(clock::now());
        }
        return Ok(false);
    }
    let written = state::lock_state(table.relation, partition.number)?;
    if written.as_deref() != Some("failed") {
        return Ok(false);
    }
    let number = partition.number;
    state::write_down(table.relation, i32::from(number), "active")?;
    let message =
        format!("partition {number} is active: its files are there and its disk has room");
    catalog::log_event(Some(table.relation), "state", &message, None)?;
    tell(table, partition, State::Well(clock::now()));
    Ok(true)
}

/// Tells all sessions at commit; the catalog is not changed.
fn tell(table: &ShardedTable, partition: &Partition, state: State) -> bool {
    commit::set_state_at_commit(table.relation, partition.number, state);
    false
}

fn reason(code: i32) -> &'static str {
    match PgSqlErrorCode::from(code as isize) {
        PgSqlErrorCode::ERRCODE_DISK_FULL => "its disk is full",
        PgSqlErrorCode::ERRCODE_UNDEFINED_FILE => "files of it are missing",
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE => "its files may not be written to",
        _ => "its disk cannot be read or written",
    }
}

fn sqlstate(code: i32) -> String {
    // SAFETY: unpacks into a static buffer of six bytes.
    unsafe {
        let text = pg_sys::unpack_sql_state(code);
        std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}
