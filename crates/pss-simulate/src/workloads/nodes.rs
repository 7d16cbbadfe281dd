//! What partitions can carry: equal, unequal, slow for a while, lost for a while (W0, W1, W7, W8).

use rand::Rng;
use rand::rngs::SmallRng;

use super::{Shape, VOLUME};
use crate::workload::{Grid, STEP_S, Workload};

/// Foreign load by capacity.
const FOREIGN: f64 = 0.2;

/// Nothing to gain: equal, constant loads, measured with 5 % noise.
pub(super) fn uniform(shape: &Shape, _: &mut SmallRng) -> Workload {
    let foreign = Grid::new(shape.partitions, shape.steps, |_, _| FOREIGN);
    Workload { noise: 0.05, ..Workload::steady(foreign, shape.volume(VOLUME)) }
}

/// Half of the nodes carry four times as much as the others.
pub(super) fn unequal(shape: &Shape, _: &mut SmallRng) -> Workload {
    let carries = |p: usize| if p < shape.partitions / 2 { 2.0 } else { 0.5 };
    let foreign = Grid::new(shape.partitions, shape.steps, |p, _| FOREIGN * carries(p));
    let capacity = Grid::new(shape.partitions, shape.steps, |p, _| carries(p));
    // 1.25 is the mean capacity.
    Workload { capacity, ..Workload::steady(foreign, shape.volume(1.25 * VOLUME)) }
}

/// One node carries a tenth for the middle half of the scored time.
pub(super) fn slow(shape: &Shape, random: &mut SmallRng) -> Workload {
    fails(shape, random, 0.1)
}

/// One node is out of service for the middle half of the scored time.
pub(super) fn lost(shape: &Shape, random: &mut SmallRng) -> Workload {
    fails(shape, random, 0.0)
}

/// A random node's capacity, and the foreign load on it, fall to `part` for a while.
fn fails(shape: &Shape, random: &mut SmallRng, part: f64) -> Workload {
    let scored_s = shape.steps as f64 * STEP_S - shape.scored_from_s;
    let from_s = shape.scored_from_s + 0.25 * scored_s + random.random_range(0.0..60.0);
    let (first, end) = (from_s / STEP_S, (from_s + 0.5 * scored_s) / STEP_S);
    let node = random.random_range(0..shape.partitions);
    let carries = |p: usize, step: usize| {
        let fails = p == node && step >= first as usize && step < end as usize;
        if fails { part } else { 1.0 }
    };
    let foreign =
        Grid::new(shape.partitions, shape.steps, |p, step| 0.5 * FOREIGN * carries(p, step));
    let capacity = Grid::new(shape.partitions, shape.steps, carries);
    Workload { capacity, ..Workload::steady(foreign, shape.volume(VOLUME)) }
}
