//! One cycle of one table: sample, decide, publish, score.
//!
//! The same code serves the worker and `pss_refresh()`; a lock of our own per
//! table keeps two cycles from mixing. It runs inside the caller's transaction
//! and publishes only when that commits.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::slots::SlotTable;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use super::memory::{self, Memory};
use super::{adjust, calibration, commit, failures, history, report};
use crate::catalog::{self, Epoch, Mapping, ShardedTable};
use crate::error::Result;
use crate::shmem::tables;
use crate::{clock, guc, hot_keys, inputs, map, rights, sampler};

/// Sizes change slowly: how often they are read, in milliseconds.
const SIZE_INTERVAL_MS: i32 = 60_000;

/// What a cycle did.
pub struct Outcome {
    pub relation: pg_sys::Oid,
    /// Number of the epoch in force.
    pub epoch: u32,
    /// A new epoch was written.
    pub changed: bool,
    pub reason: String,
}

/// Runs one cycle of a table. `wait`: for another session's cycle of the same
/// table to end; else such a table is left out (`None`), as is one that is gone.
pub fn run(relation: pg_sys::Oid, decide: bool, wait: bool) -> Result<Option<Outcome>> {
    if !lock(relation, wait) {
        return Ok(None);
    }
    catalog::as_extension_owner(|| locked_run(relation, decide))
}

fn locked_run(relation: pg_sys::Oid, decide: bool) -> Result<Option<Outcome>> {
    let Some(mut table) = catalog::sharded_table(relation)? else { return Ok(None) };
    if failures::look_after(&table)? {
        let Some(changed) = catalog::sharded_table(relation)? else { return Ok(None) };
        table = changed;
    }
    forget_the_future(relation)?;
    calibration::settle(&table)?;
    let mut memory = memory::recall(&table)?;
    if let Some(capacities) = memory.gauges.capacities(&table) {
        let partitions = table.partitions.iter_mut().zip(capacities);
        partitions.for_each(|(partition, capacity)| partition.configured = capacity);
    }
    sample(&table, &mut memory)?;
    let outcome = if decide { Some(decide_and_publish(&table, &mut memory)?) } else { None };
    memory::keep(relation, memory);
    Ok(outcome)
}

/// After the clock was set back, samples of a time to come would keep new ones from being taken
/// until that time. Smaller steps back are waited for.
fn forget_the_future(relation: pg_sys::Oid) -> Result<()> {
    let (now, interval) = (clock::now(), guc::SAMPLE_INTERVAL.get());
    let ahead = |at: &pg_sys::TimestampTz| *at > clock::later(now, interval);
    let Some(newest) = sampler::newest(relation)?.filter(ahead) else { return Ok(()) };
    catalog::forget_after(relation, now)?;
    let message = format!(
        "removed what was observed up to {:.0} s ahead of the clock: it was set back",
        newest.saturating_sub(now) as f64 / 1e6
    );
    catalog::log_event(Some(relation), "clock", &message, None)
}

fn sample(table: &ShardedTable, memory: &mut Memory) -> Result<()> {
    let at = clock::now();
    let with_sizes = at >= clock::later(memory.sizes_at, SIZE_INTERVAL_MS);
    let mut readings = sampler::read(table, with_sizes)?;
    if readings.is_empty() || memory.sampled_at.is_some_and(|last| last >= at) {
        return Ok(());
    }
    if let Some(last) = memory.sampled_at {
        inputs::measure(table, memory.brain.expected(), last, at, &mut readings)?;
    }
    let loads = memory.brain.observe(table, at, &readings);
    sampler::record(table.relation, at, &readings, &loads)?;
    memory.gauges.observe(table, at, &readings);
    memory.gauges.record(table, at)?;
    report::match_forecasts(table.relation, &memory.brain, at, &readings, &loads)?;
    if let Some(balance) = memory.brain.balance_at(at) {
        report::score(table.relation, at, &balance)?;
    }
    memory.sampled_at = Some(at);
    if with_sizes {
        memory.sizes_at = at;
    }
    Ok(())
}

