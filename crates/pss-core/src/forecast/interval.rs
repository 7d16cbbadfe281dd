//! Intervals from the errors that forecasts really made.
//!
//! Signed errors of the forecasts that were issued, per scored horizon, the latest few; their
//! empirical quantiles are the interval (split conformal prediction). No distribution is assumed.

/// Errors kept per horizon.
const KEPT: usize = 48;
/// Fewer errors than this say too little about quantiles.
const LEAST: usize = 8;

/// The latest signed errors (value - forecast) at one horizon.
#[derive(Debug, Clone)]
pub(super) struct Errors {
    ring: [f32; KEPT],
    count: usize,
}

impl Errors {
    pub fn new() -> Self {
        Errors { ring: [0.0; KEPT], count: 0 }
    }

    pub fn push(&mut self, error: f32) {
        self.ring[self.count % KEPT] = error;
        self.count += 1;
    }

    /// The quantiles that leave out equal shares on both sides and hold `coverage` between
    /// them; `None` while there are too few errors.
    pub fn interval(&self, coverage: f64) -> Option<(f64, f64)> {
        let n = self.count.min(KEPT);
        if n < LEAST {
            return None;
        }
        let mut sorted = self.ring;
        let sorted = &mut sorted[..n];
        sorted.sort_unstable_by(f32::total_cmp);
        // A new error falls below the k-th smallest of n with probability k / (n + 1).
        let quantile = |p: f64| {
            let rank = (p * (n + 1) as f64 - 1.0).clamp(0.0, (n - 1) as f64);
            let below = f64::from(sorted[rank as usize]);
            let above = f64::from(sorted[(rank as usize + 1).min(n - 1)]);
            below + rank.fract() * (above - below)
        };
        let tail = (1.0 - coverage) / 2.0;
        Some((quantile(tail), quantile(1.0 - tail)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_latest_errors() {
        let mut errors = Errors::new();
        assert_eq!(errors.interval(0.8), None);
        (0..100).for_each(|_| errors.push(1e6));
        (1..=KEPT).for_each(|e| errors.push(e as f32));
        let (lo, hi) = errors.interval(0.8).unwrap();
        assert!((lo - 4.9).abs() < 1e-9 && (hi - 44.1).abs() < 1e-9, "{lo} {hi}");
    }
}
