//! From the loads of a play to its figures, and from the figures of all seeds to those shown.

use crate::play::Played;
use crate::workload::{Jump, STEP_S, Workload};

/// A share that changes by less, relative to an equal share, has not changed.
const CHANGE: f64 = 0.02;
/// A change counts as reversed if the next one against it comes within this time.
const REVERSED_WITHIN_S: f64 = 300.0;
/// How near to the level of all a partition must come after a jump.
const SETTLED: f64 = 0.05;

/// The least difference between static and oracle of which a gain is told.
pub const LEAST_DIFFERENCE: f64 = 0.02;

/// Figures of one play.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Mean of lambda - 1.
    pub mean: f64,
    /// 99th percentile of lambda.
    pub p99: f64,
    /// Mean part of the keys that goes elsewhere from one interval to the next.
    pub churn: f64,
    /// Reversed changes of share, per partition and day.
    pub reversals: f64,
    /// Part of the keys sent to partitions out of service.
    pub refused: f64,
    /// Updates until a partition whose foreign load jumped is at the level of all, mean.
    pub settling: Option<f64>,
    /// How far it went below that level then, relative to it; the worst.
    pub overshoot: Option<f64>,
}

impl Figures {
    /// The figures of a play.
    pub fn of(played: &Played, workload: &Workload, interval_steps: usize, delay_s: f64) -> Self {
        let interval_s = interval_steps as f64 * STEP_S;
        let jumps: Vec<(usize, f64)> = workload
            .jumps
            .iter()
            .zip(&played.levels)
            .filter_map(|(jump, levels)| after(jump, levels, interval_steps, delay_s))
            .collect();
        let settling = jumps.iter().map(|(updates, _)| *updates as f64).sum::<f64>();
        Figures {
            mean: mean(&played.imbalance),
            p99: 1.0 + quantile(&played.imbalance, 0.99),
            churn: churn(&played.shares),
            reversals: reversals(&played.shares, interval_s),
            refused: played.refused,
            settling: (!jumps.is_empty()).then(|| settling / jumps.len() as f64),
            overshoot: jumps.iter().map(|(_, overshoot)| *overshoot).reduce(f64::max),
        }
    }
}

/// Updates after the first sample that holds the jump until the partition is within 5 % of the
/// level of all, and how far it goes below from then on; `None` if the jump is too short.
fn after(jump: &Jump, levels: &[f64], interval_steps: usize, delay_s: f64) -> Option<(usize, f64)> {
    let interval_s = interval_steps as f64 * STEP_S;
    let seen = ((jump.at_s + delay_s + interval_s) / interval_s).ceil() as usize;
    let end = (jump.until_s / interval_s).floor() as usize;
    let by_interval: Vec<f64> = levels.chunks_exact(interval_steps).map(mean).collect();
    let levels = by_interval.get(seen..end).filter(|levels| !levels.is_empty())?;
    let updates = levels.iter().position(|level| (level - 1.0).abs() <= SETTLED);
    let lowest = levels.iter().copied().fold(1.0, f64::min);
    Some((updates.map_or(levels.len(), |before| before + 1), 1.0 - lowest))
}

/// Half the sum of all changes of share: what is placed differently.
fn churn(shares: &[Vec<f64>]) -> f64 {
    let change = |pair: &[Vec<f64>]| {
        0.5 * pair[0].iter().zip(&pair[1]).map(|(a, b)| (a - b).abs()).sum::<f64>()
    };
    let changes: Vec<f64> = shares.windows(2).map(change).collect();
    mean(&changes)
}

fn reversals(shares: &[Vec<f64>], interval_s: f64) -> f64 {
    let Some(partitions) = shares.first().map(Vec::len).filter(|n| *n > 0) else { return 0.0 };
    let within = (REVERSED_WITHIN_S / interval_s) as usize;
    let mut reversed = 0;
    for p in 0..partitions {
        let mut last: Option<(usize, bool)> = None;
        for (k, pair) in shares.windows(2).enumerate() {
            let change = (pair[1][p] - pair[0][p]) * partitions as f64;
            if change.abs() > CHANGE {
                let up = change > 0.0;
                let against = last.is_some_and(|(at, was_up)| was_up != up && k - at <= within);
                reversed += usize::from(against);
                last = Some((k, up));
            }
        }
    }
    let days = shares.len() as f64 * interval_s / 86_400.0;
    reversed as f64 / partitions as f64 / days
}

/// Part of the way from static to the oracle; `None` where there is none to go.
pub fn gain(fixed: f64, policy: f64, oracle: f64) -> Option<f64> {
    (fixed - oracle >= LEAST_DIFFERENCE).then(|| (fixed - policy) / (fixed - oracle))
}

/// Mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Median, of an even number the lower; not a number of nothing.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The least value that is not below this part of all.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gain_is_only_told_of_a_difference() {
        assert_eq!(gain(0.5, 0.25, 0.0), Some(0.5));
        assert_eq!(gain(0.5, 0.75, 0.0), Some(-0.5));
        assert_eq!(gain(0.119, 0.11, 0.1), None);
    }

    #[test]
    fn quantiles_are_values() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(&values, 0.99), median(&values)), (99.0, 50.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_share_that_goes_up_and_down_is_reversed() {
        let there_and_back = [[0.5, 0.5], [0.6, 0.4], [0.6, 0.4], [0.5, 0.5]].map(Vec::from);
        // Each of the two partitions is reversed once, two intervals after its first change.
        assert_eq!(reversals(&there_and_back, 100.0), 1.0 / (4.0 * 100.0 / 86_400.0));
        assert_eq!(reversals(&there_and_back, 200.0), 0.0, "too slow to be one");
        let on_and_on = [[0.5, 0.5], [0.6, 0.4], [0.7, 0.3], [0.705, 0.295]].map(Vec::from);
        assert_eq!(reversals(&on_and_on, 10.0), 0.0);
        assert!((churn(&there_and_back) - 0.2 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn settling_is_counted_from_the_first_sample_that_holds_the_jump() {
        let jump = Jump { at_s: 13.0, until_s: 80.0, partition: 0 };
        // Intervals of 10 s; the sample of 20..30 s is the first that holds the jump, and decides
        // on 30..40 s.
        let of_intervals = [1.0, 1.2, 1.4, 1.2, 1.04, 0.9, 1.0, 1.0];
        let levels: Vec<f64> = of_intervals.iter().flat_map(|level| [*level; 5]).collect();
        let (updates, overshoot) = after(&jump, &levels, 5, 0.0).expect("long enough");
        assert_eq!(updates, 2);
        assert!((overshoot - 0.1).abs() < 1e-12);
        let (updates, _) = after(&jump, &levels, 5, 10.0).expect("long enough");
        assert_eq!(updates, 1);
    }
}
