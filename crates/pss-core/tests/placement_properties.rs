//! Properties of slots, weights and dispatch that hold for any input.

use proptest::prelude::*;
use pss_core::dispatch::{MAX_DRAWS, Reason, Request, choose};
use pss_core::slots::SlotTable;
use pss_core::virtual_key::VirtualKey;
use pss_core::weights::{capacity_shares, clamp, damp, water_fill};

fn weights() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![1 => Just(0.0), 6 => 0.01..100.0], 1..40)
        .prop_filter("some weight", |w| w.iter().any(|&w| w > 0.0))
}

/// Loads that may be missing, infinite, negative or absurd, as a sick server may report them.
fn any_load() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 0.0..1000.0,
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-5.0), Just(1e300), Just(0.0)],
    ]
}

fn are_shares(shares: &[f64]) -> bool {
    shares.iter().all(|s| s.is_finite() && *s >= 0.0)
        && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slots_are_proportional_within_one(weights in weights(), bits in 8u32..=13) {
        let slots = 1usize << bits;
        let table = SlotTable::build(&weights, slots);
        let total: f64 = weights.iter().sum();
        for (count, weight) in table.counts(weights.len()).iter().zip(&weights) {
            prop_assert!((f64::from(*count) - weight / total * slots as f64).abs() < 1.0);
            prop_assert!(*weight > 0.0 || *count == 0);
        }
    }

    #[test]
    fn every_prefix_of_the_slots_is_fair(weights in weights(), prefix in 1usize..1024) {
        let table = SlotTable::build(&weights, 1024);
        let counts = table.counts(weights.len());
        let mut seen = vec![0f64; weights.len()];
        for slot in 0..prefix {
            seen[usize::from(table.owner(slot as u16))] += 1.0;
        }
        // Rounding to whole slots moves an owner's places by less than one slot of each other.
        let slack = 1.0 + weights.len() as f64 / 2.0;
        for (seen, count) in seen.iter().zip(counts) {
            let due = f64::from(count) * prefix as f64 / 1024.0;
            prop_assert!((seen - due).abs() <= slack, "{seen} for {due} due");
        }
    }

    #[test]
    fn a_change_of_weights_moves_the_fewest_slots(before in weights(), after in weights()) {
        let old = SlotTable::build(&before, 1024);
        let new = old.reassign(&after);
        let n = before.len().max(after.len());
        prop_assert_eq!(new.counts(n), SlotTable::build(&after, 1024).counts(n));
        let gained: u32 =
            new.counts(n).iter().zip(old.counts(n)).map(|(new, old)| new.saturating_sub(old)).sum();
        prop_assert_eq!(old.moved(&new), gained as usize);
        prop_assert_eq!(new.reassign(&after).moved(&new), 0);
    }

    #[test]
    fn water_finds_its_level(
        filled in prop::collection::vec((0.0..100.0f64, 0.1..10.0f64), 1..20),
        volume in 0.001..500.0f64,
    ) {
        let (base, capacity): (Vec<f64>, Vec<f64>) = filled.into_iter().unzip();
        let shares = water_fill(&base, &capacity, volume);
        prop_assert!(are_shares(&shares));
        let level = |i: usize| (base[i] + shares[i] * volume) / capacity[i];
        let filled: Vec<f64> = (0..base.len()).filter(|&i| shares[i] > 1e-12).map(level).collect();
        let highest = filled.iter().copied().fold(0.0, f64::max);
        for (i, &share) in shares.iter().enumerate() {
            if share > 1e-12 {
                prop_assert!((level(i) - highest).abs() < 1e-6 * highest.max(1.0));
            } else {
                prop_assert!(level(i) >= highest - 1e-6 * highest.max(1.0));
            }
        }
    }

    #[test]
    fn shares_are_shares_whatever_comes_in(
        input in prop::collection::vec((any_load(), any_load(), any_load()), 1..20),
        volume in any_load(),
        utilization in any_load(),
        gain in any_load(),
    ) {
        let base: Vec<f64> = input.iter().map(|i| i.0).collect();
        let capacity: Vec<f64> = input.iter().map(|i| i.1).collect();
        let previous: Vec<f64> = input.iter().map(|i| i.2).collect();
        let filled = water_fill(&base, &capacity, volume);
        prop_assert!(are_shares(&filled), "{filled:?}");
        let clamped = clamp(&filled, &capacity, utilization, 1.25);
        prop_assert!(are_shares(&clamped), "{clamped:?}");
        let damped = damp(&previous, &clamped, gain);
        prop_assert!(are_shares(&damped), "{damped:?}");
        let some_capacity = capacity.iter().any(|c| c.is_finite() && *c > 0.0);
        for i in 0..capacity.len() {
            // Out of service means nothing, unless no partition is in service.
            let out = some_capacity && !(capacity[i].is_finite() && capacity[i] > 0.0);
            prop_assert!(!out || (filled[i] == 0.0 && damped[i] == 0.0));
        }
    }

    #[test]
    fn clamped_shares_keep_their_limit(
        capacity in prop::collection::vec(0.1..10.0f64, 2..20),
        utilization in 0.1..3.0f64,
    ) {
        let mut all_to_one = vec![0.0; capacity.len()];
        all_to_one[0] = 1.0;
        let clamped = clamp(&all_to_one, &capacity, utilization, 1.25);
        let limit = capacity_shares(&capacity)[0] * (1.25 / utilization).max(1.0);
        prop_assert!((clamped[0] - limit.min(1.0)).abs() < 1e-9);
    }

    #[test]
    fn dispatch_keeps_every_quota(
        weights in weights(),
        units in prop::collection::vec(0.1..4.0f64, 200),
        bound in 0.0..4.0f64,
        salt in any::<u64>(),
    ) {
        let shares = capacity_shares(&weights);
        let slots = SlotTable::build(&shares, 4096);
        let mut sent = vec![0.0; shares.len()];
        for (key, &unit) in units.iter().enumerate() {
            let request = Request { slots: &slots, shares: &shares, sent: &sent, unit, bound };
            let draw = |nonce| VirtualKey::draw(key as u64, 0, salt, nonce, 1, 4096);
            let choice = choose(request, draw);
            let p = usize::from(choice.partition);
            prop_assert_eq!(slots.owner(choice.virtual_key.slot()), choice.partition);
            prop_assert!(shares[p] > 0.0);
            prop_assert!(choice.redraws <= MAX_DRAWS);
            sent[p] += unit;
            let lead = sent[p] - shares[p] * sent.iter().sum::<f64>();
            // The furthest behind is never ahead by more than its own unit.
            let most = if choice.reason == Reason::FurthestBehind { unit } else { bound };
            prop_assert!(lead <= most + 1e-9, "lead {lead}, {:?}", choice.reason);
        }
    }
}
