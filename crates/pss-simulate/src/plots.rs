//! The figures as a page of plots, SVG drawn by hand.
//!
//! A strip for each case: a mark for the median of each policy, and a line from there to its worst
//! seed. Must never leave a case out.

use std::fmt::Write;

use crate::cases::{Case, Constraint};
use crate::policies::Kind;
use crate::summary::Summary;
use crate::workloads::Recipe;

const WIDTH: f64 = 1200.0;
const LABELS: f64 = 430.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 120.0;
const STRIP: f64 = 22.0;

/// The page.
pub fn draw(recipes: &[Recipe], cases: &[Case], summaries: &[Summary]) -> String {
    let same = |a: &Summary, b: &Summary| (a.case, a.delay) == (b.case, b.delay);
    let groups: Vec<&[Summary]> = summaries.chunk_by(same).collect();
    let largest = summaries.iter().map(|s| s.mean_worst).fold(0.1, f64::max);
    let height = TOP + groups.len() as f64 * STRIP + 40.0;
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' \
         font-family='sans-serif' font-size='12'>\n\
         <style>.head {{ font-size: 17px }} .note {{ fill: #777 }}</style>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='20' y='28' class='head'>Imbalance, mean of max / mean of utilization - 1: 0 is \
         perfectly level</text>\n\
         <text x='20' y='48' class='note'>mark: median over the seeds; line: to the worst seed; \
         scale: square root</text>\n"
    );
    legend(&mut svg, summaries);
    for value in [0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0] {
        if value <= largest {
            let (x, bottom) = (at(value, largest), height - 30.0);
            writeln!(
                svg,
                "<path d='M{x:.1},{TOP}V{bottom}' stroke='#e4e4e4'/>\
                 <text x='{x:.1}' y='{:.1}' text-anchor='middle' class='note'>{value}</text>",
                bottom + 16.0
            )
            .ok();
        }
    }
    for (i, group) in groups.iter().enumerate() {
        let y = TOP + (i as f64 + 0.5) * STRIP;
        let case = &cases[group[0].case];
        let label = label(&recipes[case.recipe], case, case.delays_s[group[0].delay]);
        writeln!(svg, "<text x='20' y='{:.1}'>{label}</text>", y + 4.0).ok();
        for summary in *group {
            mark(&mut svg, summary, y, largest);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, summaries: &[Summary]) {
    let shown = Kind::ALL.into_iter().filter(|k| summaries.iter().any(|s| s.policy == *k));
    for (i, kind) in shown.enumerate() {
        let (x, name) = (26.0 + 130.0 * i as f64, kind.name());
        let color = color(kind);
        writeln!(
            svg,
            "<circle cx='{x}' cy='78' r='5' fill='{color}'/><text x='{}' y='82'>{name}</text>",
            x + 10.0
        )
        .ok();
    }
}

fn label(recipe: &Recipe, case: &Case, delay_s: f64) -> String {
    let keys = match case.constraint {
        Constraint::PerRow => "per row".to_string(),
        Constraint::Sticky(life) => format!("sticky {life}"),
        Constraint::Growing(life) => format!("growing {life}"),
    };
    format!(
        "{} {} | {keys} | {} partitions | {delay_s} s late",
        recipe.name, recipe.variant, case.partitions
    )
}

/// Where a value stands: the root leaves room for what is nearly level.
fn at(value: f64, largest: f64) -> f64 {
    LABELS + (WIDTH - LABELS - RIGHT) * (value.max(0.0) / largest).sqrt()
}

fn mark(svg: &mut String, summary: &Summary, y: f64, largest: f64) {
    let (x, worst) = (at(summary.mean, largest), at(summary.mean_worst, largest));
    let color = color(summary.policy);
    // The oracle and pss stand out; the rest would hide them.
    let (y, radius) = match summary.policy {
        Kind::Pss => (y, 6.0),
        Kind::Oracle => (y, 4.0),
        _ => (y, 3.0),
    };
    writeln!(
        svg,
        "<path d='M{x:.1},{y:.1}H{worst:.1}' stroke='{color}'/>\
         <circle cx='{x:.1}' cy='{y:.1}' r='{radius}' fill='{color}'/>"
    )
    .ok();
}

fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Static => "#d9822b",
        Kind::Swrr => "#e3b778",
        Kind::Reactive => "#8f8f8f",
        Kind::TwoChoices => "#b9a3d0",
        Kind::Sed => "#7d4fa8",
        Kind::PssNoForecast => "#7fb2e5",
        Kind::Pss => "#1f5fa8",
        Kind::KnowsProcess => "#3c9d6d",
        Kind::Oracle => "#1c1c1c",
    }
}
