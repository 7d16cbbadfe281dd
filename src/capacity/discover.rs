//! Processors, memory and disks of this server, as the operating system has them, within the limits
//! of the container it runs in.
//!
//! Read by the worker now and then; never in a session that inserts.

use std::path::{Path, PathBuf};

use pgrx::prelude::*;
use sysinfo::{DiskRefreshKind, Disks, MemoryRefreshKind, RefreshKind, System};

use crate::catalog::{self, as_extension_owner};
use crate::error::Result;

/// What was found: kind, name, resource, amount in the units of `pss.capacity`.
type Found = (&'static str, String, &'static str, f64);

/// Looks, and writes down what has changed.
pub fn discover() -> Result<()> {
    let mut found = local_node();
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage());
    for (tablespace, location) in tablespaces()? {
        let Some(bytes) = size_of_disk(&disks, &location) else { continue };
        if tablespace == DEFAULT_TABLESPACE {
            found.push(("node", LOCAL.into(), "storage", bytes));
        }
        found.push(("tablespace", tablespace, "storage", bytes));
    }
    record(&found)
}

const LOCAL: &str = "local";
const DEFAULT_TABLESPACE: &str = "pg_default";

fn local_node() -> Vec<Found> {
    let mut found = Vec::new();
    // Heeds affinity and the quota of a control group.
    if let Ok(processors) = std::thread::available_parallelism() {
        found.push(("node", LOCAL.into(), "cpu", processors.get() as f64));
    }
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let limit = system.cgroup_limits().map(|group| group.total_memory);
    let total = system.total_memory();
    let bytes = limit.filter(|&l| l > 0).map_or(total, |limit| limit.min(total));
    if bytes > 0 {
        found.push(("node", LOCAL.into(), "memory", bytes as f64));
    }
    found
}

/// The tablespaces that hold partitions, and where they are.
fn tablespaces() -> Result<Vec<(String, PathBuf)>> {
    catalog::read(|client| {
        let rows = client.select(
            "SELECT DISTINCT s.spcname::pg_catalog.text,
                    COALESCE(NULLIF(pg_catalog.pg_tablespace_location(s.oid), ''),
                             pg_catalog.current_setting('data_directory'))
             FROM pg_catalog.pg_tablespace s
             LEFT JOIN pg_catalog.pg_database d
                    ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
             WHERE s.oid OPERATOR(pg_catalog.=) ANY (ARRAY(
                 SELECT COALESCE(NULLIF(c.reltablespace, 0::pg_catalog.oid), d.dattablespace)
                 FROM pss.partition p
                 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.leaf))
             ORDER BY 1",
            None,
            &[],
        )?;
        let mut tablespaces = Vec::with_capacity(rows.len());
        for row in rows {
            if let (Some(name), Some(path)) = (row.get::<String>(1)?, row.get::<String>(2)?) {
                tablespaces.push((name, PathBuf::from(path)));
            }
        }
        Ok(tablespaces)
    })
}

/// Size of the disk that a directory is on: that of the longest mount point above it.
fn size_of_disk(disks: &Disks, directory: &Path) -> Option<f64> {
    let directory = directory.canonicalize().ok()?;
    let above = disks.list().iter().filter(|disk| directory.starts_with(disk.mount_point()));
    let nearest = above.max_by_key(|disk| disk.mount_point().components().count())?;
    Some(nearest.total_space() as f64).filter(|&bytes| bytes > 0.0)
}

fn record(found: &[Found]) -> Result<()> {
    let kinds: Vec<&str> = found.iter().map(|f| f.0).collect();
    let names: Vec<String> = found.iter().map(|f| f.1.clone()).collect();
    let resources: Vec<&str> = found.iter().map(|f| f.2).collect();
    let amounts: Vec<f64> = found.iter().map(|f| f.3).collect();
    as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "INSERT INTO pss.found_capacity AS f (kind, name, resource, discovered, found_at)
             SELECT u.kind, u.name::pg_catalog.name, u.resource, u.amount, pg_catalog.now()
             FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]),
                             pg_catalog.unnest($3::pg_catalog.text[]), pg_catalog.unnest($4::pg_catalog.float8[]))
                 AS u (kind, name, resource, amount)
             ON CONFLICT (kind, name, resource) DO UPDATE
                 SET discovered = excluded.discovered, found_at = excluded.found_at
                 WHERE f.discovered IS DISTINCT FROM excluded.discovered",
            &[kinds.into(), names.into(), resources.into(), amounts.into()],
        )?)
    })
}
