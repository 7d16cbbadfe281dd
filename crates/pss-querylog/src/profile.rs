//! Load of each partition by buckets of five minutes, from the statements that ran.
//!
//! A statement counts by its duration where the log tells it, spread over the time it ran, else
//! by number. A bucket is reported as far as the log covers it: between two logs that do not
//! join, load is unknown, not zero; inside a log, silence is zero.

use std::collections::{BTreeMap, HashMap};

/// Length of a bucket in seconds.
pub const BUCKET_S: i64 = 300;
/// Logs whose ends are no further apart than this, in seconds, join.
const JOIN_S: f64 = 300.0;
/// Shortest time, in seconds, that a log is taken to cover: one entry has none.
const SHORTEST_S: f64 = 1.0;
/// A duration is spread over this many buckets at most (a week).
const LONGEST: i64 = 7 * 86_400 / BUCKET_S;
/// Buckets of a day.
const DAY: usize = (86_400 / BUCKET_S) as usize;

/// What statements cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Cost units of a statement of unknown duration.
    pub per_statement: f64,
    /// Cost units of a millisecond of one whose duration is known.
    pub per_ms: f64,
}

/// Statements, or parts of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Statements of unknown duration.
    pub untimed: f64,
    /// Milliseconds of those of known duration.
    pub ms: f64,
}

impl Work {
    /// One statement.
    pub fn of(duration_ms: Option<f64>) -> Work {
        match duration_ms {
            Some(ms) => Work { untimed: 0.0, ms },
            None => Work { untimed: 1.0, ms: 0.0 },
        }
    }

    fn add(&mut self, other: Work, share: f64) {
        self.untimed += other.untimed * share;
        self.ms += other.ms * share;
    }

    fn cost(&self, prices: &Prices) -> f64 {
        self.untimed * prices.per_statement + self.ms * prices.per_ms
    }
}

#[derive(Default)]
struct Bucket {
    /// What falls on all partitions alike: \[foreign, own\].
    everywhere: [Work; 2],
    by_partition: HashMap<usize, [Work; 2]>,
}

/// Load of one partition in one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Position of the partition.
    pub partition: usize,
    /// Start of the bucket, seconds since 1970 UTC.
    pub start_s: i64,
    /// Mean load of what pss did not place, cost units per second.
    pub foreign: f64,
    /// Mean load of what pss placed, likewise.
    pub own: f64,
    /// Seconds of the bucket that the log covers.
    pub seconds: f64,
}

/// Work of a table's partitions over time.
pub struct Profile {
    partitions: usize,
    buckets: BTreeMap<i64, Bucket>,
    /// Times that logs cover, in seconds.
    covered: Vec<(f64, f64)>,
    /// Since when the log under way tells everything, in seconds.
    from_s: f64,
    timed: u64,
    ms: f64,
}

impl Profile {
    /// Nothing known of a table with so many partitions.
    pub fn new(partitions: usize) -> Profile {
        Profile {
            partitions,
            buckets: BTreeMap::new(),
            covered: vec![],
            from_s: f64::NEG_INFINITY,
            timed: 0,
            ms: 0.0,
        }
    }

    /// Takes in a statement logged at `at_us` (microseconds since 1970 UTC).
    ///
    /// `targets`: positions of the partitions it falls on; `None` stands for all alike. Each of
    /// them takes the same part.
    pub fn add(
        &mut self,
        at_us: i64,
        duration_ms: Option<f64>,
        own: bool,
        targets: &[Option<usize>],
    ) {
        if targets.is_empty() {
            return;
        }
        let work = Work::of(duration_ms);
        if let Some(ms) = duration_ms {
            self.timed += 1;
            self.ms += ms;
        }
        let (end_s, duration_s) = (at_us as f64 / 1e6, duration_ms.unwrap_or(0.0) / 1000.0);
        let began_s = end_s - duration_s;
        let from_s = began_s.max(self.from_s).min(end_s);
        let last = (end_s as i64).div_euclid(BUCKET_S);
        let first = (from_s as i64).div_euclid(BUCKET_S).max(last - LONGEST);
        for number in first..=last {
            let bucket_s = (number * BUCKET_S) as f64;
            let inside = end_s.min(bucket_s + BUCKET_S as f64) - from_s.max(bucket_s);
            let whole = first == last && from_s == began_s;
            let part = if whole { 1.0 } else { inside / duration_s };
            let bucket = self.buckets.entry(number * BUCKET_S).or_default();
            let share = part / targets.len() as f64;
            for target in targets {
                let cell = match target {
                    Some(partition) => bucket.by_partition.entry(*partition).or_default(),
                    None => &mut bucket.everywhere,
                };
                cell[usize::from(own)].add(work, share);
            }
        }
    }

