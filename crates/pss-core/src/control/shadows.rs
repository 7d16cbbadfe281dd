//! The policies that run in the shadow of the real one, and which of them to trust.

use super::adjust::Cause;
use super::hindsight::Hindsight;
use super::schedule::{Blocks, Problem, Schedule};
use crate::age::Profile;
use crate::cohort::Cohorts;
use crate::score::{self, Shadow, Tally};
use crate::weights;

/// Control windows tried, in key lives (mean age of load); the first is one cycle.
pub(super) const WINDOWS: [f64; 5] = [0.0, 0.5, 1.0, 2.0, 4.0];

/// Position of the window of one key life.
pub(super) const ONE_LIFE: usize = 2;

/// Position of the plan among the policies.
const PLANNED: usize = WINDOWS.len();

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
    /// A plan over the time that keys live, on forecasts.
    pub planned: f64,
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

/// What is to be used of forecasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Water-filling in the window of this position.
    Window(usize),
    /// The plan.
    Planned,
}

/// The time ahead as a plan needs it.
pub(super) struct Ahead<'a> {
    pub blocks: &'a Blocks,
    /// Foreign load by cycle and partition, as far as it is counted on.
    pub foreign: &'a [Vec<f64>],
}

/// The load that is there anyway in each cycle ahead: foreign, and of the keys that `own` gives.
/// A partition of which nothing is known counts as the mean.
pub(super) fn base(
    ahead: &Ahead<'_>,
    capacity: &[f64],
    own: impl Fn(usize) -> Vec<f64>,
) -> Vec<Vec<f64>> {
    let cycle = |(cycle, foreign): (usize, &Vec<f64>)| {
        let mut load = own(cycle + 1);
        load.iter_mut().zip(foreign).for_each(|(own, foreign)| *own += foreign);
        let mean = super::mean_utilization(&load, capacity);
        let unknown = load.iter_mut().zip(capacity).filter(|(load, _)| !load.is_finite());
        unknown.for_each(|(load, capacity)| *load = mean * capacity);
        load
    };
    ahead.foreign.iter().enumerate().map(cycle).collect()
}

/// All policies of one table.
#[derive(Debug, Clone)]
pub(super) struct Shadows {
    capacity: Policy,
    fewest: Policy,
    reactive: Policy,
    windows: [Policy; WINDOWS.len()],
    planned: Policy,
    schedule: Schedule,
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
            planned: policy(),
            schedule: Schedule::default(),
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
        let fixed = [&mut self.capacity, &mut self.fewest, &mut self.reactive, &mut self.planned];
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
        ahead: Option<&Ahead<'_>>,
        capacity: &[f64],
    ) {
        let profile = cohorts.profile();
        let volume = cohorts.controllable_over(1);
        self.reactive.fill(last.iter().copied(), &profile.over(1), capacity, volume);
        let windows = window_lengths(&profile);
        for ((policy, expected), window) in self.windows.iter_mut().zip(expected).zip(windows) {
            let foreign = expected.iter().map(|[value, ..]| *value);
            let volume = cohorts.controllable_over(window);
            policy.fill(foreign, &profile.over(window), capacity, volume);
        }
        self.planned.shares = match ahead {
            Some(ahead) => {
                let own = |cycle| self.planned.shadow.own(&profile.later(cycle)).collect();
                self.schedule.plan(&Problem {
                    blocks: ahead.blocks,
                    base: &base(ahead, capacity, own),
                    profile: &profile,
                    arrivals: cohorts.arrivals(),
                    capacity,
                })
            }
            None => self.windows[0].shares.clone(),
        };
    }

    /// What has beaten capacity shares and reacting by most lately, of all that forecasts are
    /// used for.
    pub(super) fn best(&self, margin: f64) -> Option<Choice> {
        let policies = self.windows.iter().chain([&self.planned, &self.reactive]);
        let shadows = policies.map(|policy| &policy.shadow);
        match score::best(shadows, &self.capacity.shadow, margin)? {
            window if window < WINDOWS.len() => Some(Choice::Window(window)),
            PLANNED => Some(Choice::Planned),
            _ => None,
        }
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
            planned: score(&self.planned.shadow)?,
            oracle: self.hindsight.score(score),
            achieved: tally(&self.achieved)?,
        })
    }
}
