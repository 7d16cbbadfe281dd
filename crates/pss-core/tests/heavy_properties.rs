//! Properties of the heavy-hitter sketch that hold for any arrivals, beside exact counts.

use std::collections::HashMap;

use proptest::prelude::*;
use pss_core::heavy::{Counter, Head, Heavy, Sketch};

/// Microseconds.
const HALF_LIFE: i64 = 60_000_000;

/// Few keys are frequent, many are rare; times only go on.
fn arrivals() -> impl Strategy<Value = Vec<(u64, f64, i64)>> {
    let key = prop_oneof![3 => 0u64..4, 3 => 0u64..40, 1 => any::<u64>()];
    let step = prop_oneof![20 => 0i64..2_000_000, 1 => 0i64..100 * HALF_LIFE];
    prop::collection::vec((key, 0.1f64..10.0, step), 1..300).prop_map(|arrivals| {
        let mut now = 0;
        let at = |(key, weight, step)| {
            now += step;
            (key, weight, now)
        };
        arrivals.into_iter().map(at).collect()
    })
}

struct Memory(Head, Vec<Counter>);

impl Memory {
    fn new(m: usize) -> Self {
        Self(Head::default(), vec![Counter::default(); m])
    }

    fn sketch(&mut self) -> Sketch<'_> {
        Sketch::over(&mut self.0, &mut self.1, HALF_LIFE)
    }

    fn filled(m: usize, arrivals: &[(u64, f64, i64)]) -> Self {
        let mut memory = Self::new(m);
        for &(key, weight, at) in arrivals {
            memory.sketch().offer(key, weight, at);
        }
        memory
    }
}

/// Weight of each key as of `now`, and of all.
fn exact(arrivals: &[(u64, f64, i64)], now: i64) -> (HashMap<u64, f64>, f64) {
    let mut weights = HashMap::new();
    for &(key, weight, at) in arrivals {
        *weights.entry(key).or_insert(0.0) +=
            weight * (-(now - at) as f64 / HALF_LIFE as f64).exp2();
    }
    let total = weights.values().sum();
    (weights, total)
}

/// All that is promised of a sketch with `m` counters.
fn check(heaviest: &[Heavy], m: usize, arrivals: &[(u64, f64, i64)], now: i64) {
    const ROUNDING: f64 = 1e-9;
    let (weights, total) = exact(arrivals, now);
    assert!(heaviest.len() <= m);
    for heavy in heaviest {
        let share = weights.get(&heavy.key).copied().unwrap_or(0.0) / total;
        assert!(heavy.certain <= share + ROUNDING, "{heavy:?} of {share}");
        assert!(share <= heavy.at_most + ROUNDING, "{heavy:?} of {share}");
        assert!((heavy.weight - heavy.certain * total).abs() <= ROUNDING * total.max(1.0));
    }
    assert!(heaviest.is_sorted_by(|a, b| a.certain >= b.certain));
    let found: HashMap<u64, &Heavy> = heaviest.iter().map(|h| (h.key, h)).collect();
    assert_eq!(found.len(), heaviest.len(), "a key comes once");
    for (key, weight) in weights {
        let share = weight / total;
        assert!(
            share <= 1.0 / m as f64 + ROUNDING || found.contains_key(&key),
            "{key} has {share} and is not among {m}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bounds_hold_and_no_heavy_key_is_missed(arrivals in arrivals(), m in 1usize..20) {
        let now = arrivals.last().expect("one at least").2;
        check(&Memory::filled(m, &arrivals).sketch().heaviest(now), m, &arrivals, now);
    }

    #[test]
    fn so_they_do_for_the_sum_of_sketches(
        parts in prop::collection::vec(arrivals(), 2..5), m in 1usize..20,
    ) {
        let all = parts.concat();
        let now = all.iter().map(|a| a.2).max().expect("one at least");
        let mut sum = Memory::new(m);
        for part in &parts {
            sum.sketch().merge(&Memory::filled(m, part).sketch(), now);
        }
        check(&sum.sketch().heaviest(now), m, &all, now);
    }

    #[test]
    fn counting_in_small_sketches_that_never_fill_loses_nothing(
        arrivals in arrivals(), m in 1usize..20, piece in 1usize..16,
    ) {
        let now = arrivals.last().expect("one at least").2;
        let mut sum = Memory::new(m);
        for piece in arrivals.chunks(piece) {
            let at = piece.last().expect("no chunk is empty").2;
            sum.sketch().merge(&Memory::filled(16, piece).sketch(), at);
        }
        check(&sum.sketch().heaviest(now), m, &arrivals, now);
    }
}

#[test]
fn a_key_that_no_longer_comes_fades() {
    let mut memory = Memory::new(8);
    let mut sketch = memory.sketch();
    sketch.offer(1, 100.0, 0);
    sketch.offer(2, 100.0, 10 * HALF_LIFE);
    let heaviest = sketch.heaviest(10 * HALF_LIFE);
    assert_eq!(heaviest[0].key, 2);
    assert!(heaviest[0].certain > 0.998 && heaviest[1].at_most < 0.002, "{heaviest:?}");
    // However much later: counts do not overflow, and what is worth nothing makes room.
    sketch.offer(3, 1.0, 1_000_000 * HALF_LIFE);
    assert_eq!((sketch.heaviest(1_000_000 * HALF_LIFE)[0].key, sketch.room()), (3, 7));
}

#[test]
fn what_is_no_weight_and_a_clock_set_back_do_no_harm() {
    let mut memory = Memory::new(2);
    let mut sketch = memory.sketch();
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        sketch.offer(1, weight, 0);
    }
    assert!(sketch.is_empty() && sketch.heaviest(0).is_empty());
    sketch.offer(1, 1.0, 100 * HALF_LIFE);
    sketch.offer(2, 1.0, 0);
    assert!(sketch.heaviest(0).iter().all(|h| h.certain == 0.5 && h.at_most == 0.5));
    sketch.clear();
    assert!(sketch.is_empty());
    // Without a counter nothing is known, and nothing breaks.
    let mut none = Memory::new(0);
    none.sketch().offer(1, 1.0, 0);
    none.sketch().merge(&Memory::filled(4, &[(1, 1.0, 0)]).sketch(), 0);
    assert!(none.sketch().heaviest(0).is_empty());
}
