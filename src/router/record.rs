//! The claim protocol: claim, probe, decide, record, unpin (docs/design.md,
//! section 3), for a batch of keys at once. `pss_core::claim` is its state machine.
//!
//! Each step is taken for all keys of the batch before the next, in the order of
//! their hashes, which is that of the map. A session never waits for a mover
//! while it holds claims.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::claim::{Claimed, must_record};
use pss_core::key_hash::run_of;
use pss_core::virtual_key::VirtualKey;

use super::tally::Found;
use super::{BATCH, Router, hash48, own_snapshot, wait};
use crate::error::{PssError, Result};
use crate::leaves;
use crate::map::{self, Entry, Hit, Map};
use crate::shmem::claims::{self, ClaimKey};
use crate::shmem::tables::TableShared;
use crate::shmem::{cache, written};

/// A key that the router is asked for, and what it has found out.
#[derive(Clone, Copy)]
pub struct Asked {
    /// Which row of the batch asks.
    pub row: usize,
    pub(super) key: pg_sys::Datum,
    pub hash: u64,
    pub hash48: u64,
    pub size: Option<u64>,
    /// The partition is given, not drawn.
    pub named: Option<u16>,
    /// Rows of the key were seen in the partition named: nothing is counted as placed, and the
    /// leaves are not searched for it.
    pub adopting: bool,
    pub(super) claimed: Option<Claimed>,
    pub(super) hit: Option<Hit>,
    pub(super) virtual_key: Option<VirtualKey>,
    pub home: u16,
    pub found: Found,
}

impl Asked {
    pub fn new(row: usize, key: pg_sys::Datum, hash: u64) -> Self {
        Self {
            row,
            key,
            hash,
            hash48: hash48(hash),
            size: None,
            named: None,
            adopting: false,
            claimed: None,
            hit: None,
            virtual_key: None,
            home: 0,
            found: Found::Mapped,
        }
    }

    /// Whether the row names a partition in which its key does not live.
    fn contradicted(&self) -> bool {
        self.named.is_some_and(|named| named != self.home)
    }
}

impl Router {
    /// Finds or makes the home of a key.
    pub(super) fn settle_one(&mut self, asked: Asked) -> Result<Asked> {
        let mut one = [asked];
        self.settle(&mut one)?;
        Ok(one[0])
    }

    /// Finds or makes the homes of keys, at most [`BATCH`]. Their order changes.
    pub(super) fn settle(&mut self, batch: &mut [Asked]) -> Result<()> {
        assert!(batch.len() <= BATCH, "a batch has at most {BATCH} keys");
        self.write_deferred()?;
        batch.sort_unstable_by_key(|asked| asked.hash48);
        let tag = self.meta.shared.map(TableShared::cache_tag);
        let mut map = self.open_map()?;
        let mut deferred = false;
        // A key's equality may run SQL that inserts, too: its claims are not ours.
        let outer = claims::held();
        // A key that comes twice takes what its first row takes.
        for i in 0..batch.len() {
            if i == 0 || batch[i].hash48 != batch[i - 1].hash48 {
                batch[i].claimed = Some(claims::claim(self.claim_key(&batch[i])));
                deferred |= batch[i].claimed == Some(Claimed::Moving);
            }
        }
        self.probe(&mut map, batch);
        for asked in batch.iter_mut() {
            self.decide(asked);
        }
        self.record(&mut map, batch, tag)?;
        claims::unpin_down_to(outer);
        self.map = Some(map);
        for i in 0..batch.len() {
            if deferred && batch[i].claimed == Some(Claimed::Moving) {
                batch[i] = self.settle_after_move(batch[i])?;
            }
            if batch[i].claimed.is_none() {
                let (home, found) = (batch[i - 1].home, batch[i - 1].found);
                let found = if found == Found::New { Found::Cached } else { found };
                (batch[i].home, batch[i].found) = (home, found);
            }
        }
        Ok(())
    }

    pub(super) fn claim_key(&self, asked: &Asked) -> ClaimKey {
        ClaimKey::new(self.meta.table.relation, asked.hash48)
    }

    /// Waits, holding no claim, until nobody moves the key; then goes on as with any other.
    pub(super) fn settle_after_move(&mut self, asked: Asked) -> Result<Asked> {
        self.write_deferred()?;
        wait::for_mover(&self.claim_key(&asked));
        self.settle_one(Asked { claimed: None, ..asked })
    }

