//! What cannot be sharded: one error each, which names the obstacle and the way out.
//!
//! Nothing here changes anything. Whatever conversion could not keep must be refused here.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::children;
use super::describe::Description;
use super::mapping;
use super::request::Request;
use super::sql::{ident, one, required, rows, texts};
use crate::catalog::{Mapping, sharded_table};
use crate::error::{PssError, Result};
use crate::guc;
use crate::key::KeyType;
use crate::map::BYTES_PER_KEY;

use PgSqlErrorCode::{
    ERRCODE_DUPLICATE_COLUMN as DUPLICATE_COLUMN, ERRCODE_FEATURE_NOT_SUPPORTED as UNSUPPORTED,
    ERRCODE_INSUFFICIENT_PRIVILEGE as DENIED, ERRCODE_NOT_NULL_VIOLATION as NOT_NULL,
    ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE as STATE, ERRCODE_PROGRAM_LIMIT_EXCEEDED as LIMIT,
    ERRCODE_WRONG_OBJECT_TYPE as WRONG_KIND,
};

/// Refuses what is not an ordinary or partitioned table of the user's.
pub fn wrong_kind(table: &Description) -> Result<()> {
    let name = &table.table;
    if sharded_table(table.relation)?.is_some() {
        return Err(PssError::new(STATE, format!("table {name} is already sharded"))
            .hint(format!("To start anew, run SELECT pss_undistribute_table('{name}').")));
    }
    if table.is_system {
        return Err(PssError::new(WRONG_KIND, format!("{name} belongs to the system"))
            .detail("Tables of system schemas, of schema pss and of extensions are not sharded."));
    }
    let kind = match table.kind {
        'r' | 'p' => None,
        'v' => Some("a view"),
        'm' => Some("a materialized view"),
        'f' => Some("a foreign table"),
        'S' => Some("a sequence"),
        'i' | 'I' => Some("an index"),
        _ => Some("no table"),
    };
    if let Some(kind) = kind {
        return Err(PssError::new(WRONG_KIND, format!("{name} is {kind}")).hint(
            "Only ordinary tables, and tables partitioned by LIST (pss_partition), can be sharded.",
        ));
    }
    if table.is_partition {
        return Err(PssError::new(WRONG_KIND, format!("table {name} is a partition"))
            .hint("Detach it first: ALTER TABLE ... DETACH PARTITION."));
    }
    match table.persistence {
        't' => Err(PssError::new(WRONG_KIND, format!("table {name} is temporary"))
            .detail("Its rows would be visible to one session, its mapping to all.")),
        'u' => Err(PssError::new(UNSUPPORTED, format!("table {name} is unlogged"))
            .detail("After a crash its rows would be gone and its mapping would not.")
            .hint(format!("Run ALTER TABLE {name} SET LOGGED."))),
        _ => Ok(()),
    }
}

/// Refuses an owner who may not create tables beside the table: everything is made with the
/// owner's rights.
pub fn no_room(relation: pg_sys::Oid, name: &str) -> Result<()> {
    let denied = rows(SCHEMA_WITHOUT_CREATE, &[relation.into()], |row| {
        Ok((required::<String>(row, 1)?, required::<String>(row, 2)?))
    })?;
    let Some((owner, schema)) = denied.first() else { return Ok(()) };
    Err(PssError::new(DENIED, format!("permission denied for schema {schema}"))
        .detail(format!("Partitions of {name} are made by its owner, {owner}."))
        .hint(format!("Run GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}.")))
}

/// Refuses a distribution column whose values cannot be data keys.
pub fn unfit_key(table: &Description) -> Result<()> {
    let (name, key) = (&table.table, &table.key);
    let unfit = |what: String| PssError::new(UNSUPPORTED, what);
    if key.name == "pss_partition" {
        return Err(unfit("column \"pss_partition\" cannot be the distribution column".into())
            .detail("It will say which partition a row is in."));
    }
    if key.generated {
        return Err(unfit(format!("distribution column \"{}\" is a generated column", key.name))
            .detail("Its value is computed after the row has been routed.")
            .hint("Distribute by a column that it is computed from."));
    }
    KeyType::new(key.type_oid, key.collation)?;
    if !key.deterministic {
        return Err(unfit(format!(
            "distribution column \"{}\" has a nondeterministic collation",
            key.name
        ))
        .detail("Values that are equal under it would have different homes.")
        .hint(format!(
            "Give it a deterministic one: ALTER TABLE {name} ALTER COLUMN {} TYPE ... COLLATE ....",
            ident(&key.name)
        )));
    }
    Ok(())
}

