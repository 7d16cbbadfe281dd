//! The map of a table in slot mode: the same relation as a row map, with slots in place of key
//! hashes. One entry for each home that a slot has had.
//!
//! A row may be stored in a partition only if the partition is a home of its slot by an entry that
//! was committed before, or by one of the same transaction. Then whoever sees the row sees the
//! entry, and a look-up opens the homes that its own snapshot sees. Nothing is cached for readers.
//! Entries go only while nobody can write to the table's partitions.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::slot_history::SlotHistory;
use pss_core::slots::SlotTable;
use pss_core::virtual_key::VirtualKey;

use super::{BATCH, Entry, Map};
use crate::catalog::{self, Epoch, Mapping, ShardedTable, as_extension_owner, relation_name};
use crate::error::Result;

/// How well it is known that a partition is a home of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// By no entry, or by one whose transaction may still abort.
    No,
    /// By an entry of the current transaction.
    Ours,
    /// By a committed entry.
    Settled,
}

impl Map {
    /// What the map says of one home of a slot, or of a key that is spread, now.
    pub fn home(&mut self, hash48: u64, partition: u16) -> Known {
        let mut known = Known::No;
        self.scan_dirty(
            hash48,
            hash48,
            |_| true,
            |_, hit| {
                if hit.partition == partition && hit.settled && known != Known::Settled {
                    known = if hit.own { Known::Ours } else { Known::Settled };
                }
            },
        );
        known
    }

    /// Whether `snapshot` sees that the partition is a home of the slot, or of the key.
    pub fn sees_home(&self, hash48: u64, partition: u16, snapshot: pg_sys::Snapshot) -> bool {
        self.probe_visible(hash48, snapshot, |home| home == partition).is_some()
    }

    /// The homes of a slot that `snapshot` sees, each once, with the newest epoch that made it one.
    pub fn homes(&self, slot: u16, snapshot: pg_sys::Snapshot) -> Vec<(u16, u32)> {
        let mut homes: Vec<(u16, u32)> = Vec::new();
        self.scan_visible(slot.into(), snapshot, |hit| {
            let epoch = VirtualKey::from_i64(hit.virtual_key).epoch();
            match homes.iter_mut().find(|(partition, _)| *partition == hit.partition) {
                Some(home) => home.1 = home.1.max(epoch),
                None => homes.push((hit.partition, epoch)),
            }
            None
        });
        homes
    }

    /// Makes partitions homes of slots (slot, partition), as part of the current transaction.
    pub fn add_homes(&mut self, homes: &[(u16, u16)], epoch: u32) {
        let entry = |&(slot, partition): &(u16, u16)| Entry {
            hash48: slot.into(),
            partition,
            virtual_key: VirtualKey::of_slot(epoch, slot).to_i64(),
        };
        for homes in homes.chunks(BATCH) {
            self.insert(&homes.iter().map(entry).collect::<Vec<_>>());
        }
    }
}

/// Whether the homes that `snapshot` sees are all that there are for it.
///
/// Not under SERIALIZABLE: a row that a concurrent transaction puts into a new home has to meet
/// the predicate lock of who looked for it.
///
/// # Safety
/// `snapshot` is a live MVCC snapshot.
pub unsafe fn is_believed(table: &ShardedTable, snapshot: pg_sys::Snapshot) -> bool {
    // SAFETY: a plain global of the backend; the snapshot is as stated.
    unsafe {
        pg_sys::XactIsoLevel != pg_sys::XACT_SERIALIZABLE as std::ffi::c_int
            && table.map.is_some_and(|map| super::state::complete_in(table.relation, map, snapshot))
    }
}

/// Records the owners of an epoch as homes of their slots, where they are none yet. Nothing happens
/// to a table in row mode, or without a map: there, writers record what they rely on.
pub fn record(table: &ShardedTable, epoch: &Epoch) -> Result<()> {
    let Some(map) = table.map.filter(|_| table.mapping == Mapping::Slot) else { return Ok(()) };
    let mut history = history(table)?;
    let mut homes = Vec::new();
    for slot in 0..epoch.slots.len() {
        let slot = slot as u16;
        let owner = epoch.slots.owner(slot);
        if history.add(slot, owner)
            && let Some(partition) = table.partitions.get(usize::from(owner))
        {
            homes.push((slot, partition.number));
        }
    }
    if !homes.is_empty() {
        Map::open_here(map, true).add_homes(&homes, epoch.number);
    }
    Ok(())
}

/// Records the owners of the newest epoch, or where none fits the table those by capacity.
pub fn record_newest(relation: pg_sys::Oid) -> Result<()> {
    let Some(table) = catalog::sharded_table(relation)? else { return Ok(()) };
    let newest = catalog::latest_epoch(relation)?;
    let epoch = newest.map(|number| catalog::epoch(relation, number)).transpose()?.flatten();
    let fits = |e: &Epoch| e.weights.len() == table.partitions.len();
    record(&table, &epoch.filter(fits).unwrap_or_else(|| Epoch::by_capacity(&table)))
}

/// The homes of all slots as they are now, by position of the partition.
pub fn history(table: &ShardedTable) -> Result<SlotHistory> {
    let mut history = SlotHistory::new(table.slots);
    let Some(map) = table.map else { return Ok(history) };
    as_extension_owner(|| {
        Spi::connect_mut(|client| {
            let query = format!(
                "SELECT (e OPERATOR(pg_catalog.>>) 16)::pg_catalog.int4,
                        (e OPERATOR(pg_catalog.&) 65535)::pg_catalog.int4
                 FROM {} ORDER BY virtual_key, e",
                relation_name(map)
            );
            for row in client.update(query.as_str(), None, &[])? {
                let (slot, number) = (row.get::<i32>(1)?, row.get::<i32>(2)?);
                let position =
                    table.partitions.iter().position(|p| Some(p.number.into()) == number);
                if let (Some(slot), Some(position)) = (slot, position) {
                    history.add(slot as u16, position as u16);
                }
            }
            Ok(())
        })
    })
    .map(|()| history)
}

/// The slot table of the next epoch of a table in slot mode.
pub fn reassign(table: &ShardedTable, last: &SlotTable, shares: &[f64]) -> Result<SlotTable> {
    Ok(history(table)?.reassign(last, shares, pss_core::slot_history::MAX_HOMES))
}
