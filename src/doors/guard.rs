//! Triggers on the leaves that see to it that a row's key lives where the row is,
//! whatever path it came by: a user's trigger that changed the key, an UPDATE that our
//! node is not under, a row that logical replication brought.
//!
//! They let a row pass or raise an error; they never change one.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::kept;
use super::trigger_call::{AFTER_INSERT, BEFORE_INSERT, BEFORE_UPDATE, Call};
use crate::catalog::relation_name;
use crate::error::{OrRaise, PssError, Result};
use crate::moves;
use crate::router::Door;
use crate::slot;

const MADE_BY: &str = "pss_distribute_table creates the trigger where it belongs.";

macro_rules! trigger_function {
    ($(#[$doc:meta])* $name:ident, $info:ident, $event:expr, $check:expr) => {
        #[unsafe(no_mangle)]
        pub extern "C" fn $info() -> &'static pg_sys::Pg_finfo_record {
            const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &V1
        }

        $(#[$doc])*
        ///
        /// # Safety
        /// Called by the function manager.
        #[unsafe(no_mangle)]
        #[pg_guard]
        pub unsafe extern "C-unwind" fn $name(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            // SAFETY: as stated; the call is checked before use.
            let call = unsafe { Call::of(call, stringify!($name), $event, MADE_BY) }.or_raise();
            let check: fn(&Call) -> Result<()> = $check;
            check(&call).or_raise();
            call.unchanged()
        }
    };
}

trigger_function!(
    /// BEFORE INSERT, last: the row's key must be the one it was routed by, for a user's
    /// trigger may have changed it (23514).
    pss_guard_row, pg_finfo_pss_guard_row, BEFORE_INSERT, |call| {
        match stranger(call, call.row())? {
            Some(Stranger { home, here, .. }) => Err(PssError::new(
                PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
                format!("a trigger changed the data key of a row routed to partition {here}"),
            )
            .detail(format!("The key it has now lives in partition {home}."))
            .hint("Set the key before the row is inserted, not in a BEFORE ROW trigger.")),
            None => Ok(()),
        }
    }
);

trigger_function!(
    /// BEFORE UPDATE, last, WHEN key or partition change: the new key must live in the new
    /// partition (23514).
    pss_keep_home, pg_finfo_pss_keep_home, BEFORE_UPDATE, |call| {
        match stranger(call, call.new_row())? {
            Some(stranger) => Err(stranger.refuse_update()),
            None => Ok(()),
        }
    }
);

trigger_function!(
    /// AFTER INSERT, where logical replication writes: the row's partition is adopted for its
    /// key, or refused (23514).
    pss_adopt_row, pg_finfo_pss_adopt_row, AFTER_INSERT, |call| {
        match stranger(call, call.row())? {
            Some(Stranger { table, home, here }) => Err(PssError::new(
                PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
                format!("a replicated row names partition {here}, but its key lives in partition {home}"),
            )
            .detail(format!("All rows of a data key of {table} are in one partition."))
            .hint("Publish the table without column pss_partition: rows are routed where they arrive.")),
            None => Ok(()),
        }
    }
);

/// A row in another partition than the home of its key.
struct Stranger {
    table: String,
    home: u16,
    /// Partition that the row names.
    here: i32,
}

/// Whether `row`, about to be stored in the call's partition or the one that it names, does
/// not belong there. A new key finds its home there.
fn stranger(call: &Call, row: *mut pg_sys::TupleTableSlot) -> Result<Option<Stranger>> {
    kept::using(|kept| {
        let Some(partition) = kept.partition(call.relation_oid())? else { return Ok(None) };
        // SAFETY: the row has the columns of the relation that the trigger is on.
        let (key, here) = unsafe {
            (
                slot::column(row, partition.key_attribute),
                slot::column(row, partition.partition_attribute),
            )
        };
        // A NULL key violates the column's constraint, which is checked after us.
        let Some(key) = key else { return Ok(None) };
        let here = here.map_or(-1, |here| here.value() as i32);
        let router = &mut kept.table(partition.table)?.router;
        let home = match u16::try_from(here).ok().filter(|n| router.meta().position(*n).is_some()) {
            Some(named) => router.confirm(key, named)?,
            None => router.route(Some(key), None, Door::Trigger)?,
        };
        let carried = || moves::carries(router.meta(), router.meta().key.hash(key), here);
        if i32::from(home) == here || carried() {
            return Ok(None);
        }
        Ok(Some(Stranger { table: relation_name(partition.table), home, here }))
    })
}

impl Stranger {
    fn refuse_update(self) -> PssError {
        let Self { table, home, here } = self;
        PssError::new(
            PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
            format!("the row would be in partition {here}, but its key lives in partition {home}"),
        )
        .detail(format!("All rows of a data key of {table} are in one partition."))
        .hint(format!(
            "To change the key, UPDATE {table} itself and set it there: pss then carries the row. \
             A trigger, ON CONFLICT DO UPDATE and an UPDATE of a partition cannot. \
             To move a key, use pss_move_key."
        ))
    }
}
