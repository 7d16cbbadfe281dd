//! What all sessions share about a sharded table: the published epoch, the
//! load expected of each partition, how long both are good for, and exact
//! counters of what was routed where.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys;
use pss_core::level::{AHEAD, CLASSES, Fill};

use super::failures::FailureShared;
use super::statements::{QueriesShared, StatementsShared};
use super::{Header, Layout, array, header, with_registry};

/// One partition. Counters are cumulative, but for those since something was published.
#[repr(C)]
pub struct PartitionShared {
    /// New keys placed here, by size class.
    keys: [AtomicU64; CLASSES],
    /// Rows routed here, of new and known keys.
    pub rows: AtomicU64,
    /// Units of the quota (rows or bytes of new keys) since the epoch began.
    pub sent: AtomicU64,
    /// New keys since the expected levels were published, by size class.
    since_fill: [AtomicU32; CLASSES],
    /// Expected load at each point ahead (f32 bits), and capacity.
    levels: [AtomicU32; AHEAD],
    capacity: AtomicU32,
    /// Statements that read or wrote it.
    pub statements: StatementsShared,
    /// Whether errors of its disk have taken it out of service.
    pub failure: FailureShared,
}

impl PartitionShared {
    /// New keys placed here, by size class.
    pub fn keys_by_class(&self) -> [u64; CLASSES] {
        std::array::from_fn(|class| self.keys[class].load(Ordering::Relaxed))
    }

    /// New keys since the expected levels were published, by size class.
    pub fn since_fill(&self) -> [u32; CLASSES] {
        std::array::from_fn(|class| self.since_fill[class].load(Ordering::Relaxed))
    }

    /// Counts a new key.
    pub fn count_key(&self, class: usize, units: u64) {
        self.keys[class].fetch_add(1, Ordering::Relaxed);
        self.since_fill[class].fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(units, Ordering::Relaxed);
    }

    /// Takes back keys of an aborted transaction; what was published meanwhile may have begun anew.
    pub fn take_back(&self, keys: &[u32; CLASSES], units: u64) {
        for (class, &n) in keys.iter().enumerate().filter(|(_, n)| **n > 0) {
            let less = |now: u64| Some(now.saturating_sub(u64::from(n)));
            let less_since = |now: u32| Some(now.saturating_sub(n));
            let relaxed = Ordering::Relaxed;
            let _ = self.keys[class].fetch_update(relaxed, relaxed, less);
            let _ = self.since_fill[class].fetch_update(relaxed, relaxed, less_since);
        }
        let less = |now: u64| Some(now.saturating_sub(units));
        let _ = self.sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
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
    pub copy_rows: AtomicU64,
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
    /// Until when (TimestampTz) the expected levels may be used; 0: there are none.
    fill_until: AtomicI64,
    /// Expected load of a key of each class at each point ahead (f32 bits).
    fill_keys: [[AtomicU32; AHEAD]; CLASSES],
    fill_scale: [AtomicU32; AHEAD],
    /// Changes when a partition fails or is well again; 0: none ever failed.
    failures: AtomicU32,
    /// Middle of the sizes that callers gave (f64 bits), and how many gave one.
    size_reference: AtomicU64,
    sized_keys: AtomicU64,
    /// The queries that take most of its time.
    pub queries: QueriesShared,
}

/// Sized keys after which the reference of size classes stays as it is.
const REFERENCE_KEYS: u64 = 256;

impl TableShared {
    fn is(&self, database: pg_sys::Oid, relation: pg_sys::Oid) -> bool {
        self.relation.load(Ordering::Acquire) == relation.to_u32()
            && self.database.load(Ordering::Relaxed) == database.to_u32()
    }

    pub fn cache_tag(&self) -> u16 {
        self.cache_tag.load(Ordering::SeqCst) as u16
    }

    /// Its partitions, by number: where numbers have gaps, some that do not exist.
    pub fn partitions(&self) -> &'static [PartitionShared] {
        let Some(header) = header() else { return &[] };
        let first = self.first_partition.load(Ordering::Relaxed) as usize;
        let n = self.partitions.load(Ordering::Relaxed) as usize;
        // While the table gets a longer range the two may not belong together.
        all_partitions(header).get(first..first + n).unwrap_or(&[])
    }

