//! Ages of keys in a few buckets: counts of keys by age, and load of a key by age.
//!
//! Ages run in cycles. The first eight buckets are one cycle wide, then each is twice as wide as
//! the one before and the last has no end. A count is sixteen numbers whatever the number of
//! keys, so a thousand partitions cost little; it must never need to know a key.

/// Number of age buckets.
pub const BUCKETS: usize = 16;

/// Width of each bucket in cycles; the last has no end.
const WIDTHS: [f64; BUCKETS] =
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, f64::INFINITY];

/// Keys by age, on one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AgeCounts([f64; BUCKETS]);

impl AgeCounts {
    /// One cycle passes, in which `placed` keys were placed: they have age 0.
    ///
    /// A wide bucket hands on 1/width of its keys a cycle: the ages inside it are not known.
    pub fn step(&mut self, placed: f64) {
        let mut entering = placed;
        for (keys, width) in self.0.iter_mut().zip(WIDTHS) {
            let leaving = *keys / width;
            *keys += entering - leaving;
            entering = leaving;
        }
    }

    /// Adds keys of unknown, great age.
    pub fn add_old(&mut self, keys: f64) {
        self.0[BUCKETS - 1] += keys;
    }

    /// Keeps a part of the keys of each age.
    pub fn scale(&mut self, part: f64) {
        self.0.iter_mut().for_each(|keys| *keys *= part);
    }

    /// Adds keys of the same ages.
    pub fn add(&mut self, more: &AgeCounts) {
        self.0.iter_mut().zip(more.0).for_each(|(keys, more)| *keys += more);
    }

    /// Keys in each bucket.
    pub fn keys(&self) -> &[f64; BUCKETS] {
        &self.0
    }
}

/// Expected load (cost units/s) of a key in each age bucket, deaths included: g(a).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Profile(pub [f64; BUCKETS]);

impl Profile {
    /// Load of a key `age` cycles old.
    pub fn at(&self, age: usize) -> f64 {
        let mut end = 0.0;
        for (load, width) in self.0.iter().zip(WIDTHS) {
            end += width;
            if (age as f64) < end {
                return *load;
            }
        }
        self.0[BUCKETS - 1]
    }

    /// The profile of the same keys `ahead` cycles later: each bucket's mean of g(a + ahead).
    pub fn later(&self, ahead: usize) -> Profile {
        let mut later = [self.0[BUCKETS - 1]; BUCKETS];
        let mut start = ahead as f64;
        for (mean, width) in later.iter_mut().zip(WIDTHS).take(BUCKETS - 1) {
            *mean = self.integral(start, start + width) / width;
            start += width;
        }
        Profile(later)
    }

    /// The mean of [`Profile::later`] over the next `window` cycles.
    pub fn over(&self, window: usize) -> Profile {
        let mut mean = Profile::default();
        for ahead in 1..=window {
            let later = self.later(ahead);
            mean.0.iter_mut().zip(later.0).for_each(|(m, l)| *m += l / window as f64);
        }
        mean
    }

    /// Load of all keys together.
    pub fn load(&self, counts: &AgeCounts) -> f64 {
        self.0.iter().zip(&counts.0).map(|(g, n)| g * n).sum()
    }

    /// Load of one new key a cycle after `cycles` cycles: g(0) + ... + g(cycles - 1).
    pub fn of_keys_since(&self, cycles: usize) -> f64 {
        self.integral(0.0, cycles as f64)
    }

    /// Mean age, in cycles, at which a key brings its load; twice that is its life if it brings
    /// the same load until it ends. A load that never ends counts as one cycle more than all
    /// bounded ages.
    pub fn life(&self) -> f64 {
        let (mut load, mut moment, mut start) = (0.0, 0.0, 0.0);
        for (g, width) in self.0.iter().zip(WIDTHS) {
            let width = if width.is_finite() { width } else { 1.0 };
            load += g * width;
            moment += g * width * (start + width / 2.0);
            start += width;
        }
        if load > 0.0 { moment / load } else { 0.0 }
    }

    /// Integral of g from one age to another, in load x cycles.
    fn integral(&self, from: f64, to: f64) -> f64 {
        let (mut sum, mut start) = (0.0, 0.0);
        for (g, width) in self.0.iter().zip(WIDTHS) {
            let end = start + width;
            sum += g * (to.min(end) - from.max(start)).max(0.0);
            start = end;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_grow_older_and_none_is_lost() {
        let mut counts = AgeCounts::default();
        counts.step(100.0);
        for age in 0..8 {
            assert_eq!(counts.keys()[age], 100.0);
            counts.step(0.0);
        }
        for _ in 0..5000 {
            counts.step(0.0);
        }
        assert!((counts.keys()[BUCKETS - 1] - 100.0).abs() < 1e-6);
        counts.add_old(5.0);
        assert!((counts.keys().iter().sum::<f64>() - 105.0).abs() < 1e-6);
    }

    #[test]
    fn a_profile_shifts_with_age() {
        let mut profile = Profile::default();
        profile.0[..4].copy_from_slice(&[4.0, 3.0, 2.0, 1.0]);
        assert_eq!(profile.later(1).0[..4], [3.0, 2.0, 1.0, 0.0]);
        assert_eq!(profile.later(9).0, [0.0; BUCKETS]);
        assert_eq!((profile.at(1), profile.at(900)), (3.0, 0.0));
        assert_eq!(profile.of_keys_since(2), 7.0);
        // (4 x 0.5 + 3 x 1.5 + 2 x 2.5 + 1 x 3.5) / 10
        assert_eq!(profile.life(), 1.5);
        profile.0[BUCKETS - 1] = 1.0;
        assert_eq!(profile.later(500).0, [1.0; BUCKETS]);
    }

    #[test]
    fn wide_buckets_shift_by_their_part() {
        let mut profile = Profile::default();
        profile.0[9] = 8.0; // ages 10 to 13
        let later = profile.later(2);
        assert_eq!(later.0[8], 8.0);
        assert_eq!(later.0[9], 4.0);
    }
}
