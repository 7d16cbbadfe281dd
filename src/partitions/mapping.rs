//! Changing how a table's keys are mapped, and what slot mode cannot keep.
//!
//! A change reads every row under an exclusive lock: no writer may place rows by one mapping while
//! the other's map is made, and no reader may hold the map that goes. No row is moved.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::check;
use super::describe::Description;
use super::distribute::notice;
use super::rebuild;
use super::refuse;
use super::sql::{ident, one, required, rows, run, texts};
use crate::catalog::{self, Mapping, ShardedTable, as_extension_owner, relation_name};
use crate::error::{PssError, Result, invalid_argument};
use crate::map;
use crate::multi_home;

/// Where unique keys hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniqueScope {
    Table,
    Partition,
}

impl UniqueScope {
    /// The scope of this name in SQL, or 22023.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "table" => Ok(Self::Table),
            "partition" => Ok(Self::Partition),
            other => Err(invalid_argument(format!("unknown unique scope \"{other}\""))
                .hint("Use unique_scope => 'table' or unique_scope => 'partition'.")),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Partition => "partition",
        }
    }
}

/// The mapping of this name, or 22023.
pub fn parse(name: &str) -> Result<Mapping> {
    Mapping::from_name(name).ok_or_else(|| {
        invalid_argument(format!("unknown mapping \"{name}\""))
            .hint("Use mapping => 'row' or mapping => 'slot'.")
    })
}

/// Refuses a scope that the mapping does not have: in row mode a key has one home.
pub fn check_scope(mapping: Mapping, scope: UniqueScope) -> Result<()> {
    if mapping == Mapping::Slot || scope == UniqueScope::Table {
        return Ok(());
    }
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "unique keys hold over the whole table with mapping \"row\"",
    )
    .hint("Leave out unique_scope, or use mapping => 'slot'."))
}

/// Refuses unique keys in slot mode unless they were allowed; then says what is lost.
pub fn refuse_unique(relation: pg_sys::Oid, scope: UniqueScope) -> Result<()> {
    let keys = texts(UNIQUE_KEYS, &[relation.into()])?;
    if keys.is_empty() {
        return Ok(());
    }
    let table = relation_name(relation);
    if scope == UniqueScope::Partition {
        notice(format!(
            "unique keys of {table} hold within each partition only: {}. Rows of one key may be in several partitions, where neither duplicates nor ON CONFLICT find each other.",
            keys.join(", ")
        ));
        return Ok(());
    }
    Err(unique_in_slot_mode(&table, &keys))
}

/// Refuses to spread a key of a table with unique keys unless that was allowed; then says what is lost.
pub fn refuse_unique_of_spread(relation: pg_sys::Oid, scope: UniqueScope) -> Result<()> {
    let keys = texts(UNIQUE_KEYS, &[relation.into()])?;
    if keys.is_empty() {
        return Ok(());
    }
    let table = relation_name(relation);
    if scope == UniqueScope::Partition {
        notice(format!(
            "unique keys of {table} hold for rows of this key within each partition only: {}. Neither duplicates nor ON CONFLICT find a row in another of its partitions.",
            keys.join(", ")
        ));
        return Ok(());
    }
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("unique keys of {table} cannot be kept for a key that is spread: {}", keys.join(", ")),
    )
    .detail("Its rows are in several partitions, and a unique key is checked within each partition only.")
    .hint("Where other columns keep rows apart anyway (an identity, say), give it up for this key: unique_scope => 'partition'."))
}

fn unique_in_slot_mode(table: &str, keys: &[String]) -> PssError {
    PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("unique keys of {table} cannot be kept with mapping \"slot\": {}", keys.join(", ")),
    )
    .detail("Rows of one key may be in several partitions, and a unique key is checked within each partition only.")
    .hint("Use mapping => 'row', or give up uniqueness over the table: unique_scope => 'partition'.")
}

/// The error (0A000) that a table in slot mode got a unique key.
pub fn refuse_new_unique() -> Result<()> {
    let found = as_extension_owner(|| {
        rows(NEW_UNIQUE_KEYS, &[], |row| {
            Ok((required::<pg_sys::Oid>(row, 1)?, required::<String>(row, 2)?))
        })
    })?;
    let Some((relation, key)) = found.into_iter().next() else { return Ok(()) };
    let table = relation_name(relation);
    if catalog::require_sharded_table(relation)?.mapping == Mapping::Row {
        return Err(PssError::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("unique key {key} of {table} cannot be kept: the table has keys that are spread"),
        )
        .detail("Rows of such a key are in several partitions, and a unique key is checked within each partition only.")
        .hint("Bring their rows together with pss_unspread_key first; SELECT * FROM pss.multi_home lists them."));
    }
    Err(unique_in_slot_mode(&table, &[key]).hint(format!(
        "Run SELECT pss_alter_table({}, mapping => 'row') first, or, to give up uniqueness over the table, unique_scope => 'partition'.",
        super::sql::literal(&table)
    )))
}

