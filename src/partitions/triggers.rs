//! Trigger functions that follow what is done to a sharded table as a whole: it is truncated,
//! altered, dropped, given triggers. Those that see to its rows are in `doors`.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::sql::{one, required, rows};
use super::{children, mapping};
use crate::catalog;
use crate::error::{self, OrRaise, PssError};
use crate::map;

type RowResult<'a> =
    std::result::Result<Option<PgHeapTuple<'a, pgrx::AllocatedByPostgres>>, pgrx::PgTriggerError>;

/// AFTER TRUNCATE of a parent: keys without rows have no home.
#[pg_trigger(sql = false)]
fn pss_truncate_map<'a>(trigger: &'a pgrx::PgTrigger<'a>) -> RowResult<'a> {
    let relation = trigger.relid()?;
    if catalog::sharded_table(relation).or_raise().is_some() {
        map::truncate(relation).or_raise();
    }
    Ok(None)
}

/// Event trigger on sql_drop: forgets sharded tables and partitions that were dropped. Harmless
/// when the catalog of pss itself is gone.
#[pg_extern(sql = false)]
fn pss_forget_dropped() {
    if catalog::installed() {
        forget_dropped().or_raise();
    }
}

fn forget_dropped() -> error::Result<()> {
    let dropped = rows(DROPPED, &[], |row| required::<pg_sys::Oid>(row, 1))?;
    for relation in dropped {
        children::forget(relation)?;
    }
    forget_leaves()
}

/// Event trigger on ddl_command_end of ALTER TABLE: forgets partitions that were detached, follows
/// distribution columns that were renamed, refuses to lose a column that rows are routed by, and to
/// make a sharded table a partition.
#[pg_extern(sql = false)]
fn pss_follow_alter_table() {
    if catalog::installed() {
        forget_leaves().or_raise();
        follow_renamed().or_raise();
        keep_columns().or_raise();
        refuse_nested().or_raise();
        mapping::refuse_new_unique().or_raise();
    }
}

/// Event trigger on ddl_command_end of CREATE INDEX: refuses unique keys where rows of one key may
/// be in several partitions.
#[pg_extern(sql = false)]
fn pss_refuse_unique() {
    if catalog::installed() {
        mapping::refuse_new_unique().or_raise();
    }
}

/// The error (0A000) that the command took away a column that a sharded table cannot do without.
fn keep_columns() -> error::Result<()> {
    let lost = rows(LOST_COLUMNS, &[], |row| {
        Ok((required::<pg_sys::Oid>(row, 1)?, required::<String>(row, 2)?))
    })?;
    let Some((relation, column)) = lost.into_iter().next() else { return Ok(()) };
    let table = catalog::relation_name(relation);
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("sharded table {table} cannot do without column \"{column}\""),
    )
    .detail("Rows are routed by it.")
    .hint(format!("Run SELECT pss_undistribute_table({}) first.", super::sql::literal(&table))))
}

/// The error (0A000) that a sharded table became a partition: an INSERT into the table above would
/// leave its rows to the inbox, without RETURNING.
fn refuse_nested() -> error::Result<()> {
    let Some(relation) = one::<pg_sys::Oid>(NESTED, &[])? else { return Ok(()) };
    let table = catalog::relation_name(relation);
    Err(PssError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot attach sharded table {table} to another table"),
    )
    .detail("Rows inserted through the other table would not be routed.")
    .hint(format!("Run SELECT pss_undistribute_table({}) first.", super::sql::literal(&table))))
}

fn follow_renamed() -> error::Result<()> {
    let renamed = rows(RENAMED, &[], |row| {
        Ok((required::<pg_sys::Oid>(row, 1)?, required::<String>(row, 2)?))
    })?;
    for (relation, column) in renamed {
        catalog::as_extension_owner(|| {
            Spi::run_with_args(
                "UPDATE pss.sharded_table SET distribution_column = $2::pg_catalog.name
                 WHERE relation::pg_catalog.oid OPERATOR(pg_catalog.=) $1",
                &[relation.into(), column.into()],
            )
        })?;
        map::forget_cached(relation);
    }
    Ok(())
}

/// Event trigger on ddl_command_end of CREATE TRIGGER and ALTER TRIGGER: a user's trigger on a
/// sharded table, or on a partition of one, calls for the guard, and must not fire after it.
#[pg_extern(sql = false)]
fn pss_guard_new_trigger() {
    if catalog::installed() {
        refuse_late_triggers().or_raise();
        guard_new_triggers().or_raise();
    }
}

/// The error (0A000) that the command made a row trigger which could change a key unseen.
fn refuse_late_triggers() -> error::Result<()> {
    for relation in rows(TRIGGERED, &[], |row| required::<pg_sys::Oid>(row, 1))? {
        if let Some(name) = children::late_triggers(relation)?.first() {
            return Err(PssError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("row trigger \"{name}\" would fire after those of pss"),
            )
            .detail("Triggers fire in the order of their names, and those of pss must be the last to see a row's key.")
            .hint("Choose a name that sorts before \"~pss_\"."));
        }
    }
    Ok(())
}

/// Event trigger on ddl_command_end of CREATE and ALTER SUBSCRIPTION: rows that a subscription
/// writes are adopted; what it cannot do is said.
#[pg_extern(sql = false)]
fn pss_follow_subscription() {
    if catalog::installed() {
        follow_subscriptions().or_raise();
    }
}

