//! Foreign load that nobody can foresee, or only in part (W4, W5).

use rand::Rng;
use rand::rngs::SmallRng;

use super::{Shape, VOLUME, normal};
use crate::workload::{Grid, Jump, STEP_S, Workload};

/// Where noise returns to.
pub(super) const MEAN: f64 = 0.3;
/// Its standard deviation.
const DEVIATION: f64 = 0.15;

/// An Ornstein-Uhlenbeck process on each partition, cut off at zero.
pub(super) fn wander(shape: &Shape, random: &mut SmallRng, correlation_s: f64) -> Workload {
    let keeps = (-STEP_S / correlation_s).exp();
    let mut foreign = Grid::new(shape.partitions, shape.steps, |_, _| 0.0);
    let mut state: Vec<f64> = (0..shape.partitions).map(|_| normal(random)).collect();
    for step in 0..shape.steps {
        for (load, state) in foreign.row_mut(step).iter_mut().zip(&mut state) {
            *state = keeps * *state + (1.0 - keeps * keeps).sqrt() * normal(random);
            *load = (MEAN + DEVIATION * *state).max(0.0);
        }
    }
    Workload::steady(foreign, shape.volume(VOLUME))
}

/// Constant load, measured with 5 % noise, that rises on one partition after the other and falls
/// back after ten minutes.
pub(super) fn jumps(shape: &Shape, random: &mut SmallRng) -> Workload {
    const EVERY_S: f64 = 1200.0;
    const LENGTH_S: f64 = 600.0;
    let last_s = shape.steps as f64 * STEP_S - LENGTH_S;
    let mut jumps = Vec::new();
    let mut at_s = shape.scored_from_s + random.random_range(0.0..60.0);
    while at_s < last_s {
        let partition = random.random_range(0..shape.partitions);
        jumps.push(Jump { at_s, until_s: at_s + LENGTH_S, partition });
        at_s += EVERY_S + random.random_range(0.0..60.0);
    }
    let part = |jump: &Jump, step: usize| {
        let (start, end) = (step as f64 * STEP_S, (step + 1) as f64 * STEP_S);
        (end.min(jump.until_s) - start.max(jump.at_s)).max(0.0) / STEP_S
    };
    let foreign = Grid::new(shape.partitions, shape.steps, |p, step| {
        let on = jumps.iter().filter(|jump| jump.partition == p);
        0.2 + 0.3 * on.map(|jump| part(jump, step)).sum::<f64>()
    });
    Workload { noise: 0.05, jumps, ..Workload::steady(foreign, shape.volume(VOLUME)) }
}
