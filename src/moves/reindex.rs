//! Rebuilding the index of a row map that has become bloated. Keys come in no order, so its pages
//! fill to some 69 %, and deleted entries leave holes.
//!
//! It is REINDEX INDEX CONCURRENTLY, which stalls no writer, in a process of the server that is in
//! no transaction. It waits for transactions that are under way: so it is only tried when there are
//! none of some age, and given up after lock_timeout. What a failure leaves behind (an index that
//! is not valid) is dropped before the next try.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::catalog::as_extension_owner;
use crate::error::Result;

/// Smaller indexes are not worth it, in bytes.
const SMALLEST: i64 = 4 << 20;
/// Bytes of index for an entry above which it counts as bloated: 22 right after a rebuild.
const BLOATED: f64 = 28.0;
/// How much larger than after the last rebuild it must be.
const GROWN: f64 = 1.2;

/// A command to be run at top level.
pub struct Command {
    pub text: String,
    /// It rebuilds the index; else it drops what a failed try has left.
    pub rebuilds: bool,
}

/// The commands that are due for the row map of a table, in their order.
pub fn due(relation: pg_sys::Oid) -> Result<Vec<Command>> {
    as_extension_owner(|| {
        Spi::connect_mut(|client| {
            let limits = [relation.into(), SMALLEST.into(), BLOATED.into(), GROWN.into()];
            let rows = client.update(DUE, None, &limits)?;
            let mut commands = Vec::new();
            for row in rows {
                if let (Some(text), Some(rebuilds)) = (row.get(1)?, row.get(2)?) {
                    commands.push(Command { text, rebuilds });
                }
            }
            Ok(commands)
        })
    })
}

/// Writes down that a rebuild is tried, or, with the size it led to, has been done.
pub fn write_down(relation: pg_sys::Oid, done: bool) -> Result<()> {
    as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "UPDATE pss.map_cleaning c
             SET reindex_tried_at = pg_catalog.clock_timestamp(),
                 reindexed_at = CASE WHEN $2 THEN pg_catalog.clock_timestamp() ELSE c.reindexed_at END,
                 index_bytes = CASE WHEN $2 THEN pg_catalog.pg_indexes_size(m.map) ELSE c.index_bytes END
             FROM pss.map_state m
             WHERE c.relation OPERATOR(pg_catalog.=) $1 AND m.relation OPERATOR(pg_catalog.=) $1",
            &[relation.into(), done.into()],
        )?)
    })
}

/// $1 the table, $2 the smallest size, $3 bytes an entry, $4 growth. Indexes that a failed try left
/// are dropped; the valid one is rebuilt, while nothing long is under way that it would wait for.
const DUE: &str = "
    SELECT pg_catalog.format(
               CASE WHEN i.indisvalid THEN 'REINDEX INDEX CONCURRENTLY %s'
                    ELSE 'DROP INDEX CONCURRENTLY %s' END,
               i.indexrelid::pg_catalog.regclass),
           i.indisvalid
    FROM pss.map_state m
    JOIN pss.map_cleaning c ON c.relation OPERATOR(pg_catalog.=) m.relation
    JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) m.map
    CROSS JOIN LATERAL (
        SELECT pg_catalog.pg_relation_size(i.indexrelid) AS bytes,
               pg_catalog.pg_stat_get_live_tuples(m.map) AS entries) AS s
    WHERE m.relation OPERATOR(pg_catalog.=) $1
      AND CASE WHEN NOT i.indisvalid THEN c.reindex_tried_at IS NOT NULL
               ELSE s.bytes OPERATOR(pg_catalog.>) $2
                    AND s.bytes::pg_catalog.float8 OPERATOR(pg_catalog.>)
                        ($3 OPERATOR(pg_catalog.*) s.entries::pg_catalog.float8)
                    AND s.bytes::pg_catalog.float8 OPERATOR(pg_catalog.>)
                        ($4 OPERATOR(pg_catalog.*) COALESCE(c.index_bytes, 0)::pg_catalog.float8)
                    AND (c.reindex_tried_at IS NULL
                         OR c.reindex_tried_at OPERATOR(pg_catalog.<)
                            (pg_catalog.now() OPERATOR(pg_catalog.-) '10 minutes'::pg_catalog.interval))
          END
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_stat_activity a
          WHERE a.datid OPERATOR(pg_catalog.=) (
                SELECT d.oid FROM pg_catalog.pg_database d
                WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
            AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
            AND a.xact_start OPERATOR(pg_catalog.<)
                (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '1 second'::pg_catalog.interval))
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_prepared_xacts p
          WHERE p.database OPERATOR(pg_catalog.=) pg_catalog.current_database())
    ORDER BY i.indisvalid";
