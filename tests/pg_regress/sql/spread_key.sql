-- Spreading a hot key over several partitions, and bringing its rows together again.
CREATE EXTENSION pss;
SET client_min_messages = warning;
CREATE TABLE t (k text, n int);
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
INSERT INTO t SELECT 'hot', g FROM generate_series(1, 10) g;
INSERT INTO t SELECT 'cold ' || g, g FROM generate_series(1, 20) g;
SELECT pss_locate('t', 'hot'::text) AS first \gset
CREATE VIEW places AS
SELECT count(DISTINCT pss_partition) AS partitions, count(*) AS rows,
       max(n) FILTER (WHERE n > 1000) AS last FROM t WHERE k = 'hot';
-- A node's properties: which partitions a look-up opened.
CREATE FUNCTION opened(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
        IF line ~ 'Partitions Opened' THEN RETURN btrim(line); END IF;
    END LOOP;
END $$;

-- No row moves; new ones go to all homes; the first home stays the first.
SELECT homes[1] = :first AS first, cardinality(homes) FROM pss_spread_key('t', 'hot'::text, 3) AS homes;
SELECT * FROM places;
INSERT INTO t SELECT 'hot', g FROM generate_series(1001, 1300) g;
SELECT * FROM places;
SELECT min(n) BETWEEN 80 AND 120 AS alike, max(n) BETWEEN 80 AND 120 AS likewise
FROM (SELECT count(*) AS n FROM t WHERE k = 'hot' AND n > 1000 GROUP BY pss_partition) AS x;
-- Single rows, COPY, prepared, in one batch with other keys, new ones among them.
INSERT INTO t SELECT CASE WHEN g % 2 = 0 THEN 'hot' ELSE 'new ' || g END, g FROM generate_series(2001, 2100) g;
DO $$ BEGIN FOR i IN 3001 .. 3030 LOOP INSERT INTO t VALUES ('hot', i); END LOOP; END $$;
COPY t (k, n) FROM PROGRAM 'seq 4001 4060 | sed "s/^/hot\t/"';
SELECT n / 1000 AS door, count(*), count(DISTINCT pss_partition) AS partitions
FROM t WHERE k = 'hot' GROUP BY 1 ORDER BY 1;
SET pss.routing = 'trigger';
INSERT INTO t SELECT 'hot', g FROM generate_series(5001, 5060) g;
RESET pss.routing;
SELECT count(DISTINCT pss_partition) FROM t WHERE k = 'hot' AND n > 5000;

-- Look-ups open its homes alone, those of others one; all rows are found.
SELECT opened('SELECT * FROM t WHERE k = ''hot''') AS hot, opened('SELECT * FROM t WHERE k = ''cold 1''') AS cold;
SET pss.prune = off;
SELECT count(*) FROM t WHERE k = 'hot';
RESET pss.prune;
SELECT count(*) FROM t WHERE k = 'hot';
SELECT pss_locate('t', 'hot'::text) AS several, pss_locate('t', 'cold 1'::text) IS NOT NULL AS one;
SELECT item, CASE WHEN item IN ('key hash', 'weights', 'epoch') THEN '...' ELSE value END AS value
FROM pss_explain_route('t', 'hot'::text) WHERE item NOT IN ('homes', 'story') OR value LIKE 'A read%';
SELECT pss_get_partition('t', 'hot'::text) = ANY (homes) AS reserved FROM pss.multi_home;

-- A row may name any of the homes, and no other partition.
SELECT homes[2] AS second, homes[3] AS third,
       (SELECT min(p) FROM generate_series(0, 3) p WHERE p <> ALL (homes)) AS other
FROM pss.multi_home \gset
INSERT INTO t (k, n, pss_partition) VALUES ('hot', 6001, :second), ('hot', 6002, :third), ('hot', 6003, :first);
SELECT count(DISTINCT pss_partition) FROM t WHERE n BETWEEN 6001 AND 6003;
\set VERBOSITY terse
\set SHOW_CONTEXT never
DO $$
DECLARE other int := (SELECT min(p) FROM pss.multi_home, generate_series(0, 3) p WHERE p <> ALL (homes));
BEGIN
    EXECUTE format('INSERT INTO t (k, n, pss_partition) VALUES (''hot'', 6004, %s)', other);
EXCEPTION WHEN check_violation THEN RAISE WARNING 'refused';
END $$;
DO $$
DECLARE other int := (SELECT min(p) FROM pss.multi_home, generate_series(0, 3) p WHERE p <> ALL (homes));
BEGIN
    EXECUTE format('UPDATE t SET pss_partition = %s WHERE k = ''hot'' AND n = 6001', other);
EXCEPTION WHEN check_violation THEN RAISE WARNING 'refused';
END $$;
\set VERBOSITY default
-- An UPDATE that leaves the key leaves the row where it is; one that sets it to a spread key brings it
-- to a home; one that sets it to another key away.
UPDATE t SET n = n + 1000 WHERE k = 'hot' AND n BETWEEN 6001 AND 6003;
SELECT count(DISTINCT pss_partition) FROM t WHERE n BETWEEN 7001 AND 7003;
UPDATE t SET k = 'hot', n = n + 8000 WHERE k LIKE 'new %';
SELECT count(*), count(DISTINCT pss_partition) FROM t WHERE k = 'hot' AND n > 10000;
UPDATE t SET k = 'cold 1' WHERE k = 'hot' AND n > 10000;
SELECT count(*), count(DISTINCT pss_partition) FROM t WHERE k = 'cold 1';
DELETE FROM t WHERE k = 'hot' AND n BETWEEN 7001 AND 7003;
MERGE INTO t USING (VALUES ('hot', 1), ('hot', 99)) AS s (k, n) ON t.k = s.k AND t.n = s.n
WHEN MATCHED THEN UPDATE SET n = 9001 WHEN NOT MATCHED THEN INSERT VALUES (s.k, s.n);
SELECT n FROM t WHERE k = 'hot' AND n IN (99, 9001) ORDER BY n;
SELECT * FROM pss_check('t');

-- Guards see that, too: a leaf by name.
SELECT leaf AS home FROM pss.partition WHERE partition = :second \gset
SELECT leaf AS stranger FROM pss.partition WHERE partition = :other \gset
INSERT INTO :home VALUES ('hot', 9100, :second);
\set VERBOSITY sqlstate
INSERT INTO t VALUES ('guarded', 1);
UPDATE :stranger SET k = 'hot' WHERE n = (SELECT min(n) FROM :stranger);
\set VERBOSITY default
SELECT * FROM pss_check('t');

-- Its homes are neither orphans nor duplicates; batches of moves pass over it.
SET pss.reservation_ttl = 0;
DELETE FROM t WHERE k = 'hot' AND pss_partition = :third;
SELECT * FROM pss_clean_map('t');
SELECT bool_or(p = :third) AS still_used
FROM (SELECT pss_get_partition('t', 'hot'::text) AS p FROM generate_series(1, 20) OFFSET 0) AS x;
CALL pss_move_keys('t', :first, :other);
SELECT count(DISTINCT pss_partition) AS homes_left FROM t WHERE k = 'hot';
SELECT * FROM pss_check('t');

-- More partitions later, not fewer.
SELECT cardinality(homes) FROM pss_spread_key('t', 'hot'::text, 4) AS homes;
\set VERBOSITY terse
SELECT pss_spread_key('t', 'hot'::text, 2);
\set VERBOSITY default
SELECT pss_spread_key('t', 'hot'::text, 5);
SELECT pss_spread_key('t', 'hot'::text, 1);
SELECT pss_spread_key('t', NULL::text, 2);
SELECT pss_spread_key('t', 'hot'::text, NULL);
SELECT pss_spread_key('t', 'hot'::text, 2, 'row');

-- TRUNCATE keeps the list, and the homes.
BEGIN;
TRUNCATE t;
INSERT INTO t SELECT 'hot', g FROM generate_series(1, 100) g;
SELECT * FROM places;
SELECT * FROM pss_check('t');
ROLLBACK;


-- The map is made anew from rows and list, as after a restore: the catalog is written by hand.
SELECT map FROM pss.map_state \gset
BEGIN;
DELETE FROM pss.map_state;
DELETE FROM pg_depend WHERE objid = :'map'::regclass AND deptype = 'e';
DROP TABLE :map;
SELECT pss_rebuild_map('t') > 0 AS rebuilt;
SELECT * FROM pss_check('t');
SELECT opened('SELECT * FROM t WHERE k = ''hot''');
ROLLBACK;

-- Rolled back: as if it had not been.
BEGIN;
SELECT cardinality(pss_spread_key('t', 'cold 2', 2));
INSERT INTO t SELECT 'cold 2', g FROM generate_series(1, 20) g;
SELECT count(DISTINCT pss_partition) FROM t WHERE k = 'cold 2';
SAVEPOINT s;
SELECT pss_unspread_key('t', 'cold 2') > 0 AS moved;
SELECT count(DISTINCT pss_partition) FROM t WHERE k = 'cold 2';
INSERT INTO t SELECT 'cold 2', g FROM generate_series(1, 20) g;
SELECT count(DISTINCT pss_partition) FROM t WHERE k = 'cold 2';
ROLLBACK TO s;
INSERT INTO t SELECT 'cold 2', g FROM generate_series(1, 20) g;
SELECT count(DISTINCT pss_partition), count(*) FROM t WHERE k = 'cold 2';
SELECT * FROM pss_check('t');
ROLLBACK;
INSERT INTO t SELECT 'cold 2', g FROM generate_series(1, 20) g;
SELECT count(DISTINCT pss_partition), count(*) FROM t WHERE k = 'cold 2';
-- A key that has no row yet, in a transaction of its own snapshot afterwards.
SELECT cardinality(pss_spread_key('t', 'to come', 2));
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO t SELECT 'to come', g FROM generate_series(1, 20) g;
SELECT count(DISTINCT pss_partition), count(*) FROM t WHERE k = 'to come';
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO t SELECT 'to come', g FROM generate_series(1, 20) g;
SELECT count(*), max(n) FROM t WHERE k = 'to come';
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pss_spread_key('t', 'cold 3', 2);
ROLLBACK;

-- Together again: by pss_unspread_key, or where pss_move_key says.
SELECT pss_unspread_key('t', 'cold 1');
SELECT pss_unspread_key('t', 'to come') BETWEEN 1 AND 39 AS moved;
SELECT count(DISTINCT pss_partition), count(*) FROM t WHERE k = 'to come';
SELECT count(*) FROM t WHERE k = 'hot' \gset before_
SELECT pss_move_key('t', 'hot'::text, :other) > 0 AS moved;
SELECT count(DISTINCT pss_partition), count(*) = :before_count AS all FROM t WHERE k = 'hot';
SELECT pss_locate('t', 'hot'::text) = :other AS there;
INSERT INTO t SELECT 'hot', g FROM generate_series(1, 50) g;
SELECT count(DISTINCT pss_partition) FROM t WHERE k = 'hot';
SELECT count(*) FROM pss.multi_home;
SELECT opened('SELECT * FROM t WHERE k = ''hot''');
SELECT * FROM pss_check('t');
SELECT kind, count(*) FROM pss.event WHERE kind LIKE '%spread' GROUP BY 1 ORDER BY 1;

-- What pss_check() tells of a list that somebody wrote by hand.
INSERT INTO pss.multi_home (relation, key_hash, homes) VALUES ('t', pss_key_hash('t', 'hot'::text), '{7,8}');
SELECT problem, regexp_replace(detail, 'partition [0-3]$', 'partition') AS detail FROM pss_check('t') ORDER BY problem, detail;
DELETE FROM pss.multi_home;

-- A partition that is detached is nobody's home any more.
SELECT cardinality(pss_spread_key('t', 'cold 4', 4)) + cardinality(pss_spread_key('t', 'cold 5', 2)) AS homes;
SELECT format('ALTER TABLE t DETACH PARTITION %s', leaf) AS detach FROM pss.partition WHERE partition = 3 \gset
:detach;
SELECT bool_and(3 <> ALL (homes)) AS gone, max(cardinality(homes)) FROM pss.multi_home;
INSERT INTO t SELECT 'cold 4', g FROM generate_series(1, 100) g;
SELECT count(DISTINCT pss_partition) FROM t WHERE k = 'cold 4';
SELECT * FROM pss_check('t') WHERE problem <> 'stale epoch';
-- Other mappings have no such list.
SELECT pss_alter_table('t', mapping => 'slot');
SELECT count(*) FROM pss.multi_home;
SELECT pss_spread_key('t', 'cold 4', 2);
-- Its first row may have gone with the partition.
SELECT count(*) BETWEEN 100 AND 101 AS found FROM t WHERE k = 'cold 4';
DROP TABLE t CASCADE;

-- Unique keys hold over the whole table, or not at all.
CREATE TABLE u (k int, id bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (k, id));
SELECT count(*) FROM pss_distribute_table('u', 'k', 3);
SELECT pss_spread_key('u', 1, 2);
SET client_min_messages = notice;
SELECT cardinality(pss_spread_key('u', 1, 2, unique_scope => 'partition'));
SET client_min_messages = warning;
INSERT INTO u (k) SELECT 1 FROM generate_series(1, 20);
SELECT count(DISTINCT pss_partition) FROM u WHERE k = 1;
ALTER TABLE u ADD COLUMN note text;
DROP TABLE u;
CREATE TABLE v (k int, id int);
SELECT count(*) FROM pss_distribute_table('v', 'k', 3);
SELECT cardinality(pss_spread_key('v', 1, 2));
CREATE UNIQUE INDEX one ON v (k, id, pss_partition);
SELECT pss_unspread_key('v', 1);
CREATE UNIQUE INDEX one ON v (k, id, pss_partition);
-- A key of a type whose hash a dump would change.
CREATE TYPE colour AS ENUM ('red', 'green');
CREATE TABLE e (c colour);
SELECT count(*) FROM pss_distribute_table('e', 'c', 2);
SELECT pss_spread_key('e', 'red'::colour, 2);

-- Owners only, and the hashes are nobody's to read.
CREATE ROLE regress_pss_writer;
GRANT ALL ON v TO regress_pss_writer;
GRANT EXECUTE ON FUNCTION pss_spread_key(regclass, anyelement, int, text) TO regress_pss_writer;
INSERT INTO v VALUES (2, 1);
DROP INDEX one;
SELECT cardinality(pss_spread_key('v', 2, 3));
SET ROLE regress_pss_writer;
SELECT pss_spread_key('v', 2, 2);
SELECT * FROM pss.multi_home;
INSERT INTO v SELECT 2, g FROM generate_series(1, 60) g;
SELECT count(DISTINCT pss_partition), count(*) FROM v WHERE k = 2;
RESET ROLE;
DROP TABLE v, e;
SELECT count(*) FROM pss.multi_home;
DROP TYPE colour;
REVOKE ALL ON FUNCTION pss_spread_key(regclass, anyelement, int, text) FROM regress_pss_writer;
DROP ROLE regress_pss_writer;
