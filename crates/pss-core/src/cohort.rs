//! The load of keys placed earlier: how much a key brings at each age, and what is still to come.
//!
//! Time goes in steps of one sampling cycle. New keys are counted by partition and age; from each
//! partition's own load, cycle by cycle, the expected load of a key at an age is estimated (deaths
//! included). It must never see a load that pss did not place: that is foreign, and forecast.

use crate::age::{AgeCounts, BUCKETS, Profile};
use crate::level::CLASSES;

/// Unknowns of the fit: a load for each size class and age.
const UNKNOWNS: usize = CLASSES * BUCKETS;

/// Lags, in cycles, over which what the ages do not explain is seen to persist.
const LAGS: usize = 8;

/// Sweeps of the fit a cycle.
const SWEEPS: usize = 8;

/// How the profile is learnt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Weight that a cycle keeps from one to the next: 0.998 remembers about 500 cycles.
    pub discount: f64,
    /// Pull of neighbouring ages towards each other, relative to the data of one age.
    pub smoothing: f64,
    /// Part that the last cycle has in the expected number of new keys.
    pub arrival_gain: f64,
}

impl Default for Config {
    fn default() -> Config {
        Config { discount: 0.998, smoothing: 0.002, arrival_gain: 0.2 }
    }
}

/// Keys of one sharded table by partition and age, and what they are expected to bring.
#[derive(Debug, Clone)]
pub struct Cohorts {
    config: Config,
    /// By partition and size class.
    counts: Vec<[AgeCounts; CLASSES]>,
    fit: Fit,
    /// Own load that the ages do not explain, newest cycle first: heavier or longer-lived keys.
    residuals: Vec<[f64; LAGS]>,
    persistence: Persistence,
    /// Keys a cycle by size class, over all partitions, exponentially smoothed.
    arrivals: [f64; CLASSES],
    cycles: usize,
}

impl Cohorts {
    /// No keys yet, on `partitions` partitions.
    pub fn new(partitions: usize, config: Config) -> Cohorts {
        Cohorts {
            config,
            counts: vec![[AgeCounts::default(); CLASSES]; partitions],
            fit: Fit::default(),
            residuals: vec![[0.0; LAGS]; partitions],
            persistence: Persistence::default(),
            arrivals: [0.0; CLASSES],
            cycles: 0,
        }
    }

    /// Adds keys older than all that are counted by age: those a restart finds in the row map.
    pub fn add_old(&mut self, keys: &[f64]) {
        for (counts, &keys) in self.counts.iter_mut().zip(keys) {
            counts[0].add_old(keys);
        }
    }

    /// Keys move from one partition to another, some of each age and size, as many as there are.
    pub fn carry(&mut self, from: usize, to: usize, keys: f64) {
        if from == to || from.max(to) >= self.counts.len() {
            return;
        }
        let all: f64 = self.counts[from].iter().flat_map(|counts| counts.keys()).sum();
        let part = (keys / all).clamp(0.0, 1.0);
        if part.is_nan() {
            return;
        }
        let mut leaving = self.counts[from];
        leaving.iter_mut().for_each(|counts| counts.scale(part));
        self.counts[from].iter_mut().for_each(|counts| counts.scale(1.0 - part));
        self.counts[to].iter_mut().zip(&leaving).for_each(|(counts, more)| counts.add(more));
        for lag in 0..LAGS {
            let gone = part * self.residuals[from][lag];
            self.residuals[from][lag] -= gone;
            self.residuals[to][lag] += gone;
        }
    }

    /// Takes in one cycle: keys placed in it, by partition and size class, and the own load
    /// (cost units/s) it brought, by partition. Slices shorter than the partitions stand for
    /// zeros.
    pub fn observe(&mut self, placed: &[[f64; CLASSES]], own: &[f64]) {
        let own = |i: usize| own.get(i).copied().unwrap_or(0.0);
        let discount = self.config.discount;
        self.fit.decay(discount);
        let mut keys = [0.0; CLASSES];
        for (i, counts) in self.counts.iter_mut().enumerate() {
            let placed = placed.get(i).unwrap_or(&[0.0; CLASSES]);
            for ((counts, placed), keys) in counts.iter_mut().zip(placed).zip(&mut keys) {
                counts.step(*placed);
                *keys += placed;
            }
            self.fit.add(counts, own(i));
        }
        self.fit.solve(self.config.smoothing);
        self.fit.unexplained *= discount;
        self.fit.observations *= discount;
        self.persistence.decay(discount);
        for (i, residuals) in self.residuals.iter_mut().enumerate() {
            let residual = own(i) - load(&self.fit.profiles, &self.counts[i]);
            self.fit.unexplained += residual * residual;
            self.fit.observations += 1.0;
            self.persistence.add(residual, residuals);
            residuals.rotate_right(1);
            residuals[0] = residual;
        }
        // A mean over the first cycles, then over the last few: the number of new keys follows
        // the day, but single cycles are noise.
        self.cycles += 1;
        let gain = self.config.arrival_gain.max(1.0 / self.cycles as f64);
        self.arrivals.iter_mut().zip(keys).for_each(|(mean, n)| *mean += gain * (n - *mean));
    }

