//! Cleaning a row map: entries that no row stands behind any more (their rows
//! were deleted, or a call reserved a home and no row came), and entries that
//! say what another one says.
//!
//! An orphan is removed like a key is moved: marked, so that nobody can come to
//! rely on it, its partition's writers waited for, its absence verified after
//! that. What is in the way goes first: this comes again. A duplicate needs no
//! mark: both are committed, and only one cleaner works on a table.

use std::collections::{HashMap, HashSet};

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::seen::Seen;

use super::call::movable;
use super::leaf;
use super::mover::Mover;
use super::state::{self, State};
use crate::catalog::{self, Mapping};
use crate::error::{OrRaise, Result};
use crate::map::{Map, Stored};
use crate::shmem::{claims, tables};

/// Candidates that one run marks, and entries that it looks at.
const MAX_CANDIDATES: usize = 4096;
const MAX_ENTRIES: usize = 4_000_000;
/// A pass is worth it when so many rows were deleted, and so large a part of the entries.
const DELETED_FROM: i64 = 1000;
const DELETED_PART: i64 = 100;
/// Duplicates are looked for when the map has so many more entries, as a factor.
const GROWN: f64 = 1.5;

/// What a run removed.
#[derive(Debug, Clone, Copy, Default)]
struct Removed {
    orphans: u64,
    duplicates: u64,
}

/// By hand: a run, whether it is due or not.
#[pg_extern(sql = false)]
fn pss_clean_map(
    relation: Option<pg_sys::Oid>,
) -> pgrx::iter::TableIterator<'static, (name!(orphans, i64), name!(duplicates, i64))> {
    let run = || {
        let relation = movable(relation)?;
        let removed = clean(relation, &state::read(relation)?, true)?;
        Ok((removed.orphans as i64, removed.duplicates as i64))
    };
    pgrx::iter::TableIterator::once(run().or_raise())
}

/// The worker's: a run if one is due and nobody else is at work on the table.
pub fn clean_if_due(relation: pg_sys::Oid) -> Result<()> {
    // SAFETY: an ordinary lock to the end of the transaction, if it is free.
    let free = unsafe {
        let mode = pg_sys::ShareUpdateExclusiveLock as i32;
        pg_sys::ConditionalLockRelationOid(relation, mode)
    };
    if !free {
        return Ok(());
    }
    let Some(table) = catalog::sharded_table(relation)? else { return Ok(()) };
    if table.map.is_none() || !table.map_complete || table.mapping == Mapping::Slot {
        return Ok(());
    }
    let state = state::read(relation)?;
    let (orphans, duplicates) = due(&state);
    if orphans || duplicates {
        clean(relation, &state, orphans)?;
    }
    Ok(())
}

/// Whether orphans, and duplicates, are worth looking for.
fn due(state: &State) -> (bool, bool) {
    let known_old = state.old_xid > 0;
    let (then, now) = state.deleted;
    // After a crash the server counts from zero.
    let deleted = if now < then { now } else { now - then };
    let many = deleted >= DELETED_FROM.max(state.entries.1 / DELETED_PART);
    let under_way = state.next_entry.is_some();
    let grown = state.entries.1 as f64 > GROWN * state.entries.0 as f64 + DELETED_FROM as f64;
    (known_old && (many || under_way), grown)
}

/// One run: from where the last one stopped, to its bounds or the end of the map.
fn clean(relation: pg_sys::Oid, state: &State, orphans: bool) -> Result<Removed> {
    let mover = Mover::open(relation)?;
    if state.next_entry.is_none() {
        state::begin(relation, state)?;
    }
    let local = if orphans { local_leaves(&mover) } else { HashMap::new() };
    let seen = see_keys(&mover, &local)?;
    let first_mark = claims::marks();
    let look = Look { mover: &mover, local: &local, seen: &seen, old_xid: state.old_xid as u64 };
    let found = look.walk(state.next_entry.unwrap_or(i64::MIN))?;
    let map = mover.map();
    found.duplicates.iter().for_each(|place| map.delete(*place));
    let removed = Removed {
        duplicates: found.duplicates.len() as u64,
        orphans: remove_orphans(&mover, &map, &local, &found.candidates, first_mark)?,
    };
    state::write(relation, removed.orphans, removed.duplicates, found.next_entry)?;
    if removed.orphans + removed.duplicates > 0 {
        let Removed { orphans, duplicates } = removed;
        let message = format!("{orphans} orphaned and {duplicates} duplicate entries removed");
        catalog::log_event(Some(relation), "clean_map", &message, None)?;
    }
    Ok(removed)
}

