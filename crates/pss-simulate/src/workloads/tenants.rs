//! Tenants of very different size, hashed to partitions where they stay (W6).

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::{Shape, VOLUME};
use crate::workload::{Grid, STEP_S, Workload};

/// Exponent of Zipf's law.
const EXPONENT: f64 = 0.99;
/// Tenants a partition.
const TENANTS: usize = 125;
/// Seconds between two drifts, and the part of the tenants that swap ranks in each.
const DRIFT_S: f64 = 300.0;
const DRIFTING: f64 = 0.1;

/// Foreign load of tenants by Zipf's law; every five minutes some of them swap ranks.
pub(super) fn zipf(shape: &Shape, random: &mut SmallRng) -> Workload {
    let tenants = TENANTS * shape.partitions;
    let weight = |rank: usize| (rank as f64 + 1.0).powf(-EXPONENT);
    let total: f64 = (0..tenants).map(weight).sum();
    let unit = shape.volume(VOLUME) / total;
    let homes: Vec<usize> =
        (0..tenants).map(|_| random.random_range(0..shape.partitions)).collect();
    let mut ranks: Vec<usize> = (0..tenants).collect();
    ranks.shuffle(random);
    let offset_s = random.random_range(0.0..DRIFT_S);
    let mut foreign = Grid::new(shape.partitions, shape.steps, |_, _| 0.0);
    let (mut loads, mut drifts) = (vec![0.0; shape.partitions], -1.0);
    for step in 0..shape.steps {
        let due = ((step as f64 * STEP_S + offset_s) / DRIFT_S).floor();
        if due > drifts {
            if drifts >= 0.0 {
                drift(&mut ranks, random);
            }
            drifts = due;
            loads.fill(0.0);
            ranks.iter().zip(&homes).for_each(|(&rank, &home)| loads[home] += unit * weight(rank));
        }
        foreign.row_mut(step).copy_from_slice(&loads);
    }
    Workload::steady(foreign, shape.volume(VOLUME))
}

/// Some tenants, any, take each other's ranks.
fn drift(ranks: &mut [usize], random: &mut SmallRng) {
    let mut who: Vec<usize> = (0..ranks.len()).filter(|_| random.random_bool(DRIFTING)).collect();
    let of_them: Vec<usize> = who.iter().map(|&tenant| ranks[tenant]).collect();
    who.shuffle(random);
    who.iter().zip(of_them).for_each(|(&tenant, rank)| ranks[tenant] = rank);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn drifting_keeps_all_ranks() {
        let mut ranks: Vec<usize> = (0..500).collect();
        drift(&mut ranks, &mut SmallRng::seed_from_u64(1));
        let moved = ranks.iter().enumerate().filter(|(i, rank)| i != *rank).count();
        assert!((20..90).contains(&moved), "{moved}");
        ranks.sort_unstable();
        assert!(ranks.into_iter().eq(0..500));
    }
}