    /// Expected load of a new key at each age, over the size classes as they arrive.
    pub fn profile(&self) -> Profile {
        let all = self.arrivals();
        let mut mean = Profile::default();
        for (profile, arrivals) in self.fit.profiles.iter().zip(self.arrivals) {
            let part = if all > 0.0 { arrivals / all } else { 0.0 };
            mean.0.iter_mut().zip(profile.0).for_each(|(mean, load)| *mean += part * load);
        }
        mean
    }

    /// Expected load of a key of each size class at each age.
    pub fn profiles(&self) -> &[Profile; CLASSES] {
        &self.fit.profiles
    }

    /// Cycles observed.
    pub fn cycles(&self) -> usize {
        self.cycles
    }

    /// Whether keys come with their sizes.
    pub fn sized(&self) -> bool {
        self.arrivals[1..].iter().sum::<f64>() > self.arrivals[0]
    }

    /// Expected new keys a cycle, over all partitions.
    pub fn arrivals(&self) -> f64 {
        self.arrivals.iter().sum()
    }

    /// Expected load (cost units/s) of the keys already placed on each partition, in the cycle
    /// `ahead` from the last (1 = the next).
    ///
    /// C(h) = sum over ages of n(a) g(a + h), and the part of the partition's last residual that
    /// is known to persist over h cycles. That part may bring it below zero: on such a partition
    /// the keys still to come bring less, too.
    pub fn committed(&self, ahead: usize) -> Vec<f64> {
        self.expected(|profile| profile.later(ahead), self.persistence.after(ahead))
    }

    /// The mean of [`Cohorts::committed`] over the next `window` cycles.
    pub fn committed_over(&self, window: usize) -> Vec<f64> {
        self.expected(|profile| profile.over(window), self.persistence.over(window))
    }

    fn expected(&self, shift: impl Fn(&Profile) -> Profile, persists: f64) -> Vec<f64> {
        let later: [Profile; CLASSES] = std::array::from_fn(|k| shift(&self.fit.profiles[k]));
        let one = |(counts, residuals): (&[AgeCounts; CLASSES], &[f64; LAGS])| {
            load(&later, counts) + persists * residuals[0]
        };
        self.counts.iter().zip(&self.residuals).map(one).collect()
    }

    /// Expected load (cost units/s) of keys still to come, in the cycle `ahead` from the last:
    /// V(h) = arrivals x (g(0) + ... + g(h - 1)).
    pub fn controllable(&self, ahead: usize) -> f64 {
        self.arrivals() * self.profile().of_keys_since(ahead)
    }

    /// The mean of [`Cohorts::controllable`] over the next `window` cycles.
    pub fn controllable_over(&self, window: usize) -> f64 {
        let profile = self.profile();
        let brought: f64 = (1..=window).map(|ahead| profile.of_keys_since(ahead)).sum();
        self.arrivals() * brought / window.max(1) as f64
    }
}

fn load(profiles: &[Profile; CLASSES], counts: &[AgeCounts; CLASSES]) -> f64 {
    profiles.iter().zip(counts).map(|(profile, counts)| profile.load(counts)).sum()
}

/// Discounted non-negative least squares of own load on keys by size class and age.
#[derive(Debug, Clone)]
struct Fit {
    /// Discounted sum of outer products of the key counts, row by row.
    normal: Vec<[f64; UNKNOWNS]>,
    /// Discounted sum of key counts times load.
    target: [f64; UNKNOWNS],
    /// Discounted sum of squares of what the fit does not explain, and of how many loads.
    unexplained: f64,
    observations: f64,
    profiles: [Profile; CLASSES],
}

impl Default for Fit {
    fn default() -> Fit {
        Fit {
            normal: vec![[0.0; UNKNOWNS]; UNKNOWNS],
            target: [0.0; UNKNOWNS],
            unexplained: 0.0,
            observations: 0.0,
            profiles: [Profile::default(); CLASSES],
        }
    }
}

impl Fit {
    fn decay(&mut self, discount: f64) {
        for (i, row) in self.normal.iter_mut().enumerate().filter(|(i, row)| row[*i] > 0.0) {
            row.iter_mut().for_each(|x| *x *= discount);
            self.target[i] *= discount;
        }
    }

