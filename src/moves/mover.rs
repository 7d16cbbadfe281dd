//! Carrying keys from one local partition to another (docs/design.md, section 4).
//!
//! Mark the keys; make the writers' cache invalid; wait for who was writing to
//! the source; read which rows have them; lock the source; replace the map's
//! entries and UPDATE pss_partition, which is PostgreSQL's own row movement; the
//! marks go when the transaction has ended. Whatever is in the way, the mover
//! yields: it takes its marks off and tries again later.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use super::{leaf, settings};
use crate::catalog::{self, Mapping, ShardedTable, relation_name};
use crate::error::{PssError, Result};
use crate::map::Map;
use crate::meta::{self, Meta};
use crate::partitions;
use crate::router::{Router, hash48};
use crate::shmem::claims::{self, ClaimKey, Marked};
use crate::shmem::tables;

/// Rows moved under one lock of the source, if they are of more than one key.
const MAX_ROWS: usize = 10_000;

/// What was carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    pub keys: u64,
    pub rows: i64,
    /// Bytes of the rows, as stored.
    pub bytes: i64,
}

thread_local! {
    /// Table and partition that rows are being carried to by this session's UPDATE.
    static CARRYING: Cell<Option<(u32, u16)>> = const { Cell::new(None) };
}

/// Whether an UPDATE that brings a row of the key to `partition` is a mover's own: the only one
/// that may.
pub fn carries(meta: &Meta, hash: u64, partition: i32) -> bool {
    let relation = meta.table.relation;
    let under_way = CARRYING
        .get()
        .is_some_and(|(table, to)| table == relation.to_u32() && i32::from(to) == partition);
    under_way && claims::marked_by_us(&ClaimKey::new(relation, hash48(hash)))
}

/// A mover of one table, for one transaction.
pub struct Mover {
    meta: Rc<Meta>,
    /// As the catalog has it now.
    table: ShardedTable,
    pub(super) router: Router,
    equality: String,
}

/// The keys of a batch that have rows in the source, by hash.
pub(super) type Found = HashMap<u64, (Vec<pg_sys::Datum>, usize)>;