/// Refuses row triggers that would fire after our guards: they could change the key unseen.
pub fn late_triggers(table: &Description) -> Result<()> {
    let late = children::late_triggers(table.relation)?;
    if late.is_empty() {
        return Ok(());
    }
    Err(PssError::new(
        UNSUPPORTED,
        format!("row triggers of {} sort after \"~pss_\": {}", table.table, listed(&late)),
    )
    .detail("Triggers fire in the order of their names, and those of pss must be the last to see a row's key.")
    .hint("Rename them: ALTER TRIGGER ... ON ... RENAME TO ...."))
}

/// Refuses everything that depends on an ordinary table and would not follow it, or that a
/// partitioned table cannot have.
pub fn unkeepable(table: &Description) -> Result<()> {
    late_triggers(table)?;
    let name = &table.table;
    if table.is_typed {
        return Err(PssError::new(UNSUPPORTED, format!("table {name} is a typed table"))
            .hint(format!("Run ALTER TABLE {name} NOT OF.")));
    }
    let taken = one::<bool>(
        "SELECT true FROM pg_attribute
         WHERE attrelid = $1 AND attname = 'pss_partition' AND NOT attisdropped",
        &[table.relation.into()],
    )?;
    if taken.is_some() {
        return Err(PssError::new(
            DUPLICATE_COLUMN,
            format!("table {name} already has a column \"pss_partition\""),
        )
        .hint(format!("Run ALTER TABLE {name} RENAME COLUMN pss_partition TO ....")));
    }
    stand_in_the_way(table.relation, name, "sharded", DEPENDENTS)?;
    stand_in_the_way(table.relation, name, "sharded", OBSTACLES)
}

/// Refuses unique keys that the mapping could not keep.
pub fn unkeepable_keys(table: &Description, request: &Request) -> Result<()> {
    match request.mapping {
        Mapping::Row => unique_without_key(table),
        Mapping::Slot => mapping::refuse_unique(table.relation, request.unique_scope),
    }
}

/// Refuses what depends on a sharded table and would not follow it to an ordinary one.
pub fn dependents(relation: pg_sys::Oid, name: &str) -> Result<()> {
    stand_in_the_way(relation, name, "undistributed", DEPENDENTS)
}

fn stand_in_the_way(
    relation: pg_sys::Oid,
    name: &str,
    done: &str,
    obstacles: &[Obstacle],
) -> Result<()> {
    for obstacle in obstacles {
        let found = texts(obstacle.query, &[relation.into()])?;
        if !found.is_empty() {
            return Err(PssError::new(
                UNSUPPORTED,
                format!("table {name} cannot be {done}: {}", obstacle.what),
            )
            .detail(format!("Found: {}.", listed(&found)))
            .hint(obstacle.hint));
        }
    }
    Ok(())
}

/// Refuses unique keys that could only be checked within each partition.
pub fn unique_without_key(table: &Description) -> Result<()> {
    let found = texts(UNIQUE_WITHOUT_KEY, &[table.relation.into(), table.key.attribute.into()])?;
    if found.is_empty() {
        return Ok(());
    }
    Err(PssError::new(
        UNSUPPORTED,
        format!(
            "unique key without the distribution column \"{}\": {}",
            table.key.name,
            listed(&found)
        ),
    )
    .detail("It could be checked within each partition only, not over the table.")
    .hint("Add the distribution column to that key, or distribute by a column of that key."))
}

/// Refuses rows without a key.
pub fn null_keys(table: &Description) -> Result<()> {
    if table.key.not_null {
        return Ok(());
    }
    let column = ident(&table.key.name);
    let query = format!(
        "SELECT true FROM {} WHERE {column} IS NOT DISTINCT FROM NULL LIMIT 1",
        table.table
    );
    if one::<bool>(&query, &[])?.is_none() {
        return Ok(());
    }
    Err(PssError::new(
        NOT_NULL,
        format!("distribution column \"{}\" contains null values", table.key.name),
    )
    .detail("A row without a data key has no home.")
    .hint(format!(
        "Fill them in: UPDATE {} SET {column} = ... WHERE {column} IS NULL.",
        table.table
    )))
}

