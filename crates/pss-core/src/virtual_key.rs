//! The 64-bit virtual shard key: what a new data key is turned into before it gets a partition.
//!
//! It describes itself: the epoch it was drawn in (which fixes weights and salt), the slot that
//! gave the partition, and hash bits that keep keys of one slot apart. It must never depend on
//! anything but its arguments: a virtual key is stored in the row map and decoded years later.

use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

const EPOCH_BITS: u32 = 24;
const SLOT_BITS: u32 = 16;
const HASH_BITS: u32 = 24;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const HASH_MASK: u64 = (1 << HASH_BITS) - 1;

/// Salt of the slots of slot mode: the same for all epochs, for a key must keep its slot.
const KEY_SALT: u64 = 0x7073_735f_736c_6f74;

/// Greatest number of slots that a virtual key can name.
pub const MAX_SLOTS: u32 = 1 << SLOT_BITS;

/// Epoch (24 bits, the number modulo 2^24), slot (16), hash (24), from the top bit down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct VirtualKey(pub u64);

impl VirtualKey {
    /// Mixes the key's hash, its size in bytes, the epoch's salt and a nonce (xxh3 over their
    /// little-endian words) into a virtual key of `epoch` with a slot in `0..slots`.
    ///
    /// `slots` is a power of two up to [`MAX_SLOTS`]; another number is rounded down to one.
    pub fn draw(
        key_hash: u64,
        size: u64,
        salt: u64,
        nonce: u64,
        epoch: u32,
        slots: u32,
    ) -> VirtualKey {
        let mut words = [0u8; 32];
        for (bytes, word) in words.chunks_exact_mut(8).zip([key_hash, size, salt, nonce]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mix = xxh3_64(&words);
        let width = slots.clamp(1, MAX_SLOTS).ilog2();
        // The slot takes the top bits, the hash the bottom ones: they share none.
        let slot = (mix >> 1) >> (63 - width);
        VirtualKey::from_parts(epoch, slot as u16, mix as u32)
    }

    /// The virtual key of slot mode: slot and hash bits depend on the key alone, whatever the epoch.
    pub fn of_key(key_hash: u64, epoch: u32, slots: u32) -> VirtualKey {
        VirtualKey::draw(key_hash, 0, KEY_SALT, 0, epoch, slots)
    }

    /// The virtual key of a whole slot, without hash bits.
    pub fn of_slot(epoch: u32, slot: u16) -> VirtualKey {
        VirtualKey::from_parts(epoch, slot, 0)
    }

    fn from_parts(epoch: u32, slot: u16, hash: u32) -> VirtualKey {
        VirtualKey(
            u64::from(epoch) << (SLOT_BITS + HASH_BITS)
                | u64::from(slot) << HASH_BITS
                | u64::from(hash) & HASH_MASK,
        )
    }

    /// The epoch it was drawn in, modulo 2^24.
    pub fn epoch(self) -> u32 {
        (self.0 >> (64 - EPOCH_BITS)) as u32
    }

    /// The slot that gave the partition.
    pub fn slot(self) -> u16 {
        (self.0 >> HASH_BITS & SLOT_MASK) as u16
    }

    /// The 24 hash bits.
    pub fn bits(self) -> u32 {
        (self.0 & HASH_MASK) as u32
    }

    /// The same key in another slot: for a key that its quota, not the dice, gave its partition.
    #[must_use]
    pub fn with_slot(self, slot: u16) -> VirtualKey {
        VirtualKey(self.0 & !(SLOT_MASK << HASH_BITS) | u64::from(slot) << HASH_BITS)
    }

    /// The word as PostgreSQL's bigint, bit for bit.
    pub fn to_i64(self) -> i64 {
        self.0 as i64
    }

    /// The key that a bigint of the row map holds, bit for bit.
    pub fn from_i64(word: i64) -> VirtualKey {
        VirtualKey(word as u64)
    }
}

impl fmt::Debug for VirtualKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} slot {} hash {:06x}", self.epoch(), self.slot(), self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let key = VirtualKey::draw(7, 100, 3, 9, 0x0012_3456, 4096);
        assert_eq!(key.epoch(), 0x0012_3456);
        assert!(key.slot() < 4096);
        assert_eq!(VirtualKey::from_i64(key.to_i64()), key);
        let moved = key.with_slot(65_535);
        assert_eq!((moved.epoch(), moved.slot(), moved.bits()), (key.epoch(), 65_535, key.bits()));
    }

    #[test]
    fn epoch_wraps_at_24_bits() {
        assert_eq!(VirtualKey::draw(1, 0, 0, 0, (1 << 24) + 5, 2).epoch(), 5);
    }

    #[test]
    fn a_key_keeps_its_slot_in_every_epoch() {
        let keys = |epoch| (0..100).map(move |k| VirtualKey::of_key(k, epoch, 4096));
        for (a, b) in keys(1).zip(keys(70_000)) {
            assert_eq!((a.slot(), a.bits()), (b.slot(), b.bits()));
            assert_ne!(a.epoch(), b.epoch());
        }
    }

    #[test]
    fn every_argument_matters() {
        let base = VirtualKey::draw(1, 2, 3, 4, 5, 65_536);
        for other in [
            VirtualKey::draw(9, 2, 3, 4, 5, 65_536),
            VirtualKey::draw(1, 9, 3, 4, 5, 65_536),
            VirtualKey::draw(1, 2, 9, 4, 5, 65_536),
            VirtualKey::draw(1, 2, 3, 9, 5, 65_536),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(VirtualKey::draw(1, 2, 3, 4, 5, 1).slot(), 0);
    }

    /// Keys 0, 1, 2, ... are the least random there are; their slots must be uniform all the same.
    #[test]
    fn slots_are_uniform() {
        const SLOTS: usize = 256;
        const KEYS: u64 = 256_000;
        let mut seen = [0f64; SLOTS];
        for key in 0..KEYS {
            seen[VirtualKey::draw(key, 0, 42, 0, 1, SLOTS as u32).slot() as usize] += 1.0;
        }
        let expected = KEYS as f64 / SLOTS as f64;
        let chi_squared: f64 = seen.iter().map(|n| (n - expected).powi(2) / expected).sum();
        // 255 degrees of freedom: 1 in 10,000 above 347, 1 in 10,000 below 179.
        assert!((179.0..347.0).contains(&chi_squared), "chi squared {chi_squared}");
    }
}