    /// Begins a log whose first record is of this time (microseconds). Logs come oldest first.
    ///
    /// What its statements did before is not counted unless a log that joins covers it: others
    /// ran then too.
    pub fn begin(&mut self, first_us: i64) {
        let first = first_us as f64 / 1e6;
        let joins = |log: &&(f64, f64)| log.0 <= first && first <= log.1 + JOIN_S;
        let earlier = self.covered.iter().filter(joins).map(|log| log.0).reduce(f64::min);
        self.from_s = earlier.unwrap_or(first);
    }

    /// Ends the log begun, with a last record of this time (microseconds): what lies between is
    /// covered.
    pub fn end(&mut self, last_us: i64) {
        let last = last_us as f64 / 1e6;
        self.covered.push((self.from_s, last.max(self.from_s + SHORTEST_S)));
    }

    /// Mean duration in milliseconds of the statements whose duration is known.
    pub fn mean_ms(&self) -> Option<f64> {
        (self.timed > 0 && self.ms > 0.0).then(|| self.ms / self.timed as f64)
    }

    /// Load of every partition in every bucket that is covered, in order of time.
    pub fn rows(&self, prices: Prices) -> impl Iterator<Item = Row> + '_ {
        let of_bucket = move |(start_s, seconds): (i64, f64)| {
            let bucket = self.buckets.get(&start_s);
            let cost = move |work: &Work| work.cost(&prices) / seconds;
            let share = 1.0 / self.partitions as f64;
            let everywhere =
                bucket.map_or([0.0; 2], |b| b.everywhere.each_ref().map(|w| cost(w) * share));
            (0..self.partitions).map(move |partition| {
                let here = bucket.and_then(|b| b.by_partition.get(&partition));
                let [foreign, own] = here.map_or([0.0; 2], |b| b.each_ref().map(cost));
                let (foreign, own) = (foreign + everywhere[0], own + everywhere[1]);
                Row { partition, start_s, foreign, own, seconds }
            })
        };
        self.covered_buckets().into_iter().flat_map(of_bucket)
    }

    /// Starts of the buckets that logs cover, with the seconds covered of each.
    fn covered_buckets(&self) -> BTreeMap<i64, f64> {
        let mut logs = self.covered.clone();
        logs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut joined: Vec<(f64, f64)> = Vec::new();
        for (first, last) in logs {
            match joined.last_mut() {
                Some(before) if first <= before.1 + JOIN_S => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        let mut seconds = BTreeMap::new();
        for (first, last) in joined {
            let mut start = (first as i64).div_euclid(BUCKET_S) * BUCKET_S;
            while (start as f64) < last {
                let inside = last.min((start + BUCKET_S) as f64) - first.max(start as f64);
                if inside > 0.0 {
                    *seconds.entry(start).or_default() += inside;
                }
                start += BUCKET_S;
            }
        }
        seconds
    }
}

/// What imported loads are to be multiplied by to be on the scale of measured ones.
///
/// `measured`: start of a bucket in seconds, and the foreign load of the whole table in it. Each
/// is compared with the mean of what was imported at the same time of day, so that a measured
/// hour at noon is not taken for a whole day; if no time of day is common, the means are
/// compared. `None` if nothing can be compared.
pub fn scale(rows: impl IntoIterator<Item = Row>, measured: &[(i64, f64)]) -> Option<f64> {
    let slot = |start_s: i64| start_s.div_euclid(BUCKET_S).rem_euclid(DAY as i64) as usize;
    // Cost units, and seconds covered, by time of day.
    let mut imported = vec![(0.0, 0.0); DAY];
    for row in rows {
        let (cost, seconds) = &mut imported[slot(row.start_s)];
        *cost += row.foreign * row.seconds;
        // Once a bucket, not once a partition.
        if row.partition == 0 {
            *seconds += row.seconds;
        }
    }
    let (mut expected, mut came) = (0.0, 0.0);
    for &(start_s, load) in measured {
        let (cost, seconds) = imported[slot(start_s)];
        if seconds > 0.0 {
            expected += cost / seconds;
            came += load;
        }
    }
    if expected == 0.0 {
        let total = |f: fn(&(f64, f64)) -> f64| imported.iter().map(f).sum::<f64>();
        expected = total(|i| i.0) / total(|i| i.1);
        came = measured.iter().map(|m| m.1).sum::<f64>() / measured.len() as f64;
    }
    let scale = came / expected;
    (scale.is_finite() && scale > 0.0).then_some(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: Prices = Prices { per_statement: 3.0, per_ms: 0.5 };

    fn us(seconds: i64) -> i64 {
        seconds * 1_000_000
    }

    #[test]
    fn statements_are_counted_where_they_fall() {
        let mut profile = Profile::new(2);
        profile.begin(us(600));
        profile.add(us(700), None, false, &[Some(1)]);
        profile.add(us(710), None, true, &[None]);
        profile.add(us(720), None, false, &[Some(0), Some(1)]);
        profile.end(us(1200));
        let row = |partition, start_s, foreign, own| Row {
            partition,
            start_s,
            foreign,
            own,
            seconds: 300.0,
        };
        assert_eq!(
            profile.rows(PRICES).collect::<Vec<_>>(),
            [
                row(0, 600, 0.5 * 3.0 / 300.0, 0.5 * 3.0 / 300.0),
                row(1, 600, 1.5 * 3.0 / 300.0, 0.5 * 3.0 / 300.0),
                row(0, 900, 0.0, 0.0),
                row(1, 900, 0.0, 0.0),
            ]
        );
    }

    #[test]
    fn a_long_statement_is_spread_over_the_time_it_ran() {
        let mut profile = Profile::new(1);
        profile.begin(us(0));
        profile.add(us(750), Some(600_000.0), false, &[Some(0)]);
        profile.end(us(900));
        let loads: Vec<f64> = profile.rows(PRICES).map(|r| r.foreign).collect();
        // 1,000 ms of it a second, while it ran.
        assert_eq!(loads, [250.0, 500.0, 250.0]);
        assert_eq!(profile.mean_ms(), Some(600_000.0));
    }

    #[test]
    fn no_work_is_lost_or_invented() {
        let mut profile = Profile::new(3);
        profile.begin(us(0));
        for i in 0..100 {
            let duration = (i % 3 > 0).then_some(f64::from(i) * 700.0);
            profile.add(us(900 + i64::from(i) * 20), duration, i % 2 == 0, &[Some(0), None]);
        }
        profile.end(us(3000));
        let rows = profile.rows(Prices { per_statement: 1.0, per_ms: 1.0 });
        let total: f64 = rows.map(|r| (r.foreign + r.own) * r.seconds).sum();
        let work = |i: i32| if i % 3 > 0 { f64::from(i) * 700.0 } else { 1.0 };
        let expected: f64 = (0..100).map(work).sum();
        assert!((total - expected).abs() < 1e-6 * expected, "{total} {expected}");
    }

    #[test]
    fn between_logs_that_do_not_join_nothing_is_known() {
        let mut profile = Profile::new(1);
        for (first, last) in [(150, 600), (700, 1000), (9000, 9010)] {
            profile.begin(us(first));
            profile.end(us(last));
        }
        let known: Vec<(i64, f64)> = profile.rows(PRICES).map(|r| (r.start_s, r.seconds)).collect();
        assert_eq!(known, [(0, 150.0), (300, 300.0), (600, 300.0), (900, 100.0), (9000, 10.0)]);
    }

    #[test]
    fn what_ran_before_the_log_begins_is_not_counted() {
        let loads = |earlier: Option<i64>| -> Vec<f64> {
            let mut profile = Profile::new(1);
            if let Some(last) = earlier {
                profile.begin(us(0));
                profile.end(us(last));
            }
            profile.begin(us(540));
            profile.add(us(540), Some(480_000.0), false, &[Some(0)]);
            profile.add(us(600), Some(120_000.0), false, &[Some(0)]);
            profile.end(us(600));
            let prices = Prices { per_statement: 1.0, per_ms: 0.001 };
            profile.rows(prices).map(|row| row.foreign * row.seconds).collect()
        };
        // Half of the second statement, and of the first one nothing.
        assert_eq!(loads(None), [60.0]);
        assert_eq!(loads(Some(100)), [0.0, 60.0]);
        // A log that joins tells of all else that ran then.
        assert_eq!(loads(Some(500)), [240.0, 360.0]);
    }

    #[test]
    fn a_log_of_one_entry_covers_a_second() {
        let mut profile = Profile::new(1);
        profile.begin(us(100));
        profile.add(us(100), None, false, &[Some(0)]);
        profile.end(us(100));
        let row = Row { partition: 0, start_s: 0, foreign: 3.0, own: 0.0, seconds: 1.0 };
        assert_eq!(profile.rows(PRICES).collect::<Vec<_>>(), [row]);
    }

    #[test]
    fn the_scale_compares_equal_times_of_day() {
        let mut profile = Profile::new(2);
        profile.begin(us(0));
        profile.add(us(100), None, false, &[None]);
        for _ in 0..10 {
            profile.add(us(43_300), None, false, &[Some(1)]);
        }
        profile.end(us(86_400));
        let prices = Prices { per_statement: 300.0, per_ms: 0.0 };
        let scale = |measured: &[(i64, f64)]| scale(profile.rows(prices), measured);
        // Noon, two days later: ten statements a bucket were imported, 70 units are measured.
        assert_eq!(scale(&[(2 * 86_400 + 43_200, 70.0)]), Some(7.0));
        assert_eq!(scale(&[(2 * 86_400, 70.0)]), Some(70.0));
        // Nothing was imported at that time of day: eleven statements in 288 buckets.
        let of_means = scale(&[(600, 70.0)]).unwrap_or_default();
        assert!((of_means - 70.0 / (11.0 / 288.0)).abs() < 1e-6);
        // Nothing to compare with.
        assert_eq!(scale(&[]), None);
        assert_eq!(scale(&[(43_200, 0.0)]), None);
        assert_eq!(super::scale([], &[(43_200, 5.0)]), None);
    }
}