/// Refuses to attach a table with rows whose keys could not be looked up while the map is being built.
pub fn attach_without_index(table: &Description) -> Result<()> {
    let found = one::<bool>(INDEX_ON_KEY, &[table.relation.into(), table.key.attribute.into()])?;
    if found.is_some() {
        return Ok(());
    }
    let (name, column) = (&table.table, ident(&table.key.name));
    Err(PssError::new(
        STATE,
        format!("table {name} has no index that begins with \"{}\"", table.key.name),
    )
    .detail("Until its row map is built, keys are looked up in the table itself.")
    .hint(format!(
        "Run CREATE INDEX CONCURRENTLY ON {name} ({column}), or use existing => 'copy'."
    )))
}

/// Expected size of the row map in bytes; refuses one above `pss.max_map_size`.
pub fn oversized_map(table: &Description) -> Result<f64> {
    let bytes = table.expected_keys()? * BYTES_PER_KEY;
    let limit = f64::from(guc::MAX_MAP_SIZE.get()) * 1024.0;
    if bytes <= limit {
        return Ok(bytes);
    }
    Err(PssError::new(LIMIT, format!("row map of table {} would be too large", table.table))
        .detail(format!(
            "It would take about {:.2} MB; pss.max_map_size is {:.2} MB.",
            bytes / 1048576.0,
            limit / 1048576.0
        ))
        .hint("If the table was never analyzed, run ANALYZE first. Else distribute by a column with fewer values, use mapping => 'slot', or raise pss.max_map_size."))
}

/// The same for what a mapping stores: by slot next to nothing.
pub fn oversized(table: &Description, mapping: Mapping) -> Result<f64> {
    match mapping {
        Mapping::Row => oversized_map(table),
        Mapping::Slot => Ok(0.0),
    }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// One kind of thing that stands in the way.
struct Obstacle {
    /// Descriptions of those found; $1 is the table.
    query: &'static str,
    what: &'static str,
    hint: &'static str,
}

/// What refers to the table by its OID and would be left with the old one.
const DEPENDENTS: &[Obstacle] = &[
    Obstacle {
        query: "SELECT rulename::text FROM pg_rewrite WHERE ev_class = $1 ORDER BY 1",
        what: "it has rules",
        hint: "Drop the rules, or turn them into triggers.",
    },
    Obstacle {
        query: "SELECT DISTINCT pg_describe_object('pg_class'::regclass, ev_class, 0)
                FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
                WHERE d.classid = 'pg_rewrite'::regclass AND r.ev_class <> $1
                  AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = $1
                       OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN
                          (SELECT unnest(ARRAY[t.oid, t.typarray]) FROM pg_type t WHERE typrelid = $1))
                ORDER BY 1",
        what: "views depend on it",
        hint: "Drop the views and create them again afterwards; pg_get_viewdef() shows their definitions.",
    },
    Obstacle {
        query: "SELECT DISTINCT objid::regprocedure::text FROM pg_depend d
                WHERE d.classid = 'pg_proc'::regclass
                  AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = $1
                       OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN
                          (SELECT unnest(ARRAY[t.oid, t.typarray]) FROM pg_type t WHERE typrelid = $1))
                ORDER BY 1",
        what: "functions depend on it or on its row type",
        hint: "Drop the functions and create them again afterwards.",
    },
    Obstacle {
        query: "SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
                WHERE d.refclassid = 'pg_type'::regclass AND d.deptype = 'n' AND d.refobjid IN
                      (SELECT unnest(ARRAY[t.oid, t.typarray]) FROM pg_type t WHERE typrelid = $1)
                ORDER BY 1",
        what: "its row type is in use",
        hint: "Use a composite type of its own (CREATE TYPE ... AS) there.",
    },
    Obstacle {
        query: "SELECT format('%I on %s', conname, conrelid::regclass) FROM pg_constraint
                WHERE confrelid = $1 AND contype = 'f' ORDER BY 1",
        what: "foreign keys reference it",
        hint: "Drop those foreign keys: a sharded table's unique keys contain pss_partition, which they cannot name.",
    },
    Obstacle {
        query: "SELECT pg_describe_object('pg_policy'::regclass, oid, 0) FROM pg_policy p
                WHERE polrelid <> $1 AND EXISTS
                      (SELECT FROM pg_depend WHERE classid = 'pg_policy'::regclass AND objid = p.oid
                          AND refclassid = 'pg_class'::regclass AND refobjid = $1)
                ORDER BY 1",
        what: "row security policies of other tables refer to it",
        hint: "Drop the policies and create them again afterwards.",
    },
    Obstacle {
        query: "SELECT pubname::text FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid
                WHERE prrelid = $1 ORDER BY 1",
        what: "it is listed in publications",
        hint: "Take it out (ALTER PUBLICATION ... DROP TABLE) and add it again afterwards, with publish_via_partition_root.",
    },
    Obstacle {
        query: "SELECT subname::text FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = srsubid
                WHERE srrelid = $1 ORDER BY 1",
        what: "subscriptions write to it",
        hint: "Drop the subscription (its slot can stay) and create it again afterwards.",
    },
];