fn decide_and_publish(table: &ShardedTable, memory: &mut Memory) -> Result<Outcome> {
    let relation = table.relation;
    let now = clock::now();
    let valid_until = clock::later(now, guc::WEIGHTS_TTL.get());
    let last = last_epoch(table)?;
    memory.brain.set_hottest(hot_keys::hottest_share(relation)?);
    let plan = memory.brain.plan(&last.weights);
    let reason = plan.reason.as_str().to_string();
    let adjusted = adjust::decision(table, &plan, memory.brain.scores())?;
    report::outlook(table, &plan, &adjusted)?;
    if memory.since_report == 0 {
        report::forecasts(table, &memory.brain, memory.sampled_at.unwrap_or(now))?;
        report::models(table, &memory.brain, memory.sampled_at.unwrap_or(now))?;
        calibration::learn(table, memory.gauges.calibrator())?;
    }
    memory.since_report = (memory.since_report + 1) % report::EVERY;

    let shared = tables::register(relation, table.numbers_end(), now);
    let fill = plan.fill.as_ref().filter(|_| guc::ENABLED.get());
    if let Some(shared) = shared {
        shared.publish_fill(table.numbers(), fill, valid_until);
    }
    if !guc::ENABLED.get() {
        let reason = "pss.enabled is off: shares by capacity".to_string();
        return Ok(Outcome { relation, epoch: last.number, changed: false, reason });
    }
    let changed = plan.epoch_changed;
    let number = if changed {
        let epoch = next_epoch(&last, &plan.shares, table)?;
        catalog::insert_epoch(relation, &epoch, &reason, Some(report::as_json(table, &plan)))?;
        map::slots::record(table, &epoch)?;
        report::epoch_event(table, &last, &epoch, &reason)?;
        commit::publish_at_commit(relation, epoch.number, valid_until);
        epoch.number
    } else {
        use std::sync::atomic::Ordering;
        match shared {
            // Also when it is not the one in force: after a restart, or a publication that got lost.
            Some(shared) if shared.epoch.load(Ordering::Acquire) == last.number => {
                shared.valid_until.store(valid_until, Ordering::Relaxed);
            }
            _ => commit::publish_at_commit(relation, last.number, valid_until),
        }
        last.number
    };
    Ok(Outcome { relation, epoch: number, changed, reason })
}

/// The newest epoch that fits the table; written as epoch 0 if there is none at all.
fn last_epoch(table: &ShardedTable) -> Result<Epoch> {
    let newest = catalog::latest_epoch(table.relation)?;
    if let Some(number) = newest
        && let Some(epoch) = catalog::epoch(table.relation, number)?
        && epoch.weights.len() == table.partitions.len()
        && epoch.slots.len() == table.slots
    {
        return Ok(epoch);
    }
    let weights = table.capacity_shares();
    let mut slots = SlotTable::build(&weights, table.slots);
    if table.mapping == Mapping::Slot {
        slots = map::slots::reassign(table, &slots, &weights)?;
    }
    let number = newest.map_or(0, |n| n + 1);
    let epoch = Epoch { number, weights, salt: fresh_salt(), slots };
    catalog::insert_epoch(table.relation, &epoch, "shares by capacity", None)?;
    map::slots::record(table, &epoch)?;
    Ok(epoch)
}

/// In slot mode the slots come as near to the shares as their homes allow.
fn next_epoch(last: &Epoch, shares: &[f64], table: &ShardedTable) -> Result<Epoch> {
    let slots = if last.slots.len() != table.slots {
        SlotTable::build(shares, table.slots)
    } else if table.mapping == Mapping::Slot {
        map::slots::reassign(table, &last.slots, shares)?
    } else {
        last.slots.reassign(shares)
    };
    Ok(Epoch { number: last.number + 1, weights: shares.to_vec(), salt: fresh_salt(), slots })
}

/// An epoch's salt decides which keys collide in a slot: it must not be
/// guessable, nor the same in two processes of one postmaster.
fn fresh_salt() -> u64 {
    SmallRng::from_os_rng().next_u64()
}

/// Takes the table's cycle lock until the end of the transaction. It lives in
/// the advisory locks' space, under a tag that SQL functions cannot make.
fn lock(relation: pg_sys::Oid, wait: bool) -> bool {
    const OURS: u16 = 0x7053;
    // SAFETY: a complete lock tag; released when the transaction ends.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: relation.to_u32(),
            locktag_field3: 0,
            locktag_field4: OURS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
        let result = pg_sys::LockAcquire(&tag, mode, false, !wait);
        result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }
}

/// Runs a cycle of every sharded table the role owns, by hand.
#[pg_extern(sql = false)]
fn pss_refresh() -> TableIterator<
    'static,
    (name!(relation, pg_sys::Oid), name!(epoch, i32), name!(changed, bool), name!(reason, String)),
> {
    use crate::error::OrRaise;
    TableIterator::new(refresh().or_raise())
}

type RefreshRow = (pg_sys::Oid, i32, bool, String);

fn refresh() -> Result<std::vec::IntoIter<RefreshRow>> {
    if !crate::shmem::available() {
        return Err(crate::error::not_preloaded());
    }
    rights::require_read_write(c"pss_refresh()");
    commit::nudge();
    let mut rows = Vec::new();
    for relation in catalog::sharded_tables()? {
        if !owned(relation)? {
            continue;
        }
        if let Some(o) = run(relation, true, true)? {
            history::fold(relation)?;
            rows.push((o.relation, o.epoch as i32, o.changed, o.reason));
        }
    }
    Ok(rows.into_iter())
}

fn owned(relation: pg_sys::Oid) -> Result<bool> {
    catalog::read(|client| {
        let row = client.select(
            "SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class
             WHERE oid OPERATOR(pg_catalog.=) $1",
            Some(1),
            &[relation.into()],
        )?;
        Ok(row.first().get::<bool>(1)?.unwrap_or(false))
    })
}
