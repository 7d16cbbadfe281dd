//! The children of a sharded table: their names, making them, our triggers,
//! and the catalog's rows about them.
//!
//! Leaves need no grants of their own: rows come and go through the parent.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::request::Request;
use super::sql::{
    bare_name, extension_schema, free_name, ident, literal, one, required, rows, run, sibling,
};
use crate::catalog::{self, Epoch, as_extension_owner, relation_name};
use crate::error::Result;
use crate::map;
use crate::meta::PARTITION_COLUMN;
use crate::multi_home;

/// Triggers of ours. `!` sorts before, `~` after what users name theirs: what sorts behind them
/// is refused (`late_triggers`).
pub const ROUTE_TRIGGER: &str = "!pss_route";
pub const GUARD_TRIGGER: &str = "~pss_guard";
pub const ADOPT_TRIGGER: &str = "~pss_adopt";
pub const HOME_TRIGGER: &str = "~pss_home";
pub const TRUNCATE_TRIGGER: &str = "~pss_truncate";

/// Slots of a table's epochs.
const SLOTS: usize = 4096;

/// How leaves are stored.
#[derive(Default)]
pub struct Storage {
    /// Behind `CREATE TABLE ... PARTITION OF ...`: access method, options, tablespace.
    clause: String,
}

impl Storage {
    /// As `table` is stored.
    pub fn of(table: pg_sys::Oid) -> Result<Self> {
        let clause = one::<String>(STORAGE, &[table.into()])?.unwrap_or_default();
        Ok(Self { clause })
    }

    pub fn clause(&self) -> &str {
        &self.clause
    }
}

/// Makes the leaf for LIST bound `bound`, named `<parent>_<label>`.
pub fn make(
    parent: pg_sys::Oid,
    label: &str,
    bound: i32,
    storage: &Storage,
) -> Result<pg_sys::Oid> {
    let name = sibling(parent, &free_name(&bare_name(parent)?, label, parent))?;
    run(&format!(
        "CREATE TABLE {name} PARTITION OF {} FOR VALUES IN ({bound}){}",
        relation_name(parent),
        storage.clause
    ))?;
    let leaf = oid_of(&name)?;
    super::portrait::strip_grants(leaf)?;
    Ok(leaf)
}

/// OID of the relation with this qualified, quoted name.
pub fn oid_of(name: &str) -> Result<pg_sys::Oid> {
    let oid = one::<pg_sys::Oid>(&format!("SELECT {}::regclass::oid", literal(name)), &[])?;
    Ok(oid.unwrap_or(pg_sys::InvalidOid))
}

/// The leaf with LIST bound -1, if there is one.
pub fn inbox_of(parent: pg_sys::Oid) -> Result<Option<pg_sys::Oid>> {
    one::<pg_sys::Oid>(INBOX, &[parent.into()])
}

/// Puts our triggers on the parent and the inbox. All of them go with the extension.
pub fn make_triggers(parent: pg_sys::Oid, inbox: pg_sys::Oid, key: &str) -> Result<()> {
    let schema = extension_schema()?;
    let (table, key_name) = (relation_name(parent), ident(key));
    trigger(
        ROUTE_TRIGGER,
        inbox,
        &format!("BEFORE INSERT ON {{}} FOR EACH ROW EXECUTE FUNCTION {schema}.pss_route_row()"),
    )?;
    let equal = equality(parent, key)?;
    trigger(
        HOME_TRIGGER,
        parent,
        &format!(
            "BEFORE UPDATE ON {{}} FOR EACH ROW
             WHEN (NOT (OLD.{key_name} {equal} NEW.{key_name}) OR NEW.{key_name} IS NOT DISTINCT FROM NULL
                   OR OLD.pss_partition <> NEW.pss_partition OR NEW.pss_partition IS NULL)
             EXECUTE FUNCTION {schema}.pss_keep_home()"
        ),
    )?;
    trigger(
        TRUNCATE_TRIGGER,
        parent,
        &format!(
            "AFTER TRUNCATE ON {{}} FOR EACH STATEMENT EXECUTE FUNCTION {schema}.pss_truncate_map()"
        ),
    )?;
    run(&format!(
        "COMMENT ON COLUMN {table}.{} IS 'partition of the row (pss); -1: not routed yet'",
        PARTITION_COLUMN.to_string_lossy()
    ))
}

/// Puts the guard on the parent where users' triggers call for it.
pub fn make_guard(parent: pg_sys::Oid) -> Result<()> {
    if !needs_guard(parent)? || has_trigger(parent, GUARD_TRIGGER)? {
        return Ok(());
    }
    let schema = extension_schema()?;
    trigger(
        GUARD_TRIGGER,
        parent,
        &format!(
            "BEFORE INSERT ON {{}} FOR EACH ROW WHEN (NEW.pss_partition >= 0)
             EXECUTE FUNCTION {schema}.pss_guard_row()"
        ),
    )
}

