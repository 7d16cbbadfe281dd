//! The partitions of a sharded table, as configured, where they are, and what they can carry.

use std::ffi::CStr;

use pgrx::pg_sys;
use pss_core::resources::Resources;
use pss_core::topology::{Place, Topology};

use crate::capacity::Limits;
use crate::latest::{self, Rows};

/// One partition of a sharded table, as configured.
#[derive(Debug, Clone)]
pub struct Partition {
    pub number: u16,
    pub leaf: pg_sys::Oid,
    /// Where the leaf's rows are; the number of its file is 0 if it has none of its own.
    pub tablespace: pg_sys::Oid,
    pub filenode: pg_sys::Oid,
    /// Where it lies, among the nodes and tablespaces of the table.
    pub place: Place,
    /// What it can carry, relative to the others, by itself.
    pub configured: f64,
    /// What is configured of its resources.
    pub resources: Resources,
    /// Likewise, with what its node and tablespace can carry taken into account.
    pub capacity: f64,
    /// Takes new keys.
    pub active: bool,
    /// Out of service because of its errors, not by hand.
    pub failed: bool,
}

/// The partitions of a table by number, and what they share; `None`: it has none.
pub fn read(relation: pg_sys::Oid) -> Option<(Vec<Partition>, Topology)> {
    let mut limits = Limits::default();
    let mut partitions = latest::select(PARTITIONS, relation, |rows| {
        let partition = |row| {
            let configured = rows.get(row, 3)?;
            let node = limits.node(rows.get(row, 8)?, rows.get(row, 9));
            let space = tablespace(rows.get(row, 6));
            Some(Partition {
                number: rows.get::<i32>(row, 1)? as u16,
                leaf: rows.get(row, 2)?,
                place: Place { node, tablespace: limits.tablespace(space, rows.get(row, 10)) },
                configured,
                capacity: configured,
                resources: resources(rows, row),
                active: rows.get(row, 4)?,
                failed: rows.get(row, 5)?,
                tablespace: space,
                filenode: rows.get(row, 7).unwrap_or(pg_sys::InvalidOid),
            })
        };
        (0..rows.len()).filter_map(partition).collect::<Vec<_>>()
    });
    if partitions.is_empty() {
        return None;
    }
    let topology = limits.topology(&partitions);
    let serving = |p: &Partition| if p.active { p.configured } else { 0.0 };
    let capacity =
        topology.effective(&[], &partitions.iter().map(serving).collect::<Vec<_>>(), 0.0);
    for (partition, capacity) in partitions.iter_mut().zip(capacity).filter(|(p, _)| p.active) {
        partition.capacity = capacity;
    }
    Some((partitions, topology))
}

/// What is configured of a partition's resources.
fn resources(rows: &Rows, row: usize) -> Resources {
    let amounts: [f64; 6] =
        std::array::from_fn(|i| rows.get(row, 11 + i as i32).unwrap_or(f64::NAN));
    let configured = Resources::from_array(amounts);
    // Configured are processors.
    Resources { cpu: configured.cpu * 1e6, ..configured }
}

const PARTITIONS: &CStr =
    c"SELECT p.partition, p.leaf::pg_catalog.oid, p.capacity, p.state OPERATOR(pg_catalog.=) 'active',
             p.state OPERATOR(pg_catalog.=) 'failed', c.reltablespace, c.relfilenode,
             p.node::pg_catalog.text, n.capacity, l.capacity,
             r.cpu, r.read, r.write, r.bytes, r.memory, r.storage
      FROM pss.partition p
      LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.leaf
      LEFT JOIN pss.partition_capacity r ON r.relation OPERATOR(pg_catalog.=) p.relation
                                        AND r.partition OPERATOR(pg_catalog.=) p.partition
      LEFT JOIN pss.node_capacity n ON n.node OPERATOR(pg_catalog.=) p.node
      LEFT JOIN (SELECT s.oid, t.capacity FROM pss.tablespace t
                 JOIN pg_catalog.pg_tablespace s ON s.spcname OPERATOR(pg_catalog.=) t.tablespace) AS l
             ON l.oid OPERATOR(pg_catalog.=)
                CASE WHEN c.reltablespace OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN c.reltablespace
                     ELSE (SELECT d.dattablespace FROM pg_catalog.pg_database d
                           WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) END
      WHERE p.relation OPERATOR(pg_catalog.=) $1 ORDER BY p.partition";

/// The tablespace of a relation by its pg_class entry, where 0 means that of the database.
fn tablespace(named: Option<pg_sys::Oid>) -> pg_sys::Oid {
    // SAFETY: a plain global of the backend.
    named.filter(|&t| t != pg_sys::InvalidOid).unwrap_or(unsafe { pg_sys::MyDatabaseTableSpace })
}
