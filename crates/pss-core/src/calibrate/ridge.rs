//! Weighted least squares on a few regressors, drawn to a common scale, without negative results.
//!
//! The model: time = sum over k of g_k x_k + noise, where x_k is the default cost of the events of
//! kind k, and g_k is a priori near the one scale s that fits best with all g_k equal (a ridge
//! regression, Hoerl and Kennard 1970, in its Bayesian reading: g_k ~ N(s, (2 s)^2)).

use crate::cost::{ByEvent, EVENTS};

/// Standard deviation of a g_k around s before anything was seen, as a part of s.
const PRIOR: f64 = 2.0;
/// The least penalty, as a part of the mean of the diagonal: keeps the system regular.
const LEAST_PENALTY: f64 = 1e-6;
/// The variance of the noise sets the penalty, and the fit the variance: so many times in turn.
const ROUNDS: usize = 4;

/// Sums over the observations, all that a fit needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moments {
    pub observations: f64,
    /// Sum of w x x'.
    gram: ByEvent<ByEvent<f64>>,
    /// Sum of w y x.
    cross: ByEvent<f64>,
    /// Sum of w y^2.
    square: f64,
}

/// What fits best.
#[derive(Debug, Clone, Copy)]
pub struct Solution {
    /// s: microseconds per unit if all defaults were right.
    pub scale: f64,
    /// g: microseconds per unit of each kind, not negative.
    pub per_unit: ByEvent<f64>,
    /// Standard error of each.
    pub errors: ByEvent<f64>,
    /// Variance of an observation of weight 1.
    pub variance: f64,
}

impl Solution {
    /// The time that events of these default costs take.
    pub fn predict(&self, units: &ByEvent<f64>) -> f64 {
        self.per_unit.iter().zip(units).map(|(g, x)| g * x).sum()
    }
}

impl Moments {
    /// Lets all observations weigh `by` of what they did.
    pub fn fade(&mut self, by: f64) {
        self.observations *= by;
        self.square *= by;
        self.cross.iter_mut().for_each(|c| *c *= by);
        self.gram.iter_mut().flatten().for_each(|g| *g *= by);
    }

    /// Adds an observation: time `us` with events of these default costs.
    pub fn add(&mut self, weight: f64, units: &ByEvent<f64>, us: f64) {
        self.observations += 1.0;
        self.square += weight * us * us;
        for j in 0..EVENTS {
            self.cross[j] += weight * us * units[j];
            for k in 0..EVENTS {
                self.gram[j][k] += weight * units[j] * units[k];
            }
        }
    }

    /// The fit, or `None` where nothing tells how long anything takes.
    pub fn solve(&self) -> Option<Solution> {
        let total: f64 = self.gram.iter().flatten().sum();
        let scale = self.cross.iter().sum::<f64>() / total;
        if !(scale > 0.0 && scale.is_finite()) {
            return None;
        }
        let diagonal = (0..EVENTS).map(|k| self.gram[k][k]).sum::<f64>() / EVENTS as f64;
        let mut per_unit = [scale; EVENTS];
        let (mut variance, mut penalty) = (0.0, 0.0);
        for _ in 0..ROUNDS {
            variance = self.squared_error(&per_unit) / self.observations.max(1.0);
            penalty = (variance / (PRIOR * scale).powi(2)).max(LEAST_PENALTY * diagonal);
            per_unit = self.minimum(scale, penalty);
        }
        let inverse = self.inverse(penalty, 0);
        let noise = penalty * (PRIOR * scale).powi(2);
        let errors = std::array::from_fn(|k| (noise * inverse[k][k].max(0.0)).sqrt());
        let sound = per_unit.iter().chain(&errors).all(|v| v.is_finite());
        sound.then_some(Solution { scale, per_unit, errors, variance })
    }

    fn squared_error(&self, g: &ByEvent<f64>) -> f64 {
        let linear: f64 = g.iter().zip(&self.cross).map(|(g, c)| g * c).sum();
        let quadratic: f64 = (0..EVENTS).map(|j| g[j] * self.along(j, g)).sum();
        (self.square - 2.0 * linear + quadratic).max(0.0)
    }

    fn along(&self, j: usize, g: &ByEvent<f64>) -> f64 {
        self.gram[j].iter().zip(g).map(|(a, g)| a * g).sum()
    }

