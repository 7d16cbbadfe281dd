//! Which model to trust: recent errors of every model, relative to last value, and the choice.
//!
//! A model has to earn its place: unless it lately beat last value by a margin it is not used,
//! and a model in use is left only for one that is clearly better. Errors come in here already
//! matched with the values they were made for; this file knows neither steps nor values.

/// Errors are remembered over about so many steps, and at a far horizon over about so many
/// horizons: errors less than a horizon apart overlap and tell the same story.
const MEMORY_STEPS: f32 = 67.0;
const MEMORY_HORIZONS: f32 = 8.0;
/// Scored steps (discounted) before a ratio means anything.
const LEAST_EVIDENCE: f32 = 6.0;
/// A challenger's error must be below this share of the incumbent's; of last value's, if that is
/// in use.
const MARGIN: f32 = 0.97;

/// Discounted absolute errors of one model at one horizon.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// Sum of the model's errors.
    model: f32,
    /// Sum of last value's errors at the very same steps.
    naive: f32,
    /// Number of steps in the sums.
    steps: f32,
}

/// Records of `MODELS` models at every scored horizon. Model 0 is last value.
#[derive(Debug, Clone)]
pub(super) struct Records<const MODELS: usize> {
    records: Vec<[Record; MODELS]>,
    /// Share of an error's weight that is left one scored step later, by horizon.
    discounts: Vec<f32>,
}

impl<const MODELS: usize> Records<MODELS> {
    /// Empty records for `horizons`, in steps; they are addressed by index from here on.
    pub fn new(horizons: &[usize]) -> Self {
        let memory = |h: usize| (MEMORY_HORIZONS * h as f32).max(MEMORY_STEPS);
        Records {
            records: vec![[Record::default(); MODELS]; horizons.len()],
            discounts: horizons.iter().map(|&h| 1.0 - 1.0 / memory(h)).collect(),
        }
    }

    /// Adds a pair of absolute errors made at the same step.
    pub fn add(&mut self, horizon: usize, model: usize, error: f32, naive: f32) {
        let record = &mut self.records[horizon][model];
        let discount = self.discounts[horizon];
        record.model = discount * record.model + error;
        record.naive = discount * record.naive + naive;
        record.steps = discount * record.steps + 1.0;
    }

    /// Forgets what is known of one model.
    pub fn forget(&mut self, model: usize) {
        for records in &mut self.records {
            records[model] = Record::default();
        }
    }

    /// Recent error of a model relative to last value's; `None` without enough evidence.
    pub fn ratio(&self, horizon: usize, model: usize) -> Option<f32> {
        let record = &self.records[horizon][model];
        if record.steps < LEAST_EVIDENCE {
            return None;
        }
        let ratio = record.model / record.naive;
        // Last value was never wrong: nothing can beat it, and what ties is no better.
        Some(if record.naive > 0.0 { ratio } else { 1.0 })
    }

    /// The model to use at a horizon, given the one in use; `None` without enough evidence.
    pub fn choose(&self, horizon: usize, current: usize) -> Option<usize> {
        self.ratio(horizon, 0)?;
        let ratio = |model| self.ratio(horizon, model).unwrap_or(f32::INFINITY);
        let incumbent = if ratio(current) <= 1.0 { current } else { 0 };
        let best = (0..MODELS).min_by(|&a, &b| ratio(a).total_cmp(&ratio(b)))?;
        Some(if ratio(best) < MARGIN * ratio(incumbent) { best } else { incumbent })
    }
}

impl<const MODELS: usize> Records<MODELS> {
    /// Bytes owned.
    pub fn bytes(&self) -> usize {
        size_of::<[Record; MODELS]>() * self.records.capacity()
            + size_of::<f32>() * self.discounts.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(ratios: [f32; 3]) -> Records<3> {
        let mut records = Records::new(&[1]);
        for _ in 0..50 {
            for (model, ratio) in ratios.into_iter().enumerate() {
                records.add(0, model, 2.0 * ratio, 2.0);
            }
        }
        records
    }

    #[test]
    fn last_value_stays_until_beaten_by_the_margin() {
        assert_eq!(records([1.0, 0.98, 1.2]).choose(0, 0), Some(0));
        assert_eq!(records([1.0, 0.96, 1.2]).choose(0, 0), Some(1));
    }

    #[test]
    fn the_model_in_use_stays_until_clearly_beaten_or_useless() {
        assert_eq!(records([1.0, 0.80, 0.79]).choose(0, 1), Some(1));
        assert_eq!(records([1.0, 0.80, 0.70]).choose(0, 1), Some(2));
        assert_eq!(records([1.0, 0.99, 1.5]).choose(0, 1), Some(1));
        assert_eq!(records([1.0, 1.01, 1.5]).choose(0, 1), Some(0));
    }

    #[test]
    fn no_verdict_without_evidence() {
        let mut few = Records::<3>::new(&[1]);
        (0..5).for_each(|_| few.add(0, 0, 1.0, 1.0));
        assert_eq!(few.choose(0, 0), None);
        let mut fresh = records([1.0, 0.9, 0.1]);
        fresh.forget(2);
        fresh.add(0, 2, 0.0, 2.0);
        assert_eq!(fresh.choose(0, 0), Some(1));
    }

    #[test]
    fn a_constant_has_no_winner() {
        let mut still = Records::<3>::new(&[1]);
        (0..50).for_each(|_| (0..3).for_each(|model| still.add(0, model, 0.0, 0.0)));
        assert_eq!(still.choose(0, 0), Some(0));
        assert_eq!(still.ratio(0, 1), Some(1.0));
    }
}
