//! The call door: SQL functions that ask the router before a row is written,
//! or where a key is. They check their arguments and the caller's rights, call,
//! and report.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::{AnyElement, JsonB};

use super::schema_info::{self, SchemaInfo};
use crate::catalog::Mapping;
use crate::error::{OrRaise, PssError, Result, null_argument};
use crate::homes::{self, Homes};
use crate::leaves;
use crate::map::Map;
use crate::meta::{self, Meta};
use crate::rights::{existing, require_privilege};
use crate::router::{Door, Router, hash48};

#[pg_extern(sql = false)]
fn pss_get_partition(
    relation: Option<pg_sys::Oid>,
    data_key: Option<AnyElement>,
    data_size: Option<i64>,
) -> i32 {
    let key = data_key.map(Key::Typed);
    get_partition(relation, key, data_size).or_raise()
}

#[pg_extern(sql = false)]
fn pss_get_partition_text(
    relation: Option<pg_sys::Oid>,
    data_key: Option<&str>,
    data_size: Option<i64>,
) -> i32 {
    get_partition(relation, data_key.map(Key::Text), data_size).or_raise()
}

#[pg_extern(sql = false)]
fn pss_get_partition_schema_info(
    data_key: Option<&str>,
    data_size: Option<i64>,
    schema_info: Option<JsonB>,
) -> i32 {
    by_schema_info(data_key, data_size, schema_info)
}

/// An untyped integer literal as size resolves to this one.
#[pg_extern(sql = false)]
fn pss_get_partition_schema_info_int(
    data_key: Option<&str>,
    data_size: Option<i32>,
    schema_info: Option<JsonB>,
) -> i32 {
    by_schema_info(data_key, data_size.map(i64::from), schema_info)
}

/// Nobody describes a table by NULL: `('t', 1, NULL)` is a table, a key and no size, which
/// PostgreSQL takes for this signature.
fn by_schema_info(first: Option<&str>, second: Option<i64>, schema_info: Option<JsonB>) -> i32 {
    let run = || match schema_info {
        Some(json) => described(first, second, &SchemaInfo::parse(json.0)?),
        None => {
            let relation = first.map(schema_info::relation_named).transpose()?;
            let key = second.map(|key| key.to_string());
            get_partition(relation, key.as_deref().map(Key::Text), None)
        }
    };
    run().or_raise()
}

/// Three literals without types: (data_key, data_size, schema_info), or, if the last
/// is a number or NULL, (relation, data_key, data_size).
#[pg_extern(sql = false)]
fn pss_get_partition_literals(
    first: Option<&str>,
    second: Option<&str>,
    third: Option<&str>,
) -> i32 {
    let run = || {
        let size = |text: Option<&str>| text.map(parse_size).transpose();
        match third {
            Some(text) if text.trim().parse::<i64>().is_err() => {
                described(first, size(second)?, &SchemaInfo::parse_text(text)?)
            }
            _ => {
                let relation = first.map(schema_info::relation_named).transpose()?;
                get_partition(relation, second.map(Key::Text), size(third)?)
            }
        }
    };
    run().or_raise()
}

fn parse_size(text: &str) -> Result<i64> {
    text.trim().parse().map_err(|_| {
        PssError::new(
            PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            format!("data size \"{text}\" is not a whole number"),
        )
        .hint("Give the size in bytes, or NULL to have it estimated.")
    })
}

fn described(key: Option<&str>, size: Option<i64>, info: &SchemaInfo) -> Result<i32> {
    let relation = info.relation()?;
    let size = match size {
        Some(size) => Some(size),
        None => info.row_bytes()?.map(|bytes| bytes as i64),
    };
    get_partition(Some(relation), key.map(Key::Text), size)
}

#[pg_extern(sql = false)]
fn pss_get_partitions(
    relation: Option<pg_sys::Oid>,
    data_keys: Option<pgrx::Array<&str>>,
    data_sizes: Option<pgrx::Array<i64>>,
) -> Vec<i32> {
    let run = || {
        let mut router = router_for_insert(relation)?;
        let keys = data_keys.ok_or_else(|| missing("data_keys"))?;
        let sizes: Vec<Option<i64>> = data_sizes.map(|s| s.iter().collect()).unwrap_or_default();
        if !sizes.is_empty() && sizes.len() != keys.len() {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("{} data keys, but {} data sizes", keys.len(), sizes.len()),
            )
            .hint("Give one size for each key, in the same order, or none at all."));
        }
        let mut partitions = Vec::with_capacity(keys.len());
        for (i, key) in keys.iter().enumerate() {
            let size = checked_size(sizes.get(i).copied().flatten())?;
            let key = key.map(|text| Key::Text(text).datum(router.meta())).transpose()?;
            partitions.push(i32::from(router.route(key, size, Door::Call)?));
        }
        Ok(partitions)
    };
    run().or_raise()
}

#[pg_extern(sql = false)]
fn pss_locate(relation: Option<pg_sys::Oid>, data_key: Option<AnyElement>) -> Option<i32> {
    locate(relation, data_key.map(Key::Typed)).or_raise()
}

#[pg_extern(sql = false)]
fn pss_locate_text(relation: Option<pg_sys::Oid>, data_key: Option<&str>) -> Option<i32> {
    locate(relation, data_key.map(Key::Text)).or_raise()
}

