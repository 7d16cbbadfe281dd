//! What a router leaves to the next one of the same table: allocated memory, which a statement of
//! one row would take longer to make than to use. One a session; no statement learns from it what
//! another has routed.

use std::cell::Cell;
use std::rc::Rc;

use pgrx::pg_sys;

use super::draw::Drawer;
use super::record::Asked;
use super::tally::Tally;
use crate::map::Hit;
use crate::meta::Meta;

/// Memory of a router that has ended.
pub struct Spare {
    pub meta: Rc<Meta>,
    /// As many as there are partitions; what they say is of no use any more.
    pub locked: Vec<bool>,
    pub drawer: Option<Box<Drawer>>,
    /// Its counts have been added to the shared ones.
    pub tally: Tally,
    pub batch: Vec<Asked>,
    pub hashes: Vec<u64>,
    pub hits: Vec<Option<Hit>>,
}

thread_local! {
    static SPARE: Cell<Option<Spare>> = const { Cell::new(None) };
}

/// What is left from a router of this table; `None`: nothing, or the table has changed since.
pub fn take(relation: pg_sys::Oid) -> Option<Spare> {
    let spare = SPARE.take()?;
    (spare.meta.table.relation == relation && !spare.meta.is_stale()).then_some(spare)
}

/// Leaves it to the next one. Routers end at any time, also with the process.
pub fn leave(spare: Spare) {
    let _ = SPARE.try_with(|place| place.set(Some(spare)));
}

impl Spare {
    /// Of a table that no router has been at.
    pub fn new(meta: Rc<Meta>) -> Self {
        let n = meta.table.partitions.len();
        Self {
            meta,
            locked: vec![false; n],
            drawer: None,
            tally: Tally::new(n),
            batch: Vec::new(),
            hashes: Vec::new(),
            hits: Vec::new(),
        }
    }
}
