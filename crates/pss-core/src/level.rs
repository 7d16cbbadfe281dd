//! Filling to a level: which partition takes a new key, given what is expected of each.
//!
//! Quota dispatch knows one share for each partition; this knows how the load of each partition
//! is expected to run over the next cycles, and how a key of this size runs. A key goes where it
//! raises the peaks least. It runs once for every new key: it must never allocate or look at
//! more than a few partitions, and always finds one that is in service.

use crate::dispatch::{Choice, MAX_DRAWS, Reason};
use crate::slots::SlotTable;
use crate::virtual_key::VirtualKey;

/// Points of the expected path of load; how many cycles apart they are is the plan's choice.
pub const AHEAD: usize = 8;

/// Size classes of keys: 0 = size unknown, then steps of the square root of two.
pub const CLASSES: usize = 12;

/// Up to this many partitions all are compared; of more, only those that the dice propose.
const COMPARE_ALL: usize = MAX_DRAWS as usize;

/// The class of a key's size; `reference` is the size that falls into the middle (6) of classes
/// 1 to 11, in the same unit. A size or reference of zero is unknown.
pub fn size_class(size: f64, reference: f64) -> usize {
    let steps = (2.0 * (size / reference).log2()).round();
    if size > 0.0 && steps.is_finite() { (6.0 + steps).clamp(1.0, 11.0) as usize } else { 0 }
}

/// What is expected, as published for all sessions.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Load (cost units/s) of each partition at each point, with an equal part of the keys still
    /// to come.
    pub levels: &'a [[f32; AHEAD]],
    /// Load (cost units/s) at each point of a key of each class placed now.
    pub keys: &'a [[f32; AHEAD]; CLASSES],
    /// Capacity of each partition; 0 = out of service.
    pub capacity: &'a [f32],
    /// At each point, capacity over load of the whole table: what makes utilizations comparable.
    pub scale: &'a [f32; AHEAD],
}

/// The owned form of [`Expected`], to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Fill {
    /// See [`Expected::levels`].
    pub levels: Vec<[f32; AHEAD]>,
    /// See [`Expected::keys`].
    pub keys: [[f32; AHEAD]; CLASSES],
    /// See [`Expected::capacity`].
    pub capacity: Vec<f32>,
    /// See [`Expected::scale`].
    pub scale: [f32; AHEAD],
}

impl Fill {
    /// As dispatch wants it.
    pub fn expected(&self) -> Expected<'_> {
        let Fill { levels, keys, capacity, scale } = self;
        Expected { levels, keys, capacity, scale }
    }
}

impl Expected<'_> {
    /// Utilization of a partition while a key of `class` placed now brings its load, relative to
    /// the table's; `None` out of service. What is sent meanwhile is left out.
    pub fn relative(&self, partition: usize, class: usize) -> Option<f64> {
        let levels = self.levels.get(partition)?;
        let capacity = self.capacity.get(partition).copied().filter(|c| *c > 0.0)?;
        let key = self.keys[class.min(CLASSES - 1)];
        // A key that brings nothing is there all the same.
        let weight = |k: f32| if key.iter().all(|k| *k <= 0.0) { 1.0 } else { f64::from(k) };
        let points = levels.iter().zip(self.scale).zip(key);
        let (sum, weights) = points.fold((0.0, 0.0), |(sum, all), ((level, scale), k)| {
            (sum + weight(k) * f64::from(level * scale / capacity), all + weight(k))
        });
        Some(sum / weights)
    }

    /// How much a key of `class` adds to the peaks of a partition that was sent `sent` keys by
    /// class since the levels were published: the rise of the sum of fourth powers of relative
    /// utilization over all units of capacity, which the highest partitions dominate. Infinite out
    /// of service.
    fn cost(&self, partition: usize, sent: &[u32; CLASSES], class: usize) -> f32 {
        let (Some(levels), Some(&capacity)) =
            (self.levels.get(partition), self.capacity.get(partition))
        else {
            return f32::INFINITY;
        };
        if capacity <= 0.0 {
            return f32::INFINITY;
        }
        let mut levels = *levels;
        for (keys, &sent) in self.keys.iter().zip(sent).filter(|(_, sent)| **sent > 0) {
            levels.iter_mut().zip(keys).for_each(|(level, key)| *level += key * sent as f32);
        }
        let key = &self.keys[class.min(CLASSES - 1)];
        let fourth = |x: f32| (x * x) * (x * x);
        let rise = |((level, key), scale): ((&f32, &f32), &f32)| {
            let scale = scale / capacity;
            fourth((level + key) * scale) - fourth(level.max(0.0) * scale)
        };
        // Each unit of capacity counts: else the least sum would not have one utilization.
        capacity * levels.iter().zip(key).zip(self.scale).map(rise).sum::<f32>()
    }
}

