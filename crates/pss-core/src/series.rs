//! Cumulative counters of one partition to load: differences, rates, and what is missing.
//!
//! A load is reported only where two samples really bound an interval. A reset, a gap or a
//! standing clock is *missing* (`None`); it must never become a zero or a spike, because every
//! forecast is learnt from what leaves this file.

/// Cumulative event counts of one partition, as the server's statistics give them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tuples inserted.
    pub inserted: u64,
    /// Tuples updated.
    pub updated: u64,
    /// Tuples deleted.
    pub deleted: u64,
    /// Tuples fetched by index scans.
    pub index_fetched: u64,
    /// Tuples read by sequential scans.
    pub sequentially_read: u64,
    /// Blocks read from disk (heap, indexes and TOAST).
    pub blocks_read: u64,
    /// Microseconds of execution of statements that pss did not route.
    pub busy_us: u64,
}

impl Counters {
    /// Events since `earlier`, or `None` if any counter went backwards.
    pub fn since(&self, earlier: &Counters) -> Option<Counters> {
        Some(Counters {
            inserted: self.inserted.checked_sub(earlier.inserted)?,
            updated: self.updated.checked_sub(earlier.updated)?,
            deleted: self.deleted.checked_sub(earlier.deleted)?,
            index_fetched: self.index_fetched.checked_sub(earlier.index_fetched)?,
            sequentially_read: self.sequentially_read.checked_sub(earlier.sequentially_read)?,
            blocks_read: self.blocks_read.checked_sub(earlier.blocks_read)?,
            busy_us: self.busy_us.checked_sub(earlier.busy_us)?,
        })
    }
}

/// Cost units per event. Only the ratios matter; the defaults put one insert at 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostModel {
    /// Cost of one inserted tuple.
    pub insert: f64,
    /// Cost of one updated tuple.
    pub update: f64,
    /// Cost of one deleted tuple.
    pub delete: f64,
    /// Cost of one tuple fetched by index.
    pub index_fetch: f64,
    /// Cost of one tuple read sequentially.
    pub sequential_read: f64,
    /// Cost of one block read from disk.
    pub block_read: f64,
    /// Cost of one microsecond of statement execution. 0 by default: what a statement does to
    /// tuples and blocks is counted already, and must not be counted twice.
    pub busy_us: f64,
}

impl Default for CostModel {
    fn default() -> Self {
        CostModel {
            insert: 1.0,
            update: 1.5,
            delete: 0.8,
            index_fetch: 0.2,
            sequential_read: 0.02,
            block_read: 1.0,
            busy_us: 0.0,
        }
    }
}

impl CostModel {
    /// Cost units of everything in `events` but its inserts, which need matching first.
    fn without_inserts(&self, events: &Counters) -> f64 {
        self.update * events.updated as f64
            + self.delete * events.deleted as f64
            + self.index_fetch * events.index_fetched as f64
            + self.sequential_read * events.sequentially_read as f64
            + self.block_read * events.blocks_read as f64
            + self.busy_us * events.busy_us as f64
    }
}

/// Load of one partition over one sampling interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Cost units per second of rows that pss placed.
    pub own: f64,
    /// Cost units per second of all the rest.
    pub foreign: f64,
    /// Length of the interval, in seconds.
    pub seconds: f64,
}

/// An interval longer than this many nominal ones is a gap, and missing.
const GAP_INTERVALS: f64 = 3.0;

/// Own rows that the statistics have not reported for this many nominal intervals (at most twice
/// as many) are forgotten. Long enough for a bulk load that reports at its commit; finite, so that
/// rows which never arrive cannot hide foreign inserts for good.
const UNSEEN_INTERVALS: f64 = 90.0;

/// Turns samples of one partition into loads. Call [`Meter::sample`] once a sampling cycle.
#[derive(Debug, Clone)]
pub struct Meter {
    costs: CostModel,
    nominal_us: f64,
    last: Option<Sample>,
    unseen: Unseen,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    time_us: i64,
    counters: Counters,
    own_rows: u64,
}

impl Meter {
    /// A meter for samples nominally `nominal_us` microseconds apart (at least 1).
    pub fn new(costs: CostModel, nominal_us: i64) -> Self {
        Meter { costs, nominal_us: nominal_us.max(1) as f64, last: None, unseen: Unseen::default() }
    }

