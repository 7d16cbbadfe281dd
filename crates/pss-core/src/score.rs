//! Shadow scores: what other ways of placing the same new keys would have achieved.
//!
//! Each policy places every cycle's new keys by its own shares, in fractions, on partitions of
//! its own; the loads that really came (foreign load, and own load by age of key) then fall on
//! them. All policies are scored by the same model of a key, the one in use included, so that
//! none is favoured by it. A shadow never touches a real placement.

use crate::age::{AgeCounts, Profile};
use std::collections::VecDeque;

/// Weight that a cycle's score keeps to the next: the last 50 cycles count.
const RECENT: f64 = 0.98;

/// max / mean of utilization (lambda) over the partitions that are in service and whose load is
/// known, less 1. 0 without load.
pub fn imbalance(load: &[f64], capacity: &[f64]) -> f64 {
    let (mut highest, mut sum, mut room) = (0f64, 0.0, 0.0);
    let known = load.iter().zip(capacity).filter(|(load, c)| load.is_finite() && **c > 0.0);
    for (&load, &capacity) in known {
        highest = highest.max(load / capacity);
        sum += load;
        room += capacity;
    }
    if sum > 0.0 { highest * room / sum - 1.0 } else { 0.0 }
}

/// [`imbalance`] that placing new keys does not get below: that of the loads expected, and that of
/// the one key which brings `indivisible` load (cost units/s), were it alone on the largest
/// partition in service and all else level: N times its part of the load, on N equal ones, less 1.
pub fn floor(load: &[f64], capacity: &[f64], indivisible: f64) -> f64 {
    let known = load.iter().zip(capacity).filter(|(load, c)| load.is_finite() && **c > 0.0);
    let (sum, room, largest) = known.fold((0.0, 0.0, 0f64), |(sum, room, largest), (l, c)| {
        (sum + l, room + c, largest.max(*c))
    });
    let hottest =
        if sum > 0.0 { indivisible.max(0.0).min(sum) / largest * room / sum - 1.0 } else { 0.0 };
    imbalance(load, capacity).max(hottest)
}

/// How the load of own keys and the foreign load of the same cycle came out together.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Own load of cycles whose foreign load has not been measured yet, oldest first.
    unscored: VecDeque<Vec<f64>>,
    recent: f64,
    weight: f64,
    last: f64,
    sum: f64,
    cycles: u64,
}

impl Tally {
    /// Takes in the own load (cost units/s) of a cycle, by partition.
    pub fn push(&mut self, own: Vec<f64>) {
        self.unscored.push_back(own);
    }

    /// Scores the cycle `staleness` before the last, whose foreign load (cost units/s) has now
    /// been measured.
    pub fn score(&mut self, foreign: &[f64], capacity: &[f64], staleness: usize) {
        while self.unscored.len() > staleness + 1 {
            self.unscored.pop_front();
        }
        if self.unscored.len() <= staleness {
            return;
        }
        let Some(mut load) = self.unscored.pop_front() else { return };
        load.iter_mut().zip(foreign).for_each(|(own, foreign)| *own += foreign);
        let score = imbalance(&load, capacity);
        self.recent = RECENT * self.recent + score;
        self.weight = RECENT * self.weight + 1.0;
        self.last = score;
        self.sum += score;
        self.cycles += 1;
    }

    /// Forgets its scores, but not the cycles that wait for one.
    fn restart(&mut self) {
        let unscored = std::mem::take(&mut self.unscored);
        *self = Tally { unscored, ..Tally::default() };
    }

    /// Recent mean of lambda - 1; the last 50 cycles count. `None` before the first.
    pub fn recent(&self) -> Option<f64> {
        (self.cycles > 0).then(|| self.recent / self.weight)
    }

    /// lambda - 1 of the cycle scored last. `None` before the first.
    pub fn last(&self) -> Option<f64> {
        (self.cycles > 0).then_some(self.last)
    }

    /// Mean of lambda - 1 over all cycles. `None` before the first.
    pub fn mean(&self) -> Option<f64> {
        (self.cycles > 0).then(|| self.sum / self.cycles as f64)
    }
}

/// One policy's imaginary placements, and how well they did.
#[derive(Debug, Clone)]
pub struct Shadow {
    counts: Vec<AgeCounts>,
    keys: Vec<f64>,
    tally: Tally,
}

impl Shadow {
    /// A policy that has placed nothing yet, on `partitions` partitions.
    pub fn new(partitions: usize) -> Shadow {
        Shadow {
            counts: vec![AgeCounts::default(); partitions],
            keys: vec![0.0; partitions],
            tally: Tally::default(),
        }
    }

    /// One cycle: `arrivals` new keys are placed by `shares`; the own load that came
    /// (`own_total`, cost units/s) falls on this policy's keys as `profile` says.
    pub fn place(&mut self, arrivals: f64, shares: &[f64], profile: &Profile, own_total: f64) {
        for (i, counts) in self.counts.iter_mut().enumerate() {
            let placed = arrivals * shares.get(i).copied().unwrap_or(0.0);
            counts.step(placed);
            self.keys[i] += placed;
        }
        let mut own: Vec<f64> = self.own(profile).collect();
        let modelled: f64 = own.iter().sum();
        let scale = if modelled > 0.0 { own_total / modelled } else { 0.0 };
        own.iter_mut().for_each(|load| *load *= scale);
        self.tally.push(own);
    }

