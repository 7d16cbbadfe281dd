//! Quota dispatch: which partition the next new key goes to.
//!
//! A drawn virtual key decides, unless its partition is ahead of its quota; then the next one is
//! drawn (bounded-load hashing). So placement stays random inside the weights, and shares are
//! exact to a few units. It runs once for every new key: it must never allocate or loop without
//! bound, and it always finds a partition.

use crate::slots::SlotTable;
use crate::virtual_key::VirtualKey;

/// Draws before the partition furthest behind is taken outright.
pub const MAX_DRAWS: u32 = 16;

/// Default lead over its quota, in units, that a partition may have. At one, shares of a hundred
/// keys each come out a hundredth of the load apart; at a half they come out even.
pub const DEFAULT_BOUND: f64 = 0.5;

/// Units that a partition which was refused is still owed when it is back, at most.
pub const DEBT: f64 = 3.0;

/// What is known when a new key asks for a partition.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The epoch's slot table.
    pub slots: &'a SlotTable,
    /// Share of the epoch's new units that each partition is due (sum 1).
    pub shares: &'a [f64],
    /// Units sent to each partition since the epoch began, by all sessions.
    pub sent: &'a [f64],
    /// This key's weight in units (1 a key, or its expected rows or bytes over the mean).
    pub unit: f64,
    /// Units by which a partition may be ahead of its quota. At 0 or below no dice are thrown:
    /// the furthest behind is next, always (smooth weighted round robin).
    pub bound: f64,
}

/// Why a partition was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The first draw was within its quota.
    Drawn,
    /// Earlier draws fell on partitions that were ahead of their quota.
    Redrawn,
    /// No draw was within its quota: the partition furthest behind took it.
    FurthestBehind,
}

/// Where a new key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The virtual key; its slot is owned by `partition`.
    pub virtual_key: VirtualKey,
    /// The partition.
    pub partition: u16,
    /// Draws that were refused.
    pub redraws: u32,
    /// Why.
    pub reason: Reason,
}

/// Chooses the partition of a new key. `draw(n)` gives its n-th virtual key, n from 0.
///
/// A partition may take it while `sent + unit <= share * (total + unit) + bound`.
pub fn choose(request: Request<'_>, draw: impl FnMut(u64) -> VirtualKey) -> Choice {
    choose_admitted(request, |_| true, draw)
}

/// As [`choose`], of the partitions that `admits` does not refuse (see [`crate::delay`]); their
/// quotas are then of what they get together. If it refuses all that are due something, it is
/// not asked.
pub fn choose_admitted(
    request: Request<'_>,
    admits: impl Fn(u16) -> bool,
    mut draw: impl FnMut(u64) -> VirtualKey,
) -> Choice {
    let Request { slots, shares, sent, unit, bound } = request;
    let unit = if unit.is_finite() && unit > 0.0 { unit } else { 1.0 };
    let (mut total, mut share_of_all) = (0.0, 0.0);
    for (p, (share, sent)) in shares.iter().zip(sent).enumerate() {
        if admits(p as u16) {
            total += sent;
            share_of_all += share;
        }
    }
    let asked = share_of_all > 0.0;
    if !asked {
        (total, share_of_all) = (sent.iter().sum(), 1.0);
    }
    let due = (total + unit) / share_of_all;
    let lead = |p: u16| {
        if asked && !admits(p) {
            return f64::INFINITY;
        }
        let p = usize::from(p);
        sent.get(p).unwrap_or(&0.0) + unit - shares.get(p).unwrap_or(&0.0) * due
    };
    let draws = if bound > 0.0 { MAX_DRAWS } else { 0 };
    for redraws in 0..draws {
        let virtual_key = draw(u64::from(redraws));
        let partition = slots.owner(virtual_key.slot());
        if lead(partition) <= bound {
            let reason = if redraws == 0 { Reason::Drawn } else { Reason::Redrawn };
            return Choice { virtual_key, partition, redraws, reason };
        }
    }
    let virtual_key = draw(u64::from(draws));
    let behind = furthest_behind(shares, lead);
    // A share too small for a slot leaves the key where the dice put it.
    let (virtual_key, partition) = behind
        .and_then(|p| slots.slot_of(p, virtual_key.slot()).map(|s| (virtual_key.with_slot(s), p)))
        .unwrap_or_else(|| (virtual_key, slots.owner(virtual_key.slot())));
    Choice { virtual_key, partition, redraws: draws, reason: Reason::FurthestBehind }
}

