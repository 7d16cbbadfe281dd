//! What a statement has routed, counted here and added to the shared counters
//! from time to time: sessions must not meet at a counter for every row.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Door;
use super::hot::{self, Hot};
use crate::meta::Meta;

/// Rows after which the counts are added to the shared ones.
const FLUSH_EVERY: u32 = 256;

/// How the home of a row's key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// By the writers' cache, or in this statement.
    Cached,
    /// In the map, in a leaf, or by another session that placed it at the same time.
    Mapped,
    /// It had none.
    New,
}

/// Counts since the last flush.
#[derive(Default)]
pub struct Tally {
    /// Rows to each partition, by position.
    rows: Vec<u64>,
    doors: [u64; 4],
    cached: u64,
    mapped: u64,
    named: u64,
    waiting: u32,
    hot: Hot,
}

impl Tally {
    pub fn new(partitions: usize) -> Self {
        let rows = vec![0; partitions];
        let hot = Hot::default();
        Self { rows, doors: [0; 4], cached: 0, mapped: 0, named: 0, waiting: 0, hot }
    }

    /// Counts one row, of a key with this hash; a call is none, its row comes later.
    pub fn count(
        &mut self,
        meta: &Meta,
        hash: u64,
        home: u16,
        named: bool,
        door: Door,
        found: Found,
    ) {
        self.doors[door as usize] += 1;
        self.named += u64::from(named);
        match found {
            Found::Cached => self.cached += 1,
            Found::Mapped => self.mapped += 1,
            Found::New => {}
        }
        if door != Door::Call
            && let Some(position) = meta.position(home)
        {
            self.rows[position] += 1;
            if hot::is_chosen() {
                self.hot.count(meta, hash);
            }
        }
        self.waiting += 1;
        if self.waiting >= FLUSH_EVERY {
            self.flush(meta);
        }
    }

    /// Adds the counts to the shared ones.
    pub fn flush(&mut self, meta: &Meta) {
        self.waiting = 0;
        self.hot.flush(meta);
        let Some(shared) = meta.shared else { return };
        let add = |shared: &AtomicU64, count: &mut u64| {
            if *count > 0 {
                shared.fetch_add(std::mem::take(count), Ordering::Relaxed);
            }
        };
        let doors =
            [&shared.call_rows, &shared.planner_rows, &shared.copy_rows, &shared.trigger_rows];
        for (shared, count) in doors.into_iter().zip(&mut self.doors) {
            add(shared, count);
        }
        add(&shared.cache_hits, &mut self.cached);
        add(&shared.map_hits, &mut self.mapped);
        add(&shared.named_rows, &mut self.named);
        for (rows, number) in self.rows.iter_mut().zip(meta.table.numbers()) {
            if let Some(partition) = shared.partition(number) {
                add(&partition.rows, rows);
            }
        }
    }
}
