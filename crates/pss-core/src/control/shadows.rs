//! The policies that run in the shadow of the real one, and which of them to trust.

use super::adjust::Cause;
use super::hindsight::Hindsight;
use crate::age::Profile;
use crate::cohort::Cohorts;
use crate::score::{self, Shadow, Tally};
use crate::weights;

/// Control windows tried, in key lives (mean age of load); the first is one cycle.
pub(super) const WINDOWS: [f64; 5] = [0.0, 0.5, 1.0, 2.0, 4.0];

/// Position of the window of one key life.
pub(super) const ONE_LIFE: usize = 2;

/// Longest control window, in cycles.
const LONGEST: usize = 64;

/// lambda - 1 by policy: means over recent cycles, or what one cycle came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Shares by capacity.
    pub capacity: f64,
    /// To the partition with the fewest keys so far, relative to capacity.
    pub fewest: f64,
    /// Water-filling with forecasts off.
    pub reactive: f64,
    /// Water-filling on forecasts, in its best window.
    pub forecast: f64,
    /// The best placement in hindsight of the same keys, by foreign load that has come since: a
    /// control window behind the others. Not a number before it is known.
    pub oracle: f64,
    /// What was really achieved: by the measured load of all partitions.
    pub achieved: f64,
}

impl Scores {
    /// Least difference between capacity shares and the best placement of which parts can be told.
    const WORTH_IT: f64 = 0.02;

    /// Part of the way from capacity shares to the best placement in hindsight that was really
    /// achieved; `None` where there is next to nothing to gain (less than 0.02), or not known.
    pub fn captured_gain(&self) -> Option<f64> {
        let possible = self.capacity - self.oracle;
        (possible >= Self::WORTH_IT).then(|| (self.capacity - self.achieved) / possible)
    }
}

/// The control windows in cycles, by the life that keys have shown.
pub(super) fn window_lengths(profile: &Profile) -> [usize; WINDOWS.len()] {
    WINDOWS.map(|lives| ((lives * profile.life()).round() as usize).clamp(1, LONGEST))
}

/// A shadow and the shares by which it places the keys of the cycle now running.
#[derive(Debug, Clone)]
struct Policy {
    shadow: Shadow,
    shares: Vec<f64>,
}

impl Policy {
    fn new(partitions: usize) -> Policy {
        Policy { shadow: Shadow::new(partitions), shares: vec![1.0; partitions] }
    }

    /// Water-fills on `foreign` load and this policy's own keys under `ages`.
    fn fill(
        &mut self,
        foreign: impl Iterator<Item = f64>,
        ages: &Profile,
        capacity: &[f64],
        volume: f64,
    ) {
        let base: Vec<f64> = foreign.zip(self.shadow.own(ages)).map(|(f, own)| f + own).collect();
        self.shares = weights::water_fill(&base, capacity, volume);
    }
}

/// All policies of one table.
#[derive(Debug, Clone)]
pub(super) struct Shadows {
    capacity: Policy,
    fewest: Policy,
    reactive: Policy,
    windows: [Policy; WINDOWS.len()],
    hindsight: Hindsight,
    achieved: Tally,
}

impl Shadows {
    pub(super) fn new(partitions: usize) -> Shadows {
        let policy = || Policy::new(partitions);
        Shadows {
            capacity: policy(),
            fewest: policy(),
            reactive: policy(),
            windows: std::array::from_fn(|_| policy()),
            hindsight: Hindsight::new(partitions),
            achieved: Tally::default(),
        }
    }

    /// Lets every policy place the cycle's keys, and scores the cycle `staleness` before it by
    /// its foreign load.
    pub(super) fn score(
        &mut self,
        arrivals: f64,
        own: &[f64],
        profile: &Profile,
        foreign: &[f64],
        capacity: &[f64],
        staleness: usize,
    ) {
        self.achieved.push(own.to_vec());
        self.achieved.score(foreign, capacity, staleness);
        let own = own.iter().sum();
        self.hindsight.observe((arrivals, own), foreign, staleness, profile, capacity);
        self.capacity.shares = weights::capacity_shares(capacity);
        self.fewest.shares = weights::water_fill(self.fewest.shadow.keys(), capacity, arrivals);
        let fixed = [&mut self.capacity, &mut self.fewest, &mut self.reactive];
        for Policy { shadow, shares } in fixed.into_iter().chain(&mut self.windows) {
            shadow.place(arrivals, shares, profile, own);
            shadow.score(foreign, capacity, staleness);
        }
    }

    /// Sets what the policies will do in the cycle to come, by the last measured foreign loads
    /// and by those expected, mean over each window.
    pub(super) fn plan(
        &mut self,
        cohorts: &Cohorts,
        last: &[f64],
        expected: &[Vec<[f64; 3]>],
        capacity: &[f64],
    ) {
        let profile = cohorts.profile();
        let volume = cohorts.controllable_over(1);
        self.reactive.fill(last.iter().copied(), &profile, capacity, volume);
        let windows = window_lengths(&profile);
        for ((policy, expected), window) in self.windows.iter_mut().zip(expected).zip(windows) {
            let foreign = expected.iter().map(|[value, ..]| *value);
            let volume = cohorts.controllable_over(window);
            policy.fill(foreign, &profile.over(window), capacity, volume);
        }
    }

    /// The window in which forecasts have beaten capacity shares and reacting by most lately.
    pub(super) fn best_window(&self, margin: f64) -> Option<usize> {
        let reactive = std::iter::once(&self.reactive.shadow);
        let all = self.windows.iter().map(|policy| &policy.shadow).chain(reactive);
        score::best(all, &self.capacity.shadow, margin).filter(|i| *i < self.windows.len())
    }

    /// Whether reacting to the last measured loads has beaten capacity shares lately.
    pub(super) fn reacting_helps(&self, margin: f64) -> bool {
        let reactive = std::iter::once(&self.reactive.shadow);
        score::best(reactive, &self.capacity.shadow, margin).is_some()
    }

    /// Why one control window is used instead of another.
    pub(super) fn why_window(&self, before: usize, after: usize) -> Option<Cause> {
        let score = |window: usize| self.windows[window].shadow.tally().recent();
        Some(Cause::Better { before: score(before)?, after: score(after)? })
    }

    /// Recent means.
    pub(super) fn scores(&self) -> Option<Scores> {
        self.by(Tally::recent)
    }

    /// Of the cycle scored last.
    pub(super) fn latest(&self) -> Option<Scores> {
        self.by(Tally::last)
    }

    /// See [`super::Controller::latest_hindsight`].
    pub(super) fn latest_hindsight(&self) -> Option<(usize, f64)> {
        self.hindsight.latest()
    }

    fn by(&self, tally: impl Fn(&Tally) -> Option<f64>) -> Option<Scores> {
        let score = |shadow: &Shadow| tally(shadow.tally());
        // The window that has been best lately: the best of this very cycle would be hindsight.
        let recent = |policy: &&Policy| policy.shadow.tally().recent().unwrap_or(f64::INFINITY);
        let forecast = self.windows.iter().min_by(|a, b| recent(a).total_cmp(&recent(b)))?;
        Some(Scores {
            capacity: score(&self.capacity.shadow)?,
            fewest: score(&self.fewest.shadow)?,
            reactive: score(&self.reactive.shadow)?,
            forecast: score(&forecast.shadow)?,
            oracle: self.hindsight.score(score),
            achieved: tally(&self.achieved)?,
        })
    }
}
