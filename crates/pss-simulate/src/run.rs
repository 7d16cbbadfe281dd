//! Plays all cases on all processors.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pss_core::score::imbalance;
use pss_core::weights::water_fill;

use crate::cases::Case;
use crate::play::play;
use crate::policies::{Kind, Scene};
use crate::score::Figures;
use crate::workload::{STEP_S, Workload};
use crate::workloads::Recipe;

/// The figures of one play.
#[derive(Debug, Clone)]
pub struct Record {
    /// Position of the case.
    pub case: usize,
    /// Position of the delay in the case; figures of policies that read no statistics stand at
    /// each.
    pub delay: usize,
    /// Seed.
    pub seed: u64,
    /// Who placed the keys.
    pub policy: Kind,
    /// Mean of lambda - 1 that not even free placement in every step could go below.
    pub floor: f64,
    /// How it came out.
    pub figures: Figures,
    /// Why the policy did what it did.
    pub story: String,
}

/// Plays all cases with these policies; records are in the order of the cases, whatever
/// processor was first. `done` hears of each case and seed that is finished.
pub fn run(
    recipes: &[Recipe],
    cases: &[Case],
    policies: &[Kind],
    done: impl Fn(usize, usize) + Sync,
) -> Vec<Record> {
    let units: Vec<(usize, u64)> = cases
        .iter()
        .enumerate()
        .flat_map(|(case, c)| (0..c.seeds).map(move |seed| (case, seed)))
        .collect();
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let records: Mutex<BTreeMap<usize, Vec<Record>>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(units.len()) {
            scope.spawn(|| {
                loop {
                    let unit = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(case, seed)) = units.get(unit) else { break };
                    let played = unit_records(recipes, &cases[case], case, seed, policies);
                    let mut records = records.lock().unwrap_or_else(|e| e.into_inner());
                    records.insert(unit, played);
                    done(finished.fetch_add(1, Ordering::Relaxed) + 1, units.len());
                }
            });
        }
    });
    let records = records.into_inner().unwrap_or_else(|e| e.into_inner());
    records.into_values().flatten().collect()
}

/// All policies under one workload of one seed, at all delays.
fn unit_records(
    recipes: &[Recipe],
    case: &Case,
    position: usize,
    seed: u64,
    policies: &[Kind],
) -> Vec<Record> {
    let recipe = &recipes[case.recipe];
    let shape = case.shape(recipe);
    let workload = recipe.make(&shape, seed);
    let mut scene = Scene {
        workload: &workload,
        process: recipe.process,
        life: case.constraint.life(recipe.period_s),
        interval_steps: (case.interval_s / STEP_S).round() as usize,
        delay_s: 0.0,
        scored_from: (shape.scored_from_s / STEP_S).round() as usize,
        keys_a_step: case.keys_a_step(recipe),
        seed,
    };
    let floor = floor(&workload, scene.scored_from);
    let mut records = Vec::new();
    for &policy in policies {
        let mut last = None;
        for (delay, &delay_s) in case.delays_s.iter().enumerate() {
            scene.delay_s = delay_s;
            if last.is_none() || policy.reads_statistics() {
                let Some(mut placing) = policy.make(&scene) else { break };
                last = Some(play(&scene, placing.as_mut()));
            }
            let Some(played) = &last else { break };
            records.push(Record {
                case: position,
                delay,
                seed,
                policy,
                floor,
                figures: Figures::of(played, &workload, scene.interval_steps, delay_s),
                story: played.story.clone(),
            });
        }
    }
    records
}

/// Mean of lambda - 1 if every step's whole volume could be placed anew: water-filling of what
/// is foreign, in every step by itself. Single keys are small: none alone lifts the floor.
fn floor(workload: &Workload, scored_from: usize) -> f64 {
    let steps = scored_from..workload.steps();
    let count = steps.len().max(1) as f64;
    let of_step = |step: usize| {
        let (foreign, capacity) = (workload.foreign.row(step), workload.capacity.row(step));
        let volume = workload.volume[step];
        let shares = water_fill(foreign, capacity, volume);
        let load: Vec<f64> = foreign.iter().zip(shares).map(|(f, s)| f + s * volume).collect();
        imbalance(&load, capacity)
    };
    (steps.map(of_step).sum::<f64>() / count).max(0.0)
}
