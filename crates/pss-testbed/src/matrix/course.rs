//! The course of all forms through one door.
//!
//! Must never stop at a form that fails: every cell of the table is filled.

use anyhow::{Context, Result, ensure};

use super::door::Door;
use super::inspect::inspect;
use super::judge::{Verdict, compare, refused_table};
use super::script::{Fixture, Form};
use super::side::Side;
use super::statement::{Outcome, Statement};
use crate::server::Cluster;

/// What came of a form at a door.
pub struct Ran {
    pub verdict: Verdict,
    /// Which of its statements fail on the twin: what PostgreSQL itself can do by this door.
    /// Empty where the form did not run.
    pub twin_fails: Vec<bool>,
}

/// Runs the forms that `wanted` picks, fixture by fixture.
pub fn run_door(
    cluster: &Cluster,
    door: &'static Door,
    directory: &str,
    fixtures: &[(&Fixture, Vec<&Form>)],
) -> Result<Vec<Ran>> {
    let mut sharded = Side::connect(cluster, door, true, directory)?;
    let mut twin = Side::connect(cluster, door, false, directory)?;
    let mut cells = Vec::new();
    for (fixture, forms) in fixtures {
        let cannot = || format!("fixture {} for door {}", fixture.name, door.name);
        ensure!(twin.make(fixture).with_context(cannot)?.is_none(), "a twin cannot be refused");
        let refused = sharded.make(fixture).with_context(cannot)?;
        for form in forms {
            let without = |verdict| Ran { verdict, twin_fails: Vec::new() };
            cells.push(match &refused {
                _ if form.not.iter().any(|name| name == door.name) => without(Verdict::NotPostgres),
                Some(outcome) => without(refused_table(outcome).map_or_else(
                    || Verdict::Wrong(format!("cannot be sharded: {outcome:?}")),
                    Verdict::Refused,
                )),
                None => run_form(&mut sharded, &mut twin, fixture, form, door)
                    .with_context(|| format!("form {} at door {}", form.name, door.name))?,
            });
        }
    }
    Ok(cells)
}

/// Runs a form on the twin, then on the sharded table, as far as they agree; then looks whether
/// both hold the same, and whether all is well with the sharded one.
fn run_form(
    sharded: &mut Side,
    twin: &mut Side,
    fixture: &Fixture,
    form: &Form,
    door: &Door,
) -> Result<Ran> {
    twin.prepare(fixture)?;
    sharded.prepare(fixture)?;
    let outcomes = form.body.iter().map(|s| twin.run(s)).collect::<Result<Vec<Outcome>>>()?;
    let fails = |outcome: &Outcome| matches!(outcome, Outcome::Failed { .. });
    let twin_fails = outcomes.iter().map(fails).collect();
    let mut verdict = Verdict::Works;
    for (statement, outcome) in form.body.iter().zip(&outcomes) {
        verdict = compare(statement, &sharded.run(statement)?, outcome);
        if verdict != Verdict::Works {
            break;
        }
    }
    let contents = sharded.contents(fixture)?;
    if verdict == Verdict::Works {
        let all = Statement { sql: "TABLE t".into(), data: None };
        verdict = compare(&all, &contents, &twin.contents(fixture)?);
    }
    if !matches!(verdict, Verdict::Wrong(_))
        && let Some(problem) = inspect(sharded, fixture, door)?
    {
        verdict = Verdict::Wrong(problem);
    }
    Ok(Ran { verdict, twin_fails })
}
