//! Which model to trust at one horizon: recent errors of every model, and the choice.
//!
//! A model has to earn its place: unless it lately beat last value it is not used, and a model in
//! use is left only for one that is clearly better. Errors are remembered twice, over about a
//! hundred scored forecasts and over about fifteen, so that a change of regime is noticed without
//! being taken for one too often. Errors come in here already matched with the values they were
//! made for; this file knows neither steps nor values.

use super::models::{ByModel, COMBINED, MODELS, NAIVE};

/// What is left of an error's weight after each later one, in the long and in the short memory.
const LONG: f32 = 0.99;
const SHORT: f32 = 0.93;
/// Weight of the short memory's errors beside the long one's.
const SHORT_SHARE: f32 = 0.35;
/// What is left of an error's weight after each later one at the gate.
const GATE_MEMORY: f32 = 0.998;
/// Scored forecasts before the gate may close.
const GATE_EVIDENCE: u32 = 40;
/// Scored forecasts before anything but last value is used.
const LEAST_EVIDENCE: u32 = 6;
/// No model's error counts as more times last value's.
const WORST_RATIO: f32 = 1e6;
/// A challenger's error must be below this share of the incumbent's.
const MARGIN: f32 = 0.97;
/// A model's error must be below this share of the combination's to be used alone.
const OUTSTANDING: f32 = 0.93;

/// Discounted absolute errors of all models at one horizon, at the very same steps.
#[derive(Debug, Clone)]
pub(super) struct Records {
    long: ByModel,
    short: ByModel,
    scored: u32,
}

impl Records {
    pub fn new() -> Self {
        Records { long: [0.0; MODELS.len()], short: [0.0; MODELS.len()], scored: 0 }
    }

    /// Adds the absolute errors that the models made of one value. One that had no answer (NaN)
    /// stands to last value as before; at first, as its equal.
    pub fn add(&mut self, errors: &ByModel) {
        self.scored = self.scored.saturating_add(1);
        let naive = self.error(NAIVE);
        for (model, &error) in errors.iter().enumerate() {
            let ratio = if naive > 0.0 { self.error(model) / naive } else { 1.0 }.min(WORST_RATIO);
            let error = if error.is_nan() { ratio * errors[NAIVE] } else { error };
            self.long[model] = LONG * self.long[model] + error;
            self.short[model] = SHORT * self.short[model] + error;
        }
    }

    /// Sets a model's record to `ratio` times last value's.
    pub fn assume(&mut self, model: usize, ratio: f32) {
        let ratio = ratio.min(WORST_RATIO);
        self.long[model] = ratio * self.long[NAIVE];
        self.short[model] = ratio * self.short[NAIVE];
    }

    /// Recent error of a model, comparable between models; 0 of nothing scored.
    pub fn error(&self, model: usize) -> f32 {
        self.long[model] + SHORT_SHARE * self.short[model]
    }

    /// Recent error of a model relative to last value's; `None` without enough evidence.
    pub fn ratio(&self, model: usize) -> Option<f32> {
        if self.scored < LEAST_EVIDENCE {
            return None;
        }
        let (error, naive) = (self.error(model), self.error(NAIVE));
        // Where last value was never wrong nothing can beat it, and what ties is no better.
        Some(if naive > 0.0 { error / naive } else { 1.0 })
    }

    /// The model to use, given the one in use; `None` without enough evidence.
    pub fn choose(&self, current: usize) -> Option<usize> {
        let ratio = |model| self.ratio(model).unwrap_or(f32::INFINITY);
        self.ratio(NAIVE)?;
        let incumbent = if ratio(current) <= 1.0 { current } else { NAIVE };
        let best = (0..MODELS.len()).min_by(|&a, &b| ratio(a).total_cmp(&ratio(b)))?;
        let choice = if ratio(best) < MARGIN * ratio(incumbent) { best } else { incumbent };
        // One model alone may have been lucky; all together are not.
        let hedge = choice != NAIVE
            && ratio(COMBINED) < 1.0
            && ratio(COMBINED) * OUTSTANDING < ratio(choice);
        Some(if hedge { COMBINED } else { choice })
    }
}

/// Whether choosing pays at all: the errors of what was chosen beside last value's, over a long
/// memory. Where it does not (bursts that nobody can foresee make every choice a lucky one), last
/// value is used until it would.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate {
    chosen: f32,
    naive: f32,
    scored: u32,
}

