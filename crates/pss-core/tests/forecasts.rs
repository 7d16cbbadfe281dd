//! What forecasts promise, on series made for it: jobs foreseen, cycles known from coarse history,
//! regimes left behind, nothing odd ever breaking them.

use proptest::prelude::*;
use pss_core::forecast::{Config, Forecaster, Method};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const DAY_S: i64 = 86_400;

fn config(step_s: f64, horizons: &[usize]) -> Config {
    Config { step_s, horizons: horizons.to_vec(), ..Config::default() }
}

/// Sums of |error| of the forecast and of last value, `h` steps ahead, over the targets chosen.
fn errors(
    forecaster: &mut Forecaster,
    values: &[f64],
    h: usize,
    chosen: impl Fn(usize) -> bool,
) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for (t, &y) in values.iter().enumerate() {
        forecaster.push(Some(y));
        if t + h < values.len() && chosen(t + h) {
            sums.0 += (values[t + h] - forecaster.predict(h).expect("known").value).abs();
            sums.1 += (values[t + h] - y).abs();
        }
    }
    sums
}

/// A job of 120 s every 600 s, sampled every 10 s: its fourth run is foreseen 60 s ahead.
#[test]
fn a_periodic_job_is_foreseen_from_its_third_run_on() {
    let mut worst: f64 = 0.0;
    for seed in 0..40 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (first, noise) = (random.random_range(0..60), random.random_range(0.0..4.0));
        let runs = |t: usize| t >= first && (t - first) % 60 < 12;
        let values: Vec<f64> = (0..first + 240)
            .map(|t| {
                let job = if runs(t) { 100.0 } else { 0.0 };
                30.0 + job + noise * random.random_range(-1.0..1.0)
            })
            .collect();
        // Ten steps around the beginning and the end of the fourth run.
        let edges = [first + 180, first + 192];
        let near = |t: usize| edges.iter().any(|&edge| t + 5 >= edge && t < edge + 5);
        let mut forecaster = Forecaster::new(Config::default());
        let (error, naive) = errors(&mut forecaster, &values, 6, near);
        worst = worst.max(error / naive);
    }
    assert!(worst <= 0.25, "{worst}");
}

/// A load that is high by day and low at night, at unix time `time_s`.
fn daily(time_s: i64) -> f64 {
    let hour = time_s.rem_euclid(DAY_S) as f64 / 3600.0;
    if (8.0..18.0).contains(&hour) { 300.0 } else { 50.0 }
}

/// Three days in coarse means, then a few minutes: the morning is seen coming on the first day.
#[test]
fn a_day_learnt_from_coarse_history_is_foreseen() {
    let start = 20_000 * DAY_S;
    // From 7:40 to 7:50; the load rises at 8.
    let first = start + 3 * DAY_S + 7 * 3600 + 40 * 60;
    let forecast = |history: bool| {
        let first_step = first / 10;
        let config = Config { first_step, ..config(10.0, &[1, 30, 60, 90]) };
        let mut forecaster = Forecaster::new(config);
        if history {
            (start..first).step_by(300).for_each(|at| forecaster.learn(at, 300, daily(at)));
        }
        let mut random = SmallRng::seed_from_u64(1);
        for step in first_step..first_step + 80 {
            let noise = 5.0 * random.random_range(-1.0..1.0);
            forecaster.push(Some(daily(step * 10) + noise));
        }
        forecaster
    };
    let without = forecast(false).predict(90).expect("known").value;
    assert!(without < 70.0, "{without}");
    let known = forecast(true);
    assert_eq!(known.method_at(90), Method::Seasonal);
    let value = known.predict(90).expect("known").value;
    assert!(value > 250.0, "{value}");
}

/// Half a day at one level with one cycle, then another: the forecast has left the old one behind
/// within a few cycles of the new.
#[test]
fn a_change_of_regime_is_survived() {
    for seed in 0..10 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut cycle = |t: usize, level: f64, period: usize| {
            let high = if t % period < period / 3 { 0.5 * level } else { 0.0 };
            level + high + 0.02 * level * random.random_range(-1.0..1.0)
        };
        let mut values: Vec<f64> = (0..700).map(|t| cycle(t, 100.0, 30)).collect();
        values.extend((0..400).map(|t| cycle(t, 400.0, 44)));
        let mut forecaster = Forecaster::new(Config::default());
        let (error, naive) = errors(&mut forecaster, &values, 6, |t| t >= 700 + 6 * 44);
        assert!(error < 0.25 * naive, "seed {seed}: {}", error / naive);
    }
}

