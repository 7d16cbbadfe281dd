//! One step of a plan that is being carried out: a batch with its progress, in the caller's
//! transaction.

use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pss_core::rebalance::{self, Wait};
use rand::Rng;

use super::store::{self, Current, Move};
use crate::catalog::{self, ShardedTable};
use crate::clock::{self, timestamp};
use crate::error::Result;
use crate::guc;
use crate::hot_keys;
use crate::moves::batch::{self, Batch};

/// Pause before a step that had to wait is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a batch, however many rows it had.
const LONGEST: Duration = Duration::from_secs(600);

/// Does the next batch of a table's plan, or finds that it has to wait; how long to pause then.
/// `None`: no plan is running any more.
pub fn step(relation: pg_sys::Oid) -> Result<Option<Duration>> {
    let began = Instant::now();
    let Some(table) = catalog::sharded_table(relation)? else { return Ok(None) };
    let Some(current) = store::lock_current(relation)? else { return Ok(Some(PAUSE)) };
    let Some(next) = current.at else {
        store::end(relation, "done")?;
        return Ok(None);
    };
    if guc::REBALANCE.get() == guc::Rebalance::Off {
        return wait(&current, "pss.rebalance is off");
    }
    if let Some(busy) = waits(&table, &next)? {
        if current.waited_s <= f64::from(guc::REBALANCE_PATIENCE.get()) {
            return wait(&current, &busy.to_string());
        }
        // Things are no more as they were when the move was planned: it has done what it could.
        store::advance(current.id, &next, (0, 0, 0), next.place, true)?;
        store::note_waiting(current.id, None)?;
        return Ok(Some(Duration::ZERO));
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
    let size = batch_size(relation, &current, &next)?.min(left) as usize;
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
    Ok(Some(PAUSE))
}

/// Keys of a batch.
fn batch_size(relation: pg_sys::Oid, current: &Current, next: &Move) -> Result<u64> {
    let rate = current.rate.unwrap_or(f64::INFINITY);
    Ok(rebalance::batch_keys(rate, next.rows_per_key, writes(relation, next.from)?))
}

/// Part that writes have in the statements of the last ten minutes on a partition; not a number
/// without any.
fn writes(relation: pg_sys::Oid, partition: i32) -> Result<f64> {
    catalog::as_extension_owner(|| {
        catalog::read(|client| {
            let row = client.select(
                "SELECT (pg_catalog.max(writes) OPERATOR(pg_catalog.-) pg_catalog.min(writes))::pg_catalog.float8
                     OPERATOR(pg_catalog./) NULLIF(pg_catalog.max(reads) OPERATOR(pg_catalog.-) pg_catalog.min(reads)
                         OPERATOR(pg_catalog.+) pg_catalog.max(writes) OPERATOR(pg_catalog.-) pg_catalog.min(writes), 0)::pg_catalog.float8
                 FROM pss.sample
                 WHERE relation OPERATOR(pg_catalog.=) $1 AND partition OPERATOR(pg_catalog.=) $2
                   AND sampled_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) '10 min'::pg_catalog.interval)",
                Some(1),
                &[relation.into(), partition.into()],
            )?;
            Ok(row.first().get::<f64>(1)?.unwrap_or(f64::NAN))
        })
    })
}

/// Whom of the users a batch has to wait for.
fn waits(table: &ShardedTable, next: &Move) -> Result<Option<Wait>> {
    let position = |number| table.partitions.iter().position(|p| i32::from(p.number) == number);
    let (Some(from), Some(to)) = (position(next.from), position(next.to)) else { return Ok(None) };
    let (load, capacity) = (last_loads(table)?, capacity(table));
    Ok(rebalance::may_go(&load, &capacity, (from, to), next.source_load))
}

fn capacity(table: &ShardedTable) -> Vec<f64> {
    table.partitions.iter().map(|p| if p.active { p.capacity } else { 0.0 }).collect()
}

/// Loads of the last three samples, if they are fresh; not a number where unknown.
fn last_loads(table: &ShardedTable) -> Result<Vec<f64>> {
    let fresh = clock::later(clock::now(), -4 * guc::SAMPLE_INTERVAL.get());
    let mut loads = vec![f64::NAN; table.partitions.len()];
    catalog::as_extension_owner(|| {
        catalog::read(|client| {
            let rows = client.select(
                "SELECT partition, pg_catalog.avg(own_load OPERATOR(pg_catalog.+) foreign_load) FROM pss.sample
                 WHERE relation OPERATOR(pg_catalog.=) $1 AND sampled_at OPERATOR(pg_catalog.>) $2
                 GROUP BY 1",
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
