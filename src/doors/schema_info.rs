//! `schema_info` of the founding signature: a JSON object that names the table
//! and may describe its columns, from which a missing size is estimated.

use std::collections::BTreeMap;
use std::ffi::CString;

use pgrx::pg_sys;
use pgrx::prelude::*;
use serde::Deserialize;

use crate::error::{PssError, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with a \"table\"")]
pub struct SchemaInfo {
    /// The sharded table, as it would be written in SQL.
    pub table: String,
    #[serde(default)]
    columns: BTreeMap<String, Column>,
}

/// `{"type": "text", "width": 200}`; both optional.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with \"type\" and \"width\"")]
struct Column {
    #[serde(rename = "type")]
    type_name: Option<String>,
    /// Mean width in bytes.
    width: Option<u32>,
}

/// Per-row overhead of a heap tuple: header and line pointer, in bytes.
const TUPLE_OVERHEAD: u64 = 28;

impl SchemaInfo {
    pub fn parse(json: serde_json::Value) -> Result<Self> {
        // An array would be taken for the fields in their order.
        if !json.is_object() {
            return Err(not_understood("It is not a JSON object."));
        }
        serde_json::from_value(json)
            .map_err(|e| not_understood(&format!("The JSON does not have the expected form: {e}.")))
    }

    pub fn parse_text(json: &str) -> Result<Self> {
        let json = serde_json::from_str(json)
            .map_err(|e| not_understood(&format!("It is not valid JSON: {e}.")))?;
        Self::parse(json)
    }

    /// The table it names (42P01 if there is none).
    pub fn relation(&self) -> Result<pg_sys::Oid> {
        relation_named(&self.table).map_err(|e| e.detail("It is the \"table\" of schema_info."))
    }

    /// Size of a row in bytes, if any column is described.
    pub fn row_bytes(&self) -> Result<Option<u64>> {
        if self.columns.is_empty() {
            return Ok(None);
        }
        let mut total = TUPLE_OVERHEAD;
        for (name, column) in &self.columns {
            total += match (column.width, &column.type_name) {
                (Some(width), _) => u64::from(width),
                (None, Some(type_name)) => type_width(name, type_name)?,
                (None, None) => 0,
            };
        }
        Ok(Some(total))
    }
}

fn not_understood(why: &str) -> PssError {
    PssError::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "schema_info is not understood")
        .detail(why)
        .hint(r#"Give {"table": "name"}, and optionally "columns": {"column": {"type": "text", "width": 100}}."#)
}

/// The relation of a name as it would be written in SQL (42P01 if there is none).
pub fn relation_named(name: &str) -> Result<pg_sys::Oid> {
    let found = match name.trim() {
        "" => None,
        name => Spi::get_one_with_args::<pg_sys::Oid>(
            "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid",
            &[name.into()],
        )?,
    };
    found.ok_or_else(|| {
        PssError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("relation \"{name}\" does not exist"),
        )
        .hint("SELECT relation FROM pss.tables lists the sharded tables.")
    })
}

fn type_width(column: &str, type_name: &str) -> Result<u64> {
    let unknown = || {
        PssError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("type \"{type_name}\" does not exist"),
        )
        .detail(format!("It is the type of column \"{column}\" in schema_info."))
        .hint("Name a type of this database, or give the column's \"width\" in bytes.")
    };
    if CString::new(type_name).is_err() {
        return Err(unknown());
    }
    let found = Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT pg_catalog.to_regtype($1)::pg_catalog.oid",
        &[type_name.into()],
    )?;
    let type_oid = found.ok_or_else(unknown)?;
    // SAFETY: a catalog look-up of an existing type.
    Ok(unsafe { pg_sys::get_typavgwidth(type_oid, -1) }.max(0) as u64)
}
