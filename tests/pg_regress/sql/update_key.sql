--
-- UPDATE KEY: an UPDATE of the distribution column carries the row to its new home
--
-- Which partition a new key gets is drawn; what is printed is whether the rows of a key are
-- in one, and whether the map agrees.
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE TABLE t (k int NOT NULL, v text, n int DEFAULT 0, g int GENERATED ALWAYS AS (k * 10) STORED);
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
CREATE TABLE u (k int PRIMARY KEY, v text);
SELECT count(*) FROM pss_distribute_table('u', 'k', 4);
RESET client_min_messages;
CREATE FUNCTION whole(relation regclass, OUT rows bigint, OUT keys bigint, OUT split bigint, OUT misplaced bigint)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT count(*), count(DISTINCT k), count(DISTINCT (k, pss_partition)) - count(DISTINCT k),
                           count(*) FILTER (WHERE pss_locate(%1$L, k) IS DISTINCT FROM pss_partition) FROM %1$s', relation)
    INTO rows, keys, split, misplaced;
END $$;
INSERT INTO t SELECT g % 100, 'v' || g FROM generate_series(1, 300) AS g;

-- all forms of SET, with true counts and what was stored
\set QUIET off
UPDATE t SET k = 1000 WHERE k = 1;
UPDATE t SET k = k + 1000, n = n + 1 WHERE k BETWEEN 2 AND 20;
UPDATE t SET (k, v) = (SELECT 2000, 'sub-select') WHERE k = 21;
UPDATE t SET (v, k) = ROW ('row', 2001) WHERE k = 22;
UPDATE t SET k = 2002 WHERE k = 23 RETURNING k, g, n, pss_partition = pss_locate('t', 2002) AS at_home;
UPDATE t SET k = 42 WHERE false;
\set QUIET on
SELECT * FROM whole('t');

-- onto a key that has a home already, and back
UPDATE t SET k = 30 WHERE k = 31;
UPDATE t SET k = 31 WHERE k = 30 AND v = 'v31';
SELECT count(*) FROM t WHERE k IN (30, 31) GROUP BY k ORDER BY k;
SELECT * FROM whole('t');

-- the new key is evaluated once a row
CREATE SEQUENCE s START 5000;
UPDATE t SET k = nextval('s') WHERE k = 40;
SELECT currval('s'), count(*) FROM t WHERE k >= 5000;

-- a key that stays the same is no news
SELECT sum(new_keys) AS before FROM pss.stat_routing \gset
UPDATE t SET k = k, v = 'same' WHERE k = 50;
UPDATE t SET k = 50, pss_partition = pss_partition WHERE k = 50;
UPDATE t SET v = 'plain' WHERE k = 51;
SELECT sum(new_keys) - :before AS new_keys FROM pss.stat_routing;

-- sources of all kinds: FROM, joins, CTEs, sub-queries, the table itself
CREATE TABLE change (old int, new int);
INSERT INTO change VALUES (60, 3000), (61, 3001), (62, 3000);
UPDATE t SET k = new FROM change WHERE k = old;
WITH c AS (SELECT 63 AS old, 3003 AS new) UPDATE t SET k = c.new FROM c WHERE k = c.old;
WITH moved AS (UPDATE t SET k = 3004 WHERE k = 64 RETURNING k, pss_partition)
SELECT k, count(*), count(DISTINCT pss_partition) FROM moved GROUP BY k;
UPDATE t SET k = o.k + 4000 FROM t AS o WHERE o.k = t.k AND o.v = t.v AND t.k = 65;
UPDATE t AS x SET k = (SELECT max(k) + 1 FROM t) WHERE k = 66;
UPDATE t SET k = 3010 WHERE ctid = (SELECT ctid FROM t WHERE k = 67 LIMIT 1) AND k = 67;
SELECT k, count(*) FROM t WHERE k BETWEEN 3000 AND 3010 GROUP BY k ORDER BY k;
SELECT * FROM whole('t');

-- prepared, custom and generic; PL/pgSQL; a cursor
PREPARE move(int, int) AS UPDATE t SET k = $2 WHERE k = $1;
EXECUTE move(70, 7000);
SET plan_cache_mode = force_generic_plan;
EXECUTE move(71, 7000);
EXECUTE move(7000, 7001);
RESET plan_cache_mode;
DO $$
DECLARE n bigint;
BEGIN
    UPDATE t SET k = k + 7000 WHERE k BETWEEN 72 AND 74;
    GET DIAGNOSTICS n = ROW_COUNT;
    RAISE NOTICE '% rows', n;
END $$;
BEGIN;
DECLARE c CURSOR FOR SELECT k FROM t WHERE k = 75 FOR UPDATE;
FETCH 1 FROM c;
UPDATE t SET k = 7075 WHERE CURRENT OF c;
COMMIT;
SELECT count(*) FROM t WHERE k IN (7001, 7072, 7073, 7074, 7075);

-- views, with and without a check
CREATE VIEW tv AS SELECT v AS word, k AS id FROM t WHERE k < 8000 WITH CHECK OPTION;
UPDATE tv SET id = 7080 WHERE id = 80;
\set VERBOSITY terse
UPDATE tv SET id = 8080 WHERE id = 81;
\set VERBOSITY default
SELECT count(*) FROM t WHERE k IN (7080, 81);

-- rights: column privileges as on any table; pss_partition needs none
CREATE ROLE regress_update_key;
GRANT SELECT, UPDATE (k) ON t TO regress_update_key;
SET ROLE regress_update_key;
UPDATE t SET k = 9000 WHERE k = 82;
UPDATE t SET v = 'no' WHERE k = 82;
RESET ROLE;
SELECT count(*) FROM t WHERE k = 9000;
DROP OWNED BY regress_update_key;
DROP ROLE regress_update_key;

