//! Where a key that has no home would go: what the router would see, without taking part.
//!
//! The dice are thrown with numbers of our own, so that the answer does not change from one look
//! to the next while nothing else does.

use std::sync::atomic::Ordering;

use pgrx::pg_sys;
use pss_core::dispatch::{self, DEFAULT_BOUND, Request};
use pss_core::level::{self, AHEAD, CLASSES, Fill};
use pss_core::story::{self, Unplaced, Way};
use pss_core::virtual_key::VirtualKey;

use super::{Items, place};
use crate::catalog::{Epoch, read};
use crate::clock;
use crate::error::Result;
use crate::guc;
use crate::meta::Meta;
use crate::shmem::tables::TableShared;

/// A key whose size nobody has told.
const SIZE_UNKNOWN: usize = 0;

/// Tells where the key would go, in figures and as a story.
pub fn unplaced(meta: &Meta, key: pg_sys::Datum, items: &mut Items) -> Result<Vec<String>> {
    let (epoch, fallback) = meta.epoch();
    let weights: Vec<String> = epoch.weights.iter().map(|w| format!("{w:.4}")).collect();
    items.push(("partition", "none yet".into()));
    items.push(("epoch", epoch.number.to_string()));
    items.push(("weights", format!("{{{}}}", weights.join(","))));
    let fill = meta.shared.filter(|_| !fallback).and_then(|shared| published_fill(meta, shared));
    let hash = meta.key.hash(key);
    let (position, way) = match &fill {
        Some((shared, fill)) => to_level(meta, &epoch, (shared, fill), hash),
        None => by_quota(meta, &epoch, hash, fallback),
    };
    let likely = place(meta, meta.table.partitions[position].number);
    let reason = match &way {
        Way::Capacity(_) => "a new key would be placed by capacity: there are no fresh weights",
        Way::Level(_) => "a new key would be placed where it raises the expected peaks least",
        Way::Quota(_) => {
            "a new key would be placed by these weights, the partition furthest behind its quota first"
        }
    };
    items.push(("likely partition", likely.number.to_string()));
    items.push(("reason", reason.into()));
    Ok(story::of_unplaced(&Unplaced {
        likely,
        way,
        shares: meta.table.numbers().zip(epoch.weights.iter().copied()).collect(),
        closed: closed(meta)?,
        map_complete: meta.table.map_complete,
    }))
}

/// What is published for dispatch to a level, if it is fresh.
fn published_fill(
    meta: &Meta,
    shared: &'static TableShared,
) -> Option<(&'static TableShared, Fill)> {
    let mut fill = Fill {
        levels: Vec::new(),
        keys: [[0.0; AHEAD]; CLASSES],
        capacity: Vec::new(),
        scale: [1.0; AHEAD],
    };
    let fresh = clock::now() <= shared.fill_until();
    (fresh && shared.read_fill(meta.table.numbers(), &mut fill)).then_some((shared, fill))
}

fn to_level(
    meta: &Meta,
    epoch: &Epoch,
    (shared, fill): (&TableShared, &Fill),
    hash: u64,
) -> (usize, Way) {
    let sent = |p: usize| {
        let partition = shared.partition(meta.table.partitions[p].number);
        partition.map_or([0; CLASSES], |partition| partition.since_fill())
    };
    let draw = draw(meta, epoch, hash);
    let expected = fill.expected();
    let choice = level::choose(expected, sent, SIZE_UNKNOWN, &epoch.slots, draw);
    let levels = meta.table.numbers().enumerate();
    let levels =
        levels.filter_map(|(p, number)| Some((number, expected.relative(p, SIZE_UNKNOWN)?)));
    (usize::from(choice.partition), Way::Level(levels.collect()))
}

fn by_quota(meta: &Meta, epoch: &Epoch, hash: u64, fallback: bool) -> (usize, Way) {
    let unit = if meta.table.quota_bytes { meta.row_bytes } else { 1.0 };
    let sent: Vec<f64> = meta
        .table
        .numbers()
        .map(|number| {
            let partition = meta.shared.and_then(|shared| shared.partition(number));
            partition.map_or(0.0, |p| p.sent.load(Ordering::Relaxed) as f64)
        })
        .collect();
    let bound = DEFAULT_BOUND * unit;
    let shares = &epoch.weights;
    let request = Request { slots: &epoch.slots, shares, sent: &sent, unit, bound };
    let choice = dispatch::choose(request, draw(meta, epoch, hash));
    let way = if fallback {
        Way::Capacity(why_capacity(meta))
    } else {
        let due = sent.iter().sum::<f64>() + unit;
        let share = |p: usize| shares.get(p).copied().unwrap_or(0.0);
        let ahead = |p: &usize| sent[*p] + unit - share(*p) * due > bound;
        let serving: Vec<usize> = (0..sent.len()).filter(|p| share(*p) > 0.0).collect();
        let mut refused: Vec<usize> = serving.iter().copied().filter(ahead).collect();
        if refused.len() == serving.len() {
            // None is refused where all are: the furthest behind takes it.
            refused.clear();
        }
        Way::Quota(refused.into_iter().map(|p| meta.table.partitions[p].number).collect())
    };
    (usize::from(choice.partition), way)
}

fn draw(meta: &Meta, epoch: &Epoch, hash: u64) -> impl FnMut(u64) -> VirtualKey {
    let (salt, number, slots) = (epoch.salt, epoch.number, epoch.slots.len() as u32);
    let bytes = meta.row_bytes as u64;
    move |n| VirtualKey::draw(hash, bytes, salt, n, number, slots)
}

fn why_capacity(meta: &Meta) -> &'static str {
    if meta.shared.is_none() {
        "pss is not in shared_preload_libraries, or shared memory has no room for the table"
    } else if !guc::ENABLED.get() {
        "pss.enabled is off"
    } else {
        "the weights are older than pss.weights_ttl"
    }
}

/// Partitions that take no new keys, and their state.
fn closed(meta: &Meta) -> Result<Vec<(u16, String)>> {
    read(|client| {
        let rows = client.select(
            "SELECT partition, state FROM pss.partition
             WHERE relation OPERATOR(pg_catalog.=) $1 AND state OPERATOR(pg_catalog.<>) 'active'
             ORDER BY partition",
            None,
            &[meta.table.relation.into()],
        )?;
        let mut closed = Vec::with_capacity(rows.len());
        for row in rows {
            if let (Some(number), Some(state)) = (row.get::<i32>(1)?, row.get::<String>(2)?) {
                closed.push((number as u16, state));
            }
        }
        Ok(closed)
    })
}
