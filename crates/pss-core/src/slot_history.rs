//! Slot mode: which partitions each slot has had as owners, and epochs that keep this list short.
//!
//! Without a row map the rows of a key can be wherever its slot ever was at home. A slot's homes
//! only grow while rows may be there: every look-up by key opens them all. So an epoch may give a
//! slot a new home only while it has fewer than the budget; after that its owner changes among its
//! homes. Nothing here may ever name a home that was not recorded, or forget one.

use crate::slots::{SlotTable, shared_out};

/// Homes of a slot beyond which epochs give it no new one: as many partitions a look-up opens.
pub const MAX_HOMES: usize = 3;

/// The homes of each slot, by position of the partition, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotHistory {
    homes: Vec<Vec<u16>>,
}

impl SlotHistory {
    /// A history of `slots` slots without any home.
    pub fn new(slots: usize) -> SlotHistory {
        SlotHistory { homes: vec![Vec::new(); slots] }
    }

    /// Adds a home of a slot; false if it was there, or there is no such slot.
    pub fn add(&mut self, slot: u16, partition: u16) -> bool {
        match self.homes.get_mut(usize::from(slot)) {
            Some(homes) if !homes.contains(&partition) => {
                homes.push(partition);
                true
            }
            _ => false,
        }
    }

    /// The homes of a slot; empty if there is no such slot.
    pub fn homes(&self, slot: u16) -> &[u16] {
        self.homes.get(usize::from(slot)).map_or(&[], Vec::as_slice)
    }

    /// Mean and greatest number of homes of a slot.
    pub fn widths(&self) -> (f64, usize) {
        let total: usize = self.homes.iter().map(Vec::len).sum();
        let widest = self.homes.iter().map(Vec::len).max().unwrap_or(0);
        (total as f64 / self.homes.len().max(1) as f64, widest)
    }

    /// The slot table for new weights, as near to them as homes allow, by the fewest moves from
    /// `last`.
    ///
    /// The total by which partitions miss their whole slots ([`SlotTable::build`]) is the least
    /// that there is, and direct moves to a present home come before new homes. A slot that has
    /// `max_homes` homes gets no new one, unless all of them have weight zero: out of service.
    #[must_use]
    pub fn reassign(&self, last: &SlotTable, weights: &[f64], max_homes: usize) -> SlotTable {
        let mut plan = Assignment::new(self, last, weights, max_homes);
        plan.settle_strays();
        plan.move_directly(true);
        plan.move_directly(false);
        while let Some(chain) = plan.chain() {
            chain.into_iter().for_each(|(slot, partition)| plan.give(slot, partition));
        }
        SlotTable::from_owners(plan.owners)
    }
}

/// A slot table in the making.
struct Assignment<'a> {
    history: &'a SlotHistory,
    max_homes: usize,
    /// Has a weight.
    usable: Vec<bool>,
    owners: Vec<u16>,
    /// Slots by partition: more than wanted (positive) or fewer.
    excess: Vec<i64>,
}

