//! Whether a batch of a move may go now, or users' load goes first.

use super::WORTH;

/// Load of the source, relative to what stands there, up to which a batch may go.
const PEAK: f64 = 1.5;

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