/// Puts the trigger that adopts replicated rows on the parent, if a subscription writes to it. It
/// fires for nobody else.
pub fn make_adopter(parent: pg_sys::Oid) -> Result<()> {
    if !is_subscribed(parent)? || has_adopter(parent)? {
        return Ok(());
    }
    let schema = extension_schema()?;
    let definition =
        format!("AFTER INSERT ON {{}} FOR EACH ROW EXECUTE FUNCTION {schema}.pss_adopt_row()");
    trigger_firing("REPLICA", ADOPT_TRIGGER, parent, &definition)
}

/// Whether replicated rows are adopted.
pub fn has_adopter(parent: pg_sys::Oid) -> Result<bool> {
    has_trigger(parent, ADOPT_TRIGGER)
}

/// Whether a subscription writes to the table.
pub fn is_subscribed(parent: pg_sys::Oid) -> Result<bool> {
    Ok(one::<bool>(SUBSCRIBED, &[parent.into()])?.is_some())
}

/// Row triggers of users that could change a key after our guards have looked at it.
pub fn late_triggers(parent: pg_sys::Oid) -> Result<Vec<String>> {
    rows(LATE_TRIGGERS, &[parent.into()], |row| required::<String>(row, 1))
}

/// Whether users have triggers that may change the key of a row after it has been routed.
pub fn needs_guard(parent: pg_sys::Oid) -> Result<bool> {
    Ok(one::<bool>(ROW_TRIGGER_BEFORE_INSERT, &[parent.into()])?.is_some())
}

/// Removes triggers of ours that an earlier life of the table left.
pub fn drop_triggers(parent: pg_sys::Oid, inbox: pg_sys::Oid) -> Result<()> {
    for (trigger, on) in [
        (ROUTE_TRIGGER, inbox),
        (HOME_TRIGGER, parent),
        (TRUNCATE_TRIGGER, parent),
        (GUARD_TRIGGER, parent),
        (ADOPT_TRIGGER, parent),
    ] {
        if has_trigger(on, trigger)? {
            run(&format!("DROP TRIGGER {} ON {}", ident(trigger), relation_name(on)))?;
        }
    }
    Ok(())
}

fn has_trigger(on: pg_sys::Oid, name: &str) -> Result<bool> {
    let there = one::<bool>(
        "SELECT true FROM pg_trigger WHERE tgrelid = $1 AND tgname = $2",
        &[on.into(), name.into()],
    )?;
    Ok(there.is_some())
}

/// A trigger that fires whatever session_replication_role is, and goes with the extension.
fn trigger(name: &str, on: pg_sys::Oid, definition: &str) -> Result<()> {
    trigger_firing("ALWAYS", name, on, definition)
}

/// A trigger that goes with the extension; `when`: ALWAYS, or REPLICA.
fn trigger_firing(when: &str, name: &str, on: pg_sys::Oid, definition: &str) -> Result<()> {
    let (table, name) = (relation_name(on), ident(name));
    run(&format!("CREATE TRIGGER {name} {}", definition.replacen("{}", &table, 1)))?;
    run(&format!("ALTER TABLE {table} ENABLE {when} TRIGGER {name}"))?;
    run(&format!("ALTER TRIGGER {name} ON {table} DEPENDS ON EXTENSION pss"))
}

/// The equality that key identity goes by, as an operator: whatever search_path says.
pub fn equality(parent: pg_sys::Oid, key: &str) -> Result<String> {
    let operator = rows(EQUALITY, &[parent.into(), key.into()], |row| required::<String>(row, 1))?;
    Ok(operator.into_iter().next().unwrap_or_else(|| "OPERATOR(pg_catalog.=)".into()))
}

/// Enters the table, its leaves (by partition number) and epoch 0 into the catalog; makes its map.
pub fn register(
    parent: pg_sys::Oid,
    request: &Request,
    leaves: &[(i32, pg_sys::Oid)],
) -> Result<()> {
    as_extension_owner(|| -> Result<()> {
        Spi::run_with_args(
            "INSERT INTO pss.sharded_table (relation, distribution_column, mapping, unique_scope, slots)
             VALUES ($1, $2, $3, $4, $5)",
            &[
                parent.into(),
                request.column.as_str().into(),
                request.mapping.name().into(),
                request.unique_scope.name().into(),
                (SLOTS as i32).into(),
            ],
        )?;
        for &(number, leaf) in leaves {
            Spi::run_with_args(
                "INSERT INTO pss.partition (relation, partition, leaf) VALUES ($1, $2, $3)",
                &[parent.into(), number.into(), leaf.into()],
            )?;
        }
        Ok(())
    })?;
    make_first_epoch(parent)?;
    map::create(parent)?;
    Ok(())
}

