--
-- SLOT_MODE: mapping => 'slot': no row map, a key goes to the owner of its slot
--
-- Which slot a key has and who owns it is hashed: what is printed holds for any.
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
RESET client_min_messages;

-- Homes of the slots of a table: how many, and how many the widest has.
CREATE FUNCTION widths(relation regclass, OUT slots bigint, OUT homes bigint, OUT widest bigint)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT count(*), sum(n), max(n) FROM (
                        SELECT count(DISTINCT e & 65535) AS n FROM pss.map_%s GROUP BY e >> 16) AS s',
                   relation::oid)
    INTO slots, homes, widest;
END $$;
-- Takes one partition out of service, all others into it, and publishes an epoch.
CREATE FUNCTION without(partition int) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    UPDATE pss.partition p SET state = CASE WHEN p.partition = $1 THEN 'disabled' ELSE 'active' END
    WHERE relation = 't'::regclass;
    RETURN (SELECT changed FROM pss_refresh() WHERE relation = 't'::regclass);
END $$;

-- The most partitions that a look-up of one of the keys opens.
CREATE FUNCTION opened(keys bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
    most int := 0;
BEGIN
    FOR key IN 1 .. keys LOOP
        EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT JSON) SELECT FROM t WHERE k = ' || key INTO plan;
        most := greatest(most, jsonb_path_query_first(plan, 'strict $.** ? (@."Custom Plan Provider" == "PssAppend")."Partitions Opened"')::int);
    END LOOP;
    RETURN most;
END $$;

CREATE TABLE t (k bigint NOT NULL, v text);
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4, mapping => 'slot');
SELECT key_column, mapping, partitions, keys, map FROM pss.tables;
SELECT * FROM widths('t');

-- Rows go where their slot is at home, and nothing is stored of them.
INSERT INTO t SELECT g, 'first' FROM generate_series(1, 1000) AS g;
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (1, 'c') RETURNING k, v, pss_partition = pss_locate('t', k) AS at_home;
SELECT count(*) FROM t WHERE pss_partition IS DISTINCT FROM pss_locate('t', k);
SELECT count(*) BETWEEN 200 AND 300 AS has_its_share FROM t GROUP BY pss_partition;
SELECT * FROM widths('t');
SELECT * FROM pss_check('t');
SELECT opened(50);
-- A call tells the owner and records nothing.
SELECT count(*) FROM generate_series(1, 2000) AS k WHERE pss_get_partition('t', k) <> pss_locate('t', k);
SELECT pss_get_partition('t', 1) = pss_get_partition('t', '1') AS same;
SELECT item FROM pss_explain_route('t', 1) WHERE item <> 'story';

-- Another epoch: rows of one key in two partitions, all of them found.
SELECT without(0);
INSERT INTO t SELECT g, 'second' FROM generate_series(1, 1000) AS g;
SELECT count(*) FROM t WHERE v = 'second' AND pss_partition = 0;
SELECT count(*) > 100 AS split FROM (SELECT k FROM t GROUP BY k HAVING count(DISTINCT pss_partition) > 1) AS s;
SELECT DISTINCT widest, homes > 4096 AS grew FROM widths('t');
SELECT count(*) FROM generate_series(1, 1000) AS g
WHERE (SELECT count(*) FROM t WHERE k = g) < 2;
SELECT * FROM pss_check('t');
SELECT opened(50);
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT opened(1);
COMMIT;
SET pss.prune = off;
SELECT opened(1);
RESET pss.prune;
-- Of several homes, the only one with rows; NULL where there are more, or none.
SELECT bool_and(CASE homes WHEN 1 THEN located = ANY (partitions) ELSE located IS NULL END) AS right
FROM (SELECT k, count(DISTINCT pss_partition) AS homes, array_agg(pss_partition) AS partitions,
             pss_locate('t', k) AS located FROM t GROUP BY k) AS s;
SELECT count(*) FILTER (WHERE pss_locate('t', k) IS NULL) > 100 AS nowhere FROM generate_series(5001, 6000) AS k;

-- However many epochs, no more homes than the budget.
DO $$
BEGIN
    FOR i IN 1..12 LOOP
        PERFORM without(i % 4);
        INSERT INTO t SELECT g, 'epoch ' || i FROM generate_series(1, 200) AS g;
    END LOOP;
END $$;
SELECT without(-1);
SELECT slots, widest FROM widths('t');
SELECT pg_total_relation_size(map) < 1000000 AS below_1_mb FROM pss.map_state WHERE relation = 't'::regclass;
SELECT count(*) FROM generate_series(1, 200) AS g
WHERE (SELECT count(*) FROM t WHERE k = g) < 14;
SELECT opened(50);
SELECT * FROM pss_check('t');

-- A row may name any partition: it becomes a home of the slot, with the row or not at all.
CREATE FUNCTION is_home(key bigint, partition int) RETURNS bool LANGUAGE sql AS $$
    SELECT partition::text = ANY (string_to_array(value, ', ')) FROM pss_explain_route('t', key) WHERE item = 'homes'
