//! Turns an ordinary table into a sharded one.
//!
//! A table cannot become partitioned under its OID: a new parent takes its name
//! and everything that is not rows (`portrait`). Attached, the old heap becomes
//! partition 0 as it is; copied, every row is routed. All in one transaction,
//! under an exclusive lock taken before the first check.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::children::{self, Storage};
use super::describe::Description;
use super::portrait::{Keys, Portrait, strip_grants};
use super::request::{Existing, Request};
use super::sql::{free_name, ident, lock_extension, one, run, sibling, texts};
use super::{adopt, rebuild, refuse};
use crate::catalog::{self, Mapping, as_extension_owner, relation_name};
use crate::error::{Result, not_preloaded};
use crate::{map, shmem};

/// Largest number of keys whose map is built before the call returns.
const BUILD_AT_ONCE: f64 = 100_000.0;

/// Makes the table of `request` a sharded table; returns it.
pub fn distribute(request: &Request) -> Result<pg_sys::Oid> {
    if !shmem::available() {
        return Err(not_preloaded());
    }
    let name = relation_name(request.relation);
    refuse::wrong_kind(&Description::of(request.relation, &request.column)?)?;
    run(&format!("LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))?;
    lock_extension();
    // Under the lock: what is read from here on stays true.
    let table = Description::of(request.relation, &request.column)?;
    refuse::wrong_kind(&table)?;
    refuse::no_room(table.relation, &table.table)?;
    refuse::unfit_key(&table)?;
    if table.kind == 'p' {
        return adopt::adopt(&table, request);
    }
    refuse::unkeepable(&table)?;
    refuse::unkeepable_keys(&table, request)?;
    convert(&table, request)
}

fn convert(table: &Description, request: &Request) -> Result<pg_sys::Oid> {
    let portrait = Portrait::of(table.relation, Keys::Extend)?;
    // Else the owner would not see all rows.
    run(&format!("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", table.table))?;
    refuse::null_keys(table)?;
    let map_bytes = refuse::oversized(table, request.mapping)?;
    let empty = table.is_empty()?;
    // In slot mode no key is looked up, not even while the homes are being made.
    if !empty && request.existing == Existing::Attach && request.mapping == Mapping::Row {
        refuse::attach_without_index(table)?;
    }
    if !table.key.not_null {
        notice(format!("distribution column \"{}\" is now NOT NULL", table.key.name));
        run(&format!(
            "ALTER TABLE {} ALTER COLUMN {} SET NOT NULL",
            table.table,
            ident(&table.key.name)
        ))?;
    }
    let parent = if empty || request.existing == Existing::Attach {
        attached(table, &portrait, request, empty)?
    } else {
        copied(table, &portrait, request, map_bytes)?
    };
    portrait.continue_identities()?;
    portrait.make_rest(parent)?;
    portrait.set_replica_identity(parent)?;
    for leaf in children_of(parent)? {
        portrait.set_replica_identity(leaf)?;
    }
    children::make_guard(parent)?;
    report(table, request, parent, empty, map_bytes)?;
    Ok(parent)
}

/// The old heap becomes partition 0.
fn attached(
    table: &Description,
    portrait: &Portrait,
    request: &Request,
    empty: bool,
) -> Result<pg_sys::Oid> {
    let storage = Storage::of(table.relation)?;
    let heap = table.relation;
    undress(heap, portrait)?;
    run(&format!(
        "ALTER TABLE {} RENAME TO {}",
        table.table,
        ident(free_name(&table.name, "p0", heap))
    ))?;
    let heap_name = relation_name(heap);
    // A constant default: no rewrite. New rows are not routed yet.
    run(&format!("ALTER TABLE {heap_name} ADD COLUMN pss_partition int NOT NULL DEFAULT 0"))?;
    run(&format!("ALTER TABLE {heap_name} ALTER COLUMN pss_partition SET DEFAULT -1"))?;
    let parent = new_parent(table, &heap_name, "")?;
    portrait.take_sequences()?;
    for column in texts(IDENTITY_COLUMNS, &[heap.into()])? {
        run(&format!("ALTER TABLE {heap_name} ALTER COLUMN {column} DROP IDENTITY"))?;
    }
    portrait.make_keys()?;
    run(&format!("ALTER TABLE {} ATTACH PARTITION {heap_name} FOR VALUES IN (0)", table.table))?;
    let mut leaves = vec![(0, heap)];
    leaves.extend(new_leaves(parent, 1..request.partitions, &storage)?);
    complete(request, parent, &leaves, empty)?;
    Ok(parent)
}

/// Every row goes through the router.
fn copied(
    table: &Description,
    portrait: &Portrait,
    request: &Request,
    map_bytes: f64,
) -> Result<pg_sys::Oid> {
    let storage = Storage::of(table.relation)?;
    estimate(table, request.mapping, map_bytes)?;
    let old = table.relation;
    run(&format!(
        "ALTER TABLE {} RENAME TO {}",
        table.table,
        ident(free_name(&table.name, "old", old))
    ))?;
    let old_name = relation_name(old);
    let parent = new_parent(table, &old_name, ", pss_partition int NOT NULL DEFAULT -1")?;
    let leaves = new_leaves(parent, 0..request.partitions, &storage)?;
    complete(request, parent, &leaves, true)?;
    copy_rows(&old_name, &table.table, old)?;
    portrait.take_sequences()?;
    run(&format!("DROP TABLE {old_name}"))?;
    portrait.make_keys()?;
    Ok(parent)
}

/// Copies all rows of `source` (columns of `like` but for pss_partition and generated ones).
pub fn copy_rows(source: &str, target: &str, like: pg_sys::Oid) -> Result<()> {
    let columns = copied_columns(like)?;
    run(&format!(
        "INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {source}"
    ))
}

/// Names of the columns that carry a row's data, quoted, in a list.
pub fn copied_columns(relation: pg_sys::Oid) -> Result<String> {
    Ok(texts(COPIED_COLUMNS, &[relation.into()])?.join(", "))
}

/// Frees the heap of what the parent takes over, and the names that the parent's will have.
fn undress(heap: pg_sys::Oid, portrait: &Portrait) -> Result<()> {
    let name = relation_name(heap);
    for trigger in &portrait.triggers {
        run(&format!("DROP TRIGGER {} ON {name}", ident(trigger)))?;
    }
    for policy in &portrait.policies {
        run(&format!("DROP POLICY {} ON {name}", ident(policy)))?;
    }
    // They may have owners of their own; they are part of the table all the same.
    as_extension_owner(|| {
        portrait.statistics.iter().try_for_each(|object| run(&format!("DROP STATISTICS {object}")))
    })?;
    for index in &portrait.indexes {
        if index.constraint {
            run(&format!("ALTER TABLE {name} DROP CONSTRAINT {}", ident(&index.name)))?;
        } else if index.unique {
            run(&format!("DROP INDEX {}", relation_name(index.oid)))?;
        } else {
            let free = free_name(&index.name, "p0", heap);
            run(&format!("ALTER INDEX {} RENAME TO {}", relation_name(index.oid), ident(&free)))?;
        }
    }
    run(&format!("ALTER TABLE {name} DISABLE ROW LEVEL SECURITY"))?;
    strip_grants(heap)?;
    for column in texts(COLUMNS_WITH_GRANTS, &[heap.into()])? {
        run(&column)?;
    }
    Ok(())
}

fn new_parent(table: &Description, like: &str, more: &str) -> Result<pg_sys::Oid> {
    let name = sibling(table.relation, &table.name)?;
    run(&format!(
        "CREATE TABLE {name} (LIKE {like} INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS{more})
         PARTITION BY LIST (pss_partition)"
    ))?;
    children::oid_of(&name)
}

fn new_leaves(
    parent: pg_sys::Oid,
    numbers: std::ops::Range<i32>,
    storage: &Storage,
) -> Result<Vec<(i32, pg_sys::Oid)>> {
    numbers
        .map(|number| Ok((number, children::make(parent, &format!("p{number}"), number, storage)?)))
        .collect()
}

/// The inbox, the catalog, the map, our triggers.
fn complete(
    request: &Request,
    parent: pg_sys::Oid,
    leaves: &[(i32, pg_sys::Oid)],
    empty: bool,
) -> Result<()> {
    let inbox = children::make(parent, "inbox", -1, &Storage::default())?;
    children::register(parent, request, leaves)?;
    map::set_complete(parent, empty)?;
    children::make_triggers(parent, inbox, &request.column)
}

fn children_of(parent: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    super::sql::rows(
        "SELECT inhrelid FROM pg_inherits WHERE inhparent = $1 ORDER BY inhrelid",
        &[parent.into()],
        |row| super::sql::required(row, 1),
    )
}

/// Says before the work begins what it will take.
fn estimate(table: &Description, mapping: Mapping, map_bytes: f64) -> Result<()> {
    let bytes = one::<i64>("SELECT pg_total_relation_size($1)", &[table.relation.into()])?;
    notice(format!(
        "copying table {}: {} twice on disk until commit, about as much WAL, {}",
        table.table,
        pretty_size(bytes.unwrap_or(0) as f64)?,
        map_size(mapping, map_bytes)?
    ));
    Ok(())
}

/// What is stored beside the rows.
fn map_size(mapping: Mapping, map_bytes: f64) -> Result<String> {
    Ok(match mapping {
        Mapping::Row => format!("row map about {}", pretty_size(map_bytes)?),
        Mapping::Slot => "no row map".into(),
    })
}

fn pretty_size(bytes: f64) -> Result<String> {
    let pretty = one::<String>("SELECT pg_size_pretty($1::int8)", &[(bytes as i64).into()])?;
    Ok(pretty.unwrap_or_default())
}

fn report(
    table: &Description,
    request: &Request,
    parent: pg_sys::Oid,
    empty: bool,
    map_bytes: f64,
) -> Result<()> {
    let name = &table.table;
    let n = request.partitions;
    catalog::log_event(
        Some(parent),
        "distribute",
        &format!("table {name} distributed by \"{}\" over {n} partitions", request.column),
        None,
    )?;
    let made = format!("table {name} distributed by \"{}\" over {n} partitions", request.column);
    if empty {
        let stored = match request.mapping {
            Mapping::Row => {
                format!("its row map will take about {:.0} bytes a key", map::BYTES_PER_KEY)
            }
            Mapping::Slot => "mapped by slot, nothing is stored per key".into(),
        };
        notice_hint(
            format!("{made}; {stored}"),
            "Insert rows as before; SELECT * FROM pss.partitions shows load and forecast.".into(),
        );
        return Ok(());
    }
    let size = map_size(request.mapping, map_bytes)?;
    if request.existing == Existing::Copy {
        notice(format!("{made}, all rows routed; {size}"));
        return Ok(());
    }
    notice(format!("{made}, its rows are partition 0; {size}"));
    build_map(parent, table, request.mapping, map_bytes)
}

/// Builds the map of a table that has rows, now if that is quick. By slot every row is read, but
/// little is written.
pub fn build_map(
    parent: pg_sys::Oid,
    table: &Description,
    mapping: Mapping,
    map_bytes: f64,
) -> Result<()> {
    let quick = match mapping {
        Mapping::Row => map_bytes / map::BYTES_PER_KEY <= BUILD_AT_ONCE,
        Mapping::Slot => table.expected_keys()? <= BUILD_AT_ONCE,
    };
    if quick {
        rebuild::rebuild(parent)?;
        return Ok(());
    }
    let what = match mapping {
        Mapping::Row => "the row map of table",
        Mapping::Slot => "the list of homes of table",
    };
    notice_hint(
        format!("{what} {} is not built yet", table.table),
        format!(
            "Look-ups by key open all partitions until the worker has built it. To build it now, run SELECT pss_rebuild_map({}).",
            super::sql::literal(&table.table)
        ),
    );
    Ok(())
}

/// NOTICE: what a command did beyond its result.
pub fn notice(message: String) {
    ereport!(PgLogLevel::NOTICE, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message);
}

fn notice_hint(message: String, hint: String) {
    pgrx::pg_sys::panic::ErrorReport::new(
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        message,
        "pss",
    )
    .set_hint(hint)
    .report(PgLogLevel::NOTICE);
}

const IDENTITY_COLUMNS: &str = "
    SELECT quote_ident(attname) FROM pg_attribute
    WHERE attrelid = $1 AND attidentity <> '' AND NOT attisdropped ORDER BY attnum";

const COPIED_COLUMNS: &str = "
    SELECT quote_ident(attname) FROM pg_attribute
    WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
      AND attname <> 'pss_partition' ORDER BY attnum";

const COLUMNS_WITH_GRANTS: &str = "
    SELECT DISTINCT format('REVOKE ALL (%I) ON %s FROM %s', attname, attrelid::regclass,
                           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
    FROM pg_attribute, aclexplode(attacl)
    WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped";