impl<'a> Assignment<'a> {
    fn new(
        history: &'a SlotHistory,
        last: &SlotTable,
        weights: &[f64],
        max_homes: usize,
    ) -> Assignment<'a> {
        let wanted = shared_out(weights, last.len());
        let weighs = |w: &f64| w.is_finite() && *w > 0.0;
        let any = weights.iter().any(weighs);
        let owners = last.owners().to_vec();
        let mut excess: Vec<i64> = wanted.iter().map(|&w| -i64::from(w)).collect();
        for &owner in &owners {
            if let Some(excess) = excess.get_mut(usize::from(owner)) {
                *excess += 1;
            }
        }
        let usable = weights.iter().map(|w| weighs(w) || !any).collect();
        Assignment { history, max_homes, usable, owners, excess }
    }

    /// The partitions that may own a slot: all that serve while it has room for a new home, or no
    /// home that serves; else those of its homes that serve.
    fn heirs(&self, slot: usize) -> impl Iterator<Item = u16> {
        let serves = |p: &u16| self.usable.get(usize::from(*p)).copied().unwrap_or(false);
        let homes = self.homes(slot);
        let full = homes.len() >= self.max_homes && homes.iter().any(serves);
        let (homes, all) =
            if full { (homes, 0..0) } else { (&[][..], 0..self.usable.len() as u16) };
        homes.iter().copied().chain(all).filter(serves)
    }

    fn homes(&self, slot: usize) -> &[u16] {
        self.history.homes.get(slot).map_or(&[], Vec::as_slice)
    }

    fn is_home(&self, slot: usize, partition: u16) -> bool {
        self.homes(slot).contains(&partition)
    }

    fn give(&mut self, slot: usize, partition: u16) {
        let from = usize::from(self.owners[slot]);
        if let Some(excess) = self.excess.get_mut(from) {
            *excess -= 1;
        }
        self.excess[usize::from(partition)] += 1;
        self.owners[slot] = partition;
    }

    /// Slots whose owner is gone, out of service or not allowed go to where they are missed most,
    /// a present home if two miss them alike.
    fn settle_strays(&mut self) {
        for slot in 0..self.owners.len() {
            let owner = self.owners[slot];
            if self.heirs(slot).any(|p| p == owner) {
                continue;
            }
            let heir = self
                .heirs(slot)
                .min_by_key(|&p| (self.excess[usize::from(p)], !self.is_home(slot, p)));
            if let Some(heir) = heir {
                self.give(slot, heir);
            }
        }
    }

    /// Slots of partitions that have too many go to those that have too few: within their homes,
    /// or to new ones.
    fn move_directly(&mut self, within_homes: bool) {
        for slot in 0..self.owners.len() {
            if self.excess.get(usize::from(self.owners[slot])).is_none_or(|&e| e <= 0) {
                continue;
            }
            let heir = self
                .heirs(slot)
                .filter(|&p| self.excess[usize::from(p)] < 0)
                .filter(|&p| self.is_home(slot, p) == within_homes)
                .min_by_key(|&p| self.excess[usize::from(p)]);
            if let Some(heir) = heir {
                self.give(slot, heir);
            }
        }
    }

    /// The shortest chain of moves (slot, new owner) that takes a slot from a partition with too
    /// many, by way of others, to one with too few (an augmenting path, Edmonds and Karp 1972).
    fn chain(&self) -> Option<Vec<(usize, u16)>> {
        let n = self.excess.len();
        let mut slots_of = vec![Vec::new(); n];
        for (slot, &owner) in self.owners.iter().enumerate() {
            if let Some(slots) = slots_of.get_mut(usize::from(owner)) {
                slots.push(slot);
            }
        }
        // The slot by which a partition was reached.
        let mut reached: Vec<Option<usize>> = vec![None; n];
        let mut queue: Vec<_> = (0..n).filter(|&p| self.excess[p] > 0).collect();
        let mut seen: Vec<bool> = self.excess.iter().map(|&e| e > 0).collect();
        let mut next = 0;
        while let Some(&from) = queue.get(next) {
            next += 1;
            for &slot in &slots_of[from] {
                for to in self.heirs(slot).map(usize::from) {
                    if std::mem::replace(&mut seen[to], true) {
                        continue;
                    }
                    reached[to] = Some(slot);
                    if self.excess[to] < 0 {
                        return Some(self.moves_to(to, &reached));
                    }
                    queue.push(to);
                }
            }
        }
        None
    }

    fn moves_to(&self, end: usize, reached: &[Option<usize>]) -> Vec<(usize, u16)> {
        let mut moves = Vec::new();
        let mut to = end;
        while let Some(slot) = reached[to] {
            moves.push((slot, to as u16));
            to = usize::from(self.owners[slot]);
        }
        moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(homes: &[&[u16]]) -> SlotHistory {
        SlotHistory { homes: homes.iter().map(|h| h.to_vec()).collect() }
    }

    #[test]
    fn homes_come_in_order_and_once() {
        let mut history = SlotHistory::new(2);
        assert!(history.add(1, 7) && history.add(1, 3) && !history.add(1, 7));
        assert!(!history.add(2, 0), "there is no slot 2");
        assert_eq!(history.homes(1), [7, 3]);
        assert_eq!(history.widths(), (1.0, 2));
        assert!(history.homes(9).is_empty());
    }

    #[test]
    fn a_present_home_comes_before_a_new_one() {
        // Partition 0 gives up one slot; only the last one knows partition 1.
        let last = SlotTable::from_owners(vec![0; 4]);
        let homes = history(&[&[0], &[0], &[0], &[0, 1]]);
        let table = homes.reassign(&last, &[3.0, 1.0], 3);
        assert_eq!(table.owners(), [0, 0, 0, 1]);
    }

    #[test]
    fn a_chain_reaches_what_no_single_move_does() {
        // 0 has too many and knows only 1; 1 can pass on to 2.
        let last = SlotTable::from_owners(vec![0, 0, 1, 2]);
        let homes = history(&[&[0, 1], &[0, 1], &[1, 2], &[2]]);
        let table = homes.reassign(&last, &[1.0, 1.0, 2.0], 1);
        assert_eq!(table.counts(3), [1, 1, 2]);
    }

    #[test]
    fn the_budget_yields_where_all_homes_are_out_of_service() {
        let last = SlotTable::from_owners(vec![0, 1]);
        let homes = history(&[&[0], &[0, 1]]);
        let table = homes.reassign(&last, &[0.0, 1.0], 1);
        assert_eq!(table.owners(), [1, 1]);
    }

    #[test]
    fn an_owner_that_is_no_more_is_replaced() {
        let last = SlotTable::from_owners(vec![0, 5]);
        let table = history(&[&[0], &[]]).reassign(&last, &[1.0, 1.0], 3);
        assert_eq!(table.owners(), [0, 1]);
    }
}
