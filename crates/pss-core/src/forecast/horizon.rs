//! One horizon at which models are scored: what they said, what came, and which is in use.
//!
//! What every model says at an origin is written down there and then, and compared with the value
//! of the step it was said for. Nothing is computed afterwards, so a score cannot be misaligned
//! nor know what came later. Errors a few steps apart at a far horizon are nearly the same error:
//! origins are as far apart as a fifth of the horizon.

use std::collections::VecDeque;

use super::features::Features;
use super::interval::Errors;
use super::models::{ByModel, NAIVE};
use super::regression::Regression;
use super::selection::{Gate, Records};

/// Origins within one horizon, at most.
const ORIGINS: usize = 5;
/// A regression is solved after so many steps.
const SOLVE_EVERY: usize = 4;
/// Pairs that a regression has seen before its scale means anything.
const WARM_UP: usize = 8;

/// What was said at an origin.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// The usual step at the origin.
    pub scale: f32,
    pub features: Features,
    /// What each model said.
    pub models: ByModel,
    /// What the model chosen said.
    pub chosen: f32,
    /// The forecast that was given: that, or last value if the gate was closed.
    pub issued: f32,
}

#[derive(Debug, Clone)]
pub(super) struct Horizon {
    /// How far ahead, in steps.
    pub steps: usize,
    /// What was said and is not due yet, with the step it was said for, soonest first.
    pending: VecDeque<(usize, Said)>,
    pub regression: Regression,
    pub records: Records,
    /// Index of the model chosen.
    pub chosen: usize,
    gate: Gate,
    /// Errors of the forecasts in use.
    pub errors: Errors,
}

impl Horizon {
    pub fn new(steps: usize) -> Self {
        Horizon {
            steps,
            pending: VecDeque::with_capacity(steps / stride(steps) + 1),
            regression: Regression::new(),
            records: Records::new(),
            chosen: NAIVE,
            gate: Gate::default(),
            errors: Errors::new(),
        }
    }

    /// Index of the model in use: the one chosen, unless choosing has not paid lately.
    pub fn in_use(&self) -> usize {
        if self.gate.is_closed() { NAIVE } else { self.chosen }
    }

    /// Whether something is to be said at this step.
    pub fn is_origin(&self, step: usize) -> bool {
        step.is_multiple_of(stride(self.steps))
    }

    /// Writes down what is said at `origin`.
    pub fn note(&mut self, origin: usize, said: Said) {
        self.pending.push_back((origin + self.steps, said));
    }

    /// Compares what was said for `step` with what came; NaN: it is missing.
    pub fn settle(&mut self, step: usize, y: f32) {
        while self.pending.front().is_some_and(|(due, _)| *due < step) {
            self.pending.pop_front();
        }
        let Some((_, said)) = self.pending.pop_front_if(|(due, _)| *due == step) else { return };
        if y.is_nan() {
            return;
        }
        self.records.add(&said.models.map(|model| (y - model).abs()));
        self.gate.add((y - said.chosen).abs(), (y - said.models[NAIVE]).abs());
        self.errors.push(y - said.issued);
        if step >= self.steps + WARM_UP {
            self.regression.learn(&said.features, (y - said.models[NAIVE]) / said.scale);
        }
    }

    /// Solves the regression when its turn has come; horizons take turns.
    pub fn refit(&mut self, step: usize) {
        if (step + self.steps).is_multiple_of(SOLVE_EVERY) {
            self.regression.solve();
        }
    }

    /// Bytes owned.
    pub fn bytes(&self) -> usize {
        size_of::<(usize, Said)>() * self.pending.capacity()
    }
}

/// Steps between two origins at which forecasts `steps` ahead are scored.
fn stride(steps: usize) -> usize {
    steps.div_ceil(ORIGINS)
}