/// Chooses the partition of a new key of a size class. `sent(p)` gives the keys by class placed
/// on partition p since `expected` was published, by all sessions; `draw(n)` the key's n-th
/// virtual key, n from 0. Ties go to the partition the dice name first.
pub fn choose(
    expected: Expected<'_>,
    sent: impl Fn(usize) -> [u32; CLASSES],
    class: usize,
    slots: &SlotTable,
    mut draw: impl FnMut(u64) -> VirtualKey,
) -> Choice {
    let cost = |p: u16| expected.cost(usize::from(p), &sent(usize::from(p)), class);
    let virtual_key = draw(0);
    let partition = slots.owner(virtual_key.slot());
    let mut best = (cost(partition), virtual_key, partition, 0);
    if expected.levels.len() <= COMPARE_ALL {
        for p in (0..expected.levels.len() as u16).filter(|&p| p != partition) {
            let cost = cost(p);
            if cost < best.0 {
                best = (cost, virtual_key, p, 0);
            }
        }
    } else {
        for n in 1..MAX_DRAWS {
            let virtual_key = draw(u64::from(n));
            let partition = slots.owner(virtual_key.slot());
            let cost = cost(partition);
            if cost < best.0 {
                best = (cost, virtual_key, partition, n);
            }
        }
    }
    let (_, chosen, partition, redraws) = best;
    let owned = slots.owner(chosen.slot()) == partition;
    let slot = if owned { Some(chosen.slot()) } else { slots.slot_of(partition, chosen.slot()) };
    let virtual_key = chosen.with_slot(slot.unwrap_or(chosen.slot()));
    let reason = if !owned {
        Reason::FurthestBehind
    } else if redraws == 0 {
        Reason::Drawn
    } else {
        Reason::Redrawn
    };
    Choice { virtual_key, partition, redraws, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u32; CLASSES] = [0; CLASSES];

    fn keys() -> [[f32; AHEAD]; CLASSES] {
        let mut keys = [[0.0; AHEAD]; CLASSES];
        keys[1][0] = 1.0; // short
        keys[2] = [1.0; AHEAD]; // long
        keys
    }

    fn place(levels: &[[f32; AHEAD]], capacity: &[f32], class: usize, sent: &[u32]) -> u16 {
        let slots = SlotTable::build(&vec![1.0; levels.len()], 4096);
        let expected = Expected {
            levels,
            keys: &keys(),
            capacity,
            scale: &[1.0 / levels.len() as f32; AHEAD],
        };
        let sent = |p: usize| {
            let mut by_class = NONE;
            by_class[2] = sent.get(p).copied().unwrap_or(0);
            by_class
        };
        let choice =
            choose(expected, sent, class, &slots, |n| VirtualKey::draw(5, 0, 1, n, 1, 4096));
        assert_eq!(slots.owner(choice.virtual_key.slot()), choice.partition);
        choice.partition
    }

    #[test]
    fn a_key_goes_where_its_own_time_is_quiet() {
        let busy_now = [9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let busy_later = [1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0];
        assert_eq!(place(&[busy_now, busy_later], &[1.0; 2], 1, &[]), 1);
        assert_eq!(place(&[busy_now, busy_later], &[1.0; 2], 2, &[]), 0);
    }

    #[test]
    fn keys_sent_since_count_at_once() {
        let level = [[5.0; AHEAD], [6.0; AHEAD]];
        assert_eq!(place(&level, &[1.0; 2], 2, &[0, 0]), 0);
        assert_eq!(place(&level, &[1.0; 2], 2, &[2, 0]), 1);
    }

    #[test]
    fn capacity_and_service_count() {
        let level = [[5.0; AHEAD], [6.0; AHEAD]];
        assert_eq!(place(&level, &[1.0, 3.0], 2, &[]), 1);
        assert_eq!(place(&level, &[0.0, 1.0], 2, &[]), 1);
    }

    #[test]
    fn keys_fill_unequal_partitions_to_one_utilization() {
        let mut sent = [0; 2];
        for _ in 0..1000 {
            sent[usize::from(place(&[[8.0; AHEAD], [2.0; AHEAD]], &[4.0, 1.0], 2, &sent))] += 1;
        }
        assert!((795..=805).contains(&sent[0]), "{sent:?}");
    }

    #[test]
    fn of_many_partitions_a_few_are_looked_at() {
        let mut level = vec![[9.0; AHEAD]; 500];
        level.iter_mut().step_by(3).for_each(|l| *l = [1.0; AHEAD]);
        let chosen = place(&level, &[1.0; 500], 2, &[]);
        assert_eq!(chosen % 3, 0);
    }

    #[test]
    fn utilization_is_that_of_the_time_a_key_lives() {
        let levels = [[4.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0], [1.0; AHEAD]];
        let keys = keys();
        let capacity = [2.0, 0.0];
        let expected =
            Expected { levels: &levels, keys: &keys, capacity: &capacity, scale: &[0.5; AHEAD] };
        assert_eq!(expected.relative(0, 1), Some(1.0));
        assert_eq!(expected.relative(0, 2), Some(0.5625));
        assert_eq!(expected.relative(0, 3), Some(0.5625), "nothing is known of such keys");
        assert_eq!((expected.relative(1, 1), expected.relative(9, 1)), (None, None));
    }

    #[test]
    fn sizes_fall_into_classes() {
        assert_eq!(size_class(100.0, 100.0), 6);
        assert_eq!(size_class(200.0, 100.0), 8);
        assert_eq!(size_class(1e30, 100.0), 11);
        assert_eq!(size_class(1e-9, 100.0), 1);
        for (size, reference) in [(0.0, 9.0), (-1.0, 9.0), (f64::NAN, 9.0), (5.0, 0.0)] {
            assert_eq!(size_class(size, reference), 0);
        }
    }
}
