//! The best placement in hindsight: what could have been had with the same keys.
//!
//! Once the foreign load over a key's life is known, the keys of a cycle are placed by it, on
//! partitions of their own: no forecast, the same constraint. So it lags by that time. It is what
//! the achieved balance is measured against, and must never touch a real placement.

use super::shadows::{WINDOWS, window_lengths};
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

/// Placements in hindsight, one for each control window: which of them is best depends on the
/// load.
#[derive(Debug, Clone)]
pub(super) struct Hindsight {
    /// New keys and own load of cycles whose foreign load is not known yet, oldest first.
    unmeasured: VecDeque<(f64, f64)>,
    windows: [Window; WINDOWS.len()],
}

#[derive(Debug, Clone)]
struct Window {
    /// Cycles that have not been placed, oldest first.
    cycles: VecDeque<Cycle>,
    shadow: Shadow,
}

impl Hindsight {
    pub(super) fn new(partitions: usize) -> Hindsight {
        let window = || Window { cycles: VecDeque::new(), shadow: Shadow::new(partitions) };
        Hindsight { unmeasured: VecDeque::new(), windows: std::array::from_fn(|_| window()) }
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
        for (window, length) in self.windows.iter_mut().zip(lengths) {
            let cycle = Cycle { arrivals, own, foreign: foreign.to_vec() };
            window.cycles.push_back(cycle);
            while window.cycles.len() >= length {
                window.place(length, profile, capacity);
            }
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
        let best = self.windows.iter().filter_map(scored).min_by(|a, b| a.0.total_cmp(&b.0));
        best.map(|(_, window)| window)
    }
}

impl Window {
    fn recent(&self) -> Option<f64> {
        self.shadow.tally().recent()
    }

    /// Places the keys of the oldest cycle by the foreign load that came from then on.
    fn place(&mut self, length: usize, profile: &Profile, capacity: &[f64]) {
        let own = self.shadow.own(&profile.over(length)).collect::<Vec<f64>>();
        let mean = |i: usize| {
            let foreign = self.cycles.iter().take(length).map(|cycle| cycle.foreign[i]);
            foreign.sum::<f64>() / length as f64
        };
        let base: Vec<f64> = own.iter().enumerate().map(|(i, own)| mean(i) + own).collect();
        let Some(cycle) = self.cycles.pop_front() else { return };
        let brought: f64 = (1..=length).map(|ahead| profile.of_keys_since(ahead)).sum();
        let volume = cycle.arrivals * brought / length as f64;
        let shares = weights::water_fill(&base, capacity, volume);
        self.shadow.place(cycle.arrivals, &shares, profile, cycle.own);
        self.shadow.score(&cycle.foreign, capacity, 0);
    }
}
