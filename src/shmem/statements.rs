//! What statements did to a partition, and which queries a table's time goes to.
//!
//! Counts of statements that the executor ran to their end; rows are counted
//! elsewhere. Sessions add to them without a lock: two that take the same place
//! of the list at once may list a query twice, which readers add up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a statement did with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Read,
    /// UPDATE, DELETE or MERGE.
    Change,
    /// INSERT: its rows are pss's own.
    Insert,
}

/// Counters of one partition, cumulative since the server started.
#[repr(C)]
pub struct StatementsShared {
    reads: AtomicU64,
    writes: AtomicU64,
    read_ns: AtomicU64,
    write_ns: AtomicU64,
    /// Part of `write_ns` that INSERTs took.
    insert_ns: AtomicU64,
}

/// A copy of the counters, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statements {
    pub reads: u64,
    pub writes: u64,
    pub read_us: u64,
    pub write_us: u64,
    /// Part of `write_us` that INSERTs took.
    pub insert_us: u64,
}

impl Statements {
    /// Time of the statements that pss did not route: all but INSERTs.
    pub fn foreign_us(&self) -> u64 {
        self.read_us.saturating_add(self.write_us.saturating_sub(self.insert_us))
    }
}

impl StatementsShared {
    /// Counts a statement and its time in the partition.
    pub fn count(&self, access: Access, ns: u64) {
        let (n, time) = match access {
            Access::Read => (&self.reads, &self.read_ns),
            Access::Change | Access::Insert => (&self.writes, &self.write_ns),
        };
        n.fetch_add(1, Relaxed);
        time.fetch_add(ns, Relaxed);
        if access == Access::Insert {
            self.insert_ns.fetch_add(ns, Relaxed);
        }
    }

    /// The counters now.
    pub fn read(&self) -> Statements {
        Statements {
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
            read_us: self.read_ns.load(Relaxed) / 1000,
            write_us: self.write_ns.load(Relaxed) / 1000,
            insert_us: self.insert_ns.load(Relaxed) / 1000,
        }
    }

    pub fn clear(&self) {
        for counter in [&self.reads, &self.writes, &self.read_ns, &self.write_ns, &self.insert_ns] {
            counter.store(0, Relaxed);
        }
    }
}

/// Queries that a table's list holds.
const QUERIES: usize = 16;

/// The queries that take most of a table's time, by the space-saving algorithm
/// (Metwally, Agrawal, El Abbadi 2005): a newcomer takes the place, and the
/// weight, of the least, so that whatever takes over 1/16 of the time is in.
#[repr(C)]
pub struct QueriesShared {
    entries: [QueryShared; QUERIES],
}

#[repr(C)]
struct QueryShared {
    /// 0: free.
    id: AtomicU64,
    weight_ns: AtomicU64,
    /// Since it is in the list.
    calls: AtomicU64,
    time_ns: AtomicU64,
}

/// One query of a table's list, since it entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryTime {
    pub id: u64,
    pub calls: u64,
    pub time_us: u64,
}

impl QueriesShared {
    /// Counts a call of query `id` (not 0).
    pub fn count(&self, id: u64, ns: u64) {
        let known = self.entries.iter().find(|e| e.id.load(Relaxed) == id);
        if let Some(entry) = known {
            entry.weight_ns.fetch_add(ns, Relaxed);
            entry.calls.fetch_add(1, Relaxed);
            entry.time_ns.fetch_add(ns, Relaxed);
            return;
        }
        let least = self.entries.iter().min_by_key(|e| e.weight_ns.load(Relaxed));
        let Some(least) = least else { return };
        let old = least.id.load(Relaxed);
        // Who comes second leaves it: one call is not listed.
        if least.id.compare_exchange(old, id, Relaxed, Relaxed).is_ok() {
            least.weight_ns.fetch_add(ns, Relaxed);
            least.calls.store(1, Relaxed);
            least.time_ns.store(ns, Relaxed);
        }
    }

    /// The list, in no order; an id may come twice.
    pub fn read(&self) -> impl Iterator<Item = QueryTime> {
        self.entries.iter().filter(|e| e.id.load(Relaxed) != 0).map(|e| QueryTime {
            id: e.id.load(Relaxed),
            calls: e.calls.load(Relaxed),
            time_us: e.time_ns.load(Relaxed) / 1000,
        })
    }

    pub fn clear(&self) {
        for e in &self.entries {
            for word in [&e.id, &e.weight_ns, &e.calls, &e.time_ns] {
                word.store(0, Relaxed);
            }
        }
    }
}
