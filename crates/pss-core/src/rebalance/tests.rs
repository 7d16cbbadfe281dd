//! The planner's promises, on tables made at random.

use proptest::prelude::*;

use super::*;

const SPANS: usize = 48;

fn partition(number: u16, capacity: f64, foreign: Vec<f64>) -> Partition {
    Partition {
        number,
        capacity,
        local: true,
        foreign,
        committed: 0.0,
        committed_later: 0.0,
        fixed: 0.0,
        keys: 1000.0,
        rows: 5000.0,
        bytes: 500_000.0,
    }
}

/// Partitions of capacity 1 with these loads, all the time.
fn steady(loads: &[f64]) -> Vec<Partition> {
    loads.iter().zip(0..).map(|(load, n)| partition(n, 1.0, vec![*load; SPANS])).collect()
}

const COST: Cost = Cost { row: 3.0, scanned_row: 0.02, batch_rows: 1000.0, rows_per_s: 1000.0 };

fn table<'a>(partitions: &'a [Partition], speed: &'a Speed) -> Table<'a> {
    Table {
        partitions,
        controllable: 0.0,
        observed_s: 1200.0,
        needed_s: 1200.0,
        period_s: None,
        patience_s: 3600.0,
        life_s: f64::INFINITY,
        cost: COST,
        speed,
    }
}

fn planned(partitions: &[Partition]) -> Plan {
    plan(&table(partitions, &Speed::default()))
}

/// The partitions after a part of a move.
fn made(partitions: &mut [Partition], m: &Move, part: f64) {
    let spans = partitions[m.from].foreign.len();
    for i in 0..spans {
        partitions[m.from].foreign[i] -= part * m.gain;
        partitions[m.to].foreign[i] += part * m.gain;
    }
    for (value, of) in [
        (m.keys as f64, (|p: &mut Partition| &mut p.keys) as fn(&mut Partition) -> &mut f64),
        (m.rows, |p| &mut p.rows),
        (m.bytes, |p| &mut p.bytes),
    ] {
        *of(&mut partitions[m.from]) -= part * value;
        *of(&mut partitions[m.to]) += part * value;
    }
}

fn utilizations(partitions: &[Partition]) -> Vec<f64> {
    let mean = |p: &Partition| p.foreign.iter().sum::<f64>() / p.foreign.len() as f64;
    partitions
        .iter()
        .filter(|p| p.capacity > 0.0)
        .map(|p| (mean(p) + p.committed_later) / p.capacity)
        .collect()
}

/// Sum of squared distances from the level, by capacity: zero in balance.
fn distance(partitions: &[Partition]) -> f64 {
    let serving: Vec<f64> = partitions.iter().map(|p| p.capacity).filter(|c| *c > 0.0).collect();
    let u = utilizations(partitions);
    let level =
        u.iter().zip(&serving).map(|(u, c)| u * c).sum::<f64>() / serving.iter().sum::<f64>();
    u.iter().zip(&serving).map(|(u, c)| c * (u - level).powi(2)).sum()
}

#[test]
fn a_standing_excess_moves_to_the_level() {
    let partitions = steady(&[100.0, 100.0, 100.0, 300.0]);
    let plan = planned(&partitions);
    assert_eq!(plan.reason, Reason::Pays { partition: 3, excess: 1.0 });
    let ends: Vec<_> = plan.moves.iter().map(|m| (m.from, m.to, m.keys)).collect();
    assert_eq!(ends, [(3, 0, 166), (3, 1, 166), (3, 2, 166)]);
    let first = &plan.moves[0];
    assert!((first.gain - 166.0 * 0.3).abs() < 1e-9 && (first.rows - 830.0).abs() < 1e-9);
    // A row costs 3, and a batch of 1000 reads 5000 rows at .02.
    assert!((first.cost - 830.0 * 3.1).abs() < 1e-9);
    assert!((first.payback_s - first.cost / first.gain).abs() < 1e-9);
    assert!((first.seconds - 0.83).abs() < 1e-9, "the rate limits: {}", first.seconds);
}

