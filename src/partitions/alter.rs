//! Changing how a sharded table is treated: `pss_alter_table`.
//!
//! NULL means unchanged. Takes effect at the worker's next cycle.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pss_core::forecast::Method;

use crate::catalog::{self, relation_name};
use crate::error::{Result, invalid_argument};
use crate::rights;

/// The name that stands for no method in particular.
const AUTO: &str = "auto";

/// Sets how the foreign load of a table's partitions is forecast.
pub fn forecast_method(relation: pg_sys::Oid, name: &str) -> Result<()> {
    if name != AUTO && Method::from_name(name).is_none() {
        let names: Vec<&str> = Method::ALL.into_iter().map(Method::name).collect();
        return Err(invalid_argument(format!("unknown forecast method \"{name}\""))
            .hint(format!("Use one of {AUTO}, {}.", names.join(", "))));
    }
    rights::require_read_write(c"pss_alter_table()");
    let changed = catalog::as_extension_owner(|| {
        Spi::get_one_with_args::<i64>(
            "WITH changed AS (
                 UPDATE pss.sharded_table SET forecast_method = $2
                 WHERE relation OPERATOR(pg_catalog.=) $1
                   AND forecast_method OPERATOR(pg_catalog.<>) $2
                 RETURNING 1)
             SELECT pg_catalog.count(*) FROM changed",
            &[relation.into(), name.into()],
        )
    })?;
    if changed == Some(1) {
        let message = format!("forecast method of {} is now {name}", relation_name(relation));
        catalog::log_event(Some(relation), "alter", &message, None)?;
    }
    Ok(())
}
