--
-- ROUTING: INSERT through the planner door, and by the inbox with pss.routing = trigger
--
-- Which partition a new key gets is drawn, so nothing below prints a partition number
-- that pss chose: it prints whether all rows of a key are in one, and the map agrees.
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
RESET client_min_messages;
CREATE FUNCTION homes(relation regclass, key name DEFAULT 'k',
    OUT total bigint, OUT keys bigint, OUT split bigint, OUT in_inbox bigint, OUT mapped_elsewhere bigint)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT count(*), count(DISTINCT %2$I),
                           (SELECT count(*) FROM (SELECT 1 FROM %1$s GROUP BY %2$I
                                                  HAVING count(DISTINCT pss_partition) > 1) AS s),
                           count(*) FILTER (WHERE pss_partition < 0),
                           count(*) FILTER (WHERE pss_locate(%1$L, %2$I) IS DISTINCT FROM pss_partition)
                    FROM %1$s', relation, key)
    INTO total, keys, split, in_inbox, mapped_elsewhere;
END $$;

CREATE TABLE t (k bigint NOT NULL, v text);
CREATE INDEX ON t (k);
SET client_min_messages = warning;
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
RESET client_min_messages;

-- VALUES, several rows of a key, RETURNING what was filled in
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (1, 'c') RETURNING k, v, pss_partition BETWEEN 0 AND 3 AS routed;
INSERT INTO t (v, k) VALUES ('d', 1) RETURNING k, v, (SELECT count(DISTINCT o.pss_partition) FROM t o WHERE o.k = t.k);
INSERT INTO t SELECT g, 'bulk' FROM generate_series(1, 1000) AS g;
SELECT * FROM homes('t');
SELECT count(*) > 100 AS has_its_share FROM t GROUP BY pss_partition;
\echo :ROW_COUNT partitions
INSERT INTO t TABLE t LIMIT 0;

-- the command tag counts what was inserted
\set QUIET off
INSERT INTO t VALUES (1, 'tag'), (2000, 'tag');
INSERT INTO t SELECT k, 'self' FROM t WHERE k <= 10;
SET pss.routing = trigger;
INSERT INTO t VALUES (1, 'tag'), (2001, 'tag');
INSERT INTO t SELECT k, 'self' FROM t WHERE k <= 10 AND v = 'self';
WITH a AS (INSERT INTO t VALUES (1, 'not counted'), (2002, 'not counted')) INSERT INTO t VALUES (3, 'counted');
WITH a AS (INSERT INTO t VALUES (1, 'counted by the query')) SELECT 1 AS one;
INSERT INTO t SELECT 1, 'none' WHERE false;
RESET pss.routing;
\set QUIET on
SELECT * FROM homes('t');

-- CTE
WITH new AS (INSERT INTO t VALUES (3000, 'cte'), (3001, 'cte') RETURNING *)
SELECT k, v, pss_partition >= 0 AS routed FROM new ORDER BY k;
WITH a AS (INSERT INTO t VALUES (3002, 'both') RETURNING *), b AS (INSERT INTO t VALUES (3002, 'both') RETURNING *)
SELECT a.pss_partition = b.pss_partition AS together FROM a, b;
WITH source AS (SELECT 3003 AS k) INSERT INTO t SELECT k, 'with' FROM source RETURNING k;

-- defaults, serial, identity and nextval are evaluated once a row
CREATE TABLE d (id serial, n int GENERATED ALWAYS AS IDENTITY, k bigint NOT NULL DEFAULT 7, v text DEFAULT 'def',
                g bigint GENERATED ALWAYS AS (k * 2) STORED);
