//! Declared loads: what an administrator knows is coming, and from when until when.
//!
//! How a declared load counts is decided in pss-core; here it is written down,
//! taken back, and read for the time that has not been sampled yet.

use pgrx::AnyElement;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::control::{Declaration, Timetable};

use super::{MOST, finite, partition_of};
use crate::catalog::{self, ShardedTable};
use crate::clock::{self, timestamp};
use crate::doors::call::{Key, find_home, has_several_homes};
use crate::error::{OrRaise, PssError, Result, invalid_argument, null_argument};
use crate::meta::{self, Meta};
use crate::rights;

/// Load and time of a declaration as they come from SQL.
struct Claim {
    load: Option<f64>,
    from: Option<TimestampWithTimeZone>,
    until: Option<TimestampWithTimeZone>,
}

#[pg_extern(sql = false)]
fn pss_expect(
    relation: Option<pg_sys::Oid>,
    partition: Option<i32>,
    load: Option<f64>,
    from: Option<TimestampWithTimeZone>,
    until: Option<TimestampWithTimeZone>,
) -> i64 {
    let run = || {
        let meta = owned(relation)?;
        let partition =
            partition_of(&meta.table, partition.ok_or_else(|| null_argument("partition"))?)?;
        declare(&meta, partition, Claim { load, from, until })
    };
    run().or_raise()
}

#[pg_extern(sql = false)]
fn pss_expect_key(
    relation: Option<pg_sys::Oid>,
    data_key: Option<AnyElement>,
    load: Option<f64>,
    from: Option<TimestampWithTimeZone>,
    until: Option<TimestampWithTimeZone>,
) -> i64 {
    expect_key(relation, data_key.map(Key::Typed), Claim { load, from, until }).or_raise()
}

#[pg_extern(sql = false)]
fn pss_expect_key_text(
    relation: Option<pg_sys::Oid>,
    data_key: Option<&str>,
    load: Option<f64>,
    from: Option<TimestampWithTimeZone>,
    until: Option<TimestampWithTimeZone>,
) -> i64 {
    expect_key(relation, data_key.map(Key::Text), Claim { load, from, until }).or_raise()
}

fn expect_key(relation: Option<pg_sys::Oid>, key: Option<Key<'_>>, claim: Claim) -> Result<i64> {
    let meta = owned(relation)?;
    let key = key.ok_or_else(|| null_argument("data_key"))?.datum(&meta)?;
    let Some((partition, _)) = find_home(&meta, key) else {
        let name = catalog::relation_name(meta.table.relation);
        if has_several_homes(&meta, key) {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("data key has no partition of its own in table {name}"),
            )
            .detail("Its rows may be in several partitions: the table is mapped by slot, or the key is spread.")
            .hint("Name a partition: pss_expect()."));
        }
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("data key has no partition in table {name} yet"),
        )
        .detail("A load can be declared of a key that has rows, or was assigned a partition.")
        .hint(format!(
            "Run SELECT pss_get_partition('{name}', data_key) first, or name a partition: pss_expect()."
        )));
    };
    declare(&meta, i32::from(partition), claim)
}

fn declare(meta: &Meta, partition: i32, claim: Claim) -> Result<i64> {
    let load = claim.load.ok_or_else(|| null_argument("load"))?;
    if !(load > 0.0 && load <= MOST) {
        return Err(invalid_argument(format!("load {load} is out of range"))
            .detail(format!("It is above 0 and at most {MOST:e}."))
            .hint("Give cost units per second: one inserted row a second is 1; compare \"load\" in pss.partitions."));
    }
    let (from, until) = (finite("from", claim.from)?, finite("until", claim.until)?);
    if until <= from {
        return Err(invalid_argument("\"until\" must be later than \"from\"")
            .hint("Give the time when the load begins, then the time when it ends."));
    }
    if until <= clock::now() {
        return Err(invalid_argument("a load that is over cannot be declared")
            .detail("\"until\" is not in the future.")
            .hint(
                "Declare loads before they end: what has been measured already stays as it is.",
            ));
    }
    rights::require_read_write(c"pss_expect()");
    // SAFETY: the current user's name, palloc'd.
    let user = unsafe {
        std::ffi::CStr::from_ptr(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false))
            .to_string_lossy()
            .into_owned()
    };
    let id = catalog::as_extension_owner(|| {
        Spi::get_one_with_args::<i64>(
            "INSERT INTO pss.expectation (relation, partition, load, begins_at, ends_at, declared_by)
             VALUES ($1, $2, $3, $4, $5, $6::pg_catalog.text::pg_catalog.name) RETURNING id",
            &[
                meta.table.relation.into(),
                partition.into(),
                load.into(),
                timestamp(from).into(),
                timestamp(until).into(),
                user.into(),
            ],
        )
    })?;
    id.ok_or_else(|| {
        PssError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "a declared load got no number")
    })
}

#[pg_extern(sql = false)]
fn pss_unexpect(id: Option<i64>) {
    take_back(id).or_raise();
}

fn take_back(id: Option<i64>) -> Result<()> {
    let id = id.ok_or_else(|| null_argument("id"))?;
    let relation = catalog::as_extension_owner(|| {
        catalog::read(|client| {
            let mut row = client.select(
                "SELECT relation::pg_catalog.oid FROM pss.expectation
                 WHERE id OPERATOR(pg_catalog.=) $1",
                Some(1),
                &[id.into()],
            )?;
            Ok(if row.next().is_some() { row.get::<pg_sys::Oid>(1)? } else { None })
        })
    })?
    .ok_or_else(|| {
        PssError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("there is no declared load {id}"),
        )
        .hint("SELECT * FROM pss.expectations lists them.")
    })?;
    rights::require_owner(relation)?;
    rights::require_read_write(c"pss_unexpect()");
    catalog::as_extension_owner(|| {
        Ok(Spi::run_with_args(
            "DELETE FROM pss.expectation WHERE id OPERATOR(pg_catalog.=) $1",
            &[id.into()],
        )?)
    })
}

/// What is declared of the time after `since`.
pub fn timetable(table: &ShardedTable, since: Option<pg_sys::TimestampTz>) -> Result<Timetable> {
    let since = since.map_or_else(TimestampWithTimeZone::negative_infinity, timestamp);
    catalog::read(|client| {
        let rows = client.select(
            "SELECT partition, load, begins_at, ends_at FROM pss.expectation
             WHERE relation OPERATOR(pg_catalog.=) $1 AND ends_at OPERATOR(pg_catalog.>) $2",
            None,
            &[table.relation.into(), since.into()],
        )?;
        let mut declarations = Vec::with_capacity(rows.len());
        for row in rows {
            let number = row.get::<i32>(1)?;
            let position =
                table.partitions.iter().position(|p| Some(i32::from(p.number)) == number);
            let time = |n| row.get::<TimestampWithTimeZone>(n);
            if let (Some(partition), Some(load), Some(from), Some(until)) =
                (position, row.get::<f64>(2)?, time(3)?, time(4)?)
            {
                let (from_us, until_us) = (from.into(), until.into());
                declarations.push(Declaration { partition, load, from_us, until_us });
            }
        }
        Ok(Timetable::new(declarations))
    })
}

/// The sharded table that the caller owns (42501 otherwise).
fn owned(relation: Option<pg_sys::Oid>) -> Result<std::rc::Rc<Meta>> {
    let relation = rights::existing(relation.ok_or_else(|| null_argument("relation"))?)?;
    let meta = meta::table(relation)?.ok_or_else(|| meta::not_sharded(relation))?;
    rights::require_owner(relation)?;
    Ok(meta)
}
