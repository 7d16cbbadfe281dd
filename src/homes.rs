//! Which partitions can hold rows of a key that a snapshot sees: what readers rely on.
//!
//! Must never leave out a home (I4). What the row map says is believed only where the map was
//! complete in the snapshot; a key that it does not know may be anywhere. Needs no shared memory.

use pgrx::pg_sys;

use crate::catalog::Mapping;
use crate::map::{Map, slots};
use crate::meta::Meta;
use crate::router::hash48;

/// The partitions that can hold rows of a key, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Homes {
    /// Nothing is known: any partition, and the inbox.
    All,
    /// These and no others, each once; and what may be left in the inbox.
    In(Vec<u16>),
}

/// What one snapshot can know of the homes of one table's keys. Made once a statement.
pub struct Reader {
    snapshot: pg_sys::Snapshot,
    /// `None`: not to be believed.
    map: Option<Map>,
}

impl Reader {
    /// # Safety
    /// `snapshot` and `context` outlive the reader.
    pub unsafe fn open(
        meta: &Meta,
        snapshot: pg_sys::Snapshot,
        context: pg_sys::MemoryContext,
    ) -> Self {
        // SAFETY: a live snapshot; only MVCC snapshots know transactions.
        let believed = unsafe {
            (*snapshot).snapshot_type == pg_sys::SnapshotType::SNAPSHOT_MVCC
                && match meta.table.mapping {
                    Mapping::Row => is_complete(meta, snapshot),
                    Mapping::Slot => slots::is_believed(&meta.table, snapshot),
                }
        };
        let map = meta.table.map.filter(|_| believed).map(|map| Map::open(map, false, context));
        Self { snapshot, map }
    }

    /// The homes of a key with this hash.
    pub fn homes(&self, meta: &Meta, hash: u64) -> Homes {
        let Some(map) = &self.map else { return Homes::All };
        let mut homes = Vec::new();
        match meta.table.mapping {
            Mapping::Row => {
                map.probe_visible(hash48(hash), self.snapshot, |partition| {
                    if !homes.contains(&partition) {
                        homes.push(partition);
                    }
                    false
                });
            }
            Mapping::Slot => {
                let seen = map.homes(meta.slot(hash), self.snapshot);
                // A partition that was detached is a home of nothing.
                let there = seen.into_iter().map(|(partition, _)| partition);
                homes.extend(there.filter(|p| meta.position(*p).is_some()));
            }
        }
        if homes.is_empty() { Homes::All } else { Homes::In(homes) }
    }
}

/// The homes of one key as the running statement's snapshot sees them.
pub fn of(meta: &Meta, key: pg_sys::Datum) -> Homes {
    // SAFETY: inside a statement there is an active snapshot; it outlives this call.
    let reader =
        unsafe { Reader::open(meta, pg_sys::GetActiveSnapshot(), pg_sys::CurrentMemoryContext) };
    reader.homes(meta, meta.key.hash(key))
}

/// Whether every row that `snapshot` sees agrees with the entries of the row map that it sees.
///
/// A map that was completed after the snapshot was taken tells nothing about rows which only the
/// old snapshot still sees: they may be what had made it incomplete. Entries that are missing do
/// no harm, and so the session's own description of the table will do: a miss means all partitions.
unsafe fn is_complete(meta: &Meta, snapshot: pg_sys::Snapshot) -> bool {
    let by = meta.table.map_completed_by;
    // SAFETY: a live MVCC snapshot.
    unsafe {
        meta.table.map_complete
            && (by == pg_sys::InvalidTransactionId
                || !pg_sys::TransactionIdIsCurrentTransactionId(by)
                    && !pg_sys::XidInMVCCSnapshot(by, snapshot))
    }
}
