//! Tests of calibration: costs that are known are found, and what must not be learnt is not.

use super::*;
use proptest::prelude::*;

const SECOND: i64 = 1_000_000;

/// True costs in microseconds; relative to an insert: update 4, fetch 0.5, read 0.01, block 5.
const TRUE_US: ByEvent<f64> = [20.0, 80.0, 16.0, 10.0, 0.2, 100.0];

/// Numbers that look random and are the same in every run (xorshift, Marsaglia 2003).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A table of four partitions under a mix of events that differs by partition and changes.
struct World {
    noise: Noise,
    seen: Vec<Timed>,
    at_us: i64,
    calibrator: Calibrator,
}

impl World {
    fn new() -> Self {
        World {
            noise: Noise(0x9E37_79B9_7F4A_7C15),
            seen: vec![Timed::default(); 4],
            at_us: 0,
            calibrator: Calibrator::new(4),
        }
    }

    /// Ten seconds: event k happens `rates[k]` times on average, times of statements are off by
    /// `spread` of what they are.
    fn sample(&mut self, rates: &ByEvent<f64>, us: &ByEvent<f64>, spread: f64) {
        self.at_us += 10 * SECOND;
        for position in 0..self.seen.len() {
            let n = rates.map(|rate| (rate * 2.0 * self.noise.next()) as u64);
            let c = &mut self.seen[position].counters;
            c.inserted += n[0];
            c.updated += n[1];
            c.deleted += n[2];
            c.index_fetched += n[3];
            c.sequentially_read += n[4];
            c.blocks_read += n[5];
            let off = 1.0 + spread * (2.0 * self.noise.next() - 1.0);
            let times: ByEvent<f64> = std::array::from_fn(|k| us[k] * n[k] as f64 * off);
            self.seen[position].statement_us += times.iter().sum::<f64>() as u64;
            self.seen[position].insert_us += times[0] as u64;
            let seen = self.seen[position];
            self.calibrator.sample(position, self.at_us, &seen);
        }
    }

    fn samples(&mut self, n: usize, rates: &ByEvent<f64>, us: &ByEvent<f64>, spread: f64) -> Fit {
        for _ in 0..n {
            self.sample(rates, us, spread);
        }
        self.calibrator.fit().unwrap()
    }
}

const RATES: ByEvent<f64> = [500.0, 200.0, 100.0, 2000.0, 30_000.0, 50.0];

fn near(costs: &ByEvent<f64>, expected: &ByEvent<f64>, within: f64) -> bool {
    costs.iter().zip(expected).all(|(c, e)| (c / e - 1.0).abs() < within)
}

fn relative(us: &ByEvent<f64>) -> ByEvent<f64> {
    us.map(|c| c / us[0])
}

/// Distance from `expected`, in standard errors, of the kind that is farthest off.
fn farthest(fit: &Fit, expected: &ByEvent<f64>) -> f64 {
    let off = (1..EVENTS).map(|k| (fit.costs[k] - expected[k]).abs() / fit.errors[k]);
    off.fold(0.0, f64::max)
}

#[test]
fn costs_are_found_behind_noise() {
    let fit = World::new().samples(1000, &RATES, &TRUE_US, 0.2);
    let expected = relative(&TRUE_US);
    assert!(fit.is_trusted(), "{fit:?}");
    assert_eq!(fit.costs[0], 1.0);
    assert!(farthest(&fit, &expected) < 3.0, "{} {fit:?}", farthest(&fit, &expected));
    for k in [1, 3, 4] {
        assert!((fit.costs[k] / expected[k] - 1.0).abs() < 0.1, "{fit:?}");
    }
}

#[test]
fn true_defaults_are_left_in_force() {
    let defaults = CostModel::default().by_event();
    let fit = World::new().samples(1000, &RATES, &defaults.map(|c| 20.0 * c), 0.2);
    assert!(farthest(&fit, &defaults) < 3.0, "{} {fit:?}", farthest(&fit, &defaults));
    assert!(!fit.is_trusted() && fit.left > MOST_LEFT, "nothing is won: {fit:?}");
    assert_eq!(adopt(None, &fit), None);
}

#[test]
fn few_observations_and_pure_noise_are_not_trusted() {
    let fit = World::new().samples(80, &RATES, &TRUE_US, 0.2);
    assert!(!fit.is_trusted() && fit.observations < LEAST_OBSERVATIONS, "{fit:?}");
    let fit = World::new().samples(1000, &RATES.map(|r| r.min(60.0)), &TRUE_US.map(|_| 50.0), 1.0);
    let noise = World::new().samples(1000, &[500.0, 0.0, 0.0, 0.0, 0.0, 0.0], &TRUE_US, 0.0);
    assert!(!noise.is_trusted(), "one kind of event says nothing of the others: {noise:?}");
    assert!(near(&noise.costs, &CostModel::default().by_event(), 1e-6), "{noise:?}");
    assert!(fit.costs.iter().zip(CostModel::default().by_event()).all(|(c, d)| *c <= 8.0 * d));
}

