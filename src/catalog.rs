//! Typed access to the tables of schema pss. SQL text of the catalog lives
//! here; values go by parameter.
//!
//! Reads use the latest snapshot, not the transaction's: which partitions
//! exist and where the map is must not depend on when a transaction began.

mod partition;

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use pss_core::forecast::Method;
use pss_core::slots::SlotTable;
use pss_core::topology::Topology;

use crate::clock::timestamp;
use crate::error::{PssError, Result, invalid_argument, not_sharded};
use crate::latest;
use crate::multi_home::{self, Spread};
pub use partition::Partition;

/// How a table's keys are mapped to partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Each key has one home, recorded in the row map.
    Row,
    /// A key goes to the owner of its slot; its homes are those of the slot.
    Slot,
}

impl Mapping {
    /// The mapping of this name in SQL.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Row, Self::Slot].into_iter().find(|mapping| mapping.name() == name)
    }

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Slot => "slot",
        }
    }
}

/// A sharded table, as configured; partitions in order of their number.
#[derive(Debug, Clone)]
pub struct ShardedTable {
    pub relation: pg_sys::Oid,
    pub distribution_column: String,
    pub mapping: Mapping,
    pub slots: usize,
    /// Quotas count bytes, not rows.
    pub quota_bytes: bool,
    /// How foreign load is forecast; `None`: by the method that lately was best.
    pub forecast_method: Option<Method>,
    pub partitions: Vec<Partition>,
    /// What its nodes and tablespaces can carry.
    pub topology: Topology,
    /// The map of keys, or of slots; `None` until it is made (after a restore).
    pub map: Option<pg_sys::Oid>,
    /// Every key with rows is in the map, or every home that has rows of a slot.
    pub map_complete: bool,
    /// The transaction that completed the map; invalid: long ago, all snapshots see it.
    pub map_completed_by: pg_sys::TransactionId,
    /// Keys that are spread over several partitions, by hash.
    pub spread: Vec<Spread>,
}

/// A published set of weights.
#[derive(Debug, Clone)]
pub struct Epoch {
    pub number: u32,
    /// Share of new keys by position in `ShardedTable::partitions`.
    pub weights: Vec<f64>,
    pub salt: u64,
    pub slots: SlotTable,
}

impl Epoch {
    /// The epoch that is used without fresh weights.
    pub fn by_capacity(table: &ShardedTable) -> Self {
        let weights = table.capacity_shares();
        let slots = SlotTable::build(&weights, table.slots);
        Self { number: 0, salt: u64::from(table.relation.to_u32()), slots, weights }
    }
}

impl ShardedTable {
    /// The partitions' numbers, ascending. There may be gaps.
    pub fn numbers(&self) -> impl Iterator<Item = u16> {
        self.partitions.iter().map(|p| p.number)
    }

    /// One more than the highest number: how many partitions shared memory has to hold, which
    /// goes by number.
    pub fn numbers_end(&self) -> usize {
        self.partitions.last().map_or(0, |p| usize::from(p.number) + 1)
    }

    /// Shares in proportion to the capacity of the partitions in service.
    pub fn capacity_shares(&self) -> Vec<f64> {
        let shares = |serves: fn(&Partition) -> bool| {
            let capacity = |p: &Partition| if serves(p) { p.capacity } else { 0.0 };
            let total: f64 = self.partitions.iter().map(capacity).sum();
            let share = |p: &Partition| capacity(p) / total;
            (total > 0.0).then(|| self.partitions.iter().map(share).collect::<Vec<f64>>())
        };
        // With none in service inserts must not stop (I5): what failed may be well again, while
        // what was disabled should stay alone as long as can be.
        let shares = shares(|p| p.active).or_else(|| shares(|p| p.failed));
        shares.unwrap_or_else(|| vec![1.0 / self.partitions.len() as f64; self.partitions.len()])
    }
}

