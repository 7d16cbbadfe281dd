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
/// The life of most cases.
const USUAL_LIFE: f64 = 0.2;
/// Seconds by which statistics are late: all, and those of most cases.
const DELAYS_S: [f64; 5] = [0.0, 1.0, 10.0, 60.0, 300.0];
const USUAL_DELAYS_S: [f64; 2] = [10.0, 60.0];
/// Numbers of partitions.
const PARTITIONS: [usize; 3] = [8, 64, 1000];
const USUAL_INTERVAL_S: f64 = 10.0;
const SEEDS: u64 = 5;

/// The cases to play. `full`: all that can be combined, not only what shows most.
pub fn select(recipes: &[Recipe], filter: &Filter, full: bool) -> Vec<Case> {
    let constraints: Vec<Constraint> = std::iter::once(Constraint::PerRow)
        .chain(LIVES.map(Constraint::Sticky))
        .chain(LIVES.map(Constraint::Growing))
        .collect();
    let intervals_s = match filter.intervals_s.as_slice() {
        [] if full => vec![USUAL_INTERVAL_S, 60.0],
        [] => vec![USUAL_INTERVAL_S],
        wanted => wanted.to_vec(),
    };
    let mut cases = Vec::new();
    for (recipe, r) in recipes.iter().enumerate().filter(|(_, r)| filter.wants_workload(r)) {
        let sizes = match (r.extent, filter.partitions.as_slice()) {
            (Some((partitions, _)), _) => vec![partitions],
            (None, []) => PARTITIONS.to_vec(),
            (None, wanted) => wanted.to_vec(),
        };
        for &partitions in &sizes {
            for &constraint in constraints.iter().filter(|c| filter.wants_keys(**c)) {
                if !(full || is_telling(r, constraint, partitions, filter)) {
                    continue;
                }
                for &interval_s in &intervals_s {
                    cases.push(Case {
                        recipe,
                        constraint,
                        partitions,
                        interval_s,
                        delays_s: delays(r, constraint, partitions, filter, full),
                        seeds: filter.seeds.unwrap_or(SEEDS),
                    });
                }
            }
        }
    }
    cases
}

/// Whether a case belongs to a run that is not full; what the caller asks for by name does.
fn is_telling(recipe: &Recipe, keys: Constraint, partitions: usize, filter: &Filter) -> bool {
    let headline = HEADLINES.contains(&(recipe.name, recipe.variant.as_str()));
    let chosen = recipe.extent.is_some() || !filter.partitions.is_empty();
    let job = recipe.name == "W2" && headline;
    let right_size = match partitions {
        _ if chosen => true,
        8 => true,
        64 if keys == Constraint::PerRow => headline,
        64 => job && keys == Constraint::Sticky(USUAL_LIFE),
        _ => job && keys == Constraint::PerRow,
    };
    let right_keys = match keys {
        _ if !filter.keys.is_empty() => true,
        Constraint::PerRow | Constraint::Sticky(USUAL_LIFE) => true,
        Constraint::Sticky(_) => job || (recipe.name == "W3" && keys == Constraint::Sticky(1.0)),
        Constraint::Growing(_) => job && keys == Constraint::Growing(USUAL_LIFE),
    };
    right_size && right_keys
}

/// Workloads that are played with more partitions and at all delays; the first also with all lives
/// of keys.
const HEADLINES: [(&str, &str); 3] =
    [("W2", "height 0.3 volume 3"), ("W3", "sine 900 s"), ("W4", "noise, correlation 300 s")];

fn delays(
    recipe: &Recipe,
    keys: Constraint,
    partitions: usize,
    filter: &Filter,
    full: bool,
) -> Vec<f64> {
    let headline = HEADLINES.contains(&(recipe.name, recipe.variant.as_str()));
    match filter.delays_s.as_slice() {
        [] if full => DELAYS_S.to_vec(),
        [] if partitions > 16 || keys != Constraint::PerRow => USUAL_DELAYS_S[..1].to_vec(),
        [] if headline => DELAYS_S.to_vec(),
        [] => USUAL_DELAYS_S.to_vec(),
        wanted => wanted.to_vec(),
    }
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
        let unscored_s = UNSCORED * recipe.period_s.max(life_s);
        let steps = |seconds: f64| (seconds / STEP_S).round() as usize;
        let (scored_from_s, steps) = match recipe.extent {
            // At least half of what is given is scored.
            Some((_, given)) => (whole(unscored_s.min(given as f64 * STEP_S / 2.0)), given),
            None => (whole(unscored_s), steps(whole(unscored_s) + whole(SCORED_S))),
        };
        Shape { partitions: self.partitions, steps, scored_from_s, interval_s: self.interval_s }
    }

    /// Keys placed in a step: so many that one of them is small beside a partition's own load.
    pub fn keys_a_step(&self, recipe: &Recipe) -> usize {
        let life_steps = self.constraint.life(recipe.period_s).mean_s() / STEP_S;
        let of_partition = match self.partitions {
            ..=16 => 400.0,
            17..=200 => 50.0,
            _ => 10.0,
        };
        let fewer = (of_partition / (1.0 + life_steps / 10.0)).max(5.0);
        (fewer * self.partitions as f64).round() as usize
    }
}