fn follow_subscriptions() -> error::Result<()> {
    for relation in catalog::sharded_tables()? {
        if !children::is_subscribed(relation)? || children::has_adopter(relation)? {
            continue;
        }
        catalog::as_extension_owner(|| children::make_adopter(relation))?;
        let table = catalog::relation_name(relation);
        PssError::new(
            PgSqlErrorCode::ERRCODE_WARNING,
            format!("the subscription writes to sharded table {table}"),
        )
        .detail("Rows that it inserts are routed. Rows that it updates or deletes are found only where the publisher's rows have the same pss_partition.")
        .hint("Where the publisher updates or deletes, subscribe with a plain table and carry its changes over with triggers.")
        .warn();
    }
    Ok(())
}

fn guard_new_triggers() -> error::Result<()> {
    // Scripts of pg_dump turn this off: they bring the guard themselves, after the user's triggers.
    // SAFETY: a plain global of the backend.
    if !unsafe { pg_sys::check_function_bodies } {
        return Ok(());
    }
    let unguarded =
        rows(UNGUARDED, &[children::GUARD_TRIGGER.into()], |row| required::<pg_sys::Oid>(row, 1))?;
    // Who may create a trigger need not own the table, as ALTER TRIGGER demands.
    catalog::as_extension_owner(|| unguarded.into_iter().try_for_each(children::make_guard))
}

/// Forgets partitions that are no longer children of their table.
fn forget_leaves() -> error::Result<()> {
    let gone =
        rows(GONE, &[], |row| Ok((required::<pg_sys::Oid>(row, 1)?, required::<i32>(row, 2)?)))?;
    for (relation, number) in gone {
        children::forget_partition(relation, number)?;
        catalog::log_event(
            Some(relation),
            "partition_gone",
            &format!("partition {number} was dropped or detached"),
            None,
        )?;
    }
    Ok(())
}

/// Sharded tables among what the command dropped.
const DROPPED: &str = "
    SELECT t.relation::pg_catalog.oid
    FROM pg_catalog.pg_event_trigger_dropped_objects() AS o
    JOIN pss.sharded_table t ON t.relation::pg_catalog.oid OPERATOR(pg_catalog.=) o.objid
    WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      AND o.objsubid OPERATOR(pg_catalog.=) 0";

/// Sharded tables that got a trigger by the command, themselves or a leaf of theirs, and have no guard.
const UNGUARDED: &str = "
    SELECT DISTINCT s.relation::pg_catalog.oid
    FROM pg_catalog.pg_event_trigger_ddl_commands() AS c
    JOIN pg_catalog.pg_trigger t ON t.oid OPERATOR(pg_catalog.=) c.objid
    LEFT JOIN pss.partition p ON p.leaf::pg_catalog.oid OPERATOR(pg_catalog.=) t.tgrelid
    JOIN pss.sharded_table s ON s.relation::pg_catalog.oid
        OPERATOR(pg_catalog.=) COALESCE(p.relation::pg_catalog.oid, t.tgrelid)
    WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g
                      WHERE g.tgrelid OPERATOR(pg_catalog.=) s.relation::pg_catalog.oid
                        AND g.tgname OPERATOR(pg_catalog.=) $1::pg_catalog.name)";

/// Sharded tables that the command gave a trigger, themselves or a leaf of theirs.
const TRIGGERED: &str = "
    SELECT DISTINCT s.relation::pg_catalog.oid
    FROM pg_catalog.pg_event_trigger_ddl_commands() AS c
    JOIN pg_catalog.pg_trigger t ON t.oid OPERATOR(pg_catalog.=) c.objid
    LEFT JOIN pss.partition p ON p.leaf::pg_catalog.oid OPERATOR(pg_catalog.=) t.tgrelid
    JOIN pss.sharded_table s ON s.relation::pg_catalog.oid
        OPERATOR(pg_catalog.=) COALESCE(p.relation::pg_catalog.oid, t.tgrelid)
    WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass";

/// A sharded table that is a partition of another table.
const NESTED: &str = "
    SELECT s.relation::pg_catalog.oid
    FROM pss.sharded_table s
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.relation::pg_catalog.oid
    WHERE c.relispartition LIMIT 1";

/// Columns that the command changed, of sharded tables whose distribution column is no more: its
/// new name.
const RENAMED: &str = "
    SELECT s.relation::pg_catalog.oid, a.attname::pg_catalog.text
    FROM pg_catalog.pg_event_trigger_ddl_commands() AS c
    JOIN pss.sharded_table s ON s.relation::pg_catalog.oid OPERATOR(pg_catalog.=) c.objid
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.objid
        AND a.attnum OPERATOR(pg_catalog.=) c.objsubid
    WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute k
                      WHERE k.attrelid OPERATOR(pg_catalog.=) c.objid
                        AND k.attname OPERATOR(pg_catalog.=) s.distribution_column)";

/// Columns that sharded tables need and have no more after the command.
const LOST_COLUMNS: &str = "
    SELECT s.relation::pg_catalog.oid, n.name
    FROM pg_catalog.pg_event_trigger_ddl_commands() AS c
    JOIN pss.sharded_table s ON s.relation::pg_catalog.oid OPERATOR(pg_catalog.=) c.objid
    CROSS JOIN LATERAL (VALUES (s.distribution_column::pg_catalog.text), ('pss_partition')) AS n (name)
    WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                      WHERE a.attrelid OPERATOR(pg_catalog.=) c.objid AND NOT a.attisdropped
                        AND a.attname OPERATOR(pg_catalog.=) n.name::pg_catalog.name)";

/// Partitions in the catalog of pss that are not in PostgreSQL's.
const GONE: &str = "
    SELECT p.relation::pg_catalog.oid, p.partition
    FROM pss.partition p
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h
                      WHERE h.inhrelid OPERATOR(pg_catalog.=) p.leaf::pg_catalog.oid
                        AND h.inhparent OPERATOR(pg_catalog.=) p.relation::pg_catalog.oid
                        AND NOT h.inhdetachpending)";
