//! The load expected of each partition at a few points ahead, as dispatch to a level wants it.
//!
//! Foreign load counts as far as it can be trusted, and as level beyond; a partition's own keys,
//! and what was declared, are known all the same.

use super::mean_utilization;
use super::paths::Paths;
use crate::cohort::Cohorts;
use crate::level::{AHEAD, CLASSES, Fill};

/// Cycles between two points of a published level, at most.
const LONGEST_STRIDE: usize = 8;

/// Cycles between two points of the published levels, which together span the time in which a
/// key brings its load.
pub(super) fn stride(cohorts: &Cohorts) -> usize {
    let span = 4.0 * cohorts.profile().life() / AHEAD as f64;
    (span.ceil() as usize).clamp(1, LONGEST_STRIDE)
}

/// What is expected, by partition and cycle.
pub(super) struct Sight<'a> {
    pub paths: &'a Paths,
    pub declared: &'a [Vec<f64>],
    /// Part of the expected differences in foreign load to count on.
    pub trust: f64,
    pub cohorts: &'a Cohorts,
    pub capacity: &'a [f64],
}

/// Foreign load of the cycle that is `ahead`, as far as it can be counted on.
pub(super) fn trusted(
    paths: &Paths,
    declared: &[Vec<f64>],
    trust: f64,
    capacity: &[f64],
    ahead: usize,
) -> Vec<f64> {
    let mut foreign = paths.undeclared(ahead);
    let level = mean_utilization(&foreign, capacity);
    for ((load, declared), capacity) in foreign.iter_mut().zip(declared).zip(capacity) {
        let level = level * capacity;
        *load = level + trust * (*load - level) + declared[ahead - 1];
    }
    foreign
}

/// The levels at points `stride` cycles apart.
pub(super) fn levels(sight: &Sight<'_>, stride: usize) -> Fill {
    let &Sight { paths, declared, trust, cohorts, capacity } = sight;
    let room: f64 = capacity.iter().sum();
    let mut fill = Fill {
        levels: vec![[0.0; AHEAD]; capacity.len()],
        keys: [[0.0; AHEAD]; CLASSES],
        capacity: capacity.iter().map(|&c| c as f32).collect(),
        scale: [1.0; AHEAD],
    };
    for point in 0..AHEAD {
        let ahead = 1 + point * stride;
        let mut base = cohorts.committed(ahead);
        let foreign = trusted(paths, declared, trust, capacity, ahead);
        base.iter_mut().zip(foreign).for_each(|(base, foreign)| *base += foreign);
        let mean = mean_utilization(&base, capacity);
        let to_come = cohorts.controllable(ahead) / room;
        for ((levels, &base), &capacity) in fill.levels.iter_mut().zip(&base).zip(capacity) {
            let base = if base.is_finite() { base } else { mean * capacity };
            levels[point] = (base + to_come * capacity) as f32;
        }
        for (keys, profile) in fill.keys.iter_mut().zip(cohorts.profiles()) {
            keys[point] = profile.at(ahead - 1) as f32;
        }
        if mean + to_come > 0.0 {
            fill.scale[point] = (1.0 / (mean + to_come)) as f32;
        }
    }
    fill
}