#[test]
fn says_why_nothing_moves() {
    let say = |partitions: &[Partition], change: fn(&mut Table<'_>)| {
        let speed = Speed::default();
        let mut table = table(partitions, &speed);
        change(&mut table);
        let plan = plan(&table);
        assert_eq!(plan.moves, []);
        plan.reason.to_string()
    };
    let as_is = |_: &mut Table<'_>| {};
    assert_eq!(say(&[], as_is), "there is no load to level");
    assert_eq!(say(&steady(&[0.0, 0.0]), as_is), "there is no load to level");
    assert_eq!(
        say(&steady(&[100.0, 104.0]), as_is),
        "standing excess below 5 %: no partition is more than 2 % above the level"
    );
    assert_eq!(
        say(&steady(&[1.0, 9.0]), |t| t.observed_s = 90.0),
        "too early to tell: 90 s of 20 min observed"
    );
    assert_eq!(
        say(&steady(&[100.0, 300.0]), |t| t.life_s = 60.0),
        "moving keys of partition 1 would not pay: pay-back 52 s is above a quarter of the \
         remaining life, 15 s"
    );

    let mut partitions = steady(&[100.0, 300.0]);
    partitions[0].local = false;
    assert_eq!(
        say(&partitions, as_is),
        "no other partition on this server has room for keys of partition 1"
    );
    partitions = steady(&[100.0, 300.0]);
    partitions[1].keys = 2.0;
    assert_eq!(
        say(&partitions, as_is),
        "the excess of partition 1 does not go with keys that could be moved: one key brings \
         more than that, or it is no key's load"
    );
    partitions = steady(&[100.0, 300.0]);
    partitions[1].fixed = 300.0;
    assert!(say(&partitions, as_is).starts_with("the excess of partition 1 does not go with keys"));

    // Placed keys bring the excess now, and an eighth of it when patience has ended.
    partitions = steady(&[100.0, 100.0]);
    (partitions[1].committed, partitions[1].committed_later) = (80.0, 5.0);
    assert_eq!(say(&partitions, as_is), "the excess of partition 1 will decay by itself in 42 min");

    // It came in the second half of the time.
    partitions = steady(&[100.0, 100.0]);
    partitions[1].foreign[SPANS / 2..].fill(300.0);
    assert_eq!(
        say(&partitions, as_is),
        "not standing yet: partition 1 was not above the level in both halves of the last 20 min"
    );

    // Each is busy while the other is not.
    let wave = |phase: usize| {
        (0..SPANS).map(|i| if (i + phase) % 24 < 12 { 100.0 } else { 200.0 }).collect()
    };
    partitions = vec![partition(0, 1.0, wave(0)), partition(1, 1.0, wave(12))];
    assert_eq!(
        say(&partitions, |t| t.period_s = Some(600.0)),
        "periodic load of 600 s: moving would not help: at the far side of the cycle partition 0 \
         is 33 % below the level"
    );
    assert_eq!(
        say(&partitions, as_is),
        "passing load: partition 0 is 33 % above the level now, 0 % on average"
    );
}

#[test]
fn keys_to_come_fill_what_they_can() {
    let partitions = steady(&[100.0, 130.0]);
    let speed = Speed::default();
    let mut table = table(&partitions, &speed);
    assert_eq!(plan(&table).moves.len(), 1);
    // New keys bring 30 more, which can all go to the first.
    table.controllable = 30.0;
    assert!(matches!(plan(&table).reason, Reason::Level { .. }));
}

#[test]
fn the_time_needed_is_whole_cycles() {
    assert_eq!(needed_s(4000.0, None, 10.0), 1000.0);
    assert_eq!(needed_s(0.0, None, 10.0), 120.0);
    assert_eq!(needed_s(0.0, Some(600.0), 10.0), 1200.0);
    assert_eq!(needed_s(8000.0, Some(600.0), 10.0), 2400.0);
}

#[test]
fn life_ends_in_two_ways() {
    assert_eq!(remaining_life_s((10.0, 10.0), 3600.0, f64::INFINITY), f64::INFINITY);
    assert_eq!(remaining_life_s((0.0, 0.0), 3600.0, 100.0), 100.0);
    let halves = remaining_life_s((10.0, 5.0), 3600.0, f64::INFINITY);
    assert!((halves - 3600.0 / 2f64.ln()).abs() < 1e-6);
    assert!(remaining_life_s((10.0, 5.0), 3600.0, halves) - halves / 2.0 < 1e-6);
}

