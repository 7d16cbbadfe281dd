//! Where the keys of the cycles to come should go: a plan over a receding horizon.
//!
//! A key that lives on is load that cannot be sent elsewhere any more, so shares that level the
//! next cycle may be wrong for the ones after it. Here the shares of all cycles up to a horizon are
//! chosen together, and of them only the first is used: the next cycle plans anew, starting from
//! where this one ended. It must never look beyond what it is given, and costs the same bounded
//! work whatever the loads are.
//!
//! Minimised is the sum over time of the highest relative utilization, as the norm of order
//! `PEAK`, which is smooth: with shares on the simplex a convex problem. It is solved by projected
//! gradients with momentum (FISTA: Beck and Teboulle 2009) and restarts (O'Donoghue and Candes
//! 2015).

use crate::age::Profile;

/// Order of the norm that stands for the maximum.
const PEAK: i32 = 24;

/// Steps of the descent a cycle: the plan of the cycle before is close.
const STEPS: usize = 12;

/// Times that a step of the descent may be halved.
const HALVINGS: usize = 20;

/// Cycles planned ahead, at most.
pub(super) const LONGEST: usize = 64;

/// Key lives (mean age of load) planned ahead: a life of exponential decay is one.
const LIVES: f64 = 3.0;

/// Least cycles planned ahead.
const SHORTEST: usize = 4;

/// Partitions times squared blocks, at most: the work of one evaluation.
const WORK: usize = 300_000;

/// Time ahead in blocks of whole cycles, a share of the new keys for each partition in each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Blocks(Vec<usize>);

impl Blocks {
    /// The blocks for keys of this kind: one cycle each if that is not too much work, else wider
    /// ones the farther they are.
    pub(super) fn new(profile: &Profile, partitions: usize, farthest: usize) -> Blocks {
        let lives = (LIVES * profile.life()).ceil() as usize;
        let horizon = lives.clamp(SHORTEST, LONGEST).min(farthest.max(1));
        let affordable = ((WORK / partitions.max(1)) as f64).sqrt() as usize;
        let mut widths = Vec::new();
        let mut planned = 0;
        while planned < horizon {
            let width = if affordable >= horizon { 1 } else { 1 << (widths.len() / 4) };
            widths.push(width.min(horizon - planned));
            planned += width;
        }
        Blocks(widths)
    }

    /// Number of cycles.
    pub(super) fn cycles(&self) -> usize {
        self.0.iter().sum()
    }

    /// Of each cycle, the block that it lies in.
    fn of_cycles(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(block, &width)| std::iter::repeat_n(block, width))
    }
}

/// What is known of the time ahead.
pub(super) struct Problem<'a> {
    pub blocks: &'a Blocks,
    /// Load that is there anyway (cost units/s), by cycle and partition, as many cycles as the
    /// blocks have.
    pub base: &'a [Vec<f64>],
    /// Load of a key by age.
    pub profile: &'a Profile,
    /// New keys a cycle.
    pub arrivals: f64,
    /// Load that each partition can carry; zero where out of service.
    pub capacity: &'a [f64],
}

/// The problem by blocks, block after block in one vector.
struct Dense<'a> {
    n: usize,
    base: Vec<f64>,
    /// Load in a block (second index) of all keys that are placed in a block (first index).
    kernel: Vec<Vec<f64>>,
    /// Cycles in each block, over the mean load of a unit of capacity in it.
    weight: Vec<f64>,
    mean: Vec<f64>,
    capacity: &'a [f64],
    room: f64,
}

