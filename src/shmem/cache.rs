//! The writers' cache: key hash -> partition, for mappings that are committed.
//!
//! Buckets of eight 64-bit words, one line of the processor's cache each. The scrambled hash
//! of a key (48 bits) names its bucket by its lower 16 bits or more, and its word by the upper
//! 32, the table's cache tag (16) and the partition (16). A hit therefore names table and hash
//! exactly. Writers only, and only after they hold the leaf's lock; readers never look here.

use std::sync::atomic::{AtomicU64, Ordering};

use pss_core::key_hash::scramble48;

use super::tables::TableShared;
use super::{Layout, array, header};

/// Words of a bucket.
const WAYS: usize = 8;

/// The fewest words, a power of two: bucket and word together must hold all bits of a hash.
pub const MIN_WORDS: usize = WAYS << 16;

/// Where a key would be, and the upper part of its word.
struct Place {
    bucket: &'static [AtomicU64],
    word: u64,
    /// Which of the bucket's words gives way if all are taken.
    victim: usize,
}

impl Place {
    fn of(hash48: u64, tag: u16) -> Option<Self> {
        let header = header()?;
        // SAFETY: offset and count of the layout's cache array.
        let words: &'static [AtomicU64] =
            unsafe { array(header, Layout::of(header).cache, header.cache_words as usize) };
        let scrambled = scramble48(hash48);
        // The tag is mixed in, so that equal keys of many tables spread.
        let spread = scrambled ^ u64::from(tag).wrapping_mul(0x9E37_79B9);
        let first = (spread as usize & (words.len() / WAYS - 1)) * WAYS;
        Some(Self {
            bucket: &words[first..first + WAYS],
            word: (scrambled >> 16) << 32 | u64::from(tag) << 16,
            victim: (scrambled >> 45) as usize,
        })
    }

    fn holds(&self, word: u64) -> bool {
        word & !0xFFFF == self.word
    }
}

/// Asks the processor for the bucket of a key that may be looked up soon: to wait for memory costs
/// as much as all else that a known key costs.
#[inline]
pub fn prefetch(hash48: u64, tag: u16) {
    #[cfg(target_arch = "x86_64")]
    if let Some(place) = Place::of(hash48, tag) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; the address is one of ours.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.bucket.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (hash48, tag);
}

/// The partition of a key, if its mapping is cached under `tag`.
pub fn get(hash48: u64, tag: u16) -> Option<u16> {
    let place = Place::of(hash48, tag)?;
    let words = place.bucket.iter().map(|word| word.load(Ordering::Acquire));
    words.into_iter().find(|word| place.holds(*word)).map(|word| word as u16)
}

/// Remembers a mapping that is committed, and was true while the table had this tag.
pub fn put(table: &TableShared, hash48: u64, tag: u16, partition: u16) {
    let Some(place) = Place::of(hash48, tag) else { return };
    let at = |fits: &dyn Fn(u64) -> bool| {
        place.bucket.iter().find(|word| fits(word.load(Ordering::Relaxed)))
    };
    let word = at(&|word| place.holds(word))
        .or_else(|| at(&|word| word == 0))
        // What a TRUNCATE or a move has made unreachable would otherwise stay for long.
        .or_else(|| at(&|word| (word >> 16) as u16 != tag))
        .unwrap_or(&place.bucket[place.victim % WAYS]);
    let packed = place.word | u64::from(partition);
    word.store(packed, Ordering::SeqCst);
    if table.cache_tag() != tag {
        let _ = word.compare_exchange(packed, 0, Ordering::SeqCst, Ordering::Relaxed);
    }
}

/// Empties the cache.
pub fn clear() {
    let Some(header) = header() else { return };
    // SAFETY: offset and count of the layout's cache array.
    let words: &'static [AtomicU64] =
        unsafe { array(header, Layout::of(header).cache, header.cache_words as usize) };
    for word in words {
        word.store(0, Ordering::SeqCst);
    }
}
