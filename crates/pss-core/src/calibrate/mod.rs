//! What events cost, learnt from the time that statements took.
//!
//! The time of a partition's statements over a minute is regressed on the counts of events in
//! it, pooled over the partitions of a table. Few events are seen alone (an UPDATE by key is a
//! fetch, too), so the regression is drawn to the defaults where observations do not tell events
//! apart, and costs are never negative. It is scored on minutes before it has seen them, beside
//! the defaults; a fit that does not beat them is for show only ([`Fit::is_trusted`]).
//!
//! Must never let costs that are in force follow a fit at once: see [`adopt`].

mod ridge;

use crate::cost::{ByEvent, EVENTS};
use crate::series::{CostModel, Counters};
use ridge::{Moments, Solution};

/// An observation spans at least this many microseconds: statistics that come a second late then
/// matter little.
const SPAN_US: i64 = 60_000_000;
/// One that would span more is dropped.
const LONGEST_US: i64 = 600_000_000;
/// Time in which an observation loses half of its weight.
const HALF_LIFE_S: f64 = 7200.0;
/// Where the time of a minute is this many standard deviations from what was expected, its weight
/// shrinks with the square of the distance (a redescending estimator: Hampel 1974): a COPY, a
/// dump or an index being built takes no statement's time, and must not teach that rows are free.
const OUTLIER: f64 = 3.0;
/// INSERTs that take less than this part of the usual time a row are not all there is: rows of COPY
/// and of logical replication come without a statement.
const LEAST_INSERT: f64 = 0.25;
/// Observations, with their weights, below which no fit is trusted.
const LEAST_OBSERVATIONS: f64 = 60.0;
/// Part of the variation of time that must have been foretold.
const LEAST_EXPLAINED: f64 = 0.5;
/// Squared error that the fit may leave, as a part of that of the defaults.
const MOST_LEFT: f64 = 0.8;
/// How far a calibrated cost may be from its default, as a factor, either way.
const FARTHEST: f64 = 8.0;
/// Costs in force stay while all are within this factor of the fitted ones, either way,
const HYSTERESIS: f64 = 1.25;
/// and at least so long, in seconds.
const LEAST_TIME_S: f64 = 3600.0;

/// Cumulative counts of one partition that costs are learnt from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timed {
    /// Counts of events.
    pub counters: Counters,
    /// Microseconds of all statements.
    pub statement_us: u64,
    /// Part of it that INSERTs took.
    pub insert_us: u64,
}

impl Timed {
    /// What came since `earlier`; `None`: a counter went backwards.
    fn since(&self, earlier: &Timed) -> Option<Timed> {
        Some(Timed {
            counters: self.counters.since(&earlier.counters)?,
            statement_us: self.statement_us.checked_sub(earlier.statement_us)?,
            insert_us: self.insert_us.checked_sub(earlier.insert_us)?,
        })
    }
}

/// What the observations say events cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Costs relative to an inserted row's, each within a factor of 8 of its default.
    pub costs: ByEvent<f64>,
    /// Their standard errors, in the same unit; that of a cost no observation tells of is wide.
    pub errors: ByEvent<f64>,
    /// Observations behind it (a partition and minute each), with their weights.
    pub observations: f64,
    /// Part of the variation of statement time that was foretold: 1 all, 0 no more than its mean,
    /// below that less.
    pub explained: f64,
    /// Squared error of what was foretold, as a part of that by the default costs.
    pub left: f64,
}

impl Fit {
    /// Whether the fit explains enough to be used: from 60 observations on, if it foretold half of
    /// the variation of statement time, and left at most four fifths of the defaults' squared error.
    pub fn is_trusted(&self) -> bool {
        self.observations >= LEAST_OBSERVATIONS
            && self.explained >= LEAST_EXPLAINED
            && self.left <= MOST_LEFT
    }
}

/// Learns costs from the samples of one table's partitions.
#[derive(Debug, Clone)]
pub struct Calibrator {
    open: Vec<Option<Open>>,
    moments: Moments,
    solution: Option<Solution>,
    score: Score,
    /// Rows inserted, and microseconds of INSERTs.
    inserts: (f64, f64),
    /// Time of the newest observation.
    at_us: i64,
    /// Time of the newest one when the solution was made.
    solved_us: i64,
}

/// The observation that a partition is in: where it began, and the last sample.
#[derive(Debug, Clone, Copy)]
struct Open {
    since_us: i64,
    since: Timed,
    last_us: i64,
    last: Timed,
}

impl Calibrator {
    /// One that knows nothing, of a table with so many partitions.
    pub fn new(partitions: usize) -> Self {
        Calibrator {
            open: vec![None; partitions],
            moments: Moments::default(),
            solution: None,
            score: Score::default(),
            inserts: (0.0, 0.0),
            at_us: i64::MIN,
            solved_us: i64::MIN,
        }
    }

    /// Takes a sample of the partition at `position` (others than those announced are left out).
    pub fn sample(&mut self, position: usize, time_us: i64, now: &Timed) {
        let Some(open) = self.open.get_mut(position) else { return };
        let begin = Open { since_us: time_us, since: *now, last_us: time_us, last: *now };
        let Some(o) = open else {
            *open = Some(begin);
            return;
        };
        let span_us = time_us.saturating_sub(o.since_us);
        if time_us < o.last_us || now.since(&o.last).is_none() || span_us > LONGEST_US {
            *open = Some(begin);
        } else if span_us < SPAN_US {
            (o.last_us, o.last) = (time_us, *now);
        } else {
            let seen = now.since(&o.since);
            *open = Some(begin);
            if let Some(seen) = seen.filter(|seen| self.is_timed(seen)) {
                self.observe(time_us, &seen);
            }
        }
    }

