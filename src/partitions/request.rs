//! What `pss_distribute_table` was asked for, checked as far as that goes
//! without looking at the table.

use pgrx::prelude::*;

use super::mapping::{self, UniqueScope};
use crate::catalog::Mapping;
use crate::error::{PssError, Result, invalid_argument, null_argument};

/// Most partitions of one table.
pub const MAX_PARTITIONS: i32 = 1024;

/// What happens to the rows that a table already has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// The table becomes partition 0 as it is.
    Attach,
    /// Every row is routed.
    Copy,
}

/// A checked request.
#[derive(Debug)]
pub struct Request {
    pub relation: pgrx::pg_sys::Oid,
    pub column: String,
    pub partitions: i32,
    pub mapping: Mapping,
    pub existing: Existing,
    pub unique_scope: UniqueScope,
}

/// Arguments as they come from SQL; any may be NULL.
pub struct Arguments<'a> {
    pub relation: Option<pgrx::pg_sys::Oid>,
    pub column: Option<&'a str>,
    pub partitions: Option<i32>,
    pub mapping: Option<&'a str>,
    pub existing: Option<&'a str>,
    pub nodes: Option<Vec<String>>,
    pub colocate_with: Option<pgrx::pg_sys::Oid>,
    pub unique_scope: Option<&'a str>,
}

impl Request {
    /// Checks the arguments (22004 for NULL, 22023 for a bad value, 0A000 for what this version
    /// does not do).
    pub fn new(arguments: Arguments<'_>) -> Result<Self> {
        let relation = arguments.relation.ok_or_else(|| null_argument("relation"))?;
        let column =
            arguments.column.ok_or_else(|| null_argument("distribution_column"))?.to_owned();
        let partitions = arguments.partitions.ok_or_else(|| null_argument("partitions"))?;
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(invalid_argument(format!(
                "number of partitions {partitions} is out of range"
            ))
            .detail(format!("A table has 1 to {MAX_PARTITIONS} partitions.")));
        }
        let mapping = mapping::parse(arguments.mapping.ok_or_else(|| null_argument("mapping"))?)?;
        let scope = arguments.unique_scope.ok_or_else(|| null_argument("unique_scope"))?;
        let unique_scope = UniqueScope::parse(scope)?;
        mapping::check_scope(mapping, unique_scope)?;
        let existing = match arguments.existing.ok_or_else(|| null_argument("existing"))? {
            "attach" => Existing::Attach,
            "copy" => Existing::Copy,
            other => {
                return Err(invalid_argument(format!(
                    "unknown way to treat existing rows: \"{other}\""
                ))
                .hint("Use existing => 'attach' or existing => 'copy'."));
            }
        };
        if let Some(node) = arguments.nodes.iter().flatten().find(|node| *node != "local") {
            return Err(unsupported(format!(
                "partitions on node \"{node}\" are not available in this version"
            ))
            .hint("Leave out nodes, or use nodes => '{local}'."));
        }
        if arguments.colocate_with.is_some() {
            return Err(unsupported("colocation is not available in this version")
                .hint("Leave out colocate_with."));
        }
        Ok(Self { relation, column, partitions, mapping, existing, unique_scope })
    }
}

fn unsupported(message: impl Into<String>) -> PssError {
    PssError::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, message)
}
