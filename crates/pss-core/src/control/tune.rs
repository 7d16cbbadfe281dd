//! The coefficients that turn expectations into shares, and what each would have been worth.
//!
//! Beside the coefficients in use their neighbours run in the shadow: one more or less of damping,
//! of dead band, of caution. Where a neighbour would have left less imbalance lately, it is taken
//! over. Changes of shares have a small price, so that of two settings that do as well the calmer
//! one wins. It must never move more than one coefficient at a time, nor without evidence.

use super::adjust::{Adjustment, Cause, Coefficient};
use crate::age::Profile;
use crate::score::Shadow;
use crate::weights::{self, Damping};

/// Gains tried, in parts of the configured one; none is above 1.
const GAINS: [f64; 4] = [0.25, 0.5, 1.0, 2.0];

/// Dead bands tried, in parts of the configured one.
const BANDS: [f64; 5] = [0.125, 0.5, 1.0, 2.0, 4.0];

/// Parts of a forecast's interval that a partition is taken to be fuller by.
const CAUTIONS: [f64; 4] = [0.0, 0.1, 0.25, 0.5];

/// The sizes of the ladders, by coefficient.
const RUNGS: [usize; 3] = [GAINS.len(), BANDS.len(), CAUTIONS.len()];

/// The coefficients, in the order of the ladders.
const COEFFICIENTS: [Coefficient; 3] =
    [Coefficient::Gain, Coefficient::DeadBand, Coefficient::Caution];

/// Cycles that settings run beside each other before one is preferred.
const EVIDENCE: usize = 40;

/// Imbalance that moving all of the keys once a cycle is worth.
const PRICE_OF_CHANGE: f64 = 0.05;

/// Weight that a cycle's change of shares keeps to the next: as long as scores are remembered.
const RECENT: f64 = 0.98;

/// By how much another setting must be better: relative, and in lambda - 1.
const MARGIN: (f64, f64) = (0.01, 0.0005);

/// A rung of each ladder.
type Rungs = [usize; 3];

/// How shares follow expectations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tuning {
    /// Part of the way to the target that one step goes.
    pub gain: f64,
    /// Changes below this, relative to an equal share, are left.
    pub dead_band: f64,
    /// Part of the upper half of its forecast's interval by which a partition counts as fuller.
    pub caution: f64,
}

impl Tuning {
    fn of(rungs: Rungs, configured: &Damping) -> Tuning {
        Tuning {
            gain: (GAINS[rungs[0]] * configured.gain).clamp(0.0, 1.0),
            dead_band: BANDS[rungs[1]] * configured.dead_band,
            caution: CAUTIONS[rungs[2]],
        }
    }

    fn value(&self, coefficient: usize) -> f64 {
        [self.gain, self.dead_band, self.caution][coefficient]
    }

    /// The load to level with: `expected` is value, lower and upper end of the interval.
    pub(super) fn cautious(&self, expected: &[f64; 3]) -> f64 {
        let [value, _, hi] = expected;
        value + self.caution * (hi - value).max(0.0)
    }
}

/// One setting in the shadow.
#[derive(Debug, Clone)]
struct Variant {
    rungs: Rungs,
    shadow: Shadow,
    shares: Vec<f64>,
    /// Recent mean of the part of the keys that change their partition from cycle to cycle.
    change: f64,
}

impl Variant {
    /// What it has cost lately: imbalance, and the price of its changes.
    fn cost(&self) -> Option<f64> {
        Some(self.shadow.tally().recent()? + PRICE_OF_CHANGE * self.change)
    }
}

/// The coefficients in use, and their neighbours.
#[derive(Debug, Clone)]
pub(super) struct Tuner {
    /// The one in use comes first.
    variants: Vec<Variant>,
    /// Cycles that the variants have run beside each other.
    cycles: usize,
}

impl Tuner {
    pub(super) fn new(partitions: usize) -> Tuner {
        let used = Variant {
            rungs: [2, 2, 0],
            shadow: Shadow::new(partitions),
            shares: vec![1.0; partitions],
            change: 0.0,
        };
        Tuner::around(used)
    }

    /// The neighbours of a setting start where it stands.
    fn around(mut used: Variant) -> Tuner {
        used.shadow.restart();
        let mut variants = vec![used];
        for (coefficient, &rungs) in RUNGS.iter().enumerate() {
            for up in [false, true] {
                let mut variant = variants[0].clone();
                let rung = &mut variant.rungs[coefficient];
                let other = if up { Some(*rung + 1) } else { rung.checked_sub(1) };
                let Some(other) = other.filter(|r| *r < rungs) else { continue };
                *rung = other;
                variants.push(variant);
            }
        }
        Tuner { variants, cycles: 0 }
    }

    /// The coefficients in use.
    pub(super) fn tuning(&self, configured: &Damping) -> Tuning {
        Tuning::of(self.variants[0].rungs, configured)
    }

    /// Lets every variant place the cycle's keys, and scores the cycle `staleness` before.
    pub(super) fn score(
        &mut self,
        (arrivals, own): (f64, f64),
        profile: &Profile,
        foreign: &[f64],
        capacity: &[f64],
        staleness: usize,
    ) {
        self.cycles += 1;
        for Variant { shadow, shares, .. } in &mut self.variants {
            shadow.place(arrivals, shares, profile, own);
            shadow.score(foreign, capacity, staleness);
        }
    }

