//! What this process remembers of each table between two cycles.
//!
//! A memory is good only while it has seen every sample in pss.sample. What
//! another process sampled meanwhile is taken in; after a rollback, a restart,
//! or a change of table, interval, method or cost it is made anew: from the means
//! in pss.history, then from the newest samples.

use std::cell::RefCell;
use std::collections::HashMap;

use pgrx::pg_sys;
use pss_core::cost::ByEvent;
use pss_core::forecast::Method;

use super::brain::Brain;
use super::gauges::Gauges;
use super::{history, rebalance};
use crate::catalog::ShardedTable;
use crate::costs::Costs;
use crate::error::Result;
use crate::{clock, guc, inputs, query_log, sampler};

/// One table as this process knows it.
pub struct Memory {
    pub brain: Brain,
    pub gauges: Gauges,
    /// Time of the newest sample taken in.
    pub sampled_at: Option<pg_sys::TimestampTz>,
    /// When the sizes were last read.
    pub sizes_at: pg_sys::TimestampTz,
    /// Decisions since forecasts were last written.
    pub since_report: u32,
    fingerprint: Fingerprint,
}

/// What a memory depends on beside the samples.
#[derive(PartialEq)]
struct Fingerprint {
    partitions: Vec<(u16, pg_sys::Oid)>,
    interval_ms: i32,
    method: Option<Method>,
    /// When load was last imported from a query log.
    imported_at: Option<pg_sys::TimestampTz>,
    statement_cost: f64,
    costs: ByEvent<f64>,
}

impl Fingerprint {
    fn of(table: &ShardedTable) -> Result<Self> {
        Ok(Fingerprint {
            partitions: table.partitions.iter().map(|p| (p.number, p.leaf)).collect(),
            interval_ms: guc::SAMPLE_INTERVAL.get(),
            method: table.forecast_method,
            imported_at: query_log::imported_at(table.relation),
            statement_cost: guc::STATEMENT_COST.get(),
            costs: Costs::of(table.relation)?.in_use,
        })
    }
}

/// Steps before the newest sample of which a rebuilt memory knows how policies
/// did: what they did earlier weighs less than 1 %.
const REHEARSED_STEPS: i64 = 240;

thread_local! {
    static MEMORIES: RefCell<HashMap<pg_sys::Oid, Memory>> = RefCell::new(HashMap::new());
}

/// Takes the memory of a table out, rebuilt if need be. It must be put back
/// with [`keep`] when the cycle has succeeded; one that is not is forgotten.
pub fn recall(table: &ShardedTable) -> Result<Memory> {
    let newest = sampler::newest(table.relation)?;
    let mut memory = remember(table, newest)?;
    // The step that is under way began up to an interval before the newest sample.
    let since = newest.map(|at| at.saturating_sub(memory.brain.interval_us()));
    let expected = inputs::timetable(table, since)?;
    memory.brain.expect(rebalance::with_moves(table, expected)?);
    memory.brain.carry(rebalance::carried_since(table, newest)?);
    Ok(memory)
}

fn remember(table: &ShardedTable, newest: Option<pg_sys::TimestampTz>) -> Result<Memory> {
    let fingerprint = Fingerprint::of(table)?;
    if let Some(mut memory) = MEMORIES.with_borrow_mut(|m| m.remove(&table.relation))
        && memory.fingerprint == fingerprint
        && (memory.sampled_at == newest || memory.catch_up(table, newest)?)
    {
        return Ok(memory);
    }
    rebuild(table, newest, fingerprint)
}

impl Memory {
    /// Takes in what others have sampled since. False: the newest sample known here is not there
    /// (any more), so that nothing is certain.
    fn catch_up(
        &mut self,
        table: &ShardedTable,
        newest: Option<pg_sys::TimestampTz>,
    ) -> Result<bool> {
        let Some(known) = self.sampled_at else { return Ok(false) };
        if !sampler::taken_at(table.relation, known)? {
            return Ok(false);
        }
        let rehearse_from = rehearse_from(newest, self.brain.interval_us());
        let since = known.saturating_sub(self.brain.interval_us());
        self.brain.expect(inputs::timetable(table, Some(since))?);
        self.brain.carry(rebalance::carried_since(table, Some(since))?);
        sampler::replay(table, Some(known), |at, readings| {
            self.brain.observe(table, at, readings);
            self.gauges.observe(table, at, readings);
            if rehearse_from.is_some_and(|from| at >= from) {
                self.brain.rehearse();
            }
            self.sampled_at = Some(at);
            Ok(())
        })?;
        Ok(true)
    }
}

/// From when on a replay is to know how policies did.
fn rehearse_from(
    newest: Option<pg_sys::TimestampTz>,
    interval_us: i64,
) -> Option<pg_sys::TimestampTz> {
    newest.map(|at| at.saturating_sub(REHEARSED_STEPS * interval_us))
}

pub fn keep(relation: pg_sys::Oid, memory: Memory) {
    MEMORIES.with_borrow_mut(|m| m.insert(relation, memory));
}

/// Forgets the tables that are not in `present`.
pub fn forget_others(present: &[pg_sys::Oid]) {
    MEMORIES.with_borrow_mut(|m| m.retain(|relation, _| present.contains(relation)));
}

fn rebuild(
    table: &ShardedTable,
    newest: Option<pg_sys::TimestampTz>,
    fingerprint: Fingerprint,
) -> Result<Memory> {
    let interval_us = i64::from(fingerprint.interval_ms) * 1000;
    let rehearse_from = rehearse_from(newest, interval_us);
    let expected = inputs::timetable(table, rehearse_from)?;
    let carried = rebalance::carried_since(table, None)?;
    let begin = |origin| -> Result<Brain> {
        let n = table.partitions.len();
        let mut brain =
            Brain::new(n, interval_us, origin, table.forecast_method, fingerprint.costs);
        brain.expect(expected.clone());
        brain.carry(carried.clone());
        history::replay(table, origin, |position, start, span_s, mean| {
            brain.learn(position, start, span_s, mean);
        })?;
        Ok(brain)
    };
    let mut brain = None;
    let mut gauges = Gauges::new(table.partitions.len(), interval_us);
    let mut sampled_at = None;
    sampler::replay(table, None, |at, readings| {
        let brain = match &mut brain {
            Some(brain) => brain,
            None => brain.insert(begin(at)?),
        };
        brain.observe(table, at, readings);
        gauges.observe(table, at, readings);
        if rehearse_from.is_some_and(|from| at >= from) {
            brain.rehearse();
        }
        sampled_at = Some(at);
        Ok(())
    })?;
    Ok(Memory {
        brain: match brain {
            Some(brain) => brain,
            None => begin(clock::now())?,
        },
        gauges,
        sampled_at,
        sizes_at: 0,
        since_report: 0,
        fingerprint,
    })
}
