//! The writers' cache: key hash -> partition, for mappings that are committed.
//!
//! Direct-mapped words of 64 bits: the upper 32 bits of the 48-bit key hash,
//! the table's cache tag (16) and the partition (16); the lower 16 hash bits are
//! the index's. A hit therefore names table and hash exactly. Writers only, and
//! only after they hold the leaf's lock; readers never look here.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tables::TableShared;
use super::{Layout, array, header};

fn words() -> &'static [AtomicU64] {
    let Some(header) = header() else { return &[] };
    // SAFETY: offset and count of the layout's cache array.
    unsafe { array(header, Layout::of(header).cache, header.cache_words as usize) }
}

fn word_of(words: &[AtomicU64], hash48: u64, tag: u16) -> &AtomicU64 {
    // The tag is mixed into the bits above 16, so that equal keys of many tables spread.
    let spread = (u64::from(tag) << 16) ^ hash48;
    &words[spread as usize & (words.len() - 1)]
}

fn pack(hash48: u64, tag: u16, partition: u16) -> u64 {
    (hash48 >> 16) << 32 | u64::from(tag) << 16 | u64::from(partition)
}

/// The partition of a key, if its mapping is cached under `tag`.
pub fn get(hash48: u64, tag: u16) -> Option<u16> {
    let words = words();
    if words.is_empty() {
        return None;
    }
    let word = word_of(words, hash48, tag).load(Ordering::Acquire);
    (word >> 16 == pack(hash48, tag, 0) >> 16).then_some(word as u16)
}

/// Remembers a committed mapping that was read from the map under `tag`.
pub fn put(table: &TableShared, hash48: u64, tag: u16, partition: u16) {
    let words = words();
    if words.is_empty() {
        return;
    }
    let word = word_of(words, hash48, tag);
    let packed = pack(hash48, tag, partition);
    word.store(packed, Ordering::SeqCst);
    if table.cache_tag() != tag {
        let _ = word.compare_exchange(packed, 0, Ordering::SeqCst, Ordering::Relaxed);
    }
}

/// Empties the cache.
pub fn clear() {
    for word in words() {
        word.store(0, Ordering::SeqCst);
    }
}
