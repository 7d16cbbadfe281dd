//! Taking partitions in and out of service by hand: `pss_set_partition_state`.
//!
//! All sessions heed it from the commit on: signs in shared memory tell them at once, the table's
//! relcache invalidation brings the rest. Must never leave a table without a partition that takes new keys.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::owned;
use super::sql::{one, rows};
use crate::catalog::{self, as_extension_owner, relation_name};
use crate::error::{OrRaise, PssError, Result, invalid_argument, null_argument};
use crate::shmem::failures::State;
use crate::{rights, worker};

#[pg_extern(sql = false)]
fn pss_set_partition_state(
    relation: Option<pg_sys::Oid>,
    partition: Option<i32>,
    state: Option<&str>,
) {
    set(relation, partition, state).or_raise();
}

fn set(relation: Option<pg_sys::Oid>, partition: Option<i32>, state: Option<&str>) -> Result<()> {
    let relation = owned(relation)?;
    let partition = partition.ok_or_else(|| null_argument("partition"))?;
    let state = state.ok_or_else(|| null_argument("state"))?;
    match state {
        "active" | "disabled" => {}
        "failed" => {
            return Err(invalid_argument("state \"failed\" cannot be set by hand")
                .detail("It is what errors of its disk do to a partition.")
                .hint("Use 'disabled' to take a partition out of service."));
        }
        _ => {
            return Err(invalid_argument(format!("unknown state \"{state}\""))
                .hint("Use 'active' or 'disabled'."));
        }
    }
    rights::require_read_write(c"pss_set_partition_state()");
    let before = as_extension_owner(|| lock_states(relation))?;
    let Some((_, was)) = before.iter().find(|(number, _)| *number == partition) else {
        return Err(catalog::no_such_partition(relation, partition));
    };
    let others = before.iter().any(|(number, state)| *number != partition && state == "active");
    if state == "disabled" && !others {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("cannot disable partition {partition} of table {}", relation_name(relation)),
        )
        .detail("No other partition of the table is active: its new keys would have nowhere to go.")
        .hint(format!(
            "Set another one active first: SELECT pss_set_partition_state('{}', partition, 'active').",
            relation_name(relation)
        )));
    }
    if was != state {
        write_down(relation, partition, state)?;
        let message = format!("partition {partition} is {state}: set by hand");
        catalog::log_event(Some(relation), "state", &message, None)?;
    }
    // Also if it is that already: errors that the worker has not seen yet may have taken it out.
    if let Ok(number) = u16::try_from(partition) {
        let state = if state == "active" { State::Forgiven } else { State::Out };
        worker::set_state_at_commit(relation, number, state);
    }
    Ok(())
}

/// Writes down the state of a partition; what all sessions keep of the table is out of date then.
pub fn write_down(relation: pg_sys::Oid, partition: i32, state: &str) -> Result<()> {
    as_extension_owner(|| {
        Spi::run_with_args(
            "UPDATE pss.partition SET state = $3 WHERE relation OPERATOR(pg_catalog.=) $1
             AND partition OPERATOR(pg_catalog.=) $2",
            &[relation.into(), partition.into(), state.into()],
        )
    })?;
    // SAFETY: queues an invalidation of the table's relcache entry.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
    Ok(())
}

/// The partitions and their states, which nobody else changes before this transaction ends.
fn lock_states(relation: pg_sys::Oid) -> Result<Vec<(i32, String)>> {
    let query = "SELECT partition, state FROM pss.partition
                 WHERE relation OPERATOR(pg_catalog.=) $1 ORDER BY partition FOR UPDATE";
    rows(query, &[relation.into()], |row| {
        Ok((row.get::<i32>(1)?.unwrap_or(-1), row.get::<String>(2)?.unwrap_or_default()))
    })
}

/// The state of a partition, which nobody else changes before this transaction ends; `None`: there
/// is no such partition any more. For the worker.
pub fn lock_state(relation: pg_sys::Oid, partition: u16) -> Result<Option<String>> {
    let query = "SELECT state FROM pss.partition WHERE relation OPERATOR(pg_catalog.=) $1
                 AND partition OPERATOR(pg_catalog.=) $2 FOR UPDATE";
    one::<String>(query, &[relation.into(), i32::from(partition).into()])
}
