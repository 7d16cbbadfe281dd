//! Generations of row maps: a count of insertions for each run of neighbouring keys (runs share
//! counters). A session that has read a whole run, and then claims another key of it, sees by one
//! look that nobody has added an entry meanwhile.
//!
//! Who inserts entries counts them when they are physical, and before the claims or marks that
//! cover them are given up. So whoever claims a key after that sees the count, or the claim
//! (`crates/pss-core/tests/claim_model.rs`). After a crash no session remembers an old count.

use std::sync::atomic::{AtomicU32, Ordering};

use pgrx::pg_sys;
use pss_core::key_hash::scramble48;

use super::header;

/// Counters. Loads that are under way at once share one rarely.
pub const COUNTERS: usize = 4096;

pub type Counters = [AtomicU32; COUNTERS];

/// Counters that nobody has counted with.
pub fn none() -> Counters {
    [const { AtomicU32::new(0) }; COUNTERS]
}

/// Which counter is that of a run of a map.
pub fn counter_of(map: pg_sys::Oid, run: u64) -> usize {
    // SAFETY: a plain global of the backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    let relation = u64::from(map.to_u32()) << 16 ^ u64::from(database.to_u32());
    (scramble48((run ^ relation) & 0xFFFF_FFFF_FFFF) >> 24) as usize % COUNTERS
}

/// The count now; `None`: no shared memory.
pub fn read(counter: usize) -> Option<u32> {
    header().map(|h| h.generations[counter].load(Ordering::SeqCst))
}

/// Counts an insertion.
pub fn count(counter: usize) {
    if let Some(header) = header() {
        header.generations[counter].fetch_add(1, Ordering::SeqCst);
    }
}