impl<'a> Dense<'a> {
    fn new(problem: &Problem<'a>) -> Dense<'a> {
        let &Problem { blocks, base: by_cycle, profile, arrivals, capacity } = problem;
        let n = capacity.len();
        let count = blocks.0.len();
        let mut base = vec![0.0; n * count];
        let mut kernel = vec![vec![0.0; count]; count];
        let cycles: Vec<usize> = blocks.of_cycles().collect();
        for (cycle, &block) in cycles.iter().enumerate() {
            let part = 1.0 / blocks.0[block] as f64;
            let sum = &mut base[block * n..][..n];
            sum.iter_mut().zip(&by_cycle[cycle]).for_each(|(sum, load)| *sum += part * load);
            for (age, &placed) in cycles[..=cycle].iter().rev().enumerate() {
                kernel[placed][block] += part * arrivals * profile.at(age);
            }
        }
        let room: f64 = capacity.iter().sum();
        let new = |block: usize| kernel.iter().map(|row| row[block]).sum::<f64>();
        let mean: Vec<f64> = (0..count)
            .map(|b| {
                (base[b * n..][..n].iter().sum::<f64>() + new(b)).max(f64::MIN_POSITIVE) / room
            })
            .collect();
        let weight = blocks.0.iter().map(|&width| width as f64).collect();
        Dense { n, base, kernel, weight, mean, capacity, room }
    }

    /// The sum of peaks with these shares; `gradient` gets its slope.
    fn value(&self, shares: &[f64], gradient: Option<&mut [f64]>) -> f64 {
        let n = self.n;
        let mut slope = vec![0.0; self.base.len()];
        let mut total = 0.0;
        for (block, slope) in slope.chunks_exact_mut(n).enumerate() {
            slope.copy_from_slice(&self.base[block * n..][..n]);
            for (row, shares) in self.kernel.iter().zip(shares.chunks_exact(n)).take(block + 1) {
                let kernel = row[block];
                slope.iter_mut().zip(shares).for_each(|(load, share)| *load += kernel * share);
            }
            // Relative utilization, then its power.
            let mut highest = f64::MIN_POSITIVE;
            for (load, &capacity) in slope.iter_mut().zip(self.capacity) {
                let relative = *load / (capacity * self.mean[block]);
                *load = if capacity > 0.0 { relative.max(0.0) } else { 0.0 };
                highest = highest.max(*load);
            }
            let power = |relative: f64| (relative / highest).powi(PEAK - 1);
            let parts = slope.iter().zip(self.capacity);
            let sum: f64 = parts.map(|(r, c)| c / self.room * power(*r) * (r / highest)).sum();
            let norm = sum.powf(1.0 / f64::from(PEAK));
            total += self.weight[block] * highest * norm;
            let scale = self.weight[block] / (norm.powi(PEAK - 1) * self.room * self.mean[block]);
            slope.iter_mut().for_each(|relative| *relative = power(*relative) * scale);
        }
        if let Some(gradient) = gradient {
            gradient.fill(0.0);
            for (placed, gradient) in gradient.chunks_exact_mut(n).enumerate() {
                for (block, slope) in slope.chunks_exact(n).enumerate().skip(placed) {
                    let kernel = self.kernel[placed][block];
                    gradient.iter_mut().zip(slope).for_each(|(g, s)| *g += kernel * s);
                }
            }
        }
        total
    }

    /// How far a step may go for each block: far where its keys bring little.
    fn scales(&self) -> Vec<f64> {
        let scale = |row: &Vec<f64>| {
            let all: f64 = row.iter().zip(&self.weight).map(|(k, w)| k * w).sum();
            let most = row.iter().copied().fold(0.0, f64::max);
            1.0 / (all * most).max(f64::MIN_POSITIVE)
        };
        self.kernel.iter().map(scale).collect()
    }
}

/// The shares planned, kept from cycle to cycle.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedule {
    blocks: Option<Blocks>,
    shares: Vec<f64>,
    step: f64,
}

impl Schedule {
    /// Plans anew, a cycle after the last time; shares of the next cycle, by partition.
    pub(super) fn plan(&mut self, problem: &Problem<'_>) -> Vec<f64> {
        let capacity = problem.capacity;
        self.shift(problem.blocks, capacity);
        let dense = Dense::new(problem);
        if problem.arrivals > 0.0 && dense.room > 0.0 {
            self.descend(&dense);
        }
        self.shares.get(..capacity.len()).unwrap_or_default().to_vec()
    }

    /// A cycle has passed: what was planned for later is nearer now.
    fn shift(&mut self, blocks: &Blocks, capacity: &[f64]) {
        let n = capacity.len();
        let mut planned: Vec<f64> = Vec::new();
        if let Some(before) = &self.blocks
            && self.shares.len() == n * before.0.len()
        {
            let by_cycle: Vec<usize> = before.of_cycles().collect();
            let last = by_cycle.len() - 1;
            let mut start = 1;
            for &width in &blocks.0 {
                // The shares of a block's middle cycle stand for it.
                let block = by_cycle[(start + width / 2).min(last)];
                planned.extend_from_slice(&self.shares[block * n..][..n]);
                start += width;
            }
        } else {
            self.step = 1.0;
            let equal = crate::weights::capacity_shares(capacity);
            blocks.0.iter().for_each(|_| planned.extend_from_slice(&equal));
        }
        let mut sorted = Vec::with_capacity(n);
        for shares in planned.chunks_exact_mut(n.max(1)) {
            project(shares, capacity, &mut sorted);
        }
        self.shares = planned;
        self.blocks = Some(blocks.clone());
    }

