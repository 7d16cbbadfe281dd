//! What a statement remembers of the keys it has routed. Never shared, never
//! kept beyond the statement.

use pss_core::key_hash::scramble48;

/// Keys this statement has placed or found, direct-mapped words of hash and
/// partition. What it relies on was settled or written by the statement itself,
/// and lives and dies with it: no invalidation is needed.
#[derive(Default)]
pub struct Memo {
    words: Vec<u64>,
    keys: u64,
}

/// Words of the memo (64 kB); it is made with the second key.
const WORDS: usize = 8192;

impl Memo {
    fn at(hash48: u64) -> usize {
        scramble48(hash48) as usize % WORDS
    }

    pub fn get(&self, hash48: u64) -> Option<u16> {
        if self.words.is_empty() {
            return None;
        }
        let word = *self.words.get(Self::at(hash48))?;
        (word != 0 && word >> 16 == hash48).then_some(word as u16)
    }

    pub fn put(&mut self, hash48: u64, partition: u16) {
        self.keys += 1;
        if self.keys == 2 {
            self.words.resize(WORDS, 0);
        }
        if let Some(word) = self.words.get_mut(Self::at(hash48)) {
            *word = hash48 << 16 | u64::from(partition);
        }
    }
}
