//! Slot mode: the partition of a row is the owner of its key's slot. No key is claimed, none is
//! remembered; only the homes of slots are recorded (`crate::map::slots`).
//!
//! It must never let a row be stored in a partition that is no recorded home of its slot.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use pgrx::pg_sys;

use super::tally::Found;
use super::{Door, Router, own_snapshot};
use crate::catalog::{Epoch, Mapping};
use crate::error::Result;
use crate::map::slots::Known;
use crate::meta::Meta;

/// Rows after which a statement asks which epoch is in use, and whether it is fresh.
const ASK_EVERY: u32 = 64;

/// What one statement knows of slots.
#[derive(Default)]
pub struct Slots {
    /// Homes that it has made sure of: the last one of each slot.
    homes: Vec<Option<u16>>,
    /// The epoch in use, and whether it is a fallback; good for so many rows more.
    epoch: Option<(Rc<Epoch>, bool)>,
    rows: u32,
}

impl Slots {
    fn knows_home(&self, slot: u16, partition: u16) -> bool {
        self.homes.get(usize::from(slot)) == Some(&Some(partition))
    }

    fn put_home(&mut self, slot: u16, partition: u16, slots: usize) {
        self.homes.resize(slots, None);
        if let Some(home) = self.homes.get_mut(usize::from(slot)) {
            *home = Some(partition);
        }
    }

    fn epoch(&mut self, meta: &Meta) -> &(Rc<Epoch>, bool) {
        if self.rows == 0 {
            self.epoch = None;
            self.rows = ASK_EVERY;
        }
        self.rows -= 1;
        self.epoch.get_or_insert_with(|| meta.epoch())
    }
}

impl Router {
    /// Whether the table is in slot mode.
    pub(super) fn maps_by_slot(&self) -> bool {
        self.meta.table.mapping == Mapping::Slot
    }

    /// The partition of a row in slot mode: the one named, else the owner of the slot.
    pub(super) fn place_by_slot(
        &mut self,
        key: pg_sys::Datum,
        size: Option<u64>,
        named: Option<u16>,
        door: Door,
    ) -> Result<u16> {
        let hash = self.meta.key.hash(key);
        let slot = self.meta.slot(hash);
        let partition = match named {
            Some(named) => named,
            None => self.owner(slot)?,
        };
        // A call says where a row would go now. When it comes, it is placed like any other.
        if door != Door::Call {
            self.make_home(slot, partition)?;
            if named.is_none() {
                self.count_new_key(partition, size);
            }
        }
        self.tally.count(&self.meta, hash, partition, named.is_some(), door, Found::New);
        Ok(partition)
    }

    /// Lets a row of the key be, or come to be, in a partition: which one, is the caller's choice.
    pub(super) fn allow_by_slot(&mut self, key: pg_sys::Datum, partition: u16) -> Result<u16> {
        let slot = self.meta.slot(self.meta.key.hash(key));
        self.make_home(slot, partition).map(|()| partition)
    }

    /// Makes sure that the partition is a recorded home of the slot before a row is stored there.
    fn make_home(&mut self, slot: u16, partition: u16) -> Result<()> {
        // As the row's insert is about to: whoever takes homes away locks the leaves first.
        self.lock_leaf(partition)?;
        if self.slots.knows_home(slot, partition) {
            return Ok(());
        }
        if own_snapshot() || !self.meta.knows_home(slot, partition) {
            self.record_home(slot, partition)?;
        }
        self.slots.put_home(slot, partition, self.meta.table.slots);
        Ok(())
    }

    fn record_home(&mut self, slot: u16, partition: u16) -> Result<()> {
        let mut map = self.open_map()?;
        let known = map.home(slot.into(), partition);
        let enough = match known {
            Known::No => false,
            Known::Ours => true,
            // Who keeps one snapshot must see the home by it, to find the row again.
            // SAFETY: the transaction's snapshot, registered by the transaction itself.
            Known::Settled if own_snapshot() => unsafe {
                map.sees_home(slot.into(), partition, pg_sys::GetTransactionSnapshot())
            },
            Known::Settled => {
                self.meta.remember_home(slot, partition);
                true
            }
        };
        if !enough {
            map.add_homes(&[(slot, partition)], self.meta.epoch().0.number);
        }
        self.map = Some(map);
        Ok(())
    }

    /// Owner of a slot in the epoch in use. Without one, or while partitions are out of service: who
    /// would own it then if that is a home of the slot already, else its newest home, so that
    /// unwell weights widen no look-up.
    fn owner(&mut self, slot: u16) -> Result<u16> {
        let (epoch, fallback) = self.slots.epoch(&self.meta);
        let owner = self.meta.table.partitions[usize::from(epoch.slots.owner(slot))].number;
        let (fallback, meta) = (*fallback, self.meta.clone());
        if !fallback && !meta.is_rerouted() {
            return Ok(owner);
        }
        if let Some(shared) = meta.shared.filter(|_| fallback) {
            shared.fallbacks.fetch_add(1, Ordering::Relaxed);
        }
        if self.slots.knows_home(slot, owner) || meta.knows_home(slot, owner) {
            return Ok(owner);
        }
        let mut map = self.open_map()?;
        let mut owner = owner;
        if map.home(slot.into(), owner) == Known::No {
            let serves = |p: u16| meta.position(p).is_some_and(|position| meta.serves(position));
            // SAFETY: the snapshot is used before anything else may take one.
            let homes = unsafe { map.homes(slot, pg_sys::GetLatestSnapshot()) };
            let newest = homes.into_iter().filter(|&(p, _)| serves(p)).max_by_key(|&(_, e)| e);
            owner = newest.map_or(owner, |(partition, _)| partition);
        }
        self.map = Some(map);
        Ok(owner)
    }
}
