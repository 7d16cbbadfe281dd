//! What a server can carry, learned from how it does under load; and which of several figures
//! counts.
//!
//! Where nothing says what a partition or a node can carry, it shows when it is asked for more:
//! statements wait, and what is done then is all that can be done. One learner is fed load, mean
//! statement time and statements in flight, cycle by cycle. It must never guess: without a queue
//! nothing is known but that the capacity is no less than the load that was carried.

use std::collections::VecDeque;

use crate::resources::{Resource, Resources};

/// One cycle of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cycle {
    /// Work done (any unit per second).
    pub load: f64,
    /// Mean time of a statement, waiting included (seconds).
    pub latency_s: f64,
    /// Mean number of statements at work or waiting; by Little's law, statements per second times
    /// `latency_s`.
    pub in_flight: f64,
}

/// Statements take this many times what they take at rest: past the knee of latency.
const KNEE: f64 = 3.0;
/// So many in flight: some wait, whatever the latency at rest was taken for.
const QUEUE: f64 = 2.0;
/// By this part the latency at rest is taken to rise each cycle, so that a slower server is found
/// to be no busier one in the end.
const DRIFT: f64 = 0.005;
/// Cycles with a queue that count.
const KEPT: usize = 5;
/// Of which so many must have been seen: one long checkpoint is no queue.
const ENOUGH: usize = 3;
/// Cycles after which one no longer counts.
const FORGOTTEN: u64 = 60;

/// Learns the capacity of one server. Idle cycles teach nothing.
#[derive(Debug, Clone, Default)]
pub struct Learner {
    cycle: u64,
    /// Latency at rest: the least lately.
    rest_s: Option<f64>,
    /// Cycles with a queue: when, and the capacity that they showed.
    queued: VecDeque<(u64, f64)>,
    learned: Option<f64>,
}

impl Learner {
    /// One that knows nothing yet, or only what an earlier one had learned.
    pub fn new(learned: Option<f64>) -> Learner {
        Learner { learned: learned.filter(|c| c.is_finite() && *c > 0.0), ..Learner::default() }
    }

    /// Takes in a cycle.
    pub fn observe(&mut self, seen: Cycle) {
        self.cycle += 1;
        let Cycle { load, latency_s, in_flight } = seen;
        let usable = |x: f64| x.is_finite() && x > 0.0;
        if !(usable(load) && usable(latency_s) && usable(in_flight)) {
            return;
        }
        let drifted = self.rest_s.map_or(latency_s, |rest| rest * (1.0 + DRIFT));
        let rest = drifted.min(latency_s);
        self.rest_s = Some(rest);
        if latency_s >= KNEE * rest && in_flight >= QUEUE {
            if self.queued.len() == KEPT {
                self.queued.pop_front();
            }
            self.queued.push_back((self.cycle, shown(load, in_flight)));
            let fresh = |(at, _): &&(u64, f64)| self.cycle - at < FORGOTTEN;
            let mut recent: Vec<f64> = self.queued.iter().filter(fresh).map(|(_, c)| *c).collect();
            if recent.len() >= ENOUGH {
                recent.sort_by(f64::total_cmp);
                self.learned = Some(recent[recent.len() / 2]);
            }
        }
        // What was carried can be carried.
        self.learned = self.learned.map(|learned| learned.max(load));
    }

    /// The capacity, in the unit of the load; `None`: not known.
    pub fn capacity(&self) -> Option<f64> {
        self.learned
    }
}

/// The capacity that a cycle with a queue shows.
///
/// With one server of exponential times (M/M/1) utilization / (1 - utilization) are in flight, which
/// gives the capacity. With many servers alike a queue comes only when nearly all of them are at
/// work, and then as many are in flight: what is carried is nearly all there is.
fn shown(load: f64, in_flight: f64) -> f64 {
    load * (1.0 + 1.0 / in_flight)
}

/// Where a figure of capacity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An administrator says so.
    Configured,
    /// The operating system says so.
    Discovered,
    /// It showed under load.
    Learned,
}

/// The figure that counts, and whose it is: what was configured before what was discovered, before
/// what was learned. Figures that are not positive and finite are none.
pub fn in_use(
    configured: Option<f64>,
    discovered: Option<f64>,
    learned: Option<f64>,
) -> Option<(f64, Source)> {
    let figure = |value: Option<f64>, source| {
        value.filter(|v| v.is_finite() && *v > 0.0).map(|value| (value, source))
    };
    figure(configured, Source::Configured)
        .or_else(|| figure(discovered, Source::Discovered))
        .or_else(|| figure(learned, Source::Learned))
}

/// Load that each partition can carry by its resources, up to a factor common to all: where the
/// table's load uses resources as `used` has it, the scarcest of those whose capacity is known
/// decides. Memory and storage are stocks, not rates: what they hold does not come and go with the
/// load of a moment, so they take no part. `None`: nothing used is known to be limited.
pub fn by_resources(capacity: &[Resources], used: &Resources) -> Vec<Option<f64>> {
    const RATES: [Resource; 4] = [Resource::Cpu, Resource::Read, Resource::Write, Resource::Bytes];
    let carried = |own: &Resources| {
        let by = |rate: Resource| {
            let (room, used) = (own.get(rate)?, used.get(rate)?);
            (room > 0.0 && used > 0.0).then(|| room / used)
        };
        RATES.into_iter().filter_map(by).reduce(f64::min)
    };
    capacity.iter().map(carried).collect()
}

/// Absolute capacities as relative ones: scaled so that they add up to `room`, what their partitions
/// carry together by configuration. `None` unless there is a figure for each: a known one and an
/// unknown one do not compare.
pub fn relative(absolute: &[Option<f64>], room: f64) -> Option<Vec<f64>> {
    let known: Option<Vec<f64>> =
        absolute.iter().map(|c| c.filter(|c| c.is_finite() && *c > 0.0)).collect();
    let known = known.filter(|known| !known.is_empty() && room.is_finite() && room > 0.0)?;
    let total: f64 = known.iter().sum();
    total.is_finite().then(|| known.iter().map(|c| c / total * room).collect())
}
