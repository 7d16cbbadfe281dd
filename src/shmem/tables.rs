//! What all sessions share about a sharded table: the published epoch, how
//! long its weights are good for, and exact counters of what was routed where.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::{Header, Layout, array, header, with_registry};

/// Counters of one partition. Cumulative, but for `sent`.
#[repr(C)]
pub struct PartitionShared {
    /// New keys placed here.
    pub keys: AtomicU64,
    /// Rows routed here, of new and known keys.
    pub rows: AtomicU64,
    /// Units of the quota (rows or bytes of new keys) since the epoch began.
    pub sent: AtomicU64,
    _reserved: AtomicU64,
}

/// One sharded table.
#[repr(C)]
pub struct TableShared {
    /// Database and table; the table is 0 in a free entry.
    database: AtomicU32,
    relation: AtomicU32,
    first_partition: AtomicU32,
    partitions: AtomicU32,
    /// Marks the table's entries in the writers' cache; changes when they all become invalid.
    cache_tag: AtomicU32,
    /// Number of the published epoch.
    pub epoch: AtomicU32,
    /// Until when (TimestampTz) the published weights may be used.
    pub valid_until: AtomicI64,
    /// Rows by door.
    pub planner_rows: AtomicU64,
    pub trigger_rows: AtomicU64,
    pub call_rows: AtomicU64,
    /// Rows of keys that had a home; found in the cache, or in the map.
    pub cache_hits: AtomicU64,
    pub map_hits: AtomicU64,
    /// New keys.
    pub new_keys: AtomicU64,
    /// Rows that named their partition.
    pub named_rows: AtomicU64,
    /// Virtual keys drawn again because the first partition was ahead of its quota.
    pub redraws: AtomicU64,
    /// New keys placed by capacity because the weights were stale or pss.enabled was off.
    pub fallbacks: AtomicU64,
    /// Since when (TimestampTz) the counters run.
    pub stats_reset: AtomicI64,
}

impl TableShared {
    fn is(&self, database: pg_sys::Oid, relation: pg_sys::Oid) -> bool {
        self.relation.load(Ordering::Acquire) == relation.to_u32()
            && self.database.load(Ordering::Relaxed) == database.to_u32()
    }

    pub fn cache_tag(&self) -> u16 {
        self.cache_tag.load(Ordering::SeqCst) as u16
    }

    /// Counters of the table's partitions, by partition number.
    pub fn partitions(&self) -> &'static [PartitionShared] {
        let Some(header) = header() else { return &[] };
        let first = self.first_partition.load(Ordering::Relaxed) as usize;
        let n = self.partitions.load(Ordering::Relaxed) as usize;
        &all_partitions(header)[first..first + n]
    }

    /// Starts an epoch: its number is published and the quotas begin anew.
    pub fn publish(&self, epoch: u32, valid_until: pg_sys::TimestampTz) {
        for partition in self.partitions() {
            partition.sent.store(0, Ordering::Relaxed);
        }
        self.valid_until.store(valid_until, Ordering::Relaxed);
        self.epoch.store(epoch, Ordering::Release);
    }
}

