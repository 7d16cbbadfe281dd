//! Which partitions can hold rows of a key that a snapshot sees: what readers rely on.
//!
//! Must never leave out a home (I4). What the row map says is believed only where the map was
//! complete in the snapshot; a key that it does not know may be anywhere. Needs no shared memory.

use pgrx::pg_sys;

use crate::map::Map;
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
        // SAFETY: a live snapshot.
        let believed = unsafe { is_complete(meta, snapshot) };
        let map = meta.table.map.filter(|_| believed).map(|map| Map::open(map, false, context));
        Self { snapshot, map }
    }

    /// The homes of a key with this hash.
    pub fn homes(&self, hash: u64) -> Homes {
        let Some(map) = &self.map else { return Homes::All };
        let mut homes = Vec::new();
        map.probe_visible(hash48(hash), self.snapshot, |partition| {
            if !homes.contains(&partition) {
                homes.push(partition);
            }
            false
        });
        if homes.is_empty() { Homes::All } else { Homes::In(homes) }
    }
}

/// Whether every row that `snapshot` sees agrees with the map entries that it sees.
///
/// A map that was completed after the snapshot was taken tells nothing about rows which only the
/// old snapshot still sees: they may be what had made it incomplete.
unsafe fn is_complete(meta: &Meta, snapshot: pg_sys::Snapshot) -> bool {
    let by = meta.table.map_completed_by;
    // SAFETY: a live snapshot; XidInMVCCSnapshot takes MVCC snapshots only.
    unsafe {
        meta.table.map_complete
            && (*snapshot).snapshot_type == pg_sys::SnapshotType::SNAPSHOT_MVCC
            && (by == pg_sys::InvalidTransactionId
                || !pg_sys::TransactionIdIsCurrentTransactionId(by)
                    && !pg_sys::XidInMVCCSnapshot(by, snapshot))
    }
}
