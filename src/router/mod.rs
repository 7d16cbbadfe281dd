//! The one router. Every door asks it for the partition of a data key; it looks
//! in the writers' cache, claims the key, probes the row map, decides, and
//! records (docs/design.md, section 3).
//!
//! It never fails because pss is unwell: without fresh weights, shared memory's
//! room or a complete map it still finds a legal partition, and counts that.

mod by_slot;
mod defer;
mod draw;
mod hot;
mod memo;
mod record;
mod spare;
mod spread;
mod tally;
pub mod wait;

use std::mem::take;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{PssError, Result, not_preloaded};
use crate::map::{Hit, Map};
use crate::meta::{self, Meta};
use crate::shmem::{self, cache};
use by_slot::Slots;
use defer::Deferred;
use draw::Drawer;
use memo::Memo;
use record::Asked;
use spare::Spare;
use spread::SpreadKey;
use tally::{Found, Tally};

pub use crate::map::BATCH;

/// Which door asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A function call: a reservation, the row comes later.
    Call,
    /// A row on its way through the planner's node.
    Planner,
    /// A row that COPY has read.
    Copy,
    /// A row that the inbox caught.
    Trigger,
}

/// A session's way to the partitions of one table, for one statement.
///
/// It keeps the row map open. Where an ERROR may pass without running destructors its owner calls
/// [`Router::abandon`] instead of dropping it.
pub struct Router {
    meta: Rc<Meta>,
    /// Where the open map lives.
    context: pg_sys::MemoryContext,
    map: Option<Map>,
    /// Leaves this statement has locked, by position.
    locked: Vec<bool>,
    drawer: Option<Box<Drawer>>,
    memo: Memo,
    slots: Slots,
    spread: Vec<SpreadKey>,
    tally: Tally,
    batch: Vec<Asked>,
    deferred: Deferred,
    /// Of the keys that are being probed.
    hashes: Vec<u64>,
    hits: Vec<Option<Hit>>,
}

/// Routers of this session that are in use: statements that may have routed rows which they have
/// yet to store.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Whether a statement of this session is routing rows.
pub fn in_use() -> bool {
    IN_USE.load(Ordering::Relaxed) > 0
}

/// At the end of a transaction no statement runs. For transaction callbacks.
pub fn none_in_use() {
    IN_USE.store(0, Ordering::Relaxed);
}

impl Drop for Router {
    fn drop(&mut self) {
        let less = |n: usize| Some(n.saturating_sub(1));
        let _ = IN_USE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.tally.flush(&self.meta);
        spare::leave(Spare {
            meta: self.meta.clone(),
            locked: take(&mut self.locked),
            drawer: self.drawer.take(),
            tally: take(&mut self.tally),
            batch: take(&mut self.batch),
            hashes: take(&mut self.hashes),
            hits: take(&mut self.hits),
        });
    }
}

/// Upper 16 bits unused: the map keeps 48.
pub fn hash48(hash: u64) -> u64 {
    hash & 0xFFFF_FFFF_FFFF
}

impl Router {
    /// The router of a sharded table; an error if it is none, or pss is not preloaded.
    pub fn open(relation: pg_sys::Oid) -> Result<Self> {
        if let Some(spare) = spare::take(relation) {
            return Self::with(spare);
        }
        let meta = meta::table(relation)?.map_or_else(|| Err(meta::not_sharded(relation)), Ok)?;
        Self::of(meta)
    }

    pub fn of(meta: Rc<Meta>) -> Result<Self> {
        Self::with(Spare::new(meta))
    }

