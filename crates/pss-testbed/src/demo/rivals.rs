//! Rivals that were not played live: the same rows and the same foreign load, simulated.

use super::counters::imbalance;
use super::{PARTITIONS, Play, SCORED_FROM, SECONDS};

/// Scores of the rivals by name: mean over 1 s windows of max/mean - 1.
pub fn scores(play: &Play) -> Vec<(&'static str, f64)> {
    let mut turn = 0;
    let robin = simulate(play, |_, _| {
        turn += 1;
        turn % PARTITIONS
    });
    vec![("capacity round robin", robin)]
}

/// Score of the greedy placement that knows the future.
pub fn greedy(play: &Play) -> f64 {
    let mut to_come: Vec<Vec<usize>> = vec![Vec::new(); play.stream.flights.len()];
    for event in &play.stream.events {
        to_come[event.flight].push(event.at as usize);
    }
    let mut load = play.foreign.clone();
    simulate(play, |flight, _| {
        let cost = |p: usize| -> f64 {
            let rise = |&second: &usize| {
                let mean = load[second].iter().sum::<f64>() / PARTITIONS as f64 + 1.0;
                let level = load[second][p] / mean;
                ((level + 1.0 / mean).powi(4)) - level.powi(4)
            };
            to_come[flight].iter().map(rise).sum()
        };
        let costs: [f64; PARTITIONS] = std::array::from_fn(cost);
        let best = (0..PARTITIONS).min_by(|a, b| costs[*a].total_cmp(&costs[*b])).unwrap_or(0);
        to_come[flight].iter().for_each(|&second| load[second][best] += 1.0);
        best
    })
}

fn simulate(play: &Play, mut place: impl FnMut(usize, f64) -> usize) -> f64 {
    let mut load = play.foreign.clone();
    let mut home: Vec<Option<usize>> = vec![None; play.stream.flights.len()];
    for event in &play.stream.events {
        let p = *home[event.flight].get_or_insert_with(|| place(event.flight, event.at));
        load[event.at as usize][p] += 1.0;
    }
    let scored = &load[SCORED_FROM as usize..SECONDS as usize];
    let values: Vec<f64> = scored.iter().filter_map(imbalance).collect();
    values.iter().sum::<f64>() / values.len() as f64
}