SET client_min_messages = warning;
SELECT count(*) FROM pss_distribute_table('d', 'k', 4);
RESET client_min_messages;
INSERT INTO d (k, v) VALUES (1, DEFAULT), (DEFAULT, 'x'), (3, 'y') RETURNING id, n, k, v, g;
INSERT INTO d DEFAULT VALUES RETURNING id, n, k, v, g;
SET pss.routing = trigger;
INSERT INTO d (k, v) VALUES (1, DEFAULT), (DEFAULT, 'x');
RESET pss.routing;
INSERT INTO d (k, g) VALUES (1, 5);
SELECT id, n, k, v, g FROM d ORDER BY id;
CREATE SEQUENCE s;
INSERT INTO t (k, v) VALUES (nextval('s') + 10000, 'seq'), (nextval('s') + 10000, 'seq') RETURNING k;
INSERT INTO t SELECT nextval('s') + 10000, 'seq' FROM generate_series(1, 3) RETURNING k;
SELECT currval('s');
SELECT * FROM homes('d');

-- prepared statements: custom and generic plans, and a new epoch between two executions
PREPARE ins(bigint, text) AS INSERT INTO t VALUES ($1, $2) RETURNING k, v, pss_partition >= 0 AS routed;
SET plan_cache_mode = force_custom_plan;
EXECUTE ins(4000, 'custom');
SET plan_cache_mode = force_generic_plan;
EXECUTE ins(4000, 'generic');
EXECUTE ins(4001, 'generic');
UPDATE pss.partition SET capacity = 2 WHERE relation = 't'::regclass AND partition = 0;
EXECUTE ins(4000, 'after a change of weights');
EXECUTE ins(4002, 'after a change of weights');
RESET plan_cache_mode;
UPDATE pss.partition SET capacity = 1 WHERE relation = 't'::regclass AND partition = 0;
SELECT * FROM homes('t');

-- a statement prepared before the table was sharded does not outlive that
CREATE TABLE late (k int NOT NULL, v text);
PREPARE early(int) AS INSERT INTO late VALUES ($1, 'x');
EXECUTE early(1);
SET client_min_messages = warning;
DELETE FROM late;
SELECT count(*) FROM pss_distribute_table('late', 'k', 2);
RESET client_min_messages;
EXECUTE early(1);
EXECUTE early(2);
SELECT * FROM homes('late');

-- PL/pgSQL, with FOUND and ROW_COUNT
DO $$
DECLARE n bigint; p int;
BEGIN
    FOR i IN 5000..5010 LOOP
        INSERT INTO t VALUES (i, 'plpgsql') RETURNING pss_partition INTO p;
        ASSERT p >= 0;
    END LOOP;
    INSERT INTO t SELECT g, 'plpgsql' FROM generate_series(5000, 5004) AS g;
    GET DIAGNOSTICS n = ROW_COUNT;
    RAISE NOTICE 'inserted % rows, found: %', n, FOUND;
    SET LOCAL pss.routing = trigger;
    INSERT INTO t SELECT g, 'plpgsql' FROM generate_series(5000, 5004) AS g;
    GET DIAGNOSTICS n = ROW_COUNT;
    RAISE NOTICE 'inserted % rows, found: %', n, FOUND;
END $$;

-- views
CREATE VIEW tv AS SELECT k, v FROM t WHERE k > 0 WITH CHECK OPTION;
INSERT INTO tv VALUES (6000, 'view') RETURNING k, v;
\set VERBOSITY sqlstate
INSERT INTO tv VALUES (-1, 'view');
\set VERBOSITY default
SET pss.routing = trigger;
INSERT INTO tv VALUES (-1, 'view');
RESET pss.routing;
INSERT INTO tv AS x SELECT g, 'view' FROM generate_series(6000, 6002) AS g;
SELECT * FROM homes('t');