    /// The partition of this number; `None`: it came since the table was registered.
    pub fn partition(&self, number: u16) -> Option<&'static PartitionShared> {
        self.partitions().get(usize::from(number))
    }

    /// Tells one state of its partitions' disks from the next; 0: none ever failed.
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Acquire)
    }

    /// A partition has failed, or is well again.
    pub(super) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Release);
    }

    /// Publishes what is expected of the partitions, for dispatch to a level. `numbers` are
    /// theirs, in the order of `fill`.
    /// Sessions may read it half old and half new: that costs a little balance
    /// for one key, never a wrong row.
    pub fn publish_fill(
        &self,
        numbers: impl Iterator<Item = u16>,
        fill: Option<&Fill>,
        valid_until: pg_sys::TimestampTz,
    ) {
        let Some(fill) = fill else {
            self.fill_until.store(0, Ordering::Relaxed);
            return;
        };
        for ((number, levels), capacity) in numbers.zip(&fill.levels).zip(&fill.capacity) {
            let Some(partition) = self.partition(number) else { continue };
            store(&partition.levels, levels);
            partition.capacity.store(capacity.to_bits(), Ordering::Relaxed);
            partition.since_fill.iter().for_each(|n| n.store(0, Ordering::Relaxed));
        }
        for (shared, keys) in self.fill_keys.iter().zip(&fill.keys) {
            store(shared, keys);
        }
        store(&self.fill_scale, &fill.scale);
        self.fill_until.store(valid_until, Ordering::Release);
    }

    /// Until when the published expectations are good; 0: there are none.
    pub fn fill_until(&self) -> pg_sys::TimestampTz {
        self.fill_until.load(Ordering::Acquire)
    }

    /// Reads what was published of the partitions with these numbers into `fill`, in their order;
    /// false if one of them came since.
    pub fn read_fill(&self, numbers: impl Iterator<Item = u16>, fill: &mut Fill) -> bool {
        fill.levels.clear();
        fill.capacity.clear();
        for number in numbers {
            let Some(partition) = self.partition(number) else { return false };
            fill.levels.push(load(&partition.levels));
            fill.capacity.push(f32::from_bits(partition.capacity.load(Ordering::Relaxed)));
        }
        for (keys, shared) in fill.keys.iter_mut().zip(&self.fill_keys) {
            *keys = load(shared);
        }
        fill.scale = load(&self.fill_scale);
        true
    }

    /// The size that falls into the middle class: the geometric mean of the
    /// first sizes that callers gave. 0 before the first.
    pub fn size_reference(&self) -> f64 {
        f64::from_bits(self.size_reference.load(Ordering::Relaxed))
    }

    /// Takes a size into the reference, while it is still being found.
    pub fn learn_size(&self, size: u64) {
        if size == 0 || self.sized_keys.load(Ordering::Relaxed) >= REFERENCE_KEYS {
            return;
        }
        let n = self.sized_keys.fetch_add(1, Ordering::Relaxed) + 1;
        let before = self.size_reference();
        let reference = if before > 0.0 {
            before * (size as f64 / before).powf(1.0 / n as f64)
        } else {
            size as f64
        };
        self.size_reference.store(reference.to_bits(), Ordering::Relaxed);
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

fn store<const N: usize>(shared: &[AtomicU32; N], values: &[f32; N]) {
    for (shared, value) in shared.iter().zip(values) {
        shared.store(value.to_bits(), Ordering::Relaxed);
    }
}

fn load<const N: usize>(shared: &[AtomicU32; N]) -> [f32; N] {
    std::array::from_fn(|i| f32::from_bits(shared[i].load(Ordering::Relaxed)))
}

fn all(header: &'static Header) -> &'static [TableShared] {
    // SAFETY: offset and count of the layout's table array.
    unsafe { array(header, Layout::of(header).tables, header.tables as usize) }
}

fn all_partitions(header: &'static Header) -> &'static [PartitionShared] {
    // SAFETY: offset and count of the layout's partition array.
    unsafe { array(header, Layout::of(header).partitions, header.partitions as usize) }
}

/// Which of the entries this is.
pub(super) fn index_of(header: &'static Header, table: &TableShared) -> usize {
    let bytes = std::ptr::from_ref(table).addr() - all(header).as_ptr().addr();
    bytes / std::mem::size_of::<TableShared>()
}

/// The tables of a database that shared memory has room for.
pub fn of_database(database: u32) -> impl Iterator<Item = &'static TableShared> {
    let tables = header().map(all).unwrap_or(&[]);
    tables.iter().filter(move |t| {
        t.relation.load(Ordering::Acquire) != 0 && t.database.load(Ordering::Relaxed) == database
    })
}

/// The entry of a table of this database, if it has one.
pub fn find(relation: pg_sys::Oid) -> Option<&'static TableShared> {
    let header = header()?;
    // SAFETY: a plain global of the backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    all(header).iter().find(|t| t.is(database, relation))
}

/// The entry of a table, made if need be, with room for the numbers below `partitions`. `None`: no
/// room, or no shared memory.
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
            for counter in p.keys.iter().chain([&p.rows, &p.sent]) {
                counter.store(0, Ordering::Relaxed);
            }
            p.since_fill.iter().for_each(|n| n.store(0, Ordering::Relaxed));
            p.statements.clear();
            p.failure.reset();
        }
        if !table.is(database, relation) {
            table.epoch.store(0, Ordering::Relaxed);
            table.valid_until.store(0, Ordering::Relaxed);
            table.size_reference.store(0, Ordering::Relaxed);
            table.sized_keys.store(0, Ordering::Relaxed);
            table.queries.clear();
            super::hot_keys::clear(table);
            table.failures.store(0, Ordering::Relaxed);
            table.stats_reset.store(now, Ordering::Relaxed);
            for counter in table.counters() {
                counter.store(0, Ordering::Relaxed);
            }
            table.cache_tag.store(next_tag(header), Ordering::SeqCst);
        }
        // What the range says of loads was said of another table's partitions.
        table.fill_until.store(0, Ordering::Relaxed);
        table.first_partition.store(first as u32, Ordering::Relaxed);
        table.partitions.store(partitions as u32, Ordering::Relaxed);
        table.database.store(database.to_u32(), Ordering::Relaxed);
        table.relation.store(relation.to_u32(), Ordering::Release);
        Some(table)
    })
}

impl TableShared {
    fn counters(&self) -> [&AtomicU64; 10] {
        [
            &self.planner_rows,
            &self.copy_rows,
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
