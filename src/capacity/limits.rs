//! The nodes and tablespaces of a table's partitions, and what they can carry together.
//!
//! Only gathers; how the tree is filled is `pss_core::topology`.

use pgrx::pg_sys;
use pss_core::topology::{Limit, Topology};

use crate::catalog::Partition;

/// Nodes and tablespaces as they are met, with their limits.
#[derive(Default)]
pub struct Limits {
    nodes: Vec<(String, Limit)>,
    tablespaces: Vec<(pg_sys::Oid, Limit)>,
}

/// A configured capacity; load of other tables is not known here.
fn limit(capacity: Option<f64>) -> Limit {
    capacity.map_or(Limit::NONE, |capacity| Limit { capacity, other: 0.0 })
}

/// Position of `key`, added if it is not there.
fn position<K: PartialEq>(all: &mut Vec<(K, Limit)>, key: K, capacity: Option<f64>) -> usize {
    all.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        all.push((key, limit(capacity)));
        all.len() - 1
    })
}

impl Limits {
    /// Position of a node, whose partitions can carry `capacity` together if that is configured.
    pub fn node(&mut self, name: String, capacity: Option<f64>) -> usize {
        position(&mut self.nodes, name, capacity)
    }

    /// Position of a tablespace, likewise.
    pub fn tablespace(&mut self, space: pg_sys::Oid, capacity: Option<f64>) -> Option<usize> {
        Some(position(&mut self.tablespaces, space, capacity))
    }

    /// The tree of these partitions.
    pub fn topology(&self, partitions: &[Partition]) -> Topology {
        let places: Vec<_> = partitions.iter().map(|p| p.place).collect();
        let nodes: Vec<_> = self.nodes.iter().map(|(_, limit)| *limit).collect();
        let tablespaces: Vec<_> = self.tablespaces.iter().map(|(_, limit)| *limit).collect();
        Topology::new(&places, &nodes, &tablespaces)
    }
}