-- ON CONFLICT
CREATE TABLE u (k int PRIMARY KEY, v text);
SET client_min_messages = warning;
SELECT count(*) FROM pss_distribute_table('u', 'k', 4);
CREATE TABLE u2 (k int, o int, v text, UNIQUE (k, o));
SELECT count(*) FROM pss_distribute_table('u2', 'k', 4);
RESET client_min_messages;
INSERT INTO u VALUES (1, 'first'), (2, 'first');
\set VERBOSITY sqlstate
INSERT INTO u VALUES (1, 'again');
\set VERBOSITY default
INSERT INTO u VALUES (1, 'again'), (3, 'new') ON CONFLICT DO NOTHING RETURNING k, v;
INSERT INTO u VALUES (1, 'again'), (4, 'new') ON CONFLICT (k) DO NOTHING RETURNING k, v;
INSERT INTO u VALUES (1, 'updated') ON CONFLICT (k) DO UPDATE SET v = excluded.v || ' over ' || u.v RETURNING k, v;
INSERT INTO u VALUES (2, 'no') ON CONFLICT (k) DO UPDATE SET v = excluded.v WHERE u.v <> 'first' RETURNING k, v;
INSERT INTO u VALUES (1, 'explicit') ON CONFLICT (k, pss_partition) DO UPDATE SET v = excluded.v RETURNING k, v;
INSERT INTO u VALUES (1, 'no') ON CONFLICT (v) DO NOTHING;
INSERT INTO u2 VALUES (1, 1, 'a'), (1, 2, 'b');
INSERT INTO u2 VALUES (1, 1, 'c'), (1, 3, 'd') ON CONFLICT (k, o) DO UPDATE SET v = excluded.v RETURNING k, o, v;
INSERT INTO u2 VALUES (1, 1, 'e') ON CONFLICT (o, k) DO NOTHING RETURNING k;
INSERT INTO u2 VALUES (1, 9, 'e') ON CONFLICT (k) DO NOTHING;
PREPARE up(int, text) AS INSERT INTO u VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = excluded.v RETURNING k, v;
EXECUTE up(1, 'p1');
SET plan_cache_mode = force_generic_plan;
EXECUTE up(1, 'p2');
EXECUTE up(10, 'p2');
RESET plan_cache_mode;
SELECT * FROM homes('u');

-- dropped columns, columns added later, and a leaf with its columns in another order
CREATE TABLE o (gone int, k text NOT NULL, v int);
ALTER TABLE o DROP COLUMN gone;
SET client_min_messages = warning;
SELECT count(*) FROM pss_distribute_table('o', 'k', 2);
RESET client_min_messages;
ALTER TABLE o ADD COLUMN added numeric DEFAULT 1.5;
ALTER TABLE o DROP COLUMN v;
INSERT INTO o (k) VALUES ('one'), ('two') RETURNING k, added;
CREATE TABLE o_p7 (added numeric, junk int, pss_partition int NOT NULL DEFAULT -1, k text NOT NULL);
ALTER TABLE o_p7 DROP COLUMN junk;
ALTER TABLE o ATTACH PARTITION o_p7 FOR VALUES IN (7);
INSERT INTO pss.partition (relation, partition, leaf, capacity) VALUES ('o', 7, 'o_p7', 1000);
INSERT INTO o (k) SELECT 'key ' || g FROM generate_series(1, 200) AS g;
SET pss.routing = trigger;
INSERT INTO o (k) SELECT 'trigger ' || g FROM generate_series(1, 200) AS g;
RESET pss.routing;
SELECT count(*) > 300 AS in_the_big_one, count(DISTINCT added) FROM o WHERE pss_partition = 7;
INSERT INTO o_p7 (k, added) SELECT k, 2 FROM o_p7 LIMIT 1;
SELECT * FROM homes('o');

-- triggers of the user: once a row, with the names of a partitioned table
CREATE TABLE trg (k int NOT NULL, v text);
SET client_min_messages = warning;
SELECT count(*) FROM pss_distribute_table('trg', 'k', 4);
RESET client_min_messages;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'STATEMENT' THEN
        RAISE NOTICE '% % % on %', TG_WHEN, TG_LEVEL, TG_OP, TG_TABLE_NAME;
        RETURN NULL;
    END IF;
    RAISE NOTICE '% % % on a leaf of %: %, routed: %', TG_WHEN, TG_LEVEL, TG_OP,
        split_part(TG_TABLE_NAME, '_', 1), NEW.k, TG_TABLE_NAME LIKE '%' || NEW.pss_partition;
    NEW.v := coalesce(NEW.v, '') || '+';
    RETURN NEW;