    fn add(&mut self, counts: &[AgeCounts; CLASSES], load: f64) {
        let mut keys = [0.0; UNKNOWNS];
        for (keys, counts) in keys.chunks_exact_mut(BUCKETS).zip(counts) {
            keys.copy_from_slice(counts.keys());
        }
        for (row, &k) in keys.iter().enumerate().filter(|(_, k)| **k > 0.0) {
            self.target[row] += k * load;
            self.normal[row].iter_mut().zip(&keys).for_each(|(x, other)| *x += k * other);
        }
    }

    /// A pull that is worth its place: the variance of what is not explained, over that of the
    /// difference between two ages, which is of the order of the greatest load. Exact data need
    /// no smoothing, and where the counts hardly change it would win against them.
    fn strongest_pull(&self) -> f64 {
        let greatest = self.profiles.iter().flat_map(|p| p.0).fold(0.0, f64::max);
        let pull = self.unexplained / self.observations / (greatest * greatest);
        if pull.is_finite() { pull } else { f64::INFINITY }
    }

    /// Projected coordinate descent from the last solution: a few sweeps a cycle suffice,
    /// because one cycle changes little.
    fn solve(&mut self, smoothing: f64) {
        let known: Vec<usize> = (0..UNKNOWNS).filter(|&i| self.normal[i][i] > 0.0).collect();
        let mut load = [0.0; UNKNOWNS];
        for (load, profile) in load.chunks_exact_mut(BUCKETS).zip(&self.profiles) {
            load.copy_from_slice(&profile.0);
        }
        let strongest = self.strongest_pull();
        for _ in 0..SWEEPS {
            for &i in &known {
                let row = &self.normal[i];
                let explained: f64 = known.iter().map(|&j| row[j] * load[j]).sum();
                let mut gradient = self.target[i] - explained + row[i] * load[i];
                let mut curvature = row[i];
                for neighbour in neighbours(i) {
                    // As strong as the less known of the two: old keys are many and must not
                    // pull the young ones after them.
                    let pull = smoothing * self.normal[neighbour][neighbour].min(row[i]);
                    let pull = pull.min(strongest);
                    gradient += pull * load[neighbour];
                    curvature += pull;
                }
                load[i] = (gradient / curvature).max(0.0);
            }
        }
        for (profile, load) in self.profiles.iter_mut().zip(load.chunks_exact(BUCKETS)) {
            profile.0.copy_from_slice(load);
        }
    }
}

/// The ages next to an unknown in its size class, and the same age in the next classes (that of
/// unknown size has none).
fn neighbours(i: usize) -> impl Iterator<Item = usize> {
    let (class, age) = (i / BUCKETS, i % BUCKETS);
    [
        (age > 0).then(|| i - 1),
        (age + 1 < BUCKETS).then_some(i + 1),
        (class > 1).then(|| i - BUCKETS),
        (class > 0 && class + 1 < CLASSES).then_some(i + BUCKETS),
    ]
    .into_iter()
    .flatten()
}

/// Pooled regression of a residual on the same partition's residual some cycles before.
#[derive(Debug, Clone, Default)]
struct Persistence {
    /// Discounted sums of (residual now x residual `lag` cycles before).
    products: [f64; LAGS],
    /// Discounted sums of (residual `lag` cycles before) squared.
    squares: [f64; LAGS],
}

impl Persistence {
    fn decay(&mut self, discount: f64) {
        self.products.iter_mut().chain(&mut self.squares).for_each(|x| *x *= discount);
    }

    fn add(&mut self, now: f64, before: &[f64; LAGS]) {
        for (lag, &before) in before.iter().enumerate() {
            self.products[lag] += now * before;
            self.squares[lag] += before * before;
        }
    }

    /// Mean of [`Persistence::after`] over the next `window` cycles.
    fn over(&self, window: usize) -> f64 {
        (1..=window).map(|ahead| self.after(ahead)).sum::<f64>() / window.max(1) as f64
    }

