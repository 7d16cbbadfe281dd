//! The placement that knows the true future, under the same interval and constraint.
//!
//! Sticky keys are placed by the best shares that can be found for the whole play at once:
//! [`super::clairvoyant`].
//!
//! Per row an interval's keys touch no other interval, so each is decided alone: by water-filling
//! the true mean foreign load of the interval, or by capacity where that is better (an edge in the
//! interval can make it so). Statistics and their delay mean nothing to it.

use pss_core::score::imbalance;
use pss_core::weights;

use super::{Decision, Policy, Scene, Seen, clairvoyant};
use crate::life::Life;
use crate::workload::STEP_S;

/// Shares by interval, all decided before the play begins.
pub(super) struct Oracle {
    shares: Vec<Vec<f64>>,
}

impl Oracle {
    pub(super) fn new(scene: &Scene<'_>) -> Oracle {
        let intervals = scene.workload.steps().div_ceil(scene.interval_steps);
        let shares = match scene.life {
            Life::PerRow => (0..intervals).map(|k| per_row(scene, k)).collect(),
            Life::Sticky { .. } | Life::Growing { .. } => clairvoyant::shares(scene),
        };
        Oracle { shares }
    }
}

impl Policy for Oracle {
    fn decide(&mut self, seen: &Seen<'_>) -> Decision {
        Decision::Shares(self.shares[seen.interval].clone())
    }
}

fn per_row(scene: &Scene<'_>, interval: usize) -> Vec<f64> {
    let workload = scene.workload;
    let first = interval * scene.interval_steps;
    let end = (first + scene.interval_steps).min(workload.steps());
    let (from_s, until_s) = (first as f64 * STEP_S, end as f64 * STEP_S);
    let foreign = workload.foreign.mean(from_s, until_s);
    let mut capacity = workload.capacity.mean(from_s, until_s);
    for (p, capacity) in capacity.iter_mut().enumerate() {
        if (first..end).any(|step| workload.capacity.row(step)[p] <= 0.0) {
            *capacity = 0.0;
        }
    }
    let volume = workload.volume[first..end].iter().sum::<f64>() / (end - first) as f64;
    let cost = |shares: &[f64]| -> f64 {
        (first..end)
            .map(|step| {
                let load: Vec<f64> = workload
                    .foreign
                    .row(step)
                    .iter()
                    .zip(shares)
                    .map(|(f, share)| f + share * workload.volume[step])
                    .collect();
                imbalance(&load, workload.capacity.row(step))
            })
            .sum()
    };
    let filled = weights::water_fill(&foreign, &capacity, volume);
    let plain = weights::capacity_shares(&capacity);
    if cost(&plain) < cost(&filled) { plain } else { filled }
}
