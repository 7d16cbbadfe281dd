//! Which workloads, constraints, sizes and delays are played.

use crate::life::Life;
use crate::policies::Kind;
use crate::workload::STEP_S;
use crate::workloads::{Recipe, Shape};

/// The constraint of a case; lives are relative to the workload's period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Constraint {
    /// Every row has a key of its own.
    PerRow,
    /// Keys live on for this many periods.
    Sticky(f64),
    /// The same, and grow first.
    Growing(f64),
}

impl Constraint {
    /// What becomes of keys under a workload of this period.
    pub fn life(self, period_s: f64) -> Life {
        match self {
            Constraint::PerRow => Life::PerRow,
            Constraint::Sticky(periods) => Life::Sticky { mean_s: periods * period_s },
            Constraint::Growing(periods) => Life::Growing { mean_s: periods * period_s },
        }
    }

    /// Life over period; 0 per row.
    pub fn life_over_period(self) -> f64 {
        match self {
            Constraint::PerRow => 0.0,
            Constraint::Sticky(periods) | Constraint::Growing(periods) => periods,
        }
    }

    /// The name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Constraint::PerRow => "per_row",
            Constraint::Sticky(_) => "sticky",
            Constraint::Growing(_) => "growing",
        }
    }
}

/// One workload of one size under one constraint, at all delays.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Position among the recipes.
    pub recipe: usize,
    /// What becomes of keys.
    pub constraint: Constraint,
    /// Number of partitions.
    pub partitions: usize,
    /// Seconds between two decisions.
    pub interval_s: f64,
    /// Seconds by which statistics are late.
    pub delays_s: Vec<f64>,
    /// Number of seeds.
    pub seeds: u64,
}

/// What the caller wants to see; empty lists: all of the grid.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Names of workloads, or parts of "W2 height 0.3, volume 3".
    pub workloads: Vec<String>,
    /// Numbers of partitions.
    pub partitions: Vec<usize>,
    /// Delays in seconds.
    pub delays_s: Vec<f64>,
    /// Names of constraints: "per_row", "sticky", "growing"; or lives over periods, "0.2".
    pub keys: Vec<String>,
    /// Policies beside static and oracle, which all others are compared with.
    pub policies: Vec<Kind>,
    /// Seeds.
    pub seeds: Option<u64>,
    /// Seconds between two decisions.
    pub intervals_s: Vec<f64>,
}

impl Filter {
    fn wants_workload(&self, recipe: &Recipe) -> bool {
        let full = format!("{} {}", recipe.name, recipe.variant);
        self.workloads.is_empty()
            || self.workloads.iter().any(|w| w == recipe.name || (w.len() > 3 && full.contains(w)))
    }

    fn wants_keys(&self, constraint: Constraint) -> bool {
        let life = constraint.life_over_period().to_string();
        self.keys.is_empty() || self.keys.iter().any(|k| *k == life || k == constraint.name())
    }

    /// The policies to play: those wanted, and the two that gains need.
    pub fn policies(&self) -> Vec<Kind> {
        let wanted = |kind: &Kind| {
            matches!(kind, Kind::Static | Kind::Oracle)
                || self.policies.is_empty()
                || self.policies.contains(kind)
        };
        Kind::ALL.into_iter().filter(wanted).collect()
    }
}

/// Lives over periods.
const LIVES: [f64; 5] = [0.05, 0.2, 0.5, 1.0, 3.0];

/// The cases to play.
pub fn select(recipes: &[Recipe], filter: &Filter) -> Vec<Case> {
    let or = |wanted: &[f64], default: &[f64]| {
        if wanted.is_empty() { default.to_vec() } else { wanted.to_vec() }
    };
    let partitions = if filter.partitions.is_empty() { vec![8] } else { filter.partitions.clone() };
    let constraints = std::iter::once(Constraint::PerRow)
        .chain(LIVES.map(Constraint::Sticky))
        .chain(LIVES.map(Constraint::Growing));
    let mut cases = Vec::new();
    for (recipe, _) in recipes.iter().enumerate().filter(|(_, r)| filter.wants_workload(r)) {
        for constraint in constraints.clone().filter(|c| filter.wants_keys(*c)) {
            for &partitions in &partitions {
                for interval_s in or(&filter.intervals_s, &[10.0]) {
                    cases.push(Case {
                        recipe,
                        constraint,
                        partitions,
                        interval_s,
                        delays_s: or(&filter.delays_s, &[10.0, 60.0]),
                        seeds: filter.seeds.unwrap_or(5),
                    });
                }
            }
        }
    }
    cases
}

/// Seconds that are scored.
const SCORED_S: f64 = 3600.0;
/// Periods, or lives if they are longer, that are not.
const UNSCORED: f64 = 3.0;

impl Case {
    /// How long and how wide the workload is.
    pub fn shape(&self, recipe: &Recipe) -> Shape {
        let life_s = self.constraint.life(recipe.period_s).mean_s();
        let whole = |seconds: f64| (seconds / self.interval_s).ceil() * self.interval_s;
        let scored_from_s = whole(UNSCORED * recipe.period_s.max(life_s));
        Shape {
            partitions: self.partitions,
            steps: ((scored_from_s + whole(SCORED_S)) / STEP_S).round() as usize,
            scored_from_s,
            interval_s: self.interval_s,
        }
    }

    /// Keys placed in a step: so many that one of them is small beside a partition's own load.
    pub fn keys_a_step(&self, recipe: &Recipe) -> usize {
        let life_steps = self.constraint.life(recipe.period_s).mean_s() / STEP_S;
        let of_partition = match self.partitions {
            ..=16 => 100.0,
            17..=200 => 40.0,
            _ => 20.0,
        };
        let fewer = (of_partition / (1.0 + life_steps / 10.0)).max(2.0);
        (fewer * self.partitions as f64).round() as usize
    }
}
