//! The hot keys of sharded tables, for people and for the controller.
//!
//! Shared memory knows hashes alone. What a key is, is read from a table's newest rows, for those
//! who may read the table; where row security hides rows from the caller it shows nothing.

use std::collections::HashMap;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::heavy::Heavy;

use crate::clock::timestamp;
use crate::error::{OrRaise, Result};
use crate::homes::{Homes, Reader};
use crate::leaves;
use crate::meta::{self, Meta};
use crate::router::hash48;
use crate::shmem::hot_keys;
use crate::stat::readable_tables;

/// Pages at the end of a partition in which a key is looked for.
const PAGES: u32 = 32;
/// Rows that must have been counted of a key before it is called hot: fewer may be chance.
const ENOUGH: f64 = 10.0;

/// A hot key, as far as it is known.
struct HotKey {
    heavy: Heavy,
    homes: Homes,
    text: Option<String>,
}

/// Hot keys of the sharded tables that the caller may read.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn pss_hot_keys() -> TableIterator<
    'static,
    (
        name!(relation, pg_sys::Oid),
        name!(key, Option<String>),
        name!(key_hash, i64),
        name!(share, f64),
        name!(share_at_most, f64),
        name!(partitions, Option<Vec<i32>>),
        name!(since, TimestampWithTimeZone),
    ),
> {
    let run = || -> Result<_> {
        let mut rows = Vec::new();
        for relation in readable_tables()? {
            let Some(meta) = meta::table(relation)?.filter(|_| shows_all_rows(relation)) else {
                continue;
            };
            for HotKey { heavy, homes, text } in of(&meta) {
                let partitions = match homes {
                    Homes::All => None,
                    Homes::In(homes) => Some(homes.into_iter().map(i32::from).collect()),
                };
                let since = timestamp(heavy.since_us);
                let hash = hash48(heavy.key) as i64;
                let (certain, at_most) = (heavy.certain, heavy.at_most);
                rows.push((relation, text, hash, certain, at_most, partitions, since));
            }
        }
        Ok(rows)
    };
    TableIterator::new(run().or_raise())
}

/// Whether no policy of row security hides rows of the table from the caller.
fn shows_all_rows(relation: pg_sys::Oid) -> bool {
    // SAFETY: catalog look-ups for the current user; with no_error it raises nothing.
    let applies = unsafe { pg_sys::check_enable_rls(relation, pg_sys::InvalidOid, true) };
    applies != pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
}

/// Hot keys of a table: those that have half of what is tracked for certain.
fn hottest(meta: &Meta) -> Vec<Heavy> {
    let Some(shared) = meta.shared else { return Vec::new() };
    let least = 0.5 / hot_keys::tracked().max(1) as f64;
    let mut keys = hot_keys::read(shared);
    keys.retain(|heavy| heavy.certain >= least && heavy.weight >= ENOUGH);
    keys
}

/// Part of a table's recent rows that its hottest key brings to one partition, 0 to 1. No
/// placement of new keys can make it less.
pub fn hottest_share(relation: pg_sys::Oid) -> Result<f64> {
    let Some(meta) = meta::table(relation)? else { return Ok(0.0) };
    let homes = |heavy: &Heavy| meta.table.homes_of(hash48(heavy.key)).map_or(1, <[u16]>::len);
    let shares = hottest(&meta).into_iter().map(|heavy| heavy.certain / homes(&heavy) as f64);
    Ok(shares.fold(0.0, f64::max))
}

/// Part of a table's recent rows that the key with this hash brings at least, 0 to 1; `None`: it is
/// not hot, or not for the caller to know.
pub fn share_of(meta: &Meta, hash: u64) -> Option<f64> {
    if !shows_all_rows(meta.table.relation) {
        return None;
    }
    let is_this = |heavy: &Heavy| hash48(heavy.key) == hash48(hash);
    hottest(meta).into_iter().find(is_this).map(|heavy| heavy.certain)
}

/// A hot key as a mover sees it.
pub struct Known {
    pub hash48: u64,
    /// Part of the table's recent rows that it brings at least, 0 to 1.
    pub share: f64,
    /// Its partition; `None`: it has none, or several.
    pub home: Option<u16>,
}

/// The hot keys of a table, with their homes. Inside a statement or a transaction with a snapshot.
pub fn known(relation: pg_sys::Oid) -> Result<Vec<Known>> {
    let Some(meta) = meta::table(relation)? else { return Ok(Vec::new()) };
    // SAFETY: the active snapshot outlives this call.
    let (snapshot, context) =
        unsafe { (pg_sys::GetActiveSnapshot(), pg_sys::CurrentMemoryContext) };
    // SAFETY: as above.
    let reader = unsafe { Reader::open(&meta, snapshot, context) };
    let known = |heavy: Heavy| Known {
        hash48: hash48(heavy.key),
        share: heavy.certain,
        home: match reader.homes(&meta, heavy.key) {
            Homes::In(homes) if homes.len() == 1 => homes.first().copied(),
            _ => None,
        },
    };
    Ok(hottest(&meta).into_iter().map(known).collect())
}

fn of(meta: &Meta) -> Vec<HotKey> {
    // SAFETY: inside a statement there is an active snapshot; it outlives this call.
    let (snapshot, context) =
        unsafe { (pg_sys::GetActiveSnapshot(), pg_sys::CurrentMemoryContext) };
    // SAFETY: as above.
    let reader = unsafe { Reader::open(meta, snapshot, context) };
    let known = |heavy: Heavy| HotKey { heavy, homes: reader.homes(meta, heavy.key), text: None };
    let mut keys: Vec<_> = hottest(meta).into_iter().map(known).collect();
    read_keys(meta, snapshot, &mut keys);
    keys
}

/// Finds what the keys are, in the newest rows of their homes.
fn read_keys(meta: &Meta, snapshot: pg_sys::Snapshot, keys: &mut [HotKey]) {
    for partition in &meta.table.partitions {
        let lives_here = |key: &HotKey| match &key.homes {
            Homes::All => false,
            Homes::In(homes) => homes.contains(&partition.number),
        };
        let unknown = keys.iter_mut().filter(|key| key.text.is_none() && lives_here(key));
        let mut wanted: HashMap<u64, &mut HotKey> =
            unknown.map(|key| (key.heavy.key, key)).collect();
        if wanted.is_empty() {
            continue;
        }
        // SAFETY: a partition of the table, the statement's snapshot.
        unsafe {
            leaves::each_recent_key(meta, partition.leaf, PAGES, snapshot, |key| {
                if let Some(found) = wanted.remove(&meta.key.hash(key)) {
                    found.text = Some(meta.key.text(key));
                }
                !wanted.is_empty()
            });
        }
    }
}