#[test]
fn past_moves_tell_speed_and_cost() {
    let past = |from, rows: f64, seconds| Past {
        from,
        to: 9,
        rows,
        bytes: rows * 100.0,
        seconds,
        cost: Some(rows * 4.0),
    };
    let mut batches = vec![past(1, 100.0, 1.0); 3];
    batches.extend([past(2, 1000.0, 1.0); 2]);
    let speed = Speed::learn(&batches);
    assert!((speed.rows_per_s(1, 9) - 100.0).abs() < 1e-9);
    assert!(speed.rows_per_s(2, 9) > 300.0 && speed.rows_per_s(2, 9) < 600.0, "that of all");
    assert!((speed.cost_per_row(1, 9).expect("measured") - 4.0).abs() < 1e-9);
    assert!((speed.bytes_per_s(1, 9).expect("measured") - 10_000.0).abs() < 1e-6);
    let none = Speed::learn(&[past(1, 0.0, 1.0)]);
    assert_eq!((none.cost_per_row(1, 9), none.bytes_per_s(1, 9)), (None, None));
}

#[test]
fn a_batch_waits_for_users() {
    let go = |load: &[f64]| may_go(load, &[1.0, 1.0, 2.0], (0, 1), 100.0);
    assert_eq!(go(&[100.0, 50.0, 100.0]), None);
    assert_eq!(go(&[100.0, 80.0, 100.0]), Some(Wait::Destination));
    assert_eq!(go(&[160.0, 50.0, 100.0]), Some(Wait::Source));
    assert_eq!(go(&[f64::NAN, 50.0, f64::NAN]), None);
    assert_eq!(go(&[f64::NAN; 3]), None);
}

#[test]
fn batches_are_those_of_a_second() {
    assert_eq!(batch_keys(100.0, 2.0, 0.0), 50);
    assert_eq!(batch_keys(f64::INFINITY, 1.0, 0.0), 1000);
    assert_eq!(batch_keys(1e6, 1.0, 1.0), 250);
    assert_eq!(batch_keys(1.0, 1e9, 0.5), 1);
    assert_eq!(batch_keys(f64::NAN, f64::NAN, f64::NAN), 1000);
}

#[test]
fn a_day_is_seen_in_two() {
    type Hour = fn(usize, usize) -> f64;
    let daily = |load: Hour| {
        let hours: Vec<[f64; TWO_DAYS]> =
            (0..3).map(|p| std::array::from_fn(|hour| load(p, hour))).collect();
        is_daily(&hours)
    };
    // Each partition is busy at its own hours.
    assert!(daily(|p, hour| if hour % 24 / 8 == p { 300.0 } else { 100.0 }));
    // All are busy at the same hours: that is no excess of one.
    assert!(!daily(|_, hour| if hour % 24 < 8 { 300.0 } else { 100.0 }));
    // One stands above the others.
    assert!(!daily(|p, _| if p == 0 { 300.0 } else { 100.0 }));
    // Too little to be worth a move; another day every day; nothing known.
    assert!(!daily(|p, hour| if hour % 24 / 8 == p { 103.0 } else { 100.0 }));
    assert!(!daily(|p, hour| 100.0 + ((hour * 37 + p * 11) % 17) as f64 * 10.0));
    assert!(!daily(|_, _| f64::NAN));
    assert!(!is_daily(&[]));
}

/// Partitions with any standing load, capacity, keys and place.
fn any_partitions() -> impl Strategy<Value = Vec<Partition>> {
    let one = (
        prop_oneof![1 => Just(0.0), 9 => 0.2..5.0f64],
        0.0..1000.0f64,
        prop_oneof![1 => Just(false), 9 => Just(true)],
        0u32..3000,
        0.0..200.0f64,
        0.0..100.0f64,
    );
    prop::collection::vec(one, 1..12).prop_map(|all| {
        all.into_iter()
            .zip(0..)
            .map(|((capacity, load, local, keys, committed, fixed), number)| Partition {
                local,
                keys: f64::from(keys),
                rows: f64::from(keys) * 3.0,
                committed,
                committed_later: committed * 0.9,
                fixed,
                ..partition(number, capacity, vec![load; SPANS])
            })
            .collect()
    })
}