    /// See [`Tally::score`].
    pub fn score(&mut self, foreign: &[f64], capacity: &[f64], staleness: usize) {
        self.tally.score(foreign, capacity, staleness);
    }

    /// Forgets how it has done, not where its keys are.
    pub fn restart(&mut self) {
        self.tally.restart();
    }

    /// How it has done.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Load of this policy's keys under `profile` (cost units/s), by partition.
    pub fn own(&self, profile: &Profile) -> impl Iterator<Item = f64> {
        self.counts.iter().map(|counts| profile.load(counts))
    }

    /// Keys placed so far, by partition (fractions): what "fewest rows" looks at.
    pub fn keys(&self) -> &[f64] {
        &self.keys
    }
}

/// The candidate that has done best lately, if it beats `fallback` by `margin` (relative); ties
/// go to the first. `None`: stay with the fallback.
pub fn best<'a>(
    candidates: impl Iterator<Item = &'a Shadow>,
    fallback: &Shadow,
    margin: f64,
) -> Option<usize> {
    let bar = fallback.tally.recent()? * (1.0 - margin);
    candidates
        .enumerate()
        .filter_map(|(i, shadow)| Some((i, shadow.tally().recent()?)))
        .filter(|(_, score)| *score < bar)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat() -> Profile {
        let mut profile = Profile::default();
        profile.0[0] = 2.0;
        profile.0[1] = 2.0;
        profile
    }

    #[test]
    fn imbalance_counts_capacity_and_service() {
        assert_eq!(imbalance(&[3.0, 1.0], &[1.0, 1.0]), 0.5);
        assert_eq!(imbalance(&[3.0, 1.0], &[3.0, 1.0]), 0.0);
        assert_eq!(imbalance(&[3.0, 9.0], &[1.0, 0.0]), 0.0);
        assert_eq!(imbalance(&[3.0, f64::NAN, 1.0], &[1.0; 3]), 0.5);
        assert_eq!(imbalance(&[0.0, 0.0], &[1.0, 1.0]), 0.0);
    }

    #[test]
    fn the_floor_is_what_the_hottest_key_leaves() {
        let level = [2.0; 4];
        assert_eq!(floor(&level, &[1.0; 4], 0.0), 0.0);
        // Half of the load is one key's: on one of four partitions it is twice the mean.
        assert_eq!(floor(&level, &[1.0; 4], 4.0), 1.0);
        // It may be on the largest one, but not on one that is out of service.
        assert_eq!(
            floor(&level, &[3.0, 1.0, 1.0, 1.0], 4.0),
            0.0f64.max(imbalance(&level, &[3.0, 1.0, 1.0, 1.0]))
        );
        assert_eq!(floor(&level, &[1.0, 1.0, 1.0, 0.0], 4.0), 1.0);
        assert_eq!(floor(&[3.0, 1.0], &[1.0; 2], 1.0), 0.5);
        assert_eq!(floor(&[0.0; 2], &[1.0; 2], 1.0), 0.0);
    }

    #[test]
    fn a_policy_that_avoids_foreign_load_scores_better() {
        let (mut equal, mut avoiding) = (Shadow::new(2), Shadow::new(2));
        for _ in 0..20 {
            let foreign = [20.0, 0.0];
            equal.place(10.0, &[0.5, 0.5], &flat(), 40.0);
            equal.score(&foreign, &[1.0; 2], 0);
            avoiding.place(10.0, &[0.25, 0.75], &flat(), 40.0);
            avoiding.score(&foreign, &[1.0; 2], 0);
        }
        // 20 + 20 against 20, then 30 against 30.
        assert!((equal.tally().mean().expect("scored") - 1.0 / 3.0).abs() < 1e-9);
        assert!(avoiding.tally().mean().expect("scored") < 0.1);
        assert_eq!(avoiding.tally().last(), Some(0.0));
        assert_eq!(best([&avoiding].into_iter(), &equal, 0.02), Some(0));
        assert_eq!(best([&equal].into_iter(), &avoiding, 0.02), None);
        assert_eq!(best([&equal.clone()].into_iter(), &equal, 0.02), None);
    }

    #[test]
    fn a_placement_is_scored_on_the_foreign_load_of_its_own_cycle() {
        let mut shadow = Shadow::new(2);
        shadow.place(10.0, &[1.0, 0.0], &flat(), 20.0);
        shadow.score(&[9.0, 9.0], &[1.0; 2], 1);
        assert_eq!(shadow.tally().mean(), None, "that foreign load came before the first cycle");
        shadow.place(10.0, &[0.0, 1.0], &flat(), 40.0);
        shadow.score(&[0.0, 20.0], &[1.0; 2], 1);
        assert_eq!(shadow.tally().mean(), Some(0.0));
    }

    #[test]
    fn scores_before_the_first_cycle_are_unknown() {
        let shadow = Shadow::new(3);
        assert_eq!(
            (shadow.tally().recent(), shadow.tally().last(), shadow.tally().mean()),
            (None, None, None)
        );
        assert_eq!(best([&shadow].into_iter(), &shadow, 0.0), None);
    }
}
