//! `pss_spread_key` and `pss_unspread_key`: several homes for a key that is too hot for one.
//!
//! To spread a key moves no row and waits for no writer. The key is marked, so that no session is
//! between its look at the map and its own entry; what the map then says in any state, committed
//! or not, stays a home. Entries and list become true with the transaction, until when the mark
//! holds those up who would look.

use std::time::Instant;

use pgrx::AnyElement;
use pgrx::prelude::*;

use super::call::{in_the_way, movable, patience};
use super::mover::Mover;
use super::{batch, leaf};
use crate::catalog;
use crate::doors::call::Key;
use crate::error::{OrRaise, PssError, Result, invalid_argument, null_argument};
use crate::multi_home::{self, Spread};
use crate::partitions::{UniqueScope, refuse_unique_of_spread};
use crate::router::hash48;
use crate::shmem::claims;

#[pg_extern(sql = false)]
fn pss_spread_key(
    relation: Option<pg_sys::Oid>,
    data_key: Option<AnyElement>,
    partitions: Option<i32>,
    unique_scope: Option<&str>,
) -> Vec<i32> {
    spread(relation, data_key.map(Key::Typed), partitions, unique_scope).or_raise()
}

#[pg_extern(sql = false)]
fn pss_spread_key_text(
    relation: Option<pg_sys::Oid>,
    data_key: Option<&str>,
    partitions: Option<i32>,
    unique_scope: Option<&str>,
) -> Vec<i32> {
    spread(relation, data_key.map(Key::Text), partitions, unique_scope).or_raise()
}

#[pg_extern(sql = false)]
fn pss_unspread_key(relation: Option<pg_sys::Oid>, data_key: Option<AnyElement>) -> i64 {
    unspread(relation, data_key.map(Key::Typed)).or_raise()
}

#[pg_extern(sql = false)]
fn pss_unspread_key_text(relation: Option<pg_sys::Oid>, data_key: Option<&str>) -> i64 {
    unspread(relation, data_key.map(Key::Text)).or_raise()
}

fn spread(
    relation: Option<pg_sys::Oid>,
    key: Option<Key<'_>>,
    partitions: Option<i32>,
    unique_scope: Option<&str>,
) -> Result<Vec<i32>> {
    let relation = movable(relation)?;
    let key = key.ok_or_else(|| null_argument("data_key"))?;
    let wanted = partitions.ok_or_else(|| null_argument("partitions"))?;
    let scope = UniqueScope::parse(unique_scope.ok_or_else(|| null_argument("unique_scope"))?)?;
    let mover = Mover::open(relation)?;
    if !mover.meta().key.hash_survives_dump() {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("keys of type {} cannot be spread", mover.key_type_name()),
        )
        .detail("The key is listed by its hash, which for this type depends on object identifiers: after a restore it would be another.")
        .hint("Distribute the table by a column of another type."));
    }
    refuse_unique_of_spread(relation, scope)?;
    let hash = hash48(mover.meta().key.hash(key.datum(mover.meta())?));
    let began = Instant::now();
    let first_mark = claims::marks();
    while !mover.mark_any(hash)? {
        if began.elapsed() > patience() {
            return Err(in_the_way(relation));
        }
        leaf::back_off();
    }
    let homes = enough_homes(&mover, hash, wanted)?;
    mover.map().add_homes_of_key(hash, &homes, mover.table().slots);
    multi_home::list(relation, &Spread { hash48: hash, homes: homes.clone() }, scope.name())?;
    claims::hold_beyond(first_mark);
    let message = format!("a key is spread over partitions {}", listed(&homes));
    catalog::log_event(Some(relation), "spread", &message, None)?;
    Ok(homes.into_iter().map(i32::from).collect())
}

/// The homes that the key has, and as many more as it takes: those with the largest shares of new
/// keys.
fn enough_homes(mover: &Mover, hash48: u64, wanted: i32) -> Result<Vec<u16>> {
    let mut homes = mover.homes(hash48);
    for &home in &homes {
        mover.check_local(home.into())?;
    }
    let (epoch, _) = mover.meta().epoch();
    let share = |number: u16| mover.meta().position(number).map_or(0.0, |p| epoch.weights[p]);
    let mut others: Vec<u16> =
        mover.local_partitions().filter(|p| p.active).map(|p| p.number).collect();
    others.retain(|number| !homes.contains(number));
    others.sort_by(|a, b| share(*b).total_cmp(&share(*a)).then(a.cmp(b)));
    let (least, most) = (homes.len().max(2), homes.len() + others.len());
    match usize::try_from(wanted) {
        Ok(wanted) if (least..=most).contains(&wanted) => {
            homes.extend(others.into_iter().take(wanted - homes.len()));
            Ok(homes)
        }
        Ok(wanted) if wanted >= 2 && wanted < least => Err(PssError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the key is spread over {} partitions", homes.len()),
        )
        .detail(format!("It has rows, or may have, in partitions {}.", listed(&homes)))
        .hint("To have fewer, run pss_unspread_key first: it brings the rows together.")),
        _ => Err(invalid_argument(format!(
            "a key of table {} can be spread over 2 to {most} partitions",
            mover.name()
        ))
        .hint("SELECT partition, state FROM pss.partitions shows which ones are active; they must be stored on this server.")),
    }
}

fn unspread(relation: Option<pg_sys::Oid>, key: Option<Key<'_>>) -> Result<i64> {
    let relation = movable(relation)?;
    let key = key.ok_or_else(|| null_argument("data_key"))?;
    let mut mover = Mover::open(relation)?;
    let hash = hash48(mover.meta().key.hash(key.datum(mover.meta())?));
    let Some(homes) = mover.table().homes_of(hash) else { return Ok(0) };
    let first_active = homes.iter().find(|&&home| mover.check_target(home.into()).is_ok());
    let to = first_active.or(homes.first()).copied().unwrap_or_default();
    bring_together(&mut mover, relation, hash, to)
}

/// Moves all rows of a spread key to one partition, its only home from then on; how many.
pub(super) fn bring_together(
    mover: &mut Mover,
    relation: pg_sys::Oid,
    hash48: u64,
    to: u16,
) -> Result<i64> {
    for home in mover.homes(hash48) {
        mover.check_local(home.into())?;
    }
    let began = Instant::now();
    loop {
        let first_mark = claims::marks();
        if mover.mark_any(hash48)?
            && let Some(carried) = mover.gather(hash48, to, first_mark)?
        {
            for part in carried.iter().filter(|part| part.moved.rows > 0) {
                batch::write_down(relation, (part.from, to), part.moved, part.cost, began)?;
            }
            let rows = carried.iter().map(|part| part.moved.rows).sum();
            let message = format!("{rows} rows of a spread key moved: all are in partition {to}");
            catalog::log_event(Some(relation), "unspread", &message, None)?;
            return Ok(rows);
        }
        claims::unmark_down_to(first_mark);
        if began.elapsed() > patience() {
            return Err(in_the_way(relation));
        }
        leaf::back_off();
    }
}

fn listed(homes: &[u16]) -> String {
    homes.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
