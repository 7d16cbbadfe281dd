//! The slot table of an epoch: which partition owns each slot of the virtual key space.
//!
//! Slots are shared out in proportion to weight, exact to less than one slot, and a change of
//! weights moves no more slots than it has to. The table must never give a slot to a partition
//! of weight zero while another has some.

/// Owner of each slot. Immutable once built: an epoch's virtual keys are decoded with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotTable {
    owners: Vec<u16>,
}

impl SlotTable {
    /// Shares `slots` slots out in proportion to `weights` (largest remainder), interleaved so
    /// that every prefix of the table is nearly fair too.
    ///
    /// `slots` is rounded up to a power of two within 1..=65536. Weights that are not positive
    /// and finite count as zero; if none is left, all partitions weigh the same.
    pub fn build(weights: &[f64], slots: usize) -> SlotTable {
        let slots = slots.clamp(1, 65_536).next_power_of_two();
        let counts = shared_out(weights, slots);
        let mut owners = interleaved(&counts);
        owners.resize(slots, 0);
        SlotTable { owners }
    }

    /// The table for new weights that leaves as many slots as possible with their owners: it has
    /// the counts of [`SlotTable::build`], and only the surplus changes hands.
    #[must_use]
    pub fn reassign(&self, weights: &[f64]) -> SlotTable {
        let wanted = shared_out(weights, self.len());
        let had = self.counts(wanted.len());
        // Who gains, interleaved like the table itself, so that the gains spread over it.
        let gains: Vec<u32> = wanted.iter().zip(&had).map(|(w, h)| w.saturating_sub(*h)).collect();
        let mut heirs = interleaved(&gains).into_iter();
        let mut seen = vec![0u32; wanted.len()];
        let owners = self
            .owners
            .iter()
            .map(|&owner| {
                let p = usize::from(owner);
                if p >= wanted.len() {
                    return heirs.next().unwrap_or(owner);
                }
                // Of its `had` slots the owner gives up `surplus`, evenly spaced.
                let (n, k) = (u64::from(had[p]), u64::from(had[p].saturating_sub(wanted[p])));
                let j = u64::from(seen[p]);
                seen[p] += 1;
                let gives = (j + 1) * k / n > j * k / n;
                if gives { heirs.next().unwrap_or(owner) } else { owner }
            })
            .collect();
        SlotTable { owners }
    }

    pub(crate) fn from_owners(owners: Vec<u16>) -> SlotTable {
        SlotTable { owners }
    }

    pub(crate) fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// The partition that owns `slot` (taken modulo the table's length).
    pub fn owner(&self, slot: u16) -> u16 {
        self.owners[usize::from(slot) & (self.owners.len() - 1)]
    }

    /// The first slot at or after `from`, going around, that `partition` owns.
    pub fn slot_of(&self, partition: u16, from: u16) -> Option<u16> {
        let start = usize::from(from) & (self.owners.len() - 1);
        let (before, after) = self.owners.split_at(start);
        let found = after.iter().position(|&p| p == partition).map(|i| i + start);
        found.or_else(|| before.iter().position(|&p| p == partition)).map(|i| i as u16)
    }

    /// How many slots each of partitions `0..n` owns.
    pub fn counts(&self, n: usize) -> Vec<u32> {
        let mut counts = vec![0; n];
        for &owner in &self.owners {
            if let Some(count) = counts.get_mut(usize::from(owner)) {
                *count += 1;
            }
        }
        counts
    }

    /// How many slots have another owner in `other`.
    pub fn moved(&self, other: &SlotTable) -> usize {
        let common = self.owners.iter().zip(&other.owners).filter(|(a, b)| a != b).count();
        common + self.len().abs_diff(other.len())
    }

    /// Number of slots, a power of two.
    #[expect(clippy::len_without_is_empty, reason = "a slot table is never empty")]
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// The owners as little-endian 16-bit words: the form the catalog stores.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.owners.iter().flat_map(|owner| owner.to_le_bytes()).collect()
    }

    /// The table that [`SlotTable::to_bytes`] wrote; `None` if the length is not that of one.
    pub fn from_bytes(bytes: &[u8]) -> Option<SlotTable> {
        let (words, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() || !words.len().is_power_of_two() || words.len() > 65_536 {
            return None;
        }
        Some(SlotTable { owners: words.iter().map(|&w| u16::from_le_bytes(w)).collect() })
    }
}

/// Partitions repeated by their counts, each spread evenly over the sequence: the j-th of a
/// partition that has c comes (j + 1/2) / c of the way through.
fn interleaved(counts: &[u32]) -> Vec<u16> {
    let mut places: Vec<(f64, u16)> = Vec::new();
    for (partition, &count) in counts.iter().enumerate() {
        let place = |j| (f64::from(j) + 0.5) / f64::from(count);
        places.extend((0..count).map(|j| (place(j), partition as u16)));
    }
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    places.into_iter().map(|(_, partition)| partition).collect()
}

/// Whole slots per partition, in proportion to weight: floors first, then one more for each of
/// the largest remainders (Hamilton's method; ties go to the lower number).
pub(crate) fn shared_out(weights: &[f64], slots: usize) -> Vec<u32> {
    let mut weights: Vec<f64> =
        weights.iter().map(|&w| if w.is_finite() && w > 0.0 { w } else { 0.0 }).collect();
    let largest = weights.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        weights.fill(1.0);
    } else {
        // Scaled first, so that neither huge nor tiny weights lose their sum.
        weights.iter_mut().for_each(|w| *w /= largest);
    }
    let total: f64 = weights.iter().sum();
    let quotas: Vec<f64> = weights.iter().map(|w| w / total * slots as f64).collect();
    let mut counts: Vec<u32> = quotas.iter().map(|q| q.floor() as u32).collect();
    let mut order: Vec<usize> = (0..quotas.len()).filter(|&i| quotas[i] > 0.0).collect();
    order.sort_by(|&a, &b| quotas[b].fract().total_cmp(&quotas[a].fract()).then(a.cmp(&b)));
    let given: u32 = counts.iter().sum();
    let left = slots.saturating_sub(given as usize);
    for &i in order.iter().take(left) {
        counts[i] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_weight_owns_nothing() {
        let table = SlotTable::build(&[1.0, 0.0, 3.0, f64::NAN, -1.0], 64);
        assert_eq!(table.counts(5), [16, 0, 48, 0, 0]);
        assert_eq!(SlotTable::build(&[0.0, 0.0], 8).counts(2), [4, 4]);
        assert_eq!(SlotTable::build(&[], 8).counts(1), [8]);
    }

    #[test]
    fn bytes_come_back_or_are_refused() {
        let table = SlotTable::build(&[1.0, 2.0, 300.0], 4096);
        assert_eq!(SlotTable::from_bytes(&table.to_bytes()), Some(table));
        assert_eq!(SlotTable::from_bytes(&[]), None);
        assert_eq!(SlotTable::from_bytes(&[0; 6]), None);
        assert_eq!(SlotTable::from_bytes(&[0; 7]), None);
    }

    #[test]
    fn slot_of_goes_around() {
        let table = SlotTable::from_bytes(&[1, 0, 0, 0, 0, 0, 0, 0]).expect("four slots");
        assert_eq!(table.slot_of(1, 2), Some(0));
        assert_eq!(table.slot_of(0, 2), Some(2));
        assert_eq!(table.slot_of(7, 2), None);
    }
}
