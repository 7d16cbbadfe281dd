//! What pss changes of its own accord (the policy in use, coefficients, forecast models), told
//! as events, once each and with the reason in words.
//!
//! What was told last is kept in the catalog: neither a restart nor another process tells it again.
//! Only tells; nothing here is read back by a decision.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::control::{Coefficient, Plan, Reason, Scores};
use serde_json::{Map, Value, json};

use super::brain::Brain;
use super::report;
use crate::catalog::{self, ShardedTable};
use crate::error::Result;
use crate::guc;

/// A control window within this factor of the one told last is none to tell of: keys live a little
/// longer and shorter all the time, and it goes with them.
const ALIKE: f64 = 1.25;

/// Changes of forecast models that one event spells out.
const SPELLED_OUT: usize = 3;

/// What the last events about a table said, by what they were about.
#[derive(Debug, Default)]
pub struct InForce(Map<String, Value>);

impl InForce {
    fn read(relation: pg_sys::Oid) -> Result<Self> {
        catalog::as_extension_owner(|| {
            let adjusted = Spi::connect(|client| {
                let told =
                    "SELECT adjusted FROM pss.outlook WHERE relation OPERATOR(pg_catalog.=) $1";
                let mut rows = client.select(told, Some(1), &[relation.into()])?;
                rows.next().map_or(Ok(None), |row| row.get::<pgrx::JsonB>(1))
            })?;
            Ok(match adjusted {
                Some(pgrx::JsonB(Value::Object(told))) => Self(told),
                _ => Self::default(),
            })
        })
    }

    /// As it is kept.
    pub fn to_json(&self) -> pgrx::JsonB {
        pgrx::JsonB(Value::Object(self.0.clone()))
    }

    /// Notes that `what` is `to` from now on; what it was.
    fn set(&mut self, what: &str, to: Value) -> Option<Value> {
        self.0.insert(what.to_owned(), to)
    }
}

/// Tells what a plan does otherwise than the one before; what is in force now.
pub fn decision(table: &ShardedTable, plan: &Plan, scores: Option<Scores>) -> Result<InForce> {
    let mut told = InForce::read(table.relation)?;
    let reason = plan.reason.as_str();
    if told.0.get("policy").and_then(Value::as_str) != Some(reason) {
        let before = told.set("policy", reason.into());
        let mut message = reason.to_owned();
        if plan.reason == Reason::Forecast {
            let window = Coefficient::Window;
            told.set(window.as_str(), plan.window.into());
            message += &format!(", {} {}", window.as_str(), amount(window, plan.window as f64));
        }
        message += &evidence(scores);
        tell(table.relation, "policy", &message, before, reason.into())?;
    }
    for adjustment in &plan.adjustments {
        let (what, from, to) = (adjustment.what(), adjustment.from, adjustment.to);
        let from = told.0.get(what).and_then(Value::as_f64).unwrap_or(from);
        let alike = match adjustment.coefficient {
            Coefficient::Window => to <= from * ALIKE && from <= to * ALIKE,
            Coefficient::Gain | Coefficient::DeadBand | Coefficient::Caution => to == from,
        };
        if alike {
            continue;
        }
        let of = |value| amount(adjustment.coefficient, value);
        let message =
            format!("{what} {} in place of {}: {}", of(to), of(from), adjustment.reason());
        told.set(what, to.into());
        tell(table.relation, "adjustment", &message, Some(from.into()), to.into())?;
    }
    Ok(told)
}

/// A value of a coefficient, as people read it.
fn amount(coefficient: Coefficient, value: f64) -> String {
    match coefficient {
        Coefficient::Window => {
            format!("{} s", value * f64::from(guc::SAMPLE_INTERVAL.get()) / 1000.0)
        }
        Coefficient::Gain | Coefficient::DeadBand | Coefficient::Caution => value.to_string(),
    }
}

