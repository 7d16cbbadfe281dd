//! What is played in a turn: how fast clients insert, and which foreign jobs come and go.
//!
//! A run's scene depends on its number alone, not on the table: both get the same.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::tables::PARTITIONS;

/// How fast clients insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At fixed times, at a quarter of what hash does without foreign load. Latency counts from
    /// the time that an insert was due: whoever waits keeps others waiting.
    Paced,
    /// Each client as fast as it can.
    Saturated,
}

impl Pace {
    /// Both.
    pub const ALL: [Pace; 2] = [Pace::Paced, Pace::Saturated];

    /// As users and the JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Pace::Paced => "paced",
            Pace::Saturated => "saturated",
        }
    }
}

/// Part of hash's speed at which paced clients insert.
const PACED: f64 = 0.25;

/// Partitions with a foreign job.
const JOBS: usize = 4;

/// Part of its period in which a job is at work.
const AT_WORK: f64 = 0.25;

/// Load of a job at work, as a part of the load of all inserts: a little more than a partition's
/// share of them.
const JOB_LOAD: f64 = 0.15;

/// A foreign job on one partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// The partition.
    pub partition: usize,
    /// Seconds between two beginnings.
    pub period: f64,
    /// When it first begins.
    pub phase: f64,
    /// Load while it is at work, cost units per second.
    pub load: f64,
}

impl Job {
    /// Whether it is at work `now`, seconds since the start.
    pub fn is_at_work(&self, now: f64) -> bool {
        let since = now - self.phase;
        since >= 0.0 && since % self.period < AT_WORK * self.period
    }
}

/// Everything about a turn but the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Which repetition.
    pub run: u32,
    /// How fast.
    pub pace: Pace,
    /// Clients that insert.
    pub clients: u32,
    /// Inserts per second of each client; `None`: as many as it can.
    pub rate: Option<f64>,
    /// Part of the inserts that goes to keys of late.
    pub known: f64,
    /// The foreign jobs.
    pub jobs: Vec<Job>,
    /// Seconds before anything is scored.
    pub learnt: f64,
    /// Seconds that are scored.
    pub scored: f64,
}

impl Scene {
    /// As many inserts as can be, without foreign load.
    pub fn alone(clients: u32, known: f64, seconds: f64) -> Self {
        let (learnt, jobs) = (0.0, Vec::new());
        let pace = Pace::Saturated;
        Self { run: 0, pace, clients, rate: None, known, jobs, learnt, scored: seconds }
    }

    /// A run's scene beside what is common; `speed`: what hash does without foreign load, inserts
    /// per second. Partitions and phases of jobs are the run's own, off the grid of samples.
    pub fn of_run(run: u32, pace: Pace, speed: f64, period: f64, common: &Scene) -> Self {
        let own = match pace {
            Pace::Paced => speed * PACED,
            Pace::Saturated => speed,
        };
        let mut random = SmallRng::seed_from_u64(u64::from(run));
        let mut partitions: Vec<usize> = (0..PARTITIONS).collect();
        partitions.shuffle(&mut random);
        let jobs = partitions.into_iter().take(JOBS).map(|partition| Job {
            partition,
            period,
            phase: random.random_range(0.0..period),
            load: own * JOB_LOAD,
        });
        let rate = (pace == Pace::Paced).then(|| own / f64::from(common.clients));
        Self { run, pace, rate, jobs: jobs.collect(), ..common.clone() }
    }

    /// When it is over, seconds since the start.
    pub fn end(&self) -> f64 {
        self.learnt + self.scored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_the_same_for_both_tables_and_another_for_the_next() {
        let common = Scene::alone(4, 0.3, 60.0);
        let of = |run| Scene::of_run(run, Pace::Paced, 4000.0, 15.0, &common);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1).jobs, of(2).jobs);
        assert_eq!(of(1).rate, Some(250.0));
        let mut partitions: Vec<_> = of(1).jobs.iter().map(|job| job.partition).collect();
        partitions.dedup();
        assert_eq!(partitions.len(), JOBS);
    }

    #[test]
    fn a_job_is_at_work_a_quarter_of_its_period() {
        let job = Job { partition: 0, period: 12.0, phase: 2.0, load: 1.0 };
        let at_work = (0..1200).filter(|t| job.is_at_work(2.0 + f64::from(*t) / 10.0)).count();
        assert_eq!(at_work, 300);
        assert!(!job.is_at_work(1.9) && job.is_at_work(2.0) && !job.is_at_work(5.1));
    }
}
