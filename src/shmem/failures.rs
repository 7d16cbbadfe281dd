//! Partitions that are out of service, as all sessions see it at once.
//!
//! The session that meets an error of a disk aborts: nothing that it writes to a table stays. So it
//! leaves a sign here, from wherever it reports the error; the worker probes the disk, and writes
//! down what it finds (`worker::failures`). What is written down has a sign, too: a session that holds
//! its locks already sees no invalidation. Signs may be lost in a crash: the worker and the next error
//! bring them back. Must never allocate nor raise an error.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, Ordering::Relaxed};

use pgrx::pg_sys;

use super::tables::{self, TableShared};
use crate::catalog::ShardedTable;

/// In place of an error code: the catalog says so.
const WRITTEN_DOWN: i32 = -1;

/// A partition that was well for so long is no old patient, in microseconds.
const FORGIVEN_US: i64 = 3_600_000_000;

/// What is known of the disk of one partition.
#[repr(C)]
pub struct FailureShared {
    /// The error code that took it out of service, or `WRITTEN_DOWN`; 0: it is in service.
    code: AtomicI32,
    /// How often it has failed again after it was found to be well.
    relapses: AtomicU32,
    /// When it failed, was probed, or went back to service (TimestampTz), whichever came last.
    at: AtomicI64,
    /// Where its rows are; no tablespace: it takes no new keys anyway, or has no file here.
    tablespace: AtomicU32,
    filenode: AtomicU32,
}

impl FailureShared {
    /// Whether the partition must not take new keys.
    pub fn is_set(&self) -> bool {
        self.code.load(Relaxed) != 0
    }

    /// The error code that took it out of service; `None`: none did.
    pub fn error(&self) -> Option<i32> {
        Some(self.code.load(Relaxed)).filter(|&code| code != 0 && code != WRITTEN_DOWN)
    }

    /// How often it has failed again after it was found to be well.
    pub fn relapses(&self) -> u32 {
        self.relapses.load(Relaxed)
    }

    /// When it failed, was probed, or went back to service, whichever came last.
    pub fn at(&self) -> pg_sys::TimestampTz {
        self.at.load(Relaxed)
    }

    /// It was probed just now and is not well.
    pub fn probed(&self, now: pg_sys::TimestampTz) {
        self.at.store(now, Relaxed);
    }

    fn set(&self, code: i32, now: pg_sys::TimestampTz) {
        if self.code.swap(code, Relaxed) == 0 {
            let recently = now < self.at.load(Relaxed).saturating_add(FORGIVEN_US);
            let relapses = if recently { self.relapses().saturating_add(1) } else { 0 };
            self.relapses.store(relapses, Relaxed);
            self.at.store(now, Relaxed);
        }
    }

    /// Forgets all there was about another partition.
    pub(super) fn reset(&self) {
        self.code.store(0, Relaxed);
        self.relapses.store(0, Relaxed);
        self.at.store(0, Relaxed);
        self.tablespace.store(0, Relaxed);
        self.filenode.store(0, Relaxed);
    }

    fn lies_in(&self, tablespace: u32) -> bool {
        self.tablespace.load(Relaxed) == tablespace
    }

    /// Whether it takes new keys, as far as is known here.
    fn serves(&self) -> bool {
        !self.lies_in(0) && !self.is_set()
    }
}

/// Notes where the partitions of a table are, so that an error's file leads to its partition.
pub fn note_places(shared: &TableShared, table: &ShardedTable) {
    for p in &table.partitions {
        let Some(partition) = shared.partition(p.number) else { continue };
        let here = p.active && p.filenode != pg_sys::InvalidOid;
        let tablespace = if here { p.tablespace.to_u32() } else { 0 };
        partition.failure.tablespace.store(tablespace, Relaxed);
        partition.failure.filenode.store(p.filenode.to_u32(), Relaxed);
    }
}

/// What an error says is unwell.
#[derive(Debug, Clone, Copy)]
pub struct Unwell {
    pub database: u32,
    pub tablespace: u32,
    /// The file that the error names.
    pub filenode: u32,
    /// All that is in the tablespace; else the partition of the file, if there is such.
    pub whole: bool,
}

/// Takes partitions out of service at once. A table whose partitions would all be out is left as it
/// is: its rows have to go somewhere.
pub fn take_out(unwell: Unwell, code: i32, now: pg_sys::TimestampTz) {
    for table in tables::of_database(unwell.database) {
        let partitions = table.partitions();
        let in_tablespace = |f: &FailureShared| f.lies_in(unwell.tablespace);
        let named =
            |f: &FailureShared| in_tablespace(f) && f.filenode.load(Relaxed) == unwell.filenode;
        // A file that is no leaf's may be of an index, or hold long values: it can be any one's.
        let one = !unwell.whole && partitions.iter().any(|p| named(&p.failure));
        let hit = |f: &FailureShared| if one { named(f) } else { in_tablespace(f) };
        if partitions.iter().any(|p| p.failure.serves() && !hit(&p.failure)) {
            partitions
                .iter()
                .map(|p| &p.failure)
                .filter(|f| f.serves() && hit(f))
                .for_each(|f| f.set(code, now));
            table.count_failure();
        }
    }
}

/// What the catalog says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It takes no new keys.
    Out,
    /// It was found to be well at this time.
    Well(pg_sys::TimestampTz),
    /// Somebody says that it is well: earlier failures are forgotten.
    Forgiven,
}

/// Has all sessions heed what the catalog says of a partition. For transaction callbacks.
pub fn heed(table: &TableShared, number: u16, state: State) {
    let Some(partition) = table.partition(number) else { return };
    let failure = &partition.failure;
    match state {
        State::Out => {
            let _ = failure.code.compare_exchange(0, WRITTEN_DOWN, Relaxed, Relaxed);
        }
        State::Well(now) => failure.at.store(now, Relaxed),
        State::Forgiven => {
            failure.relapses.store(0, Relaxed);
            failure.at.store(0, Relaxed);
        }
    }
    if state != State::Out {
        failure.code.store(0, Relaxed);
    }
    table.count_failure();
}
