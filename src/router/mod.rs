//! The one router. Every door asks it for the partition of a data key; it looks
//! in the writers' cache, claims the key, probes the row map, decides, and
//! records (docs/design.md, section 3).
//!
//! It never fails because pss is unwell: without fresh weights, shared memory's
//! room or a complete map it still finds a legal partition, and counts that.

mod draw;
mod memo;
mod record;
mod wait;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::level::{self, AHEAD, CLASSES, Fill};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::error::{PssError, Result, not_preloaded};
use crate::meta::{self, Meta};
use crate::shmem::tables::TableShared;
use crate::shmem::{self, cache};
use crate::xact;
use memo::Memo;

/// Which door asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A function call: a reservation, the row comes later.
    Call,
    /// A row on its way through the planner's node.
    Planner,
    /// A row that the inbox caught.
    Trigger,
}

/// A session's way to the partitions of one table, for one statement.
pub struct Router {
    meta: Rc<Meta>,
    random: SmallRng,
    /// Leaves this statement has locked, by position.
    locked: Vec<bool>,
    sent: Vec<f64>,
    fill: Fill,
    memo: Memo,
    rows: u64,
}

/// Upper 16 bits unused: the map keeps 48.
pub fn hash48(hash: u64) -> u64 {
    hash & 0xFFFF_FFFF_FFFF
}

impl Router {
    /// The router of a sharded table; an error if it is none, or pss is not preloaded.
    pub fn open(relation: pg_sys::Oid) -> Result<Self> {
        let meta = meta::table(relation)?.map_or_else(|| Err(meta::not_sharded(relation)), Ok)?;
        Self::of(meta)
    }

    pub fn of(meta: Rc<Meta>) -> Result<Self> {
        if !shmem::available() {
            return Err(not_preloaded());
        }
        let n = meta.table.partitions.len();
        // Seeded after fork, by backend and time: backends must not draw alike.
        let random = SmallRng::from_os_rng();
        let fill = Fill {
            levels: Vec::with_capacity(n),
            keys: [[0.0; AHEAD]; CLASSES],
            capacity: Vec::with_capacity(n),
            scale: [1.0; AHEAD],
        };
        Ok(Self {
            meta,
            random,
            locked: vec![false; n],
            sent: vec![0.0; n],
            fill,
            memo: Memo::default(),
            rows: 0,
        })
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
            .hint("Leave out pss_partition: the row then goes where its key lives."));
        }
        Ok(home)
    }

    /// Records that rows of `key` are in `partition`, as rebuilding the map
    /// does. Returns where the key lives; another partition is a contradiction.
    pub fn adopt(&mut self, key: pg_sys::Datum, partition: u16) -> Result<u16> {
        forbid_read_only();
        let hash = self.meta.key.hash(key);
        self.claim_and_record(key, hash, None, Some(partition), true).map(|placed| placed.partition)
    }

    /// Sends a key whose row is about to be stored in `partition` through the
    /// protocol, once more. Returns where the key lives.
    pub fn confirm(&mut self, key: pg_sys::Datum, partition: u16) -> Result<u16> {
        let hash = self.meta.key.hash(key);
        self.claim_and_record(key, hash, None, Some(partition), false)
            .map(|placed| placed.partition)
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
        // Before the cache: whether a key is cached is no business of the caller's.
        forbid_read_only();
        self.refresh()?;
        let hash = self.meta.key.hash(key);
        let shared = self.meta.shared;
        let known = match self.memo.get(hash48(hash)) {
            Some(home) => Some(home),
            None => self.cached(hash)?,
        };
        if let Some(home) = known {
            count(shared, |s| &s.cache_hits);
            self.count_row(home, named.is_some(), door);
            return Ok(home);
        }
        let placed = self.claim_and_record(key, hash, size, named, false)?;
        if placed.known {
            count(shared, |s| &s.map_hits);
        }
        if named.is_none_or(|named| named == placed.partition) {
            self.memo.put(hash48(hash), placed.partition, self.rows == 0);
            self.rows += 1;
        }
        self.count_row(placed.partition, named.is_some(), door);
        Ok(placed.partition)
    }

    /// Takes up a changed description of the table, between two rows.
    fn refresh(&mut self) -> Result<()> {
        if self.meta.is_stale() {
            *self = Self::open(self.meta.table.relation)?;
        }
        Ok(())
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
        self.lock_leaf(home);
        Ok((shared.cache_tag() == tag).then_some(home))
    }

    fn count_new_key(&mut self, partition: u16, size: Option<u64>) {
        let Some(position) = self.meta.position(partition) else { return };
        let units = if self.meta.table.quota_bytes {
            size.unwrap_or(self.meta.row_bytes as u64).max(1)
        } else {
            1
        };
        match self.meta.shared {
            Some(shared) => {
                shared.new_keys.fetch_add(1, Ordering::Relaxed);
                let class = size_class(shared, size);
                if let Some(size) = size {
                    shared.learn_size(size);
                }
                if let Some(counters) = shared.partition(partition) {
                    xact::count_new_key(counters, class, units);
                }
            }
            None => self.sent[position] += units as f64,
        }
    }

    fn count_row(&self, partition: u16, named: bool, door: Door) {
        let Some(shared) = self.meta.shared else { return };
        let by_door = match door {
            Door::Call => &shared.call_rows,
            Door::Planner => &shared.planner_rows,
            Door::Trigger => &shared.trigger_rows,
        };
        by_door.fetch_add(1, Ordering::Relaxed);
        if named {
            shared.named_rows.fetch_add(1, Ordering::Relaxed);
        }
        if door != Door::Call
            && let Some(counters) = shared.partition(partition)
        {
            counters.rows.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Locks the leaf as its insert will, before the mark is checked: a mover
    /// waits for this lock, so the two cannot pass each other.
    fn lock_leaf(&mut self, partition: u16) {
        let Some(position) = self.meta.position(partition) else { return };
        if !self.locked[position] {
            let leaf = self.meta.table.partitions[position].leaf;
            // SAFETY: an ordinary relation lock, kept to the end of the transaction.
            unsafe { pg_sys::LockRelationOid(leaf, pg_sys::RowExclusiveLock as i32) };
            self.locked[position] = true;
        }
    }
}

struct Placed {
    partition: u16,
    /// The key had a home before.
    known: bool,
}

fn size_class(shared: &TableShared, size: Option<u64>) -> usize {
    level::size_class(size.unwrap_or(0) as f64, shared.size_reference())
}

fn count(shared: Option<&'static TableShared>, counter: impl Fn(&TableShared) -> &AtomicU64) {
    if let Some(shared) = shared {
        counter(shared).fetch_add(1, Ordering::Relaxed);
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
