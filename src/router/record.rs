//! The claim protocol around one key: claim, probe, decide, record, unpin
//! (docs/design.md, section 3). `pss_core::claim` is its state machine.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::claim::{Claimed, must_record};

use super::{Placed, Router, hash48, own_snapshot, wait};
use crate::error::{PssError, Result};
use crate::leaves;
use crate::map::{self, Hit, Map};
use crate::shmem::cache;
use crate::shmem::claims::{self, ClaimKey};
use crate::shmem::tables::TableShared;

impl Router {
    /// The claim protocol. `forced`: the partition is given, not drawn; with
    /// `adopting`, rows of the key were seen there: nothing is counted as placed, and
    /// the leaves are not searched for it.
    pub(super) fn claim_and_record(
        &mut self,
        key: pg_sys::Datum,
        hash: u64,
        size: Option<u64>,
        forced: Option<u16>,
        adopting: bool,
    ) -> Result<Placed> {
        let map_oid = match self.meta.table.map {
            Some(map) => map,
            None => self.make_map()?,
        };
        let tag = self.meta.shared.map(TableShared::cache_tag);
        let map = Map::open(map_oid, true);
        let (drawn, virtual_key) = self.draw(hash, size, forced);
        let claim = ClaimKey::new(self.meta.table.relation, hash48(hash));
        let mut hit = None;
        let partition = loop {
            match claims::claim(claim, drawn) {
                Claimed::Moving => wait::for_mover(&claim),
                Claimed::Final(partition) => break partition,
                Claimed::Tentative => {
                    hit = self.probe(&map, key, hash, adopting);
                    break claims::decide(&claim, hit.map(|h| h.partition)).unwrap_or(drawn);
                }
            }
        };
        if forced.is_some_and(|named| named != partition) {
            claims::unpin_newest();
            return Ok(Placed { partition, known: true });
        }
        self.lock_leaf(partition);
        let settled = hit.filter(|h| h.settled && h.partition == partition);
        let marked = claims::mover(&claim).is_some();
        let visible =
            settled.is_none_or(|h| h.own) || self.visible_to_snapshot(&map, hash, partition)?;
        let known = hit.is_some() || partition != drawn;
        if must_record(settled.is_some() && visible, marked) {
            map.insert(hash48(hash), partition, virtual_key.to_i64());
        } else if let (Some(shared), Some(tag), Some(hit)) = (self.meta.shared, tag, settled)
            && !hit.own
        {
            cache::put(shared, hash48(hash), tag, partition);
        }
        claims::unpin_newest();
        if !known && !adopting {
            self.count_new_key(partition, size);
        }
        Ok(Placed { partition, known })
    }

    /// The key's entry in the map, or, while the map is incomplete, its rows.
    fn probe(&self, map: &Map, key: pg_sys::Datum, hash: u64, adopting: bool) -> Option<Hit> {
        let hit = map.probe_dirty(hash48(hash), own_snapshot());
        if hit.is_some() || self.meta.table.map_complete || adopting {
            return hit;
        }
        // Rows without an entry: not settled, so that this session records one.
        leaves::find_dirty(&self.meta, key).map(|partition| Hit {
            partition,
            virtual_key: 0,
            settled: false,
            own: false,
        })
    }

    /// Whether a transaction that keeps one snapshot sees the mapping it is
    /// about to rely on. A different mapping in its snapshot: 40001.
    fn visible_to_snapshot(&self, map: &Map, hash: u64, partition: u16) -> Result<bool> {
        if !own_snapshot() {
            return Ok(true);
        }
        // SAFETY: the transaction's snapshot, registered by the transaction itself.
        let snapshot = unsafe { pg_sys::GetTransactionSnapshot() };
        match map.probe_visible(hash48(hash), snapshot, |_| true) {
            Some(seen) if seen.partition == partition => Ok(true),
            Some(_) => Err(PssError::new(
                PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "could not serialize access due to a concurrent move of the data key",
            )
            .hint("Retry the transaction.")),
            None => Ok(false),
        }
    }

    /// After a restore the map is not there yet: the first writer makes it.
    fn make_map(&mut self) -> Result<pg_sys::Oid> {
        let relation = self.meta.table.relation;
        // SAFETY: serializes makers of this map; conflicts with itself, not with inserts.
        unsafe {
            pg_sys::LockRelationOid(relation, pg_sys::ShareUpdateExclusiveLock as i32);
        }
        if let Some(map) = crate::catalog::require_sharded_table(relation)?.map {
            return Ok(map);
        }
        map::create(relation)
    }
}