    /// Sets what the variants will do in the cycle to come. `expected`: foreign load over the
    /// control window; `later`: load of keys by age in it; `volume`: that of keys to come.
    pub(super) fn plan(
        &mut self,
        expected: &[[f64; 3]],
        later: &Profile,
        volume: f64,
        capacity: &[f64],
        configured: &Damping,
    ) {
        for Variant { rungs, shadow, shares, change } in &mut self.variants {
            let tuning = Tuning::of(*rungs, configured);
            let foreign = expected.iter().map(|expected| tuning.cautious(expected));
            let base: Vec<f64> = foreign.zip(shadow.own(later)).map(|(f, own)| f + own).collect();
            let target = weights::water_fill(&base, capacity, volume);
            let next = weights::damp(shares, &target, tuning.gain);
            let moved: f64 = next.iter().zip(&*shares).map(|(a, b)| (a - b).abs() / 2.0).sum();
            let changes = weights::leaves_dead_band(shares, &next, tuning.dead_band);
            let moved = if changes { moved } else { 0.0 };
            *change = RECENT * *change + (1.0 - RECENT) * moved;
            if changes {
                *shares = next;
            }
        }
    }

    /// Takes over a neighbour that would have done better lately.
    pub(super) fn adjust(&mut self, configured: &Damping) -> Option<Adjustment> {
        if self.cycles < EVIDENCE {
            return None;
        }
        let used = &self.variants[0];
        let before = used.cost()?;
        let bar = before - (MARGIN.0 * before).max(MARGIN.1);
        let cost = |variant: &Variant| variant.cost().filter(|cost| *cost < bar);
        let scored = (1..self.variants.len()).filter_map(|i| Some((cost(&self.variants[i])?, i)));
        let (after, best) = scored.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let variant = self.variants[best].clone();
        let coefficient = (0..RUNGS.len()).find(|&c| variant.rungs[c] != used.rungs[c])?;
        let [from, to] = [used, &variant]
            .map(|variant| Tuning::of(variant.rungs, configured).value(coefficient));
        *self = Tuner::around(variant);
        let cause = Cause::Cheaper { before, after };
        // Two rungs can be the same value: no gain is above 1.
        let adjustment = Adjustment { coefficient: COEFFICIENTS[coefficient], from, to, cause };
        (from != to).then_some(adjustment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: f64 = 40.0;

    /// Keys that bring a unit of load in their own cycle and are gone.
    fn at_once() -> Profile {
        let mut profile = Profile::default();
        profile.0[0] = 1.0;
        profile
    }

    /// Runs a tuner on forecasts; what comes is told by the second function.
    fn adjusted(
        cycles: usize,
        expected: impl Fn(usize) -> [f64; 2],
        came: impl Fn(usize) -> [f64; 2],
    ) -> (Tuning, Vec<Adjustment>) {
        let configured = Damping::default();
        let mut tuner = Tuner::new(2);
        let mut adjustments = Vec::new();
        for cycle in 0..cycles {
            let foreign = expected(cycle).map(|load| [load, load - 8.0, load + 8.0]);
            tuner.plan(&foreign, &Profile::default(), KEYS, &[1.0; 2], &configured);
            tuner.score((KEYS, KEYS), &at_once(), &came(cycle), &[1.0; 2], 0);
            adjustments.extend(tuner.adjust(&configured));
        }
        (tuner.tuning(&configured), adjustments)
    }

    fn job(cycle: usize) -> [f64; 2] {
        if cycle % 8 < 4 { [30.0, 10.0] } else { [10.0, 30.0] }
    }

    /// Differences that nobody can foresee, the same at every call.
    fn noise(cycle: usize) -> f64 {
        let x = (cycle as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f64 / f64::from(1u32 << 24)
            - 0.5
    }

    #[test]
    fn a_right_forecast_is_followed_all_the_way() {
        let (tuning, adjustments) = adjusted(200, job, job);
        assert_eq!(tuning.gain, 1.0);
        let gain = adjustments.iter().find(|a| a.what() == "gain").expect("adjusted");
        assert_eq!((gain.from, gain.to), (0.8, 1.0));
        assert!(gain.reason().contains("lately"), "{}", gain.reason());
    }

    #[test]
    fn what_only_trembles_is_not_followed() {
        let trembling = |cycle| [20.0 + 8.0 * noise(cycle), 20.0 - 8.0 * noise(cycle)];
        let (tuning, adjustments) = adjusted(600, trembling, |_| [20.0, 20.0]);
        assert!(tuning.gain < 0.8 || tuning.dead_band > 0.03, "{tuning:?}");
        assert!(!adjustments.is_empty());
    }

    #[test]
    fn without_a_difference_nothing_is_touched() {
        let (tuning, adjustments) = adjusted(300, |_| [20.0; 2], |_| [20.0; 2]);
        assert_eq!(tuning, Tuning { gain: 0.8, dead_band: 0.03, caution: 0.0 });
        assert_eq!(adjustments, []);
    }
}
