//! Properties of slot mode's epochs that hold for any history and any weights.

use proptest::prelude::*;
use pss_core::slot_history::{MAX_HOMES, SlotHistory};
use pss_core::slots::SlotTable;

fn weights(n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![1 => Just(0.0), 6 => 0.01..100.0], n)
        .prop_filter("some weight", |w| w.iter().any(|&w| w > 0.0))
}

/// A history of `slots` slots over partitions 0..n, one to four homes each.
fn history(slots: usize, n: u16) -> impl Strategy<Value = SlotHistory> {
    prop::collection::vec(prop::collection::vec(0..n, 1..5), slots).prop_map(|all| {
        let mut history = SlotHistory::new(all.len());
        for (slot, homes) in all.iter().enumerate() {
            for &home in homes {
                history.add(slot as u16, home);
            }
        }
        history
    })
}

/// A table of which each slot is owned by the first of its homes.
fn first_homes(history: &SlotHistory, slots: u16) -> SlotTable {
    let owners = (0..slots).flat_map(|slot| history.homes(slot)[0].to_le_bytes());
    SlotTable::from_bytes(&owners.collect::<Vec<u8>>()).expect("a power of two")
}

/// The slots by which partitions have fewer than their weights want.
fn missing(table: &SlotTable, weights: &[f64]) -> u32 {
    let wanted = SlotTable::build(weights, table.len()).counts(weights.len());
    let has = table.counts(weights.len());
    wanted.iter().zip(has).map(|(w, h)| w.saturating_sub(h)).sum()
}

fn may_own(history: &SlotHistory, weights: &[f64], slot: u16, partition: u16, max: usize) -> bool {
    let serves = |p: u16| weights[usize::from(p)] > 0.0;
    let homes = history.homes(slot);
    let full = homes.len() >= max && homes.iter().any(|&p| serves(p));
    serves(partition) && (!full || homes.contains(&partition))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn homes_stay_within_the_budget_over_many_epochs(
        epochs in prop::collection::vec(weights(6..7), 1..12),
    ) {
        let mut table = SlotTable::build(&[1.0; 6], 128);
        let mut history = SlotHistory::new(128);
        for slot in 0..128 {
            history.add(slot, table.owner(slot));
        }
        for weights in &epochs {
            table = history.reassign(&table, weights, MAX_HOMES);
            for slot in 0..128 {
                let serves = history.homes(slot).iter().any(|&p| weights[usize::from(p)] > 0.0);
                let is_new = history.add(slot, table.owner(slot));
                prop_assert!(!is_new || !serves || history.homes(slot).len() <= MAX_HOMES);
            }
        }
    }

    #[test]
    fn out_of_service_means_no_slot(history in history(64, 5), weights in weights(5..6)) {
        let table = history.reassign(&first_homes(&history, 64), &weights, MAX_HOMES);
        for (count, weight) in table.counts(5).iter().zip(&weights) {
            prop_assert!(*weight > 0.0 || *count == 0);
        }
        prop_assert_eq!(table.counts(5).iter().sum::<u32>(), 64);
    }

    #[test]
    fn without_a_bound_shares_are_exact_and_moves_the_fewest(
        before in weights(5..6), after in weights(5..6),
    ) {
        let last = SlotTable::build(&before, 256);
        let mut history = SlotHistory::new(256);
        for slot in 0..256 {
            history.add(slot, last.owner(slot));
        }
        let table = history.reassign(&last, &after, MAX_HOMES);
        prop_assert_eq!(missing(&table, &after), 0);
        prop_assert_eq!(table.moved(&last), last.reassign(&after).moved(&last));
    }

    #[test]
    fn the_same_weights_move_nothing(history in history(64, 4), weights in weights(4..5)) {
        let once = history.reassign(&first_homes(&history, 64), &weights, MAX_HOMES);
        let mut known = history.clone();
        for slot in 0..64 {
            known.add(slot, once.owner(slot));
        }
        prop_assert_eq!(known.reassign(&once, &weights, MAX_HOMES).moved(&once), 0);
    }

    /// Against every table that there is.
    #[test]
    fn no_legal_table_comes_nearer_to_the_weights(
        history in history(8, 3), weights in weights(3..4), max in 1usize..4,
    ) {
        let found = history.reassign(&first_homes(&history, 8), &weights, max);
        for slot in 0..8 {
            prop_assert!(may_own(&history, &weights, slot, found.owner(slot), max));
        }
        let best = (0..3u32.pow(8)).filter_map(|code| {
            let owners: Vec<u16> = (0..8).map(|s| (code / 3u32.pow(s) % 3) as u16).collect();
            let legal = (0u16..8)
                .all(|slot| may_own(&history, &weights, slot, owners[usize::from(slot)], max));
            let bytes: Vec<u8> = owners.iter().flat_map(|o| o.to_le_bytes()).collect();
            legal.then(|| SlotTable::from_bytes(&bytes).expect("eight slots"))
        });
        let least = best.map(|table| missing(&table, &weights)).min().expect("a legal table");
        prop_assert_eq!(missing(&found, &weights), least);
    }
}
