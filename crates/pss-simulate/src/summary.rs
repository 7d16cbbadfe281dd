//! The figures of all seeds of a case, put together.

use std::collections::BTreeMap;

use crate::policies::Kind;
use crate::run::Record;
use crate::score::{Figures, LEAST_DIFFERENCE, gain, median};

/// One policy in one case at one delay, over all seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Position of the case.
    pub case: usize,
    /// Position of the delay in the case.
    pub delay: usize,
    /// Who placed the keys.
    pub policy: Kind,
    /// Number of seeds.
    pub seeds: usize,
    /// Mean of lambda - 1: median over the seeds.
    pub mean: f64,
    /// The same, of the worst seed.
    pub mean_worst: f64,
    /// 99th percentile of lambda: median over the seeds.
    pub p99: f64,
    /// The same, of the worst seed.
    pub p99_worst: f64,
    /// lambda - 1 below which nothing can come: median over the seeds.
    pub floor: f64,
    /// Part of the way from static to oracle: median over the seeds; `None` where the median
    /// difference is below 0.02.
    pub gain: Option<f64>,
    /// The same, of the worst seed that has a difference.
    pub gain_worst: Option<f64>,
    /// How much more than static's the mean of lambda is, in the worst seed.
    pub excess_worst: f64,
    /// Mean part of the keys that goes elsewhere from one interval to the next.
    pub churn: f64,
    /// Reversed changes of share, per partition and day: worst seed.
    pub reversals: f64,
    /// Part of the keys sent to partitions out of service.
    pub refused: f64,
    /// Updates until a partition whose foreign load jumped is level again, mean.
    pub settling: Option<f64>,
    /// How far it went below that level; the worst.
    pub overshoot: Option<f64>,
    /// Why the policy did what it did, in the worst seed.
    pub story: String,
}

/// Puts records together; in the order of cases, delays and policies.
pub fn summarize(records: &[Record]) -> Vec<Summary> {
    let mut groups: BTreeMap<(usize, usize, Kind), Vec<&Record>> = BTreeMap::new();
    for record in records {
        groups.entry((record.case, record.delay, record.policy)).or_default().push(record);
    }
    let of =
        |case, delay, policy| groups.get(&(case, delay, policy)).map_or(&[][..], Vec::as_slice);
    groups
        .iter()
        .map(|(&(case, delay, _), records)| {
            summary(records, of(case, delay, Kind::Static), of(case, delay, Kind::Oracle))
        })
        .collect()
}

/// `records`, `fixed` (static's) and `oracle` are in the order of seeds.
fn summary(records: &[&Record], fixed: &[&Record], oracle: &[&Record]) -> Summary {
    let all = |figure: fn(&Figures) -> f64| -> Vec<f64> {
        records.iter().map(|record| figure(&record.figures)).collect()
    };
    let known = |figure: fn(&Figures) -> Option<f64>| -> Vec<f64> {
        records.iter().filter_map(|record| figure(&record.figures)).collect()
    };
    let worst = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let means = all(|f| f.mean);
    let (fixed, oracle): (Vec<f64>, Vec<f64>) = (
        fixed.iter().map(|r| r.figures.mean).collect(),
        oracle.iter().map(|r| r.figures.mean).collect(),
    );
    let differences: Vec<f64> = fixed.iter().zip(&oracle).map(|(f, o)| f - o).collect();
    let gains: Vec<f64> = fixed
        .iter()
        .zip(&means)
        .zip(&oracle)
        .filter_map(|((&fixed, &mean), &oracle)| gain(fixed, mean, oracle))
        .collect();
    let tells = !gains.is_empty() && median(&differences) >= LEAST_DIFFERENCE;
    let excess: Vec<f64> = means.iter().zip(&fixed).map(|(mean, fixed)| mean - fixed).collect();
    let hardest = records.iter().max_by(|a, b| a.figures.mean.total_cmp(&b.figures.mean));
    let (settling, overshoot) = (known(|f| f.settling), known(|f| f.overshoot));
    let first = records[0];
    Summary {
        case: first.case,
        delay: first.delay,
        policy: first.policy,
        seeds: records.len(),
        mean: median(&means),
        mean_worst: worst(&means),
        p99: median(&all(|f| f.p99)),
        p99_worst: worst(&all(|f| f.p99)),
        floor: median(&records.iter().map(|record| record.floor).collect::<Vec<_>>()),
        gain: tells.then(|| median(&gains)),
        gain_worst: tells.then(|| gains.iter().copied().fold(f64::INFINITY, f64::min)),
        excess_worst: worst(&excess),
        churn: median(&all(|f| f.churn)),
        reversals: worst(&all(|f| f.reversals)),
        refused: median(&all(|f| f.refused)),
        settling: (!settling.is_empty()).then(|| median(&settling)),
        overshoot: (!overshoot.is_empty()).then(|| worst(&overshoot)),
        story: hardest.map_or_else(String::new, |record| record.story.clone()),
    }
}
