//! Reading a sharded table's rows, map and catalog to see whether they agree.
//!
//! Changes nothing. The data is read in one statement, so in one snapshot, as
//! the extension's owner: row security must hide no row, and the map is nobody
//! else's to read. Only stored values and hash support functions are evaluated,
//! which only superusers can define.

use pgrx::pg_sys;

use super::children::{
    self, ADOPT_TRIGGER, GUARD_TRIGGER, HOME_TRIGGER, ROUTE_TRIGGER, TRUNCATE_TRIGGER,
};
use super::sql::{extension_schema, ident, required, rows};
use crate::catalog::{self, Mapping, ShardedTable, as_extension_owner, relation_name};
use crate::error::Result;

/// What is wrong, and where.
pub struct Problem {
    pub relation: pg_sys::Oid,
    pub problem: String,
    pub detail: String,
}

/// The problems of one sharded table; none: it is healthy.
pub fn check(relation: pg_sys::Oid) -> Result<Vec<Problem>> {
    let table = catalog::require_sharded_table(relation)?;
    as_extension_owner(|| {
        let children = existing(&table)?;
        let mut found = collect(relation, CATALOG)?;
        found.extend(collect(relation, EPOCHS)?);
        found.extend(triggers(&table, &children)?);
        found.extend(collect(relation, &data_query(&table, &children)?)?);
        Ok(found)
    })
}

/// A partition that is there: number and leaf.
type Child = (u16, pg_sys::Oid);

/// The partitions that are there.
pub fn existing(table: &ShardedTable) -> Result<Vec<Child>> {
    let children = rows(
        "SELECT inhrelid FROM pg_inherits WHERE inhparent = $1",
        &[table.relation.into()],
        |row| required::<pg_sys::Oid>(row, 1),
    )?;
    let there = table.partitions.iter().filter(|p| children.contains(&p.leaf));
    Ok(there.map(|p| (p.number, p.leaf)).collect())
}

/// Runs a query with $1 the table that returns (problem, detail).
fn collect(relation: pg_sys::Oid, query: &str) -> Result<Vec<Problem>> {
    rows(query, &[relation.into()], |row| {
        Ok(Problem { relation, problem: required(row, 1)?, detail: required(row, 2)? })
    })
}

/// Triggers of ours that are missing, or do not fire when they must.
pub fn triggers(table: &ShardedTable, children: &[Child]) -> Result<Vec<Problem>> {
    let mut expected = vec![(HOME_TRIGGER, table.relation), (TRUNCATE_TRIGGER, table.relation)];
    expected.extend(children.iter().map(|&(_, leaf)| (HOME_TRIGGER, leaf)));
    expected.extend(children::inbox_of(table.relation)?.map(|inbox| (ROUTE_TRIGGER, inbox)));
    if children::needs_guard(table.relation)? {
        expected.push((GUARD_TRIGGER, table.relation));
        expected.extend(children.iter().map(|&(_, leaf)| (GUARD_TRIGGER, leaf)));
    }
    let mut expected: Vec<_> = expected.into_iter().map(|(name, on)| (name, on, "A")).collect();
    if children::is_subscribed(table.relation)? {
        expected.push((ADOPT_TRIGGER, table.relation, "R"));
    }
    let mut found = Vec::new();
    for (trigger, on, fires) in expected {
        let state = super::sql::one::<String>(
            "SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = $1 AND tgname = $2",
            &[on.into(), trigger.into()],
        )?;
        let problem = match state.as_deref() {
            Some(state) if state == fires => continue,
            Some(_) => "trigger disabled",
            None => "trigger missing",
        };
        found.push(Problem {
            relation: table.relation,
            problem: problem.into(),
            detail: format!("{} on {}", ident(trigger), relation_name(on)),
        });
    }
    Ok(found)
}