/// Whether the extension is installed in this database, and its catalog's schema if so.
pub fn installed() -> bool {
    // SAFETY: catalog look-ups with missing_ok inside a transaction.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"pss".as_ptr(), true);
        schema != pg_sys::InvalidOid
            && pg_sys::get_relname_relid(c"sharded_table".as_ptr(), schema) != pg_sys::InvalidOid
    }
}

/// Runs SPI, with the latest snapshot as long as the transaction has written
/// nothing: for what is shown, not for what the router relies on (`latest`).
pub fn read<R>(f: impl FnOnce(&SpiClient<'_>) -> Result<R>) -> Result<R> {
    // SAFETY: a snapshot is pushed and popped in pairs; on ERROR the abort pops it.
    unsafe {
        let snapshot = if pg_sys::IsInParallelMode() {
            pg_sys::GetTransactionSnapshot()
        } else {
            pg_sys::GetLatestSnapshot()
        };
        pg_sys::PushActiveSnapshot(snapshot);
        let result = Spi::connect(|client| f(client));
        pg_sys::PopActiveSnapshot();
        result
    }
}

/// Runs `f` as the extension's owner: for the catalog's own tables, which users may not change.
pub fn as_extension_owner<R>(f: impl FnOnce() -> R) -> R {
    as_role(owner(), pg_sys::SECURITY_LOCAL_USERID_CHANGE, f)
}

/// Runs `f` as `role`, with `flags` added to the security context.
pub fn as_role<R>(role: pg_sys::Oid, flags: u32, f: impl FnOnce() -> R) -> R {
    struct Restore(pg_sys::Oid, i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: restores what GetUserIdAndSecContext returned.
            unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
        }
    }
    let mut user = pg_sys::InvalidOid;
    let mut context = 0;
    // SAFETY: plain getters and setters of the backend's user; restored on every
    // way out, by Drop when unwinding, and by transaction abort.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let _restore = Restore(user, context);
        pg_sys::SetUserIdAndSecContext(role, context | flags as i32);
        f()
    }
}

/// Owner of the catalog's tables.
fn owner() -> pg_sys::Oid {
    // SAFETY: catalog look-ups of objects that exist while the extension does.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"pss".as_ptr(), false);
        let relation = pg_sys::get_relname_relid(c"sharded_table".as_ptr(), schema);
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(relation),
        );
        if tuple.is_null() {
            return pg_sys::GetUserId();
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>();
        let owner = (*form).relowner;
        pg_sys::ReleaseSysCache(tuple);
        owner
    }
}

/// The sharded table `relation`, or `None` if pss does not manage it.
pub fn sharded_table(relation: pg_sys::Oid) -> Result<Option<ShardedTable>> {
    if !installed() {
        return Ok(None);
    }
    let head = latest::select(HEAD, relation, |rows| {
        let column = rows.get::<String>(0, 1)?;
        let (slots, bytes) = (rows.get::<i32>(0, 2)?, rows.get::<bool>(0, 3)?);
        let method = Method::from_name(&rows.get::<String>(0, 6)?);
        let mapping = Mapping::from_name(&rows.get::<String>(0, 7)?)?;
        let (map, complete) = (rows.get::<pg_sys::Oid>(0, 4), rows.get::<bool>(0, 5)?);
        let completed_by = recent_transaction(rows.get(0, 8), rows.get(0, 9));
        let map = (map, complete, completed_by);
        Some((column, slots, bytes, map, method, mapping))
    });
    let Some((distribution_column, slots, quota_bytes, map, method, mapping)) = head else {
        return Ok(None);
    };
    let (map, map_complete, map_completed_by) = map;
    let Some((partitions, topology)) = partition::read(relation) else { return Ok(None) };
    Ok(Some(ShardedTable {
        relation,
        distribution_column,
        mapping,
        slots: slots as usize,
        quota_bytes,
        forecast_method: method,
        partitions,
        topology,
        map,
        map_complete,
        map_completed_by,
        spread: multi_home::of(relation),
    }))
}

