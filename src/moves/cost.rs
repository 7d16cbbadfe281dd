//! What carrying keys costs the two partitions, as the server counts it for this session.
//!
//! Load that moves cause is nobody's load to level: what is written down here is taken out of what
//! is measured, and tells the planner what the next moves will cost.

use pgrx::pg_sys;
use pss_core::series::{CostModel, Counters};

use crate::catalog;
use crate::error::Result;

/// Cost units that this session has caused on a leaf and its indexes, not yet reported.
pub fn so_far(leaf: pg_sys::Oid) -> Result<f64> {
    let counted = catalog::read(|client| {
        let row = client.select(COUNTED, Some(1), &[leaf.into()])?.first();
        let count = |n| Ok::<u64, pgrx::spi::Error>(row.get::<i64>(n)?.unwrap_or(0).max(0) as u64);
        Ok(Counters {
            inserted: count(1)?,
            updated: count(2)?,
            deleted: count(3)?,
            index_fetched: count(4)?,
            sequentially_read: count(5)?,
            blocks_read: count(6)?,
            ..Counters::default()
        })
    })?;
    let model = CostModel::default();
    Ok(model.insert * counted.inserted as f64
        + model.update * counted.updated as f64
        + model.delete * counted.deleted as f64
        + model.index_fetch * counted.index_fetched as f64
        + model.sequential_read * counted.sequentially_read as f64
        + model.block_read * counted.blocks_read as f64)
}

/// $1 the leaf. The same counters that a sample reads.
const COUNTED: &str = "
    SELECT pg_catalog.pg_stat_get_xact_tuples_inserted($1),
           pg_catalog.pg_stat_get_xact_tuples_updated($1),
           pg_catalog.pg_stat_get_xact_tuples_deleted($1),
           pg_catalog.pg_stat_get_xact_tuples_fetched($1) OPERATOR(pg_catalog.+) i.fetched,
           pg_catalog.pg_stat_get_xact_tuples_returned($1),
           pg_catalog.pg_stat_get_xact_blocks_fetched($1)
               OPERATOR(pg_catalog.-) pg_catalog.pg_stat_get_xact_blocks_hit($1)
               OPERATOR(pg_catalog.+) i.blocks
    FROM (
        SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_stat_get_xact_tuples_fetched(x.indexrelid)), 0)::pg_catalog.int8,
               COALESCE(pg_catalog.sum(
                   pg_catalog.pg_stat_get_xact_blocks_fetched(x.indexrelid) OPERATOR(pg_catalog.-)
                   pg_catalog.pg_stat_get_xact_blocks_hit(x.indexrelid)), 0)::pg_catalog.int8
        FROM pg_catalog.pg_index x
        WHERE x.indrelid OPERATOR(pg_catalog.=) $1) AS i (fetched, blocks)";
