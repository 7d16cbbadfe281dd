//! What the row triggers of a statement keep from one row to the next: routers, and
//! leaves open for writing. Making them costs several times what using them does.
//!
//! A statement's frame holds it (`frame`) and releases it when it is closed. After an
//! error nothing is released here: the transaction closes its relations itself, and
//! the memory goes with it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;

use pgrx::pg_sys;

use super::leaf::Writer;
use super::{frame, view};
use crate::error::Result;
use crate::meta;
use crate::router::Router;

/// Kept by one statement.
pub struct Kept {
    context: pg_sys::MemoryContext,
    /// A trigger is using it: one that is called from inside gets its own.
    busy: bool,
    partitions: HashMap<u32, Partition>,
    tables: HashMap<u32, Table>,
    /// By trigger.
    views: HashMap<u32, view::View>,
}

/// A partition as the triggers on it need to know it.
#[derive(Clone, Copy)]
pub struct Partition {
    /// The sharded table.
    pub table: pg_sys::Oid,
    /// -1: the inbox.
    pub number: i32,
    pub key_attribute: i16,
    pub partition_attribute: i16,
    /// The trigger door has been found open for this statement.
    pub may_carry: bool,
}

/// A sharded table in use.
pub struct Table {
    pub router: Router,
    pub writer: Writer,
}

/// Runs `f` with what the running statement keeps.
pub fn using<R>(f: impl FnOnce(&mut Kept) -> Result<R>) -> Result<R> {
    if let Some(place) = frame::keeper() {
        if place.is_null() {
            *place = Kept::make();
        }
        // SAFETY: made above or at an earlier row; released when the frame is closed.
        let kept = unsafe { &mut **place };
        if !kept.busy {
            kept.busy = true;
            let result = f(kept);
            kept.busy = false;
            return result;
        }
    }
    let kept = Kept::make();
    // SAFETY: made here, used by `f` alone, and released once.
    unsafe {
        let result = f(&mut *kept);
        if result.is_ok() {
            release(kept);
        }
        result
    }
}

/// Closes what is open and frees everything.
///
/// # Safety
/// `kept` is null or was made by `using`, nobody uses it any more, and the transaction goes on.
pub unsafe fn release(kept: *mut Kept) {
    if kept.is_null() {
        return;
    }
    // SAFETY: as stated; the context's callback drops the value itself.
    unsafe {
        for view in (*kept).views.values() {
            view.close();
        }
        for (_, mut table) in (*kept).tables.drain() {
            table.writer.close();
        }
        pg_sys::MemoryContextDelete((*kept).context);
    }
}

impl Kept {
    fn make() -> *mut Self {
        // SAFETY: the context goes with the (sub)transaction at the latest, and the value with it.
        unsafe {
            let context = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurTransactionContext,
                c"pss statement".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let kept = Box::into_raw(Box::new(Self {
                context,
                busy: false,
                partitions: HashMap::new(),
                tables: HashMap::new(),
                views: HashMap::new(),
            }));
            let size = size_of::<pg_sys::MemoryContextCallback>();
            let callback = pg_sys::MemoryContextAllocZero(context, size)
                .cast::<pg_sys::MemoryContextCallback>();
            (*callback).func = Some(Self::abandon);
            (*callback).arg = kept.cast();
            pg_sys::MemoryContextRegisterResetCallback(context, callback);
            kept
        }
    }

    /// Frees what is left when its memory goes. After an ERROR the transaction has released, or
    /// will, what is open.
    unsafe extern "C-unwind" fn abandon(kept: *mut c_void) {
        // SAFETY: made by Box::into_raw in `make`, and freed by this callback alone.
        let kept = unsafe { Box::from_raw(kept.cast::<Self>()) };
        for table in kept.tables.into_values() {
            table.router.abandon();
        }
    }

    /// What there is to know of a partition of a sharded table; `None`: it is none.
    pub fn partition(&mut self, leaf: pg_sys::Oid) -> Result<Option<Partition>> {
        if let Some(known) = self.partitions.get(&leaf.to_u32()) {
            return Ok(Some(*known));
        }
        let Some((meta, number)) = meta::table_of_leaf(leaf)? else { return Ok(None) };
        let (key_attribute, partition_attribute) = meta.attributes_in(leaf);
        let partition = Partition {
            table: meta.table.relation,
            number,
            key_attribute,
            partition_attribute,
            may_carry: false,
        };
        self.partitions.insert(leaf.to_u32(), partition);
        Ok(Some(partition))
    }

    /// Remembers that the trigger door is open to this inbox.
    pub fn let_carry(&mut self, inbox: pg_sys::Oid) {
        if let Some(partition) = self.partitions.get_mut(&inbox.to_u32()) {
            partition.may_carry = true;
        }
    }

    /// A sharded table, opened at its first use.
    pub fn table(&mut self, table: pg_sys::Oid) -> Result<&mut Table> {
        let context = self.context;
        Ok(match self.tables.entry(table.to_u32()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                // SAFETY: what the router opens lives as long as it does.
                let router = unsafe {
                    let outer = pg_sys::MemoryContextSwitchTo(context);
                    let router = Router::open(table);
                    pg_sys::MemoryContextSwitchTo(outer);
                    router?
                };
                new.insert(Table { router, writer: Writer::new(context) })
            }
        })
    }

    /// The view that a trigger is on, and the table it writes to.
    pub fn view(
        &mut self,
        trigger: pg_sys::Oid,
        describe: impl FnOnce(&mut Self) -> Result<view::View>,
    ) -> Result<(&view::View, &mut Table)> {
        if !self.views.contains_key(&trigger.to_u32()) {
            let view = describe(self)?;
            self.views.insert(trigger.to_u32(), view);
        }
        let table = self.views[&trigger.to_u32()].table;
        self.table(table)?;
        let (views, tables) = (&self.views, &mut self.tables);
        let table =
            tables.get_mut(&table.to_u32()).map_or_else(|| Err(meta::not_sharded(table)), Ok)?;
        Ok((&views[&trigger.to_u32()], table))
    }
}
