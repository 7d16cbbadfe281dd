//! What a table is besides its columns and rows, as the commands that give it
//! to another table of the same name.
//!
//! Taken before the table is renamed, so that PostgreSQL's own deparser writes
//! the name the new table will have. Expects search_path to be pinned, so that
//! every name comes out qualified.

use pgrx::pg_sys;

use super::keys;
use super::sql::{ident, literal, one, required, rows, run, run_all, texts};
use crate::catalog::relation_name;
use crate::error::Result;

/// How a table's unique keys are to be written for the new table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// pss_partition is appended.
    Extend,
    /// pss_partition is taken away.
    Strip,
}

/// A unique or plain index, or the constraint it carries.
pub struct Index {
    pub oid: pg_sys::Oid,
    pub name: String,
    pub unique: bool,
    pub constraint: bool,
    command: String,
}

struct Identity {
    column: String,
    sequence: String,
    last_value: i64,
    is_called: bool,
}

/// The portrait of one table.
pub struct Portrait {
    table: String,
    pub indexes: Vec<Index>,
    foreign_keys: Vec<String>,
    owned_sequences: Vec<String>,
    identities: Vec<Identity>,
    pub triggers: Vec<String>,
    pub statistics: Vec<String>,
    pub policies: Vec<String>,
    after: Vec<String>,
    replica_identity: ReplicaIdentity,
}

/// REPLICA IDENTITY of a table.
#[derive(Clone)]
enum ReplicaIdentity {
    Default,
    Nothing,
    Full,
    Index(String),
}

impl Portrait {
    /// The portrait of `relation`, without what pss added to it.
    pub fn of(relation: pg_sys::Oid, keys: Keys) -> Result<Self> {
        Ok(Self {
            table: relation_name(relation),
            indexes: indexes(relation, keys)?,
            foreign_keys: commands(relation, FOREIGN_KEYS)?,
            owned_sequences: commands(relation, OWNED_SEQUENCES)?,
            identities: identities(relation)?,
            triggers: names(relation, TRIGGERS)?,
            statistics: names(relation, STATISTICS)?,
            policies: names(relation, POLICIES)?,
            after: AFTER
                .iter()
                .map(|query| commands(relation, query))
                .collect::<Result<Vec<_>>>()?
                .concat(),
            replica_identity: replica_identity(relation)?,
        })
    }

    /// Gives the new table the sequences that the old one owned, so that the old one can go.
    pub fn take_sequences(&self) -> Result<()> {
        run_all(&self.owned_sequences)
    }

    /// Lets identity columns go on counting where the old table's stopped. The old table's
    /// sequences must be gone: the new ones take their names.
    pub fn continue_identities(&self) -> Result<()> {
        for identity in &self.identities {
            let Some(sequence) = one::<String>(
                "SELECT pg_get_serial_sequence($1, $2)",
                &[self.table.as_str().into(), identity.column.as_str().into()],
            )?
            else {
                continue;
            };
            run(&format!(
                "SELECT setval({}, {}, {})",
                literal(&sequence),
                identity.last_value,
                identity.is_called
            ))?;
            let bare = one::<String>(
                "SELECT relname::text FROM pg_class WHERE oid = $1::regclass",
                &[sequence.as_str().into()],
            )?;
            if bare.as_deref() != Some(identity.sequence.as_str()) {
                run(&format!("ALTER SEQUENCE {sequence} RENAME TO {}", ident(&identity.sequence)))?;
            }
        }
        Ok(())
    }

    /// Indexes, unique keys, foreign keys.
    pub fn make_keys(&self) -> Result<()> {
        for index in &self.indexes {
            run(&index.command)?;
        }
        run_all(&self.foreign_keys)
    }

    /// All the rest: triggers, statistics objects, policies, privileges, comments, labels.
    pub fn make_rest(&self, relation: pg_sys::Oid) -> Result<()> {
        strip_grants(relation)?;
        run_all(&self.after)
    }

