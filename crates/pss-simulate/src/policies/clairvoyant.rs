//! The best placement of sticky keys that can be found when the whole future is known.
//!
//! What an interval's keys do reaches over their lives, so all intervals are decided together.
//! The mean of lambda over time is convex in the shares. It is made smooth (the maximum over the
//! partitions by log-sum-exp, of growing sharpness) and minimised over the shares of all
//! intervals at once: accelerated mirror descent with the entropy as distance (Tseng 2008,
//! algorithm 1), which keeps shares positive and of sum one. What comes out is never better than
//! the true optimum; how near it comes is tested.

use pss_core::score::imbalance;
use pss_core::weights;

use super::Scene;
use crate::life::OwnLoad;

/// Sharpness of the smoothed maximum, and the descent steps at each for few partitions: four times
/// as many change the mean of lambda by less than 0.001.
const STAGES: [(f64, usize); 4] = [(10.0, 200), (30.0, 400), (100.0, 500), (300.0, 500)];
/// Up to so many partitions all steps are taken; of more, so much fewer, but an eighth at least.
const FEW: usize = 16;
/// After so many steps in a row that each bring less than this part, a stage ends.
const PATIENCE: usize = 20;
const IDLE: f64 = 2e-6;

/// Shares by interval.
pub(super) fn shares(scene: &Scene<'_>) -> Vec<Vec<f64>> {
    let problem = Problem::new(scene);
    let mut best = problem.start();
    let mut least = problem.mean_imbalance(&best);
    let mut at = best.clone();
    for (sharpness, steps) in STAGES {
        let fewer = (steps * FEW / problem.partitions.max(FEW)).max(steps / 8);
        at = problem.descend(at, sharpness, fewer);
        let found = problem.mean_imbalance(&at);
        if found < least {
            (least, best) = (found, at.clone());
        }
    }
    best.chunks_exact(problem.partitions).map(<[f64]>::to_vec).collect()
}

struct Problem<'a> {
    scene: &'a Scene<'a>,
    partitions: usize,
    intervals: usize,
    /// 1 / (capacity x mean utilization of the table), by step and partition; 0 out of service.
    scale: Vec<f64>,
    /// Bound of the curvature of each interval's shares at sharpness one.
    curvature: Vec<f64>,
}

