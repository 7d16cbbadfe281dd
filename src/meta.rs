//! What a session remembers about sharded tables: their description and the
//! epoch in use. Filled from the catalog, forgotten when the parent's relcache
//! entry is invalidated.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use pss_core::service;
use pss_core::virtual_key::VirtualKey;

use crate::catalog::{self, Epoch, ShardedTable};
use crate::clock;
use crate::error::{self, PssError, Result};
use crate::guc;
use crate::key::KeyType;
use crate::raw;
use crate::shmem::failures;
use crate::shmem::tables::{self, TableShared};

/// Name of the column that says which partition a row is in.
pub const PARTITION_COLUMN: &std::ffi::CStr = c"pss_partition";

/// A sharded table as this session knows it.
pub struct Meta {
    pub table: ShardedTable,
    pub key: KeyType,
    pub key_attribute: i16,
    pub key_typmod: i32,
    pub partition_attribute: i16,
    /// Counters and published epoch; `None`: shared memory has no room for the table.
    pub shared: Option<&'static TableShared>,
    /// Mean size of a row in bytes, from the leaves' statistics.
    pub row_bytes: f64,
    by_capacity: Rc<Epoch>,
    all_active: bool,
    published: RefCell<Option<Rc<Epoch>>>,
    rerouted: RefCell<Option<Rerouted>>,
    /// Slot mode: a home of each slot by a committed entry, as far as known.
    homes: RefCell<Vec<Option<u16>>>,
    stale: Cell<bool>,
}

/// An epoch without the partitions that are out of service.
struct Rerouted {
    /// The epoch, and the count of failures, that it was made of.
    source: Rc<Epoch>,
    failures: u32,
    /// `None`: all serve, or none does.
    epoch: Option<Rc<Epoch>>,
}

thread_local! {
    /// `None`: known not to be a sharded table.
    static TABLES: RefCell<HashMap<u32, Option<Rc<Meta>>>> = RefCell::new(HashMap::new());
    static ALL_STALE: Cell<bool> = const { Cell::new(false) };
}

/// The sharded table with parent `relation`, or `None` if it is no such.
pub fn table(relation: pg_sys::Oid) -> Result<Option<Rc<Meta>>> {
    if ALL_STALE.take() {
        TABLES.with_borrow_mut(HashMap::clear);
    }
    let known = TABLES.with_borrow(|t| t.get(&relation.to_u32()).cloned());
    if let Some(known) = known
        && !known.as_ref().is_some_and(|m| m.stale.get())
    {
        return Ok(known);
    }
    // Our catalog is read by SQL, which begins a new command: in the middle of a user's command that
    // is safe for tables of ours alone. Catalog access may run arbitrary invalidations: no borrow is
    // held meanwhile.
    // SAFETY: catalog look-ups.
    let partitioned = unsafe {
        pg_sys::get_rel_relkind(relation) as u8 == pg_sys::RELKIND_PARTITIONED_TABLE
            && pg_sys::get_attnum(relation, PARTITION_COLUMN.as_ptr()) > 0
    };
    let loaded = match if partitioned { catalog::sharded_table(relation)? } else { None } {
        Some(table) => Some(Rc::new(Meta::new(table)?)),
        None => None,
    };
    // Plain tables are not remembered: any INSERT asks, and the answer is cheap.
    if partitioned {
        TABLES.with_borrow_mut(|t| t.insert(relation.to_u32(), loaded.clone()));
    }
    Ok(loaded)
}

/// The parent of a partition; `None`: the relation is none, or no more: while it is detached,
/// foreign keys are checked by statements that see it half-way.
pub fn parent_of(leaf: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: catalog look-ups; the parent of a partition exists while we hold a lock on it.
    unsafe {
        if !pg_sys::get_rel_relispartition(leaf) {
            return None;
        }
        pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| {
            #[allow(ffi_unwind_calls, reason = "guarded by pg_guard_ffi_boundary")]
            raw::has_superclass(leaf).then(|| raw::get_partition_parent(leaf, true))
        })
    }
}

/// The sharded table that `leaf` is a partition of, and its number (-1: the inbox).
pub fn table_of_leaf(leaf: pg_sys::Oid) -> Result<Option<(Rc<Meta>, i32)>> {
    let Some(parent) = parent_of(leaf) else { return Ok(None) };
    Ok(table(parent)?.map(|meta| {
        let number = meta.table.partitions.iter().find(|p| p.leaf == leaf);
        let number = number.map_or(-1, |p| i32::from(p.number));
        (meta, number)
    }))
}

