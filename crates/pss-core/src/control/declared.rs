//! Loads that somebody declared to come: what falls on a partition, from when, until when.
//!
//! A declared load is known, not forecast: it is taken out of what was measured before a
//! forecaster sees it, and put onto the path it foretells. So it counts before it begins, ends
//! when it ends, and never teaches a forecaster a level that is not the series' own. Times are
//! microseconds on the caller's clock.
//!
//! Load that moves with its keys is known in the same way: what a move under way will have carried
//! by then is expected of its destination, and not of its source any more.

/// One declared load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Declaration {
    /// Position of the partition.
    pub partition: usize,
    /// Cost units per second while it runs.
    pub load: f64,
    /// When it begins.
    pub from_us: i64,
    /// When it is over.
    pub until_us: i64,
}

/// Load on its way from one partition to another, with the keys that bring it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transfer {
    /// Position of the partition that the keys leave.
    pub from: usize,
    /// Position of the partition that they come to.
    pub to: usize,
    /// Cost units per second that have not moved yet.
    pub load: f64,
    /// When the rest begins to move, evenly.
    pub from_us: i64,
    /// When all of it will have moved.
    pub until_us: i64,
}

impl Transfer {
    /// What of the load will have moved by `at_us`.
    fn moved(&self, at_us: i64) -> f64 {
        let passed = at_us.saturating_sub(self.from_us).max(0) as f64;
        let all = self.until_us.saturating_sub(self.from_us).max(1) as f64;
        self.load * (passed / all).min(1.0)
    }
}

/// All loads declared of one table. They add up where they overlap.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timetable {
    /// By partition.
    declarations: Vec<Declaration>,
    transfers: Vec<Transfer>,
}

impl Timetable {
    /// A timetable of `declarations`, in any order. One that is no load (not above zero, not
    /// finite, or over before it begins) is left out.
    pub fn new(mut declarations: Vec<Declaration>) -> Timetable {
        declarations.retain(|d| d.load.is_finite() && d.load > 0.0 && d.from_us < d.until_us);
        declarations.sort_by_key(|d| d.partition);
        Timetable { declarations, transfers: Vec::new() }
    }

    /// The same, with loads that are moving. One that is no load is left out.
    pub fn moving(mut self, transfers: Vec<Transfer>) -> Timetable {
        self.transfers = transfers;
        self.transfers.retain(|t| t.load.is_finite() && t.load > 0.0 && t.from != t.to);
        self
    }

    /// What moves will have brought to a partition by `at_us` (cost units/s); below zero where they
    /// will have taken more away.
    fn shifted(&self, partition: usize, at_us: i64) -> f64 {
        let shift = |t: &Transfer| match partition {
            p if p == t.to => t.moved(at_us),
            p if p == t.from => -t.moved(at_us),
            _ => 0.0,
        };
        self.transfers.iter().map(shift).sum()
    }

    /// Mean load declared of a partition (cost units/s) from `from_us` until `until_us`: what
    /// covers part of that time counts in proportion. Zero where the time is empty.
    pub fn mean(&self, partition: usize, from_us: i64, until_us: i64) -> f64 {
        let first = self.declarations.partition_point(|d| d.partition < partition);
        let of_partition =
            self.declarations[first..].iter().take_while(|d| d.partition == partition);
        let span = until_us.saturating_sub(from_us);
        if span <= 0 {
            return 0.0;
        }
        of_partition
            .map(|d| {
                let covered = d.until_us.min(until_us).saturating_sub(d.from_us.max(from_us));
                d.load * (covered.max(0) as f64 / span as f64)
            })
            .sum::<f64>()
            .min(f64::MAX)
    }

    /// The cycles that follow `at_us`, each `step_us` microseconds long.
    pub fn ahead(&self, at_us: i64, step_us: i64) -> Ahead<'_> {
        Ahead { timetable: self, at_us, step_us }
    }
}

/// The declared loads of the cycles to come.
#[derive(Debug, Clone, Copy)]
pub struct Ahead<'a> {
    timetable: &'a Timetable,
    at_us: i64,
    step_us: i64,
}

impl Ahead<'static> {
    /// Nothing is declared.
    pub fn nothing() -> Ahead<'static> {
        static EMPTY: Timetable = Timetable { declarations: Vec::new(), transfers: Vec::new() };
        EMPTY.ahead(0, 1)
    }
}