/// Changes mapping and unique scope of a table; `None`: unchanged. To name slot mode again makes
/// the homes anew: those without rows are forgotten.
pub fn alter(
    relation: pg_sys::Oid,
    mapping: Option<Mapping>,
    scope: Option<UniqueScope>,
) -> Result<()> {
    let name = relation_name(relation);
    run(&format!("LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))?;
    let table = catalog::require_sharded_table(relation)?;
    let to = mapping.unwrap_or(table.mapping);
    let scope = match scope {
        Some(scope) => scope,
        None if to == Mapping::Row => UniqueScope::Table,
        None => scope_of(relation)?,
    };
    check_scope(to, scope)?;
    match to {
        Mapping::Slot => refuse_unique(relation, scope)?,
        Mapping::Row if table.mapping == Mapping::Slot => fit_for_row_mode(&table)?,
        Mapping::Row => return Ok(()),
    }
    as_extension_owner(|| {
        Spi::run_with_args(
            "UPDATE pss.sharded_table SET mapping = $2, unique_scope = $3
             WHERE relation OPERATOR(pg_catalog.=) $1",
            &[relation.into(), to.name().into(), scope.name().into()],
        )
    })?;
    map::forget_cached(relation);
    if mapping.is_none() {
        return Ok(());
    }
    // Slots have homes, keys have none.
    multi_home::clear(relation)?;
    map::drop_map(relation)?;
    crate::shmem::tables::invalidate_cache(relation);
    rebuild::rebuild(relation)?;
    let message = format!("mapping of {name} is now {}", to.name());
    catalog::log_event(Some(relation), "alter", &message, None)?;
    report(&message, relation)
}

fn report(message: &str, relation: pg_sys::Oid) -> Result<()> {
    let table = catalog::require_sharded_table(relation)?;
    if table.mapping == Mapping::Row {
        notice(message.into());
        return Ok(());
    }
    let (mean, most) = map::slots::history(&table)?.widths();
    notice(format!(
        "{message}; look-ups by key open {mean:.1} of {} partitions, at most {most}",
        table.partitions.len()
    ));
    Ok(())
}

fn scope_of(relation: pg_sys::Oid) -> Result<UniqueScope> {
    let name = one::<String>(
        "SELECT unique_scope FROM pss.sharded_table WHERE relation = $1",
        &[relation.into()],
    )?;
    name.map_or(Ok(UniqueScope::Table), |name| UniqueScope::parse(&name))
}

/// Refuses what row mode cannot have: keys with rows in several partitions, unique keys without the
/// distribution column, a map that is too large.
fn fit_for_row_mode(table: &ShardedTable) -> Result<()> {
    let description = Description::of(table.relation, &table.distribution_column)?;
    refuse::unique_without_key(&description)?;
    refuse::oversized_map(&description)?;
    let key = ident(&table.distribution_column);
    let located = check::existing(table)?
        .iter()
        .map(|(n, leaf)| {
            format!(
                "SELECT DISTINCT {key} AS key, {n} AS partition FROM ONLY {}",
                relation_name(*leaf)
            )
        })
        .collect::<Vec<_>>()
        .join(" UNION ALL ");
    let split = rows(&SPLIT.replace("<located>", &located), &[], |row| {
        Ok((required::<i64>(row, 1)?, row.get::<String>(2)?, row.get::<String>(3)?))
    })?;
    let Some((keys @ 1.., Some(key), Some(homes))) = split.into_iter().next() else {
        return Ok(());
    };
    let name = &description.table;
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("{keys} keys of {name} have rows in more than one partition"),
    )
    .detail(format!("Such as '{key}' in partitions {homes}. With mapping \"row\" a key has one home."))
    .hint(format!(
        "To bring the rows of each key together, run SELECT pss_undistribute_table({n}), then pss_distribute_table({n}, {}, existing => 'copy').",
        super::sql::literal(&table.distribution_column),
        n = super::sql::literal(name),
    )))
}

const SPLIT: &str = "
    WITH located AS (<located>),
         split AS (SELECT key::text, string_agg(partition::text, ', ' ORDER BY partition) AS homes
                   FROM located GROUP BY key HAVING count(*) > 1)
    SELECT count(*), min(key), (array_agg(homes ORDER BY key))[1] FROM split";

const UNIQUE_KEYS: &str = "
    SELECT indexrelid::regclass::text FROM pg_index
    WHERE indrelid = $1 AND indisunique ORDER BY 1";

const NEW_UNIQUE_KEYS: &str = "
    SELECT indrelid, indexrelid::pg_catalog.regclass::pg_catalog.text
    FROM pss.sharded_table t
    JOIN pg_catalog.pg_index ON indrelid OPERATOR(pg_catalog.=) t.relation::pg_catalog.oid
    WHERE (t.mapping OPERATOR(pg_catalog.=) 'slot' AND t.unique_scope OPERATOR(pg_catalog.=) 'table'
           OR EXISTS (SELECT FROM pss.multi_home h WHERE h.relation OPERATOR(pg_catalog.=) t.relation
                                                     AND h.unique_scope OPERATOR(pg_catalog.=) 'table'))
      AND indisunique LIMIT 1";