/// The query over rows and map. Identifiers are quoted by PostgreSQL; numbers are numbers.
///
/// In slot mode several homes are legal, and what the map lacks a row's slot lacks.
fn data_query(table: &ShardedTable, children: &[Child]) -> Result<String> {
    let key = ident(&table.distribution_column);
    let each = |select: &dyn Fn(&Child) -> String| {
        children.iter().map(select).collect::<Vec<_>>().join(" UNION ALL ")
    };
    let located = each(&|(n, leaf)| {
        format!("SELECT DISTINCT {key} AS key, {n} AS partition FROM ONLY {}", relation_name(*leaf))
    });
    let strays = each(&|(n, leaf)| {
        format!(
            "SELECT {n} AS partition, count(*) AS rows FROM ONLY {} WHERE pss_partition IS DISTINCT FROM {n}",
            relation_name(*leaf)
        )
    });
    let stranded = match children::inbox_of(table.relation)? {
        Some(inbox) => format!("SELECT count(*) AS rows FROM ONLY {}", relation_name(inbox)),
        None => "SELECT 0 AS rows".into(),
    };
    let entries = match table.map {
        Some(map) => format!(
            "SELECT (e >> 16) & 281474976710655 AS hash, (e & 65535)::int AS partition FROM {}",
            relation_name(map)
        ),
        None => "SELECT NULL::bigint AS hash, NULL::int AS partition WHERE false".into(),
    };
    let (problems, unknown, contradiction) = match table.mapping {
        Mapping::Row => (ONE_HOME, "key missing from the row map", "row map contradicts rows"),
        Mapping::Slot => ("", "key whose slot has no home", "row outside the homes of its slot"),
    };
    Ok(DATA
        .replace("<one home>", problems)
        .replace("<unknown>", unknown)
        .replace("<contradiction>", contradiction)
        .replace("<located>", &located)
        .replace("<strays>", &strays)
        .replace("<stranded>", &stranded)
        .replace("<entries>", &entries)
        .replace("<complete>", if table.map_complete { "true" } else { "false" })
        .replace("<hash>", &format!("{}.pss_key_hash", extension_schema()?)))
}

/// Partitions and state, as far as the catalogs tell.
const CATALOG: &str = "
    SELECT 'partition not in pss.partition', inhrelid::regclass::text
    FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE inhparent = $1
      AND pg_get_expr(relpartbound, c.oid) NOT IN ('FOR VALUES IN (''-1'')', 'FOR VALUES IN (-1)')
      AND NOT EXISTS (SELECT FROM pss.partition p WHERE p.relation = $1 AND p.leaf = inhrelid)
    UNION ALL
    SELECT 'partition missing', format('partition %s, %s', partition, leaf)
    FROM pss.partition p
    WHERE relation = $1
      AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = $1 AND inhrelid = p.leaf)
    UNION ALL
    SELECT 'inbox missing', 'no partition FOR VALUES IN (-1)'
    WHERE NOT EXISTS (SELECT FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
                      WHERE inhparent = $1
                        AND pg_get_expr(relpartbound, c.oid) IN ('FOR VALUES IN (''-1'')', 'FOR VALUES IN (-1)'))
    UNION ALL
    SELECT CASE mapping WHEN 'row' THEN 'row map incomplete' ELSE 'homes of slots incomplete' END, 'run SELECT pss_rebuild_map(' || quote_literal($1::regclass) || ')'
    FROM pss.sharded_table
    WHERE relation = $1 AND NOT EXISTS (SELECT FROM pss.map_state WHERE relation = $1 AND complete)";

/// Whether the newest epoch fits the partitions there are.
const EPOCHS: &str = "
    SELECT 'stale epoch', format('epoch %s has weights of %s partitions; there are %s',
                                 e.epoch, cardinality(e.weights), p.n)
    FROM (SELECT * FROM pss.epoch WHERE relation = $1 ORDER BY epoch DESC LIMIT 1) AS e,
         (SELECT count(*) AS n FROM pss.partition WHERE relation = $1) AS p
    WHERE cardinality(e.weights) <> p.n
    UNION ALL
    SELECT 'stale epoch', 'there is none'
    WHERE NOT EXISTS (SELECT FROM pss.epoch WHERE relation = $1)";

