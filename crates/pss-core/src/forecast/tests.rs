//! The forecaster as a whole: alignment, no look-ahead, the methods it chooses, its intervals.

use super::interval::Errors;
use super::models::{ByModel, FIRST_CYCLE};
use super::selection::Records;
use super::testing::{Noise, sine};
use super::*;
use proptest::prelude::*;

fn pushed(values: impl IntoIterator<Item = f64>) -> Forecaster {
    Forecaster::replay(Config::default(), values.into_iter().map(Some))
}

/// A wave of 30 steps between 50 and 150 with noise.
fn day(noise: &mut Noise, t: usize, phase: f64, deviation: f64) -> f64 {
    (100.0 + 50.0 * sine(t, 30.0, phase) + deviation * noise.normal()).max(0.0)
}

/// Mean absolute error relative to last value's at each of the horizons `hs`, over the steps of
/// `values` from `from` on.
fn relative_errors<const N: usize>(values: &[f64], hs: [usize; N], from: usize) -> [f64; N] {
    let mut forecaster = Forecaster::new(Config::default());
    let mut sums = [(0.0, 0.0); N];
    for (t, &y) in values.iter().enumerate() {
        forecaster.push(Some(y));
        for ((model, naive), h) in sums.iter_mut().zip(hs) {
            if t >= from && t + h < values.len() {
                let value = forecaster.predict(h).expect("known").value;
                *model += (values[t + h] - value).abs();
                *naive += (values[t + h] - y).abs();
            }
        }
    }
    sums.map(|(model, naive)| model / naive)
}

