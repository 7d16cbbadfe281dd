//! The COPY door. PostgreSQL's own COPY runs, with all its options, checks, messages and its
//! buffers: here its statement is amended before it runs. COPY FROM gets one more condition, which
//! fills each row's partition before native tuple routing ([`fill`]); pss_partition is left out of a
//! column list that the user did not give, both ways; COPY TO of a sharded table reads its rows.
//!
//! It checks nothing that COPY checks itself, and never changes a statement on another table.

mod defer;
mod fill;
mod loads;
mod statement;

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::error::{OrRaise, Result};
use crate::guc::{self, Routing};
use crate::meta::{self, Meta};
use crate::shmem;
use fill::{By, Filler};
use statement::Copy;

/// What a COPY names: a sharded table, or a partition of one.
pub struct Target {
    meta: Rc<Meta>,
    relation: pg_sys::Oid,
    /// The partition, if it names one; -1: the inbox.
    partition: Option<i32>,
}

impl Target {
    /// `None`: the relation is neither a sharded table nor a partition of one.
    fn of(relation: pg_sys::Oid) -> Result<Option<Self>> {
        if let Some(meta) = meta::table(relation)? {
            return Ok(Some(Self { meta, relation, partition: None }));
        }
        let leaf = meta::table_of_leaf(relation)?;
        Ok(leaf.map(|(meta, number)| Self { meta, relation, partition: Some(number) }))
    }
}

/// A statement to be run, and what fills the rows that it copies (null: nothing).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Prepared {
    pub statement: *mut pg_sys::PlannedStmt,
    filler: *mut Filler,
}

/// What to run instead of `statement`: the same, if it is no COPY of ours.
///
/// # Safety
/// `statement` is about to be run by ProcessUtility.
pub unsafe fn prepare(statement: *mut pg_sys::PlannedStmt) -> Prepared {
    // SAFETY: the statement's own nodes.
    let prepared = unsafe { Copy::of(statement) }.and_then(|copy| amend(&copy).or_raise());
    let prepared = prepared.unwrap_or(Prepared { statement, filler: null_mut() });
    fill::expect(prepared.filler);
    prepared
}

/// `None`: the statement stays as it is.
fn amend(copy: &Copy) -> Result<Option<Prepared>> {
    // SAFETY: a plain global of the backend.
    if copy.is_from() && unsafe { pg_sys::XactReadOnly } {
        // COPY itself refuses.
        return Ok(None);
    }
    if Target::of(copy.relation(pg_sys::NoLock))?.is_none() {
        return Ok(None);
    }
    // The lock that COPY is about to take, before its columns are read.
    let lock = if copy.is_from() { pg_sys::RowExclusiveLock } else { pg_sys::AccessShareLock };
    let Some(target) = Target::of(copy.relation(lock))? else { return Ok(None) };
    if copy.is_from() { amend_from(copy, &target) } else { Ok(amend_to(copy, &target)) }
}

fn amend_from(copy: &Copy, target: &Target) -> Result<Option<Prepared>> {
    let named = copy.names(meta::PARTITION_COLUMN);
    // Whether the rows' partitions are filled in, and then, by the router or just by the name.
    let by = match target.partition {
        Some(..0) => None,
        Some(_) => match loads::are_routed(target)? {
            true => Some(By::Router),
            false => (!named).then_some(By::Name),
        },
        None if named => loads::are_routed(target)?.then_some(By::Router),
        None => {
            (guc::ROUTING.get() == Routing::Planner && shmem::available()).then_some(By::Router)
        }
    };
    if by.is_none() && copy.has_columns() {
        return Ok(None);
    }
    let mut amended = copy.amended();
    if !copy.has_columns() {
        amended.set_columns(&target.columns());
    }
    let filler = by
        .map_or(null_mut(), |by| Filler::new(target, by, defer::may_defer(copy, target.relation)));
    if by.is_some() {
        amended.add_condition(fill::condition()?);
    }
    Ok(Some(Prepared { statement: amended.statement(), filler }))
}

/// COPY reads no partitioned table, but it reads a query.
fn amend_to(copy: &Copy, target: &Target) -> Option<Prepared> {
    if target.partition.is_some() && copy.has_columns() {
        return None;
    }
    let mut amended = copy.amended();
    if !copy.has_columns() {
        amended.set_columns(&target.columns());
    }
    if target.partition.is_none() {
        amended.select_columns();
    }
    Some(Prepared { statement: amended.statement(), filler: null_mut() })
}

impl Target {
    /// The columns that COPY means if none are named: those it would mean if the table had never
    /// been sharded.
    fn columns(&self) -> Vec<*mut c_char> {
        let by_number = pg_sys::SysCacheIdentifier::ATTNUM as i32;
        let column = |number: i16| {
            // SAFETY: reads a catalog entry, and copies its name before it is released.
            unsafe {
                let entry = pg_sys::SearchSysCache2(by_number, self.relation.into(), number.into());
                let column = pg_sys::GETSTRUCT(entry).cast::<pg_sys::FormData_pg_attribute>();
                let name = (*column).attname.data.as_ptr();
                let given = !(*column).attisdropped
                    && (*column).attgenerated == 0
                    && CStr::from_ptr(name) != meta::PARTITION_COLUMN;
                let name = given.then(|| pg_sys::pstrdup(name));
                pg_sys::ReleaseSysCache(entry);
                name
            }
        };
        // SAFETY: the relation is locked.
        let last = unsafe {
            let relation = pg_sys::RelationIdGetRelation(self.relation);
            let last = (*(*relation).rd_att).natts;
            pg_sys::RelationClose(relation);
            last
        };
        (1..=last as i16).filter_map(column).collect()
    }
}

/// Ends what fills its rows, and adds those that the inbox carried on to the count the client sees.
///
/// # Safety
/// `prepared` has just been run, and `completion` is its own or null.
pub unsafe fn complete(prepared: Prepared, completion: *mut pg_sys::QueryCompletion, carried: u64) {
    // SAFETY: as stated; the filler lives as long as the statement's memory.
    unsafe {
        if let Some(filler) = prepared.filler.as_mut() {
            filler.close().or_raise();
        }
        let is_copy = Copy::of(prepared.statement).is_some_and(|copy| copy.is_from());
        if is_copy && let Some(completion) = completion.as_mut() {
            completion.nprocessed += carried;
        }
    }
}