fn is_table(relation: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    let kind = unsafe { pg_sys::get_rel_relkind(relation) } as u8;
    kind == pg_sys::RELKIND_RELATION || kind == pg_sys::RELKIND_PARTITIONED_TABLE
}

/// The error for a relation that is no sharded table; of a partition, the table to name instead.
pub fn not_sharded(relation: pg_sys::Oid) -> PssError {
    let name = catalog::relation_name(relation);
    match table_of_leaf(relation) {
        Ok(Some((meta, _))) => {
            let parent = catalog::relation_name(meta.table.relation);
            PssError::new(
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                format!("\"{name}\" is a partition of sharded table \"{parent}\""),
            )
            .hint(format!("Name the table: '{parent}'."))
        }
        _ if is_table(relation) => error::not_sharded(&name),
        _ => PssError::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("\"{name}\" is not a table"),
        )
        .hint("SELECT relation FROM pss.tables lists the sharded tables."),
    }
}

/// Forgets what an invalidation message says has changed (0: everything).
/// Called at any time, also while a look-up is under way: only sets flags.
pub fn invalidate(relation: pg_sys::Oid) {
    if relation == pg_sys::InvalidOid {
        ALL_STALE.set(true);
        return;
    }
    let _ = TABLES.try_with(|tables| {
        let Ok(tables) = tables.try_borrow() else {
            ALL_STALE.set(true);
            return;
        };
        match tables.get(&relation.to_u32()) {
            Some(Some(meta)) => meta.stale.set(true),
            Some(None) => ALL_STALE.set(true),
            None => {}
        }
    });
}

