//! Intervals from the errors that forecasts really made.
//!
//! Signed errors of the forecasts that were in use, per scored horizon, the latest few; their
//! empirical quantiles are the interval (split conformal prediction). No distribution is assumed.

/// Errors kept per horizon.
const KEPT: usize = 32;
/// Fewer errors than this say too little about quantiles.
const LEAST: usize = 8;

/// The latest signed errors (value - forecast) at one horizon.
#[derive(Debug, Clone)]
pub(super) struct Errors {
    ring: [f32; KEPT],
    /// Indices into the ring, by ascending error.
    order: [u8; KEPT],
    count: usize,
}

impl Errors {
    pub fn new() -> Self {
        Errors { ring: [0.0; KEPT], order: [0; KEPT], count: 0 }
    }

    pub fn push(&mut self, error: f32) {
        let (slot, n) = (self.count % KEPT, self.count.min(KEPT));
        let kept = match self.order[..n].iter().position(|&i| usize::from(i) == slot) {
            Some(at) => {
                self.order.copy_within(at + 1..n, at);
                n - 1
            }
            None => n,
        };
        let above = self.order[..kept].partition_point(|&i| self.ring[usize::from(i)] <= error);
        self.order.copy_within(above..kept, above + 1);
        self.order[above] = slot as u8;
        self.ring[slot] = error;
        self.count += 1;
    }

    /// The quantiles that leave out equal shares on both sides and hold `coverage` between
    /// them; `None` while there are too few errors.
    pub fn interval(&self, coverage: f64) -> Option<(f64, f64)> {
        let n = self.count.min(KEPT);
        if n < LEAST {
            return None;
        }
        let at = |rank: usize| f64::from(self.ring[usize::from(self.order[rank.min(n - 1)])]);
        // A new error falls below the k-th smallest of n with probability k / (n + 1).
        let quantile = |p: f64| {
            let rank = (p * (n + 1) as f64 - 1.0).clamp(0.0, (n - 1) as f64);
            let (below, above) = (at(rank as usize), at(rank as usize + 1));
            below + rank.fract() * (above - below)
        };
        let tail = (1.0 - coverage) / 2.0;
        Some((quantile(tail), quantile(1.0 - tail)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::testing::Noise;

    #[test]
    fn quantiles_of_the_latest_errors() {
        let mut errors = Errors::new();
        assert_eq!(errors.interval(0.8), None);
        (0..100).for_each(|_| errors.push(1e6));
        (1..=KEPT).for_each(|e| errors.push(e as f32));
        let (lo, hi) = errors.interval(0.8).unwrap();
        let expected = (0.1 * (KEPT + 1) as f64, 0.9 * (KEPT + 1) as f64);
        assert!((lo - expected.0).abs() < 1e-5 && (hi - expected.1).abs() < 1e-5, "{lo} {hi}");
    }

    #[test]
    fn the_order_is_that_of_the_errors() {
        let (mut errors, mut noise) = (Errors::new(), Noise::new(3));
        for pushed in 1..300 {
            errors.push((10.0 * noise.normal()).round() as f32);
            let sorted: Vec<f32> = errors.order[..pushed.min(KEPT)]
                .iter()
                .map(|&i| errors.ring[usize::from(i)])
                .collect();
            let mut expected = errors.ring[..pushed.min(KEPT)].to_vec();
            expected.sort_by(f32::total_cmp);
            assert_eq!(sorted, expected);
        }
    }
}
