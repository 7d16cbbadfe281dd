//! The best placement in hindsight: what could have been had with the same keys.
//!
//! Once the foreign load over a key's life is known, the keys of a cycle are placed by it, on
//! partitions of their own: no forecast, the same constraint. So it lags by that time. It is what
//! the achieved balance is measured against, and must never touch a real placement.

use super::schedule::{Blocks, Problem, Schedule};
use super::shadows::{self, WINDOWS, window_lengths};
use crate::age::Profile;
use crate::score::Shadow;
use crate::weights;
use std::collections::VecDeque;

/// A cycle, as it was.
#[derive(Debug, Clone)]
struct Cycle {
    arrivals: f64,
    own: f64,
    foreign: Vec<f64>,
}

/// Placements in hindsight, by a plan and in each control window: which of them is best depends on
/// the load.
#[derive(Debug, Clone)]
pub(super) struct Hindsight {
    /// New keys and own load of cycles whose foreign load is not known yet, oldest first.
    unmeasured: VecDeque<(f64, f64)>,
    windows: [Window; WINDOWS.len()],
    planned: Window,
    schedule: Schedule,
}

/// A placement that knows a certain time.
#[derive(Debug, Clone)]
struct Window {
    /// Cycles that have not been placed, oldest first.
    cycles: VecDeque<Cycle>,
    shadow: Shadow,
}

impl Hindsight {
    pub(super) fn new(partitions: usize) -> Hindsight {
        let window = || Window { cycles: VecDeque::new(), shadow: Shadow::new(partitions) };
        Hindsight {
            unmeasured: VecDeque::new(),
            windows: std::array::from_fn(|_| window()),
            planned: window(),
            schedule: Schedule::default(),
        }
    }

    /// Takes in the new keys and own load of a cycle, and the foreign load of the cycle
    /// `staleness` before it.
    pub(super) fn observe(
        &mut self,
        (arrivals, own): (f64, f64),
        foreign: &[f64],
        staleness: usize,
        profile: &Profile,
        capacity: &[f64],
    ) {
        self.unmeasured.push_back((arrivals, own));
        while self.unmeasured.len() > staleness + 1 {
            self.unmeasured.pop_front();
        }
        if self.unmeasured.len() <= staleness {
            return;
        }
        let Some((arrivals, own)) = self.unmeasured.pop_front() else { return };
        let lengths = window_lengths(profile);
        let cycle = Cycle { arrivals, own, foreign: foreign.to_vec() };
        for (window, length) in self.windows.iter_mut().zip(lengths) {
            window.cycles.push_back(cycle.clone());
            while window.cycles.len() >= length {
                let shares = window.filled(length, profile, capacity);
                window.place(&shares, profile, capacity);
            }
        }
        let blocks = Blocks::new(profile, capacity.len(), usize::MAX);
        self.planned.cycles.push_back(cycle);
        while self.planned.cycles.len() >= blocks.cycles() {
            let shares = self.planned.planned(&mut self.schedule, &blocks, profile, capacity);
            self.planned.place(&shares, profile, capacity);
        }
    }

    /// The score of the best window, by recent mean, and not a number before any is known.
    pub(super) fn score(&self, score: impl Fn(&Shadow) -> Option<f64>) -> f64 {
        self.best().and_then(|window| score(&window.shadow)).unwrap_or(f64::NAN)
    }

    /// The cycle that the best window scored last: how many cycles ago it ended, and its score.
    pub(super) fn latest(&self) -> Option<(usize, f64)> {
        let window = self.best()?;
        Some((window.cycles.len() + self.unmeasured.len(), window.shadow.tally().last()?))
    }

    fn best(&self) -> Option<&Window> {
        let scored = |window| Some((Window::recent(window)?, window));
        let all = self.windows.iter().chain([&self.planned]);
        let best = all.filter_map(scored).min_by(|a, b| a.0.total_cmp(&b.0));
        best.map(|(_, window)| window)
    }
}

impl Window {
    fn recent(&self) -> Option<f64> {
        self.shadow.tally().recent()
    }

    /// Shares for the keys of the oldest cycle by the mean foreign load from then on.
    fn filled(&self, length: usize, profile: &Profile, capacity: &[f64]) -> Vec<f64> {
        let mean = |i: usize| {
            let foreign = self.cycles.iter().take(length).map(|cycle| cycle.foreign[i]);
            foreign.sum::<f64>() / length as f64
        };
        let later = profile.over(length);
        let own = self.shadow.own(&later);
        let base: Vec<f64> = own.enumerate().map(|(i, own)| mean(i) + own).collect();
        let brought: f64 = (1..=length).map(|ahead| profile.of_keys_since(ahead)).sum();
        let volume = self.arrivals(length) * brought / length as f64;
        weights::water_fill(&base, capacity, volume)
    }

    /// Shares for the keys of the oldest cycle by a plan over the foreign load from then on.
    fn planned(
        &self,
        schedule: &mut Schedule,
        blocks: &Blocks,
        profile: &Profile,
        capacity: &[f64],
    ) -> Vec<f64> {
        let foreign = self.cycles.iter().take(blocks.cycles()).map(|cycle| cycle.foreign.clone());
        let foreign: Vec<Vec<f64>> = foreign.collect();
        let ahead = shadows::Ahead { blocks, foreign: &foreign };
        let own = |cycle| self.shadow.own(&profile.later(cycle)).collect();
        schedule.plan(&Problem {
            blocks,
            base: &shadows::base(&ahead, capacity, own),
            profile,
            arrivals: self.arrivals(blocks.cycles()),
            capacity,
        })
    }

    /// New keys a cycle, mean over the `length` oldest.
    fn arrivals(&self, length: usize) -> f64 {
        let arrivals = self.cycles.iter().take(length).map(|cycle| cycle.arrivals);
        arrivals.sum::<f64>() / length as f64
    }

    /// Places the keys of the oldest cycle, and scores it.
    fn place(&mut self, shares: &[f64], profile: &Profile, capacity: &[f64]) {
        let Some(cycle) = self.cycles.pop_front() else { return };
        self.shadow.place(cycle.arrivals, shares, profile, cycle.own);
        self.shadow.score(&cycle.foreign, capacity, 0);
    }
}