/// Rows against map. <...> are filled in by `data_query`.
const DATA: &str = "
    WITH located AS MATERIALIZED (<located>),
         placed AS MATERIALIZED (
             SELECT key, partition, <hash>($1, key) AS hash FROM located
             WHERE key IS DISTINCT FROM NULL),
         entry AS MATERIALIZED (<entries>),
         -- One row a hash: joined by hash, however large the table.
         home AS MATERIALIZED (
             SELECT hash, array_agg(DISTINCT partition) AS partitions FROM entry GROUP BY hash),
         spread AS MATERIALIZED (
             SELECT key_hash AS hash, homes FROM pss.multi_home WHERE relation = $1),
         judged AS (
             SELECT p.key::text, p.partition, h.hash IS NOT NULL AS known,
                    COALESCE(p.partition = ANY (h.partitions), false) AS right_place
             FROM placed p LEFT JOIN home h ON h.hash = p.hash)
    SELECT 'row in the wrong partition', format('%s rows in partition %s', rows, partition)
    FROM (<strays>) AS stray WHERE rows > 0
    UNION ALL
    SELECT 'rows in the inbox', format('%s rows; pss_rebuild_map() routes them', rows)
    FROM (<stranded>) AS stranded WHERE rows > 0
    UNION ALL
    SELECT 'row without a key', format('in partition %s', partition) FROM located
    WHERE key IS NOT DISTINCT FROM NULL
    UNION ALL
    SELECT '<unknown>',
           format('%s keys, such as %L in partition %s', count(*), min(key),
                  (array_agg(partition ORDER BY key))[1])
    FROM judged WHERE NOT known AND <complete> HAVING count(*) > 0
    UNION ALL
    SELECT '<contradiction>',
           format('%s keys, such as %L in partition %s', count(*), min(key),
                  (array_agg(partition ORDER BY key))[1])
    FROM judged WHERE known AND NOT right_place HAVING count(*) > 0
    <one home>
    UNION ALL
    SELECT 'row map names a partition that does not exist',
           format('%s entries for partition %s', count(*), partition)
    FROM entry
    WHERE NOT EXISTS (SELECT FROM pss.partition p
                      WHERE p.relation = $1 AND p.partition = entry.partition)
    GROUP BY partition";

/// What holds in row mode alone.
const ONE_HOME: &str = "
    UNION ALL
    SELECT 'key in more than one partition',
           format('%s keys, such as %L in partitions %s', count(*), min(key),
                  (array_agg(homes ORDER BY key))[1])
    FROM (SELECT key::text, string_agg(partition::text, ', ' ORDER BY partition) AS homes
          FROM placed WHERE NOT EXISTS (SELECT FROM spread WHERE spread.hash = placed.hash)
          GROUP BY key HAVING count(*) > 1) AS split
    HAVING count(*) > 0
    UNION ALL
    SELECT 'row map contradicts itself', format('%s keys with several partitions', count(*))
    FROM home WHERE cardinality(partitions) > 1
      AND NOT EXISTS (SELECT FROM spread WHERE spread.hash = home.hash)
    HAVING count(*) > 0
    UNION ALL
    SELECT 'row of a spread key outside its homes',
           format('%s keys, such as %L in partition %s', count(*), min(key::text),
                  (array_agg(partition ORDER BY key::text))[1])
    FROM placed JOIN spread USING (hash) WHERE partition <> ALL (homes) HAVING count(*) > 0
    UNION ALL
    SELECT 'row map contradicts pss.multi_home', format('%s keys that are spread', count(*))
    FROM spread LEFT JOIN home USING (hash)
    WHERE <complete> AND (partitions IS NULL OR NOT (partitions @> homes AND partitions <@ homes))
    HAVING count(*) > 0
    UNION ALL
    SELECT 'pss.multi_home names a partition that does not exist',
           format('%s keys for partition %s', count(*), partition)
    FROM spread, unnest(homes) AS named (partition)
    WHERE NOT EXISTS (SELECT FROM pss.partition p
                      WHERE p.relation = $1 AND p.partition = named.partition)
    GROUP BY partition";
