//! Rivals that look at queues and counters of their own, at once, and never ahead.

use super::{Decision, Key, Now, Policy, Seen};

/// Of two random partitions in service, the one with less own load for its capacity.
#[derive(Default)]
pub(super) struct TwoChoices {
    serving: Vec<(usize, f64)>,
}

impl Policy for TwoChoices {
    fn decide(&mut self, seen: &Seen<'_>) -> Decision {
        self.serving.clear();
        self.serving.extend(seen.serving().into_iter().enumerate().filter(|(_, c)| *c > 0.0));
        Decision::EachKey
    }

    fn place(&mut self, key: Key, now: &Now<'_>) -> usize {
        let n = self.serving.len() as u64;
        // Two halves of the hash are two dice.
        let throw = |half: u64| self.serving[(((half & 0xffff_ffff) * n) >> 32) as usize];
        let (a, b) = (throw(key.hash), throw(key.hash >> 32));
        let filled = |(p, capacity): (usize, f64)| now.own[p] / capacity;
        if filled(b) < filled(a) { b.0 } else { a.0 }
    }
}

/// Shortest expected delay, (rows in flight + 1) / capacity, with all that it depends on known at
/// once and without noise.
///
/// A partition is a server that shares its processor among all that is under way: under a load of
/// r = (foreign + own) / capacity there are (own / capacity) / (1 - r) own rows in flight. So the
/// router feels foreign load by how long its own rows take, and needs no statistics.
pub(super) struct Sed;

/// Part of the capacity that is always left, so that queues are finite.
const LEFT: f64 = 0.001;

impl Policy for Sed {
    fn decide(&mut self, _: &Seen<'_>) -> Decision {
        Decision::EachKey
    }

    fn place(&mut self, _: Key, now: &Now<'_>) -> usize {
        let mut best = (f64::INFINITY, 0);
        for (p, &capacity) in now.capacity.iter().enumerate().filter(|(_, c)| **c > 0.0) {
            let left = (capacity - now.foreign[p] - now.own[p]).max(LEFT * capacity);
            // Where nothing is left the longest queue still is the one with the most load.
            let over = (now.foreign[p] + now.own[p] - capacity).max(0.0) / (LEFT * capacity);
            let delay = (now.own[p] / left + 1.0 + over) / capacity;
            if delay < best.0 {
                best = (delay, p);
            }
        }
        best.1
    }
}
