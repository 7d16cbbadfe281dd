//! Shares that no measurement changes.

use pss_core::weights;

use super::{Decision, Policy, Seen};
use crate::workload::Workload;

/// Native hash partitioning: equal shares, whatever partitions can carry.
pub(super) struct Static;

impl Policy for Static {
    fn decide(&mut self, seen: &Seen<'_>) -> Decision {
        let n = seen.capacity.len();
        Decision::Shares(vec![1.0 / n as f64; n])
    }
}

/// Smooth round robin weighted by the capacity that was configured at the beginning.
pub(super) struct Swrr {
    capacity: Vec<f64>,
}

impl Swrr {
    pub(super) fn new(workload: &Workload) -> Swrr {
        Swrr { capacity: workload.capacity.row(0).to_vec() }
    }
}

impl Policy for Swrr {
    fn decide(&mut self, seen: &Seen<'_>) -> Decision {
        let one = |(&c, &serves): (&f64, &bool)| if serves { c } else { 0.0 };
        let serving: Vec<f64> = self.capacity.iter().zip(seen.in_service).map(one).collect();
        Decision::Shares(weights::capacity_shares(&serving))
    }
}