    /// REPLICA IDENTITY of the table, or of a leaf that has taken over its indexes.
    pub fn set_replica_identity(&self, relation: pg_sys::Oid) -> Result<()> {
        let clause = match &self.replica_identity {
            ReplicaIdentity::Default => return Ok(()),
            ReplicaIdentity::Nothing => "NOTHING".to_owned(),
            ReplicaIdentity::Full => "FULL".to_owned(),
            ReplicaIdentity::Index(index) => {
                let Some(index) = one::<String>(
                    INDEX_OF_LEAF,
                    &[relation.into(), self.table.as_str().into(), index.as_str().into()],
                )?
                else {
                    return Ok(());
                };
                format!("USING INDEX {}", ident(&index))
            }
        };
        run(&format!("ALTER TABLE ONLY {} REPLICA IDENTITY {clause}", relation_name(relation)))
    }
}

/// Takes away what default privileges or an earlier life granted to others.
pub fn strip_grants(relation: pg_sys::Oid) -> Result<()> {
    run_all(&commands(relation, REVOKES)?)
}

fn commands(relation: pg_sys::Oid, query: &str) -> Result<Vec<String>> {
    texts(query, &[relation.into()])
}

fn names(relation: pg_sys::Oid, query: &str) -> Result<Vec<String>> {
    texts(query, &[relation.into()])
}

fn indexes(relation: pg_sys::Oid, keys: Keys) -> Result<Vec<Index>> {
    let table = relation_name(relation);
    let key = |definition: String| match keys {
        Keys::Extend => keys::extend(&definition),
        Keys::Strip => keys::strip(&definition),
    };
    rows(INDEXES, &[relation.into()], |row| {
        let name: String = required(row, 2)?;
        let unique: bool = required(row, 3)?;
        let constraint = row.get::<String>(5)?;
        let command = match &constraint {
            Some(definition) => {
                let definition = match row.get::<String>(6)? {
                    Some(options) => keys::with_options(definition, &options),
                    None => definition.clone(),
                };
                format!("ALTER TABLE {table} ADD CONSTRAINT {} {}", ident(&name), key(definition))
            }
            None if unique => key(required(row, 4)?),
            None => required(row, 4)?,
        };
        Ok(Index {
            oid: required(row, 1)?,
            name,
            unique,
            constraint: constraint.is_some(),
            command,
        })
    })
}

fn identities(relation: pg_sys::Oid) -> Result<Vec<Identity>> {
    let found = rows(IDENTITIES, &[relation.into()], |row| {
        Ok((required::<String>(row, 1)?, required::<String>(row, 2)?, required::<String>(row, 3)?))
    })?;
    let mut identities = Vec::with_capacity(found.len());
    for (column, sequence, qualified) in found {
        let state = rows(&format!("SELECT last_value, is_called FROM {qualified}"), &[], |row| {
            Ok((required::<i64>(row, 1)?, required::<bool>(row, 2)?))
        })?;
        for (last_value, is_called) in state {
            identities.push(Identity {
                column: column.clone(),
                sequence: sequence.clone(),
                last_value,
                is_called,
            });
        }
    }
    Ok(identities)
}

fn replica_identity(relation: pg_sys::Oid) -> Result<ReplicaIdentity> {
    let kind = one::<String>(
        "SELECT relreplident::text FROM pg_class WHERE oid = $1",
        &[relation.into()],
    )?;
    Ok(match kind.as_deref() {
        Some("n") => ReplicaIdentity::Nothing,
        Some("f") => ReplicaIdentity::Full,
        Some("i") => one::<String>(
            "SELECT relname::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid
             WHERE indrelid = $1 AND indisreplident",
            &[relation.into()],
        )?
        .map_or(ReplicaIdentity::Nothing, ReplicaIdentity::Index),
        _ => ReplicaIdentity::Default,
    })
}

// The queries. $1 is the table; search_path is pinned, operators need no qualification.

