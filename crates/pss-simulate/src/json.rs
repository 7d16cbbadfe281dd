//! The figures as JSON: an array with an object for each policy in each case, and a last one for
//! what belongs to no case.

use serde_json::{Value, json};

use crate::cases::{Case, Constraint};
use crate::summary::Summary;
use crate::throughput::Throughput;
use crate::workload::STEP_S;
use crate::workloads::Recipe;

/// Everything as one array.
pub fn rows(
    recipes: &[Recipe],
    cases: &[Case],
    summaries: &[Summary],
    throughput: Option<&[Throughput]>,
) -> Value {
    let mut rows: Vec<Value> =
        summaries.iter().map(|s| row(&recipes[cases[s.case].recipe], &cases[s.case], s)).collect();
    if let Some(throughput) = throughput {
        let of_size = |t: &Throughput| {
            json!({
                "partitions": t.partitions,
                "million_placements_per_s": rounded(t.alike),
                "million_placements_per_s_sized": rounded(t.sized),
            })
        };
        rows.push(json!({ "dispatch": throughput.iter().map(of_size).collect::<Vec<_>>() }));
    }
    Value::Array(rows)
}

fn row(recipe: &Recipe, case: &Case, s: &Summary) -> Value {
    let constraint = match case.constraint {
        Constraint::PerRow => "per_row",
        Constraint::Sticky(_) | Constraint::Growing(_) => "sticky",
    };
    json!({
        "workload": recipe.name,
        "variant": recipe.variant,
        "constraint": constraint,
        "growing": matches!(case.constraint, Constraint::Growing(_)),
        "life_over_period": case.constraint.life_over_period(),
        "partitions": case.partitions,
        "delay_s": case.delays_s[s.delay],
        "interval_s": case.interval_s,
        "step_s": STEP_S,
        "seeds": s.seeds,
        "policy": s.policy.name(),
        "imbalance_mean": rounded(s.mean),
        "imbalance_mean_worst": rounded(s.mean_worst),
        "imbalance_p99": rounded(s.p99),
        "imbalance_p99_worst": rounded(s.p99_worst),
        "floor": rounded(s.floor),
        "gain": s.gain.map(rounded),
        "gain_worst": s.gain_worst.map(rounded),
        "excess_worst": rounded(s.excess_worst),
        "churn": rounded(s.churn),
        "reversals": rounded(s.reversals),
        "refused": rounded(s.refused),
        "settling_updates": s.settling.map(rounded),
        "overshoot": s.overshoot.map(rounded),
    })
}

/// Six decimals are more than a play tells.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
