//! The workloads W0 to W11: recipes that make the same workload of the same seed.
//!
//! Phases are random and off the grid of the control interval. Volumes are for eight partitions
//! and grow with their number. No recipe looks at a policy.

/// Workloads read from and written to files.
pub mod file;
mod jobs;
mod nodes;
mod noise;
mod tenants;
mod traces;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::series::Series;
use crate::workload::{STEP_S, Workload};

/// Seconds that stand for a period where a workload has none, or a shorter one.
pub const NOMINAL_PERIOD_S: f64 = 600.0;

/// Own volume of eight partitions of capacity 1, where nothing else is said.
const VOLUME: f64 = 3.0;

/// How long and how wide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Number of partitions.
    pub partitions: usize,
    /// Number of steps.
    pub steps: usize,
    /// The first second that is scored.
    pub scored_from_s: f64,
    /// Seconds between two decisions.
    pub interval_s: f64,
}

impl Shape {
    /// A volume for eight partitions, for as many as there are.
    fn volume(&self, of_eight: f64) -> f64 {
        of_eight * self.partitions as f64 / 8.0
    }
}

/// What a forecaster that knows the process knows: an Ornstein-Uhlenbeck process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    /// Where the load returns to.
    pub mean: f64,
    /// Correlation time in seconds.
    pub correlation_s: f64,
}

type Make = Box<dyn Fn(&Shape, &mut SmallRng) -> Workload + Send + Sync>;

/// A workload to be made.
pub struct Recipe {
    /// As the issue numbers them: "W2".
    pub name: &'static str,
    /// Which of that name: "height 0.3 volume 3".
    pub variant: String,
    /// Seconds to which lives of keys are related, and the unscored time.
    pub period_s: f64,
    /// The process that foreign load follows, if it is one.
    pub process: Option<Process>,
    /// Numbers of partitions and steps that cannot be chosen.
    pub extent: Option<(usize, usize)>,
    make: Make,
}

impl Recipe {
    fn new(
        name: &'static str,
        variant: impl Into<String>,
        make: impl Fn(&Shape, &mut SmallRng) -> Workload + Send + Sync + 'static,
    ) -> Recipe {
        Recipe {
            name,
            variant: variant.into(),
            period_s: NOMINAL_PERIOD_S,
            process: None,
            extent: None,
            make: Box::new(make),
        }
    }

    /// The workload of this seed.
    pub fn make(&self, shape: &Shape, seed: u64) -> Workload {
        (self.make)(shape, &mut SmallRng::seed_from_u64(seed))
    }
}

/// Foreign load from recorded series, which must not be empty.
pub fn recorded(series: Vec<Series>) -> Recipe {
    Recipe::new("W10", "recorded traces", move |s, r| traces::replay(s, r, &series))
}

/// A workload that is there already, the same for every seed but for the keys; `period_s`: what
/// lives are related to.
pub fn given(workload: Workload, period_s: f64) -> Recipe {
    let extent = Some((workload.partitions(), workload.steps()));
    let recipe = Recipe::new("file", "a workload of one's own", move |_, _| workload.clone());
    Recipe { period_s, extent, ..recipe }
}

/// All recipes that need no files, in the order of their numbers.
pub fn all() -> Vec<Recipe> {
    let mut all = vec![
        Recipe::new("W0", "uniform", nodes::uniform),
        Recipe::new("W1", "4 nodes x 2, 4 x 0.5", nodes::unequal),
    ];
    for height in [0.3, 0.7] {
        for volume in [3.0, 1.5] {
            let variant = format!("height {height} volume {volume}");
            all.push(Recipe::new("W2", variant, move |s, r| jobs::job(s, r, height, volume)));
        }
    }
    all.push(Recipe { period_s: jobs::SINE_S, ..Recipe::new("W3", "sine 900 s", jobs::sine) });
    for correlation_s in [30.0, 100.0, 300.0] {
        let variant = format!("noise, correlation {correlation_s} s");
        let process = Some(Process { mean: noise::MEAN, correlation_s });
        let recipe = Recipe::new("W4", variant, move |s, r| noise::wander(s, r, correlation_s));
        all.push(Recipe { process, ..recipe });
    }
    all.extend([
        Recipe::new("W5", "steps", noise::jumps),
        Recipe::new("W6", "Zipf tenants, drifting", tenants::zipf),
        Recipe::new("W7", "one node 10 x slower", nodes::slow),
        Recipe::new("W8", "one node lost and back", nodes::lost),
        Recipe::new("W9", "lognormal sizes", jobs::sizes),
        Recipe::new("W11", "period of two intervals", jobs::resonance),
    ]);
    all
}

/// The part of a step that lies in a time which recurs every `period_s`, `length_s` long, from
/// `phase_s` on.
fn part_of_step(step: usize, phase_s: f64, period_s: f64, length_s: f64) -> f64 {
    let start = (step as f64 * STEP_S - phase_s).rem_euclid(period_s);
    let end = start + STEP_S;
    let now = (length_s.min(end) - start).max(0.0);
    let next = ((period_s + length_s).min(end) - period_s).max(0.0);
    (now + next) / STEP_S
}

/// A random time within a period for each partition.
fn phases(shape: &Shape, period_s: f64, random: &mut SmallRng) -> Vec<f64> {
    (0..shape.partitions).map(|_| random.random_range(0.0..period_s)).collect()
}

/// A standard normal number (Box and Muller).
pub fn normal(random: &mut SmallRng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_keep_their_work_wherever_steps_cut_them() {
        for phase in [0.0, 0.3, 1.9, 599.5] {
            let parts = (0..600).map(|step| part_of_step(step, phase, 600.0, 119.0));
            let seconds: f64 = parts.map(|part| part * STEP_S).sum();
            assert!((seconds - 2.0 * 119.0).abs() < 1e-9, "{phase}: {seconds}");
        }
    }

    #[test]
    fn a_seed_makes_one_workload() {
        let shape = Shape { partitions: 8, steps: 600, scored_from_s: 600.0, interval_s: 10.0 };
        for recipe in all() {
            let made = recipe.make(&shape, 3);
            assert_eq!(made, recipe.make(&shape, 3), "{}", recipe.name);
            assert_eq!((made.partitions(), made.steps()), (8, 600), "{}", recipe.name);
            let loads = (0..600).flat_map(|step| made.foreign.row(step));
            assert!(loads.clone().all(|load| load.is_finite() && *load >= 0.0), "{}", recipe.name);
        }
        let job = |seed| all()[2].make(&shape, seed).foreign;
        assert_ne!(job(3), job(4));
    }

    #[test]
    fn normal_numbers_are_normal() {
        let mut random = SmallRng::seed_from_u64(5);
        let drawn: Vec<f64> = (0..20_000).map(|_| normal(&mut random)).collect();
        let moment = |power| drawn.iter().map(|x: &f64| x.powi(power)).sum::<f64>() / 20_000.0;
        assert!(moment(1).abs() < 0.03 && (moment(2) - 1.0).abs() < 0.05);
        assert!((moment(4) - 3.0).abs() < 0.3);
    }
}