$$;
TRUNCATE t;
SELECT * FROM widths('t');
SELECT (pss_locate('t', 7) + 1) % 4 AS other, (pss_locate('t', 7) + 2) % 4 AS another \gset
BEGIN;
INSERT INTO t (k, v, pss_partition) VALUES (7, 'named', :other);
SELECT is_home(7, :other), count(*) FROM t WHERE k = 7;
ROLLBACK;
SELECT is_home(7, :other);
BEGIN;
SAVEPOINT s;
INSERT INTO t (k, v, pss_partition) VALUES (7, 'named', :other);
ROLLBACK TO s;
SELECT is_home(7, :other);
INSERT INTO t (k, v, pss_partition) VALUES (7, 'named', :other);
COMMIT;
SELECT is_home(7, :other), is_home(7, :another);
SELECT v FROM t WHERE k = 7;
CREATE FUNCTION into_leaf(key bigint, partition int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN EXECUTE format('INSERT INTO t_p%s (k, v, pss_partition) VALUES (%s, ''leaf'', %1$s)', partition, key); END $$;
SELECT into_leaf(7, :another);
SELECT is_home(7, :another);
INSERT INTO t (k, pss_partition) VALUES (7, 9);
COPY t (k, v, pss_partition) FROM stdin;
8	copied	0
8	copied	1
8	copied	2
8	copied	3
\.
SELECT count(*) FROM t WHERE k = 8;
SELECT pss_rebuild_map('t') > 0 AS rebuilt;
SELECT map FROM pss.tables;
SELECT is_home(8, p) FROM generate_series(0, 3) AS p;
SELECT * FROM pss_check('t');

-- The other doors and statements
COPY t (k, v) FROM stdin;
9	by copy
\.
SET pss.routing = trigger;
INSERT INTO t VALUES (9, 'by trigger');
RESET pss.routing;
SELECT count(DISTINCT pss_partition), count(*) FROM t WHERE k = 9;
UPDATE t SET v = v || '!' WHERE k = 9;
DELETE FROM t WHERE k = 9;
SELECT count(*) FROM t WHERE k = 9;
INSERT INTO t VALUES (NULL, 'no key');
-- A row whose key changes goes to the owner of its new slot.
INSERT INTO t SELECT g, 'old key' FROM generate_series(2001, 2100) AS g;
UPDATE t SET k = k + 1000 WHERE v = 'old key';
MERGE INTO t USING generate_series(3091, 3110) AS g ON k = g
WHEN MATCHED THEN UPDATE SET k = k + 1000
WHEN NOT MATCHED THEN INSERT (k, v) VALUES (g, 'merged');
SELECT count(*) FILTER (WHERE n = 1) AS found FROM generate_series(2001, 5000) AS g,
       LATERAL (SELECT count(*) AS n FROM t WHERE k = g) AS s;
SELECT count(*) FROM t WHERE k > 2000 AND pss_partition <> pss_get_partition('t', k);
SELECT * FROM pss_check('t');

-- A transaction with a snapshot of its own finds its own rows, whatever epoch they came by.
CREATE TABLE s (k bigint NOT NULL);
SET client_min_messages = warning;
SELECT count(*) FROM pss_distribute_table('s', 'k', 2, mapping => 'slot');
RESET client_min_messages;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO s SELECT generate_series(1, 100);
SELECT count(*) FROM generate_series(1, 100) AS g WHERE EXISTS (SELECT FROM s WHERE k = g);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT value FROM pss_explain_route('s', 1) WHERE item = 'homes';
COMMIT;
DROP TABLE s;

-- Without its map, as after a restore: all partitions, until it has been made anew.
BEGIN;
DO $$
BEGIN
    DELETE FROM pg_depend WHERE objid = format('pss.map_%s', 't'::regclass::oid)::regclass AND deptype = 'e';
    EXECUTE format('DROP TABLE pss.map_%s', 't'::regclass::oid);
    DELETE FROM pss.map_state;
    GRANT SELECT ON t TO PUBLIC; -- sessions look at the table anew
END $$;
SELECT map FROM pss.tables;
SELECT value FROM pss_explain_route('t', 7) WHERE item = 'homes';
SELECT count(*) FROM t WHERE k = 7;
INSERT INTO t VALUES (7, 'after the restore');
SELECT map FROM pss.tables;
SELECT count(*) FROM t WHERE k = 7;
COMMIT;
SELECT pss_rebuild_map('t') AS rows;
SELECT map FROM pss.tables;
SELECT is_home(7, :other), is_home(7, :another);
SELECT * FROM pss_check('t');
-- What a check would find.
DO $$
BEGIN
    EXECUTE format('DELETE FROM pss.map_%s WHERE e >> 16 = pss_key_hash(%L, 7::bigint) AND e & 65535 <> pss_get_partition(%2$L, 7::bigint)',
                   't'::regclass::oid, 't');
END $$;
SELECT problem FROM pss_check('t');
SELECT pss_rebuild_map('t') > 0 AS rebuilt;
SELECT problem FROM pss_check('t');

-- To row mode: not while a key has rows in two partitions.
DELETE FROM t WHERE k = 7;
SELECT pss_alter_table('t', mapping => 'row');
DELETE FROM t WHERE k = 8;
INSERT INTO t SELECT generate_series(1, 500), 'one home';
SELECT pss_alter_table('t', mapping => 'row');
SELECT mapping, map FROM pss.tables;
INSERT INTO t SELECT generate_series(1, 1000), 'again';
SELECT count(*) FROM t WHERE pss_partition IS DISTINCT FROM pss_locate('t', k);
SELECT count(*) FROM (SELECT FROM t GROUP BY k HAVING count(DISTINCT pss_partition) > 1) AS split;
SELECT * FROM pss_check('t');
-- And back: homes are where rows are.
SET client_min_messages = warning;
SELECT pss_alter_table('t', mapping => 'slot');
RESET client_min_messages;
SELECT mapping, keys, map FROM pss.tables;
INSERT INTO t SELECT generate_series(1, 1000), 'by slot';
SELECT count(*) FROM generate_series(1, 1000) AS g WHERE (SELECT count(*) FROM t WHERE k = g) < 2;
SELECT * FROM pss_check('t');
-- Once more: homes without rows are forgotten.
DELETE FROM t;
SELECT pss_alter_table('t', mapping => 'slot');
SELECT * FROM widths('t');
SELECT kind, message FROM pss.event WHERE kind = 'alter' ORDER BY event_id;

-- Unique keys
CREATE UNIQUE INDEX ON t (k, pss_partition);
ALTER TABLE t ADD UNIQUE (k, pss_partition);
CREATE TABLE u (k bigint PRIMARY KEY, v text);
SELECT count(*) FROM pss_distribute_table('u', 'k', 4, mapping => 'slot');
SELECT count(*) FROM pss_distribute_table('u', 'k', 4, unique_scope => 'partition');
SELECT count(*) FROM pss_distribute_table('u', 'k', 4, mapping => 'slot', unique_scope => 'world');
SELECT count(*) FROM pss_distribute_table('u', 'k', 4, mapping => 'slot', unique_scope => 'partition');
CREATE UNIQUE INDEX u_v ON u (v, pss_partition);
SELECT pss_alter_table('u', unique_scope => 'table');
SELECT pss_alter_table('u', mapping => 'row');
DROP INDEX u_v;
SELECT pss_alter_table('u', mapping => 'row');
INSERT INTO u VALUES (1, 'x'), (2, 'y');
SELECT pss_alter_table('u', mapping => 'slot');
SELECT pss_alter_table('u', unique_scope => 'partition');
SET client_min_messages = warning;
SELECT pss_alter_table('u', mapping => 'slot', unique_scope => 'partition');
RESET client_min_messages;
SELECT pss_alter_table('u', mapping => 'column');
SELECT pss_alter_table('u', mapping => NULL);
INSERT INTO u VALUES (1, 'z') ON CONFLICT (k) DO UPDATE SET v = excluded.v RETURNING k, v;

-- Tables with rows: attached as partition 0, or routed; no index is needed.
CREATE TABLE a AS SELECT g AS k FROM generate_series(1, 1000) AS g;
SELECT count(*) FROM pss_distribute_table('a', 'k', 4, mapping => 'slot');
INSERT INTO a SELECT generate_series(1, 1000);
SELECT count(*) FROM generate_series(1, 1000) AS g WHERE (SELECT count(*) FROM a WHERE k = g) <> 2;
SELECT * FROM pss_check('a');
CREATE TABLE c AS SELECT g AS k FROM generate_series(1, 900) AS g;
SELECT count(*) FROM pss_distribute_table('c', 'k', 4, mapping => 'slot', existing => 'copy');
SELECT count(*), count(DISTINCT pss_partition) FROM c;
SELECT * FROM pss_check('c');
-- A partition goes, with its rows; its slots find new owners.
ALTER TABLE c DETACH PARTITION c_p1;
INSERT INTO c SELECT generate_series(1, 1000);
SELECT count(*) FILTER (WHERE pss_partition = 1) AS gone, count(*) > 1000 AS there FROM c;
SELECT count(*) FROM pss_refresh() WHERE relation = 'c'::regclass;
INSERT INTO c SELECT generate_series(1, 1000);
SELECT count(*) FROM generate_series(1, 1000) AS g WHERE (SELECT count(*) FROM c WHERE k = g) < 2;
SELECT * FROM pss_check('c');
SELECT pss_undistribute_table('c');
SELECT pss_expect_key('t', 1::bigint, 5, now(), now() + '1 hour');
SELECT pss_move_key('t', 1::bigint, 0);
SELECT * FROM pss_clean_map('t');
