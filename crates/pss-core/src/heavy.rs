//! Heavy hitters: the keys that bring a large part of the rows lately, in bounded memory.
//!
//! Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k
//! elements in data streams", ICDT 2005) over weighted arrivals whose weight halves with time:
//! forward decay (Cormode, Shkapenyuk, Srivastava and Xu, ICDE 2009) weighs newer arrivals more
//! instead of ageing older ones, so that an arrival touches one counter. Summaries are merged as
//! Cafaro, Pulimeno and Tempesta do ("A parallel space saving algorithm for frequent items",
//! Information Sciences 329, 2016).
//!
//! With `m` counters, whatever the arrivals: every key with more than 1/m of the weight is in the
//! sketch; the weight of a key in it is between [`Heavy::certain`] and [`Heavy::at_most`]; a key
//! that is not in it has at most 1/m. The counters are the caller's memory, so that a
//! sketch can lie in shared memory; all-zero memory is an empty one. It must never allocate while
//! it counts.

/// Half-lives after which counts are brought down to the scale of now, long before they overflow.
const REBASE_AFTER: f64 = 64.0;

/// What a sketch knows beside its counters. Plain data; zero is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub struct Head {
    /// Time in microseconds at which a weight of 1 counts 1.
    landmark_us: i64,
    /// Sum of all weights, at the landmark's scale.
    total: f64,
}

/// One key and its count. Plain data; a count of zero is a free place.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub struct Counter {
    key: u64,
    /// At least the key's weight, at the landmark's scale.
    count: f64,
    /// By how much the count may be too high.
    error: f64,
    /// Since when (microseconds) the key has had this place.
    since_us: i64,
}

/// A key of a sketch, as parts of the whole weight (0 to 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heavy {
    /// The key's hash.
    pub key: u64,
    /// Part of the weight that it has at least.
    pub certain: f64,
    /// Part of the weight that it has at most.
    pub at_most: f64,
    /// Weight that it has at least, as of now.
    pub weight: f64,
    /// Since when (microseconds) it has been in the sketch without a break.
    pub since_us: i64,
}

/// A sketch over memory of the caller's.
#[derive(Debug)]
pub struct Sketch<'a> {
    head: &'a mut Head,
    counters: &'a mut [Counter],
    half_life_us: i64,
}

impl<'a> Sketch<'a> {
    /// The sketch that lies in `head` and `counters`. A weight halves in `half_life_us`
    /// microseconds (0: never), which must always be the same for the same memory.
    pub fn over(head: &'a mut Head, counters: &'a mut [Counter], half_life_us: i64) -> Self {
        Self { head, counters, half_life_us }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self.head = Head::default();
        self.counters.fill(Counter::default());
    }

    /// Counts a key that arrives at `now_us`. Weights that are not positive and finite count
    /// nothing. A clock that was set back stands still.
    pub fn offer(&mut self, key: u64, weight: f64, now_us: i64) {
        if !(weight > 0.0 && weight.is_finite()) {
            return;
        }
        let weight = weight * self.scale(now_us);
        self.head.total += weight;
        if let Some(known) = self.find_mut(key) {
            known.count += weight;
        } else if let Some(least) = self.least_mut() {
            let error = least.count;
            *least = Counter { key, count: error + weight, error, since_us: now_us };
        }
    }

    /// Adds what another sketch has counted. All that holds for one sketch holds for the sum: of
    /// both sides' keys the heaviest stay.
    pub fn merge(&mut self, other: &Sketch<'_>, now_us: i64) {
        let theirs = self.scale(now_us) / other.scale_at(now_us);
        let (missing_here, missing_there) = (self.least(), other.least() * theirs);
        // A sketch with room misses nothing.
        if missing_there > 0.0 {
            let only_here = |c: &&mut Counter| c.count > 0.0 && other.find(c.key).is_none();
            for mine in self.counters.iter_mut().filter(only_here) {
                mine.count += missing_there;
                mine.error += missing_there;
            }
        }
        let there = || other.counters.iter().filter(|c| c.count > 0.0);
        // Keys of both sides first, before newcomers take their places.
        for counter in there() {
            if let Some(mine) = self.find_mut(counter.key) {
                mine.count += counter.count * theirs;
                mine.error += counter.error * theirs;
            }
        }
        for &Counter { key, count, error, .. } in there() {
            if self.find(key).is_some() {
                continue;
            }
            let (count, error) = (count * theirs + missing_here, error * theirs + missing_here);
            if let Some(least) = self.least_mut().filter(|least| least.count < count) {
                *least = Counter { key, count, error, since_us: now_us };
            }
        }
        self.head.total += other.head.total * theirs;
    }

    /// Places that no key has yet. While there are any, all counts are exact.
    pub fn room(&self) -> usize {
        self.counters.iter().filter(|c| c.count <= 0.0).count()
    }

    /// Whether nothing has been counted.
    pub fn is_empty(&self) -> bool {
        self.head.total <= 0.0
    }

    /// The keys there are, those that are certain to be heaviest first.
    pub fn heaviest(&self, now_us: i64) -> Vec<Heavy> {
        let total = self.head.total.max(f64::MIN_POSITIVE);
        let scale = self.scale_at(now_us);
        let heavy = |c: &Counter| {
            let certain = (c.count - c.error).max(0.0);
            Heavy {
                key: c.key,
                certain: (certain / total).min(1.0),
                at_most: (c.count / total).min(1.0),
                weight: certain / scale,
                since_us: c.since_us,
            }
        };
        let mut heaviest: Vec<_> =
            self.counters.iter().filter(|c| c.count > 0.0).map(heavy).collect();
        heaviest.sort_by(|a, b| b.certain.total_cmp(&a.certain));
        heaviest
    }

    fn find(&self, key: u64) -> Option<&Counter> {
        self.counters.iter().find(|c| c.key == key && c.count > 0.0)
    }

    fn find_mut(&mut self, key: u64) -> Option<&mut Counter> {
        self.counters.iter_mut().find(|c| c.key == key && c.count > 0.0)
    }

    /// The place that gives way: a free one, or that of the key with the least.
    fn least_mut(&mut self) -> Option<&mut Counter> {
        self.counters.iter_mut().reduce(|a, b| if b.count < a.count { b } else { a })
    }

    /// The most that a key which is not in the sketch can have, at the landmark's scale.
    fn least(&self) -> f64 {
        let counts = self.counters.iter().map(|c| c.count);
        counts.reduce(f64::min).unwrap_or(self.head.total)
    }

    /// How much more an arrival counts now than one at the landmark.
    fn scale_at(&self, now_us: i64) -> f64 {
        if self.half_life_us <= 0 {
            return 1.0;
        }
        let age = now_us.saturating_sub(self.head.landmark_us).max(0);
        (age as f64 / self.half_life_us as f64).exp2()
    }

    /// The same; brings the landmark near first.
    fn scale(&mut self, now_us: i64) -> f64 {
        if self.is_empty() {
            self.head.landmark_us = now_us;
        }
        let scale = self.scale_at(now_us);
        if scale < REBASE_AFTER.exp2() {
            return scale;
        }
        self.head.total /= scale;
        for counter in self.counters.iter_mut() {
            counter.count /= scale;
            counter.error /= scale;
        }
        self.head.landmark_us = now_us;
        1.0
    }
}
