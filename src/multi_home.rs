//! Keys that are spread: `pss.multi_home` lists the partitions that rows of such a key may be in.
//!
//! The list says where new rows may go. Where rows are, readers learn from the row map as of any
//! key, never from here: an entry of the map commits with the rows or before them.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::catalog::{ShardedTable, as_extension_owner};
use crate::error::Result;
use crate::{latest, map};

/// A key that is spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    pub hash48: u64,
    /// Its partitions, the first one first; at least two when it was spread.
    pub homes: Vec<u16>,
}

impl ShardedTable {
    /// The partitions that rows of a key with this hash may be in; `None`: it is not spread.
    pub fn homes_of(&self, hash48: u64) -> Option<&[u16]> {
        let at = self.spread.binary_search_by_key(&hash48, |key| key.hash48).ok()?;
        Some(&self.spread[at].homes)
    }
}

/// The spread keys of a table as they are now, by hash.
pub fn of(relation: pg_sys::Oid) -> Vec<Spread> {
    // Hashes are nobody's to read but ours.
    as_extension_owner(|| {
        latest::select(ALL, relation, |rows| {
            let spread = |row| {
                let homes = rows.get::<Vec<i32>>(row, 2)?;
                Some(Spread {
                    hash48: rows.get::<i64>(row, 1)? as u64,
                    homes: homes.into_iter().map(|home| home as u16).collect(),
                })
            };
            (0..rows.len()).filter_map(spread).collect()
        })
    })
}

const ALL: &CStr = c"SELECT key_hash, homes FROM pss.multi_home
      WHERE relation OPERATOR(pg_catalog.=) $1 ORDER BY key_hash";

/// Whether rows of the key may be in the partition by what the catalog says now.
pub fn allows(relation: pg_sys::Oid, hash48: u64, partition: u16) -> bool {
    let arguments = [
        (pg_sys::OIDOID, relation.into()),
        (pg_sys::INT8OID, (hash48 as i64).into()),
        (pg_sys::INT4OID, i32::from(partition).into()),
    ];
    as_extension_owner(|| latest::select_with(ONE, &arguments, |rows| rows.len() > 0))
}

const ONE: &CStr = c"SELECT 1 FROM pss.multi_home
      WHERE relation OPERATOR(pg_catalog.=) $1 AND key_hash OPERATOR(pg_catalog.=) $2
        AND $3 OPERATOR(pg_catalog.=) ANY (homes)";

/// Lists a key, or gives it other homes. `unique_scope`: where unique keys hold for it.
pub fn list(relation: pg_sys::Oid, spread: &Spread, unique_scope: &str) -> Result<()> {
    let homes: Vec<i32> = spread.homes.iter().map(|&home| home.into()).collect();
    as_extension_owner(|| {
        Spi::run_with_args(
            "INSERT INTO pss.multi_home AS h (relation, key_hash, homes, unique_scope)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (relation, key_hash) DO UPDATE
             SET homes = EXCLUDED.homes, unique_scope = EXCLUDED.unique_scope",
            &[relation.into(), (spread.hash48 as i64).into(), homes.into(), unique_scope.into()],
        )
    })?;
    map::forget_cached(relation);
    Ok(())
}

/// Takes a key off the list.
pub fn unlist(relation: pg_sys::Oid, hash48: u64) -> Result<()> {
    as_extension_owner(|| {
        Spi::run_with_args(
            "DELETE FROM pss.multi_home
             WHERE relation OPERATOR(pg_catalog.=) $1 AND key_hash OPERATOR(pg_catalog.=) $2",
            &[relation.into(), (hash48 as i64).into()],
        )
    })?;
    map::forget_cached(relation);
    Ok(())
}

/// Takes all keys of a table off the list.
pub fn clear(relation: pg_sys::Oid) -> Result<()> {
    as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "DELETE FROM pss.multi_home WHERE relation OPERATOR(pg_catalog.=) $1",
            &[relation.into()],
        )?)
    })
}

/// Takes a partition that is none any more out of the lists.
pub fn forget_partition(relation: pg_sys::Oid, number: i32) -> Result<()> {
    as_extension_owner(|| {
        Spi::run_with_args(
            "UPDATE pss.multi_home SET homes = pg_catalog.array_remove(homes, $2)
             WHERE relation OPERATOR(pg_catalog.=) $1 AND $2 OPERATOR(pg_catalog.=) ANY (homes)",
            &[relation.into(), number.into()],
        )?;
        Ok(Spi::run_with_args(
            "DELETE FROM pss.multi_home
             WHERE relation OPERATOR(pg_catalog.=) $1
               AND pg_catalog.cardinality(homes) OPERATOR(pg_catalog.<) 2",
            &[relation.into()],
        )?)
    })
}