    fn descend(&mut self, problem: &Dense<'_>) {
        let n = problem.n;
        let scales = problem.scales();
        let mut gradient = vec![0.0; self.shares.len()];
        let mut from = self.shares.clone();
        let mut value = problem.value(&self.shares, None);
        let mut momentum = 1.0f64;
        let mut sorted = Vec::with_capacity(n);
        for _ in 0..STEPS {
            let here = problem.value(&from, Some(&mut gradient));
            for _ in 0..HALVINGS {
                let mut to = from.clone();
                // What the gradient promises of the step, and what its length costs.
                let (mut promised, mut length) = (0.0, 0.0);
                for (block, scale) in scales.iter().enumerate() {
                    let of_block = block * n..(block + 1) * n;
                    let to = &mut to[of_block.clone()];
                    let gradient = &gradient[of_block.clone()];
                    for (to, slope) in to.iter_mut().zip(gradient) {
                        *to -= self.step * scale * slope;
                    }
                    project(to, problem.capacity, &mut sorted);
                    for ((to, from), slope) in to.iter().zip(&from[of_block]).zip(gradient) {
                        promised += slope * (to - from);
                        length += (to - from) * (to - from) / scale;
                    }
                }
                let there = problem.value(&to, None);
                if there > here + promised + length / (2.0 * self.step) + 1e-12 {
                    self.step *= 0.5;
                    continue;
                }
                if there > value {
                    // Momentum has carried too far: once more from the best.
                    momentum = 1.0;
                    from.clone_from(&self.shares);
                    self.step *= 0.7;
                    break;
                }
                let next = (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0;
                let carry = (momentum - 1.0) / next;
                for ((from, to), before) in from.iter_mut().zip(&to).zip(&self.shares) {
                    *from = to + carry * (to - before);
                }
                (self.shares, value, momentum) = (to, there, next);
                self.step *= 1.3;
                break;
            }
        }
    }
}

/// The nearest shares: not negative, of sum one, none out of service (Held, Wolfe and Crowder
/// 1974). `sorted` is scratch room.
fn project(shares: &mut [f64], capacity: &[f64], sorted: &mut Vec<f64>) {
    sorted.clear();
    let serving = |(share, capacity): (&f64, &f64)| (*capacity > 0.0).then_some(*share);
    sorted.extend(shares.iter().zip(capacity).filter_map(serving));
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut level) = (0.0, 0.0);
    for (above, &share) in sorted.iter().enumerate() {
        sum += share;
        let candidate = (sum - 1.0) / (above + 1) as f64;
        if candidate >= share {
            break;
        }
        level = candidate;
    }
    for (share, &capacity) in shares.iter_mut().zip(capacity) {
        *share = if capacity > 0.0 { (*share - level).max(0.0) } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that bring the same load in each of their first `cycles` cycles.
    fn keys_of(cycles: usize) -> Profile {
        let mut profile = Profile::default();
        profile.0[..cycles].fill(1.0);
        profile
    }

    fn shares(problem: &Problem<'_>) -> Vec<f64> {
        let mut schedule = Schedule::default();
        (0..20).for_each(|_| {
            schedule.plan(problem);
        });
        schedule.plan(problem)
    }

    #[test]
    fn blocks_cover_the_horizon_at_bounded_work() {
        let fine = Blocks::new(&keys_of(6), 8, 90);
        assert_eq!(fine.0, [1; 9]);
        let coarse = Blocks::new(&Profile([1.0; 16]), 1000, 90);
        assert_eq!(coarse.cycles(), LONGEST);
        assert!(coarse.0.len() * coarse.0.len() * 1000 <= WORK, "{coarse:?}");
        assert_eq!(Blocks::new(&Profile::default(), 8, 90).cycles(), SHORTEST);
        assert_eq!(Blocks::new(&Profile([1.0; 16]), 8, 3).cycles(), 3);
    }

    #[test]
    fn keys_avoid_what_will_be_busy_while_they_live() {
        // Partition 1 is idle now and busy from the third cycle on.
        let base: Vec<Vec<f64>> =
            (0..8).map(|cycle| vec![10.0, if cycle < 2 { 8.0 } else { 40.0 }]).collect();
        let problem = |blocks, profile| Problem {
            blocks,
            base: &base,
            profile,
            arrivals: 3.0,
            capacity: &[1.0, 1.0],
        };
        let blocks = Blocks(vec![1; 8]);
        let (short, long) = (keys_of(1), keys_of(8));
        let of_short = shares(&problem(&blocks, &short));
        assert!(of_short[1] > 0.7, "short keys go where it is idle now: {of_short:?}");
        let of_long = shares(&problem(&blocks, &long));
        assert!(of_long[1] < 0.2, "long ones would still be there: {of_long:?}");
        assert!((of_long.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        // In wider blocks it comes to much the same.
        let wide = shares(&problem(&Blocks(vec![1, 1, 2, 4]), &long));
        assert!((wide[1] - of_long[1]).abs() < 0.2, "{wide:?} {of_long:?}");
    }

    #[test]
    fn what_is_out_of_service_gets_nothing() {
        let base = vec![vec![5.0, 0.0, 5.0]; 4];
        let problem = Problem {
            blocks: &Blocks(vec![1; 4]),
            base: &base,
            profile: &keys_of(2),
            arrivals: 3.0,
            capacity: &[1.0, 0.0, 3.0],
        };
        let shares = shares(&problem);
        assert_eq!(shares[1], 0.0);
        assert!(shares[2] > 0.7, "it carries three times as much: {shares:?}");
    }

    #[test]
    fn without_keys_or_partitions_there_is_no_trouble() {
        let blocks = Blocks(vec![1; 4]);
        let profile = keys_of(2);
        for capacity in [&[][..], &[0.0, 0.0], &[1.0, 1.0]] {
            let base = vec![vec![0.0; capacity.len()]; 4];
            let problem = Problem {
                blocks: &blocks,
                base: &base,
                profile: &profile,
                arrivals: 0.0,
                capacity,
            };
            assert_eq!(shares(&problem).len(), capacity.len());
        }
    }
}