    /// The part of a residual still there `ahead` cycles later; beyond the lags it fades
    /// geometrically, at the rate from half of them to all.
    fn after(&self, ahead: usize) -> f64 {
        let at = |lag: usize| {
            if self.squares[lag] > 0.0 {
                (self.products[lag] / self.squares[lag]).clamp(0.0, 1.0)
            } else {
                0.0
            }
        };
        match ahead.checked_sub(1) {
            None => 1.0,
            Some(lag) if lag < LAGS => at(lag),
            Some(lag) => {
                let (half, all) = (at(LAGS / 2 - 1), at(LAGS - 1));
                let rate = if half > 0.0 { (all / half).min(1.0) } else { 0.0 };
                all * rate.powf((lag + 1 - LAGS) as f64 / (LAGS / 2) as f64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator, so that the core needs no randomness of its own.
    fn noise(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*state >> 33) as f64 / (1u64 << 31) as f64
    }

    fn sizeless(keys: &[f64]) -> Vec<[f64; CLASSES]> {
        keys.iter().map(|&n| std::array::from_fn(|k| if k == 0 { n } else { 0.0 })).collect()
    }

    /// Keys that bring 5, 3, 2, 1 in their first four cycles, then nothing.
    fn learnt(cycles: usize) -> (Cohorts, Vec<Vec<f64>>) {
        let truth = [5.0, 3.0, 2.0, 1.0];
        let mut cohorts = Cohorts::new(4, Config::default());
        let mut history: Vec<Vec<f64>> = Vec::new();
        let mut seed = 1;
        for _ in 0..cycles {
            history.push((0..4).map(|_| (noise(&mut seed) * 20.0).floor()).collect());
            let own: Vec<f64> = (0..4)
                .map(|i| truth.iter().zip(history.iter().rev()).map(|(g, n)| g * n[i]).sum())
                .collect();
            cohorts.observe(&sizeless(history.last().expect("just pushed")), &own);
        }
        (cohorts, history)
    }

    #[test]
    fn finds_the_load_by_age() {
        let (cohorts, _) = learnt(300);
        for (age, truth) in [5.0, 3.0, 2.0, 1.0, 0.0, 0.0].into_iter().enumerate() {
            let found = cohorts.profile().at(age);
            assert!((found - truth).abs() < 0.15, "age {age}: {found} for {truth}");
        }
        // (5 x 0.5 + 3 x 1.5 + 2 x 2.5 + 1 x 3.5) / 11
        assert!((cohorts.profile().life() - 1.41).abs() < 0.1, "{}", cohorts.profile().life());
    }

    #[test]
    fn committed_load_is_what_will_come() {
        let (cohorts, history) = learnt(300);
        let committed = cohorts.committed(1);
        for (i, committed) in committed.iter().enumerate() {
            let n = |back: usize| history[history.len() - back][i];
            let truth = 3.0 * n(1) + 2.0 * n(2) + n(3);
            assert!((committed - truth).abs() < 6.0, "{committed} for {truth}");
        }
        // All of it comes in the next three cycles.
        for (short, long) in cohorts.committed_over(3).iter().zip(cohorts.committed_over(30)) {
            assert!((short / 10.0 - long).abs() < 1.0, "{short} {long}");
        }
        let arrivals = cohorts.arrivals();
        assert!((cohorts.controllable_over(2) - 6.5 * arrivals).abs() < 0.3 * arrivals);
    }

    #[test]
    fn a_lasting_residual_stays_with_its_partition() {
        let mut cohorts = Cohorts::new(2, Config::default());
        let mut seed = 7;
        for _ in 0..200 {
            // The keys of partition 1 bring twice as much, at every age.
            let placed = [10.0 + noise(&mut seed), 10.0 + noise(&mut seed)];
            cohorts.observe(&sizeless(&placed), &[10.0, 20.0]);
        }
        let committed = cohorts.committed(4);
        assert!(committed[1] - committed[0] > 8.0, "{committed:?}");
    }

    #[test]
    fn what_keys_will_bring_moves_with_them() {
        let (mut cohorts, _) = learnt(300);
        let before = cohorts.committed(1);
        let keys: f64 = cohorts.counts[0].iter().flat_map(|counts| counts.keys()).sum();
        cohorts.carry(0, 3, keys / 4.0);
        let after = cohorts.committed(1);
        assert!((after[0] - 0.75 * before[0]).abs() < 1e-9, "{before:?} {after:?}");
        assert!((after[3] - before[3] - 0.25 * before[0]).abs() < 1e-9);
        assert_eq!(after[1..3], before[1..3]);
        // More than there are is all of them; to a partition that is not there, none.
        cohorts.carry(0, 3, 1e9);
        assert!(cohorts.committed(1)[0].abs() < 1e-9);
        cohorts.carry(3, 4, 1.0);
        cohorts.carry(3, 1, f64::NAN);
        let all: f64 = cohorts.committed(1).iter().sum();
        assert!((all - before.iter().sum::<f64>()).abs() < 1e-6);
    }

    #[test]
    fn knows_nothing_without_keys() {
        let mut cohorts = Cohorts::new(2, Config::default());
        cohorts.observe(&[], &[]);
        assert_eq!(cohorts.committed(3), [0.0, 0.0]);
        assert_eq!(cohorts.controllable(3), 0.0);
    }
}