END $$;
CREATE TRIGGER before_row BEFORE INSERT ON trg FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER after_row AFTER INSERT ON trg FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER before_stmt BEFORE INSERT ON trg FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE TRIGGER after_stmt AFTER INSERT ON trg FOR EACH STATEMENT EXECUTE FUNCTION tell();
INSERT INTO trg VALUES (1, 'a') RETURNING k, v;
SET pss.routing = trigger;
INSERT INTO trg VALUES (1, 'a'), (2, 'b');
RESET pss.routing;
SELECT k, v FROM trg ORDER BY k;
SELECT * FROM homes('trg');

-- a row trigger that inserts into another sharded table, and into its own: counts stay true
CREATE TABLE log (k int NOT NULL, what text);
CREATE TABLE tree (k int NOT NULL, depth int NOT NULL);
SET client_min_messages = warning;
SELECT count(*) FROM pss_distribute_table('log', 'k', 4);
SELECT count(*) FROM pss_distribute_table('tree', 'k', 4);
RESET client_min_messages;
CREATE FUNCTION grow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    INSERT INTO log SELECT NEW.k, TG_WHEN FROM generate_series(1, 3);
    GET DIAGNOSTICS n = ROW_COUNT;
    ASSERT n = 3, 'wrong count of the log';
    BEGIN
        INSERT INTO log VALUES (NEW.k, 'rolled back');
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
    IF NEW.depth > 0 THEN
        INSERT INTO tree VALUES (NEW.k + 1, NEW.depth - 1), (NEW.k, NEW.depth - 1);
        GET DIAGNOSTICS n = ROW_COUNT;
        ASSERT n = 2, 'wrong count of the tree';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER before_row BEFORE INSERT ON tree FOR EACH ROW EXECUTE FUNCTION grow();
\set QUIET off
INSERT INTO tree VALUES (1, 0), (2, 1);
SET pss.routing = trigger;
INSERT INTO tree VALUES (1, 0), (2, 1);
DROP TRIGGER before_row ON tree;
CREATE TRIGGER after_row AFTER INSERT ON tree FOR EACH ROW EXECUTE FUNCTION grow();
INSERT INTO tree VALUES (1, 0), (2, 1);
DROP TRIGGER after_row ON tree;
-- a trigger that sorts before ours fires on the inbox as well
CREATE TRIGGER " first" BEFORE INSERT ON tree FOR EACH ROW EXECUTE FUNCTION grow();
INSERT INTO tree VALUES (1, 0);
DROP TRIGGER " first" ON tree;
\set QUIET on
RESET pss.routing;
SELECT k, depth, count(*) FROM tree GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM homes('tree');
SELECT * FROM homes('log');

-- a trigger that keeps a row out, and one that changes its key
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.what = 'skip' THEN RETURN NULL; END IF;
    IF NEW.what = 'rekey' THEN NEW.k := NEW.k + 1; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER change BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION change();
\set QUIET off
INSERT INTO log VALUES (50, 'skip'), (51, 'keep');
INSERT INTO log (k, what, pss_partition) VALUES (52, 'keep', 0), (53, 'keep', 1);
INSERT INTO log (k, what, pss_partition) VALUES (52, 'rekey', 0);
SET pss.routing = trigger;
INSERT INTO log VALUES (50, 'skip'), (51, 'keep');
INSERT INTO log VALUES (52, 'rekey');
RESET pss.routing;
\set QUIET on
SELECT k, what FROM log WHERE k > 10 ORDER BY k;
SELECT * FROM homes('log');

-- transition tables: filled by the planner door, refused where rows come by the inbox
CREATE FUNCTION sum_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE NOTICE 'transition table: % rows', (SELECT count(*) FROM new_rows); RETURN NULL; END $$;
CREATE TRIGGER sum_up AFTER INSERT ON trg REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sum_up();
INSERT INTO trg VALUES (5, 'x'), (6, 'y');
SET pss.routing = trigger;
INSERT INTO trg VALUES (5, 'x'), (6, 'y');
ALTER TABLE trg DISABLE TRIGGER sum_up;
INSERT INTO trg VALUES (7, 'x');
RESET pss.routing;
SELECT * FROM homes('trg');

