//! Autoregression by discounted least absolute deviations, for one horizon.
//!
//! An online ARX model: the move of the load over the horizon is regressed on what is seen at the
//! origin ([`features`](super::features)), all relative to the last value and in units of the
//! usual step, so that a coefficient of zero means last value. Least absolute deviations by
//! reweighting each pair once with the error it came with (iteratively reweighted least squares,
//! one pass; Schlossmacher 1973), old pairs fading away, with a ridge towards last value.

use super::features::{COUNT, Features};

/// What is left of a pair's weight after each later one.
const DISCOUNT: f32 = 0.995;
/// Ridge: about as much as so many pairs that say the load stays as it is.
const RIDGE: f64 = 3.0;
/// Errors below this many usual steps count as squares, not as absolute values.
const SMALL: f32 = 0.25;
/// Features are cut to so many usual steps, moves (which may be long trends) to so many.
pub(super) const LARGEST: f32 = 12.0;
const LARGEST_MOVE: f32 = 100.0;
/// Entries of a packed triangle.
const PACKED: usize = COUNT * (COUNT + 1) / 2;

#[derive(Debug, Clone)]
pub(super) struct Regression {
    /// Lower triangle of the discounted sum of products of features, row by row.
    products: [f32; PACKED],
    /// Discounted sum of products of features and moves.
    moves: [f32; COUNT],
    coefficients: [f32; COUNT],
}

impl Regression {
    pub fn new() -> Self {
        Regression { products: [0.0; PACKED], moves: [0.0; COUNT], coefficients: [0.0; COUNT] }
    }

    /// The move expected, in usual steps.
    pub fn predict(&self, features: &Features) -> f32 {
        let sum: f32 = self.coefficients.iter().zip(features).map(|(c, x)| c * x).sum();
        sum.clamp(-LARGEST_MOVE, LARGEST_MOVE)
    }

    /// Takes the move that came, in usual steps, after `features` were seen.
    pub fn learn(&mut self, features: &Features, came: f32) {
        let came = came.clamp(-LARGEST_MOVE, LARGEST_MOVE);
        let weight = 1.0 / (came - self.predict(features)).abs().max(SMALL);
        let mut row = 0;
        for i in 0..COUNT {
            let x = weight * features[i];
            for (product, other) in self.products[row..=row + i].iter_mut().zip(features) {
                *product = DISCOUNT * *product + x * other;
            }
            self.moves[i] = DISCOUNT * self.moves[i] + x * came;
            row += i + 1;
        }
    }

    /// Solves for the coefficients (Cholesky decomposition). They stay as they are if rounding
    /// has left no solution.
    pub fn solve(&mut self) {
        let mut factor = [[0.0f64; COUNT]; COUNT];
        let mut solution = [0.0f64; COUNT];
        let mut row = 0;
        for i in 0..COUNT {
            for j in 0..=i {
                let mut sum = f64::from(self.products[row + j]);
                if i == j {
                    sum += RIDGE;
                }
                let known: f64 = factor[i][..j].iter().zip(&factor[j]).map(|(a, b)| a * b).sum();
                sum -= known;
                if i == j {
                    if sum <= 0.0 {
                        return;
                    }
                    factor[i][i] = sum.sqrt();
                } else {
                    factor[i][j] = sum / factor[j][j];
                }
            }
            row += i + 1;
        }
        for i in 0..COUNT {
            let mut sum = f64::from(self.moves[i]);
            for k in 0..i {
                sum -= factor[i][k] * solution[k];
            }
            solution[i] = sum / factor[i][i];
        }
        for i in (0..COUNT).rev() {
            let mut sum = solution[i];
            for k in i + 1..COUNT {
                sum -= factor[k][i] * solution[k];
            }
            solution[i] = sum / factor[i][i];
        }
        if solution.iter().all(|c| c.is_finite()) {
            self.coefficients = solution.map(|c| c as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::testing::Noise;

    fn features(noise: &mut Noise) -> Features {
        std::array::from_fn(|_| noise.normal() as f32)
    }

    /// Moves that follow the features, but for every tenth, which is an outlier.
    #[test]
    fn coefficients_are_found_in_spite_of_outliers() {
        let mut noise = Noise::new(1);
        let truth: [f32; COUNT] = std::array::from_fn(|i| (i as f32 - 4.0) / 10.0);
        let mut regression = Regression::new();
        for t in 0..600 {
            let x = features(&mut noise);
            let came: f32 = truth.iter().zip(&x).map(|(c, x)| c * x).sum();
            regression.learn(&x, if t % 10 == 3 { 12.0 } else { came });
            regression.solve();
        }
        for (found, truth) in regression.coefficients.iter().zip(truth) {
            assert!((found - truth).abs() < 0.05, "{found} for {truth}");
        }
    }

    #[test]
    fn without_evidence_nothing_moves() {
        let mut regression = Regression::new();
        regression.solve();
        assert_eq!(regression.predict(&[1.0; COUNT]), 0.0);
    }

    #[test]
    fn features_that_say_the_same_have_a_solution() {
        let mut regression = Regression::new();
        for t in 0..2000 {
            let x = [if t % 2 == 0 { LARGEST } else { -LARGEST }; COUNT];
            regression.learn(&x, x[0]);
            regression.solve();
        }
        assert!((regression.predict(&[1.0; COUNT]) - 1.0).abs() < 0.01);
    }
}
