//! The one router. Every door asks it for the partition of a data key; it looks
//! in the writers' cache, claims the key, probes the row map, decides, and
//! records (docs/design.md, section 3).
//!
//! It never fails because pss is unwell: without fresh weights, shared memory's
//! room or a complete map it still finds a legal partition, and counts that.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::claim::{Claimed, must_record};
use pss_core::dispatch::{self, Choice, DEFAULT_BOUND, Request};
use pss_core::level::{self, AHEAD, CLASSES, Fill};
use pss_core::virtual_key::VirtualKey;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use crate::clock;
use crate::error::{PssError, Result, not_preloaded};
use crate::leaves;
use crate::map::{self, Hit, Map};
use crate::meta::{self, Meta};
use crate::shmem::claims::{self, ClaimKey};
use crate::shmem::tables::{PartitionShared, TableShared};
use crate::shmem::{self, cache};
use crate::xact;

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

/// Keys this statement has placed or found, direct-mapped words of hash and
/// partition. What it relies on was settled or written by the statement itself,
/// and lives and dies with it: no invalidation is needed.
#[derive(Default)]
struct Memo(Vec<u64>);

/// Words of the memo (64 kB); it is made with the second row.
const MEMO_WORDS: usize = 8192;

impl Memo {
    fn get(&self, hash48: u64) -> Option<u16> {
        let word = *self.0.get(hash48 as usize % MEMO_WORDS)?;
        (word != 0 && word >> 16 == hash48).then_some(word as u16)
    }

    fn put(&mut self, hash48: u64, partition: u16, first: bool) {
        if self.0.is_empty() {
            if first {
                return;
            }
            self.0.resize(MEMO_WORDS, 0);
        }
        self.0[hash48 as usize % MEMO_WORDS] = hash48 << 16 | u64::from(partition);
    }
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

    /// The claim protocol. `forced`: the partition is given, not drawn; with
    /// `adopting`, rows of the key were seen there: nothing is counted as placed, and
    /// the leaves are not searched for it.
    fn claim_and_record(
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
                Claimed::Moving => wait_for_mover(&claim),
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
        let marked = claims::mover(&claim) != 0;
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

    /// Draws a partition and a virtual key for a key that may be new: to a
    /// level while the load expected of each partition is known, else by quota.
    fn draw(&mut self, hash: u64, size: Option<u64>, forced: Option<u16>) -> (u16, VirtualKey) {
        let meta = self.meta.clone();
        let (epoch, fallback) = meta.epoch();
        let slots = epoch.slots.len() as u32;
        let bytes = size.unwrap_or(meta.row_bytes as u64);
        let random = &mut self.random;
        let mut draw =
            |_| VirtualKey::draw(hash, bytes, epoch.salt, random.next_u64(), epoch.number, slots);
        if let Some(number) = forced {
            let drawn = draw(0);
            let owned = |p| epoch.slots.slot_of(p as u16, drawn.slot());
            let slot = meta.position(number).and_then(owned);
            return (number, slot.map_or(drawn, |s| drawn.with_slot(s)));
        }
        let now = clock::now();
        let shared = meta.shared.filter(|_| !fallback);
        let choice = match shared {
            Some(shared) if shared.read_fill(meta.table.numbers(), &mut self.fill, now) => {
                let partition = |p: usize| shared.partition(meta.table.partitions[p].number);
                let sent =
                    |p: usize| partition(p).map_or([0; CLASSES], PartitionShared::since_fill);
                let class = size_class(shared, size);
                level::choose(self.fill.expected(), sent, class, &epoch.slots, draw)
            }
            _ => {
                let unit = if meta.table.quota_bytes { meta.row_bytes } else { 1.0 };
                if let Some(shared) = meta.shared {
                    for (sent, number) in self.sent.iter_mut().zip(meta.table.numbers()) {
                        let partition = shared.partition(number);
                        *sent = partition.map_or(0.0, |p| p.sent.load(Ordering::Relaxed) as f64);
                    }
                }
                let request = Request {
                    slots: &epoch.slots,
                    shares: &epoch.weights,
                    sent: &self.sent,
                    unit: if meta.table.quota_bytes { bytes.max(1) as f64 } else { 1.0 },
                    bound: DEFAULT_BOUND * unit,
                };
                dispatch::choose(request, draw)
            }
        };
        let Choice { virtual_key, partition, redraws, .. } = choice;
        if let Some(shared) = meta.shared {
            shared.redraws.fetch_add(u64::from(redraws), Ordering::Relaxed);
            if fallback {
                shared.fallbacks.fetch_add(1, Ordering::Relaxed);
            }
        }
        (meta.table.partitions[usize::from(partition)].number, virtual_key)
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

fn wait_for_mover(claim: &ClaimKey) {
    let mover = claims::mover(claim);
    if mover != 0 {
        // SAFETY: waits for a transaction's end; no lock of ours is held meanwhile.
        unsafe {
            pg_sys::XactLockTableWait(
                mover.into(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                pg_sys::XLTW_Oper::XLTW_None,
            );
        }
    }
}