#[test]
fn events_that_come_together_keep_the_ratio_of_their_defaults() {
    let mut w = World::new();
    let mut fetched = 0;
    for _ in 0..1000 {
        w.at_us += 10 * SECOND;
        for position in 0..4 {
            let n = (w.noise.next() * 1000.0) as u64;
            let inserted = (w.noise.next() * 1000.0) as u64;
            fetched += n;
            let t = &mut w.seen[position];
            t.counters.inserted += inserted;
            t.counters.updated += n;
            t.counters.index_fetched += n;
            t.statement_us += 10 * inserted + 34 * n;
            t.insert_us += 10 * inserted;
            let t = *t;
            w.calibrator.sample(position, w.at_us, &t);
        }
    }
    assert!(fetched > 0);
    let fit = w.calibrator.fit().unwrap();
    // An update with its fetch costs 3.4 inserts, twice the 1.7 of the defaults.
    assert!((fit.costs[1] + fit.costs[3] - 3.4).abs() < 0.05, "{fit:?}");
    assert!(fit.errors[1] > 0.3, "which of the two is not certain: {fit:?}");
}

#[test]
fn rows_without_a_statement_teach_nothing() {
    let mut w = World::new();
    w.samples(1000, &RATES, &TRUE_US, 0.2);
    let expected = relative(&TRUE_US);
    // Ten minutes of COPY and of dumps: rows and reads that take no statement's time.
    for _ in 0..60 {
        w.at_us += 10 * SECOND;
        for position in 0..4 {
            w.seen[position].counters.inserted += 100_000;
            let seen = w.seen[position];
            w.calibrator.sample(position, w.at_us, &seen);
        }
    }
    let fit = w.calibrator.fit().unwrap();
    assert!(farthest(&fit, &expected) < 3.0, "{fit:?}");
    for _ in 0..6 {
        w.seen[0].counters.sequentially_read += 50_000_000;
        w.sample(&RATES, &TRUE_US, 0.2);
    }
    let fit = w.calibrator.fit().unwrap();
    assert!(farthest(&fit, &expected) < 3.0, "an outlier weighs little: {fit:?}");
}

#[test]
fn what_is_long_ago_is_forgotten() {
    let mut w = World::new();
    w.samples(720, &RATES, &TRUE_US, 0.2);
    let mut later = TRUE_US;
    later[3] = 40.0;
    let fit = w.samples(5 * 720, &RATES, &later, 0.2);
    assert!((fit.costs[3] - 2.0).abs() < 0.4, "bounded by 8 times 0.2, and near it: {fit:?}");
    assert!(fit.costs[3] <= 1.6);
}

#[test]
fn a_reset_a_gap_and_a_clock_set_back_begin_anew() {
    let mut c = Calibrator::new(1);
    let at = |n: u64| Timed {
        counters: Counters { inserted: n, ..Counters::default() },
        statement_us: 20 * n,
        insert_us: 20 * n,
    };
    c.sample(0, 0, &at(1_000));
    c.sample(0, 70 * SECOND, &at(10));
    assert!(c.fit().is_none(), "a reset");
    c.sample(0, 800 * SECOND, &at(50_000));
    assert!(c.fit().is_none(), "a gap");
    c.sample(0, 790 * SECOND, &at(60_000));
    c.sample(0, 800 * SECOND, &at(60_010));
    assert!(c.fit().is_none(), "a clock set back");
    c.sample(0, 860 * SECOND, &at(60_100));
    assert!(c.fit().is_some());
    c.sample(7, 860 * SECOND, &at(1));
}

#[test]
fn costs_in_force_change_seldom() {
    let fit = World::new().samples(1000, &RATES, &TRUE_US, 0.2);
    let adopted = adopt(None, &fit).unwrap();
    assert_eq!(adopted, fit.costs);
    let mut other = fit;
    other.costs[1] *= 1.2;
    assert_eq!(adopt(Some((&adopted, 1e6)), &other), None, "too little");
    other.costs[1] = fit.costs[1] * 1.3;
    assert_eq!(adopt(Some((&adopted, 60.0)), &other), None, "too soon");
    assert_eq!(adopt(Some((&adopted, 1e4)), &other), Some(other.costs));
    other.explained = 0.4;
    assert_eq!(adopt(Some((&adopted, 1e4)), &other), None, "not trusted any more");
}

proptest! {
    /// Whatever the counters say: costs are within their bounds, and nothing is NaN.
    #[test]
    fn costs_keep_their_bounds(
        samples in prop::collection::vec((any::<[u32; 6]>(), any::<u32>(), any::<u32>(), 0i64..200), 1..60),
    ) {
        let mut c = Calibrator::new(1);
        let mut t = Timed::default();
        let mut at = 0;
        for (n, us, insert_us, seconds) in samples {
            t.counters.inserted += u64::from(n[0]);
            t.counters.updated += u64::from(n[1]);
            t.counters.deleted += u64::from(n[2]);
            t.counters.index_fetched += u64::from(n[3]);
            t.counters.sequentially_read += u64::from(n[4]);
            t.counters.blocks_read += u64::from(n[5]);
            t.statement_us += u64::from(us);
            t.insert_us += u64::from(insert_us);
            at += seconds * SECOND;
            c.sample(0, at, &t);
        }
        if let Some(fit) = c.fit() {
            for (k, default) in CostModel::default().by_event().into_iter().enumerate() {
                prop_assert!(fit.costs[k] >= default / 8.0001 && fit.costs[k] <= default * 8.0001);
                prop_assert!(fit.errors[k] >= 0.0 && fit.errors[k].is_finite());
            }
            prop_assert!(fit.explained <= 1.0 && fit.left >= 0.0);
        }
    }
}