-- a row that names its partition: taken if the key is new, refused if it lives elsewhere
INSERT INTO t (k, v, pss_partition) VALUES (7000, 'named', 2) RETURNING k, pss_partition;
INSERT INTO t (k, v) VALUES (7000, 'follows') RETURNING k, pss_partition;
INSERT INTO t (k, v, pss_partition) VALUES (7000, 'elsewhere', 3);
INSERT INTO t (k, v, pss_partition) VALUES (7001, 'none such', 99);
INSERT INTO t (k, v, pss_partition) VALUES (7001, 'far out', 70000);
INSERT INTO t (k, v, pss_partition) VALUES (7002, 'inbox', -1), (7003, 'null', NULL) RETURNING k, pss_partition >= 0 AS routed;
INSERT INTO t (k, v, pss_partition) VALUES (7004, 'below', -5) RETURNING k, pss_partition >= 0 AS routed;
SET pss.routing = trigger;
INSERT INTO t (k, v, pss_partition) VALUES (7005, 'named', 1);
INSERT INTO t (k, v, pss_partition) VALUES (7005, 'elsewhere', 3);
RESET pss.routing;
SELECT pss_locate('t', 7000), pss_locate('t', 7005);

-- leaves and the inbox by name
SELECT leaf AS leaf0 FROM pss.partition WHERE relation = 't'::regclass AND partition = 0 \gset
SELECT leaf AS leaf1 FROM pss.partition WHERE relation = 't'::regclass AND partition = 1 \gset
SELECT c.oid::regclass AS inbox FROM pg_class c JOIN pg_inherits i ON c.oid = i.inhrelid
WHERE i.inhparent = 't'::regclass AND pg_get_expr(c.relpartbound, c.oid) LIKE '%-1%' \gset
INSERT INTO :leaf0 (k, v) VALUES (8000, 'leaf') RETURNING k, pss_partition;
INSERT INTO :leaf0 (k, v, pss_partition) VALUES (8000, 'leaf', 0) RETURNING k, pss_partition;
INSERT INTO :leaf1 (k, v) VALUES (8000, 'leaf');
INSERT INTO :leaf1 (k, v, pss_partition) VALUES (8001, 'leaf', 0);
SELECT pss_locate('t', 8000), pss_locate('t', 8001);
INSERT INTO :inbox (k, v) VALUES (8002, 'inbox'), (8000, 'inbox');
INSERT INTO :inbox (k, v) VALUES (8003, 'inbox') RETURNING k;
SELECT k, v, pss_partition >= 0 AS routed FROM t WHERE k BETWEEN 8000 AND 8003 ORDER BY k, v;
SELECT * FROM homes('t');

-- pss.routing = off: only rows that name their partition
SET pss.routing = off;
INSERT INTO t VALUES (1, 'off');
INSERT INTO t (k, v, pss_partition) VALUES (7000, 'off', 2) RETURNING k, pss_partition;
INSERT INTO t (k, v, pss_partition) VALUES (7000, 'off', 3);
SET pss.routing = sideways;
SET pss.routing = trigger;
INSERT INTO t VALUES (1, 'no') RETURNING *;
INSERT INTO u VALUES (1, 'no') ON CONFLICT (k) DO NOTHING;
WITH new AS (INSERT INTO t VALUES (1, 'no') RETURNING *) SELECT count(*) FROM new;
RESET pss.routing;

-- prepared under one setting, executed under another
PREPARE switch(bigint) AS INSERT INTO t VALUES ($1, 'switch') RETURNING k, pss_partition >= 0 AS routed;
EXECUTE switch(7100);
SET pss.routing = trigger;
EXECUTE switch(7100);
SET plan_cache_mode = force_generic_plan;
RESET pss.routing;
EXECUTE switch(7100);
SET pss.routing = trigger;
EXECUTE switch(7100);
SET pss.routing = off;
EXECUTE switch(7100);
RESET plan_cache_mode;
RESET pss.routing;
EXECUTE switch(7100);

