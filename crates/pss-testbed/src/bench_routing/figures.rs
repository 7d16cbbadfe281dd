//! Readings in, medians and ratios out.
//!
//! A ratio compares two readings of the same repetition, and the median is taken of the ratios: a
//! machine that is slow for a minute is slow for both. Must never compare across repetitions.

use std::collections::BTreeMap;

use super::Bench;
use super::cases::Case;
use super::lookups::Touched;
use super::variants::NATIVE;
use super::waits::Seen;

/// One run of one case on one variant.
#[derive(Clone, Debug)]
pub struct Reading {
    pub case: Case,
    pub variant: &'static str,
    pub repetition: u32,
    pub rows: u64,
    /// By the clock.
    pub seconds: f64,
    /// Of the sessions that did it.
    pub processor_seconds: Option<f64>,
    /// Written to the log meanwhile; of bulk statements only.
    pub wal_bytes: Option<i64>,
}

/// Bytes of row map a key after one load, and after its index was built anew.
#[derive(Clone, Copy, Debug)]
pub struct MapSize {
    pub key_type: &'static str,
    pub bytes_per_key: f64,
    pub reindexed: f64,
}

/// Bytes of log a row right after a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct LogAfterCheckpoint {
    pub variant: &'static str,
    pub known: f64,
    pub new: f64,
}

/// A quantity of a reading, per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Microseconds by the clock.
    Time,
    /// Microseconds of the processor.
    Processor,
    /// Bytes of write-ahead log.
    Log,
}

impl Quantity {
    fn per_row(self, reading: &Reading) -> Option<f64> {
        let amount = match self {
            Quantity::Time => Some(reading.seconds * 1e6),
            Quantity::Processor => reading.processor_seconds.map(|s| s * 1e6),
            Quantity::Log => reading.wal_bytes.map(|bytes| bytes as f64),
        };
        amount.map(|amount| amount / reading.rows as f64)
    }
}

/// All that was measured.
#[derive(Default)]
pub struct Figures {
    pub cases: Vec<Case>,
    pub variants: Vec<&'static str>,
    pub readings: Vec<Reading>,
    /// By case and variant.
    pub waits: BTreeMap<(String, &'static str), Seen>,
    pub touched: Vec<Touched>,
    pub map_sizes: Vec<MapSize>,
    pub after_checkpoint: Vec<LogAfterCheckpoint>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

impl Figures {
    /// Takes over what is going to be measured.
    pub(super) fn describe(&mut self, bench: &Bench) {
        self.cases.clone_from(&bench.cases);
        self.variants = bench.variants.iter().map(|variant| variant.name).collect();
    }

    /// Adds what was seen of waits.
    pub fn saw(&mut self, case: Case, variant: &'static str, seen: Seen) {
        let all = self.waits.entry((case.name(), variant)).or_default();
        for (event, times) in seen {
            *all.entry(event).or_default() += times;
        }
    }

    /// Median of a quantity per row.
    pub fn per_row(&self, case: Case, variant: &str, quantity: Quantity) -> Option<f64> {
        median(self.of(case, variant).filter_map(|reading| quantity.per_row(reading)).collect())
    }

    /// Median over the repetitions of native hash's quantity per row over the variant's: above 1,
    /// the variant takes less. Of time, that is throughput relative to native hash.
    pub fn ratio(&self, case: Case, variant: &str, quantity: Quantity) -> Option<f64> {
        let pairs = self.of(case, variant).filter_map(|reading| {
            let same = |native: &&Reading| native.repetition == reading.repetition;
            let native = self.of(case, NATIVE).find(same)?;
            let (ours, theirs) = (quantity.per_row(reading)?, quantity.per_row(native)?);
            (ours > 0.0 && theirs > 0.0).then(|| theirs / ours)
        });
        median(pairs.collect())
    }

    /// Median over the repetitions of the bytes of log a row beyond native hash's.
    pub fn extra_log(&self, case: Case, variant: &str) -> Option<f64> {
        let log = |variant| self.per_row(case, variant, Quantity::Log);
        Some(log(variant)? - log(NATIVE)?)
    }

    /// Rows of a reading.
    pub fn rows(&self, case: Case, variant: &str) -> Option<u64> {
        self.of(case, variant).map(|reading| reading.rows).min()
    }

    fn of<'a>(&'a self, case: Case, variant: &'a str) -> impl Iterator<Item = &'a Reading> {
        self.readings.iter().filter(move |r| r.case == case && r.variant == variant)
    }
}

/// The middle one, or the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(variant: &'static str, repetition: u32, rows: u64, seconds: f64) -> Reading {
        Reading {
            case: Case::KeyedSelect,
            variant,
            repetition,
            rows,
            seconds,
            processor_seconds: None,
            wal_bytes: Some(100 * rows as i64),
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![5.0, 1.0, 9.0]), Some(5.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn ratios_compare_rows_of_the_same_repetition() {
        // Twice as fast each time, while the machine becomes ten times slower.
        let readings = vec![
            reading(NATIVE, 0, 1000, 1.0),
            reading("planner", 0, 100, 0.05),
            reading("planner", 1, 100, 0.5),
            reading(NATIVE, 1, 1000, 10.0),
            reading("planner", 2, 100, 0.5),
        ];
        let figures = Figures { readings, ..Figures::default() };
        let ratio = |quantity| figures.ratio(Case::KeyedSelect, "planner", quantity);
        assert!((ratio(Quantity::Time).expect("pairs") - 2.0).abs() < 1e-12);
        assert_eq!(ratio(Quantity::Processor), None);
        assert_eq!(figures.extra_log(Case::KeyedSelect, "planner"), Some(0.0));
        assert_eq!(figures.per_row(Case::KeyedSelect, "planner", Quantity::Time), Some(5000.0));
    }
}