impl<'a> Problem<'a> {
    fn new(scene: &'a Scene<'a>) -> Problem<'a> {
        let workload = scene.workload;
        let n = workload.partitions();
        let steps = workload.steps();
        let mut own = OwnLoad::new(1, scene.life);
        let mut scale = Vec::with_capacity(steps * n);
        let mut reach = 0.0;
        for step in 0..steps {
            own.age();
            own.add(0, workload.volume[step]);
            let (foreign, capacity) = (workload.foreign.row(step), workload.capacity.row(step));
            let serving = foreign.iter().zip(capacity).filter(|(_, c)| **c > 0.0);
            let (load, room) = serving.fold((own.load()[0], 0.0), |(l, r), (f, c)| (l + f, r + c));
            let one = |c: &f64| if *c > 0.0 && load > 0.0 { room / load / c } else { 0.0 };
            let row = capacity.iter().map(one);
            reach = row.clone().fold(reach, |reach, s| f64::max(reach, own.load()[0] * s));
            scale.extend(row);
        }
        let mut problem = Problem {
            scene,
            partitions: n,
            intervals: steps.div_ceil(scene.interval_steps),
            scale,
            curvature: Vec::new(),
        };
        // What a share of one does over all time, times what all shares together can do.
        let ones = vec![1.0; steps * n];
        let effect = problem.pull_back(&ones);
        let largest = |of_interval: &[f64]| of_interval.iter().copied().fold(1e-9, f64::max);
        problem.curvature = effect.chunks_exact(n).map(|e| reach * largest(e)).collect();
        problem
    }

    /// Shares by the capacity that serves in the interval: also who may get any at all.
    fn start(&self) -> Vec<f64> {
        let row = |interval: usize| {
            let step = interval * self.scene.interval_steps;
            weights::capacity_shares(self.scene.workload.capacity.row(step))
        };
        (0..self.intervals).flat_map(row).collect()
    }

    /// Own load by step and partition under these shares.
    fn own(&self, shares: &[f64]) -> Vec<f64> {
        let workload = self.scene.workload;
        let mut own = OwnLoad::new(self.partitions, self.scene.life);
        let mut loads = Vec::with_capacity(self.scale.len());
        for step in 0..workload.steps() {
            own.age();
            let first = step / self.scene.interval_steps * self.partitions;
            for (p, share) in shares[first..][..self.partitions].iter().enumerate() {
                own.add(p, share * workload.volume[step]);
            }
            loads.extend_from_slice(own.load());
        }
        loads
    }

    /// Relative utilization by step and partition.
    fn relative(&self, shares: &[f64]) -> Vec<f64> {
        let mut loads = self.own(shares);
        for (step, loads) in loads.chunks_exact_mut(self.partitions).enumerate() {
            let scale = &self.scale[step * self.partitions..];
            let foreign = self.scene.workload.foreign.row(step);
            for ((load, scale), foreign) in loads.iter_mut().zip(scale).zip(foreign) {
                *load = (*load + foreign) * scale;
            }
        }
        loads
    }

    /// From what each relative utilization costs to what each share does: the transpose of
    /// [`Problem::own`].
    fn pull_back(&self, cost: &[f64]) -> Vec<f64> {
        let workload = self.scene.workload;
        let (n, decay, entry) = (self.partitions, self.scene.life.decay(), self.scene.life.entry());
        let mut later = vec![[0.0; 2]; n];
        let mut gradient = vec![0.0; self.intervals * n];
        for step in (0..workload.steps()).rev() {
            let first = step / self.scene.interval_steps * n;
            for (p, later) in later.iter_mut().enumerate() {
                let cost = cost[step * n + p] * self.scale[step * n + p];
                later[0] = later[0] * decay[0] + cost;
                later[1] = later[1] * decay[1] - cost;
                let effect = entry[0] * later[0] + entry[1] * later[1];
                gradient[first + p] += workload.volume[step] * effect;
            }
        }
        gradient
    }

    /// Value and gradient of the smoothed sum of maxima over all steps.
    fn smoothed(&self, shares: &[f64], sharpness: f64) -> (f64, Vec<f64>) {
        let mut cost = self.relative(shares);
        let mut value = 0.0;
        for row in cost.chunks_exact_mut(self.partitions) {
            let highest = row.iter().copied().fold(0.0, f64::max);
            let mut sum = 0.0;
            for r in row.iter_mut() {
                *r = (sharpness * (*r - highest)).exp();
                sum += *r;
            }
            value += highest + sum.ln() / sharpness;
            row.iter_mut().for_each(|r| *r /= sum);
        }
        (value, self.pull_back(&cost))
    }

    fn descend(&self, start: Vec<f64>, sharpness: f64, steps: usize) -> Vec<f64> {
        let n = self.partitions;
        let (mut y, mut z) = (start.clone(), start);
        let (mut theta, mut last, mut idle) = (1.0, f64::INFINITY, 0);
        // Bounds of curvature are far too careful: they are met where the whole volume goes to
        // one partition.
        let mut care = 0.8 / n as f64;
        for _ in 0..steps {
            let mixed: Vec<f64> =
                y.iter().zip(&z).map(|(y, z)| (1.0 - theta) * y + theta * z).collect();
            let (value, gradient) = self.smoothed(&mixed, sharpness);
            if value > last {
                // Overshot: begin anew from here, with smaller steps.
                z.clone_from(&y);
                (theta, last) = (1.0, f64::INFINITY);
                care *= 1.5;
                continue;
            }
            idle = if last - value < IDLE * value { idle + 1 } else { 0 };
            if idle == PATIENCE {
                break;
            }
            last = value;
            for (k, curvature) in self.curvature.iter().enumerate() {
                let rate = 1.0 / (theta * care * sharpness * curvature);
                let (z, g) = (&mut z[k * n..][..n], &gradient[k * n..][..n]);
                let lowest = g.iter().copied().fold(f64::INFINITY, f64::min);
                let mut sum = 0.0;
                for (z, g) in z.iter_mut().zip(g) {
                    // A share that has all but gone can come back.
                    *z =
                        if *z > 0.0 { (*z * (-rate * (g - lowest)).exp()).max(1e-12) } else { 0.0 };
                    sum += *z;
                }
                z.iter_mut().for_each(|z| *z /= sum);
            }
            y.iter_mut().zip(&z).for_each(|(y, z)| *y += theta * (z - *y));
            theta = 0.5 * ((theta * theta * (theta * theta + 4.0)).sqrt() - theta * theta);
        }
        y
    }

    /// Mean of lambda - 1 over the scored steps.
    fn mean_imbalance(&self, shares: &[f64]) -> f64 {
        let workload = self.scene.workload;
        let own = self.own(shares);
        let steps = self.scene.scored_from..workload.steps();
        let count = steps.len().max(1) as f64;
        let of_step = |step: usize| {
            let own = &own[step * self.partitions..][..self.partitions];
            let load: Vec<f64> =
                workload.foreign.row(step).iter().zip(own).map(|(f, own)| f + own).collect();
            imbalance(&load, workload.capacity.row(step))
        };
        steps.map(of_step).sum::<f64>() / count
    }
}
