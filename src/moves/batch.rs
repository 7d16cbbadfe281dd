//! One batch of keys, chosen in the order of the map and carried in the caller's transaction, and
//! the note of what was moved.

use std::time::Instant;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::call::movable;
use super::cost;
use super::mover::{Moved, Mover};
use crate::catalog::as_extension_owner;
use crate::error::Result;
use crate::shmem::claims;

/// Where a walk over the keys of a source is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Entry of the map to go on from.
    pub next_entry: i64,
    /// Keys of the source before it.
    pub passed: u64,
}

impl Place {
    /// Before the first key.
    pub const START: Place = Place { next_entry: i64::MIN, passed: 0 };
}

/// How a batch ended.
pub enum Batch {
    /// Moved; go on from there.
    Moved(Moved, Place),
    /// All its keys are being inserted: go on from there.
    Busy(Place),
    InTheWay,
    NothingLeft,
}

/// A key of the source that was marked.
struct Marked {
    hash: u64,
    /// Its place, and that behind it.
    after: Place,
}

/// Moves up to `n` keys of a partition to another, of those from `place` on that `choose` takes: it
/// is told how many keys of the source come before, and the key's hash.
pub fn carry(
    relation: pg_sys::Oid,
    (from, to): (i32, i32),
    n: usize,
    place: Place,
    choose: impl Fn(u64, u64) -> bool,
) -> Result<Batch> {
    let began = Instant::now();
    movable(Some(relation))?;
    let mut mover = Mover::open(relation)?;
    let (from, to) = (mover.check_local(from)?, mover.check_target(to)?);
    let first_mark = claims::marks();
    let mut marked: Vec<Marked> = Vec::with_capacity(n);
    let (mut seen, mut after, mut failed) = (None, None, None);
    let mut passed = place.passed;
    mover.map().walk(place.next_entry, |entry| {
        if entry.partition() != from || seen == Some(entry.hash48()) {
            return true;
        }
        seen = Some(entry.hash48());
        let chosen = choose(passed, entry.hash48());
        passed += 1;
        let here = Place { next_entry: entry.e.saturating_add(1), passed };
        after = Some(here);
        if chosen {
            match mover.mark(entry.hash48()) {
                Ok(true) => marked.push(Marked { hash: entry.hash48(), after: here }),
                Ok(false) => {}
                Err(e) => failed = Some(e),
            }
        }
        failed.is_none() && marked.len() < n
    });
    if let Some(e) = failed {
        return Err(e);
    }
    let Some(after) = after else { return Ok(Batch::NothingLeft) };
    if marked.is_empty() {
        return Ok(Batch::Busy(after));
    }
    let hashes: Vec<u64> = marked.iter().map(|key| key.hash).collect();
    let leaves = (mover.leaf(from), mover.leaf(to));
    let before = (cost::so_far(leaves.0)?, cost::so_far(leaves.1)?);
    let Some(moved) = mover.carry(&hashes, (from, to), first_mark)? else {
        claims::unmark_down_to(first_mark);
        return Ok(Batch::InTheWay);
    };
    let cost = (cost::so_far(leaves.0)? - before.0, cost::so_far(leaves.1)? - before.1);
    write_down(relation, (from, to), moved, cost, began)?;
    // Not all of them, if they have many rows.
    let all = moved.keys as usize == marked.len();
    let after = if all { after } else { marked[moved.keys as usize - 1].after };
    Ok(Batch::Moved(moved, after))
}

/// Writes down what was moved, with the cost units it caused on both partitions; it becomes true
/// with the transaction.
pub fn write_down(
    relation: pg_sys::Oid,
    (from, to): (u16, u16),
    moved: Moved,
    cost: (f64, f64),
    began: Instant,
) -> Result<()> {
    as_extension_owner(|| {
        Spi::run_with_args(
            "INSERT INTO pss.move (relation, from_partition, to_partition, keys, rows, bytes, seconds,
                                   from_cost, to_cost)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                relation.into(),
                i32::from(from).into(),
                i32::from(to).into(),
                (moved.keys as i64).into(),
                moved.rows.into(),
                moved.bytes.into(),
                began.elapsed().as_secs_f64().into(),
                cost.0.into(),
                cost.1.into(),
            ],
        )
    })?;
    Ok(())
}