    fn with(spare: Spare) -> Result<Self> {
        if !shmem::available() {
            return Err(not_preloaded());
        }
        forbid_read_only();
        // SAFETY: a plain global of the backend.
        let context = unsafe { pg_sys::CurrentMemoryContext };
        let Spare { meta, mut locked, drawer, tally, batch, hashes, hits } = spare;
        locked.fill(false);
        IN_USE.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            meta,
            context,
            map: None,
            locked,
            drawer,
            memo: Memo::default(),
            slots: Slots::default(),
            spread: Vec::new(),
            tally,
            batch,
            deferred: Deferred::default(),
            hashes,
            hits,
        })
    }

    /// Forgets what an ERROR, or the end of the query, has released already.
    pub fn abandon(mut self) {
        std::mem::forget(self.map.take());
    }

    pub fn meta(&self) -> &Rc<Meta> {
        &self.meta
    }

    /// The partition of a key; a new key is assigned and recorded. `size` in bytes.
    pub fn route(
        &mut self,
        key: Option<pg_sys::Datum>,
        size: Option<u64>,
        door: Door,
    ) -> Result<u16> {
        self.place(key, size, None, door)
    }

    /// The partition of a key, if it is at hand without a look at the map.
    pub fn route_known(&mut self, key: Option<pg_sys::Datum>, door: Door) -> Result<Option<u16>> {
        let key = key.ok_or_else(|| self.null_key())?;
        self.refresh()?;
        if self.maps_by_slot() {
            return self.place_by_slot(key, None, None, door).map(Some);
        }
        let hash = self.meta.key.hash(key);
        if self.is_spread(hash)
            && let Some(home) = self.place_spread(hash, None, door)?
        {
            return Ok(Some(home));
        }
        self.expect_neighbour(hash);
        let known = self.known(hash)?;
        if let Some(home) = known {
            self.tally.count(&self.meta, hash, home, false, door, Found::Cached);
        }
        Ok(known)
    }

    /// Sends a key whose row names its partition through the same protocol;
    /// an error if there is no such partition, or the key lives elsewhere (23514).
    pub fn route_named(
        &mut self,
        key: Option<pg_sys::Datum>,
        named: i32,
        door: Door,
    ) -> Result<u16> {
        let number = u16::try_from(named).ok().filter(|n| self.meta.position(*n).is_some());
        let Some(named) = number else {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
                format!("\"{}\" has no partition {named}", self.name()),
            )
            .hint("SELECT * FROM pss.partitions lists them. Leave out pss_partition to let pss choose."));
        };
        let home = self.place(key, None, Some(named), door)?;
        if home != named {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
                format!("the row names partition {named}, but its key lives in partition {home}"),
            )
            .detail(format!("All rows of a data key of \"{}\" are in one partition.", self.name()))
            .hint("Insert it into the table, without pss_partition: the row then goes where its key lives."));
        }
        Ok(home)
    }

    /// The partitions of the keys of a batch of rows, into `homes`: as [`Router::route`] for each,
    /// but the map is looked at and written in the order of its keys. At most [`BATCH`] keys.
    pub fn route_batch(
        &mut self,
        keys: &[Option<pg_sys::Datum>],
        door: Door,
        homes: &mut Vec<u16>,
    ) -> Result<()> {
        self.refresh()?;
        homes.clear();
        if self.maps_by_slot() {
            for key in keys {
                let key = key.ok_or_else(|| self.null_key())?;
                homes.push(self.place_by_slot(key, None, None, door)?);
            }
            return Ok(());
        }
        let mut batch = take(&mut self.batch);
        batch.clear();
        for (row, key) in keys.iter().enumerate() {
            let key = key.ok_or_else(|| self.null_key())?;
            let asked = self.asked(key);
            self.expect(asked.hash);
            batch.push(Asked { row, ..asked });
        }
        homes.resize(keys.len(), 0);
        let mut unknown = 0;
        for i in 0..batch.len() {
            let Asked { row, hash, .. } = batch[i];
            if self.is_spread(hash)
                && let Some(home) = self.place_spread(hash, None, door)?
            {
                homes[row] = home;
            } else if let Some(home) = self.known(hash)? {
                homes[row] = home;
                self.tally.count(&self.meta, hash, home, false, door, Found::Cached);
            } else {
                batch[unknown] = batch[i];
                unknown += 1;
            }
        }
        batch.truncate(unknown);
        if !batch.is_empty() {
            self.settle(&mut batch)?;
        }
        for asked in &batch {
            homes[asked.row] = asked.home;
            self.tally.count(&self.meta, asked.hash, asked.home, false, door, asked.found);
            self.memo.put(asked.hash48, asked.home);
        }
        self.batch = batch;
        self.tally.flush(&self.meta);
        Ok(())
    }

    /// Records that rows of `key` are in `partition`, as rebuilding the map
    /// does. Returns where the key lives; another partition is a contradiction.
    pub fn adopt(&mut self, key: pg_sys::Datum, partition: u16) -> Result<u16> {
        if self.maps_by_slot() {
            return self.allow_by_slot(key, partition);
        }
        if self.is_home_of_spread(key, partition)? {
            return Ok(partition);
        }
        let asked = Asked { named: Some(partition), adopting: true, ..self.asked(key) };
        self.settle_one(asked).map(|asked| asked.home)
    }

    /// Sends a key whose row is about to be stored in `partition` through the
    /// protocol, once more. Returns where the key lives.
    pub fn confirm(&mut self, key: pg_sys::Datum, partition: u16) -> Result<u16> {
        if self.maps_by_slot() {
            return self.allow_by_slot(key, partition);
        }
        if self.is_home_of_spread(key, partition)? {
            return Ok(partition);
        }
        let asked = Asked { named: Some(partition), ..self.asked(key) };
        self.settle_one(asked).map(|asked| asked.home)
    }

    fn is_home_of_spread(&mut self, key: pg_sys::Datum, partition: u16) -> Result<bool> {
        let hash = self.meta.key.hash(key);
        Ok(self.is_spread(hash) && self.allow_spread(hash, partition)?)
    }

    fn asked(&self, key: pg_sys::Datum) -> Asked {
        Asked::new(0, key, self.meta.key.hash(key))
    }

    fn name(&self) -> String {
        crate::catalog::relation_name(self.meta.table.relation)
    }

    fn place(
        &mut self,
        key: Option<pg_sys::Datum>,
        size: Option<u64>,
        named: Option<u16>,
        door: Door,
    ) -> Result<u16> {
        let key = key.ok_or_else(|| self.null_key())?;
        self.refresh()?;
        if self.maps_by_slot() {
            return self.place_by_slot(key, size, named, door);
        }
        let asked = Asked { size, named, ..self.asked(key) };
        if self.is_spread(asked.hash)
            && let Some(home) = self.place_spread(asked.hash, named, door)?
        {
            return Ok(home);
        }
        if let Some(home) = self.known(asked.hash)? {
            self.tally.count(&self.meta, asked.hash, home, named.is_some(), door, Found::Cached);
            return Ok(home);
        }
        let asked = self.settle_one(asked)?;
        if named.is_none_or(|named| named == asked.home) {
            self.memo.put(asked.hash48, asked.home);
        }
        let Asked { hash, home, found, .. } = asked;
        self.tally.count(&self.meta, hash, home, named.is_some(), door, found);
        Ok(asked.home)
    }

    /// Takes up a changed description of the table, between two rows.
    fn refresh(&mut self) -> Result<()> {
        if self.meta.is_stale() {
            self.write_deferred()?;
            let context = self.context;
            *self = Self::open(self.meta.table.relation)?;
            self.context = context;
        }
        Ok(())
    }

    /// A key with this hash may come soon.
    #[inline]
    fn expect(&self, hash: u64) {
        if let Some(shared) = self.meta.shared {
            cache::prefetch(hash48(hash), shared.cache_tag());
        }
    }

    /// Keys that are whole numbers often come in sequence.
    #[inline]
    fn expect_neighbour(&self, hash: u64) {
        if self.meta.key.is_integer() {
            self.expect(hash.wrapping_add(1));
        }
    }

    /// The home of a key that this statement has met, or that the writers' cache knows.
    #[inline]
    fn known(&mut self, hash: u64) -> Result<Option<u16>> {
        match self.memo.get(hash48(hash)) {
            Some(home) => Ok(Some(home)),
            None => self.cached(hash),
        }
    }

    fn null_key(&self) -> PssError {
        PssError::new(
            PgSqlErrorCode::ERRCODE_NOT_NULL_VIOLATION,
            format!(
                "null value in distribution column \"{}\" of \"{}\"",
                self.meta.table.distribution_column,
                self.name()
            ),
        )
        .detail("A row without a data key has no partition.")
        .hint("Give the column a value or a default.")
    }

    /// A committed mapping from the writers' cache, valid under the leaf's lock.
    /// Not for transactions with a snapshot of their own time: their entry must
    /// be visible to that snapshot.
    fn cached(&mut self, hash: u64) -> Result<Option<u16>> {
        let Some(shared) = self.meta.shared else { return Ok(None) };
        if own_snapshot() {
            return Ok(None);
        }
        let tag = shared.cache_tag();
        let Some(home) = cache::get(hash48(hash), tag) else { return Ok(None) };
        self.lock_leaf(home)?;
        Ok((shared.cache_tag() == tag).then_some(home))
    }

    /// Locks the leaf as its insert will, before the mark is checked: a mover
    /// waits for this lock, so the two cannot pass each other.
    fn lock_leaf(&mut self, partition: u16) -> Result<()> {
        let Some(position) = self.meta.position(partition) else { return Ok(()) };
        if !self.locked[position] {
            self.write_deferred()?;
            let leaf = self.meta.table.partitions[position].leaf;
            // SAFETY: an ordinary relation lock, kept to the end of the transaction.
            unsafe { pg_sys::LockRelationOid(leaf, pg_sys::RowExclusiveLock as i32) };
            self.locked[position] = true;
        }
        Ok(())
    }
}

/// REPEATABLE READ and SERIALIZABLE keep one snapshot for the whole transaction.
pub fn own_snapshot() -> bool {
    // SAFETY: a plain global of the backend.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

fn forbid_read_only() {
    // SAFETY: raise an ERROR (25006, 25000) if the transaction may not write.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(c"assigning a partition".as_ptr());
        pg_sys::PreventCommandIfParallelMode(c"assigning a partition".as_ptr());
        pg_sys::PreventCommandDuringRecovery(c"assigning a partition".as_ptr());
    }
}