/// What a partitioned table cannot have.
const OBSTACLES: &[Obstacle] = &[
    Obstacle {
        query: "SELECT indexrelid::regclass::text FROM pg_index
                WHERE indrelid = $1 AND indisexclusion ORDER BY 1",
        what: "it has exclusion constraints",
        hint: "They cannot be checked over several partitions; drop them.",
    },
    Obstacle {
        query: "SELECT tgname::text FROM pg_trigger
                WHERE tgrelid = $1 AND NOT tgisinternal AND tgtype & 1 = 1
                  AND (tgoldtable IS NOT NULL OR tgnewtable IS NOT NULL) ORDER BY 1",
        what: "it has row triggers with transition tables",
        hint: "Make them statement triggers: FOR EACH STATEMENT.",
    },
    Obstacle {
        query: "SELECT conname::text FROM pg_constraint
                WHERE conrelid = $1 AND NOT convalidated AND contype IN ('c', 'f', 'n') ORDER BY 1",
        what: "it has constraints that are not validated",
        hint: "Run ALTER TABLE ... VALIDATE CONSTRAINT.",
    },
    Obstacle {
        query: "SELECT conname::text FROM pg_constraint
                WHERE conrelid = $1 AND connoinherit AND contype IN ('c', 'n') ORDER BY 1",
        what: "it has constraints marked NO INHERIT",
        hint: "Create them again without NO INHERIT: they must hold in all partitions.",
    },
    Obstacle {
        query: "SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = $1
                UNION ALL
                SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1 ORDER BY 1",
        what: "it is part of an inheritance tree",
        hint: "Run ALTER TABLE ... NO INHERIT first.",
    },
    Obstacle {
        query: "SELECT pubname::text FROM pg_publication p
                WHERE NOT pubviaroot
                  AND (puballtables OR EXISTS
                       (SELECT FROM pg_publication_namespace JOIN pg_class c ON relnamespace = pnnspid
                        WHERE pnpubid = p.oid AND c.oid = $1))
                ORDER BY 1",
        what: "it is published by its partitions' names",
        hint: "Run ALTER PUBLICATION ... SET (publish_via_partition_root = true).",
    },
    Obstacle {
        query: "SELECT subname::text FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = srsubid
                WHERE srrelid = $1 ORDER BY 1",
        what: "a subscription writes to it",
        hint: "Let the subscription write to a staging table instead.",
    },
];

const SCHEMA_WITHOUT_CREATE: &str = "
    SELECT relowner::regrole::text, relnamespace::regnamespace::text FROM pg_class
    WHERE oid = $1 AND NOT (has_schema_privilege(relowner, relnamespace, 'CREATE')
                          AND has_schema_privilege(relowner, relnamespace, 'USAGE'))";

const UNIQUE_WITHOUT_KEY: &str = "
    SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
    WHERE indrelid = $1 AND indisunique AND NOT indisexclusion
      AND NOT $2 = ANY ((string_to_array(indkey::text, ' ')::int2[])[1:indnkeyatts])
    ORDER BY 1";

const INDEX_ON_KEY: &str = "
    SELECT true FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
    WHERE indrelid = $1 AND indisvalid AND indpred IS NULL AND indkey[0] = $2
      AND amname IN ('btree', 'hash')
    LIMIT 1";
