//! The load of every partition from the server's own counters, in pss's cost units.
//!
//! Both twins are read by one statement, so that their windows are the same. Must never use what
//! the player believes it did: only what the server counted.

use std::time::Instant;

use anyhow::{Context, Result};
use postgres::Client;
use pss_core::series::{CostModel, Counters};

use super::twins::{Leaves, Outlook};
use super::{PARTITIONS, twins};

/// What one window of about a second brought.
#[derive(Debug, Clone)]
pub struct Window {
    /// When it ended, seconds since the start.
    pub end: f64,
    /// Load by twin and partition, cost units per second.
    pub load: [[f64; PARTITIONS]; 2],
    /// Rows so far, by twin and partition.
    pub rows: [[u64; PARTITIONS]; 2],
    /// What was expected at its end of the time to come.
    pub outlook: [Outlook; PARTITIONS],
    /// The middle of that time, seconds since the start.
    pub forecast_for: f64,
}

/// Reads the counters.
pub struct Sampler {
    client: Client,
    /// Leaves by twin, then by partition.
    oids: Vec<u32>,
    start: Instant,
    last: Option<(f64, Vec<Counters>)>,
}

impl Sampler {
    /// A sampler of these leaves; times count from `start`.
    pub fn new(client: Client, leaves: &Leaves, start: Instant) -> Self {
        let oids = leaves.iter().flatten().map(|leaf| leaf.oid).collect();
        Self { client, oids, start, last: None }
    }

    /// Reads, and returns what came since the last reading; nothing at the first.
    pub fn window(&mut self) -> Result<Option<Window>> {
        let counters = read(&mut self.client, &self.oids)?;
        let end = self.start.elapsed().as_secs_f64();
        let last = self.last.replace((end, counters.clone()));
        let Some((begin, earlier)) = last else { return Ok(None) };
        let seconds = (end - begin).max(f64::MIN_POSITIVE);
        let costs = CostModel::default();
        let by_leaf = |twin: usize, partition: usize| twin * PARTITIONS + partition;
        let load = |twin, partition| {
            let leaf = by_leaf(twin, partition);
            cost(&costs, &counters[leaf]) - cost(&costs, &earlier[leaf])
        };
        let (outlook, from_now) = twins::outlook(&mut self.client)?;
        let forecast_for = self.start.elapsed().as_secs_f64() + from_now;
        Ok(Some(Window {
            end,
            load: [0, 1].map(|t| std::array::from_fn(|p| load(t, p) / seconds)),
            rows: [0, 1].map(|t| std::array::from_fn(|p| counters[by_leaf(t, p)].inserted)),
            outlook,
            forecast_for,
        }))
    }
}

/// The server's counters of the tables with these OIDs, in their order.
pub fn read(client: &mut Client, oids: &[u32]) -> Result<Vec<Counters>> {
    let rows = client.query(
        "SELECT t.n_tup_ins, t.n_tup_upd, t.n_tup_del, coalesce(t.idx_tup_fetch, 0), t.seq_tup_read,
                coalesce(io.heap_blks_read, 0) + coalesce(io.idx_blks_read, 0)
                    + coalesce(io.toast_blks_read, 0) + coalesce(io.tidx_blks_read, 0)
         FROM unnest($1::oid[]) WITH ORDINALITY AS leaf (oid, place)
         JOIN pg_stat_user_tables t ON t.relid = leaf.oid
         JOIN pg_statio_user_tables io ON io.relid = leaf.oid
         ORDER BY place",
        &[&oids],
    )?;
    anyhow::ensure!(rows.len() == oids.len(), "a partition has no statistics");
    rows.iter()
        .map(|row| {
            let n = |i: usize| u64::try_from(row.get::<_, i64>(i)).context("a counter is negative");
            Ok(Counters {
                inserted: n(0)?,
                updated: n(1)?,
                deleted: n(2)?,
                index_fetched: n(3)?,
                sequentially_read: n(4)?,
                blocks_read: n(5)?,
                busy_us: 0,
            })
        })
        .collect()
}

/// Cost of all that was counted.
pub fn cost(costs: &CostModel, counted: &Counters) -> f64 {
    costs.insert * counted.inserted as f64
        + costs.update * counted.updated as f64
        + costs.delete * counted.deleted as f64
        + costs.index_fetch * counted.index_fetched as f64
        + costs.sequential_read * counted.sequentially_read as f64
        + costs.block_read * counted.blocks_read as f64
}

/// max / mean - 1 of one window's loads; nothing if there was no load.
pub fn imbalance(load: &[f64]) -> Option<f64> {
    let sum: f64 = load.iter().sum();
    let max = load.iter().copied().fold(0.0, f64::max);
    (sum > 0.0).then(|| max * load.len() as f64 / sum - 1.0)
}

/// Mean of max / mean - 1 of a twin over the windows that ended after `from` seconds.
pub fn score(windows: &[Window], twin: usize, from: f64) -> Option<f64> {
    // A window belongs to the time it mostly covers.
    let scored = windows.iter().filter(|w| w.end >= from + 0.5);
    let values: Vec<f64> = scored.filter_map(|w| imbalance(&w.load[twin])).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imbalance_is_the_excess_of_the_busiest() {
        assert_eq!(imbalance(&[1.0; PARTITIONS]), Some(0.0));
        assert_eq!(imbalance(&[0.0; PARTITIONS]), None);
        let mut one = [0.0; PARTITIONS];
        one[3] = 5.0;
        assert_eq!(imbalance(&one), Some(PARTITIONS as f64 - 1.0));
    }

    #[test]
    fn only_windows_of_the_scored_days_count() {
        let window = |end, first| {
            let mut load = [[1.0; PARTITIONS]; 2];
            load[0][0] = first;
            Window {
                end,
                load,
                rows: [[0; PARTITIONS]; 2],
                outlook: [Outlook::default(); PARTITIONS],
                forecast_for: end,
            }
        };
        let windows = [window(60.01, 9.0), window(61.0, 1.0), window(62.0, 1.0)];
        assert_eq!(score(&windows, 0, 60.0), Some(0.0));
        assert!(score(&windows, 0, 0.0) > Some(0.5));
        assert_eq!(score(&windows, 0, 99.0), None);
    }
}
