//! A set that may say yes to what was never put in, and never no to what was: a Bloom filter over
//! hashes. Cleaning a row map asks it which entries certainly have no row.
//!
//! Must never forget: a "no" that is wrong would cost a key its home.

/// Bits that one member sets.
const PROBES: u32 = 3;
/// Bits for each expected member: about one wrong yes in sixty.
const BITS_PER_MEMBER: usize = 10;
/// Smallest and largest size, in bits: 8 kB and 64 MB.
const SMALLEST: usize = 1 << 16;
const LARGEST: usize = 1 << 29;

/// The set. Its size is fixed when it is made.
pub struct Seen {
    words: Vec<u64>,
    mask: u64,
}

impl Seen {
    /// An empty set with room for about `members`; more of them only make wrong yeses more often.
    pub fn with_room_for(members: usize) -> Seen {
        let bits =
            members.saturating_mul(BITS_PER_MEMBER).clamp(SMALLEST, LARGEST).next_power_of_two();
        Seen { words: vec![0; bits / 64], mask: bits as u64 - 1 }
    }

    /// Puts a hash in. `group` tells equal hashes apart (a partition's number).
    pub fn insert(&mut self, hash: u64, group: u16) {
        for bit in bits(hash, group, self.mask) {
            self.words[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }

    /// False: it was certainly not put in.
    pub fn contains(&self, hash: u64, group: u16) -> bool {
        bits(hash, group, self.mask)
            .all(|bit| self.words[(bit / 64) as usize] & (1 << (bit % 64)) != 0)
    }
}

/// The bits of a member: double hashing (Kirsch and Mitzenmacher, 2008).
fn bits(hash: u64, group: u16, mask: u64) -> impl Iterator<Item = u64> {
    let first = mix(hash ^ u64::from(group) << 48);
    let step = mix(first) | 1;
    (0..u64::from(PROBES)).map(move |i| first.wrapping_add(i.wrapping_mul(step)) & mask)
}

/// The finalizer of splitmix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members are the numbers below `n`: the least random hashes there are.
    fn filled(n: u64, room: usize) -> Seen {
        let mut seen = Seen::with_room_for(room);
        (0..n).for_each(|hash| seen.insert(hash, (hash % 8) as u16));
        seen
    }

    #[test]
    fn no_member_is_forgotten_however_full_it_is() {
        for n in [1, 1_000, 200_000] {
            let seen = filled(n, 1_000);
            assert!((0..n).all(|hash| seen.contains(hash, (hash % 8) as u16)));
        }
    }

    #[test]
    fn few_others_are_taken_for_members() {
        let seen = filled(100_000, 100_000);
        let wrong = (100_000..200_000).filter(|&hash| seen.contains(hash, (hash % 8) as u16));
        let wrong = wrong.count();
        // Three probes at 10.5 bits a member: 1.5 % expected, so 1500 of 100,000.
        assert!(wrong < 3_000, "{wrong} of 100,000");
    }

    #[test]
    fn groups_are_told_apart() {
        let seen = filled(1_000, 100_000);
        let wrong = (0..1_000).filter(|&hash| seen.contains(hash, 9)).count();
        assert!(wrong < 50, "{wrong} of 1000");
    }
}
