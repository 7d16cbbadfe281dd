//! Which relations are sharded tables and partitions of theirs, as this
//! session remembers it.
//!
//! Every statement asks, so most answers are "neither" and must be cheap. Must
//! never outlive an invalidation of the relation or of its parent.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use pgrx::pg_sys;

use crate::meta;
use crate::shmem::tables::TableShared;

/// What a relation is to us.
#[derive(Clone, Copy)]
pub enum Known {
    Other,
    /// A sharded table.
    Table,
    /// A partition of one, by its number.
    Leaf(&'static TableShared, u16),
}

thread_local! {
    static KNOWN: RefCell<HashMap<u32, Known>> = RefCell::new(HashMap::new());
    static STALE: Cell<bool> = const { Cell::new(false) };
}

/// Relations remembered; a session that touches more begins anew.
const MOST: usize = 16_384;

/// What `relation` is. May read the catalog.
pub fn look_up(relation: pg_sys::Oid) -> Known {
    if STALE.take() {
        KNOWN.with_borrow_mut(HashMap::clear);
    }
    if let Some(known) = KNOWN.with_borrow(|k| k.get(&relation.to_u32()).copied()) {
        return known;
    }
    // Remembered before it is looked up, so that an invalidation meanwhile is noticed; an error
    // meanwhile is one.
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            STALE.set(true);
        }
    }
    remember(relation, Known::Other);
    let forget = Forget;
    let known = find(relation);
    std::mem::forget(forget);
    remember(relation, known);
    known
}

fn remember(relation: pg_sys::Oid, known: Known) {
    KNOWN.with_borrow_mut(|k| {
        if k.len() >= MOST {
            k.clear();
        }
        k.insert(relation.to_u32(), known);
    });
}

fn find(relation: pg_sys::Oid) -> Known {
    // A description that cannot be read is for others to complain about.
    if let Ok(Some(_)) = meta::table(relation) {
        return Known::Table;
    }
    let Some(parent) = meta::parent_of(relation) else { return Known::Other };
    // The parent's invalidation tells that it became, or is no longer, a sharded table.
    remember(parent, Known::Other);
    match meta::table(parent) {
        Ok(Some(meta)) => {
            let partition = meta.table.partitions.iter().find(|p| p.leaf == relation);
            remember(parent, Known::Table);
            match (meta.shared, partition) {
                (Some(shared), Some(p)) => Known::Leaf(shared, p.number),
                _ => Known::Other,
            }
        }
        _ => Known::Other,
    }
}

/// Forgets what an invalidation message says has changed (0: everything).
/// Called at any time: only sets a flag.
pub fn invalidate(relation: pg_sys::Oid) {
    let _ = KNOWN.try_with(|known| {
        let held = known.try_borrow().map_or(true, |k| k.contains_key(&relation.to_u32()));
        if held || relation == pg_sys::InvalidOid {
            STALE.set(true);
        }
    });
}
