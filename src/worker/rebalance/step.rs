//! One step of a plan that is being carried out: a batch with its progress, in the caller's
//! transaction.

use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pss_core::rebalance;
use rand::Rng;

use super::store::{self, Current, Move};
use super::survey::BATCH_KEYS;
use crate::catalog::{self, ShardedTable};
use crate::clock::{self, timestamp};
use crate::error::Result;
use crate::guc;
use crate::hot_keys;
use crate::moves::batch::{self, Batch};

/// Pause before a step that had to wait is tried again.
const WAIT: Duration = Duration::from_secs(1);
/// Longest pause after a batch, however many rows it had.
const LONGEST: Duration = Duration::from_secs(600);

/// Does the next batch of a table's plan, or finds that it has to wait; how long to pause then.
/// `None`: no plan is running any more.
pub fn step(relation: pg_sys::Oid) -> Result<Option<Duration>> {
    let began = Instant::now();
    let Some(table) = catalog::sharded_table(relation)? else { return Ok(None) };
    let Some(current) = store::lock_current(relation)? else { return Ok(Some(WAIT)) };
    let Some(next) = current.at else {
        store::end(relation, "done")?;
        return Ok(None);
    };
    if let Some(reason) = waits(&table, &next)? {
        return wait(&current, &reason);
    }
    // Somebody else is moving keys of the table, cleaning its map or changing it.
    // SAFETY: an ordinary lock to the end of the transaction, if it is free.
    let free = unsafe {
        let mode = pg_sys::ShareUpdateExclusiveLock as i32;
        pg_sys::ConditionalLockRelationOid(relation, mode)
    };
    if !free {
        return wait(&current, "another command is at work on the table");
    }
    let left = next.keys.saturating_sub(next.keys_done);
    let hot: Vec<u64> = hot_keys::known(relation)?.iter().map(|key| key.hash48).collect();
    // Of n keys k, spread evenly: the one that brings the next whole of k/n. A hot one is passed
    // over: what it brings is more than was planned to go.
    let (k, n) = (u128::from(next.keys), u128::from(next.of_keys.max(1)));
    let chosen = |passed: u64, hash48: u64| {
        let before = u128::from(passed);
        let its_turn = k >= n || (before + 1) * k / n > before * k / n;
        its_turn && !hot.contains(&hash48)
    };
    let size = batch_size(&current, &next).min(left) as usize;
    let ends = (next.from, next.to);
    let moved = match batch::carry(relation, ends, size.max(1), next.place, chosen)? {
        Batch::InTheWay => {
            store::note_waiting(current.id, Some("transactions are writing to the source"))?;
            let pause = rand::rng().random_range(20..200);
            return Ok(Some(Duration::from_millis(pause)));
        }
        Batch::NothingLeft => {
            store::advance(current.id, &next, (0, 0, 0), next.place, true)?;
            return Ok(Some(Duration::ZERO));
        }
        Batch::Busy(place) => {
            store::advance(current.id, &next, (0, 0, 0), place, false)?;
            return Ok(Some(Duration::ZERO));
        }
        Batch::Moved(moved, place) => {
            let done = (moved.keys, moved.rows, moved.bytes);
            store::advance(current.id, &next, done, place, moved.keys >= left)?;
            moved
        }
    };
    store::note_waiting(current.id, None)?;
    let due = current.rate.map_or(Duration::ZERO, |rate| {
        Duration::from_secs_f64((moved.rows as f64 / rate).min(LONGEST.as_secs_f64()))
    });
    Ok(Some(due.saturating_sub(began.elapsed())))
}

fn wait(current: &Current, reason: &str) -> Result<Option<Duration>> {
    if current.waiting.as_deref() != Some(reason) {
        store::note_waiting(current.id, Some(reason))?;
    }
    Ok(Some(WAIT))
}

/// Keys of a batch: about those of a second.
fn batch_size(current: &Current, next: &Move) -> u64 {
    let keys = current.rate.map_or(f64::INFINITY, |rate| rate / next.rows_per_key.max(1e-3));
    (keys.floor() as u64).clamp(1, BATCH_KEYS)
}

/// Why a batch has to wait for users.
fn waits(table: &ShardedTable, next: &Move) -> Result<Option<String>> {
    if guc::REBALANCE.get() == guc::Rebalance::Off {
        return Ok(Some("pss.rebalance is off".into()));
    }
    let position = |number| table.partitions.iter().position(|p| i32::from(p.number) == number);
    let (Some(from), Some(to)) = (position(next.from), position(next.to)) else { return Ok(None) };
    let (load, capacity) = (last_loads(table)?, capacity(table));
    let busy = rebalance::may_go(&load, &capacity, (from, to), next.source_load);
    Ok(busy.map(|busy| busy.to_string()))
}

fn capacity(table: &ShardedTable) -> Vec<f64> {
    table.partitions.iter().map(|p| if p.active { p.capacity } else { 0.0 }).collect()
}

/// Loads of the last sample, if it is fresh; not a number where unknown.
fn last_loads(table: &ShardedTable) -> Result<Vec<f64>> {
    let fresh = clock::later(clock::now(), -3 * guc::SAMPLE_INTERVAL.get());
    let mut loads = vec![f64::NAN; table.partitions.len()];
    catalog::as_extension_owner(|| {
        catalog::read(|client| {
            let rows = client.select(
                "SELECT partition, own_load OPERATOR(pg_catalog.+) foreign_load FROM pss.sample
                 WHERE relation OPERATOR(pg_catalog.=) $1
                   AND sampled_at OPERATOR(pg_catalog.>) $2
                   AND sampled_at OPERATOR(pg_catalog.=) (
                       SELECT pg_catalog.max(x.sampled_at) FROM pss.sample x
                       WHERE x.relation OPERATOR(pg_catalog.=) $1)",
                None,
                &[table.relation.into(), timestamp(fresh).into()],
            )?;
            for row in rows {
                let number = row.get::<i32>(1)?;
                let place =
                    table.partitions.iter().position(|p| Some(i32::from(p.number)) == number);
                if let Some(i) = place {
                    loads[i] = row.get::<f64>(2)?.unwrap_or(f64::NAN);
                }
            }
            Ok(())
        })
    })?;
    Ok(loads)
}
