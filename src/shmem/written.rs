//! Mappings that the running transaction has written to row maps: other writers may rely on
//! them as soon as it has committed, so they go to the writers' cache then.
//!
//! The callbacks at a transaction's end must not fail: they only read what is laid out here.

use std::cell::UnsafeCell;

use super::cache;
use super::tables::TableShared;

/// Mappings kept of one transaction (8 MB); more than that the cache hardly holds.
const MAX_KEPT: usize = 1 << 20;

/// How many words ahead memory is asked for.
const AHEAD: usize = 8;

/// Nested savepoints that can be rolled back one by one; below them all is forgotten.
const MAX_LEVELS: usize = 32;

struct Written {
    /// Key hash << 16 | partition.
    words: Vec<u64>,
    /// From which word on they are of which table, under which cache tag.
    runs: Vec<(usize, &'static TableShared, u16)>,
    /// How many words there were when the savepoint of each level began.
    at: [usize; MAX_LEVELS],
}

struct Cell(UnsafeCell<Written>);
// SAFETY: a backend is single-threaded; references to the inside end with each function.
unsafe impl Sync for Cell {}
static WRITTEN: Cell =
    Cell(UnsafeCell::new(Written { words: Vec::new(), runs: Vec::new(), at: [0; MAX_LEVELS] }));

#[allow(clippy::mut_from_ref, reason = "the only access, and single-threaded")]
fn written() -> &'static mut Written {
    // SAFETY: single-threaded, and no caller keeps the reference across a call of another.
    unsafe { &mut *WRITTEN.0.get() }
}

impl Written {
    fn cut(&mut self, len: usize) {
        self.words.truncate(len);
        while self.runs.last().is_some_and(|(first, ..)| *first >= len) {
            self.runs.pop();
        }
    }
}

/// Remembers a mapping that was written while the table had this tag, under its leaf's lock.
pub fn remember(table: &'static TableShared, tag: u16, hash48: u64, partition: u16) {
    let written = written();
    if written.words.len() >= MAX_KEPT || written.words.try_reserve(1).is_err() {
        return;
    }
    let same = |(_, other, under): &(usize, &TableShared, u16)| {
        std::ptr::eq(*other, table) && *under == tag
    };
    if !written.runs.last().is_some_and(same) {
        written.runs.push((written.words.len(), table, tag));
    }
    written.words.push(hash48 << 16 | u64::from(partition));
}

/// The transaction has committed, and still holds its locks.
pub fn at_commit() {
    let Written { words, runs, .. } = written();
    let mut runs = runs.iter().peekable();
    while let Some((first, table, tag)) = runs.next() {
        let end = runs.peek().map_or(words.len(), |(next, ..)| *next);
        for (i, word) in words[*first..end].iter().enumerate() {
            if let Some(later) = words[..end].get(first + i + AHEAD) {
                cache::prefetch(later >> 16, *tag);
            }
            cache::put(table, word >> 16, *tag, *word as u16);
        }
    }
    forget();
}

/// The transaction ends in another way.
pub fn forget() {
    let written = written();
    written.cut(0);
    if written.words.capacity() > 4096 {
        written.words = Vec::new();
    }
}

/// A savepoint of nesting level `level` begins.
pub fn at_savepoint(level: usize) {
    let written = written();
    if let Some(at) = written.at.get_mut(level) {
        *at = written.words.len();
    }
}

/// The savepoint of nesting level `level` is rolled back.
pub fn at_savepoint_abort(level: usize) {
    let written = written();
    let len = written.at.get(level).copied().unwrap_or(0);
    written.cut(len);
}