const INDEXES: &str = "
    SELECT i.indexrelid, c.relname::text, i.indisunique, pg_get_indexdef(i.indexrelid),
           pg_get_constraintdef(k.oid), array_to_string(c.reloptions, ', ')
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    LEFT JOIN pg_constraint k
           ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u')
    WHERE i.indrelid = $1 AND i.indisvalid
    ORDER BY i.indexrelid";

/// Index of leaf $1 that belongs to index $3 of parent $2; of $2 itself if that is $1.
const INDEX_OF_LEAF: &str = "
    SELECT c.relname::text
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid
    JOIN pg_class p ON p.oid = COALESCE(h.inhparent, i.indexrelid)
    JOIN pg_index pi ON pi.indexrelid = p.oid AND pi.indrelid = $2::regclass
    WHERE i.indrelid = $1 AND p.relname = $3";

const FOREIGN_KEYS: &str = "
    SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s',
                  conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE conrelid = $1 AND contype = 'f' AND conparentid = 0
    ORDER BY conname";

const OWNED_SEQUENCES: &str = "
    SELECT format('ALTER SEQUENCE %s OWNED BY %s.%I', d.objid::regclass, $1::regclass, attname)
    FROM pg_depend d
    JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = $1 AND d.deptype = 'a'
    ORDER BY s.relname";

const IDENTITIES: &str = "
    SELECT a.attname::text, s.relname::text, d.objid::regclass::text
    FROM pg_depend d
    JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = $1 AND d.deptype = 'i'
    ORDER BY a.attnum";

const TRIGGERS: &str = "
    SELECT tgname::text FROM pg_trigger t
    WHERE tgrelid = $1 AND NOT tgisinternal AND tgparentid = 0 AND tgname !~ '^[!~]pss_'
    ORDER BY tgname";

const STATISTICS: &str = "
    SELECT format('%s.%I', stxnamespace::regnamespace, stxname)
    FROM pg_statistic_ext WHERE stxrelid = $1";

const POLICIES: &str = "SELECT polname::text FROM pg_policy WHERE polrelid = $1 ORDER BY polname";

const REVOKES: &str = "
    SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', c.oid::regclass,
                           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
    FROM pg_class c, aclexplode(relacl)
    WHERE c.oid = $1 AND grantee <> relowner";

