//! Foreign load of each partition in each of the cycles to come, what was declared kept apart.
//!
//! What lies beyond the farthest forecast is as it; what has no forecast is as last measured; and
//! what has not been measured lately is not a number: it must never pass for zero.

use super::Ahead;
use crate::forecast::{Forecaster, Prediction};

/// Value, lower and upper end of the interval.
type Expected = [f64; 3];

/// By partition and cycle; the next cycle comes first.
pub(super) struct Paths(Vec<Vec<Expected>>);

impl Paths {
    /// What the forecasters foretell of the next `longest` cycles; `last`: the loads last
    /// measured.
    pub(super) fn forecast(
        forecasters: &[Forecaster],
        last: &[f64],
        longest: usize,
        staleness: usize,
    ) -> Paths {
        let path = |(forecaster, &last): (&Forecaster, &f64)| {
            let known =
                if last.is_finite() { forecaster.path(longest + staleness) } else { vec![] };
            let as_array = |p: &Prediction| [p.value, p.lo, p.hi];
            let farthest = known.last().map_or([last; 3], as_array);
            let mut path: Vec<_> = known.iter().skip(staleness).map(as_array).collect();
            path.resize(longest, farthest);
            path
        };
        Paths(forecasters.iter().zip(last).map(path).collect())
    }

    /// Everything stays as it was last.
    pub(super) fn steady(last: &[f64], longest: usize) -> Paths {
        Paths(last.iter().map(|&load| vec![[load; 3]; longest]).collect())
    }

    /// Loads in the cycle `step` away (1: the next) but for what was declared.
    pub(super) fn undeclared(&self, step: usize) -> Vec<f64> {
        self.0.iter().map(|path| path[step - 1][0]).collect()
    }

    /// Loads in the cycle `step` away.
    pub(super) fn values(&self, declared: &[Vec<f64>], step: usize) -> Vec<f64> {
        let undeclared = self.undeclared(step).into_iter();
        undeclared.zip(declared).map(|(load, declared)| load + declared[step - 1]).collect()
    }

    /// Mean of each path over the next `window` cycles.
    pub(super) fn means(&self, declared: &[Vec<f64>], window: usize) -> Vec<Expected> {
        let declared = mean_declared(declared, window);
        let mean = |(path, declared): (&Vec<Expected>, f64)| {
            std::array::from_fn(|i| declared + mean(path[..window].iter().map(|p| p[i])))
        };
        self.0.iter().zip(declared).map(mean).collect()
    }
}

/// Declared loads by partition and cycle, for the next `longest` cycles.
pub(super) fn declared(ahead: &Ahead<'_>, partitions: usize, longest: usize) -> Vec<Vec<f64>> {
    if ahead.is_empty() {
        return vec![vec![0.0; longest]; partitions];
    }
    let path = |partition| (1..=longest).map(|step| ahead.load(partition, step)).collect();
    (0..partitions).map(path).collect()
}

/// Mean declared load of each partition over the next `window` cycles.
pub(super) fn mean_declared(declared: &[Vec<f64>], window: usize) -> Vec<f64> {
    declared.iter().map(|path| mean(path[..window].iter().copied())).collect()
}

/// Whether anything is declared.
pub(super) fn any(declared: &[Vec<f64>]) -> bool {
    declared.iter().flatten().any(|load| *load > 0.0)
}

fn mean(loads: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = loads.len() as f64;
    loads.sum::<f64>() / n
}
