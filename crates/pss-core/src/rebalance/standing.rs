//! What of a load stands: its mean over so long a time that cycles and moments cancel out, with
//! the load of placed keys as it will be when patience has ended.

use super::{Partition, Table, WORTH};

/// The fewest samples that a judgement rests on.
const SAMPLES: f64 = 12.0;

/// Time, in seconds, over which loads have to be seen: a quarter of a key's life, two periods, and
/// twelve samples at least; where there is a period, whole pairs of it, so that each half of the
/// time has seen the same parts of the cycle.
pub fn needed_s(life_s: f64, period_s: Option<f64>, sample_s: f64) -> f64 {
    let least = (life_s / 4.0).max(SAMPLES * sample_s);
    match period_s.filter(|period| *period > 0.0) {
        Some(period) => (least / (2.0 * period)).ceil().max(1.0) * 2.0 * period,
        None => least,
    }
}

/// How long keys will go on bringing load, in seconds: the harmonic mean of the two ways in which a
/// load ends. `committed` is the load of placed keys after patience and after twice that;
/// `rows_die_s` is rows over rows deleted a second, infinite where none are.
pub fn remaining_life_s(committed: (f64, f64), patience_s: f64, rows_die_s: f64) -> f64 {
    let (then, later) = committed;
    let rate = if then > 0.0 && later < then {
        (then / later.max(then * 1e-6)).ln() / patience_s.max(1.0)
    } else {
        0.0
    };
    let rate = rate + 1.0 / rows_die_s.max(1.0);
    if rate > 0.0 { 1.0 / rate } else { f64::INFINITY }
}

/// Hours of two days, the older first.
pub const TWO_DAYS: usize = 48;
/// Correlation of one day with the next from which a load counts as daily.
const DAILY: f64 = 0.5;

/// Whether loads have a daily cycle that matters: `hours` are each partition's mean loads over
/// capacity in the hours of the last two days (not a number: unknown).
///
/// What counts is how far a partition is from the mean of all in an hour, and from its own mean:
/// if that is alike on both days (Pearson's correlation over all partitions and hours), and as much
/// as is worth a move, then an excess of some hours is one of some hours only.
pub fn is_daily(hours: &[[f64; TWO_DAYS]]) -> bool {
    let level_at = |hour: usize| mean_of(hours.iter().map(|load| load[hour]));
    let levels: Vec<f64> = (0..TWO_DAYS).map(level_at).collect();
    let level = mean_of(levels.iter().copied());
    let (mut both, mut first, mut second, mut n) = (0.0, 0.0, 0.0, 0.0);
    for load in hours {
        let apart: Vec<f64> = load.iter().zip(&levels).map(|(load, level)| load - level).collect();
        let own = mean_of(apart.iter().copied());
        let (older, newer) = apart.split_at(TWO_DAYS / 2);
        let days = older.iter().zip(newer).map(|(x, y)| (x - own, y - own));
        for (x, y) in days.filter(|(x, y)| x.is_finite() && y.is_finite()) {
            both += x * y;
            first += x * x;
            second += y * y;
            n += 1.0;
        }
    }
    let correlation = both / (first * second).sqrt();
    let typical = ((first + second) / (2.0 * n)).sqrt();
    n >= TWO_DAYS as f64 / 2.0 && correlation > DAILY && typical > WORTH * level
}

/// Mean of the numbers among them; not a number if there are none.
fn mean_of(loads: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) =
        loads.filter(|x| x.is_finite()).fold((0.0, 0.0), |(sum, n), x| (sum + x, n + 1.0));
    sum / n
}

/// Loads of all partitions at one time, and how far they are above the level.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// Cost units/s; not a number: out of service, or not known.
    pub load: Vec<f64>,
    /// Load over capacity that all would have.
    pub level: f64,
}

impl View {
    fn new(partitions: &[Partition], free: f64, load: impl Fn(&Partition) -> f64) -> View {
        let serves = |p: &&Partition| p.capacity > 0.0 && p.capacity.is_finite();
        let known = |p: &Partition| Some(load(p)).filter(|load| load.is_finite());
        let load: Vec<f64> = partitions
            .iter()
            .map(|p| if serves(&p) { known(p).map_or(f64::NAN, |l| l.max(0.0)) } else { f64::NAN })
            .collect();
        let known = load.iter().zip(partitions).filter(|(load, _)| load.is_finite());
        let (all, room) = known.fold((0.0, 0.0), |(l, r), (load, p)| (l + load, r + p.capacity));
        let level = if room > 0.0 { (all + free) / room } else { 0.0 };
        View { load, level }
    }

    /// How far a partition is above the level, as a part of it; below zero where it is below, or
    /// unknown.
    pub fn excess(&self, partitions: &[Partition], i: usize) -> f64 {
        let excess = self.load[i] / (partitions[i].capacity * self.level) - 1.0;
        if excess.is_finite() { excess } else { -1.0 }
    }

    /// The partition that is farthest above the level.
    pub fn worst(&self, partitions: &[Partition]) -> Option<usize> {
        let all = (0..partitions.len()).filter(|&i| self.load[i].is_finite());
        all.max_by(|&a, &b| self.excess(partitions, a).total_cmp(&self.excess(partitions, b)))
    }
}

/// The loads of a table over the time looked at.
pub(super) struct Standing {
    /// Mean foreign load, and what will be left of placed keys' load.
    pub mean: View,
    /// The same with what placed keys bring now.
    pub undecayed: View,
    /// The mean of each half of the time.
    pub halves: [View; 2],
    /// What was seen last.
    pub now: View,
}

impl Standing {
    pub fn of(table: &Table<'_>) -> Standing {
        let spans = table.partitions.iter().map(|p| p.foreign.len()).max().unwrap_or(0);
        let over = |from: usize, to: usize| {
            View::new(table.partitions, table.controllable, move |p| {
                mean(&p.foreign, from, to) + p.committed_later
            })
        };
        // What keys bring in all stays; of it, what is not of keys placed by now is still free.
        let decays: f64 = table.partitions.iter().map(|p| p.committed - p.committed_later).sum();
        let free = (table.controllable - decays).max(0.0);
        let at_once = |from: usize| {
            View::new(table.partitions, free, move |p| mean(&p.foreign, from, spans) + p.committed)
        };
        Standing {
            mean: over(0, spans),
            undecayed: at_once(0),
            halves: [over(0, spans / 2), over(spans / 2, spans)],
            now: at_once(spans - (spans / 8).max(1).min(spans)),
        }
    }

    /// Whether a partition's excess is worth a move and was there in both halves of the time.
    pub fn stands(&self, partitions: &[Partition], i: usize) -> bool {
        let worth = |view: &View| view.excess(partitions, i) > WORTH;
        worth(&self.mean) && self.halves.iter().all(worth)
    }

    /// The least load of a partition in an eighth of the time, as a part below the level; `None`
    /// where it never was below.
    pub fn far_side(&self, partitions: &[Partition], i: usize) -> Option<f64> {
        let p = &partitions[i];
        let width = (p.foreign.len() / 8).max(1);
        let views = p.foreign.windows(width).map(|w| mean(w, 0, w.len()) + p.committed_later);
        let least = views.filter(|load| load.is_finite()).min_by(f64::total_cmp)?;
        let below = 1.0 - least / (p.capacity * self.mean.level);
        (below > 0.0).then_some(below)
    }
}

/// Mean of the spans from one to another that were measured; not a number if none was.
fn mean(spans: &[f64], from: usize, to: usize) -> f64 {
    let to = to.min(spans.len());
    mean_of(spans[from.min(to)..to].iter().copied())
}
