//! The row map of a sharded table: one relation of two int8 columns,
//! `e = key hash (48 bit) << 16 | partition` with a btree, and `virtual_key`.
//!
//! An index over what the rows say of themselves, never the truth: it can be
//! dropped and rebuilt. This file makes and unmakes maps and keeps their state;
//! [`handle`] probes an open one, [`write`] adds to it, [`upkeep`] is for movers
//! and cleaners. In slot mode the map holds slots in place of key hashes
//! ([`slots`]); [`spread`] is for keys with several homes, and [`state`] says what a snapshot may believe of it.

mod handle;
pub mod slots;
pub mod spread;
mod state;
mod upkeep;
mod write;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::catalog::as_extension_owner;
use crate::error::Result;
use crate::latest;

pub use handle::{Entry, Hit, Map};
pub use upkeep::Stored;
pub use write::BATCH;

/// Makes the empty row map of a table and its (incomplete) state; returns the
/// map. A member of the extension without a dependency on the user's table, so
/// that DROP TABLE needs no CASCADE.
pub fn create(relation: pg_sys::Oid) -> Result<pg_sys::Oid> {
    as_extension_owner(|| {
        let name = format!("pss.map_{}", relation.to_u32());
        Spi::run(&format!(
            "CREATE TABLE {name} (e pg_catalog.int8 NOT NULL, virtual_key pg_catalog.int8 NOT NULL) WITH (autovacuum_analyze_scale_factor = 0.5)"
        ))?;
        Spi::run(&format!("CREATE INDEX ON {name} (e)"))?;
        // A publication FOR ALL TABLES would otherwise refuse deletes.
        Spi::run(&format!("ALTER TABLE {name} REPLICA IDENTITY FULL"))?;
        Spi::run(&format!(
            "COMMENT ON TABLE {name} IS 'map of a sharded table: key hash (or slot) and partition, virtual key'"
        ))?;
        let map = Spi::get_one::<pg_sys::Oid>(&format!(
            "SELECT '{name}'::pg_catalog.regclass::pg_catalog.oid"
        ))?
        .unwrap_or(pg_sys::InvalidOid);
        belong_to_extension(map);
        Spi::run_with_args(
            "INSERT INTO pss.map_state (relation, map) VALUES ($1, $2)
             ON CONFLICT (relation) DO UPDATE SET map = EXCLUDED.map, complete = false",
            &[relation.into(), map.into()],
        )?;
        forget_cached(relation);
        slots::record_newest(relation)?;
        spread::record(relation)?;
        // A table came, or lost its map: the worker has something to do.
        crate::worker::nudge();
        Ok(map)
    })
}

/// Drops the row map of a table and its state. Nothing happens if there is none.
pub fn drop_map(relation: pg_sys::Oid) -> Result<()> {
    let Some(map) = map_of(relation)? else { return Ok(()) };
    as_extension_owner(|| {
        Spi::run_with_args(
            "DELETE FROM pss.map_state WHERE relation OPERATOR(pg_catalog.=) $1",
            &[relation.into()],
        )?;
        // SAFETY: deletes the object like DROP TABLE does, past the extension's membership.
        unsafe {
            if pg_sys::get_rel_relkind(map) != 0 {
                let address = table_address(map);
                pg_sys::performDeletion(
                    &address,
                    pg_sys::DropBehavior::DROP_RESTRICT,
                    (pg_sys::PERFORM_DELETION_INTERNAL | pg_sys::PERFORM_DELETION_SKIP_EXTENSIONS)
                        as i32,
                );
            }
        }
        forget_cached(relation);
        Ok(())
    })
}

/// Keeps loads into leaves (shared) and rebuilds of the map (exclusive) apart until the
/// transaction ends: a rebuild must not call complete a map that lacks what a load is bringing.
pub fn lock_loads(relation: pg_sys::Oid, exclusive: bool) {
    let mode = if exclusive { pg_sys::ExclusiveLock } else { pg_sys::ShareLock } as i32;
    // SAFETY: a lock on the table as an object, which nothing else takes: not on the relation.
    unsafe { pg_sys::LockDatabaseObject(pg_sys::RelationRelationId, relation, 0, mode) };
}

/// Says whether every key with rows is in the map. All sessions notice at once.
pub fn set_complete(relation: pg_sys::Oid, complete: bool) -> Result<()> {
    as_extension_owner(|| {
        Spi::run_with_args(
            "UPDATE pss.map_state SET complete = $2,
                    completed_by = CASE WHEN $2 THEN pg_catalog.pg_current_xact_id() END,
                    rebuilt_at = CASE WHEN $2 THEN pg_catalog.clock_timestamp() ELSE rebuilt_at END
             WHERE relation OPERATOR(pg_catalog.=) $1",
            &[relation.into(), complete.into()],
        )?;
        forget_cached(relation);
        if !complete {
            crate::worker::nudge();
        }
        Ok(())
    })
}

/// Empties the map with the table.
pub fn truncate(relation: pg_sys::Oid) -> Result<()> {
    let Some(map) = map_of(relation)? else { return Ok(()) };
    as_extension_owner(|| {
        let name = crate::catalog::relation_name(map);
        Spi::run(&format!("TRUNCATE {name}"))?;
        slots::record_newest(relation)?;
        spread::record(relation)?;
        crate::shmem::tables::invalidate_cache(relation);
        forget_cached(relation);
        Ok(())
    })
}

fn map_of(relation: pg_sys::Oid) -> Result<Option<pg_sys::Oid>> {
    const MAP: &std::ffi::CStr = c"SELECT map::pg_catalog.oid FROM pss.map_state
          WHERE relation OPERATOR(pg_catalog.=) $1";
    Ok(latest::select(MAP, relation, |rows| rows.get(0, 1)))
}

/// Makes all sessions read the table's description again, from this transaction's commit on.
pub fn forget_cached(relation: pg_sys::Oid) {
    // SAFETY: queues an invalidation message; harmless if the table is being dropped.
    unsafe {
        let exists = pg_sys::SearchSysCacheExists(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            relation.into(),
            0.into(),
            0.into(),
            0.into(),
        );
        if exists {
            pg_sys::CacheInvalidateRelcacheByRelid(relation);
        }
    }
}

fn table_address(table: pg_sys::Oid) -> pg_sys::ObjectAddress {
    pg_sys::ObjectAddress { classId: pg_sys::RelationRelationId, objectId: table, objectSubId: 0 }
}

fn belong_to_extension(table: pg_sys::Oid) {
    // SAFETY: records a pg_depend row between two existing objects.
    unsafe {
        let extension = pg_sys::ObjectAddress {
            classId: pg_sys::ExtensionRelationId,
            objectId: pg_sys::get_extension_oid(c"pss".as_ptr(), false),
            objectSubId: 0,
        };
        pg_sys::recordDependencyOn(
            &table_address(table),
            &extension,
            pg_sys::DependencyType::DEPENDENCY_EXTENSION,
        );
    }
}

/// Bytes that a map takes per key, heap and index, as measured on bulk loads (docs/design.md).
pub const BYTES_PER_KEY: f64 = 74.0;