impl Ahead<'_> {
    /// Mean load declared of a partition (cost units/s) in the cycle that is `step` away, 1 is
    /// the next, with what moves will have brought by the middle of it: below zero where they take
    /// more away.
    pub fn load(&self, partition: usize, step: usize) -> f64 {
        let end = self.at_us.saturating_add(self.step_us.saturating_mul(step as i64));
        let declared = self.timetable.mean(partition, end.saturating_sub(self.step_us), end);
        declared + self.timetable.shifted(partition, end.saturating_sub(self.step_us / 2))
    }

    /// Whether nothing at all is declared.
    pub fn is_empty(&self) -> bool {
        self.timetable.declarations.is_empty() && self.timetable.transfers.is_empty()
    }
}

/// A measured load less what was declared of it; not below zero.
pub(super) fn without(load: f64, declared: f64) -> f64 {
    if declared > 0.0 { (load - declared).max(0.0) } else { load }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn declare(partition: usize, load: f64, from_us: i64, until_us: i64) -> Declaration {
        Declaration { partition, load, from_us, until_us }
    }

    #[test]
    fn each_cycle_gets_the_part_that_it_covers() {
        let timetable = Timetable::new(vec![
            declare(1, 8.0, 125, 150),
            declare(1, 2.0, 0, 130),
            declare(0, 5.0, 90, 110),
        ]);
        let ahead = timetable.ahead(100, 10);
        let loads: Vec<f64> = (1..=6).map(|step| ahead.load(1, step)).collect();
        assert_eq!(loads, [2.0, 2.0, 2.0 + 4.0, 8.0, 8.0, 0.0]);
        assert_eq!((ahead.load(0, 1), ahead.load(0, 2), ahead.load(7, 1)), (5.0, 0.0, 0.0));
        assert_eq!(timetable.mean(1, 100, 100), 0.0);
    }

    #[test]
    fn what_moves_is_expected_where_it_goes() {
        let transfer = |load| Transfer { from: 0, to: 2, load, from_us: 100, until_us: 140 };
        let timetable = Timetable::new(vec![declare(2, 5.0, 100, 110)]).moving(vec![
            transfer(8.0),
            transfer(f64::NAN),
            transfer(-1.0),
        ]);
        let ahead = timetable.ahead(100, 10);
        let loads = |p: usize| (1..=6).map(|step| ahead.load(p, step)).collect::<Vec<_>>();
        assert_eq!(loads(2), [6.0, 3.0, 5.0, 7.0, 8.0, 8.0]);
        assert_eq!(loads(0), [-1.0, -3.0, -5.0, -7.0, -8.0, -8.0]);
        assert_eq!(loads(1), [0.0; 6]);
        // It was measured where it was: nothing of it counts as declared.
        assert_eq!((timetable.mean(2, 100, 140), timetable.mean(0, 100, 140)), (1.25, 0.0));
        assert!(!ahead.is_empty());
    }

    #[test]
    fn what_is_no_load_is_left_out() {
        let timetable = Timetable::new(vec![
            declare(0, f64::NAN, 0, 9),
            declare(0, f64::INFINITY, 0, 9),
            declare(0, -1.0, 0, 9),
            declare(0, 1.0, 9, 9),
            declare(0, 1.0, 9, 0),
        ]);
        assert!(timetable.ahead(0, 1).is_empty());
        assert!(Ahead::nothing().is_empty());
    }

    proptest! {
        /// However time is cut into cycles, the same work is foretold; and whatever the times
        /// are, a load is finite and not negative.
        #[test]
        fn no_work_is_lost_between_cycles(
            from in 0i64..1000, length in 1i64..1000, load in 0.1f64..1e6, step in 1i64..97,
        ) {
            let timetable = Timetable::new(vec![declare(3, load, from, from + length)]);
            let ahead = timetable.ahead(0, step);
            let cycles = (2000 / step + 1) as usize;
            let work: f64 = (1..=cycles).map(|c| ahead.load(3, c) * step as f64).sum();
            prop_assert!((work - load * length as f64).abs() <= 1e-9 * load * length as f64);
        }

        #[test]
        fn odd_times_yield_loads(
            times in prop::array::uniform4(any::<i64>()), load in any::<f64>(), step in any::<usize>(),
        ) {
            let timetable = Timetable::new(vec![declare(0, load, times[0], times[1])]);
            let mean = timetable.mean(0, times[2], times[3]);
            let next = timetable.ahead(times[2], times[3]).load(0, step);
            prop_assert!(mean.is_finite() && mean >= 0.0 && next.is_finite() && next >= 0.0);
        }
    }
}
