//! Turns a sharded table back into an ordinary one, with every row and under
//! the same name; nothing of ours is left.

use pgrx::pg_sys;

use super::children::{self, Storage};
use super::distribute::{copy_rows, notice};
use super::portrait::{Keys, Portrait};
use super::refuse;
use super::sql::{bare_name, free_name, ident, run, sibling};
use crate::catalog::{self, relation_name};
use crate::error::Result;

/// Undoes `pss_distribute_table`. Takes an exclusive lock and copies all rows.
pub fn undistribute(relation: pg_sys::Oid) -> Result<()> {
    let table = catalog::require_sharded_table(relation)?;
    let name = relation_name(relation);
    run(&format!("LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))?;
    refuse::no_room(relation, &name)?;
    refuse::dependents(relation, &name)?;
    let portrait = Portrait::of(relation, Keys::Strip)?;
    let storage = match table.partitions.first() {
        Some(partition) => Storage::of(partition.leaf)?,
        None => Storage::default(),
    };
    // Else the owner would not see all rows.
    run(&format!("ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY"))?;
    let bare = bare_name(relation)?;
    run(&format!("ALTER TABLE {name} RENAME TO {}", ident(free_name(&bare, "sharded", relation))))?;
    let old = relation_name(relation);
    let plain = plain_table(relation, &old, &bare, &storage)?;
    copy_rows(&old, &name, relation)?;
    portrait.take_sequences()?;
    children::forget(relation)?;
    run(&format!("DROP TABLE {old}"))?;
    portrait.continue_identities()?;
    portrait.make_keys()?;
    portrait.make_rest(plain)?;
    portrait.set_replica_identity(plain)?;
    catalog::log_event(
        Some(plain),
        "undistribute",
        &format!("table {name} is an ordinary table again"),
        None,
    )?;
    notice(format!("table {name} is an ordinary table again"));
    Ok(())
}

/// An ordinary table with the columns of `old`, without pss_partition. In two steps, so that not
/// even a dropped column is left.
fn plain_table(
    relation: pg_sys::Oid,
    old: &str,
    name: &str,
    storage: &Storage,
) -> Result<pg_sys::Oid> {
    const LIKE: &str = "INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS";
    let step = sibling(relation, &free_name(name, "step", relation))?;
    let plain = sibling(relation, name)?;
    run(&format!("CREATE TABLE {step} (LIKE {old} {LIKE})"))?;
    run(&format!("ALTER TABLE {step} DROP COLUMN pss_partition"))?;
    run(&format!("CREATE TABLE {plain} (LIKE {step} {LIKE}){}", storage.clause()))?;
    run(&format!("DROP TABLE {step}"))?;
    children::oid_of(&plain)
}