proptest! {
    /// Wherever it is stopped, also in the middle of a move, the balance is better than before.
    #[test]
    fn each_prefix_improves(mut partitions in any_partitions(), part in 0.05..1.0f64) {
        let plan = planned(&partitions);
        for m in &plan.moves {
            let before = (distance(&partitions), worst(&partitions));
            let mut stopped = partitions.clone();
            made(&mut stopped, m, part);
            prop_assert!(distance(&stopped) < before.0);
            prop_assert!(worst(&stopped) <= before.1 + 1e-9);
            made(&mut partitions, m, 1.0);
        }
    }

    /// A destination is emptier than the source before and after, serves, and is stored here.
    #[test]
    fn never_moves_to_a_fuller_partition(mut partitions in any_partitions()) {
        let plan = planned(&partitions);
        for m in &plan.moves {
            made(&mut partitions, m, 1.0);
            let all: Vec<f64> = partitions.iter().map(|p| {
                (p.foreign[0] + p.committed_later) / p.capacity
            }).collect();
            prop_assert!(all[m.to] <= plan.level * (1.0 + 1e-9), "{} {}", all[m.to], plan.level);
            prop_assert!(all[m.from] >= plan.level * (1.0 - 1e-9));
            prop_assert!(partitions[m.to].capacity > 0.0 && partitions[m.to].local);
            prop_assert!(partitions[m.from].local && partitions[m.from].keys > -1e-9);
            prop_assert!(m.keys >= 1 && m.gain > 0.0 && m.cost >= 0.0 && m.seconds >= 0.0);
        }
    }

    /// Once it has been carried out, nothing is left to do.
    #[test]
    fn a_plan_carried_out_leaves_none(mut partitions in any_partitions()) {
        let first = planned(&partitions);
        first.moves.iter().for_each(|m| made(&mut partitions, m, 1.0));
        let second = planned(&partitions);
        prop_assert_eq!(&second.moves, &[], "after {:?}", first.moves);
    }

    /// Loads of one period and one mean, of any height, phase and length: nothing moves.
    #[test]
    fn no_plan_for_periodic_load(
        phases in prop::collection::vec((0.0..1.0f64, 0.0..0.9f64), 2..9),
        busy in 0.1..0.9f64, sine in any::<bool>(), noise in 0.0..0.02f64,
    ) {
        let partitions: Vec<_> = phases.iter().zip(0..).map(|(&(phase, height), n)| {
            let foreign: Vec<f64> = (0..SPANS).map(|i| {
                let at = (i as f64 / (SPANS / 2) as f64 + phase).fract();
                let wave = if sine {
                    (at * std::f64::consts::TAU).sin()
                } else if at < busy { 1.0 - busy } else { -busy };
                100.0 * (1.0 + height * wave + noise * ((i * 7 + 3) % 11) as f64 / 11.0)
            }).collect();
            // A jump between two spans falls on one of them or the other: the mean is made exact.
            let mean = foreign.iter().sum::<f64>() / SPANS as f64;
            partition(n, 1.0, foreign.iter().map(|load| load * 100.0 / mean).collect())
        }).collect();
        let speed = Speed::default();
        let mut table = table(&partitions, &speed);
        table.period_s = Some(600.0);
        let plan = plan(&table);
        prop_assert_eq!(&plan.moves, &[]);
        prop_assert!(matches!(plan.reason, Reason::Periodic { .. } | Reason::Level { .. }), "{}", plan.reason);
    }

    /// Whatever comes in, nothing panics and what comes out are numbers.
    #[test]
    fn odd_figures_yield_a_plan(
        odd in prop::collection::vec(prop::array::uniform8(any::<f64>()), 0..5),
        life_s in any::<f64>(), needed_s in any::<f64>(), controllable in any::<f64>(),
    ) {
        let partitions: Vec<_> = odd.iter().zip(0..).map(|(x, number)| Partition {
            number, capacity: x[0], local: true, foreign: vec![x[1], x[2]], committed: x[3],
            committed_later: x[4], fixed: x[5], keys: x[6], rows: x[7], bytes: x[0],
        }).collect();
        let speed = Speed::default();
        let table = Table { life_s, needed_s, controllable, ..table(&partitions, &speed) };
        let plan = plan(&table);
        prop_assert!(!plan.reason.to_string().is_empty());
        for m in &plan.moves {
            prop_assert!(m.gain.is_finite() && m.gain > 0.0 && m.payback_s >= 0.0);
        }
    }
}

fn worst(partitions: &[Partition]) -> f64 {
    utilizations(partitions).into_iter().fold(0.0, f64::max)
}