fn all(header: &'static Header) -> &'static [TableShared] {
    // SAFETY: offset and count of the layout's table array.
    unsafe { array(header, Layout::of(header).tables, header.tables as usize) }
}

fn all_partitions(header: &'static Header) -> &'static [PartitionShared] {
    // SAFETY: offset and count of the layout's partition array.
    unsafe { array(header, Layout::of(header).partitions, header.partitions as usize) }
}

/// The entry of a table of this database, if it has one.
pub fn find(relation: pg_sys::Oid) -> Option<&'static TableShared> {
    let header = header()?;
    // SAFETY: a plain global of the backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    all(header).iter().find(|t| t.is(database, relation))
}

/// The entry of a table, made if need be. `None`: no room, or no shared memory.
pub fn register(
    relation: pg_sys::Oid,
    partitions: usize,
    now: pg_sys::TimestampTz,
) -> Option<&'static TableShared> {
    if let Some(table) = find(relation)
        && table.partitions().len() >= partitions
    {
        return Some(table);
    }
    let header = header()?;
    // SAFETY: a plain global of the backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    with_registry(|| {
        let tables = all(header);
        let table = tables
            .iter()
            .find(|t| t.is(database, relation))
            .or_else(|| tables.iter().find(|t| t.relation.load(Ordering::Relaxed) == 0))?;
        if table.is(database, relation) && table.partitions().len() >= partitions {
            return Some(table);
        }
        let first = free_range(tables, header.partitions as usize, partitions)?;
        for p in &all_partitions(header)[first..first + partitions] {
            for counter in [&p.keys, &p.rows, &p.sent] {
                counter.store(0, Ordering::Relaxed);
            }
        }
        if !table.is(database, relation) {
            table.epoch.store(0, Ordering::Relaxed);
            table.valid_until.store(0, Ordering::Relaxed);
            table.stats_reset.store(now, Ordering::Relaxed);
            for counter in table.counters() {
                counter.store(0, Ordering::Relaxed);
            }
            table.cache_tag.store(next_tag(header), Ordering::SeqCst);
        }
        table.first_partition.store(first as u32, Ordering::Relaxed);
        table.partitions.store(partitions as u32, Ordering::Relaxed);
        table.database.store(database.to_u32(), Ordering::Relaxed);
        table.relation.store(relation.to_u32(), Ordering::Release);
        Some(table)
    })
}

impl TableShared {
    fn counters(&self) -> [&AtomicU64; 9] {
        [
            &self.planner_rows,
            &self.trigger_rows,
            &self.call_rows,
            &self.cache_hits,
            &self.map_hits,
            &self.new_keys,
            &self.named_rows,
            &self.redraws,
            &self.fallbacks,
        ]
    }

    /// Sets the routing counters to zero; the partitions' own are left, the worker takes differences of them.
    pub fn reset(&self, now: pg_sys::TimestampTz) {
        for counter in self.counters() {
            counter.store(0, Ordering::Relaxed);
        }
        self.stats_reset.store(now, Ordering::Relaxed);
    }
}

/// Frees the entry of a table that is no longer managed.
pub fn forget(relation: pg_sys::Oid) {
    if let Some(table) = find(relation) {
        with_registry(|| table.relation.store(0, Ordering::Release));
        super::cache::clear();
    }
}

/// Makes all cached mappings of the table invalid.
pub fn invalidate_cache(relation: pg_sys::Oid) {
    if let (Some(header), Some(table)) = (header(), find(relation)) {
        table.cache_tag.store(next_tag(header), Ordering::SeqCst);
    }
}

/// A cache tag that no table uses; 0 stays reserved for empty words.
fn next_tag(header: &'static Header) -> u32 {
    loop {
        let tag = header.next_cache_tag.fetch_add(1, Ordering::SeqCst) as u16;
        if tag == 0 {
            // All 16-bit tags were used: what is left of old ones must go before they come again.
            super::cache::clear();
            continue;
        }
        if !all(header).iter().any(|t| t.cache_tag() == tag) {
            return u32::from(tag);
        }
    }
}

/// First fit among the ranges that registered tables leave free.
fn free_range(tables: &[TableShared], capacity: usize, wanted: usize) -> Option<usize> {
    let mut used: Vec<(usize, usize)> = tables
        .iter()
        .filter(|t| t.relation.load(Ordering::Relaxed) != 0)
        .map(|t| {
            let first = t.first_partition.load(Ordering::Relaxed) as usize;
            (first, first + t.partitions.load(Ordering::Relaxed) as usize)
        })
        .collect();
    used.sort_unstable();
    let mut start = 0;
    for (first, end) in used {
        if first >= start + wanted {
            break;
        }
        start = start.max(end);
    }
    (start + wanted <= capacity).then_some(start)
}