#[test]
fn cold_start() {
    assert_eq!(pushed([]).predict(1), None);
    assert!(pushed([]).path(5).is_empty());
    assert_eq!(Forecaster::replay(Config::default(), [None, None]).predict(1), None);
    let one = pushed([42.1]).predict(90).expect("known");
    assert_eq!((one.value, one.lo, one.hi), (42.1, 0.0, 84.2));
    let five = pushed([1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(five.predict(1).expect("known").value, 5.0);
    assert_eq!(five.method(), Method::Naive);
    assert_eq!(five.predict(0), None);
    assert_eq!(five.predict(91), None);
    assert_eq!(five.path(200).len(), 90);
}

/// What is scored must be what `predict(h)` and `predict_by` said `h` steps earlier. Every value
/// of this series differs from every other, so a shift by one cannot go unseen.
#[test]
fn a_forecast_is_scored_against_the_step_it_was_made_for() {
    let mut noise = Noise::new(1);
    let mut forecaster = Forecaster::new(Config::default());
    let hs = forecaster.config.horizons.clone();
    let mut errors: Vec<Errors> = hs.iter().map(|_| Errors::new()).collect();
    let mut records: Vec<Records> = hs.iter().map(|_| Records::new()).collect();
    let mut asked: Vec<Vec<(f64, ByModel)>> = vec![];
    let mut seasons_since = None;
    for t in 0..400usize {
        let y = (!(70..75).contains(&t)).then(|| day(&mut noise, t, 0.0, 5.0) + t as f64);
        forecaster.push(y);
        for (at, &h) in hs.iter().enumerate() {
            // Origins are a fifth of the horizon apart.
            let is_origin = t >= h && (t - h).is_multiple_of(h.div_ceil(5));
            if let (Some(y), true) = (y, is_origin) {
                let (issued, models) = asked[t - h][at];
                errors[at].push(y as f32 - issued as f32);
                records[at].add(&models.map(|said| (y as f32 - said).abs()));
            }
            let horizon = &forecaster.horizons[at];
            let (got, by_hand) = (horizon.errors.interval(0.8), errors[at].interval(0.8));
            assert_eq!(got, by_hand, "t {t}, h {h}");
            // A season that was found is given a record of its own.
            let compared = if forecaster.season.is_some() { FIRST_CYCLE } else { MODELS.len() };
            for (model, name) in MODELS.iter().enumerate().take(compared) {
                let (got, by_hand) = (horizon.records.error(model), records[at].error(model));
                assert_eq!(got, by_hand, "t {t}, h {h}, {name:?}");
            }
        }
        if forecaster.season.is_some() {
            seasons_since.get_or_insert(t);
        }
        let said = hs.iter().enumerate().map(|(at, &h)| {
            let issued = forecaster.predict(h).expect("known").value;
            let models =
                std::array::from_fn(|model| forecaster.value(model, h).expect("known") as f32);
            assert_eq!(issued as f32, models[forecaster.in_use(at)]);
            (issued, models)
        });
        asked.push(said.collect());
    }
    assert!(seasons_since.is_some_and(|t| (50..200).contains(&t)), "{seasons_since:?}");
}

/// On a ramp of slope 1, last value is wrong by exactly `h` at horizon `h`, and the models' ratios
/// follow from their lag: the median of five is two steps late.
#[test]
fn scores_of_a_ramp_are_exact() {
    let forecaster = pushed((0..900).map(f64::from));
    for &horizon in &forecaster.config.horizons {
        let of = |method| {
            let scores = forecaster.scores();
            let score = scores.iter().find(|s| s.method == method && s.horizon == horizon);
            score.expect("scored").relative_error
        };
        assert!((of(Method::Naive) - 1.0).abs() < 1e-6);
        assert!((of(Method::Median) - (horizon as f64 + 2.0) / horizon as f64).abs() < 1e-2);
        // Smoothing with 0.25 settles (1 - 0.25) / 0.25 steps behind the last value.
        let lag = 0.75 / 0.25;
        assert!((of(Method::Ses) - (horizon as f64 + lag) / horizon as f64).abs() < 1e-2);
    }
}

/// A cycle of distinct values: the seasonal forecast for each horizon is the value of that very
/// phase. Any misalignment of season, origin or horizon shows as a whole step.
#[test]
fn the_season_is_continued_in_phase() {
    let cycle = |t: usize| [10.0, 80.0, 30.0, 60.0, 20.0, 90.0, 50.0][t % 7];
    for n in 80..94 {
        let forecaster = pushed((0..n).map(cycle));
        assert_eq!(forecaster.method(), Method::Seasonal);
        for (i, prediction) in forecaster.path(40).iter().enumerate() {
            assert!((prediction.value - cycle(n + i)).abs() < 0.01, "n {n}, h {}", i + 1);
        }
    }
}

#[test]
fn a_day_of_30_steps_is_noticed_after_two_and_used() {
    for seed in 0..10 {
        let mut noise = Noise::new(seed);
        let phase = seed as f64;
        let values: Vec<f64> = (0..240).map(|t| day(&mut noise, t, phase, 5.0)).collect();
        let early = pushed(values[..66].iter().copied());
        assert_eq!(early.method_at(3), Method::Seasonal, "seed {seed}");
        // At the next step the noise leaves last value's error; farther it is phase.
        let relative = relative_errors(&values, [1, 2, 3, 4, 5], 66);
        for (relative, bar) in relative.into_iter().zip([0.75, 0.5, 0.4, 0.35, 0.3]) {
            assert!(relative < bar, "seed {seed}: {relative} for {bar}");
        }
    }
}

/// A load that stands still at first moves as far as it likes later.
#[test]
fn a_still_beginning_does_not_set_the_scale() {
    let mut noise = Noise::new(12);
    let mut level: f64 = 0.0;
    let values: Vec<f64> = (0..600)
        .map(|t| {
            level = 0.8 * level + if t < 100 { 0.0 } else { 20.0 + 10.0 * noise.normal() };
            level.max(0.0)
        })
        .collect();
    let forecaster = pushed(values);
    let ratio = forecaster.scores().into_iter().find(|s| s.method == Method::Ar && s.horizon == 24);
    assert!(ratio.expect("scored").relative_error < 0.98, "{ratio:?}");
}

/// Horizons that nobody scores are between those that are: on a level, at the level.
#[test]
fn between_scored_horizons_nothing_jumps() {
    let mut noise = Noise::new(11);
    let config = Config { horizons: vec![20, 60], ..Config::default() };
    let steps = (0..400).map(|_| Some(1000.0 + noise.normal()));
    let forecaster = Forecaster::replay(config, steps);
    for method in [Method::Ar, Method::Combined] {
        for h in 1..=60 {
            let value = forecaster.predict_by(method, h).expect("known");
            assert!((value - 1000.0).abs() < 5.0, "{method:?} {h}: {value}");
        }
    }
}

#[test]
fn white_noise_is_never_worse_than_last_value() {
    for seed in 0..5 {
        let mut noise = Noise::new(seed);
        let values: Vec<f64> = (0..300).map(|_| (100.0 + 10.0 * noise.normal()).max(0.0)).collect();
        let relative = relative_errors(&values, [1, 3, 30], 10);
        assert!(relative.iter().all(|&r| r < 1.0), "seed {seed}: {relative:?}");
    }
}

/// On a random walk nothing beats last value; choosing among many models must cost little.
#[test]
fn a_random_walk_costs_little() {
    let mut sum = 0.0;
    for seed in 0..8 {
        let mut noise = Noise::new(seed);
        let mut y: f64 = 1000.0;
        let walk = std::iter::repeat_with(|| {
            y = (y + 10.0 * noise.normal()).max(0.0);
            y
        });
        sum += relative_errors(&walk.take(400).collect::<Vec<_>>(), [1], 10)[0];
    }
    assert!(sum / 8.0 < 1.03, "{}", sum / 8.0);
}

#[test]
fn a_constant_is_forecast_exactly() {
    let forecaster = pushed([123.456; 300]);
    for p in forecaster.path(90) {
        assert_eq!((p.value, p.lo, p.hi), (123.456, 123.456, 123.456));
    }
}

#[test]
fn a_step_is_followed_at_once() {
    let mut noise = Noise::new(2);
    let mut level = |t: usize| if t < 150 { 100.0 } else { 300.0 } + noise.normal();
    let values: Vec<f64> = (0..200).map(&mut level).collect();
    for after in [155, 160, 200] {
        let p = pushed(values[..after].iter().copied()).predict(1).expect("known");
        assert!((p.value - 300.0).abs() < 30.0, "after {after}: {}", p.value);
    }
}

#[test]
fn intervals_cover_80_percent_of_noise() {
    let hs = [1, 2, 5, 20];
    let (mut inside, mut count) = ([0.0; 4], [0.0; 4]);
    for seed in 0..12 {
        let mut noise = Noise::new(seed);
        let values: Vec<f64> = (0..400).map(|_| 100.0 + 10.0 * noise.normal()).collect();
        let mut forecaster = Forecaster::new(Config::default());
        for (t, &y) in values.iter().enumerate() {
            forecaster.push(Some(y));
            for (i, h) in hs.into_iter().enumerate().filter(|(_, h)| t >= 60 && t + h < 400) {
                let p = forecaster.predict(h).expect("known");
                count[i] += 1.0;
                inside[i] += f64::from(u8::from((p.lo..=p.hi).contains(&values[t + h])));
            }
        }
    }
    for (i, h) in hs.into_iter().enumerate() {
        let coverage = inside[i] / count[i];
        assert!((0.73..=0.87).contains(&coverage), "h {h}: {coverage}");
    }
}

#[test]
fn missing_is_neither_zero_nor_the_end() {
    let mut forecaster = pushed([100.0; 50]);
    for _ in 0..30 {
        forecaster.push(None);
        assert_eq!(forecaster.predict(1).expect("known").value, 100.0);
    }
    for wrong in [f64::NAN, f64::INFINITY, -1.0] {
        forecaster.push(Some(wrong));
        assert_eq!(forecaster.predict(1).expect("known").value, 100.0);
    }
}

/// The phase goes on through a gap: missing steps keep their place in the cycle.
#[test]
fn a_gap_does_not_shift_the_season() {
    let mut noise = Noise::new(4);
    let values = (0..200).map(|t| {
        let y = day(&mut noise, t, 0.0, 2.0);
        (!(150..167).contains(&t) && t % 11 != 0).then_some(y)
    });
    let forecaster = Forecaster::replay(Config::default(), values);
    assert_eq!(forecaster.method_at(3), Method::Seasonal);
    for h in 1..=30 {
        let expected = 100.0 + 50.0 * sine(199 + h, 30.0, 0.0);
        let value = forecaster.predict(h).expect("known").value;
        assert!((value - expected).abs() < 12.0, "h {h}: {value} for {expected}");
    }
}

#[test]
fn a_long_life_stays_bounded() {
    let mut noise = Noise::new(6);
    let forecaster = pushed((0..2000).map(|t| day(&mut noise, t, 0.0, 5.0)));
    assert!(forecaster.bytes() <= 12 * 1024, "{}", forecaster.bytes());
    assert_eq!(forecaster.period().map(f64::round), Some(30.0));
}

fn steps() -> impl Strategy<Value = Vec<Option<f64>>> {
    let step = prop_oneof![
        4 => (0.0..1000.0f64).prop_map(Some),
        1 => Just(None),
        1 => Just(Some(0.0)),
        1 => (0.0..1e300f64).prop_map(Some),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The forecasts at an origin are the same whatever comes after it.
    #[test]
    fn nothing_is_seen_ahead(
        seed in any::<u64>(),
        origin in 20usize..200,
        future in prop::collection::vec(0.0..1000.0f64, 1..60),
    ) {
        let mut noise = Noise::new(seed);
        let past: Vec<f64> = (0..origin).map(|t| day(&mut noise, t, 0.0, 5.0)).collect();
        let mut asked = Vec::new();
        for next in [future.clone(), future.into_iter().rev().collect()] {
            let mut forecaster = Forecaster::new(Config::default());
            let mut at_origin = Vec::new();
            for (t, &y) in past.iter().chain(&next).enumerate() {
                forecaster.push(Some(y));
                if t + 1 == origin {
                    at_origin = forecaster.path(90);
                }
            }
            asked.push(at_origin);
        }
        prop_assert_eq!(&asked[0], &asked[1]);
    }

    /// Whatever is pushed, forecasts are finite, ordered and not negative.
    #[test]
    fn predictions_are_loads(steps in steps()) {
        let forecaster = Forecaster::replay(Config::default(), steps);
        for p in forecaster.path(90) {
            prop_assert!(0.0 <= p.lo && p.lo <= p.value && p.value <= p.hi && p.hi.is_finite());
        }
    }

    /// A state rebuilt by replay answers as the one that lived through it.
    #[test]
    fn replay_restores_the_state(steps in steps()) {
        let mut lived = Forecaster::new(Config::default());
        for &step in &steps {
            lived.push(step);
            lived.path(3);
        }
        let replayed = Forecaster::replay(Config::default(), steps);
        prop_assert_eq!(lived.path(90), replayed.path(90));
        prop_assert_eq!(lived.method(), replayed.method());
    }
}
