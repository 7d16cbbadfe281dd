//! The result as a table of at most 120 columns, and as JSON.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Wishes;
use super::figures::{Figure, Figures, Turn};
use super::scene::Pace;
use super::tables::{TABLES, Table};

/// What is shown: heading, places, figure.
const COLUMNS: [(&str, usize, Figure); 6] = [
    ("imbalance", 3, |turn| turn.imbalance),
    ("its p99", 3, |turn| turn.imbalance_p99),
    ("inserts/s", 0, |turn| Some(turn.per_second())),
    ("p50 ms", 2, |turn| turn.p50),
    ("p99 ms", 2, |turn| turn.p99),
    ("waiting", 3, |turn| turn.waiting),
];

/// Everything, to be printed.
pub fn text(figures: &Figures) -> String {
    let mut lines = vec![
        format!("static hash without foreign load: {:.0} inserts/s", figures.speed),
        String::new(),
        "medians; imbalance: max / mean load - 1 over windows of 1 s, by the server's counters; waiting: part"
            .to_owned(),
        "of the clients' time in which they waited for a lock".to_owned(),
        line("", &COLUMNS.map(|(heading, ..)| heading.to_owned())),
    ];
    for pace in Pace::ALL {
        for table in TABLES {
            let cells = COLUMNS
                .map(|(_, places, figure)| cell(figures.median(pace, table, figure), places));
            lines.push(line(&format!("{}, {}", pace.name(), table.name()), &cells));
        }
        let ratios = COLUMNS.map(|(.., figure)| cell(figures.ratio(pace, figure), 2));
        lines.push(line(&format!("{}, pss / hash", pace.name()), &ratios));
    }
    lines.push(String::new());
    lines.push("what pss says of its turns, learning included (pss.stat_balance, medians)".into());
    let own: [(&str, usize, Figure); 6] = [
        ("achieved", 3, |turn| turn.pss?.achieved),
        ("static", 3, |turn| turn.pss?.r#static),
        ("oracle", 3, |turn| turn.pss?.oracle),
        ("gain", 2, |turn| turn.pss?.gain),
        ("floor", 3, |turn| turn.pss?.floor),
        ("authority", 3, |turn| turn.pss?.authority),
    ];
    lines.push(line("", &own.map(|(heading, ..)| heading.to_owned())));
    for pace in Pace::ALL {
        let cells =
            own.map(|(_, places, figure)| cell(figures.median(pace, Table::Pss, figure), places));
        lines.push(line(pace.name(), &cells));
    }
    lines.join("\n")
}

fn line(name: &str, cells: &[String]) -> String {
    let cells: String = cells.iter().map(|cell| format!(" {cell:>10}")).collect();
    format!("{name:<22}{cells}")
}

fn cell(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.places$}"))
}

/// Writes everything as JSON.
///
/// # Errors
/// If the file cannot be written.
pub fn write(file: &Path, wishes: &Wishes, figures: &Figures) -> Result<()> {
    let text = serde_json::to_string_pretty(&as_json(wishes, figures))?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

/// An object for each turn, and one for what is common.
pub fn as_json(wishes: &Wishes, figures: &Figures) -> Value {
    let mut all: Vec<Value> = figures.turns.iter().map(turn).collect();
    let ratios = |pace| {
        let ratio = |(name, _, figure): (&str, usize, Figure)| {
            (name.to_owned(), json!(figures.ratio(pace, figure)))
        };
        COLUMNS.map(ratio).into_iter().collect::<serde_json::Map<_, _>>()
    };
    all.push(json!({
        "alone_inserts_per_s": figures.speed,
        "runs": wishes.runs, "scored_s": wishes.seconds, "clients": wishes.clients,
        "known": wishes.known, "period_s": wishes.period,
        "pss_over_hash": { "paced": ratios(Pace::Paced), "saturated": ratios(Pace::Saturated) },
    }));
    all.into()
}

fn turn(turn: &Turn) -> Value {
    json!({
        "pace": turn.pace.name(), "table": turn.table.name(), "run": turn.run + 1,
        "imbalance_mean": turn.imbalance, "imbalance_p99": turn.imbalance_p99,
        "inserts_per_s": turn.per_second(), "p50_ms": turn.p50, "p99_ms": turn.p99,
        "lock_waiting": turn.waiting, "job_steps": turn.job_rounds,
        "pss": turn.pss.map(|pss| json!({
            "achieved": pss.achieved, "static": pss.r#static, "oracle": pss.oracle,
            "gain": pss.gain, "floor": pss.floor, "authority": pss.authority,
        })),
    })
}
