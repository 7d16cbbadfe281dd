//! The figures for people.

use std::fmt::Write;

use crate::cases::Case;
use crate::summary::Summary;
use crate::throughput::Throughput;
use crate::workloads::Recipe;

/// What the columns are.
pub const HEAD: &str = "                        lambda - 1     p99 of lambda   gain to oracle  worst excess
policy               median  worst    median  worst   median  worst    over static   churn  reversals";

/// The table of all cases; `stories`: with the reasons of policies that tell them.
pub fn draw(recipes: &[Recipe], cases: &[Case], summaries: &[Summary], stories: bool) -> String {
    let mut text = format!("{HEAD}\n");
    let same = |a: &Summary, b: &Summary| (a.case, a.delay) == (b.case, b.delay);
    for group in summaries.chunk_by(same) {
        let (first, case) = (&group[0], &cases[group[0].case]);
        let recipe = &recipes[case.recipe];
        writeln!(
            text,
            "\n{} {}; {}; {} partitions; statistics {} s old, decided every {} s; {} seeds; floor {:.3}",
            recipe.name,
            recipe.variant,
            match case.constraint.life_over_period() {
                0.0 => "per-row keys".to_string(),
                life => format!("{} keys, life/period {life}", case.constraint.name()),
            },
            case.partitions,
            case.delays_s[first.delay],
            case.interval_s,
            first.seeds,
            first.floor,
        )
        .ok();
        for summary in group {
            row(&mut text, summary);
            if stories && !summary.story.is_empty() {
                writeln!(text, "    {}", summary.story).ok();
            }
        }
    }
    text
}

/// What one processor places.
pub fn throughput(sizes: &[Throughput]) -> String {
    let mut text = "\nmillion placements a second on one core:  keys alike     sized\n".to_string();
    for size in sizes {
        let Throughput { partitions, alike, sized } = size;
        writeln!(text, "  {partitions:>5} partitions {alike:>32.2} {sized:>9.2}").ok();
    }
    text
}

fn row(text: &mut String, s: &Summary) {
    let some = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.3}"));
    write!(
        text,
        "  {:<17} {:>7.3} {:>7.3}  {:>7.3} {:>7.3}  {:>7} {:>7}     {:>+8.4}  {:>7.3}  {:>7.1}",
        s.policy.name(),
        s.mean,
        s.mean_worst,
        s.p99,
        s.p99_worst,
        some(s.gain),
        some(s.gain_worst),
        s.excess_worst,
        s.churn,
        s.reversals,
    )
    .ok();
    if let (Some(settling), Some(overshoot)) = (s.settling, s.overshoot) {
        write!(text, "  level after {settling:.1} updates, {:.1} % below", 100.0 * overshoot).ok();
    }
    if s.refused > 0.0 {
        write!(text, "  {:.1} % of keys to a lost node", 100.0 * s.refused).ok();
    }
    text.push('\n');
}
