//! The fast loop: which partitions are too slow at the moment to take a new key.
//!
//! Epochs come every few seconds; a partition that has become slow since must not wait for the next
//! one. Each is known by the delay that one more request would meet there, in the unit in which
//! latency is given. It may only refuse: what share a partition is due is the plan's business, and
//! as long as one is in service, one is admitted. It reads no clock; ages come as values.

/// What sessions see of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seen {
    /// Exponentially weighted mean of the time that requests took; 0 = none has ended yet.
    pub latency: f64,
    /// Requests in flight.
    pub in_flight: f64,
    /// Exponentially weighted mean of the requests that were in flight when those ended.
    pub usual_in_flight: f64,
    /// Time since the oldest request in flight began; 0 without one.
    pub oldest: f64,
}

/// A partition is refused from this many times the least delay on. At 1, nodes that are all
/// healthy lose a fifth of their throughput to chance; at 3 and 5 the slowest percent doubles.
pub const FACTOR: f64 = 2.0;

/// Weight of the latest request in both means.
pub const GAIN: f64 = 0.1;

impl Seen {
    /// A request has ended that took `latency`, with `in_flight` others when it began.
    pub fn ended(&mut self, latency: f64, in_flight: f64) {
        let gain = if self.latency > 0.0 { GAIN } else { 1.0 };
        self.latency += gain * (latency - self.latency);
        self.usual_in_flight += gain * (in_flight - self.usual_in_flight);
    }

    /// The delay to expect of one more request: latency, in proportion to the queue, and no less
    /// than what the oldest request has waited already.
    pub fn expected(&self) -> f64 {
        let queued = self.latency * (self.in_flight + 1.0) / (self.usual_in_flight + 1.0);
        if queued.is_finite() { queued.max(self.oldest) } else { self.oldest }
    }
}

/// The partitions that may take a new key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    limit: f64,
}

impl Gate {
    /// By the delay expected of each partition that is in service. What is not a number is not
    /// known, and refused nothing.
    pub fn new(delays: impl IntoIterator<Item = f64>) -> Gate {
        let least = delays.into_iter().filter(|d| *d >= 0.0).fold(f64::INFINITY, f64::min);
        Gate { limit: if least > 0.0 { FACTOR * least } else { f64::INFINITY } }
    }

    /// Whether a partition of this expected delay may take a new key.
    pub fn admits(&self, delay: f64) -> bool {
        delay.is_nan() || delay <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(latency: f64, in_flight: f64, usual_in_flight: f64, oldest: f64) -> Seen {
        Seen { latency, in_flight, usual_in_flight, oldest }
    }

    #[test]
    fn a_queue_and_an_old_request_lengthen_the_delay() {
        assert_eq!(seen(0.01, 3.0, 3.0, 0.0).expected(), 0.01);
        assert_eq!(seen(0.01, 7.0, 3.0, 0.0).expected(), 0.02);
        assert_eq!(seen(0.01, 3.0, 3.0, 1.5).expected(), 1.5);
        assert_eq!(seen(0.0, 0.0, 0.0, 0.0).expected(), 0.0);
        assert_eq!(seen(f64::INFINITY, 0.0, 0.0, 2.0).expected(), 2.0);
    }

    #[test]
    fn the_first_request_sets_the_mean_and_others_move_it() {
        let mut partition = Seen::default();
        partition.ended(0.5, 4.0);
        assert_eq!((partition.latency, partition.usual_in_flight), (0.5, 4.0));
        partition.ended(1.5, 4.0);
        assert!((partition.latency - 0.6).abs() < 1e-12);
    }

    #[test]
    fn what_is_twice_as_slow_as_the_fastest_is_refused() {
        let delays = [0.01, 0.02, 0.021, f64::NAN];
        let gate = Gate::new(delays);
        assert_eq!(delays.map(|d| gate.admits(d)), [true, true, false, true]);
        // One that has not been used yet is no measure for the others, nor is it refused.
        let gate = Gate::new([0.0, 5.0]);
        assert!(gate.admits(5.0) && gate.admits(0.0));
        assert!(Gate::new([]).admits(9.0));
    }

    #[test]
    fn somebody_is_always_admitted() {
        for delays in [[3.0, 4.0, 5.0], [f64::INFINITY; 3], [0.0, 1e9, 1e12], [f64::NAN; 3]] {
            let gate = Gate::new(delays);
            assert!(delays.iter().any(|d| gate.admits(*d)), "{delays:?}");
        }
    }
}
