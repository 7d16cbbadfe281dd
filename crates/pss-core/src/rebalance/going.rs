//! Whether a batch of a move may go now, or users' load goes first.

use super::WORTH;

/// Load of the source, relative to what stands there, up to which a batch may go.
const PEAK: f64 = 1.5;

/// Keys of a batch: about those of a second, at most. More would keep writers waiting for longer.
const BATCH_KEYS: f64 = 1000.0;
/// Part by which batches out of a partition that is only written to are smaller.
const FOR_WRITERS: f64 = 0.75;

/// How many keys to move at a time: those of a second at `rows_per_s`, 1000 at most. A batch keeps
/// writers of its source waiting, and no readers: where much of the work is writes (`writes`, as a
/// part of reads and writes), batches are smaller, down to a quarter.
pub fn batch_keys(rows_per_s: f64, rows_per_key: f64, writes: f64) -> u64 {
    let keys = (rows_per_s / rows_per_key.max(1e-3)).min(BATCH_KEYS);
    let part = 1.0 - FOR_WRITERS * if writes.is_finite() { writes.clamp(0.0, 1.0) } else { 0.0 };
    (keys * part).max(1.0) as u64
}

/// Whom a batch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The source has much more load than stands there: a peak of its users.
    Source,
    /// The destination is above the level just now.
    Destination,
}

/// Whom a batch from one partition to another has to wait for; `None`: nobody.
///
/// `load` is that of the last sample (cost units/s) by position, without what moves cause; not a
/// number where it is not known, which keeps nobody waiting. `standing`: load of the source when
/// the move was planned.
pub fn may_go(
    load: &[f64],
    capacity: &[f64],
    (from, to): (usize, usize),
    standing: f64,
) -> Option<Wait> {
    let known = load.iter().zip(capacity).filter(|(load, c)| load.is_finite() && **c > 0.0);
    let (all, room) = known.fold((0.0, 0.0), |(l, r), (load, c)| (l + load, r + c));
    let level = all / room;
    let utilization = |i: usize| load.get(i).zip(capacity.get(i)).map(|(load, c)| load / c);
    if utilization(to).is_some_and(|u| u > level * (1.0 + WORTH)) {
        return Some(Wait::Destination);
    }
    load.get(from).is_some_and(|load| *load > standing * PEAK).then_some(Wait::Source)
}
