//! Counting which keys a statement's rows have: a few rows of many, chosen at random, in a small
//! sketch of its own that is added to the table's from time to time (`crate::shmem::hot_keys`).
//!
//! Must cost next to nothing for a row: one in [`EVERY`] is looked at, and nobody waits for a
//! lock. Rows of a transaction that aborts count, too: they were work, and fade like all others.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pss_core::heavy::{Counter, Head, Sketch};

use super::draw::random;
use crate::meta::Meta;
use crate::shmem::hot_keys;

/// One row in so many is counted.
const EVERY: u32 = 16;
/// Keys that a statement counts before it adds them to the table's.
const KEYS: usize = 16;

/// Rows of this session that are passed over before the next one is counted. It outlives
/// statements: most have one row only.
static PASS_OVER: AtomicU32 = AtomicU32::new(0);

/// What a statement has counted since it last added it.
#[derive(Default)]
pub struct Hot {
    head: Head,
    counters: [Counter; KEYS],
    counted: u32,
}

/// Whether the next row is one to count. The gaps are random, so that no order of rows hides a key.
#[inline]
pub fn is_chosen() -> bool {
    let left = PASS_OVER.load(Relaxed);
    if left > 0 {
        PASS_OVER.store(left - 1, Relaxed);
        return false;
    }
    // From 0 to twice the mean.
    PASS_OVER.store(random() as u32 % (2 * EVERY - 1), Relaxed);
    true
}

impl Hot {
    /// Counts a row that was chosen.
    #[cold]
    pub fn count(&mut self, meta: &Meta, hash: u64) {
        self.sketch().offer(hash, 1.0, 0);
        self.counted += 1;
        // With room left the counts are exact, and cheap to add.
        if self.sketch().room() == 1 {
            self.flush(meta);
        }
    }

    /// Adds what was counted to the table's counts, if nobody else is about to.
    pub fn flush(&mut self, meta: &Meta) {
        if self.counted == 0 {
            return;
        }
        let added = meta.shared.is_none_or(|shared| hot_keys::add(shared, &self.sketch()));
        // A full one goes on with the keys that come most.
        if added {
            *self = Self::default();
        }
    }

    fn sketch(&mut self) -> Sketch<'_> {
        // A statement's own counts do not fade.
        Sketch::over(&mut self.head, &mut self.counters, 0)
    }
}