impl Gate {
    /// Takes the absolute errors of the model chosen and of last value.
    pub fn add(&mut self, chosen: f32, naive: f32) {
        self.chosen = GATE_MEMORY * self.chosen + chosen;
        self.naive = GATE_MEMORY * self.naive + naive;
        self.scored = self.scored.saturating_add(1);
    }

    /// Whether last value is to be used instead of what is chosen.
    pub fn is_closed(&self) -> bool {
        self.scored >= GATE_EVIDENCE && self.chosen > self.naive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_is_closed_while_choosing_does_not_pay() {
        let mut gate = Gate::default();
        assert!(!gate.is_closed());
        (0..100).for_each(|_| gate.add(1.1, 1.0));
        assert!(gate.is_closed());
        (0..200).for_each(|_| gate.add(0.9, 1.0));
        assert!(!gate.is_closed());
    }

    #[test]
    fn who_is_alone_must_stand_out() {
        let mut records = records([0.80, 0.9]);
        records.assume(COMBINED, 0.82);
        assert_eq!(records.choose(1), Some(COMBINED));
        records.assume(COMBINED, 0.90);
        assert_eq!(records.choose(1), Some(1));
    }

    /// Records in which last value has error 2 and models 1 and 2 these shares of it, the rest more.
    fn records(ratios: [f32; 2]) -> Records {
        let mut records = Records::new();
        let mut errors = [9.0; MODELS.len()];
        errors[..3].copy_from_slice(&[2.0, 2.0 * ratios[0], 2.0 * ratios[1]]);
        (0..50).for_each(|_| records.add(&errors));
        records
    }

    #[test]
    fn last_value_stays_until_beaten_by_the_margin() {
        assert_eq!(records([0.98, 1.2]).choose(0), Some(0));
        assert_eq!(records([0.96, 1.2]).choose(0), Some(1));
    }

    #[test]
    fn the_model_in_use_stays_until_clearly_beaten_or_useless() {
        assert_eq!(records([0.80, 0.79]).choose(1), Some(1));
        assert_eq!(records([0.80, 0.70]).choose(1), Some(2));
        assert_eq!(records([0.99, 1.5]).choose(1), Some(1));
        assert_eq!(records([1.01, 1.5]).choose(1), Some(0));
    }

    #[test]
    fn no_verdict_without_evidence() {
        let mut few = Records::new();
        (1..LEAST_EVIDENCE).for_each(|_| few.add(&[1.0; MODELS.len()]));
        assert_eq!((few.choose(3), few.ratio(3)), (None, None));
        few.add(&[1.0; MODELS.len()]);
        assert_eq!(few.choose(3), Some(3));
    }

    #[test]
    fn a_change_of_regime_is_noticed() {
        let mut records = records([0.5, 0.9]);
        let mut errors = [9.0; MODELS.len()];
        errors[..3].copy_from_slice(&[2.0, 6.0, 1.8]);
        let changed = (1..100).find(|_| {
            records.add(&errors);
            records.choose(1) != Some(1)
        });
        assert!(changed.is_some_and(|steps| steps < 12), "{changed:?}");
    }

    #[test]
    fn what_is_assumed_counts_like_what_was_scored() {
        let mut records = records([0.9, 1.2]);
        records.assume(5, 0.4);
        assert!((records.ratio(5).expect("scored") - 0.4).abs() < 1e-6);
        assert_eq!(records.choose(1), Some(5));
    }

    #[test]
    fn who_says_nothing_keeps_the_ratio() {
        let mut records = records([0.9, 0.3]);
        let mut errors = [7.0; MODELS.len()];
        errors[2] = f32::NAN;
        (0..30).for_each(|_| records.add(&errors));
        assert!((records.ratio(2).expect("scored") - 0.3).abs() < 1e-5);
        let mut fresh = Records::new();
        (0..30).for_each(|_| fresh.add(&errors));
        assert_eq!(fresh.ratio(2), Some(1.0));
    }

    #[test]
    fn a_constant_has_no_winner() {
        let mut still = Records::new();
        (0..50).for_each(|_| still.add(&[0.0; MODELS.len()]));
        assert_eq!(still.choose(0), Some(0));
        assert_eq!(still.ratio(1), Some(1.0));
    }
}