impl Meta {
    fn new(table: ShardedTable) -> Result<Self> {
        let relation = table.relation;
        let column = CString::new(table.distribution_column.as_str()).unwrap_or_default();
        let (mut type_oid, mut typmod, mut collation) =
            (pg_sys::InvalidOid, -1, pg_sys::InvalidOid);
        // SAFETY: catalog look-ups by relation and column name.
        let (key_attribute, partition_attribute) = unsafe {
            let key = pg_sys::get_attnum(relation, column.as_ptr());
            if key > 0 {
                pg_sys::get_atttypetypmodcoll(
                    relation,
                    key,
                    &mut type_oid,
                    &mut typmod,
                    &mut collation,
                );
            }
            (key, pg_sys::get_attnum(relation, PARTITION_COLUMN.as_ptr()))
        };
        if key_attribute <= 0 || partition_attribute <= 0 {
            let name = catalog::relation_name(relation);
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("\"{name}\" lacks its distribution column or pss_partition"),
            )
            .detail(format!("Its distribution column is \"{}\".", table.distribution_column))
            .hint(format!("SELECT * FROM pss_check('{name}') tells what is wrong.")));
        }
        let now = clock::now();
        let shared = tables::register(relation, table.numbers_end(), now);
        if let Some(shared) = shared {
            failures::note_places(shared, &table);
        }
        Ok(Self {
            key: KeyType::new(type_oid, collation)?,
            key_attribute,
            key_typmod: typmod,
            partition_attribute,
            shared,
            row_bytes: catalog::mean_row_bytes(&table)?,
            by_capacity: Rc::new(Epoch::by_capacity(&table)),
            all_active: table.partitions.iter().all(|p| p.active),
            published: RefCell::new(None),
            rerouted: RefCell::new(None),
            homes: RefCell::new(Vec::new()),
            stale: Cell::new(false),
            table,
        })
    }

    /// Numbers of the distribution column and of pss_partition in a leaf, which may have its
    /// columns in another order.
    pub fn attributes_in(&self, leaf: pg_sys::Oid) -> (i16, i16) {
        let column = CString::new(self.table.distribution_column.as_str()).unwrap_or_default();
        // SAFETY: catalog look-ups by column name.
        unsafe {
            (
                pg_sys::get_attnum(leaf, column.as_ptr()),
                pg_sys::get_attnum(leaf, PARTITION_COLUMN.as_ptr()),
            )
        }
    }

    /// Whether an invalidation came since this description was read.
    pub fn is_stale(&self) -> bool {
        self.stale.get() || ALL_STALE.get()
    }

    /// The epoch that places new keys now, without the partitions that are out of service, and
    /// whether that is a fallback: weights too old, not readable, or pss.enabled off.
    pub fn epoch(&self) -> (Rc<Epoch>, bool) {
        let (epoch, fallback) = self.decided_epoch();
        (self.without_failed(&epoch).unwrap_or(epoch), fallback)
    }

    /// Whether owners of slots differ from those of the epoch in force, because partitions went
    /// out of service since. As of the last call of [`Meta::epoch`].
    pub fn is_rerouted(&self) -> bool {
        self.rerouted.borrow().as_ref().is_some_and(|r| r.epoch.is_some())
    }

    /// Whether the partition at `position` may take new keys.
    pub fn serves(&self, position: usize) -> bool {
        let Some(partition) = self.table.partitions.get(position) else { return false };
        let shared = self.shared.and_then(|shared| shared.partition(partition.number));
        partition.active && !shared.is_some_and(|p| p.failure.is_set())
    }

    /// `epoch` without the partitions that are out of service; `None`: nothing is to be changed.
    fn without_failed(&self, epoch: &Rc<Epoch>) -> Option<Rc<Epoch>> {
        let failures = self.shared.map_or(0, |shared| shared.failures());
        if failures == 0 && self.all_active {
            return None;
        }
        if let Some(known) = &*self.rerouted.borrow()
            && known.failures == failures
            && Rc::ptr_eq(&known.source, epoch)
        {
            return known.epoch.clone();
        }
        let capacity: Vec<f64> = self.table.partitions.iter().map(|p| p.capacity).collect();
        let weights = service::rerouted(&epoch.weights, &capacity, |i| self.serves(i));
        let rerouted = weights.map(|weights| {
            let slots = epoch.slots.reassign(&weights);
            Rc::new(Epoch { number: epoch.number, salt: epoch.salt, weights, slots })
        });
        let source = epoch.clone();
        *self.rerouted.borrow_mut() = Some(Rerouted { source, failures, epoch: rerouted.clone() });
        rerouted
    }

    /// The epoch as it was decided on.
    fn decided_epoch(&self) -> (Rc<Epoch>, bool) {
        let Some(shared) = self.shared else { return (self.by_capacity.clone(), true) };
        let number = shared.epoch.load(std::sync::atomic::Ordering::Acquire);
        let valid_until = shared.valid_until.load(std::sync::atomic::Ordering::Relaxed);
        let fresh = clock::now() <= valid_until;
        if !fresh || !guc::ENABLED.get() {
            return (self.by_capacity.clone(), true);
        }
        if number == 0 {
            return (self.by_capacity.clone(), false);
        }
        let known = self.published.borrow().clone();
        if let Some(epoch) = known
            && epoch.number == number
        {
            return (epoch, false);
        }
        let loaded = catalog::epoch(self.table.relation, number).ok().flatten();
        match loaded.filter(|e| e.weights.len() == self.table.partitions.len()) {
            Some(epoch) => {
                let epoch = Rc::new(epoch);
                *self.published.borrow_mut() = Some(epoch.clone());
                (epoch, false)
            }
            None => (self.by_capacity.clone(), true),
        }
    }

    /// The slot of a key in slot mode.
    pub fn slot(&self, hash: u64) -> u16 {
        VirtualKey::of_key(hash, 0, self.table.slots as u32).slot()
    }

    /// Whether the partition is known as a home of the slot, by a committed entry.
    pub fn knows_home(&self, slot: u16, partition: u16) -> bool {
        self.homes.borrow().get(usize::from(slot)) == Some(&Some(partition))
    }

    /// Remembers a home by a committed entry, in place of the slot's last one.
    pub fn remember_home(&self, slot: u16, partition: u16) {
        let mut homes = self.homes.borrow_mut();
        homes.resize(self.table.slots, None);
        if let Some(home) = homes.get_mut(usize::from(slot)) {
            *home = Some(partition);
        }
    }

    /// Position in `table.partitions` of the partition with this number.
    pub fn position(&self, number: u16) -> Option<usize> {
        self.table.partitions.binary_search_by_key(&number, |p| p.number).ok()
    }
}
