//! What events cost, as SQL sees it: the defaults, what an owner sets, what is in use.
//!
//! Only says and stores. When costs change is decided in `worker::calibration`; what they are
//! learnt from, in pss-core.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::cost::{ByEvent, EVENTS, Event};
use pss_core::series::CostModel;

use crate::error::{OrRaise, Result, invalid_argument, null_argument};
use crate::{catalog, guc, meta, rights};

/// Largest cost that can be set.
const MOST: f64 = 1e6;

/// The costs of a table: what load is measured with, and what it is to be measured with.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    /// Since the last change.
    pub in_use: ByEvent<f64>,
    /// Set by the owner.
    pub set: ByEvent<Option<f64>>,
    /// Calibrated, and trusted when they were adopted.
    pub adopted: Option<ByEvent<f64>>,
    pub adopted_at: Option<pg_sys::TimestampTz>,
}

impl Costs {
    /// The costs of a table.
    pub fn of(relation: pg_sys::Oid) -> Result<Costs> {
        catalog::read(|client| {
            let row = client
                .select(
                    "SELECT c.in_use, c.adopted, c.adopted_at, ARRAY(
                         SELECT s.cost FROM pg_catalog.unnest($2) WITH ORDINALITY AS e (event, i)
                         LEFT JOIN pss.cost s ON s.relation OPERATOR(pg_catalog.=) $1
                                             AND s.event OPERATOR(pg_catalog.=) e.event
                         ORDER BY e.i)
                     FROM (SELECT) AS one
                     LEFT JOIN pss.calibration c ON c.relation OPERATOR(pg_catalog.=) $1",
                    Some(1),
                    &[relation.into(), Event::ALL.map(Event::name).to_vec().into()],
                )?
                .first();
            let set = row.get::<Vec<Option<f64>>>(4)?.unwrap_or_default();
            Ok(Costs {
                in_use: by_event(row.get(1)?).unwrap_or_else(defaults),
                set: std::array::from_fn(|k| set.get(k).copied().flatten()),
                adopted: by_event(row.get(2)?),
                adopted_at: row.get::<TimestampWithTimeZone>(3)?.map(pg_sys::TimestampTz::from),
            })
        })
    }

    /// What the costs are to be: those that are set, else calibrated ones, if they are wanted and
    /// there are any, else the defaults.
    pub fn wanted(&self) -> ByEvent<f64> {
        let calibrated = self.adopted.filter(|_| guc::CALIBRATE_COSTS.get());
        let unset = calibrated.unwrap_or_else(defaults);
        std::array::from_fn(|k| self.set[k].unwrap_or(unset[k]))
    }
}

/// What load is measured with where events cost this much.
pub fn model(costs: ByEvent<f64>) -> CostModel {
    let busy_us = guc::STATEMENT_COST.get() / 1000.0;
    CostModel { busy_us, ..CostModel::default() }.with_events(costs)
}

/// What events cost unless calibrated or set.
pub fn defaults() -> ByEvent<f64> {
    CostModel::default().by_event()
}

/// An array of the catalog, if it is as long as it should be.
fn by_event(array: Option<Vec<f64>>) -> Option<ByEvent<f64>> {
    array.and_then(|a| <[f64; EVENTS]>::try_from(a).ok())
}

#[pg_extern(sql = false)]
fn pss_default_costs() -> TableIterator<'static, (name!(event, &'static str), name!(cost, f64))> {
    TableIterator::new(Event::ALL.into_iter().map(Event::name).zip(defaults()))
}

#[pg_extern(sql = false)]
fn pss_set_cost(relation: Option<pg_sys::Oid>, event: Option<&str>, cost: Option<f64>) {
    set(relation, event, cost).or_raise();
}

fn set(relation: Option<pg_sys::Oid>, event: Option<&str>, cost: Option<f64>) -> Result<()> {
    let relation = rights::existing(relation.ok_or_else(|| null_argument("relation"))?)?;
    meta::table(relation)?.ok_or_else(|| meta::not_sharded(relation))?;
    rights::require_owner(relation)?;
    let event = checked_event(event.ok_or_else(|| null_argument("event"))?)?;
    if let Some(cost) = cost
        && !(0.0..=MOST).contains(&cost)
    {
        return Err(invalid_argument(format!("cost {cost} is out of range"))
            .detail(format!("It is at least 0 and at most {MOST:e}; one inserted row is 1."))
            .hint("NULL gives the event its calibrated or default cost again."));
    }
    rights::require_read_write(c"pss_set_cost()");
    catalog::as_extension_owner(|| {
        Ok(match cost {
            Some(cost) => Spi::run_with_args(
                "INSERT INTO pss.cost (relation, event, cost) VALUES ($1, $2, $3)
                 ON CONFLICT (relation, event) DO UPDATE SET cost = excluded.cost",
                &[relation.into(), event.name().into(), cost.into()],
            ),
            None => Spi::run_with_args(
                "DELETE FROM pss.cost WHERE relation OPERATOR(pg_catalog.=) $1
                    AND event OPERATOR(pg_catalog.=) $2",
                &[relation.into(), event.name().into()],
            ),
        }?)
    })
}

/// The event of this name, if it has a cost of its own.
fn checked_event(name: &str) -> Result<Event> {
    let names = Event::ALL.map(Event::name)[1..].join(", ");
    match Event::from_name(name) {
        None => Err(invalid_argument(format!("there is no event \"{name}\""))
            .detail(format!("Events whose cost can be set are {names}."))
            .hint("SELECT * FROM pss.costs shows what they cost now.")),
        Some(Event::Insert) => Err(invalid_argument("the cost of an inserted row cannot be set")
            .detail("It is the unit of load: all costs are relative to it.")
            .hint(format!("Set that of the others: {names}."))),
        Some(event) => Ok(event),
    }
}
