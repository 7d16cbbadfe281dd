//! What past moves tell of the next ones: rows and bytes a second, and the load a moved row costs.

/// Weight that a batch keeps when a newer one comes: the last twenty count.
const FADE: f64 = 0.95;
/// Batches from which a pair of partitions is known by itself.
const ENOUGH: usize = 3;
/// Rows a second, before any were moved.
const ROWS_PER_S: f64 = 5_000.0;

/// A batch that was moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Past {
    /// Number of the source.
    pub from: u16,
    /// Number of the destination.
    pub to: u16,
    /// Rows moved.
    pub rows: f64,
    /// Their bytes.
    pub bytes: f64,
    /// Time it took, in seconds.
    pub seconds: f64,
    /// Cost units it caused on both; `None`: not measured.
    pub cost: Option<f64>,
}

/// Sums over batches, faded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sums {
    batches: usize,
    rows: f64,
    bytes: f64,
    seconds: f64,
    costed_rows: f64,
    cost: f64,
}

impl Sums {
    /// Adds an older batch.
    fn add(&mut self, past: &Past) {
        let weight = FADE.powi(self.batches.min(10_000) as i32);
        self.batches += 1;
        self.rows += weight * past.rows;
        self.bytes += weight * past.bytes;
        self.seconds += weight * past.seconds;
        if let Some(cost) = past.cost {
            self.costed_rows += weight * past.rows;
            self.cost += weight * cost;
        }
    }
}

/// How fast rows have been moved, between which partitions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Speed {
    all: Sums,
    pairs: Vec<((u16, u16), Sums)>,
}

impl Speed {
    /// Learns from past batches, newest first. Batches without rows tell nothing.
    pub fn learn(past: &[Past]) -> Speed {
        let mut speed = Speed::default();
        let told = |p: &&Past| p.rows > 0.0 && p.seconds > 0.0 && p.seconds.is_finite();
        for past in past.iter().filter(told) {
            speed.all.add(past);
            let pair = (past.from, past.to);
            let at = match speed.pairs.iter().position(|(known, _)| *known == pair) {
                Some(at) => at,
                None => {
                    speed.pairs.push((pair, Sums::default()));
                    speed.pairs.len() - 1
                }
            };
            speed.pairs[at].1.add(past);
        }
        speed
    }

    fn of(&self, from: u16, to: u16) -> &Sums {
        let known = self.pairs.iter().find(|(pair, sums)| {
            *pair == (from, to) && sums.batches >= ENOUGH && sums.seconds > 0.0
        });
        known.map_or(&self.all, |(_, sums)| sums)
    }

    /// Rows a second between two partitions: theirs, else those of all, else a guess.
    pub fn rows_per_s(&self, from: u16, to: u16) -> f64 {
        let sums = self.of(from, to);
        if sums.seconds > 0.0 { sums.rows / sums.seconds } else { ROWS_PER_S }
    }

    /// Bytes a second between two partitions; `None`: nothing was moved yet.
    pub fn bytes_per_s(&self, from: u16, to: u16) -> Option<f64> {
        let sums = self.of(from, to);
        (sums.seconds > 0.0).then(|| sums.bytes / sums.seconds)
    }

    /// Cost units of a moved row, as measured; `None`: not yet.
    pub fn cost_per_row(&self, from: u16, to: u16) -> Option<f64> {
        let sums = self.of(from, to);
        (sums.batches >= ENOUGH && sums.costed_rows > 0.0).then(|| sums.cost / sums.costed_rows)
    }
}
