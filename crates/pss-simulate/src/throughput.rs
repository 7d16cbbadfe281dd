//! What one processor places in a second.
//!
//! Time is the processor's, of this thread, so that what else the machine does counts little.
//! What is timed is what the router does for a new key, but for the row map: size class, draws,
//! choice, and counting the key.

use std::hint::black_box;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::life::{Life, OwnLoad};
use crate::play::play;
use crate::policies::{Key, Kind, Now, Scene};
use crate::score::median;
use crate::workload::STEP_S;
use crate::workloads::{Shape, all};

/// Keys of one round, and rounds, of which the median counts.
const KEYS: usize = 1_000_000;
const ROUNDS: usize = 7;
/// Control intervals before the first round.
const INTERVALS: usize = 100;

/// Placements a second on one processor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throughput {
    /// Number of partitions.
    pub partitions: usize,
    /// Millions of keys a second that are all alike.
    pub alike: f64,
    /// Millions of keys a second whose sizes are told.
    pub sized: f64,
}

/// Times placement on tables of several sizes. `None` where the processor's time cannot be told.
pub fn measure() -> Option<Vec<Throughput>> {
    let size = |partitions| {
        Some(Throughput {
            partitions,
            alike: rate(partitions, "W2")?,
            sized: rate(partitions, "W9")?,
        })
    };
    [8, 64].into_iter().map(size).collect()
}

/// Millions of keys a second after some control intervals of a workload.
fn rate(partitions: usize, workload: &str) -> Option<f64> {
    let interval_steps = (10.0 / STEP_S) as usize;
    let steps = INTERVALS * interval_steps;
    let shape = Shape { partitions, steps, scored_from_s: 0.0, interval_s: 10.0 };
    let recipes = all();
    let recipe = recipes.iter().find(|recipe| recipe.name == workload)?;
    let workload = recipe.make(&shape, 1);
    let scene = Scene {
        workload: &workload,
        process: None,
        life: Life::PerRow,
        interval_steps,
        delay_s: 0.0,
        scored_from: 0,
        keys_a_step: 4 * partitions,
        seed: 1,
    };
    let mut pss = Kind::Pss.make(&scene)?;
    play(&scene, pss.as_mut());
    let own = OwnLoad::new(partitions, Life::PerRow);
    let last = steps - 1;
    let now = Now {
        own: own.load(),
        foreign: workload.foreign.row(last),
        capacity: workload.capacity.row(last),
    };
    let sized = workload.size_spread > 0.0;
    let mut hash = 0_u64;
    let mut round = || {
        let began = processor_time()?;
        for _ in 0..KEYS {
            // Knuth's multiplier: neighbouring hashes far apart, at next to no cost.
            hash = hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let size = sized.then(|| 0.5 + (hash >> 60) as f64 / 16.0);
            black_box(pss.place(Key { hash, size }, &now));
        }
        Some((processor_time()? - began).as_secs_f64())
    };
    let seconds: Vec<f64> = (0..ROUNDS).map(|_| round()).collect::<Option<_>>()?;
    Some(KEYS as f64 / median(&seconds) / 1e6)
}

fn processor_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
}
