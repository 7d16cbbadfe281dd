//! One policy under one workload, step by step.

use pss_core::score::imbalance;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use crate::life::OwnLoad;
use crate::policies::{Decision, Key, Now, Policy, Scene, Seen};
use crate::workload::STEP_S;
use crate::workloads::normal;

/// What came of a play.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    /// lambda - 1 of each scored step.
    pub imbalance: Vec<f64>,
    /// Part of the keys that each partition really got, by interval, from the first scored one on.
    pub shares: Vec<Vec<f64>>,
    /// Load over that of the whole table, both relative to capacity, in each step, from the first
    /// on, of the partitions on which foreign load jumps.
    pub levels: Vec<Vec<f64>>,
    /// Part of the keys that were sent to partitions out of service.
    pub refused: f64,
    /// Why the policy did what it did.
    pub story: String,
}

/// Plays the whole scene.
pub fn play(scene: &Scene<'_>, policy: &mut dyn Policy) -> Played {
    let workload = scene.workload;
    let n = workload.partitions();
    let mut keys = Keys::new(scene);
    let mut measuring = SmallRng::seed_from_u64(scene.seed ^ 0x006d_6561_7375_7265);
    let mut own = OwnLoad::new(n, scene.life);
    let mut own_sum = vec![0.0; n];
    // Volume sent to each partition, in a step and in an interval.
    let (mut sent, mut sent_sum) = (vec![0.0; n], vec![0.0; n]);
    let (mut refused, mut scored) = (0.0, 0.0);
    let mut decision = Decision::EachKey;
    let mut played = Played {
        imbalance: Vec::with_capacity(workload.steps() - scene.scored_from),
        shares: Vec::new(),
        levels: vec![Vec::new(); workload.jumps.len()],
        refused: 0.0,
        story: String::new(),
    };
    for step in 0..workload.steps() {
        if step % scene.interval_steps == 0 {
            if step > scene.scored_from {
                played.shares.push(normalized(&sent_sum));
            }
            sent_sum.fill(0.0);
            own_sum.iter_mut().for_each(|sum| *sum /= scene.interval_steps as f64);
            decision = decide(scene, policy, step, &own_sum, &own, &mut measuring);
            own_sum.fill(0.0);
        }
        own.age();
        let (foreign, capacity) = (workload.foreign.row(step), workload.capacity.row(step));
        sent.fill(0.0);
        match &decision {
            Decision::Shares(shares) => {
                for (p, share) in shares.iter().enumerate() {
                    sent[p] = share * workload.volume[step];
                    own.add(p, sent[p]);
                }
            }
            Decision::EachKey => {
                let unit = workload.volume[step] / scene.keys_a_step as f64;
                policy.begin_step(&Now { own: own.load(), foreign, capacity });
                for _ in 0..scene.keys_a_step {
                    let key = keys.next();
                    let load = unit * key.size.unwrap_or(1.0);
                    let p = policy.place(key, &Now { own: own.load(), foreign, capacity });
                    sent[p] += load;
                    own.add(p, load);
                }
            }
        }
        let load: Vec<f64> = foreign.iter().zip(own.load()).map(|(f, own)| f + own).collect();
        own_sum.iter_mut().zip(own.load()).for_each(|(sum, own)| *sum += own);
        sent_sum.iter_mut().zip(&sent).for_each(|(sum, sent)| *sum += sent);
        for (levels, jump) in played.levels.iter_mut().zip(&workload.jumps) {
            let mean = load.iter().sum::<f64>() / capacity.iter().sum::<f64>();
            levels.push(load[jump.partition] / capacity[jump.partition] / mean);
        }
        if step >= scene.scored_from {
            played.imbalance.push(imbalance(&load, capacity).max(0.0));
            scored += sent.iter().sum::<f64>();
            let lost = sent.iter().zip(capacity).filter(|(_, c)| **c <= 0.0);
            refused += lost.map(|(sent, _)| sent).sum::<f64>();
        }
    }
    played.refused = if scored > 0.0 { refused / scored } else { 0.0 };
    played.story = policy.story();
    played
}

/// Tells the policy what is known at `step`.
fn decide(
    scene: &Scene<'_>,
    policy: &mut dyn Policy,
    step: usize,
    own: &[f64],
    keys: &OwnLoad,
    measuring: &mut SmallRng,
) -> Decision {
    let workload = scene.workload;
    let now_s = step as f64 * STEP_S;
    let interval_s = scene.interval_steps as f64 * STEP_S;
    let until_s = now_s - scene.delay_s;
    let measured = (until_s >= interval_s).then(|| {
        let mut loads = workload.foreign.mean(until_s - interval_s, until_s);
        if workload.noise > 0.0 {
            loads.iter_mut().for_each(|load| *load *= 1.0 + workload.noise * normal(measuring));
        }
        loads
    });
    // The step that ended when statistics were taken.
    let then = ((until_s / STEP_S) as usize).saturating_sub(1);
    let configured = workload.capacity.row(0);
    let capacity: Vec<f64> = workload
        .capacity
        .row(then)
        .iter()
        .zip(configured)
        .map(|(&measured, &configured)| if measured > 0.0 { measured } else { configured })
        .collect();
    let in_service: Vec<bool> = workload.capacity.row(step).iter().map(|c| *c > 0.0).collect();
    policy.decide(&Seen {
        interval: step / scene.interval_steps,
        steps: scene.interval_steps,
        interval_s,
        delay_s: scene.delay_s,
        foreign: measured.as_deref(),
        own,
        keys,
        volume: workload.volume[step],
        capacity: &capacity,
        in_service: &in_service,
    })
}

/// The keys of a play, the same for every policy that places one by one.
struct Keys {
    random: SmallRng,
    spread: f64,
}

impl Keys {
    fn new(scene: &Scene<'_>) -> Keys {
        Keys {
            random: SmallRng::seed_from_u64(scene.seed ^ 0x6b65_7973),
            spread: scene.workload.size_spread,
        }
    }

    fn next(&mut self) -> Key {
        let hash = self.random.next_u64();
        let size = (self.spread > 0.0).then(|| {
            // Lognormal of mean one.
            (self.spread * normal(&mut self.random) - 0.5 * self.spread.powi(2)).exp()
        });
        Key { hash, size }
    }
}

fn normalized(sent: &[f64]) -> Vec<f64> {
    let total: f64 = sent.iter().sum();
    sent.iter().map(|sent| if total > 0.0 { sent / total } else { 0.0 }).collect()
}