/// What the policies have lately come to, in words; nothing while that is unknown.
fn evidence(scores: Option<Scores>) -> String {
    let Some(Scores { capacity, reactive, forecast, planned, .. }) = scores else {
        return String::new();
    };
    format!(
        "; lately max / mean of utilization - 1 would have been {planned:.3} by a plan over \
         keys' lives, {forecast:.3} by forecasts, {reactive:.3} by the last measured loads, {capacity:.3} by capacity"
    )
}

fn tell(
    relation: pg_sys::Oid,
    kind: &str,
    message: &str,
    from: Option<Value>,
    to: Value,
) -> Result<()> {
    let detail = json!({ "from": from, "to": to });
    catalog::log_event(Some(relation), kind, message, Some(pgrx::JsonB(detail)))?;
    if guc::LOG_DECISIONS.get() {
        pgrx::log!("pss: table \"{}\": {message}", catalog::relation_name(relation));
    }
    Ok(())
}

/// Tells which forecast models are no longer those that `pss.forecast_model` has: before that
/// table is brought up to date.
pub fn models(table: &ShardedTable, brain: &Brain) -> Result<()> {
    let horizons = brain.horizons();
    let changes: Vec<String> = known_models(table.relation, &horizons)?
        .into_iter()
        .filter_map(|(number, at, before)| {
            let position = table.partitions.iter().position(|p| i32::from(p.number) == number)?;
            let steps = *horizons.get(usize::try_from(at).ok()?.checked_sub(1)?)?;
            let forecaster = &brain.forecasters()[position];
            let model = forecaster.method_at(steps).name();
            (model != before).then(|| {
                let scores = forecaster.scores();
                let error = |name: &str| {
                    let of = |s: &&pss_core::forecast::Score| {
                        s.horizon == steps && s.method.name() == name
                    };
                    scores.iter().find(of).map(|s| s.relative_error)
                };
                let ahead = steps as f64 * f64::from(guc::SAMPLE_INTERVAL.get()) / 1000.0;
                let errors = match (error(model), error(&before)) {
                    (Some(now), Some(then)) => {
                        format!(" (lately {now:.2} of last value's error, against {then:.2})")
                    }
                    _ => String::new(),
                };
                format!("partition {number}, {ahead} s ahead: {model} in place of {before}{errors}")
            })
        })
        .collect();
    if changes.is_empty() {
        return Ok(());
    }
    let why = match table.forecast_method {
        Some(_) => "as pss_alter_table says",
        None => "the least error lately",
    };
    let rest = match changes.len().saturating_sub(SPELLED_OUT) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let spelled_out = changes[..changes.len().min(SPELLED_OUT)].join("; ");
    let message = format!("forecast model, {why}: {spelled_out}{rest}");
    let detail = pgrx::JsonB(json!({ "changes": changes }));
    catalog::log_event(Some(table.relation), "model", &message, Some(detail))
}

/// Partition, number of the horizon (from 1) and model, as last written.
fn known_models(relation: pg_sys::Oid, horizons: &[usize]) -> Result<Vec<(i32, i32, String)>> {
    catalog::as_extension_owner(|| {
        Spi::connect(|client| {
            let rows = client.select(
                "SELECT m.partition, h.place::pg_catalog.int4, m.model
                 FROM pss.forecast_model m
                 JOIN ROWS FROM (pg_catalog.unnest($2::pg_catalog.interval[])) WITH ORDINALITY AS h (horizon, place)
                     ON h.horizon OPERATOR(pg_catalog.=) m.horizon
                 WHERE m.relation OPERATOR(pg_catalog.=) $1
                 ORDER BY m.partition, h.place",
                None,
                &[relation.into(), report::times(horizons).into()],
            )?;
            let mut known = Vec::with_capacity(rows.len());
            for row in rows {
                if let (Some(partition), Some(place), Some(model)) =
                    (row.get::<i32>(1)?, row.get::<i32>(2)?, row.get::<String>(3)?)
                {
                    known.push((partition, place, model));
                }
            }
            Ok(known)
        })
    })
}