    /// Looks for the entries of claimed keys in the map, those of neighbours by one scan; while
    /// the map is incomplete, also for their rows.
    pub(super) fn probe(&mut self, map: &mut Map, batch: &mut [Asked]) {
        let prefer_own = own_snapshot();
        for run in batch.chunk_by_mut(|a, b| run_of(a.hash48) == run_of(b.hash48)) {
            let probed = || run.iter().filter(|a| a.claimed == Some(Claimed::Tentative));
            self.hashes.clear();
            self.hashes.extend(probed().map(|asked| asked.hash48));
            self.hits.clear();
            self.hits.resize(self.hashes.len(), None);
            map.probe_dirty_run(&self.hashes, prefer_own, &mut self.hits);
            let probed = run.iter_mut().filter(|a| a.claimed == Some(Claimed::Tentative));
            for (asked, hit) in probed.zip(&self.hits) {
                asked.hit = *hit;
            }
        }
        if self.meta.table.map_complete {
            return;
        }
        let unfound = |a: &&mut Asked| {
            a.claimed == Some(Claimed::Tentative) && a.hit.is_none() && !a.adopting
        };
        for asked in batch.iter_mut().filter(unfound) {
            // Rows without an entry: not settled, so that this session records one.
            asked.hit = leaves::find_dirty(&self.meta, asked.key).map(|partition| Hit {
                partition,
                virtual_key: 0,
                settled: false,
                own: false,
            });
        }
    }

    /// Settles the home of a claimed key: what was decided, found or, of a new key, drawn.
    pub(super) fn decide(&mut self, asked: &mut Asked) {
        match asked.claimed {
            Some(Claimed::Final(partition)) => asked.home = partition,
            Some(Claimed::Tentative) => {
                let proposed = match asked.hit {
                    Some(hit) => hit.partition,
                    None => {
                        let (drawn, virtual_key) = self.draw(asked.hash, asked.size, asked.named);
                        asked.virtual_key = Some(virtual_key);
                        drawn
                    }
                };
                asked.home = claims::decide(&self.claim_key(asked), proposed);
                if asked.hit.is_none() && asked.home == proposed {
                    asked.found = Found::New;
                    if !asked.adopting {
                        self.count_new_key(proposed, asked.size);
                    }
                }
            }
            Some(Claimed::Moving) | None => {}
        }
    }

    /// Locks the leaves and writes the entries that this session must write itself.
    fn record(&mut self, map: &mut Map, batch: &[Asked], tag: Option<u16>) -> Result<()> {
        let mut entries = Vec::new();
        for asked in batch {
            let held = matches!(asked.claimed, Some(Claimed::Tentative | Claimed::Final(_)));
            if held && !asked.contradicted() {
                entries.extend(self.entry_of(map, asked, tag)?);
            }
        }
        map.insert(&entries);
        Ok(())
    }

    /// Locks the leaf of a key that is claimed and decided; the entry that this session must write
    /// itself, if any.
    pub(super) fn entry_of(
        &mut self,
        map: &Map,
        asked: &Asked,
        tag: Option<u16>,
    ) -> Result<Option<Entry>> {
        // No mark can have come since the claim: movers pass over claimed keys.
        self.lock_leaf(asked.home)?;
        let settled = asked.hit.filter(|h| h.settled && h.partition == asked.home);
        let visible = settled.is_none_or(|h| h.own) || self.visible_to_snapshot(map, asked)?;
        let shared = self.meta.shared.zip(tag);
        if !must_record(settled.is_some() && visible) {
            if let (Some((shared, tag)), Some(hit)) = (shared, settled)
                && !hit.own
            {
                cache::put(shared, asked.hash48, tag, asked.home);
            }
            return Ok(None);
        }
        let virtual_key = match asked.virtual_key {
            Some(drawn) if asked.found == Found::New => drawn,
            _ => self.draw(asked.hash, asked.size, Some(asked.home)).1,
        };
        if let Some((shared, tag)) = shared {
            written::remember(shared, tag, asked.hash48, asked.home);
        }
        let virtual_key = virtual_key.to_i64();
        Ok(Some(Entry { hash48: asked.hash48, partition: asked.home, virtual_key }))
    }

    /// Whether a transaction that keeps one snapshot sees the mapping it is
    /// about to rely on. A different mapping in its snapshot: 40001.
    fn visible_to_snapshot(&self, map: &Map, asked: &Asked) -> Result<bool> {
        if !own_snapshot() {
            return Ok(true);
        }
        // SAFETY: the transaction's snapshot, registered by the transaction itself.
        let snapshot = unsafe { pg_sys::GetTransactionSnapshot() };
        if map.sees_home(asked.hash48, asked.home, snapshot) {
            return Ok(true);
        }
        match map.probe_visible(asked.hash48, snapshot, |_| true) {
            // Spread since: the home that it sees remains one.
            Some(_) if self.is_spread_to(asked.hash48, asked.home) => Ok(false),
            Some(_) => Err(PssError::new(
                PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "could not serialize access due to a concurrent move of the data key",
            )
            .hint("Retry the transaction.")),
            None => Ok(false),
        }
    }

    /// The row map, opened with the first key that needs it.
    pub(super) fn open_map(&mut self) -> Result<Map> {
        match self.map.take() {
            Some(map) => Ok(map),
            None => {
                let map = self.meta.table.map.map_or_else(|| self.make_map(), Ok)?;
                Ok(Map::open(map, true, self.context))
            }
        }
    }

    /// After a restore the map is not there yet: the first writer makes it.
    fn make_map(&self) -> Result<pg_sys::Oid> {
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
