//! What a statement remembers of the keys it has routed. Never shared, never
//! kept beyond the statement.

/// Keys this statement has placed or found, direct-mapped words of hash and
/// partition. What it relies on was settled or written by the statement itself,
/// and lives and dies with it: no invalidation is needed.
#[derive(Default)]
pub struct Memo(Vec<u64>);

/// Words of the memo (64 kB); it is made with the second row.
const MEMO_WORDS: usize = 8192;

impl Memo {
    pub fn get(&self, hash48: u64) -> Option<u16> {
        let word = *self.0.get(hash48 as usize % MEMO_WORDS)?;
        (word != 0 && word >> 16 == hash48).then_some(word as u16)
    }

    pub fn put(&mut self, hash48: u64, partition: u16, first: bool) {
        if self.0.is_empty() {
            if first {
                return;
            }
            self.0.resize(MEMO_WORDS, 0);
        }
        self.0[hash48 as usize % MEMO_WORDS] = hash48 << 16 | u64::from(partition);
    }
}
