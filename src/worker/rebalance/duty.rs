//! What the worker does about rebalancing between two cycles: it carries plans out, batch by batch,
//! and now and then looks whether there is something to advise.

use std::collections::HashMap;
use std::time::Duration;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::survey::Survey;
use super::{step, store, survey};
use crate::catalog;
use crate::clock;
use crate::error::Result;
use crate::guc;
use crate::worker::process::{self, Failure, transaction};

/// Failures in a row after which a plan is given up.
const MOST_FAILURES: i32 = 5;
/// Bounds of the time between two looks at a table.
const LOOK_MS: (i32, i32) = (10_000, 600_000);

/// The worker's memory of what is due.
#[derive(Default)]
pub struct Duty {
    next_step: HashMap<pg_sys::Oid, pg_sys::TimestampTz>,
    next_look: HashMap<pg_sys::Oid, pg_sys::TimestampTz>,
    /// What was advised last.
    advised: HashMap<pg_sys::Oid, String>,
}

impl Duty {
    /// Does what is due, one batch a table; when something is due again.
    pub fn run(&mut self, tables: &[pg_sys::Oid]) -> pg_sys::TimestampTz {
        self.next_look.retain(|relation, _| tables.contains(relation));
        self.advised.retain(|relation, _| tables.contains(relation));
        let running = transaction(store::running).unwrap_or_default();
        self.next_step.retain(|relation, _| running.contains(relation));
        for &relation in running.iter().filter(|relation| tables.contains(relation)) {
            if process::shutdown_requested() {
                break;
            }
            let due = self.next_step.get(&relation).copied().unwrap_or(0);
            if clock::now() >= due {
                process::report_activity(Some(c"pss rebalance"));
                let pause = carry_on(relation);
                self.next_step.insert(relation, after(pause));
            }
        }
        for &relation in tables.iter().filter(|relation| !running.contains(relation)) {
            self.look(relation);
        }
        process::report_activity(None);
        self.next_step.values().copied().min().unwrap_or(pg_sys::TimestampTz::MAX)
    }

    fn look(&mut self, relation: pg_sys::Oid) {
        let pause = guc::REBALANCE_PATIENCE.get().saturating_mul(1000 / 6);
        let next = clock::later(clock::now(), pause.clamp(LOOK_MS.0, LOOK_MS.1));
        // Not at once: there is little to see when a worker begins. A shorter patience holds at once.
        let due = self.next_look.entry(relation).or_insert(next);
        *due = (*due).min(next);
        if clock::now() < *due || process::shutdown_requested() {
            return;
        }
        *due = next;
        let last = self.advised.get(&relation).map_or("", String::as_str);
        match transaction(|| advise(relation, last)) {
            Ok(Some(advice)) => drop(self.advised.insert(relation, advice)),
            Ok(None) => {}
            // A survey is a courtesy: the cycle tells of what is wrong with the table.
            Err(failure) => debug1!("pss: surveying a table failed: {}", failure.message),
        }
    }
}

/// The next step, in a transaction of its own; how long to pause after it.
fn carry_on(relation: pg_sys::Oid) -> Duration {
    let outcome = transaction(|| step::step(relation));
    // What it cost is in the next sample, and in pss.move: the two must agree.
    // SAFETY: outside a transaction.
    unsafe { pg_sys::pgstat_report_stat(true) };
    match outcome {
        Ok(pause) => pause.unwrap_or(Duration::ZERO),
        Err(_) if process::shutdown_requested() => Duration::ZERO,
        // Somebody holds a lock on the table: they go first.
        Err(failure) if failure.code == PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE => {
            Duration::from_secs(1)
        }
        Err(failure) => {
            let failures = transaction(|| note_failure(relation, &failure)).unwrap_or(1);
            Duration::from_secs(1 << failures.clamp(0, MOST_FAILURES))
        }
    }
}

fn note_failure(relation: pg_sys::Oid, failure: &Failure) -> Result<i32> {
    let error = format!("{} ({})", failure.message, failure.sqlstate());
    let failures = store::note_failure(relation, &error)?;
    if failures == 1 {
        let message = format!("moving keys failed: {error}");
        catalog::log_event(Some(relation), "error", &message, None)?;
    }
    if failures >= MOST_FAILURES {
        store::end(relation, "failed")?;
    }
    Ok(failures)
}

/// Looks whether moving rows is worth it; says so if that is news, and begins if it may. The advice
/// given, if any was.
fn advise(relation: pg_sys::Oid, last: &str) -> Result<Option<String>> {
    let mode = guc::REBALANCE.get();
    if mode == guc::Rebalance::Off {
        return Ok(None);
    }
    let Ok(survey) = survey::survey(relation)? else { return Ok(None) };
    if survey.plan.moves.is_empty() {
        return Ok(Some(String::new()));
    }
    if mode == guc::Rebalance::Auto {
        if let Some(id) = store::begin(&survey, None)? {
            say(relation, &format!("rebalancing {id} started: {}", in_words(&survey)))?;
        }
        return Ok(None);
    }
    let ends = survey.plan.moves.iter().map(|m| format!("{}-{}", m.from, m.to));
    let advice: String = ends.collect::<Vec<_>>().join(",");
    if advice != last {
        let what = in_words(&survey);
        say(
            relation,
            &format!("{what}; pss_rebalance_start() would do it (pss.rebalance = advise)"),
        )?;
    }
    Ok(Some(advice))
}

fn say(relation: pg_sys::Oid, message: &str) -> Result<()> {
    catalog::log_event(Some(relation), "rebalance", message, None)
}

/// A plan in one line.
pub fn in_words(survey: &Survey) -> String {
    let moves = &survey.plan.moves;
    let keys: u64 = moves.iter().map(|m| m.keys).sum();
    let (rows, gain) = moves.iter().fold((0.0, 0.0), |(r, g), m| (r + m.rows, g + m.gain));
    format!(
        "{}: {} moves of {keys} keys ({rows:.0} rows) would take {gain:.1} cost units/s off it",
        survey.plan.reason,
        moves.len(),
    )
}

fn after(pause: Duration) -> pg_sys::TimestampTz {
    clock::now().saturating_add(pause.as_micros() as i64)
}
