//! pss: the controller as the worker calls it, dispatch as the router does.
//!
//! What differs from a server: no rows are aborted, sessions see each other's keys at once, and an
//! epoch is in force as soon as it is planned.

use pss_core::control::{Ahead, Controller, Observation, Reason, Settings};
use pss_core::dispatch::{self, DEFAULT_BOUND, Request};
use pss_core::level::{self, CLASSES, Fill};
use pss_core::slots::SlotTable;
use pss_core::virtual_key::VirtualKey;
use pss_core::{cohort, forecast, horizons, weights};

use super::{Decision, Key, Now, Policy, Scene, Seen};
use crate::workload::STEP_S;

/// Slots of an epoch: the extension's default.
const SLOTS: usize = 4096;

/// The worker's brain and the router's choice, in one process.
pub(super) struct Pss {
    controller: Controller,
    settings: Settings,
    /// The size in the middle of the size classes.
    reference: f64,
    shares: Vec<f64>,
    slots: SlotTable,
    epoch: u32,
    fill: Option<Fill>,
    /// Keys since the epoch began.
    sent: Vec<f64>,
    /// Keys by size class since the last decision.
    placed: Vec<[u32; CLASSES]>,
    /// How often each reason decided, and the sum of trust.
    reasons: Vec<(Reason, usize)>,
    trust: f64,
}

impl Pss {
    pub(super) fn new(scene: &Scene<'_>, forecasts: bool) -> Pss {
        let capacity = scene.workload.capacity.row(0);
        let n = capacity.len();
        let step_s = scene.interval_steps as f64 * STEP_S;
        let config = forecast::Config {
            step_s,
            horizons: horizons::scored(step_s),
            ..forecast::Config::default()
        };
        let shares = weights::capacity_shares(capacity);
        Pss {
            controller: Controller::new(n, config, cohort::Config::default()),
            settings: Settings {
                forecast: forecasts,
                staleness: (scene.delay_s / step_s).round() as usize,
                ..Settings::default()
            },
            // The geometric mean of lognormal sizes of mean one.
            reference: (-0.5 * scene.workload.size_spread.powi(2)).exp(),
            slots: SlotTable::build(&shares, SLOTS),
            shares,
            epoch: 0,
            fill: None,
            sent: vec![0.0; n],
            placed: vec![[0; CLASSES]; n],
            reasons: Vec::new(),
            trust: 0.0,
        }
    }
}

impl Policy for Pss {
    fn decide(&mut self, seen: &Seen<'_>) -> Decision {
        let n = self.placed.len();
        let placed: Vec<_> = self.placed.iter().map(|keys| keys.map(f64::from)).collect();
        self.placed.fill([0; CLASSES]);
        let foreign: Vec<Option<f64>> = (0..n).map(|p| seen.foreign.map(|f| f[p])).collect();
        let observation = Observation {
            own: seen.own,
            foreign: &foreign,
            declared: &[],
            placed: &placed,
            capacity: seen.capacity,
            in_service: seen.in_service,
        };
        // The first decision comes before anything was observed.
        if seen.interval > 0 {
            self.controller.observe(&observation, &self.settings);
        }
        self.controller.set_published(&self.shares);
        let plan = self.controller.plan(&Ahead::nothing(), &self.settings);
        if plan.epoch_changed {
            self.epoch += 1;
            self.slots = self.slots.reassign(&plan.shares);
            self.shares = plan.shares;
            self.sent.fill(0.0);
        }
        self.fill = plan.fill;
        self.trust += plan.trust;
        match self.reasons.iter_mut().find(|(reason, _)| *reason == plan.reason) {
            Some((_, times)) => *times += 1,
            None => self.reasons.push((plan.reason, 1)),
        }
        Decision::EachKey
    }

    fn place(&mut self, key: Key, _: &Now<'_>) -> usize {
        let class = key.size.map_or(0, |size| level::size_class(size, self.reference));
        let draw = |nonce| VirtualKey::draw(key.hash, 0, 0, nonce, self.epoch, SLOTS as u32);
        let choice = match &self.fill {
            Some(fill) => {
                let sent = |p: usize| self.placed[p];
                level::choose(fill.expected(), sent, class, &self.slots, draw)
            }
            None => {
                let request = Request {
                    slots: &self.slots,
                    shares: &self.shares,
                    sent: &self.sent,
                    unit: 1.0,
                    bound: DEFAULT_BOUND,
                };
                dispatch::choose(request, draw)
            }
        };
        let partition = usize::from(choice.partition);
        self.sent[partition] += 1.0;
        self.placed[partition][class] += 1;
        partition
    }

    fn story(&self) -> String {
        let intervals: usize = self.reasons.iter().map(|(_, times)| times).sum();
        let part = |times: usize| 100.0 * times as f64 / intervals.max(1) as f64;
        let reasons: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, times)| format!("{:.0} % {}", part(*times), reason.as_str()))
            .collect();
        let scores = self.controller.scores().map_or(String::new(), |s| {
            format!(
                "; lately: capacity {:.3}, reactive {:.3}, forecast {:.3}",
                s.capacity, s.reactive, s.forecast
            )
        });
        let trust = self.trust / intervals.max(1) as f64;
        format!("{}; mean trust {trust:.2}{scores}", reasons.join(", "))
    }
}