    /// Takes a sample and returns the load since the one before.
    ///
    /// `time_us` is the time of the sample in microseconds, `own_rows` the cumulative count of
    /// rows that pss sent to this partition. `None` means missing: the first sample, a counter
    /// that went backwards, a clock that did not advance, or a gap of more than three nominal
    /// intervals. A sample at the very time of the last one is ignored, so that what happened
    /// since is counted in the next interval.
    pub fn sample(&mut self, time_us: i64, counters: Counters, own_rows: u64) -> Option<Load> {
        let now = Sample { time_us, counters, own_rows };
        let Some(last) = self.last else {
            self.last = Some(now);
            return None;
        };
        if time_us == last.time_us {
            return None;
        }
        self.last = Some(now);

        let elapsed_us = time_us.saturating_sub(last.time_us) as f64;
        let Some(own) = own_rows.checked_sub(last.own_rows) else {
            // The own-counter restarts with the server, and then nothing is left in flight.
            self.unseen = Unseen::default();
            return None;
        };
        let events = counters.since(&last.counters)?;
        // Counters stay comparable over a gap: rows are matched even if no load is reported.
        self.unseen.add(own, elapsed_us / self.nominal_us);
        let foreign_inserts = self.unseen.unmatched(events.inserted);
        if elapsed_us <= 0.0 || elapsed_us > GAP_INTERVALS * self.nominal_us {
            return None;
        }
        let seconds = elapsed_us / 1e6;
        let foreign =
            self.costs.without_inserts(&events) + self.costs.insert * foreign_inserts as f64;
        Some(Load {
            own: self.costs.insert * own as f64 / seconds,
            foreign: foreign / seconds,
            seconds,
        })
    }
}

/// Own rows that the statistics have not reported yet. The own-counter is exact and at once; the
/// server's statistics follow when the writing session flushes them.
#[derive(Debug, Clone, Copy, Default)]
struct Unseen {
    /// Rows of the last span, and of the one before it.
    recent: u64,
    older: u64,
    /// Nominal intervals into the current span.
    age: f64,
}

impl Unseen {
    /// Adds own rows of the last `intervals` nominal intervals; forgets the rows of a span once
    /// the next one is over.
    fn add(&mut self, own: u64, intervals: f64) {
        self.age += intervals.max(0.0);
        if self.age > UNSEEN_INTERVALS {
            *self = Unseen { older: self.recent, ..Unseen::default() };
        }
        self.recent = self.recent.saturating_add(own);
    }

