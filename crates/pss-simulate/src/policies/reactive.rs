//! Water-filling on what was last measured.

use pss_core::weights;

use super::{Decision, Policy, Seen};
use crate::workloads::Process;

/// Fills to a level over the interval to come: foreign load as last measured, own load exact,
/// lives of keys known. With a `process`, foreign load is expected to return to its mean as that
/// does.
#[derive(Default)]
pub(super) struct Reactive {
    pub(super) process: Option<Process>,
}

impl Policy for Reactive {
    fn decide(&mut self, seen: &Seen<'_>) -> Decision {
        let capacity = seen.serving();
        let Some(foreign) = seen.foreign else {
            return Decision::Shares(weights::capacity_shares(&capacity));
        };
        let expected = |load: f64| match self.process {
            // From the middle of the interval measured to the middle of the one to come.
            Some(Process { mean, correlation_s }) => {
                let lead_s = seen.delay_s + seen.interval_s;
                mean + (load - mean) * (-lead_s / correlation_s).exp()
            }
            None => load,
        };
        let base: Vec<f64> = foreign
            .iter()
            .zip(seen.keys.committed(seen.steps))
            .map(|(&load, own)| expected(load) + own)
            .collect();
        let (_, added) = seen.keys.outlook(seen.steps);
        Decision::Shares(weights::water_fill(&base, &capacity, added * seen.volume))
    }
}