/// A transaction's number in 32 bits; invalid if it is so old that they would not tell it from
/// one to come. Both are full numbers; `oldest` is of the oldest transaction that still runs.
fn recent_transaction(number: Option<i64>, oldest: Option<i64>) -> pg_sys::TransactionId {
    match (number, oldest) {
        (Some(number), Some(oldest)) if oldest - number < 1 << 30 => (number as u32).into(),
        _ => pg_sys::InvalidTransactionId,
    }
}

const HEAD: &CStr =
    c"SELECT t.distribution_column::pg_catalog.text, t.slots, t.quota OPERATOR(pg_catalog.=) 'bytes',
             m.map::pg_catalog.oid, COALESCE(m.complete, false), t.forecast_method, t.mapping,
             m.completed_by::pg_catalog.text::pg_catalog.int8,
             pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
      FROM pss.sharded_table t
      LEFT JOIN pss.map_state m ON m.relation OPERATOR(pg_catalog.=) t.relation
      WHERE t.relation OPERATOR(pg_catalog.=) $1";

/// The sharded table `relation`, or the error that it is none.
pub fn require_sharded_table(relation: pg_sys::Oid) -> Result<ShardedTable> {
    sharded_table(relation)?.ok_or_else(|| not_sharded(&relation_name(relation)))
}

/// Deletes every row about a table from the catalog, but for events and the map.
pub fn forget_table(relation: pg_sys::Oid) -> Result<()> {
    as_extension_owner(|| {
        for table in [
            "sharded_table",
            "partition",
            "partition_capacity",
            "learned_capacity",
            "epoch",
            "outlook",
            "sample",
            "history",
            "query_log_import",
            "metric",
            "metric_cost",
            "cost",
            "cost_change",
            "calibration",
            "load_vector",
            "expectation",
            "forecast",
            "forecast_model",
            "score",
            "move",
            "rebalance",
            "map_cleaning",
            "multi_home",
        ] {
            Spi::run_with_args(
                &format!("DELETE FROM pss.{table} WHERE relation OPERATOR(pg_catalog.=) $1"),
                &[relation.into()],
            )?;
        }
        Ok(())
    })
}

/// What was observed of a table: relations in schema pss, and the column with its time.
pub const OBSERVATIONS: [(&str, &str); 5] = [
    ("sample", "sampled_at"),
    ("history", "bucket"),
    ("forecast", "made_at"),
    ("score", "scored_at"),
    ("cost_change", "changed_at"),
];

/// Removes what was observed of a table after `at`.
pub fn forget_after(relation: pg_sys::Oid, at: pg_sys::TimestampTz) -> Result<()> {
    as_extension_owner(|| {
        for (table, column) in OBSERVATIONS {
            Spi::run_with_args(
                &format!(
                    "DELETE FROM pss.{table} WHERE relation OPERATOR(pg_catalog.=) $1
                       AND {column} OPERATOR(pg_catalog.>) $2"
                ),
                &[relation.into(), timestamp(at).into()],
            )?;
        }
        Ok(())
    })
}

/// All sharded tables that still exist.
pub fn sharded_tables() -> Result<Vec<pg_sys::Oid>> {
    tables(
        "SELECT t.relation::pg_catalog.oid FROM pss.sharded_table t
         JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relation
         ORDER BY 1",
    )
}

/// The tables whose OIDs a query of ours returns.
pub fn tables(query: &str) -> Result<Vec<pg_sys::Oid>> {
    read(|client| {
        let rows = client.select(query, None, &[])?;
        let mut tables = Vec::with_capacity(rows.len());
        for row in rows {
            tables.extend(row.get::<pg_sys::Oid>(1)?);
        }
        Ok(tables)
    })
}

