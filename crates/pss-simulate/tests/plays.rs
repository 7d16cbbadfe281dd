//! Whole plays: what must hold of every policy, whatever its figures are.

use pss_simulate::cases::{Constraint, Filter, select};
use pss_simulate::policies::Kind;
use pss_simulate::run::{Record, run};
use pss_simulate::summary::{Summary, summarize};
use pss_simulate::workloads::{self, Recipe};
use pss_simulate::{json, plots, table};

fn filter(cases: &[&str], keys: &str, policies: &[Kind], seeds: u64) -> Filter {
    Filter {
        workloads: cases.iter().map(ToString::to_string).collect(),
        partitions: vec![8],
        delays_s: vec![10.0],
        keys: vec![keys.to_string()],
        policies: policies.to_vec(),
        seeds: Some(seeds),
        intervals_s: vec![10.0],
    }
}

fn played(recipes: &[Recipe], filter: &Filter) -> Vec<Record> {
    run(recipes, &select(recipes, filter, false), &filter.policies(), |_, _| ())
}

fn mean(records: &[Record], seed: u64, policy: Kind) -> f64 {
    let found = records.iter().find(|r| r.seed == seed && r.policy == policy);
    found.expect("played").figures.mean
}

/// lambda of equal shares under W2, height .3, volume 3: of eight independent jobs, each on for a
/// fifth of the time, k run at once; the highest partition has .1 + .3 + .375 if any runs.
fn static_of_w2() -> f64 {
    let choose = [1.0, 8.0, 28.0, 56.0, 70.0, 56.0, 28.0, 8.0, 1.0];
    let of_count = |(k, ways): (i32, &f64)| {
        let probability = ways * 0.2f64.powi(k) * 0.8f64.powi(8 - k);
        let highest = if k > 0 { 0.775 } else { 0.475 };
        probability * highest / (0.475 + 0.3 * f64::from(k) / 8.0)
    };
    (0..).zip(&choose).map(of_count).sum()
}

#[test]
fn static_hash_is_as_uneven_as_it_must_be() {
    let recipes = workloads::all();
    let seeds = 60;
    let wanted = filter(&["height 0.3 volume 3"], "per_row", &[Kind::Static], seeds);
    let records = played(&recipes, &wanted);
    let sum: f64 = (0..seeds).map(|seed| mean(&records, seed, Kind::Static)).sum();
    let (came, expected) = (sum / seeds as f64, static_of_w2() - 1.0);
    assert!((came - expected).abs() < 0.015, "{came} for {expected}");
}

#[test]
fn nobody_under_the_same_constraint_beats_the_oracle() {
    let recipes = workloads::all();
    let rivals = [Kind::Swrr, Kind::Reactive, Kind::TwoChoices, Kind::PssNoForecast, Kind::Pss];
    for (keys, cases) in
        [("per_row", &["W1", "W2", "W3", "W7"][..]), ("0.05", &["height 0.3 volume 3"][..])]
    {
        let records = played(&recipes, &filter(cases, keys, &rivals, 1));
        let oracles = records.iter().filter(|record| record.policy == Kind::Oracle);
        for oracle in oracles {
            let others = records.iter().filter(|r| (r.case, r.seed) == (oracle.case, oracle.seed));
            for other in others {
                // A thousandth: the oracle of sticky keys stops when it hardly gets better.
                let excess = oracle.figures.mean - other.figures.mean;
                assert!(excess <= 0.001, "{keys} {:?}: {excess}", other.policy);
            }
        }
    }
}

#[test]
fn a_seed_plays_the_same_and_another_differs() {
    let recipes = workloads::all();
    let wanted = filter(&["W4"], "0.2", &[Kind::Sed, Kind::TwoChoices], 2);
    let figures = |records: &[Record]| -> Vec<_> { records.iter().map(|r| r.figures).collect() };
    let (first, second) = (played(&recipes, &wanted), played(&recipes, &wanted));
    assert_eq!(figures(&first), figures(&second));
    assert_ne!(mean(&first, 0, Kind::Static), mean(&first, 1, Kind::Static));
}

#[test]
fn sticky_keys_bind_the_oracle_as_the_bound_says() {
    // Linear programming gave .97 and .86 of what free placement gains at these lives.
    let recipes = workloads::all();
    for (keys, bound) in [("0.05", 0.97), ("0.2", 0.86)] {
        let wanted = filter(&["height 0.3 volume 3"], keys, &[Kind::Oracle], 2);
        let records = played(&recipes, &wanted);
        let gains: Vec<f64> = (0..2)
            .map(|seed| {
                let fixed = mean(&records, seed, Kind::Static);
                (fixed - mean(&records, seed, Kind::Oracle)) / (fixed - records[0].floor)
            })
            .collect();
        let gain = gains.iter().sum::<f64>() / 2.0;
        assert!((gain - bound).abs() < 0.1, "{keys}: {gain} for {bound}");
    }
}

#[test]
fn reports_hold_every_case_and_policy() {
    let recipes = workloads::all();
    let wanted = filter(&["W0", "W2"], "per_row", &[Kind::Swrr], 2);
    let cases = select(&recipes, &wanted, false);
    let summaries = summarize(&played(&recipes, &wanted));
    // W0 and four of W2, each by static, round robin and oracle.
    assert_eq!((cases.len(), summaries.len()), (5, 15));
    let of_case = |case: usize| -> Vec<&Summary> {
        summaries.iter().filter(|summary| summary.case == case).collect()
    };
    assert!(of_case(0).iter().all(|s| s.gain.is_none()), "there is nothing to gain under W0");
    let gains: Vec<f64> = of_case(1).iter().filter_map(|s| s.gain).collect();
    assert_eq!(gains, [0.0, 0.0, 1.0]);

    let rows = json::rows(&recipes, &cases, &summaries, None);
    let rows = rows.as_array().expect("an array");
    assert_eq!(rows.len(), 15);
    assert!(rows[0]["gain"].is_null() && rows[0]["workload"] == "W0", "{}", rows[0]);
    assert_eq!(rows[14]["policy"], "oracle");
    assert_eq!(rows[14]["constraint"], Constraint::PerRow.name());
    let text = table::draw(&recipes, &cases, &summaries, true);
    assert_eq!(text.matches("\n  oracle ").count(), 5);
    let svg = plots::draw(&recipes, &cases, &summaries);
    // A mark for each summary, and one for each policy in the legend.
    assert_eq!(svg.matches("<circle").count(), 15 + 3);
    assert!(svg.trim_end().ends_with("</svg>") && svg.lines().all(|line| !line.contains('\\')));
}