/// Last value, asked for by name, is last value.
#[test]
fn one_method_asked_for_is_used() {
    for method in Method::ALL {
        let mut random = SmallRng::seed_from_u64(5);
        let config = Config { method: Some(method), ..config(10.0, &[1, 6, 30]) };
        let mut forecaster = Forecaster::new(config);
        for t in 0..300 {
            let y = 100.0 + f64::from(t % 30) + random.random_range(0.0..20.0);
            forecaster.push(Some(y));
            for h in [1, 2, 6, 20, 30] {
                assert_eq!(forecaster.method_at(h), method);
                let predicted = forecaster.predict(h).expect("known").value;
                assert_eq!(Some(predicted), forecaster.predict_by(method, h), "{method:?} {h}");
                if method == Method::Naive {
                    assert_eq!(predicted, y);
                }
            }
        }
    }
}

/// Series that nobody should have to forecast.
fn hostile() -> impl Strategy<Value = Vec<Option<f64>>> {
    let odd = prop_oneof![
        3 => (0.0..1000.0f64).prop_map(Some),
        2 => Just(Some(0.0)),
        1 => Just(None),
        1 => Just(Some(1e300)),
        1 => Just(Some(f64::MAX)),
        1 => Just(Some(f64::MIN_POSITIVE)),
        1 => Just(Some(f64::NAN)),
        1 => Just(Some(f64::INFINITY)),
        1 => Just(Some(-5.0)),
    ];
    let constant = (0.0..1e6f64, 1..700usize).prop_map(|(y, n)| vec![Some(y); n]);
    let spike = (0..300usize)
        .prop_map(|at| (0..300).map(|t| Some(if t == at { 1e12 } else { 0.0 })).collect());
    let resets = (2..9usize, 1.0..1e9f64)
        .prop_map(|(n, y)| (0..400).map(|t| Some(if t % n == 0 { 0.0 } else { y })).collect());
    let short = prop::collection::vec(odd.clone(), 0..4);
    prop_oneof![prop::collection::vec(odd, 4..700), constant, spike, resets, short]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// No panic, no number that is none, in order and never below zero, by every method.
    #[test]
    fn nothing_odd_comes_out(
        pieces in prop::collection::vec((hostile(), 0..2000usize), 1..4),
        step_s in prop_oneof![Just(0.1), Just(1.0), Just(10.0), Just(300.0), Just(3600.0), Just(1e9)],
        first_step in any::<i64>(),
    ) {
        let config = Config { first_step, ..config(step_s, &[1, 3, 30, 90]) };
        let mut forecaster = Forecaster::new(config);
        for (steps, gap) in pieces {
            steps.into_iter().for_each(|step| forecaster.push(step));
            for p in forecaster.path(90) {
                prop_assert!(0.0 <= p.lo && p.lo <= p.value && p.value <= p.hi, "{p:?}");
                prop_assert!(p.hi.is_finite(), "{p:?}");
            }
            for method in Method::ALL {
                let value = forecaster.predict_by(method, 7);
                prop_assert!(value.is_none_or(|v| v.is_finite() && v >= 0.0), "{method:?} {value:?}");
            }
            forecaster.skip(gap);
        }
    }
}

/// However long a gap, the time of day goes on: the morning is where it was.
#[test]
fn a_gap_takes_its_time() {
    for gap in [5, 100, 500, 577, 700, 3_000] {
        let mut forecaster = Forecaster::new(config(300.0, &[1, 2, 3]));
        let mut push = |steps: std::ops::Range<i64>| {
            steps.for_each(|step| forecaster.push(Some(daily(step * 300))));
        };
        push(0..4 * 288);
        // Up to 7:30, from where the rise at 8 is out of a forecast's reach, and then within it.
        let end = (4 * 288 + gap + 287) / 288 * 288 + 90;
        push(4 * 288..end - gap - 10);
        forecaster.skip(gap as usize);
        (end - 10..end).for_each(|step| forecaster.push(Some(daily(step * 300))));
        let seasonal = |f: &Forecaster| f.predict_by(Method::Seasonal, 3).expect("known");
        assert!(seasonal(&forecaster) < 60.0, "gap {gap}: {}", seasonal(&forecaster));
        (end..end + 4).for_each(|step| forecaster.push(Some(daily(step * 300))));
        assert!(seasonal(&forecaster) > 250.0, "gap {gap}: {}", seasonal(&forecaster));
    }
}

/// A life of a million steps takes the memory of the first hours.
#[test]
fn a_million_steps_take_no_more_room() {
    let mut random = SmallRng::seed_from_u64(9);
    let mut forecaster = Forecaster::new(config(10.0, &pss_core::horizons::scored(10.0)));
    let mut early = 0;
    for t in 0..1_000_000 {
        forecaster.push((t % 1013 != 0).then(|| random.random_range(0.0..100.0)));
        if t == 2_000 {
            early = forecaster.bytes();
        }
    }
    assert!(forecaster.bytes() <= early && early <= 12 * 1024, "{} {early}", forecaster.bytes());
    assert!(forecaster.predict(90).expect("known").value.is_finite());
}
