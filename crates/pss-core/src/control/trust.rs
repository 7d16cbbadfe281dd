//! How far to believe in foreign load that is expected: the part of it that lately came true.
//!
//! Partitions are told apart by their deviation from the table's mean utilization. How much of
//! an expected deviation comes true is the slope of what came on what was expected (least squares
//! through zero): 1 for a forecast that is right, 0 for noise. Counting on the square root of it
//! lies between that slope, which is right for the mean square, and all, which a highest peak
//! asks for; it still helps wherever the slope is above a quarter. So a forecast that does not
//! know anything moves hardly a key, and none is obeyed or dismissed as a whole.

use std::collections::VecDeque;

/// Weight that a cycle keeps to the next: the last 50 count.
const RECENT: f64 = 0.98;

/// Expectations waiting for what they foretell, and how earlier ones came out.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust {
    /// Measured cycles so far.
    measured: usize,
    /// By the number of the measured cycle that they foretell, soonest first.
    expected: VecDeque<(usize, Vec<f64>)>,
    product: f64,
    square: f64,
}

impl Trust {
    /// Notes the load by partition expected `ahead` cycles after the last measured one.
    pub(super) fn expect(&mut self, ahead: usize, load: &[f64], capacity: &[f64]) {
        let due = self.measured + ahead;
        // A control window that has shrunk leaves later expectations behind: they are dropped.
        while self.expected.back().is_some_and(|(last, _)| *last >= due) {
            self.expected.pop_back();
        }
        self.expected.push_back((due, deviations(load, capacity)));
    }

    /// Takes in the load of the next measured cycle; what is not a number has not been measured.
    pub(super) fn measure(&mut self, load: &[f64], capacity: &[f64]) {
        self.measured += 1;
        while self.expected.front().is_some_and(|(due, _)| *due < self.measured) {
            self.expected.pop_front();
        }
        let Some((_, expected)) = self.expected.pop_front_if(|(due, _)| *due == self.measured)
        else {
            return;
        };
        self.product *= RECENT;
        self.square *= RECENT;
        for (expected, came) in expected.iter().zip(deviations(load, capacity)) {
            if expected.is_finite() && came.is_finite() {
                self.product += expected * came;
                self.square += expected * expected;
            }
        }
    }

    /// The part of an expected deviation to count on, 0 to 1.
    pub(super) fn part(&self) -> f64 {
        let slope = if self.square > 0.0 { self.product / self.square } else { 0.0 };
        slope.clamp(0.0, 1.0).sqrt()
    }
}

/// Utilization of each partition less that of the table; not a number where out of service or
/// not known.
fn deviations(load: &[f64], capacity: &[f64]) -> Vec<f64> {
    let mean = super::mean_utilization(load, capacity);
    let one = |(load, capacity): (&f64, &f64)| {
        if *capacity > 0.0 { load / capacity - mean } else { f64::NAN }
    };
    load.iter().zip(capacity).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(came: impl Fn(usize) -> [f64; 2]) -> f64 {
        let mut trust = Trust::default();
        for cycle in 1..100 {
            // Three cycles ahead partition 0 is expected to be 4 above partition 1, or below.
            let sign = if (cycle + 3) % 5 < 2 { 1.0 } else { -1.0 };
            trust.expect(3, &[10.0 + 2.0 * sign, 10.0 - 2.0 * sign], &[1.0; 2]);
            trust.measure(&came(cycle + 1), &[1.0; 2]);
        }
        trust.part()
    }

    #[test]
    fn what_comes_true_is_believed_as_far_as_it_does() {
        // Expected at the end of cycle c for cycle c + 3, which is the third measured from then.
        let sign = |cycle: usize| if cycle % 5 < 2 { 1.0 } else { -1.0 };
        let swings = |height: f64| {
            move |cycle: usize| {
                let s = sign(cycle) * height;
                [30.0 + s, 30.0 - s]
            }
        };
        assert!((trust(swings(2.0)) - 1.0).abs() < 1e-9);
        assert!((trust(swings(0.5)) - 0.5).abs() < 1e-9);
        assert_eq!(trust(swings(-2.0)), 0.0);
        assert_eq!(trust(|_| [9.0, 9.0]), 0.0);
        assert_eq!(trust(|_| [f64::NAN, 9.0]), 0.0);
    }
}
