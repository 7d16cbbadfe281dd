//! Choosing the children of PssAppend that can hold rows of the keys asked for.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::node::{AppendState, Branch};
use crate::error::{OrRaise, Result};
use crate::guc;
use crate::homes::{Homes, Reader};
use crate::key::KeyType;
use crate::meta::{self, Meta};

/// Chooses the children for a scan; `value` is a key, or an array of keys.
///
/// # Safety
/// A running node of ours, and a value of its expression's type.
#[pg_guard]
pub unsafe extern "C-unwind" fn choose(state: *mut AppendState, value: pg_sys::Datum, null: bool) {
    // SAFETY: as stated.
    unsafe {
        let state = &mut *state;
        if null {
            // No row's key equals NULL, and none equals any key of a NULL array.
            state.branches_mut().iter_mut().for_each(|b| b.chosen = false);
            return;
        }
        let known = choose_homes(state, value);
        let several = || state.branches().iter().filter(|b| b.chosen).nth(1).is_some();
        if !known || state.head.is_ordered && several() {
            state.choose_all();
        }
    }
}

/// Chooses the homes of the keys; false: they are not known.
unsafe fn choose_homes(state: &mut AppendState, value: pg_sys::Datum) -> bool {
    // SAFETY: the executor's state of the running node.
    unsafe {
        let estate = state.css.ss.ps.state;
        // A plan that is run once more for a row which has changed meanwhile must meet that row
        // wherever it is; the other partitions give nothing then.
        if !guc::PRUNE.get() || !(*estate).es_epq_active.is_null() {
            return false;
        }
        let Some(meta) = meta::table(state.head.relation).or_raise() else { return false };
        if state.reader.is_none() {
            state.reader = Some(Reader::open(&meta, (*estate).es_snapshot, (*estate).es_query_cxt));
        }
        let hashes = hashes(state, &meta, value).or_raise();
        for branch in state.branches_mut() {
            branch.chosen = false;
        }
        let mut partitions = state.branches().iter().filter(|b| b.child.partition >= 0).count();
        let any = !hashes.is_empty();
        for hash in hashes {
            if partitions == 0 {
                break;
            }
            let Some(Homes::In(homes)) = state.reader.as_ref().map(|r| r.homes(&meta, hash)) else {
                return false;
            };
            for home in homes {
                // A home that the planner has excluded has no rows for this statement.
                let at =
                    state.branches_mut().iter_mut().find(|b| b.child.partition == i32::from(home));
                if let Some(branch) = at.filter(|b| !b.chosen) {
                    branch.chosen = true;
                    partitions -= 1;
                }
            }
        }
        if any {
            state.branches_mut().iter_mut().filter(|b| b.child.is_inbox()).for_each(choose_inbox);
        }
        true
    }
}

/// The inbox is empty, unless somebody has taken its trigger away. A file without a block tells.
fn choose_inbox(branch: &mut Branch) {
    // SAFETY: the plan holds a lock on the relation.
    branch.chosen = unsafe {
        let relation = pg_sys::table_open(branch.child.relation, pg_sys::NoLock as i32);
        let stored = (*(*relation).rd_rel).relkind as u8 == pg_sys::RELKIND_RELATION;
        let blocks = if stored {
            pg_sys::RelationGetNumberOfBlocksInFork(relation, pg_sys::ForkNumber::MAIN_FORKNUM)
        } else {
            1
        };
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        blocks > 0
    };
}

/// The hashes of the keys asked for, each once; NULL is none.
unsafe fn hashes(state: &AppendState, meta: &Meta, value: pg_sys::Datum) -> Result<Vec<u64>> {
    let key = if state.head.other_type == pg_sys::InvalidOid {
        meta.key
    } else {
        KeyType::new(state.head.other_type, meta.key.collation)?
    };
    if !state.head.is_array {
        return Ok(vec![key.hash(value)]);
    }
    // SAFETY: an array of values of the key's type.
    let keys = unsafe {
        let array = pg_sys::pg_detoast_datum(value.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let (mut length, mut by_value, mut align) = (0, false, 0);
        let of = (*array).elemtype;
        pg_sys::get_typlenbyvalalign(of, &mut length, &mut by_value, &mut align);
        let (mut values, mut nulls) = (std::ptr::null_mut(), std::ptr::null_mut());
        let mut n = 0;
        pg_sys::deconstruct_array(
            array,
            of,
            length.into(),
            by_value,
            align,
            &mut values,
            &mut nulls,
            &mut n,
        );
        (0..n as usize).filter(move |i| !*nulls.add(*i)).map(move |i| *values.add(i))
    };
    let mut hashes: Vec<u64> = keys.map(|value| key.hash(value)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    Ok(hashes)
}
