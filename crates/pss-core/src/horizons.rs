//! Which horizons are forecast, in steps, for a given sampling interval.
//!
//! Horizons are promised in time (5, 10, 15 minutes) and forecast in steps. Where an interval is
//! too long or too short for one, the nearest that can be had stands for it.

/// Horizons that are published, in seconds, beside the next step.
pub const PUBLISHED_S: [f64; 3] = [300.0, 600.0, 900.0];
/// The farthest step that a forecaster reaches.
pub const FARTHEST: usize = 192;
/// Steps that planning looks ahead at least, however long a step is.
const PLANNED: usize = 12;
/// Horizons to score between those published, each at least `APART` times another or part of it:
/// errors near one another are nearly the same, and each horizon costs more than a kilobyte.
const BETWEEN: [usize; 3] = [6, 24, 72];
const APART: f64 = 1.5;

/// Steps whose time is nearest to `seconds`, of those that can be forecast: 1..=192.
pub fn steps(seconds: f64, step_s: f64) -> usize {
    let steps = (seconds / step_s).round();
    // Not a number becomes 0.
    (steps as usize).clamp(1, FARTHEST)
}

/// Horizons of published forecasts, ascending: the next step and those nearest to 5, 10 and 15
/// minutes. Fewer than four where several are the same step.
pub fn published(step_s: f64) -> Vec<usize> {
    let mut horizons = vec![1];
    horizons.extend(PUBLISHED_S.map(|seconds| steps(seconds, step_s)));
    horizons.dedup();
    horizons
}

/// Horizons at which a forecaster is to score its models, ascending: those published, some between
/// them, and as many beyond as planning needs.
pub fn scored(step_s: f64) -> Vec<usize> {
    let mut horizons = published(step_s);
    let farthest = horizons.last().copied().unwrap_or(1).max(PLANNED);
    let near = |a: usize, b: usize| {
        let ratio = a as f64 / b as f64;
        ratio < APART && ratio.recip() < APART
    };
    let published = horizons.clone();
    let between = BETWEEN.into_iter().filter(|&h| h < farthest);
    horizons.extend(between.filter(|&h| !published.iter().any(|&p| near(h, p))));
    if !horizons.contains(&farthest) {
        horizons.push(farthest);
    }
    horizons.sort_unstable();
    horizons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn horizons_are_in_time() {
        assert_eq!(published(10.0), [1, 30, 60, 90]);
        assert_eq!(published(60.0), [1, 5, 10, 15]);
        assert_eq!(published(300.0), [1, 2, 3]);
        assert_eq!(published(7.0), [1, 43, 86, 129]);
        assert_eq!(published(3600.0), [1], "15 minutes are less than a step");
        assert_eq!(published(1.0), [1, 192], "all three are too far");
        assert_eq!(published(4.0), [1, 75, 150, 192]);
    }

    #[test]
    fn scored_horizons_hold_the_published_ones_and_reach_far_enough() {
        assert_eq!(scored(10.0), [1, 6, 30, 60, 90]);
        assert_eq!(scored(300.0), [1, 2, 3, 6, 12]);
        for step_s in [0.1, 0.7, 1.0, 5.0, 10.0, 42.0, 60.0, 299.0, 900.0, 3600.0] {
            let scored = scored(step_s);
            assert!(published(step_s).iter().all(|h| scored.contains(h)), "{step_s} s");
            assert!(scored.windows(2).all(|w| w[0] < w[1]), "{step_s} s: {scored:?}");
            assert!(scored.len() <= 6 && scored[scored.len() - 1] >= PLANNED);
            assert!(scored[scored.len() - 1] <= FARTHEST);
        }
    }
}