/// Epoch `number` of a table, or `None` if its row or its slots are not usable.
pub fn epoch(relation: pg_sys::Oid, number: u32) -> Result<Option<Epoch>> {
    let arguments = [(pg_sys::OIDOID, relation.into()), (pg_sys::INT4OID, (number as i32).into())];
    Ok(latest::select_with(EPOCH, &arguments, |rows| {
        let weights = rows.get::<Vec<f64>>(0, 1)?;
        let salt = rows.get::<i64>(0, 2)? as u64;
        let slots = SlotTable::from_bytes(&rows.get::<Vec<u8>>(0, 3)?)?;
        Some(Epoch { number, weights, salt, slots })
    }))
}

const EPOCH: &CStr = c"SELECT weights, salt, slots FROM pss.epoch
      WHERE relation OPERATOR(pg_catalog.=) $1 AND epoch OPERATOR(pg_catalog.=) $2";

/// Writes an epoch's row (as the extension's owner). Publishing it to the
/// sessions (`shmem::tables::TableShared::publish`) comes after commit.
pub fn insert_epoch(
    relation: pg_sys::Oid,
    epoch: &Epoch,
    reason: &str,
    forecast: Option<pgrx::JsonB>,
) -> Result<()> {
    as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "INSERT INTO pss.epoch (relation, epoch, reason, weights, salt, slots, forecast)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                relation.into(),
                (epoch.number as i32).into(),
                reason.into(),
                epoch.weights.clone().into(),
                (epoch.salt as i64).into(),
                epoch.slots.to_bytes().into(),
                forecast.into(),
            ],
        )?)
    })
}

/// Number of the newest epoch in the catalog.
pub fn latest_epoch(relation: pg_sys::Oid) -> Result<Option<u32>> {
    const NEWEST: &CStr = c"SELECT pg_catalog.max(epoch) FROM pss.epoch
          WHERE relation OPERATOR(pg_catalog.=) $1";
    Ok(latest::select(NEWEST, relation, |rows| rows.get::<i32>(0, 1)).map(|n| n as u32))
}

/// Mean size of a row of the table in bytes, from the statistics of its leaves.
/// 100 where there are none yet.
pub fn mean_row_bytes(table: &ShardedTable) -> Result<f64> {
    let leaves: Vec<pg_sys::Oid> = table.partitions.iter().map(|p| p.leaf).collect();
    read(|client| {
        let row = client.select(
            "SELECT pg_catalog.sum(relpages::pg_catalog.float8 OPERATOR(pg_catalog.*)
                        pg_catalog.current_setting('block_size')::pg_catalog.float8)
                    OPERATOR(pg_catalog./) pg_catalog.sum(reltuples)
             FROM pg_catalog.pg_class
             WHERE oid OPERATOR(pg_catalog.=) ANY ($1) AND reltuples OPERATOR(pg_catalog.>) 0",
            Some(1),
            &[leaves.into()],
        )?;
        Ok(row.first().get::<f64>(1)?.unwrap_or(100.0))
    })
}

/// There is no such partition (22023).
pub fn no_such_partition(relation: pg_sys::Oid, partition: i32) -> PssError {
    let name = relation_name(relation);
    invalid_argument(format!("table {name} has no partition {partition}")).hint(format!(
        "SELECT partition FROM pss.partitions WHERE relation = '{name}'::regclass lists them."
    ))
}

/// Appends to the decision log.
pub fn log_event(
    relation: Option<pg_sys::Oid>,
    kind: &str,
    message: &str,
    detail: Option<pgrx::JsonB>,
) -> Result<()> {
    as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "INSERT INTO pss.event (relation, kind, message, detail) VALUES ($1, $2, $3, $4)",
            &[relation.into(), kind.into(), message.into(), detail.into()],
        )?)
    })
}

/// `schema.name` of a relation as the session would have to write it.
pub fn relation_name(relation: pg_sys::Oid) -> String {
    const NAME: &CStr = c"SELECT $1::pg_catalog.regclass::pg_catalog.text";
    latest::select(NAME, relation, |rows| rows.get::<String>(0, 1))
        .unwrap_or_else(|| relation.to_u32().to_string())
}