    /// Takes the rows that `inserted` reports, oldest first; returns the inserts left over, which
    /// no own row explains.
    fn unmatched(&mut self, inserted: u64) -> u64 {
        let older = inserted.min(self.older);
        let recent = (inserted - older).min(self.recent);
        self.older -= older;
        self.recent -= recent;
        inserted - older - recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000;

    fn inserts(inserted: u64) -> Counters {
        Counters { inserted, ..Counters::default() }
    }

    fn meter() -> Meter {
        Meter::new(CostModel::default(), 10 * SECOND)
    }

    #[test]
    fn costs_and_rates() {
        let mut m = meter();
        assert_eq!(m.sample(0, Counters::default(), 0), None);
        let counters = Counters {
            inserted: 100,
            updated: 10,
            deleted: 10,
            index_fetched: 100,
            sequentially_read: 1000,
            blocks_read: 7,
            busy_us: 5000,
        };
        let load = m.sample(10 * SECOND, counters, 60).unwrap();
        assert_eq!(load.seconds, 10.0);
        assert!((load.own - 6.0).abs() < 1e-12);
        // 40 foreign inserts, 15 + 8 + 20 + 20 + 7 of the rest, over 10 s.
        assert!((load.foreign - 11.0).abs() < 1e-12);
    }

    #[test]
    fn time_of_statements_costs_what_it_is_said_to_cost() {
        let busy = |busy_us, updated| Counters { busy_us, updated, ..Counters::default() };
        let costs = CostModel { busy_us: 0.002, ..CostModel::default() };
        let mut m = Meter::new(costs, 10 * SECOND);
        m.sample(0, busy(0, 0), 0);
        // 3 s of 10 at 2 units a millisecond, and 20 updates at 1.5.
        let load = m.sample(10 * SECOND, busy(3_000_000, 20), 0).unwrap();
        assert_eq!((load.own, load.foreign), (0.0, 603.0));
        assert_eq!(m.sample(20 * SECOND, busy(10, 30), 0), None, "counted anew since a restart");
        assert_eq!(m.sample(30 * SECOND, busy(1_010, 30), 0).unwrap().foreign, 0.2);
    }

    #[test]
    fn reset_gap_and_standing_clock_are_missing() {
        let mut m = meter();
        m.sample(0, inserts(1000), 0);
        assert_eq!(m.sample(10 * SECOND, inserts(5), 0), None, "reset");
        assert_eq!(m.sample(20 * SECOND, inserts(15), 0).unwrap().foreign, 1.0);
        assert_eq!(m.sample(51 * SECOND, inserts(5000), 0), None, "gap");
        assert_eq!(m.sample(51 * SECOND, inserts(5010), 0), None, "same time");
        assert_eq!(m.sample(61 * SECOND, inserts(5020), 0).unwrap().foreign, 2.0);
        assert_eq!(m.sample(60 * SECOND, inserts(5030), 0), None, "clock set back");
        assert_eq!(m.sample(70 * SECOND, inserts(5040), 0).unwrap().foreign, 1.0);
        assert_eq!(m.sample(100 * SECOND, inserts(5070), 0).unwrap().foreign, 1.0, "3x is no gap");
    }

    #[test]
    fn own_counter_restart_is_missing_and_forgets_what_was_unseen() {
        let mut m = meter();
        m.sample(0, inserts(0), 0);
        m.sample(10 * SECOND, inserts(0), 50);
        assert_eq!(m.sample(20 * SECOND, inserts(0), 0), None);
        assert_eq!(m.sample(30 * SECOND, inserts(50), 0).unwrap().foreign, 5.0);
    }

    #[test]
    fn late_statistics_are_not_foreign_load() {
        let mut m = meter();
        m.sample(0, inserts(0), 0);
        for cycle in 1..=10 {
            let load = m.sample(cycle * 10 * SECOND, inserts(0), 100 * cycle as u64).unwrap();
            assert_eq!((load.own, load.foreign), (10.0, 0.0));
        }
        // The bulk load commits and reports its 1000 rows at once, beside 20 foreign ones.
        let load = m.sample(110 * SECOND, inserts(1020), 1000).unwrap();
        assert_eq!((load.own, load.foreign), (0.0, 2.0));
    }

    /// Rows sent 30 cycles ago are matched, wherever in its span the memory stands.
    #[test]
    fn lateness_is_forgiven_across_spans() {
        for sent in 1..200 {
            let mut m = meter();
            m.sample(0, inserts(0), 0);
            for cycle in 1..=sent + 30 {
                let own = if cycle >= sent { 500 } else { 0 };
                let reported = if cycle == sent + 30 { 500 } else { 0 };
                let load = m.sample(cycle * 10 * SECOND, inserts(reported), own).unwrap();
                assert_eq!(load.foreign, 0.0, "sent {sent}, cycle {cycle}");
            }
        }
    }

    #[test]
    fn rows_that_never_arrive_do_not_hide_foreign_inserts_for_good() {
        let mut m = meter();
        m.sample(0, inserts(0), 0);
        m.sample(10 * SECOND, inserts(0), 1000);
        let mut foreign = 0.0;
        for cycle in 2..200 {
            foreign =
                m.sample(cycle * 10 * SECOND, inserts(10 * cycle as u64), 1000).unwrap().foreign;
        }
        assert_eq!(foreign, 1.0);
    }

    proptest! {
        /// Own rows reported up to three cycles late, beside a steady foreign load of reads: the
        /// foreign load is those reads, exactly, at every cycle.
        #[test]
        fn lag_leaves_foreign_load_alone(
            rows in prop::collection::vec(0u64..500, 10..60),
            lags in prop::collection::vec(0usize..4, 60),
        ) {
            let mut m = meter();
            m.sample(0, Counters::default(), 0);
            let (mut own, mut reported) = (0, 0);
            let mut sums = vec![0];
            for (cycle, r) in rows.iter().enumerate() {
                own += r;
                sums.push(own);
                reported = reported.max(sums[(cycle + 1).saturating_sub(lags[cycle])]);
                let counters = Counters {
                    inserted: reported,
                    index_fetched: 50 * (cycle as u64 + 1),
                    ..Counters::default()
                };
                let time = 10 * SECOND * (cycle as i64 + 1);
                let load = m.sample(time, counters, own).unwrap();
                prop_assert!((load.own - *r as f64 / 10.0).abs() < 1e-9);
                prop_assert_eq!(load.foreign, 1.0);
            }
        }

        /// Whatever the counters do, a load is finite and not negative.
        #[test]
        fn loads_are_finite_and_not_negative(
            samples in prop::collection::vec((any::<i64>(), any::<[u64; 7]>(), any::<u64>()), 1..40),
        ) {
            let mut m = meter();
            for (time, c, own) in samples {
                let counters = Counters {
                    inserted: c[0], updated: c[1], deleted: c[2],
                    index_fetched: c[3], sequentially_read: c[4], blocks_read: c[5],
                    busy_us: c[6],
                };
                if let Some(load) = m.sample(time, counters, own) {
                    prop_assert!(load.own.is_finite() && load.own >= 0.0);
                    prop_assert!(load.foreign.is_finite() && load.foreign >= 0.0);
                    prop_assert!(load.seconds > 0.0 && load.seconds <= 30.0);
                }
            }
        }
    }
}
