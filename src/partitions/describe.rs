//! What a table is, as far as making it sharded depends on it.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::sql::{one, required, rows};
use crate::catalog::relation_name;
use crate::error::{PssError, Result};

/// A table that is to be sharded.
pub struct Description {
    pub relation: pg_sys::Oid,
    /// Qualified and quoted.
    pub table: String,
    /// Without its schema.
    pub name: String,
    /// `pg_class.relkind`, `relpersistence`.
    pub kind: char,
    pub persistence: char,
    pub is_partition: bool,
    pub is_typed: bool,
    /// Of a system schema, of schema pss, or a member of an extension.
    pub is_system: bool,
    pub key: Key,
}

/// The column that is to be the distribution column.
pub struct Key {
    pub name: String,
    pub attribute: i16,
    pub type_oid: pg_sys::Oid,
    pub collation: pg_sys::Oid,
    pub deterministic: bool,
    pub generated: bool,
    pub not_null: bool,
}

impl Description {
    /// Reads the catalogs; 42703 if there is no such column.
    pub fn of(relation: pg_sys::Oid, column: &str) -> Result<Self> {
        let table = relation_name(relation);
        let key = key(relation, &table, column)?;
        let mut found = rows(TABLE, &[relation.into()], |row| {
            let character = |column| -> Result<char> {
                Ok(required::<String>(row, column)?.chars().next().unwrap_or(' '))
            };
            Ok((
                required::<String>(row, 1)?,
                character(2)?,
                character(3)?,
                [required(row, 4)?, required(row, 5)?, required(row, 6)?],
            ))
        })?;
        let Some((name, kind, persistence, [is_partition, is_typed, is_system])) = found.pop()
        else {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
                format!("table {table} does not exist"),
            ));
        };
        Ok(Self {
            relation,
            table,
            name,
            kind,
            persistence,
            is_partition,
            is_typed,
            is_system,
            key,
        })
    }

    /// Whether the table has no rows. Row security must not hide them from the current user.
    pub fn is_empty(&self) -> Result<bool> {
        let query = format!("SELECT NOT EXISTS (SELECT FROM {})", self.table);
        Ok(one::<bool>(&query, &[])?.unwrap_or(false))
    }

    /// Expected number of keys: from statistics, or every row as one.
    pub fn expected_keys(&self) -> Result<f64> {
        let rows = match one::<f64>(ROWS, &[self.relation.into()])? {
            Some(rows) => rows,
            None => one::<f64>(&format!("SELECT count(*)::float8 FROM {}", self.table), &[])?
                .unwrap_or(0.0),
        };
        let distinct = one::<f64>(DISTINCT, &[self.relation.into(), self.key.attribute.into()])?;
        Ok(match distinct {
            Some(d) if d > 0.0 => d.min(rows),
            Some(d) if d < 0.0 => -d * rows,
            _ => rows,
        })
    }
}

fn key(relation: pg_sys::Oid, table: &str, column: &str) -> Result<Key> {
    let key = rows(KEY, &[relation.into(), column.into()], |row| {
        Ok(Key {
            name: column.to_owned(),
            attribute: required(row, 1)?,
            type_oid: required(row, 2)?,
            collation: required(row, 3)?,
            deterministic: required(row, 4)?,
            generated: required(row, 5)?,
            not_null: required(row, 6)?,
        })
    })?;
    key.into_iter().next().ok_or_else(|| {
        PssError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            format!("column \"{column}\" of table {table} does not exist"),
        )
        .hint(format!("Name the column whose value is the data key; \\d {table} lists them."))
    })
}

const TABLE: &str = "
    SELECT relname::text, relkind::text, relpersistence::text, relispartition, reloftype <> 0,
           n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'pss')
           OR EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
                                              AND deptype = 'e')
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE c.oid = $1";

const KEY: &str = "
    SELECT attnum, atttypid, attcollation, COALESCE(collisdeterministic, true),
           attgenerated <> '', attnotnull
    FROM pg_attribute LEFT JOIN pg_collation c ON c.oid = attcollation
    WHERE attrelid = $1 AND attname = $2 AND attnum > 0 AND NOT attisdropped";

/// Rows as the planner would estimate them; NULL where that is not known well.
const ROWS: &str = "
    SELECT reltuples / relpages * pg_relation_size(oid) / current_setting('block_size')::float8
    FROM pg_class WHERE oid = $1 AND relpages >= 10 AND reltuples > 0";

const DISTINCT: &str = "
    SELECT s.n_distinct::float8
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid
    JOIN pg_stats s ON s.schemaname = nspname AND s.tablename = relname AND s.attname = a.attname
    WHERE c.oid = $1 AND a.attnum = $2 AND NOT inherited";