/// Partitions that are stored here, by number: only their keys can be read.
fn local_leaves(mover: &Mover) -> HashMap<u16, pg_sys::Oid> {
    mover.local_partitions().map(|p| (p.number, p.leaf)).collect()
}

/// Which keys have rows where.
fn see_keys(mover: &Mover, local: &HashMap<u16, pg_sys::Oid>) -> Result<Seen> {
    // SAFETY: look-ups in the statistics' estimates, by relation.
    let rows = local.values().map(|&leaf| unsafe { pages(leaf) } * 200).sum();
    let mut seen = Seen::with_room_for(rows);
    for (&number, &leaf) in local {
        leaf::each_key(mover.meta(), leaf, |hash, _| seen.insert(hash, number))?;
    }
    Ok(seen)
}

/// Pages of a leaf.
unsafe fn pages(leaf: pg_sys::Oid) -> usize {
    // SAFETY: the leaf exists: its parent is locked.
    unsafe {
        let heap = pg_sys::table_open(leaf, pg_sys::AccessShareLock as i32);
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        let pages = pg_sys::RelationGetNumberOfBlocksInFork(heap, main);
        pg_sys::table_close(heap, pg_sys::NoLock as i32);
        pages as usize
    }
}

/// What a walk over the map found.
#[derive(Default)]
struct Found {
    duplicates: Vec<pg_sys::ItemPointerData>,
    /// Entries that had no row, marked.
    candidates: Vec<Stored>,
    next_entry: Option<i64>,
}

struct Look<'a> {
    mover: &'a Mover,
    local: &'a HashMap<u16, pg_sys::Oid>,
    seen: &'a Seen,
    old_xid: u64,
}

impl Look<'_> {
    fn walk(&self, start: i64) -> Result<Found> {
        // SAFETY: reads a counter.
        let next_xid = unsafe { pg_sys::ReadNextFullTransactionId() }.value;
        let mut found = Found::default();
        let (mut last, mut looked, mut failed) = (None, 0, None);
        self.mover.map().walk(start, |entry| {
            if last == Some(entry.e) {
                found.duplicates.push(entry.place);
                return true;
            }
            if looked == MAX_ENTRIES || found.candidates.len() == MAX_CANDIDATES {
                found.next_entry = Some(entry.e);
                return false;
            }
            looked += 1;
            last = Some(entry.e);
            let orphan = self.local.contains_key(&entry.partition())
                && full_number(entry.xmin, next_xid) < self.old_xid
                && !is_ours(entry.xmin)
                && !self.seen.contains(entry.hash48(), entry.partition());
            if orphan {
                match self.mover.mark(entry.hash48()) {
                    Ok(true) => found.candidates.push(entry),
                    Ok(false) => {}
                    Err(e) => failed = Some(e),
                }
            }
            failed.is_none()
        });
        failed.map_or(Ok(found), Err)
    }
}

/// What this transaction has written itself may have its rows still to come.
fn is_ours(xmin: pg_sys::TransactionId) -> bool {
    // SAFETY: looks at the transactions of this backend.
    unsafe { pg_sys::TransactionIdIsCurrentTransactionId(xmin) }
}

/// A transaction's full number; 0: frozen, long ago.
fn full_number(xmin: pg_sys::TransactionId, next: u64) -> u64 {
    let xmin = u64::from(xmin.into_inner());
    if xmin < u64::from(pg_sys::FirstNormalTransactionId.into_inner()) {
        return 0;
    }
    let full = next & !0xFFFF_FFFF | xmin;
    if full > next { full.saturating_sub(1 << 32) } else { full }
}

/// Removes marked candidates that really have no row; how many. First whoever was writing to their
/// partition has to end, for a moment's wait at most; then rows are looked for once more.
fn remove_orphans(
    mover: &Mover,
    map: &Map,
    local: &HashMap<u16, pg_sys::Oid>,
    candidates: &[Stored],
    first_mark: usize,
) -> Result<u64> {
    if candidates.is_empty() {
        return Ok(0);
    }
    tables::invalidate_cache(mover.meta().table.relation);
    let mut removed = 0;
    for (&number, &leaf) in local {
        let here = || candidates.iter().filter(|entry| entry.partition() == number);
        if here().next().is_none() || !leaf::wait_for_writers(leaf) {
            continue;
        }
        let mut empty: HashSet<u64> = here().map(Stored::hash48).collect();
        leaf::each_key(mover.meta(), leaf, |hash, _| {
            empty.remove(&hash);
        })?;
        for entry in here().filter(|entry| empty.contains(&entry.hash48())) {
            map.delete(entry.place);
            removed += 1;
        }
    }
    claims::hold_beyond(first_mark);
    Ok(removed)
}