impl Mover {
    /// Locks the table against other movers and reads its description.
    pub fn open(relation: pg_sys::Oid) -> Result<Self> {
        // SAFETY: an ordinary lock to the end of the transaction: the parent's before any leaf's.
        unsafe { pg_sys::LockRelationOid(relation, pg_sys::ShareUpdateExclusiveLock as i32) };
        let meta = meta::table(relation)?.map_or_else(|| Err(meta::not_sharded(relation)), Ok)?;
        let table = catalog::require_sharded_table(relation)?;
        if table.mapping == Mapping::Slot {
            let name = relation_name(relation);
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("table {name} is mapped by slot"),
            )
            .detail("It has no entries of keys to move or to clean: slots decide where rows go.")
            .hint(format!("Run SELECT pss_alter_table('{name}', mapping => 'row') first.")));
        }
        if table.map.is_none() || !table.map_complete {
            let name = relation_name(relation);
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("the row map of table {name} is not complete"),
            )
            .detail("Without it a mover cannot tell which partition a key is in.")
            .hint(format!("Run SELECT pss_rebuild_map('{name}') first.")));
        }
        let equality = partitions::equality(relation, &table.distribution_column)?;
        Ok(Self { router: Router::of(meta.clone())?, meta, table, equality })
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The partition to move to, if rows can be moved there.
    pub fn check_target(&self, number: i32) -> Result<u16> {
        let number = self.check_local(number)?;
        let active = self.partition(number).is_some_and(|p| p.active);
        if active {
            return Ok(number);
        }
        Err(PssError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("partition {number} of table {} is disabled", self.name()),
        )
        .detail("It takes no keys.")
        .hint("SELECT partition, state FROM pss.partitions shows which ones are active."))
    }

    /// A partition of the table that is stored on this server.
    pub fn check_local(&self, number: i32) -> Result<u16> {
        let known = u16::try_from(number).ok().and_then(|n| self.partition(n));
        let Some(partition) = known else {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                format!("table {} has no partition {number}", self.name()),
            )
            .hint("SELECT * FROM pss.partitions lists them."));
        };
        if is_local(partition.leaf) {
            return Ok(partition.number);
        }
        Err(PssError::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("partition {number} of table {} is not a local table", self.name()),
        )
        .detail("Keys are moved between partitions that are stored on this server.")
        .hint("SELECT * FROM pss.partitions lists them."))
    }

    fn partition(&self, number: u16) -> Option<&catalog::Partition> {
        self.table.partitions.iter().find(|p| p.number == number)
    }

    /// The partitions that are stored on this server.
    pub fn local_partitions(&self) -> impl Iterator<Item = &catalog::Partition> {
        self.table.partitions.iter().filter(|p| is_local(p.leaf))
    }

    /// The leaf of a partition.
    pub fn leaf(&self, number: u16) -> pg_sys::Oid {
        self.partition(number).map_or(pg_sys::InvalidOid, |p| p.leaf)
    }

    pub(super) fn name(&self) -> String {
        relation_name(self.table.relation)
    }

    pub fn map(&self) -> Map {
        Map::open_here(self.table.map.unwrap_or(pg_sys::InvalidOid), true)
    }

    /// The table as the catalog has it now.
    pub fn table(&self) -> &ShardedTable {
        &self.table
    }

    /// Marks a key; false: somebody is inserting it, or it is spread: its entries are no
    /// duplicates, and to move one of its homes alone would lose the others.
    pub fn mark(&self, hash48: u64) -> Result<bool> {
        Ok(self.table.homes_of(hash48).is_none() && self.mark_any(hash48)?)
    }

    /// Marks a key, also one that is spread; false: somebody is inserting it.
    pub fn mark_any(&self, hash48: u64) -> Result<bool> {
        // SAFETY: gives the transaction its number, which the mark names.
        let xid = unsafe { pg_sys::GetTopTransactionId() };
        match claims::mark(ClaimKey::new(self.meta.table.relation, hash48), xid.into_inner()) {
            Marked::Yes => Ok(true),
            Marked::Busy => Ok(false),
            Marked::Full => Err(PssError::new(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "too many data keys are being moved",
            )
            .detail(format!(
                "One transaction can move {} keys; all together, twice as many.",
                claims::MARKS_PER_SESSION
            ))
            .hint("Move fewer keys in a transaction, or CALL pss_move_keys(...), which commits batch by batch.")),
        }
    }

    /// Moves marked keys, given by hash, from one partition to another: as many of the first ones
    /// as [`MAX_ROWS`] lets, at least one. `None`: a writer is in the way, nothing was done.
    /// `first_mark`: how many marks there were before those of these keys.
    pub fn carry(
        &mut self,
        hashes: &[u64],
        (from, to): (u16, u16),
        first_mark: usize,
    ) -> Result<Option<Moved>> {
        // From here on writers ask for the mark; who has not is among those we wait for.
        tables::invalidate_cache(self.meta.table.relation);
        if !leaf::wait_for_writers(self.leaf(from)) {
            return Ok(None);
        }
        let (found, carried) = self.find(hashes, from)?;
        if !leaf::lock(&[self.leaf(from)], self.leaf(to)) {
            return Ok(None);
        }
        claims::hold_beyond(first_mark);
        let hashes = &hashes[..carried];
        let mut map = self.map();
        for &hash in hashes {
            let virtual_key = self.router.virtual_key_in(hash, to);
            map.replace(hash, to, virtual_key);
        }
        drop(map);
        let found = hashes.iter().filter_map(|h| found.get(h));
        let seen: usize = found.clone().map(|(_, rows)| rows).sum();
        let mut keys: Vec<_> = found.flat_map(|(keys, _)| keys).copied().collect();
        let (rows, bytes) = self.update(&mut keys, from, to)?;
        if rows != seen as i64 {
            self.check_none_left(hashes, from)?;
        }
        Ok(Some(Moved { keys: hashes.len() as u64, rows, bytes }))
    }

    /// The keys in `from` that have one of the hashes (two may share one: then both move), and how
    /// many of the hashes to move now.
    pub(super) fn find(&self, hashes: &[u64], from: u16) -> Result<(Found, usize)> {
        let mut found: Found = hashes.iter().map(|&h| (h, Default::default())).collect();
        leaf::each_key(&self.meta, self.leaf(from), |hash, key| {
            if let Some((keys, rows)) = found.get_mut(&hash) {
                *rows += 1;
                if !keys.iter().any(|&known| self.meta.key.equal(known, key)) {
                    keys.push(self.meta.key.copy(key));
                }
            }
        })?;
        let mut rows = 0;
        let fits = |hash: &&u64| {
            rows += found.get(hash).map_or(0, |(_, rows)| *rows);
            rows <= MAX_ROWS
        };
        let carried = hashes.iter().take_while(fits).count().max(1).min(hashes.len());
        Ok((found, carried))
    }

    /// After rows were deleted between reading the leaf and locking it: an error if there are any.
    pub(super) fn check_none_left(&self, hashes: &[u64], from: u16) -> Result<()> {
        let (left, _) = self.find(hashes, from)?;
        let rows: usize = left.values().map(|(_, rows)| rows).sum();
        if rows == 0 {
            return Ok(());
        }
        Err(PssError::new(
            PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            format!("{rows} rows of moved keys are still in partition {from}"),
        )
        .hint("Move them again."))
    }

    /// Sets pss_partition of all rows of the keys, as the table's owner; rows and their bytes. An
    /// error if a trigger kept a row where it was, or swallowed it.
    pub(super) fn update(
        &self,
        keys: &mut [pg_sys::Datum],
        from: u16,
        to: u16,
    ) -> Result<(i64, i64)> {
        if keys.is_empty() {
            return Ok((0, 0));
        }
        let Some((array, array_type)) = self.meta.key.array(keys) else {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("keys of type {} cannot be moved", self.key_type_name()),
            )
            .detail("There are no arrays of this type.")
            .hint("Distribute the table by a column of another type, or leave its keys where they are."));
        };
        let parameters = || {
            // SAFETY: an array of that type.
            [unsafe { DatumWithOid::new(array, array_type) }]
        };
        let key = pgrx::spi::quote_identifier(&self.meta.table.distribution_column);
        let condition = format!("{key} {} ANY ($1)", self.equality);
        let name = self.name();
        let condition = format!("pss_partition OPERATOR(pg_catalog.=) {from} AND {condition}");
        let count = format!(
            "SELECT pg_catalog.count(*), COALESCE(pg_catalog.sum(pg_catalog.pg_column_size(s.*)), 0)::pg_catalog.int8
             FROM {name} AS s WHERE {condition}"
        );
        let update = format!("UPDATE {name} SET pss_partition = {to} WHERE {condition}");
        let owner = self.owner();
        let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE
            | pg_sys::SECURITY_RESTRICTED_OPERATION
            | pg_sys::SECURITY_NOFORCE_RLS;
        let _carrying = Carrying::set(self.meta.table.relation, to);
        let (rows, bytes, moved) = catalog::as_role(owner, flags, || -> Result<_> {
            // The map says already that they are in the other partition.
            settings::with(&[(c"pss.prune", c"off")], || {
                Spi::connect_mut(|client| {
                    let row = client.update(count.as_str(), None, &parameters())?.first();
                    let (rows, bytes) = (row.get::<i64>(1)?, row.get::<i64>(2)?);
                    let moved = client.update(update.as_str(), None, &parameters())?.len() as i64;
                    Ok((rows.unwrap_or(0), bytes.unwrap_or(0), moved))
                })
            })
        })?;
        if rows == moved {
            return Ok((rows, bytes));
        }
        Err(PssError::new(
            PgSqlErrorCode::ERRCODE_TRIGGERED_ACTION_EXCEPTION,
            format!("only {moved} of {rows} rows could be moved to partition {to}"),
        )
        .detail("A trigger of the table has kept the others from being deleted there or inserted here.")
        .hint("Moving a row fires its BEFORE UPDATE, DELETE and INSERT triggers: they must let it pass."))
    }

    pub(super) fn key_type_name(&self) -> String {
        crate::key::type_name(self.meta.key.type_oid)
    }

    fn owner(&self) -> pg_sys::Oid {
        // SAFETY: a catalog look-up of a relation that is locked.
        unsafe {
            let tuple = pg_sys::SearchSysCache1(
                pg_sys::SysCacheIdentifier::RELOID as i32,
                pg_sys::Datum::from(self.meta.table.relation),
            );
            if tuple.is_null() {
                return pg_sys::GetUserId();
            }
            let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>()).relowner;
            pg_sys::ReleaseSysCache(tuple);
            owner
        }
    }
}

/// Whether a leaf is a table of this server.
pub fn is_local(leaf: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::get_rel_relkind(leaf) as u8 == pg_sys::RELKIND_RELATION }
}

/// While it lives, this session's UPDATE may carry rows.
struct Carrying;

impl Carrying {
    fn set(relation: pg_sys::Oid, to: u16) -> Self {
        CARRYING.set(Some((relation.to_u32(), to)));
        Carrying
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        CARRYING.set(None);
    }
}
