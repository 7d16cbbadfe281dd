//! Entries of keys that are spread: one for each home, also before rows are there.

use pgrx::pg_sys;
use pss_core::virtual_key::VirtualKey;

use super::slots::Known;
use super::{Entry, Map};
use crate::catalog;
use crate::error::Result;

impl Map {
    /// The partitions that entries of a key name, in any state but aborted, whoever wrote them.
    pub fn all_homes(&mut self, hash48: u64) -> Vec<u16> {
        let mut homes = Vec::new();
        let take = |_, hit: super::Hit| {
            if !homes.contains(&hit.partition) {
                homes.push(hit.partition);
            }
        };
        self.scan_dirty(hash48, hash48, |_| true, take);
        homes
    }

    /// Makes partitions homes of a key, as part of the current transaction, as far as no entry
    /// that can be relied on says so.
    pub fn add_homes_of_key(&mut self, hash48: u64, homes: &[u16], slots: usize) {
        for &partition in homes {
            if self.home(hash48, partition) == Known::No {
                let virtual_key = VirtualKey::of_key(hash48, 0, slots as u32).to_i64();
                self.insert(&[Entry { hash48, partition, virtual_key }]);
            }
        }
    }
}

/// Records the homes of a table's spread keys, where they are not yet: in a map that is new, or
/// was emptied. Nothing happens without a map.
pub fn record(relation: pg_sys::Oid) -> Result<()> {
    let Some(table) = catalog::sharded_table(relation)? else { return Ok(()) };
    let Some(map) = table.map.filter(|_| !table.spread.is_empty()) else { return Ok(()) };
    let mut map = Map::open_here(map, true);
    for key in &table.spread {
        map.add_homes_of_key(key.hash48, &key.homes, table.slots);
    }
    Ok(())
}