-- EXPLAIN
EXPLAIN (COSTS OFF) INSERT INTO t VALUES (1, 'x');
CREATE FUNCTION plan(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    -- majors differ in what they say of rows
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF, ANALYZE, BUFFERS OFF, TIMING OFF, SUMMARY OFF) ' || command LOOP
        RETURN NEXT regexp_replace(line, ' \(actual.*', '');
    END LOOP;
END $$;
SELECT plan('INSERT INTO t SELECT g, ''x'' FROM generate_series(1, 3) AS g');
EXPLAIN (COSTS OFF) INSERT INTO :leaf0 (k) VALUES (8000);
CREATE FUNCTION plan_json(command text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (COSTS OFF, FORMAT JSON) ' || command INTO plan;
    RETURN plan;
END $$;
SELECT node ->> 'Node Type' AS type, node ->> 'Custom Plan Provider' AS provider, node ->> 'Distribution Column' AS key
FROM jsonb_path_query(plan_json('INSERT INTO t VALUES (1, ''x'')'), '$[*].Plan.Plans[*]') AS node;
EXPLAIN (COSTS OFF) WITH new AS (INSERT INTO t VALUES (1, 'x') RETURNING k) SELECT * FROM new;

-- transactions: what is rolled back leaves no mapping
BEGIN;
INSERT INTO t VALUES (9000, 'kept');
SAVEPOINT a;
INSERT INTO t VALUES (9001, 'rolled back');
SELECT pss_locate('t', 9001) IS NOT NULL AS mapped;
ROLLBACK TO a;
SELECT pss_locate('t', 9001) IS NOT NULL AS mapped;
SAVEPOINT b;
INSERT INTO t VALUES (9001, 'again'), (9002, 'kept');
RELEASE b;
COMMIT;
SELECT k, v, pss_locate('t', k) = pss_partition AS mapped FROM t WHERE k BETWEEN 9000 AND 9002 ORDER BY k;
DO $$
BEGIN
    INSERT INTO t VALUES (9003, 'lost');
    RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
    RAISE NOTICE 'mapped: %', pss_locate('t', 9003) IS NOT NULL;
END $$;
BEGIN;
INSERT INTO t VALUES (9004, 'lost');
ROLLBACK;
SELECT pss_locate('t', 9003), pss_locate('t', 9004);
INSERT INTO t VALUES (9005, 'lost'), (NULL, 'no key');
SELECT pss_locate('t', 9005);

-- READ ONLY
BEGIN READ ONLY;
INSERT INTO t VALUES (1, 'x');
ROLLBACK;
BEGIN READ ONLY;
SELECT pss_get_partition('t', 1);
ROLLBACK;
BEGIN READ ONLY;
SELECT pss_locate('t', 1) IS NOT NULL AS found;
COMMIT;

-- cursors
BEGIN;
DECLARE c CURSOR FOR SELECT k FROM t WHERE k = 9000 FOR UPDATE;
FETCH c;
UPDATE t SET v = 'current' WHERE CURRENT OF c;
COMMIT;
SELECT k, v FROM t WHERE k = 9000;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT k FROM t WHERE k BETWEEN 9000 AND 9002 ORDER BY k;
INSERT INTO t VALUES (9000, 'behind the cursor');
COMMIT;
FETCH ALL h;
CLOSE h;

-- isolation levels
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO t VALUES (9100, 'rr'), (9100, 'rr'), (1, 'rr');
INSERT INTO t VALUES (9100, 'rr');
SELECT count(*), pss_locate('t', 9100) = min(pss_partition) AS mapped FROM t WHERE k = 9100;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO t VALUES (9101, 'ser'), (9101, 'ser'), (1, 'ser');
COMMIT;
SELECT * FROM homes('t');

-- TRUNCATE empties the map, DROP TABLE leaves nothing
TRUNCATE t;
SELECT pss_locate('t', 1);
INSERT INTO t VALUES (1, 'anew');
SELECT * FROM homes('t');
DROP TABLE t CASCADE;
SELECT relation::text FROM pss.sharded_table ORDER BY 1;