    /// Whether the time of these events was counted. Nothing is where tracking is off.
    fn is_timed(&self, seen: &Timed) -> bool {
        let (rows, us) = self.inserts;
        let expected = if rows > 0.0 { us / rows } else { 0.0 } * seen.counters.inserted as f64;
        let inserts = seen.counters.inserted == 0
            || seen.insert_us > 0 && seen.insert_us as f64 >= LEAST_INSERT * expected;
        seen.statement_us > 0 && inserts
    }

    fn observe(&mut self, time_us: i64, seen: &Timed) {
        let defaults = CostModel::default().by_event();
        let counts = seen.counters.by_event();
        let units: ByEvent<f64> = std::array::from_fn(|k| defaults[k] * counts[k] as f64);
        let total: f64 = units.iter().sum();
        if total <= 0.0 {
            return;
        }
        if self.solved_us == i64::MIN || time_us.saturating_sub(self.solved_us) >= SPAN_US {
            self.solution = self.moments.solve();
            self.solved_us = time_us;
        }
        if self.at_us != i64::MIN {
            let seconds = time_us.saturating_sub(self.at_us).max(0) as f64 / 1e6;
            let fade = 0.5f64.powf(seconds / HALF_LIFE_S);
            self.moments.fade(fade);
            self.score.fade(fade);
            self.inserts = (self.inserts.0 * fade, self.inserts.1 * fade);
        }
        self.inserts.0 += seen.counters.inserted as f64;
        self.inserts.1 += seen.insert_us as f64;
        self.at_us = self.at_us.max(time_us);
        let us = seen.statement_us as f64;
        // The variance of time grows with the work that is done in it.
        let mut weight = 1.0 / (1.0 + total);
        if let Some(solution) = &self.solution {
            let error = us - solution.predict(&units);
            let usual = (solution.variance / weight).sqrt();
            if self.moments.observations >= LEAST_OBSERVATIONS && error.abs() > OUTLIER * usual {
                weight *= (OUTLIER * usual / error).powi(2);
            }
            self.score.add(weight, us, error, us - solution.scale * total);
        }
        self.moments.add(weight, &units, us);
    }

    /// What has been learnt; `None` before anything has.
    pub fn fit(&self) -> Option<Fit> {
        let solution = self.moments.solve()?;
        let defaults = CostModel::default().by_event();
        // Microseconds per default unit. Where inserts seem to cost nothing their time was not
        // counted: they would make all else look dear without bound.
        let of_insert = solution.per_unit[0].max(solution.scale / FARTHEST);
        Some(Fit {
            costs: std::array::from_fn(|k| {
                let ratio = solution.per_unit[k] / of_insert;
                defaults[k] * ratio.clamp(1.0 / FARTHEST, FARTHEST)
            }),
            errors: std::array::from_fn(|k| defaults[k] * solution.errors[k] / of_insert),
            observations: self.score.observations,
            explained: self.score.explained(),
            left: self.score.left(),
        })
        .map(|fit| Fit { costs: unit_first(fit.costs), ..fit })
    }
}

/// An inserted row is the unit, exactly.
fn unit_first(mut costs: ByEvent<f64>) -> ByEvent<f64> {
    costs[0] = CostModel::default().insert;
    costs
}

/// How what was foretold compared with what came; weights as in the regression.
#[derive(Debug, Clone, Copy, Default)]
struct Score {
    observations: f64,
    weight: f64,
    mean: f64,
    /// Squared deviation from the mean.
    spread: f64,
    by_fit: f64,
    by_defaults: f64,
}

impl Score {
    fn fade(&mut self, by: f64) {
        self.observations *= by;
        self.weight *= by;
        self.spread *= by;
        self.by_fit *= by;
        self.by_defaults *= by;
    }

    fn add(&mut self, weight: f64, us: f64, error: f64, error_by_defaults: f64) {
        self.observations += 1.0;
        self.weight += weight;
        // Welford's update of a weighted mean and the deviation from it (West 1979).
        let off = us - self.mean;
        self.mean += off * weight / self.weight;
        self.spread += weight * off * (us - self.mean);
        self.by_fit += weight * error * error;
        self.by_defaults += weight * error_by_defaults * error_by_defaults;
    }

    fn explained(&self) -> f64 {
        if self.spread > 0.0 { 1.0 - self.by_fit / self.spread } else { 0.0 }
    }

    fn left(&self) -> f64 {
        if self.by_defaults > 0.0 { self.by_fit / self.by_defaults } else { 1.0 }
    }
}

/// The costs that calibration puts in force: `None`, stay with those that are (`in_force`, for
/// `since_s` seconds; `None`: the defaults, from the beginning).
///
/// Only a trusted fit is adopted, and only where it pays: each change makes all that was measured
/// with the old costs a series in another unit.
pub fn adopt(in_force: Option<(&ByEvent<f64>, f64)>, fit: &Fit) -> Option<ByEvent<f64>> {
    let defaults = CostModel::default().by_event();
    let (now, since_s) = in_force.unwrap_or((&defaults, f64::INFINITY));
    let far = |k: usize| {
        let ratio = fit.costs[k] / now[k];
        !(1.0 / HYSTERESIS..=HYSTERESIS).contains(&ratio)
    };
    (fit.is_trusted() && since_s >= LEAST_TIME_S && (0..EVENTS).any(far)).then_some(fit.costs)
}

#[cfg(test)]
mod tests;
