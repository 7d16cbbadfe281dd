//! Rivals that look at queues and counters of their own, at once, and never ahead.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

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
#[derive(Default)]
pub(super) struct Sed {
    /// All partitions in service, the least delay on top; but the last one chosen is not in it.
    queues: BinaryHeap<Reverse<Expected>>,
    last: Option<usize>,
}

/// Part of the capacity that is always left, so that queues are finite.
const LEFT: f64 = 0.001;

/// The delay of a partition.
struct Expected {
    delay: f64,
    partition: usize,
}

impl Expected {
    fn of(partition: usize, now: &Now<'_>) -> Reverse<Expected> {
        let capacity = now.capacity[partition];
        let load = now.foreign[partition] + now.own[partition];
        let left = (capacity - load).max(LEFT * capacity);
        // Where nothing is left the longest queue still is the one with the most load.
        let over = (load - capacity).max(0.0) / (LEFT * capacity);
        Reverse(Expected { delay: (now.own[partition] / left + 1.0 + over) / capacity, partition })
    }
}

impl Ord for Expected {
    fn cmp(&self, other: &Self) -> Ordering {
        self.delay.total_cmp(&other.delay).then(self.partition.cmp(&other.partition))
    }
}

impl PartialOrd for Expected {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Expected {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Expected {}

impl Policy for Sed {
    fn decide(&mut self, _: &Seen<'_>) -> Decision {
        Decision::EachKey
    }

    fn begin_step(&mut self, now: &Now<'_>) {
        self.last = None;
        self.queues.clear();
        let serving = (0..now.capacity.len()).filter(|p| now.capacity[*p] > 0.0);
        self.queues.extend(serving.map(|p| Expected::of(p, now)));
    }

    fn place(&mut self, _: Key, now: &Now<'_>) -> usize {
        // Of all delays only that of the partition which took the last key has changed.
        if let Some(last) = self.last.take() {
            self.queues.push(Expected::of(last, now));
        }
        let Some(Reverse(least)) = self.queues.pop() else { return 0 };
        self.last = Some(least.partition);
        least.partition
    }
}