/// Forgives what partitions are owed beyond [`DEBT`] units: `sent` is raised to that. A partition
/// that was refused for a while must not get all keys when it is back.
pub fn forgive(sent: &mut [f64], shares: &[f64], unit: f64) {
    let total: f64 = sent.iter().sum();
    for (sent, share) in sent.iter_mut().zip(shares) {
        *sent = sent.max(share * total - DEBT * unit);
    }
}

fn furthest_behind(shares: &[f64], lead: impl Fn(u16) -> f64) -> Option<u16> {
    let mut best: Option<(f64, u16)> = None;
    for (p, _) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        let lead = lead(p as u16);
        if best.is_none_or(|(least, _)| lead < least) {
            best = Some((lead, p as u16));
        }
    }
    best.map(|(_, p)| p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(key: u64) -> impl FnMut(u64) -> VirtualKey {
        move |attempt| VirtualKey::draw(key, 0, 1, attempt, 1, 4096)
    }

    #[test]
    fn a_bound_of_zero_is_smooth_round_robin() {
        let shares = [0.5, 0.25, 0.25];
        let slots = SlotTable::build(&shares, 4096);
        let mut sent = [0.0; 3];
        let mut order = Vec::new();
        for key in 0..8 {
            let request =
                Request { slots: &slots, shares: &shares, sent: &sent, unit: 1.0, bound: 0.0 };
            let choice = choose(request, keys(key));
            assert_eq!(slots.owner(choice.virtual_key.slot()), choice.partition);
            sent[usize::from(choice.partition)] += 1.0;
            order.push(choice.partition);
        }
        assert_eq!(order, [0, 1, 2, 0, 0, 1, 2, 0]);
    }

    #[test]
    fn a_share_without_a_slot_is_no_dead_end() {
        let slots = SlotTable::build(&[1.0, 0.0], 4096);
        let request = Request {
            slots: &slots,
            shares: &[0.9, 0.1],
            sent: &[90.0, 0.0],
            unit: 1.0,
            bound: 1.0,
        };
        assert_eq!(choose(request, keys(1)).partition, 0);
    }

    #[test]
    fn the_refused_get_nothing_and_the_others_keep_their_quotas() {
        let shares = [0.5, 0.25, 0.25];
        let slots = SlotTable::build(&shares, 4096);
        let mut sent = [0.0; 3];
        let place = |key: u64, sent: &[f64], refused: &[u16]| {
            let request =
                Request { slots: &slots, shares: &shares, sent, unit: 1.0, bound: DEFAULT_BOUND };
            choose_admitted(request, |p| !refused.contains(&p), keys(key)).partition
        };
        for key in 0..300 {
            sent[usize::from(place(key, &sent, &[0]))] += 1.0;
        }
        assert_eq!(sent[0], 0.0);
        assert!((sent[1] - sent[2]).abs() <= 4.0, "{sent:?}");
        // Back again, it is owed a few and no more.
        forgive(&mut sent, &shares, 1.0);
        assert_eq!(sent[0], 150.0 - DEBT);
        // All refused: nobody is.
        let taken = place(7, &sent, &[0, 1, 2]);
        assert!(taken < 3);
    }

    #[test]
    fn the_virtual_key_says_how_it_came() {
        let slots = SlotTable::build(&[1.0, 1.0], 4096);
        let request = |sent| Request {
            slots: &slots,
            shares: &[0.5, 0.5],
            sent,
            unit: 1.0,
            bound: DEFAULT_BOUND,
        };
        let free = choose(request(&[0.0, 0.0]), keys(1));
        assert_eq!((free.reason, free.redraws), (Reason::Drawn, 0));
        let other = 1 - free.partition;
        let mut sent = [0.0; 2];
        sent[usize::from(free.partition)] = 10.0;
        let redrawn = choose(request(&sent), keys(1));
        assert_eq!((redrawn.reason, redrawn.partition), (Reason::Redrawn, other));
        assert!(redrawn.redraws > 0);
    }
}
