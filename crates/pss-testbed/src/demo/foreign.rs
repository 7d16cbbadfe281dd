//! The foreign load of the demo: reads that have nothing to do with where pss places new keys.
//!
//! Every partition has the day's cycle with a phase and a height of its own, and noise. The same
//! seed gives the same load, second by second: both twins and the simulation get the same.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::PARTITIONS;

/// Foreign load as a part of own load.
const PART_OF_OWN: f64 = 0.5;

/// How far the day's cycle swings about its mean.
const SWING: f64 = 0.8;

/// Heights lie within this distance of their mean, relative to it.
const UNEVENNESS: f64 = 0.4;

/// Deviation of the noise of one second, relative to the load.
const NOISE: f64 = 0.1;

/// Load of each partition in each second, cost units per second.
pub type Foreign = Vec<[f64; PARTITIONS]>;

/// Foreign load for `seconds` seconds of days that last `seconds_a_day`, beside `own` cost units
/// in all.
pub fn foreign_load(seed: u64, seconds: usize, seconds_a_day: f64, own: f64) -> Foreign {
    let mut random = SmallRng::seed_from_u64(seed);
    // Phases spread over the day, in any order; and not on the grid.
    let mut phases: [f64; PARTITIONS] =
        std::array::from_fn(|i| (i as f64 + random.random::<f64>()) / PARTITIONS as f64);
    phases.shuffle(&mut random);
    let heights: [f64; PARTITIONS] =
        std::array::from_fn(|_| 1.0 + UNEVENNESS * random.random_range(-1.0..1.0));
    let mut load: Foreign = (0..seconds)
        .map(|second| {
            let day = (second as f64 + 0.5) / seconds_a_day;
            std::array::from_fn(|i| {
                let wave = 1.0 + SWING * (std::f64::consts::TAU * (day + phases[i])).sin();
                // Four uniform draws: near enough to a normal one, and bounded.
                let noise: f64 = (0..4).map(|_| random.random_range(-1.0..1.0)).sum::<f64>();
                let deviation = (4.0_f64 / 3.0).sqrt();
                heights[i] * wave * (1.0 + NOISE * noise / deviation)
            })
        })
        .collect();
    let sum: f64 = load.iter().flatten().sum();
    load.iter_mut().flatten().for_each(|l| *l *= own * PART_OF_OWN / sum.max(f64::MIN_POSITIVE));
    load
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_own_and_never_negative() {
        let load = foreign_load(1, 120, 30.0, 40_000.0);
        assert!((load.iter().flatten().sum::<f64>() - 20_000.0).abs() < 1e-6);
        assert!(load.iter().flatten().all(|l| *l >= 0.0));
    }

    #[test]
    fn each_partition_has_its_peak_at_its_own_time() {
        let load = foreign_load(7, 120, 30.0, 40_000.0);
        let peak = |p: usize| {
            // Over a few seconds, or noise would name the peak.
            let at = |s: usize| (s..s + 5).map(|s| load[s % 30 + 30][p]).sum::<f64>();
            (0..30).max_by(|a, b| at(*a).total_cmp(&at(*b))).unwrap_or(0)
        };
        let mut peaks: Vec<usize> = (0..PARTITIONS).map(peak).collect();
        peaks.sort_unstable();
        peaks.dedup();
        assert!(peaks.len() > PARTITIONS / 2, "{peaks:?}");
        assert_ne!(load, foreign_load(8, 120, 30.0, 40_000.0));
    }
}
