//! What must hold of a sharded table after each form, whatever came of it.
//!
//! Must never trust pss_check() alone: a checker that is wrong reports nothing either.

use anyhow::Result;

use super::door::Door;
use super::script::Fixture;
use super::side::Side;

/// What is wrong with the fixture's sharded table, if something is.
pub fn inspect(side: &mut Side, fixture: &Fixture, door: &Door) -> Result<Option<String>> {
    let key = &fixture.key;
    let row_mode = !door.distribution.contains("slot");
    let mut problems = vec![
        "SELECT 'the inbox holds ' || t::text FROM t WHERE pss_partition < 0".to_owned(),
        "SELECT 'a leaf holds a row of another: ' || t::text FROM t
         LEFT JOIN pss.partition AS p ON p.leaf = t.tableoid
         WHERE p.partition IS DISTINCT FROM t.pss_partition"
            .to_owned(),
        format!(
            "SELECT format('by key %s are %s rows, there are %s', o.k,
                    (SELECT count(*) FROM t AS i WHERE i.{key} = o.k), o.n)
             FROM (SELECT {key} AS k, count(*) AS n FROM t GROUP BY {key}) AS o
             WHERE (SELECT count(*) FROM t AS i WHERE i.{key} = o.k) <> o.n"
        ),
        "SELECT 'pss_check: ' || problem || ', ' || detail FROM pss_check('t')
         WHERE problem <> 'row map incomplete'"
            .to_owned(),
    ];
    if row_mode {
        problems.push(format!(
            "SELECT 'split: key ' || {key}::text FROM t GROUP BY {key}
             HAVING count(DISTINCT pss_partition) > 1"
        ));
        problems.push(format!(
            "SELECT format('key %s is in %s, the map says %s', {key}, pss_partition,
                    pss_locate('t', {key}))
             FROM t WHERE pss_locate('t', {key}) IS DISTINCT FROM pss_partition"
        ));
    }
    if door.calls_first {
        problems.push(format!(
            "SELECT format('the call said %s for key %s, which is in %s', c.partition, c.k,
                    t.pss_partition)
             FROM t JOIN called AS c ON c.k = t.{key}::text WHERE c.partition <> t.pss_partition"
        ));
    }
    side.ask(&format!(
        "SELECT string_agg(p, '; ') FROM ({}) AS s (p)",
        problems.join(" UNION ALL ")
    ))
}
