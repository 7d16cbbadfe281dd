//! How far the cleaning of a row map has come: one row a table in pss.map_cleaning.
//!
//! It also tells old entries from young ones. An entry has no time of its own, but the transaction
//! that wrote it has a number: numbers noted an hour ago are older than an hour.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::catalog::as_extension_owner;
use crate::error::Result;
use crate::guc;

/// State of the cleaning of one row map.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Where the pass under way goes on; `None`: none is.
    pub next_entry: Option<i64>,
    /// Rows deleted from the partitions, and entries of the map, when the last pass began and now.
    pub deleted: (i64, i64),
    pub entries: (i64, i64),
    /// Transactions before this one are older than pss.reservation_ttl; 0: none is known to be.
    pub old_xid: i64,
}

/// Reads the state, and notes the transaction that comes next if the last note has become old.
pub fn read(relation: pg_sys::Oid) -> Result<State> {
    // SAFETY: reads a counter.
    let next = unsafe { pg_sys::ReadNextFullTransactionId() }.value as i64;
    let ttl = guc::RESERVATION_TTL.get();
    as_extension_owner(|| {
        Spi::run_with_args(NOTE, &[relation.into(), next.into(), ttl.into()])?;
        Spi::connect_mut(|client| {
            let row = client.update(READ, Some(1), &[relation.into()])?.first();
            let number = |at| row.get::<i64>(at).map(Option::unwrap_or_default);
            let old_xid = if ttl == 0 { next } else { number(6)? };
            Ok(State {
                next_entry: row.get::<i64>(1)?,
                deleted: (number(2)?, number(3)?),
                entries: (number(4)?, number(5)?),
                old_xid,
            })
        })
    })
}

/// Writes down that a pass has begun.
pub fn begin(relation: pg_sys::Oid, state: &State) -> Result<()> {
    as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "UPDATE pss.map_cleaning
             SET began_at = pg_catalog.clock_timestamp(), deleted = $2, entries = $3
             WHERE relation OPERATOR(pg_catalog.=) $1",
            &[relation.into(), state.deleted.1.into(), state.entries.1.into()],
        )?)
    })
}

/// Writes down what was removed, and where the pass goes on; `None`: it has ended.
pub fn write(
    relation: pg_sys::Oid,
    orphans: u64,
    duplicates: u64,
    next_entry: Option<i64>,
) -> Result<()> {
    as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "UPDATE pss.map_cleaning
             SET orphans = orphans OPERATOR(pg_catalog.+) $2,
                 duplicates = duplicates OPERATOR(pg_catalog.+) $3,
                 next_entry = $4,
                 cleaned_at = CASE WHEN $4 IS NULL THEN pg_catalog.clock_timestamp() ELSE cleaned_at END
             WHERE relation OPERATOR(pg_catalog.=) $1",
            &[
                relation.into(),
                (orphans as i64).into(),
                (duplicates as i64).into(),
                next_entry.into(),
            ],
        )?)
    })
}

/// $1 the table, $2 the transaction to come, $3 the time to live in seconds.
const NOTE: &str = "
    INSERT INTO pss.map_cleaning AS c (relation, noted_xid) VALUES ($1, $2)
    ON CONFLICT (relation) DO UPDATE
    SET old_xid = c.noted_xid, noted_xid = EXCLUDED.noted_xid, noted_at = EXCLUDED.noted_at
    WHERE $3 OPERATOR(pg_catalog.>) 0 AND c.noted_at OPERATOR(pg_catalog.<=) (EXCLUDED.noted_at OPERATOR(pg_catalog.-)
        pg_catalog.make_interval(secs => $3))";

const READ: &str = "
    SELECT c.next_entry, c.deleted, d.deleted, c.entries,
           pg_catalog.pg_stat_get_live_tuples(m.map), c.old_xid
    FROM pss.map_cleaning c
    JOIN pss.map_state m ON m.relation OPERATOR(pg_catalog.=) c.relation
    CROSS JOIN LATERAL (
        SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_stat_get_tuples_deleted(p.leaf)), 0)::pg_catalog.int8 AS deleted
        FROM pss.partition p WHERE p.relation OPERATOR(pg_catalog.=) c.relation) AS d
    WHERE c.relation OPERATOR(pg_catalog.=) $1";