/// Everything that comes after keys and rows, in this order.
const AFTER: &[&str] = &[
    // Extended statistics.
    "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = $1 ORDER BY stxname",
    "SELECT format('ALTER STATISTICS %s.%I SET STATISTICS %s',
                   stxnamespace::regnamespace, stxname, stxstattarget)
     FROM pg_statistic_ext WHERE stxrelid = $1 AND stxstattarget >= 0 ORDER BY stxname",
    // Per-column settings that LIKE leaves behind.
    "SELECT format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s',
                   attrelid::regclass, attname, attstattarget)
     FROM pg_attribute
     WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attname <> 'pss_partition'
       AND attstattarget >= 0 ORDER BY attnum",
    // Those that users set: a server may keep notes of its own among them.
    "SELECT format('ALTER TABLE %s ALTER COLUMN %I SET (%s)',
                   attrelid::regclass, attname, string_agg(option, ', '))
     FROM pg_attribute, unnest(attoptions) AS option
     WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attname <> 'pss_partition'
       AND option ~ '^n_distinct(_inherited)?='
     GROUP BY attrelid, attname, attnum ORDER BY attnum",
    // Triggers and their states.
    "SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t
     WHERE tgrelid = $1 AND NOT tgisinternal AND tgparentid = 0 AND tgname !~ '^[!~]pss_'
     ORDER BY tgname",
    "SELECT format('ALTER TABLE %s %s TRIGGER %I', tgrelid::regclass,
                   CASE tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
                                  ELSE 'ENABLE ALWAYS' END, tgname)
     FROM pg_trigger t
     WHERE tgrelid = $1 AND NOT tgisinternal AND tgparentid = 0 AND tgenabled <> 'O' AND tgname !~ '^[!~]pss_'
     ORDER BY tgname",
    // Row security.
    "SELECT format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', polname, polrelid::regclass,
                   CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                   CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                               WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                   (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC'
                                      ELSE quote_ident(pg_get_userbyid(role)) END, ', ')
                    FROM unnest(polroles) AS role),
                   ' USING (' || pg_get_expr(polqual, polrelid) || ')',
                   ' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')')
     FROM pg_policy WHERE polrelid = $1 ORDER BY polname",
    "SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', oid::regclass)
     FROM pg_class WHERE oid = $1 AND relrowsecurity",
    "SELECT format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', oid::regclass)
     FROM pg_class WHERE oid = $1 AND relforcerowsecurity",
    // Privileges. The owner's own are listed too: a table with an ACL starts from nothing.
    "SELECT format('REVOKE ALL ON %s FROM %I', oid::regclass, pg_get_userbyid(relowner))
     FROM pg_class WHERE oid = $1 AND relacl IS NOT NULL",
    "SELECT format('GRANT %s ON %s TO %s%s', privilege_type, c.oid::regclass,
                   CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                   CASE WHEN is_grantable AND grantee <> relowner THEN ' WITH GRANT OPTION' END)
     FROM pg_class c, aclexplode(relacl) WHERE c.oid = $1",
    "SELECT format('GRANT %s (%I) ON %s TO %s%s', privilege_type, attname, attrelid::regclass,
                   CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                   CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
     FROM pg_attribute a, aclexplode(attacl)
     WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attname <> 'pss_partition'
       ORDER BY attnum",
    // Comments: LIKE copies those of columns and check constraints.
    "SELECT format('COMMENT ON TABLE %s IS %L', $1::regclass, d)
     FROM obj_description($1, 'pg_class') AS d WHERE d IS NOT NULL",
    "SELECT format('COMMENT ON INDEX %s IS %L', indexrelid::regclass, d)
     FROM pg_index, obj_description(indexrelid, 'pg_class') AS d
     WHERE indrelid = $1 AND indisvalid AND d IS NOT NULL",
    "SELECT format('COMMENT ON CONSTRAINT %I ON %s IS %L', conname, conrelid::regclass, d)
     FROM pg_constraint c, obj_description(c.oid, 'pg_constraint') AS d
     WHERE conrelid = $1 AND d IS NOT NULL",
    "SELECT format('COMMENT ON TRIGGER %I ON %s IS %L', tgname, tgrelid::regclass, d)
     FROM pg_trigger t, obj_description(t.oid, 'pg_trigger') AS d
     WHERE tgrelid = $1 AND NOT tgisinternal AND tgname !~ '^[!~]pss_' AND d IS NOT NULL",
    "SELECT format('COMMENT ON POLICY %I ON %s IS %L', polname, polrelid::regclass, d)
     FROM pg_policy p, obj_description(p.oid, 'pg_policy') AS d
     WHERE polrelid = $1 AND d IS NOT NULL",
    "SELECT format('COMMENT ON STATISTICS %s.%I IS %L', stxnamespace::regnamespace, stxname, d)
     FROM pg_statistic_ext s, obj_description(s.oid, 'pg_statistic_ext') AS d
     WHERE stxrelid = $1 AND d IS NOT NULL",
    // Security labels.
    "SELECT format('SECURITY LABEL FOR %I ON %s%s IS %L', provider,
                   CASE objsubid WHEN 0 THEN 'TABLE ' ELSE 'COLUMN ' END || objoid::regclass,
                   (SELECT '.' || quote_ident(attname) FROM pg_attribute
                    WHERE attrelid = objoid AND attnum = objsubid AND objsubid > 0), label)
     FROM pg_seclabel WHERE classoid = 'pg_class'::regclass AND objoid = $1
     ORDER BY objsubid, provider",
];