-- triggers: a row that is carried fires those of a row movement; one that changes the key is noticed
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% % of key %', TG_WHEN, TG_OP, CASE WHEN TG_OP = 'DELETE' THEN OLD.k ELSE NEW.k END;
    IF TG_OP = 'UPDATE' AND TG_WHEN = 'BEFORE' AND NEW.v = 'rekey' THEN NEW.k := 6; END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER tell_before BEFORE UPDATE ON u FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER tell_after AFTER UPDATE ON u FOR EACH ROW EXECUTE FUNCTION tell();
INSERT INTO u (k, v, pss_partition) VALUES (1, 'a', 0), (2, 'b', 1), (3, 'c', 2), (5, 'e', 0), (6, 'f', 1);
UPDATE u SET k = 4, pss_partition = 3 WHERE k = 1;
UPDATE u SET v = 'stays' WHERE k = 4;
UPDATE u SET v = 'rekey' WHERE k = 5;
DROP TRIGGER tell_before ON u;
DROP TRIGGER tell_after ON u;

-- uniqueness holds wherever the row came from
\set VERBOSITY sqlstate
UPDATE u SET k = 2 WHERE k = 3;
UPDATE u SET k = NULL WHERE k = 3;
\set VERBOSITY default
SELECT k, v FROM u ORDER BY k;

-- ON CONFLICT DO UPDATE cannot carry a row: it may set the key to what it is
INSERT INTO u VALUES (2, 'x') ON CONFLICT (k) DO UPDATE SET k = excluded.k, v = 'kept its key' RETURNING k, v;
INSERT INTO u VALUES (2, 'x') ON CONFLICT (k) DO UPDATE SET k = 3;
SELECT k, v FROM u WHERE k IN (2, 3) ORDER BY k;

-- foreign keys that cascade onto the distribution column
CREATE TABLE parent (id int PRIMARY KEY);
INSERT INTO parent VALUES (100), (101);
DELETE FROM u;
ALTER TABLE u ADD FOREIGN KEY (k) REFERENCES parent (id) ON UPDATE CASCADE;
INSERT INTO u VALUES (100, 'child'), (101, 'child');
UPDATE parent SET id = id + 100;
SELECT k, v, pss_partition = pss_locate('u', k) AS at_home FROM u ORDER BY k;

-- pss_partition by hand: only to what it is, or to be routed again
SELECT pss_partition AS home, (pss_partition + 1) % 4 AS other FROM t WHERE k = 90 LIMIT 1 \gset
UPDATE t SET pss_partition = :home WHERE k = 90;
UPDATE t SET pss_partition = -1 WHERE k = 90;
UPDATE t SET pss_partition = DEFAULT WHERE k = 90;
UPDATE t SET pss_partition = 99 WHERE k = 90;
DO $$
BEGIN
    UPDATE t SET pss_partition = (pss_partition + 1) % 4 WHERE k = 90;
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE '%, hint to pss_move_key: %', SQLSTATE, SQLERRM ~ 'names partition';
END $$;
-- with a key it is what an INSERT may say, too
INSERT INTO t (k, pss_partition) VALUES (9099, :home);
UPDATE t SET k = 9100, pss_partition = :other WHERE k = 9099;
SELECT pss_locate('t', 9100) = :other AS where_it_was_told;
INSERT INTO t (k, pss_partition) VALUES (9300, 0), (9301, 0);
UPDATE t SET k = 9301, pss_partition = 1 WHERE k = 9300;

-- a leaf by name: what stays in it passes, what would have to leave it is refused
SELECT leaf FROM pss.partition WHERE relation = 't'::regclass AND partition = :other \gset
UPDATE :leaf SET k = 9101 WHERE k = 9100;
SELECT count(*), bool_and(pss_partition = :other) AS stayed FROM t WHERE k = 9101;
INSERT INTO t (k, pss_partition) VALUES (9102, :home);
\set VERBOSITY sqlstate
UPDATE :leaf SET k = 9102 WHERE k = 9101;
\set VERBOSITY default

-- savepoints and isolation levels
BEGIN;
UPDATE t SET k = 9200 WHERE k = 93;
SAVEPOINT a;
UPDATE t SET k = 9201 WHERE k = 9200;
ROLLBACK TO a;
COMMIT;
SELECT count(*), pss_locate('t', 9201) FROM t WHERE k = 9200;
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE t SET k = 9202 WHERE k = 94;
UPDATE t SET k = 9203 WHERE k = 9202;
SELECT count(*) FROM t WHERE k = 9203;
COMMIT;
SELECT * FROM whole('t');

-- EXPLAIN shows the node; an UPDATE of other columns has none
EXPLAIN (COSTS OFF) UPDATE u SET v = 'x' WHERE pss_partition = 0;
EXPLAIN (COSTS OFF) UPDATE u SET k = 7 WHERE pss_partition = 0;
CREATE FUNCTION nodes(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) ' || command INTO plan;
    RETURN QUERY SELECT concat_ws(' ', node ->> 'Custom Plan Provider', node ->> 'Distribution Column',
                                  'actual rows:', (node ->> 'Actual Rows')::numeric::int, 'moved or stayed:',
                                  (node ->> 'Rows Moved')::int BETWEEN 0 AND 3)
                 FROM jsonb_path_query(plan, '$[*].Plan.Plans[*]') AS node;
END $$;
SELECT nodes('UPDATE t SET k = k + 1 WHERE k = 95');

SELECT * FROM whole('t');
SELECT * FROM whole('u');
SELECT * FROM pss_check();