#[pg_extern(sql = false)]
fn pss_key_hash(relation: Option<pg_sys::Oid>, data_key: Option<AnyElement>) -> Option<i64> {
    let run = || {
        let meta = meta_for_select(relation)?;
        let Some(key) = data_key else { return Ok(None) };
        let key = Key::Typed(key).datum(&meta)?;
        let hash = meta.key.hash(key);
        Ok(Some(match meta.table.mapping {
            Mapping::Row => hash48(hash) as i64,
            Mapping::Slot => meta.slot(hash).into(),
        }))
    };
    run().or_raise()
}

#[pg_extern(sql = false)]
fn pss_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// A data key as the caller gave it.
pub enum Key<'a> {
    Typed(AnyElement),
    /// In its text form: read by the distribution column's own input function.
    Text(&'a str),
}

impl Key<'_> {
    /// The key as a value of the distribution column's type.
    pub fn datum(self, meta: &Meta) -> Result<pg_sys::Datum> {
        match self {
            Key::Typed(value) => {
                let column = &meta.table.distribution_column;
                meta.key.coerce(value.datum(), value.oid(), meta.key_typmod, column)
            }
            Key::Text(text) => meta.key.parse(text, meta.key_typmod),
        }
    }
}

fn get_partition(
    relation: Option<pg_sys::Oid>,
    key: Option<Key<'_>>,
    size: Option<i64>,
) -> Result<i32> {
    let mut router = router_for_insert(relation)?;
    let size = checked_size(size)?;
    let key = key.map(|key| key.datum(router.meta())).transpose()?;
    router.route(key, size, Door::Call).map(i32::from)
}

fn locate(relation: Option<pg_sys::Oid>, key: Option<Key<'_>>) -> Result<Option<i32>> {
    let meta = meta_for_select(relation)?;
    let Some(key) = key else { return Ok(None) };
    let key = key.datum(&meta)?;
    if has_several_homes(&meta, key) {
        return Ok(locate_among(&meta, key).map(i32::from));
    }
    Ok(find_home(&meta, key).map(|(partition, _)| i32::from(partition)))
}

/// Whether rows of the key may be in several partitions: in slot mode, or if it is spread.
pub fn has_several_homes(meta: &Meta, key: pg_sys::Datum) -> bool {
    meta.table.mapping == Mapping::Slot || meta.table.homes_of(hash48(meta.key.hash(key))).is_some()
}

/// The partition that holds every row of a key with several homes, in slot mode or spread: its only
/// home, else the only one of its homes where a row is.
fn locate_among(meta: &Meta, key: pg_sys::Datum) -> Option<u16> {
    let homes = homes::of(meta, key);
    if let Homes::In(homes) = &homes
        && let [home] = homes[..]
    {
        return Some(home);
    }
    let may_hold = |number| match &homes {
        Homes::All => true,
        Homes::In(homes) => homes.contains(&number),
    };
    // SAFETY: inside a statement there is an active snapshot.
    let holders = unsafe { leaves::holders(meta, key, pg_sys::GetActiveSnapshot(), may_hold) };
    match holders[..] {
        [holder] => Some(holder),
        _ => None,
    }
}

/// Home and virtual key of a data key, as the running statement's snapshot sees them. In slot mode,
/// and of a key that is spread, only if there is one home alone, without a virtual key.
pub fn find_home(meta: &Meta, key: pg_sys::Datum) -> Option<(u16, i64)> {
    if has_several_homes(meta, key) {
        return match homes::of(meta, key) {
            Homes::In(homes) if homes.len() == 1 => Some((homes[0], 0)),
            _ => None,
        };
    }
    // SAFETY: inside a statement there is an active snapshot.
    let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
    let hash = hash48(meta.key.hash(key));
    let mapped = meta
        .table
        .map
        .and_then(|map| Map::open_here(map, false).probe_visible(hash, snapshot, |_| true));
    match mapped {
        Some(hit) => Some((hit.partition, hit.virtual_key)),
        None if meta.table.map_complete => None,
        // SAFETY: the snapshot is the statement's own.
        None => unsafe { leaves::find(meta, key, snapshot) }.map(|partition| (partition, 0)),
    }
}

fn router_for_insert(relation: Option<pg_sys::Oid>) -> Result<Router> {
    let relation = existing(relation.ok_or_else(|| missing("relation"))?)?;
    let router = Router::open(relation)?;
    require_privilege(relation, pg_sys::ACL_INSERT as pg_sys::AclMode)?;
    Ok(router)
}

/// A sharded table that the caller may read.
pub fn meta_for_select(relation: Option<pg_sys::Oid>) -> Result<std::rc::Rc<Meta>> {
    let relation = existing(relation.ok_or_else(|| null_argument("relation"))?)?;
    let meta = meta::table(relation)?.map_or_else(|| Err(meta::not_sharded(relation)), Ok)?;
    require_privilege(relation, pg_sys::ACL_SELECT as pg_sys::AclMode)?;
    Ok(meta)
}

fn checked_size(size: Option<i64>) -> Result<Option<u64>> {
    size.map(|size| {
        u64::try_from(size).map_err(|_| {
            PssError::new(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("data size {size} is negative"),
            )
            .hint("Give the size in bytes, or NULL to have it estimated.")
        })
    })
    .transpose()
}

fn missing(argument: &str) -> PssError {
    null_argument(argument)
        .hint("SELECT pss_get_partition('table_name', key) asks for the partition of one key.")
}
