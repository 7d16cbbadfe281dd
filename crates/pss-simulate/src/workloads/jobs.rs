//! Periodic foreign load: jobs and waves (W2, W3, W9, W11).

use rand::rngs::SmallRng;

use super::{Shape, VOLUME, part_of_step, phases};
use crate::workload::{Grid, STEP_S, Workload};

/// Foreign load between two jobs, and under a wave.
const BASE: f64 = 0.1;
const PERIOD_S: f64 = 600.0;
const LENGTH_S: f64 = 120.0;
/// Period of the wave.
pub(super) const SINE_S: f64 = 900.0;

/// A job of 120 s every 600 s on each partition.
pub(super) fn job(shape: &Shape, random: &mut SmallRng, height: f64, volume: f64) -> Workload {
    periodic(shape, random, PERIOD_S, LENGTH_S, height, volume)
}

/// A job that takes one of two intervals: what was measured last says the opposite of what comes.
pub(super) fn resonance(shape: &Shape, random: &mut SmallRng) -> Workload {
    let period_s = 2.0 * shape.interval_s;
    periodic(shape, random, period_s, shape.interval_s, 0.3, VOLUME)
}

fn periodic(
    shape: &Shape,
    random: &mut SmallRng,
    period_s: f64,
    length_s: f64,
    height: f64,
    volume: f64,
) -> Workload {
    let phases = phases(shape, period_s, random);
    let foreign = Grid::new(shape.partitions, shape.steps, |p, step| {
        BASE + height * part_of_step(step, phases[p], period_s, length_s)
    });
    Workload::steady(foreign, shape.volume(volume))
}

/// A wave of 900 s on each partition.
pub(super) fn sine(shape: &Shape, random: &mut SmallRng) -> Workload {
    let phases = phases(shape, SINE_S, random);
    let foreign = Grid::new(shape.partitions, shape.steps, |p, step| {
        let time_s = (step as f64 + 0.5) * STEP_S - phases[p];
        BASE + 0.15 * (1.0 + (std::f64::consts::TAU * time_s / SINE_S).sin())
    });
    Workload::steady(foreign, shape.volume(VOLUME))
}

/// The job of W2, and keys of very different, told sizes.
pub(super) fn sizes(shape: &Shape, random: &mut SmallRng) -> Workload {
    Workload { size_spread: 1.0, ..job(shape, random, 0.3, VOLUME) }
}