/// Publishes epoch 0, in proportion to capacity, if the table has no epoch: epochs are not dumped.
pub fn make_first_epoch(parent: pg_sys::Oid) -> Result<()> {
    if catalog::latest_epoch(parent)?.is_some() {
        return Ok(());
    }
    let epoch = Epoch::by_capacity(&catalog::require_sharded_table(parent)?);
    catalog::insert_epoch(parent, &epoch, "in proportion to capacity", None)
}

/// Forgets a sharded table: catalog, map, shared memory. Its rows are not touched.
pub fn forget(relation: pg_sys::Oid) -> Result<()> {
    map::drop_map(relation)?;
    catalog::forget_table(relation)?;
    crate::shmem::tables::forget(relation);
    map::forget_cached(relation);
    Ok(())
}

/// Forgets one partition of a sharded table, and where its keys were.
pub fn forget_partition(relation: pg_sys::Oid, number: i32) -> Result<()> {
    let map = catalog::sharded_table(relation)?.and_then(|table| table.map);
    as_extension_owner(|| -> Result<()> {
        Spi::run_with_args(
            "DELETE FROM pss.partition WHERE relation OPERATOR(pg_catalog.=) $1
                AND partition OPERATOR(pg_catalog.=) $2",
            &[relation.into(), number.into()],
        )?;
        if let Some(map) = map {
            Spi::run_with_args(
                &format!(
                    "DELETE FROM {} WHERE (e OPERATOR(pg_catalog.&) 65535) OPERATOR(pg_catalog.=) $1",
                    relation_name(map)
                ),
                &[i64::from(number).into()],
            )?;
        }
        Ok(())
    })?;
    multi_home::forget_partition(relation, number)?;
    crate::shmem::tables::invalidate_cache(relation);
    map::forget_cached(relation);
    Ok(())
}

const STORAGE: &str = "
    SELECT CASE WHEN a.amname <> 'heap' THEN ' USING ' || quote_ident(a.amname) ELSE '' END
        || COALESCE((SELECT ' WITH (' || string_agg(o, ', ') || ')' FROM (
               SELECT unnest(c.reloptions)
               UNION ALL
               SELECT 'toast.' || o FROM pg_class t, unnest(t.reloptions) AS o
               WHERE t.oid = c.reltoastrelid) AS all_options (o)), '')
        || COALESCE(' TABLESPACE ' || quote_ident(s.spcname), '')
    FROM pg_class c
    LEFT JOIN pg_am a ON a.oid = c.relam
    LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
    WHERE c.oid = $1";

const INBOX: &str = "
    SELECT c.oid FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE inhparent = $1 AND pg_get_expr(relpartbound, c.oid) IN ('FOR VALUES IN (''-1'')', 'FOR VALUES IN (-1)',
                                                                   'FOR VALUES IN (''-1''::integer)')";

const ROW_TRIGGER_BEFORE_INSERT: &str = "
    SELECT true FROM pg_trigger
    WHERE (tgrelid = $1 OR tgrelid IN (SELECT leaf FROM pss.partition WHERE relation = $1))
      AND NOT tgisinternal AND tgtype & 7 = 7 AND tgname !~ '^[!~]pss_' LIMIT 1";

const SUBSCRIBED: &str = "SELECT true FROM pg_subscription_rel WHERE srrelid = $1 LIMIT 1";

/// Names are compared byte by byte, as PostgreSQL does to find the order of triggers.
const LATE_TRIGGERS: &str = "
    SELECT tgname::text FROM pg_trigger
    WHERE (tgrelid = $1 OR tgrelid IN (SELECT leaf FROM pss.partition WHERE relation = $1))
      AND NOT tgisinternal AND tgtype & 3 = 3 AND tgtype & 20 <> 0
      AND tgname > '~pss_' AND tgname NOT IN ('~pss_guard', '~pss_home') ORDER BY 1";

const EQUALITY: &str = "
    SELECT format('OPERATOR(%s.%s)', n.nspname::regnamespace, oprname)
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_opclass c ON c.opcmethod = (SELECT oid FROM pg_am WHERE amname = 'hash') AND c.opcdefault
                     AND c.opcintype = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
    JOIN pg_amop o ON o.amopfamily = c.opcfamily AND o.amopstrategy = 1
                  AND o.amoplefttype = c.opcintype AND o.amoprighttype = c.opcintype
    JOIN pg_operator p ON p.oid = o.amopopr
    JOIN pg_namespace n ON n.oid = p.oprnamespace
    WHERE a.attrelid = $1 AND a.attname = $2";