    /// Least squared error plus `penalty` times squared distance to `scale`, over g >= 0. At the
    /// minimum some kinds are 0 and the gradient of the others is; with six of them, all choices
    /// can be tried, and usually the first, none, will do.
    fn minimum(&self, scale: f64, penalty: f64) -> ByEvent<f64> {
        let cost = |g: &ByEvent<f64>| {
            self.squared_error(g) + penalty * g.iter().map(|g| (g - scale).powi(2)).sum::<f64>()
        };
        let candidate = |zero: usize| {
            let inverse = self.inverse(penalty, zero);
            let free = |k: usize| zero & (1 << k) == 0;
            let right: ByEvent<f64> =
                std::array::from_fn(
                    |k| if free(k) { self.cross[k] + penalty * scale } else { 0.0 },
                );
            inverse.map(|row| row.iter().zip(&right).map(|(a, b)| a * b).sum::<f64>())
        };
        let legal = |g: &ByEvent<f64>| g.iter().all(|&g| g >= 0.0);
        let all = candidate(0);
        if legal(&all) {
            return all;
        }
        let others = (1..1 << EVENTS).map(candidate).filter(legal);
        others.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or([scale; EVENTS])
    }

    /// (gram + penalty I)^-1, without the kinds whose bit is set in `zero`, by Gauss and Jordan:
    /// positive definite, so the pivots are positive.
    fn inverse(&self, penalty: f64, zero: usize) -> ByEvent<ByEvent<f64>> {
        let free = |k: usize| zero & (1 << k) == 0;
        let mut left = [[0.0; EVENTS]; EVENTS];
        let mut right = [[0.0; EVENTS]; EVENTS];
        for j in 0..EVENTS {
            for k in (0..EVENTS).filter(|&k| free(j) && free(k)) {
                left[j][k] = self.gram[j][k];
            }
            left[j][j] += penalty;
            right[j][j] = 1.0;
        }
        for pivot in 0..EVENTS {
            let by = 1.0 / left[pivot][pivot];
            left[pivot] = left[pivot].map(|v| v * by);
            right[pivot] = right[pivot].map(|v| v * by);
            for row in (0..EVENTS).filter(|&row| row != pivot) {
                let by = left[row][pivot];
                for column in 0..EVENTS {
                    left[row][column] -= by * left[pivot][column];
                    right[row][column] -= by * right[pivot][column];
                }
            }
        }
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_told_apart_is_found_and_what_is_not_keeps_its_ratio() {
        let mut moments = Moments::default();
        for i in 1..200 {
            let (a, b) = (f64::from(i % 13), f64::from(i % 7));
            // Events 3 and 4 always come together; 5 never comes.
            let units = [a, 0.0, b, a * b, a * b, 0.0];
            moments.add(1.0, &units, 10.0 * a + 30.0 * b + 2.0 * a * b);
        }
        let solution = moments.solve().unwrap();
        assert!((solution.per_unit[0] - 10.0).abs() < 0.1, "{solution:?}");
        assert!((solution.per_unit[2] - 30.0).abs() < 0.1, "{solution:?}");
        assert!(
            (solution.per_unit[3] - 1.0).abs() < 0.1 && (solution.per_unit[4] - 1.0).abs() < 0.1
        );
        assert!((solution.per_unit[5] - solution.scale).abs() < 1e-9, "never seen: the default");
        assert!(solution.errors[5] > solution.scale && solution.errors[0] < 1.0, "{solution:?}");
    }

    #[test]
    fn nothing_is_told_by_nothing() {
        assert!(Moments::default().solve().is_none());
        let mut idle = Moments::default();
        idle.add(1.0, &[1.0; EVENTS], 0.0);
        assert!(idle.solve().is_none());
    }

    proptest! {
        /// No small step within g >= 0 makes the sum smaller: it is the minimum.
        #[test]
        fn it_is_a_minimum(
            rows in prop::collection::vec((prop::array::uniform6(0.0f64..100.0), 0.0f64..1e4), 3..40),
        ) {
            let mut moments = Moments::default();
            for (units, us) in &rows {
                moments.add(1.0 / (1.0 + units.iter().sum::<f64>()), units, *us);
            }
            let Some(solution) = moments.solve() else { return Ok(()) };
            let variance = solution.variance;
            let diagonal = (0..EVENTS).map(|k| moments.gram[k][k]).sum::<f64>() / EVENTS as f64;
            let penalty = (variance / (PRIOR * solution.scale).powi(2)).max(LEAST_PENALTY * diagonal);
            let sum = |g: &ByEvent<f64>| {
                let off: f64 = g.iter().map(|g| (g - solution.scale).powi(2)).sum();
                moments.squared_error(g) + penalty * off
            };
            let least = sum(&solution.per_unit);
            for k in 0..EVENTS {
                for step in [-0.01, 0.01] {
                    let mut g = solution.per_unit;
                    g[k] = (g[k] + step * solution.scale).max(0.0);
                    prop_assert!(sum(&g) >= least * (1.0 - 1e-6) - 1e-6);
                }
                prop_assert!(solution.per_unit[k] >= 0.0 && solution.errors[k] >= 0.0);
            }
        }
    }
}
