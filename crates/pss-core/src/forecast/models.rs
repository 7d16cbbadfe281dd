//! The pool: every model with its parameters, each scored by itself.

use super::method::Method;
use super::seasonal::SHAPE_COUNT;
use super::smoothing::Smoother;

/// A model of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    Smoother(Smoother),
    Ets,
    Ar,
    /// The cycle found in the data, by index of its parameters.
    Cycle(usize),
    /// The mean day.
    Day,
    /// The weighted mean of the models before it.
    Combined,
}

/// Last value is the first: what has no answer stands for it, and all are measured by it.
pub(super) const MODELS: [Model; 12] = [
    Model::Smoother(Smoother::Naive),
    Model::Smoother(Smoother::Median(0)),
    Model::Smoother(Smoother::Median(1)),
    Model::Smoother(Smoother::Ses(0)),
    Model::Smoother(Smoother::Ses(1)),
    Model::Smoother(Smoother::Holt),
    Model::Ets,
    Model::Ar,
    Model::Cycle(0),
    Model::Cycle(1),
    Model::Day,
    Model::Combined,
];
/// One number of each model.
pub(super) type ByModel = [f32; MODELS.len()];
/// Index of last value.
pub(super) const NAIVE: usize = 0;
/// Index of the first of the models of a cycle, which come one after the other.
pub(super) const FIRST_CYCLE: usize = 8;
/// Index of the combination, the last.
pub(super) const COMBINED: usize = MODELS.len() - 1;
/// Index of the mean day.
pub(super) const DAY: usize = FIRST_CYCLE + SHAPE_COUNT;

impl Model {
    pub fn method(self) -> Method {
        match self {
            Model::Smoother(Smoother::Naive) => Method::Naive,
            Model::Smoother(Smoother::Median(_)) => Method::Median,
            Model::Smoother(Smoother::Ses(_)) => Method::Ses,
            Model::Smoother(Smoother::Holt) => Method::Holt,
            Model::Ets => Method::Ets,
            Model::Ar => Method::Ar,
            Model::Cycle(_) | Model::Day => Method::Seasonal,
            Model::Combined => Method::Combined,
        }
    }
}

// The indices are those of the list, which names every shape of a cycle.
const _: () = assert!(
    SHAPE_COUNT == 2
        && matches!(MODELS[FIRST_CYCLE], Model::Cycle(0))
        && matches!(MODELS[DAY], Model::Day)
        && matches!(MODELS[COMBINED], Model::Combined)
);
